//! What the journal holds: everything that the interpreter was told, in order, with the time of the telling. Once a child
//! of a Map has ended, its end stands for all that it was told.

use asl::{ChildEnd, ChildPath, ExecutionTree, MapRunId};
use contracts::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{JournalRecord, StoreError};

/// One thing told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    /// When; the interpreter has no other clock.
    pub(crate) at: Timestamp,
    /// Whom: the execution itself, or one below it.
    #[serde(default, skip_serializing_if = "ChildPath::is_root")]
    pub(crate) path: ChildPath,
    /// What.
    pub(crate) what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum What {
    /// The execution begins.
    Start {
        /// Where its random numbers come from.
        seed: u64,
    },
    /// Something happened outside.
    #[serde(alias = "Attempt")]
    Event(asl::Event),
    /// The child of an item begins.
    Item { map_run: MapRunId, index: u64, item: Value },
    /// A child ended.
    End(ChildEnd),
    /// Time has passed: timers that are due fire.
    Timer,
}

impl Told {
    pub(crate) fn to_record(&self) -> Result<JournalRecord, StoreError> {
        serde_json::to_value(self).map(JournalRecord).map_err(inconsistent)
    }

    pub(crate) fn from_record(record: &JournalRecord) -> Result<Self, StoreError> {
        Self::deserialize(&record.0).map_err(inconsistent)
    }

    /// The execution that this is only about: with its end it may be forgotten.
    pub(crate) fn owner(&self) -> ChildPath {
        match &self.what {
            What::Item { map_run, index, .. } => self.path.child(*map_run, *index),
            What::Start { .. } | What::Event(_) | What::End(_) | What::Timer => self.path.clone(),
        }
    }

    /// Tells it.
    pub(crate) fn tell(self, tree: &mut ExecutionTree) {
        let Self { at, path, what } = self;
        match what {
            What::Start { .. } => {}
            What::Event(event) => tree.handle_event(&path, event, at),
            What::Item { map_run, index, item } => tree.handle_item(&path, map_run, index, item, at),
            What::End(end) => tree.handle_end(end, at),
            What::Timer => tree.handle_timeout(at),
        }
    }
}

fn inconsistent(error: serde_json::Error) -> StoreError {
    StoreError::Inconsistent(error.to_string())
}
