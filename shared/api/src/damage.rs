//! Executions whose record or journal is damaged: what is said of them, and what cannot be done to them.

use store::{ExecutionRecord, StoreError};

use crate::{Api, Problem};

/// Why nothing of an execution goes on, for people; none if it is sound.
pub(crate) fn of(api: &Api, record: &ExecutionRecord) -> Option<String> {
    if let Some(damage) = &record.damage {
        return Some(format!("Its record is damaged: {}.", damage.why));
    }
    in_quarantine(api, &record.id).filter(|_| record.status.is_open())
}

/// The same, where only the engine knows of it.
pub(crate) fn in_quarantine(api: &Api, id: &str) -> Option<String> {
    api.engines.quarantined(id).map(|why| format!("It stands still: {why}."))
}

/// The answer to what cannot be done to such an execution.
pub(crate) fn refused(id: &str, why: &str) -> Problem {
    Problem::conflict(id, format!("{why} All that can be done is to terminate it, which undoes nothing."))
}

/// The answer where what is stored of an execution cannot be read.
pub(crate) fn unreadable(id: &str, error: StoreError) -> Problem {
    match error {
        StoreError::Inconsistent(problem) => {
            tracing::error!(workflow_id = id, problem, "what is stored is damaged");
            Problem::damaged(id, format!("What is stored of it is damaged: {problem}."))
        }
        error => error.into(),
    }
}
