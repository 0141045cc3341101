//! What the activity harness asks before and says after each attempt, and how an engine that keeps its own journal
//! says that an execution ended.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::step::{StepCall, StepKind, StepPath};
use contracts::{ActivityError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Effects, NewAuditRow, Refusal, StoreError, StoredRequest};

/// Which step of which execution, and what its payload says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRef {
    /// The owner.
    pub tenant_id: String,
    /// The execution.
    pub execution_id: String,
    /// The step.
    pub path: StepPath,
    /// Doing or undoing.
    pub kind: StepKind,
    /// The step that a compensation undoes.
    pub undoes: Option<StepPath>,
    /// What is going on meanwhile, for people.
    pub title: Option<String>,
    /// Whether nothing may interrupt the execution from its begin on.
    pub is_final: bool,
    /// Whether it is the last step.
    pub closes: bool,
    /// Whether it is a batch of a distributed Map, which is no event.
    pub is_batch: bool,
    /// How many batches there are, or items in them, if it is one and says so.
    pub batches: Option<u64>,
    /// Whether it is a batch that reports how many of its items are done and how many failed.
    pub reports: bool,
    /// With how many failed items no batch like it begins any more.
    pub stops_at: Option<u64>,
    /// The activity.
    pub activity: String,
    /// When the execution was accepted.
    pub accepted_at: Timestamp,
}

/// A history's length when nothing has happened but the acceptance.
pub const ACCEPTED: u64 = 1;

impl StepRef {
    /// Of a Task's payload.
    pub fn of(call: &StepCall, activity: &str) -> Self {
        let StepCall { workflow, step, .. } = call;
        Self {
            tenant_id: workflow.tenant_id.clone(),
            execution_id: workflow.id.clone(),
            path: step.path(),
            kind: step.kind,
            undoes: step.undone_path(),
            title: step.title.clone(),
            is_final: step.is_final(),
            closes: step.closes,
            is_batch: step.batch,
            batches: step.batches.filter(|_| step.batch),
            reports: step.reports && step.batch,
            stops_at: step.stops_at.filter(|_| step.batch),
            activity: activity.to_owned(),
            accepted_at: workflow.started_at,
        }
    }

    /// How long the execution has waited for its engine, if this is the first that happens to it: its deadline moves by
    /// as much. None if it cannot be the first.
    pub fn waited(&self, now: Timestamp) -> Option<Duration> {
        let waited = Duration::try_from(now.duration_since(self.accepted_at)).ok()?;
        (self.kind == StepKind::Forward).then_some(waited)
    }
}

/// An attempt that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunAttempt {
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
        attempt: BegunAttempt,
        /// The request of the execution.
        request: Arc<StoredRequest>,
        /// What keys and chosen ids are derived from.
        effect_scope: Arc<str>,
        /// How the attempt goes about what an earlier execution left.
        effects: Effects,
    },
    /// An earlier attempt has done it: this was its result.
    AlreadyDone(Value),
    /// It may not begin now, or not any more.
    Refused(Refusal),
    /// Too late: the step is being undone, or the execution has ended or is not known.
    Closed,
}

/// What an attempt came to.
pub type StepOutcome = Result<Value, ActivityError>;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptOutcome {
    /// What it came to; this is what the engine sees.
    pub outcome: StepOutcome,
    /// What it reports of the execution's result; the engine does not see it.
    pub report: Option<Map<String, Value>>,
}

impl From<StepOutcome> for AttemptOutcome {
    fn from(outcome: StepOutcome) -> Self {
        Self { outcome, report: None }
    }
}

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
    async fn finish_step(
        &self,
        step: &StepRef,
        attempt: &BegunAttempt,
        ended: &AttemptOutcome,
    ) -> Result<Finish, StoreError>;
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
    /// Records the end; false if it was recorded before (it stays as it is), or nobody knows the execution. With the end
    /// goes the audit row of who asked for it, if somebody did; where no end is recorded, no row is added.
    async fn record_end(
        &self,
        tenant_id: &str,
        id: &str,
        end: &EngineEnd,
        at: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<bool, StoreError>;
}
