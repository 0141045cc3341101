//! What the activity harness asks before and says after each attempt, and how an engine that keeps its own journal
//! says that an execution ended.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::step::StepKind;
use contracts::{ActivityError, Timestamp, WorkflowKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::StoreError;

/// Which step of which execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRef {
    /// The owner.
    pub tenant_id: String,
    /// The execution.
    pub execution_id: String,
    /// Its workflow.
    pub workflow: WorkflowKind,
    /// The Task state's name.
    pub step: String,
    /// Doing or undoing.
    pub kind: StepKind,
    /// The step that a compensation undoes.
    pub undoes: Option<String>,
    /// The activity.
    pub activity: String,
    /// When the execution was accepted.
    pub accepted_at: Timestamp,
}

/// A history's length when nothing has happened but the acceptance.
pub const ACCEPTED: u64 = 1;

impl StepRef {
    /// How long the execution has waited for its engine, if this is the first that happens to it: its deadline moves by
    /// as much. None if it cannot be the first.
    pub fn waited(&self, now: Timestamp) -> Option<Duration> {
        let first = workflows::workflow(self.workflow)?.steps.first()?;
        let is_first = self.kind == StepKind::Forward && self.step == first.state;
        let waited = Duration::try_from(now.duration_since(self.accepted_at)).ok()?;
        is_first.then_some(waited)
    }
}

/// An attempt that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub began_at: Timestamp,
    /// Events of the execution once it had begun; lets the store write its end without reading again.
    pub history_len: u64,
}

/// What the harness may do.
#[derive(Debug, Clone)]
pub enum Begin {
    /// Go ahead.
    Proceed {
        /// The attempt.
        attempt: Attempt,
        /// The request of the execution.
        request: Arc<Value>,
        /// What keys and chosen ids are derived from.
        effect_scope: Arc<str>,
    },
    /// An earlier attempt has done it: this was its result.
    AlreadyDone(Value),
    /// Somebody cancelled.
    Cancelled,
    /// Somebody paused.
    Paused,
    /// The deadline has passed.
    TimedOut,
    /// Too late: the step is being undone, or the execution has ended or is not known.
    Closed,
}

/// How an attempt ended.
pub type StepOutcome = Result<Value, ActivityError>;

/// What became of the record of an attempt's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It is recorded.
    Recorded,
    /// A newer attempt has begun: what this one found out counts for nothing.
    Superseded,
    /// Too late: the step is being undone, or the execution has ended.
    Closed,
}

/// The record of attempts.
#[async_trait]
pub trait StepRecorder: Send + Sync {
    /// Asks to begin an attempt, and records that it began.
    async fn begin_step(&self, step: &StepRef) -> Result<Begin, StoreError>;
    /// Records how the attempt ended.
    async fn finish_step(&self, step: &StepRef, attempt: &Attempt, outcome: &StepOutcome)
    -> Result<Finish, StoreError>;
}

/// The end of an execution in the words of its engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EngineEnd {
    /// With this output.
    Succeeded(Value),
    /// With an error.
    Failed {
        /// Its name.
        error: Option<String>,
        /// More about it; our Fail states write JSON.
        cause: Option<String>,
    },
    /// By an operator, at the engine itself; nothing was undone.
    Terminated,
}

/// The record of ends, for engines that keep their own journal.
#[async_trait]
pub trait EndRecorder: Send + Sync {
    /// Records the end; false if it was recorded before (it stays as it is), or nobody knows the execution.
    async fn record_end(&self, tenant_id: &str, id: &str, end: &EngineEnd, at: Timestamp) -> Result<bool, StoreError>;
}
