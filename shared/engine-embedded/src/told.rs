//! What the journal holds: everything that the interpreter was told, in order, with the time of the telling.

use contracts::Timestamp;
use serde::{Deserialize, Serialize};
use store::{JournalRecord, StoreError};

/// One thing told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    /// When; the interpreter has no other clock.
    pub(crate) at: Timestamp,
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
    /// An attempt ended.
    Attempt(asl::Event),
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
}

fn inconsistent(error: serde_json::Error) -> StoreError {
    StoreError::Inconsistent(error.to_string())
}
