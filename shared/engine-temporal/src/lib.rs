//! Temporal as an engine, the client's half: it starts workflows of the worker in `engine-temporal-worker`, asks about
//! them and terminates them. An execution's id is its workflow id there, so starting twice is starting once. What reaches
//! Temporal holds ids, flags and counts only.

mod connection;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::{EngineKind, Timestamp, WorkflowKind};
use engine::{DefinitionOf, Engine, EngineError, Standing, StartOutcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{EngineEnd, ExecutionRecord, NewAuditRow, NewExecution};
use temporalio_client::errors::{WorkflowGetResultError, WorkflowInteractionError, WorkflowStartError};
use temporalio_client::{
    Client, WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowGetResultOptions, WorkflowHandle,
    WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions, WorkflowTerminateOptions,
};
use temporalio_common::error::IncomingError;
use temporalio_common::{HasWorkflowDefinition, WorkflowDefinition};
use workflows::Workflow;

pub use connection::{Connector, Server};

/// What a workflow is started with: all that its executions ever need, so that another worker with other files goes on
/// with the same machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateMachineInput {
    /// The state machine, activities called by name.
    pub definition: Value,
    /// The execution's input.
    pub input: Value,
    /// Whether the worker records the end itself, within the workflow's last turn. Those that began before it could do so
    /// have an activity for it. A worker that does not know this has one for all: workers are replaced before what starts.
    #[serde(default)]
    pub records_end_locally: bool,
}

/// How a state machine ended that did not end well; the details of the workflow's failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateMachineFailure {
    /// The error's name, if it has one.
    pub error: Option<String>,
    /// More about it.
    pub cause: Option<String>,
}

/// A workflow by the name of its state machine.
pub struct StateMachine(pub String);

impl WorkflowDefinition for StateMachine {
    type Input = StateMachineInput;
    type Output = Value;

    fn name(&self) -> &str {
        &self.0
    }
}

impl HasWorkflowDefinition for StateMachine {
    type Run = Self;
}

/// The engine.
#[derive(Clone)]
pub struct Temporal {
    connector: Arc<Connector>,
    task_queue: String,
    definition_of: DefinitionOf,
}

impl Temporal {
    /// An engine on this server; connects with the first request.
    pub fn new(connector: Arc<Connector>, task_queue: impl Into<String>, definition_of: DefinitionOf) -> Self {
        Self { connector, task_queue: task_queue.into(), definition_of }
    }

    async fn client(&self) -> Result<Client, EngineError> {
        self.connector.client().await.map_err(EngineError::Unavailable)
    }

    async fn handle(&self, record: &ExecutionRecord) -> Result<WorkflowHandle<Client, StateMachine>, EngineError> {
        // Reading its end is reading a result of this type, whatever started it.
        workflow(record.kind)?;
        Ok(self.client().await?.get_workflow_handle(&record.id))
    }

    async fn failed(&self, error: WorkflowInteractionError) -> EngineError {
        self.connector.doubt().await;
        EngineError::Unavailable(match error {
            WorkflowInteractionError::NotFound(status) | WorkflowInteractionError::Rpc(status) => {
                self.connector.explain(&status)
            }
            other => other.to_string(),
        })
    }
}

fn workflow(kind: WorkflowKind) -> Result<&'static Workflow, EngineError> {
    workflows::workflow(kind).ok_or_else(|| EngineError::Definition(format!("there is no workflow {kind}")))
}

#[async_trait]
impl Engine for Temporal {
    fn kind(&self) -> EngineKind {
        EngineKind::Temporal
    }

    /// A server that is away or refuses us would leave the start for the reconciler: better say so at once.
    async fn admit(&self, new: &mut NewExecution) -> Result<(), EngineError> {
        workflow(new.kind)?;
        self.check().await.map_err(EngineError::Unavailable)
    }

    async fn start(&self, record: &ExecutionRecord) -> Result<StartOutcome, EngineError> {
        let workflow = workflow(record.kind)?;
        let definition = (self.definition_of)(record.kind)
            .ok_or_else(|| EngineError::Definition(format!("there is no state machine for {}", record.kind)))?;
        let definition =
            serde_json::from_str(&definition).map_err(|error| EngineError::Definition(error.to_string()))?;
        let input = StateMachineInput { definition, input: record.input.clone(), records_end_locally: true };
        let options = WorkflowStartOptions::new(self.task_queue.clone(), record.id.clone())
            .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
            .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
            .static_summary(format!("{} of the tenant {}", record.kind, record.tenant_id))
            .build();
        let machine = StateMachine(workflow.name.to_owned());
        match self.client().await?.start_workflow(machine, input, options).await {
            Ok(_) => Ok(StartOutcome::Begun),
            Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(StartOutcome::Known),
            Err(WorkflowStartError::Rpc(status)) => Err(self.failed(WorkflowInteractionError::Rpc(status)).await),
            Err(error) => Err(EngineError::Unavailable(error.to_string())),
        }
    }

