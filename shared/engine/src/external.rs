//! Engines that keep their own journal, elsewhere; and what reconciles our records with it.

use std::time::Duration;

use async_trait::async_trait;
use clock::Clock;
use contracts::{EngineKind, Status, Timestamp, WorkflowKind};
use serde_json::Value;
use store::{EndRecorder, EngineEnd, ExecutionRecord, Executions, OpenExecution};

use crate::{EngineError, Orchestrator};

/// Where an execution stands, according to its engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// The engine has never heard of it.
    Unknown,
    /// It runs.
    Running,
    /// It has ended.
    Ended {
        /// How.
        end: EngineEnd,
        /// When.
        at: Timestamp,
        /// What it was started with.
        input: Value,
    },
}

/// An engine that keeps its own journal.
#[async_trait]
pub trait ExternalEngine: Orchestrator {
    /// Asks the engine. Its quotas are small: nothing that users ask often may ask this.
    async fn describe(&self, kind: WorkflowKind, id: &str) -> Result<Standing, EngineError>;

    /// Stops an execution without undoing anything; one that has ended stays as it is.
    async fn terminate(&self, kind: WorkflowKind, id: &str, reason: &str) -> Result<(), EngineError>;
}

/// What a reconciliation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Starts that had never reached the engine.
    pub started: u32,
    /// Ends that nobody had recorded.
    pub ended: u32,
    /// Executions that could not be reconciled now.
    pub failed: u32,
}

/// Executions younger than this are left alone: their start or end may still be on its way.
pub const SETTLING_TIME: Duration = Duration::from_secs(60);

/// Executions looked at in one reconciliation.
const MAX_EXECUTIONS: u32 = 1_000;

/// Starts what never reached the engine, and records ends that nobody recorded.
pub async fn reconcile(
    executions: &dyn Executions,
    ends: &dyn EndRecorder,
    engines: &[&dyn ExternalEngine],
    clock: &dyn Clock,
) -> Result<Reconciled, EngineError> {
    let before = clock.now().checked_sub(SETTLING_TIME).unwrap_or(Timestamp::MIN);
    let mut reconciled = Reconciled::default();
    for open in executions.open_executions(before, MAX_EXECUTIONS).await? {
        match reconcile_one(executions, ends, engines, &open).await {
            Ok(Some(Found::Unstarted)) => reconciled.started += 1,
            Ok(Some(Found::Ended)) => reconciled.ended += 1,
            Ok(None) => {}
            Err(error) => {
                tracing::error!(tenant_id = open.tenant_id, workflow_id = open.id, %error, "not reconciled");
                reconciled.failed += 1;
            }
        }
    }
    Ok(reconciled)
}

/// What was amiss with an execution.
enum Found {
    Unstarted,
    Ended,
}

async fn reconcile_one(
    executions: &dyn Executions,
    ends: &dyn EndRecorder,
    engines: &[&dyn ExternalEngine],
    open: &OpenExecution,
) -> Result<Option<Found>, EngineError> {
    let Some(record) = executions.get(&open.tenant_id, &open.id).await? else { return Ok(None) };
    // The embedded engine's own journal is its record: there is nothing to reconcile.
    if record.engine == EngineKind::Embedded {
        return Ok(None);
    }
    let Some(engine) = engines.iter().find(|engine| engine.kind() == record.engine) else {
        return Err(EngineError::Unavailable(format!("it runs on {}, which is not configured here", record.engine)));
    };
    match engine.describe(record.kind, &record.id).await? {
        Standing::Running => Ok(None),
        Standing::Unknown => start_again(*engine, &record).await,
        Standing::Ended { end, at, .. } => {
            let recorded = ends.record_end(&record.tenant_id, &record.id, &end, at).await?;
            Ok(recorded.then_some(Found::Ended))
        }
    }
}

async fn start_again(engine: &dyn ExternalEngine, record: &ExecutionRecord) -> Result<Option<Found>, EngineError> {
    // One that has begun was known to the engine: starting it again would do everything twice.
    if record.status != Status::Pending {
        return Err(EngineError::Unavailable(format!("{} has begun, and its engine does not know it", record.id)));
    }
    engine.start(record).await?;
    Ok(Some(Found::Unstarted))
}
