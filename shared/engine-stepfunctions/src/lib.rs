//! AWS Step Functions as an engine: it runs the state machines as they are, and calls the activities' Lambdas.
//!
//! An execution's id is its name there, so starting twice is starting once. The input holds ids and flags only.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use aws_sdk_sfn::Client;
use aws_sdk_sfn::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput};
use aws_sdk_sfn::operation::start_execution::StartExecutionError;
use aws_sdk_sfn::operation::stop_execution::StopExecutionError;
use contracts::{EngineKind, Timestamp, WorkflowKind};
use engine::{Engine, EngineError, Standing, StartOutcome};
use serde_json::Value;
use store::{EngineEnd, ExecutionRecord, NewAuditRow, NewExecution};

pub use aws_sdk_sfn::types::ExecutionStatus;

/// The engine.
#[derive(Clone)]
pub struct StepFunctions {
    client: Arc<LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>>,
    /// ARNs of the state machines.
    machines: BTreeMap<WorkflowKind, String>,
}

impl StepFunctions {
    /// An engine on these state machines, given by their ARNs. The client is made with the first request.
    pub fn new(client: impl FnOnce() -> Client + Send + 'static, machines: BTreeMap<WorkflowKind, String>) -> Self {
        Self { client: Arc::new(LazyLock::new(Box::new(client))), machines }
    }

    fn machine(&self, kind: WorkflowKind) -> Result<&str, EngineError> {
        let machine = self.machines.get(&kind).map(String::as_str);
        machine.ok_or_else(|| EngineError::Definition(format!("no state machine is configured for {kind}")))
    }

    /// What Step Functions says of an execution, for whoever knows no record of it.
    ///
    /// # Errors
    /// It cannot be asked now.
    pub async fn description(&self, kind: WorkflowKind, id: &str) -> Result<Option<Description>, EngineError> {
        match self.client.describe_execution().execution_arn(self.execution_arn(kind, id)?).send().await {
            Ok(described) => Ok(Some(Description::of(&described))),
            Err(error) => match error.as_service_error() {
                Some(DescribeExecutionError::ExecutionDoesNotExist(_)) => Ok(None),
                _ => Err(unavailable(error)),
            },
        }
    }

    fn execution_arn(&self, kind: WorkflowKind, id: &str) -> Result<String, EngineError> {
        Ok(format!("{}:{id}", self.machine(kind)?.replacen(":stateMachine:", ":execution:", 1)))
    }
}

#[async_trait]
impl Engine for StepFunctions {
    fn kind(&self) -> EngineKind {
        EngineKind::StepFunctions
    }

    async fn admit(&self, new: &mut NewExecution) -> Result<(), EngineError> {
        self.machine(new.kind).map(drop)
    }

    async fn start(&self, record: &ExecutionRecord) -> Result<StartOutcome, EngineError> {
        let start = self.client.start_execution().state_machine_arn(self.machine(record.kind)?).name(&record.id);
        match start.input(record.input.to_string()).send().await {
            Ok(_) => Ok(StartOutcome::Begun),
            Err(error) => match error.as_service_error() {
                Some(StartExecutionError::ExecutionAlreadyExists(_)) => Ok(StartOutcome::Known),
                _ => Err(unavailable(error)),
            },
        }
    }

    /// There is nothing to ask without asking for something.
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }

    async fn describe(&self, record: &ExecutionRecord) -> Result<Standing, EngineError> {
        Ok(match self.description(record.kind, &record.id).await? {
            Some(Description { end: Some((end, at)), .. }) => Standing::Ended { end, at },
            Some(_) => Standing::Running,
            None => Standing::Unknown,
        })
    }

    async fn terminate(
        &self,
        record: &ExecutionRecord,
        reason: &str,
        _audit: Option<NewAuditRow>,
    ) -> Result<(), EngineError> {
        let stop = self.client.stop_execution().execution_arn(self.execution_arn(record.kind, &record.id)?);
        match stop.error("Terminated").cause(reason).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(StopExecutionError::ExecutionDoesNotExist(_)) => Ok(()),
                _ => Err(unavailable(error)),
            },
        }
    }

    /// What a pause holds asks again by itself, within five minutes.
    async fn wake(&self, _record: &ExecutionRecord) -> Result<(), EngineError> {
        Ok(())
    }
}

/// What Step Functions says of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// What it was started with.
    pub input: Value,
    /// How and when it ended; none while it runs.
    pub end: Option<(EngineEnd, Timestamp)>,
}

impl Description {
    fn of(described: &DescribeExecutionOutput) -> Self {
        let json = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
        let end = end(described.status(), described.output(), described.error(), described.cause());
        let at = described.stop_date().and_then(|at| Timestamp::from_millisecond(at.to_millis().ok()?).ok());
        Self { input: json(described.input()), end: end.zip(at) }
    }
}

/// An execution's end in Step Functions' words; none while it runs.
pub fn end(
    status: &ExecutionStatus,
    output: Option<&str>,
    error: Option<&str>,
    cause: Option<&str>,
) -> Option<EngineEnd> {
    match status {
        ExecutionStatus::Succeeded => {
            let output = output.and_then(|output| serde_json::from_str(output).ok());
            Some(EngineEnd::Succeeded(output.unwrap_or(Value::Null)))
        }
        ExecutionStatus::Failed => {
            Some(EngineEnd::Failed { error: error.map(str::to_owned), cause: cause.map(str::to_owned) })
        }
        // Our machines have no time limit of their own, so somebody else's limit was reached: AWS's one year.
        ExecutionStatus::TimedOut => {
            Some(EngineEnd::Failed { error: Some(store::events::TIMEOUT.to_owned()), cause: cause.map(str::to_owned) })
        }
        ExecutionStatus::Aborted => Some(EngineEnd::Terminated),
        _ => None,
    }
}

fn unavailable<E: ProvideErrorMetadata + std::error::Error + 'static>(error: SdkError<E>) -> EngineError {
    EngineError::Unavailable(DisplayErrorContext(error).to_string())
}
