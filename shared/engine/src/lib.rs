//! What an engine is to the rest of the service, and the conformance suite every engine passes.

pub mod conformance;
mod reconcile;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::{EngineKind, Timestamp, WorkflowKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{EngineEnd, ExecutionRecord, NewAuditRow, NewExecution, StepOutcome, StepRecorder, StoreError};

pub use reconcile::{Reconciled, SETTLING_TIME, reconcile};

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
pub trait Engine: Send + Sync {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// Looks at a start before it is stored, and adds to its transaction what this engine wants to find there.
    ///
    /// # Errors
    /// Nothing is to be stored: the engine is known not to take it, now or ever.
    async fn admit(&self, new: &mut NewExecution) -> Result<(), EngineError>;

    /// Begins an execution whose record is stored. Idempotent: one that runs or has ended stays as it is.
    async fn start(&self, record: &ExecutionRecord) -> Result<StartOutcome, EngineError>;

    /// Whether it takes starts, and makes progress; why not. Executions in quarantine do not count.
    async fn check(&self) -> Result<(), String>;

    /// Why an execution is in quarantine, if it is: this process does not go on with it, for a reason of its own such as a
    /// damaged record, and all others go on. An engine elsewhere knows of none.
    fn quarantined(&self, _id: &str) -> Option<String> {
        None
    }

    /// The executions in quarantine.
    fn quarantine(&self) -> Vec<String> {
        Vec::new()
    }

    /// Asks where an execution stands. The quotas of engines elsewhere are small: nothing that users ask often may ask
    /// this.
    async fn describe(&self, record: &ExecutionRecord) -> Result<Standing, EngineError>;

    /// Stops an execution without undoing anything; one that has ended stays as it is. An engine whose journal is the
    /// record writes the row of the audit log with the end; of others the end is recorded by
    /// [`EndRecorder`](store::EndRecorder).
    async fn terminate(
        &self,
        record: &ExecutionRecord,
        reason: &str,
        audit: Option<NewAuditRow>,
    ) -> Result<(), EngineError>;

    /// Something was asked of an execution by its record: one that is held looks at it at once, where the engine can make
    /// it. Elsewhere it looks within five minutes by itself.
    async fn wake(&self, record: &ExecutionRecord) -> Result<(), EngineError>;
}

/// The engines that this process reaches. An execution stays on the engine that began it, whatever new ones run on.
#[derive(Clone, Default)]
pub struct Engines(Vec<Arc<dyn Engine>>);

impl Engines {
    /// These.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self(engines)
    }

    /// Whether all of them work; why not.
    ///
    /// # Errors
    /// What the first one says that does not.
    pub async fn check(&self) -> Result<(), String> {
        for engine in &self.0 {
            engine.check().await?;
        }
        Ok(())
    }

    /// Why an execution is in quarantine, if it is.
    pub fn quarantined(&self, id: &str) -> Option<String> {
        self.0.iter().find_map(|engine| engine.quarantined(id))
    }

    /// The executions in quarantine.
    pub fn quarantine(&self) -> Vec<String> {
        self.0.iter().flat_map(|engine| engine.quarantine()).collect()
    }

    /// The engine of this kind, if it is reached from here.
    pub fn of(&self, kind: EngineKind) -> Option<&Arc<dyn Engine>> {
        self.0.iter().find(|engine| engine.kind() == kind)
    }
}

/// What a start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartOutcome {
    /// It runs, for all that the engine says from now on.
    Begun,
    /// The engine had it already, and it may have ended.
    Known,
}

/// Where an execution stands, according to its engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    },
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
