//! Lines of control within an execution.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::{MapRunId, TaskId};
use super::map_run::OpenMapRun;
use crate::MAX_PAYLOAD_BYTES;
use crate::scope::Variables;
use crate::size;

/// Names a thread within its execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ThreadId(pub(crate) u64);

impl ThreadId {
    /// The machine itself; branches and iterations are threads beside it.
    pub(crate) const ROOT: Self = Self(0);
}

/// One line of control: in one state at a time, with variables of its own.
///
/// Names of states are unique in the whole definition, so a name alone says where a thread is. Its variables are its own:
/// an inner scope begins with a copy of the outer one, which cannot change while the outer thread waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Thread {
    /// None for the machine itself.
    pub(super) within: Option<Within>,
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

/// Whose branch or iteration a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Within {
    /// The thread that waits for it.
    pub(super) parent: ThreadId,
    /// The branch's or the item's index.
    pub(super) index: usize,
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
    /// The next attempt, after an error of this name.
    Retry { at: Timestamp, error: String },
    /// Its branches or iterations.
    Inner(InnerThreads),
    /// Its children.
    MapRun(Box<OpenMapRun>),
}

/// Branches or iterations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct InnerThreads {
    outputs: Vec<Option<Arc<Value>>>,
    /// How many have not ended.
    open: usize,
    /// Bytes of all outputs. Those beyond what a payload takes are counted and not kept, so that memory has a limit.
    bytes: usize,
    /// Items that no iteration has begun with.
    items: VecDeque<Arc<Value>>,
}

impl InnerThreads {
    /// So many branches.
    pub(super) fn branches(count: usize) -> Self {
        Self { outputs: vec![None; count], open: count, bytes: 0, items: VecDeque::new() }
    }

    /// An iteration for each item.
    pub(super) fn iterations(items: Vec<Arc<Value>>) -> Self {
        let count = items.len();
        Self { items: items.into(), ..Self::branches(count) }
    }

    /// The next item to begin an iteration with, and its index.
    pub(super) fn next_item(&mut self) -> Option<(usize, Arc<Value>)> {
        let index = self.outputs.len() - self.items.len();
        Some((index, self.items.pop_front()?))
    }

    /// One of them has ended.
    pub(super) fn put(&mut self, index: usize, output: Arc<Value>) {
        let Some(place) = self.outputs.get_mut(index).filter(|place| place.is_none()) else { return };
        self.bytes = self.bytes.saturating_add(size::bytes(&output));
        *place = Some(if self.bytes > MAX_PAYLOAD_BYTES { Arc::default() } else { output });
        self.open -= 1;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// What they came to; none if it is more than a state may hand on.
    pub(super) fn result(&self) -> Option<Value> {
        let values = self.outputs.iter().flatten();
        (self.bytes <= MAX_PAYLOAD_BYTES).then(|| values.map(|value| Value::clone(value)).collect())
    }
}

impl Thread {
    pub(super) fn new(
        within: Option<Within>,
        state: &str,
        input: Arc<Value>,
        variables: Variables,
        now: Timestamp,
    ) -> Self {
        Self {
            within,
            state: state.to_owned(),
            input,
            variables,
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
        match &self.waits_for {
            WaitsFor::Time(at) | WaitsFor::Retry { at, .. } => Some(*at),
            WaitsFor::Nothing | WaitsFor::Task(_) | WaitsFor::Inner(_) | WaitsFor::MapRun(_) => None,
        }
    }

    /// If it waits to retry after this error: it waits no longer than until now.
    pub(super) fn hasten(&mut self, after: &str, now: Timestamp) {
        if let WaitsFor::Retry { at, error } = &mut self.waits_for
            && error == after
        {
            *at = now.min(*at);
        }
    }

    /// The attempt that it waits for.
    pub(super) fn attempt(&self) -> Option<TaskId> {
        match self.waits_for {
            WaitsFor::Task(id) => Some(id),
            _ => None,
        }
    }

    /// The Map run that it waits for.
    pub(super) fn map_run(&self) -> Option<MapRunId> {
        match &self.waits_for {
            WaitsFor::MapRun(run) => Some(run.id),
            _ => None,
        }
    }

    /// `$states.context.State.RetryCount`
    pub(super) fn retry_count(&self) -> u32 {
        self.retries.iter().fold(0, |sum, used| sum.saturating_add(*used))
    }
}