    async fn check(&self) -> Result<(), String> {
        self.connector.check().await
    }

    async fn describe(&self, record: &ExecutionRecord) -> Result<Standing, EngineError> {
        let handle = self.handle(record).await?;
        let described = match handle.describe(WorkflowDescribeOptions::default()).await {
            Ok(described) => described,
            Err(WorkflowInteractionError::NotFound(status)) if is_about_the_workflow(&status) => {
                return Ok(Standing::Unknown);
            }
            Err(error) => return Err(self.failed(error).await),
        };
        if described.status() == WorkflowExecutionStatus::Running {
            return Ok(Standing::Running);
        }
        let closed_at = described.close_time().and_then(|at| Timestamp::try_from(at).ok());
        let Some(at) = closed_at else { return Ok(Standing::Running) };
        let end = match handle.get_result(WorkflowGetResultOptions::default()).await {
            Ok(output) => EngineEnd::Succeeded(output),
            Err(error) => match ended(error) {
                Ok(end) => end,
                Err(error) => return Err(self.failed(error).await),
            },
        };
        Ok(Standing::Ended { end, at })
    }

    async fn terminate(
        &self,
        record: &ExecutionRecord,
        reason: &str,
        _audit: Option<NewAuditRow>,
    ) -> Result<(), EngineError> {
        let handle = self.handle(record).await?;
        let options = WorkflowTerminateOptions::builder().reason(reason).build();
        match handle.terminate(options).await {
            Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    /// What a pause holds asks again by itself, within five minutes: waking it would need a signal, and be an event more.
    async fn wake(&self, _record: &ExecutionRecord) -> Result<(), EngineError> {
        Ok(())
    }
}

/// A missing namespace is reported in the same way as a missing workflow.
fn is_about_the_workflow(status: &temporalio_client::tonic::Status) -> bool {
    !status.message().to_lowercase().contains("namespace")
}

/// The end that a workflow came to, or why it cannot be read.
fn ended(error: WorkflowGetResultError) -> Result<EngineEnd, WorkflowInteractionError> {
    let failed = |failure: StateMachineFailure| EngineEnd::Failed { error: failure.error, cause: failure.cause };
    match error {
        WorkflowGetResultError::Failed(failure) => match *failure {
            IncomingError::Application(failure) => {
                let details = failure.details::<StateMachineFailure>().ok().flatten();
                // Not one of the worker's own words: somebody else's are all there is.
                let other = || StateMachineFailure {
                    error: failure.type_name().map(str::to_owned),
                    cause: Some(failure.to_string()),
                };
                Ok(failed(details.unwrap_or_else(other)))
            }
            other => Ok(EngineEnd::Failed { error: None, cause: Some(other.failure().message.clone()) }),
        },
        WorkflowGetResultError::Cancelled { details } => {
            let words = details.deserialize::<StateMachineFailure>().ok();
            let cancelled = || StateMachineFailure {
                error: Some(contracts::ErrorName::WorkflowCancelled.as_str().to_owned()),
                cause: None,
            };
            Ok(failed(words.unwrap_or_else(cancelled)))
        }
        WorkflowGetResultError::Terminated { .. } => Ok(EngineEnd::Terminated),
        // The worker sets no such limit, so somebody else's was reached.
        WorkflowGetResultError::TimedOut => {
            Ok(EngineEnd::Failed { error: Some(store::events::TIMEOUT.to_owned()), cause: None })
        }
        WorkflowGetResultError::ContinuedAsNew => {
            Err(WorkflowInteractionError::Other("it goes on as another run".into()))
        }
        WorkflowGetResultError::NotFound(status) => Err(WorkflowInteractionError::NotFound(status)),
        WorkflowGetResultError::Rpc(status) => Err(WorkflowInteractionError::Rpc(status)),
        WorkflowGetResultError::PayloadConversion(error) => Err(WorkflowInteractionError::PayloadConversion(error)),
        other => Err(WorkflowInteractionError::Other(other.to_string().into())),
    }
}
