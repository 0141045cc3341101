//! What the journal holds: everything that the interpreter was told, in order, with the time of the telling. Once a child
//! of a Map has ended, its end stands for all that it was told.

use asl::{ChildPath, Told};
use contracts::Timestamp;
use serde::{Deserialize, Serialize};
use store::{JournalRecord, StoreError};

/// One thing told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When; the interpreter has no other clock.
    pub(crate) at: Timestamp,
    /// Whom: the execution itself, or one below it.
    #[serde(default, skip_serializing_if = "ChildPath::is_root")]
    pub(crate) path: ChildPath,
    /// What.
    pub(crate) what: Entry,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The execution begins.
    Start {
        /// Where its random numbers come from.
        seed: u64,
    },
    /// It goes on.
    #[serde(untagged)]
    Told(Told),
}

impl Record {
    pub(crate) fn to_journal(&self) -> Result<JournalRecord, StoreError> {
        serde_json::to_value(self).map(JournalRecord).map_err(inconsistent)
    }

    pub(crate) fn from_journal(record: JournalRecord) -> Result<Self, StoreError> {
        serde_json::from_value(record.0).map_err(inconsistent)
    }

    /// The execution that this is only about: with its end it may be forgotten.
    pub(crate) fn owner(&self) -> ChildPath {
        match &self.what {
            Entry::Told(Told::Item { map_run, index, .. }) => self.path.child(*map_run, *index),
            Entry::Start { .. } | Entry::Told(_) => self.path.clone(),
        }
    }
}

fn inconsistent(error: serde_json::Error) -> StoreError {
    StoreError::Inconsistent(error.to_string())
}
