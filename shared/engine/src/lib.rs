//! What an engine is to the rest of the service, and the conformance suite every engine passes.

pub mod conformance;
mod external;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::{EngineKind, WorkflowKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{ExecutionRecord, NewExecution, StepOutcome, StepRecorder, StoreError};

pub use external::{ExternalEngine, Reconciled, SETTLING_TIME, Standing, reconcile};

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The engine cannot be reached or cannot work now.
    #[error("the engine is unavailable: {0}")]
    Unavailable(String),
    /// The state machine does not load.
    #[error("the state machine does not load: {0}")]
    Definition(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The state machine that new executions of a kind run, activities called by name.
pub type DefinitionOf = Arc<dyn Fn(WorkflowKind) -> Option<String> + Send + Sync>;

/// Where the random numbers of an execution come from: its id is random enough, and gives the same ones on every engine.
pub fn seed_of(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Runs executions.
#[async_trait]
pub trait Orchestrator: Send + Sync {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// Adds to the start's transaction what this engine wants to find there.
    ///
    /// # Errors
    /// Nothing is to be stored: the engine is known not to take it, now or ever.
    async fn prepare_start(&self, new: &mut NewExecution) -> Result<(), EngineError>;

    /// Begins an execution whose record is stored. Idempotent: one that runs or has ended stays as it is.
    async fn start(&self, record: &ExecutionRecord) -> Result<Start, EngineError>;
}

/// What a start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// It runs, for all that the engine says from now on.
    Begun,
    /// The engine had it already, and it may have ended.
    Known,
}

/// What a Task state asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivityCall {
    /// The activity's name, e.g. `create_user_account`.
    pub activity: String,
    /// The Task's payload: a [`contracts::step::StepCall`].
    pub payload: Value,
}

/// Runs activities, for engines that call them in process.
#[async_trait]
pub trait ActivityRunner: Send + Sync {
    /// Makes one attempt. Dropping the future abandons the attempt; its effect may still happen.
    async fn run(&self, call: ActivityCall, recorder: Arc<dyn StepRecorder>) -> StepOutcome;
}
