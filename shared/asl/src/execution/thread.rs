//! Lines of control within an execution.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::messages::TaskId;

/// The variables of a thread.
pub(crate) type Variables = BTreeMap<String, Arc<Value>>;

/// Names a thread within its execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ThreadId(pub(crate) u64);

impl ThreadId {
    /// The machine itself. Branches and iterations will be threads beside it.
    pub(crate) const ROOT: Self = Self(0);
}

/// One line of control: in one state at a time, with variables of its own.
///
/// Names of states are unique in the whole definition, so a name alone says where a thread is. Its variables are its own:
/// an inner scope begins with a copy of the outer one, which cannot change while the outer thread waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Thread {
    pub(super) state: String,
    pub(super) input: Arc<Value>,
    pub(super) variables: Variables,
    pub(super) entered_at: Timestamp,
    /// AWS's number of the event; some causes quote it.
    pub(super) entered_event: u64,
    /// Retries used on this visit, by retrier.
    pub(super) retries: Vec<u32>,
    pub(super) waits_for: WaitsFor,
}

/// What a thread waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum WaitsFor {
    /// Nothing: it is on its way.
    Nothing,
    /// An attempt's end.
    Task(TaskId),
    /// The end of a Wait state.
    Time(Timestamp),
    /// The next attempt.
    Retry(Timestamp),
}

impl Thread {
    pub(super) fn new(state: &str, input: Arc<Value>, now: Timestamp) -> Self {
        Self {
            state: state.to_owned(),
            input,
            variables: Variables::new(),
            entered_at: now,
            entered_event: 0,
            retries: Vec::new(),
            waits_for: WaitsFor::Nothing,
        }
    }

    /// Goes on to another state.
    pub(super) fn move_to(&mut self, state: &str, input: Arc<Value>, now: Timestamp, event: u64) {
        state.clone_into(&mut self.state);
        self.input = input;
        self.entered_at = now;
        self.entered_event = event;
        self.retries.clear();
        self.waits_for = WaitsFor::Nothing;
    }

    /// When time has to wake it.
    pub(super) fn due(&self) -> Option<Timestamp> {
        match self.waits_for {
            WaitsFor::Nothing | WaitsFor::Task(_) => None,
            WaitsFor::Time(at) | WaitsFor::Retry(at) => Some(at),
        }
    }

    /// The attempt that it waits for.
    pub(super) fn attempt(&self) -> Option<TaskId> {
        match self.waits_for {
            WaitsFor::Task(id) => Some(id),
            _ => None,
        }
    }

    /// `$states.context.State.RetryCount`
    pub(super) fn retry_count(&self) -> u32 {
        self.retries.iter().fold(0, |sum, used| sum.saturating_add(*used))
    }
}
