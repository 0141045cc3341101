//! What users read as an execution's history: Temporal's vocabulary, whichever engine runs.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::UnknownName;

/// The kinds of history events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// `{workflow_type, input}`; the input is filled in from the request when the history is read.
    WorkflowExecutionStarted,
    /// `{activity_type, activity_id, attempt}`: an attempt of a step is about to begin.
    ActivityTaskScheduled,
    /// The attempt began.
    ActivityTaskStarted,
    /// The attempt succeeded: `{.., result}`.
    ActivityTaskCompleted,
    /// The attempt failed: `{.., error, cause}`.
    ActivityTaskFailed,
    /// The attempt took too long.
    ActivityTaskTimedOut,
    /// An attempt of undoing a step is about to begin: `{.., undoes}`.
    CompensationScheduled,
    /// The step is undone: `{.., result: {undone}}`.
    CompensationCompleted,
    /// The attempt to undo failed.
    CompensationFailed,
    /// `{result}`.
    WorkflowExecutionCompleted,
    /// `{error, failure}`.
    WorkflowExecutionFailed,
    /// `{failure}`.
    WorkflowExecutionCanceled,
    /// `{failure}`.
    WorkflowExecutionTimedOut,
    /// Ended by an operator without compensation.
    WorkflowExecutionTerminated,
    /// Held by an operator before its next step.
    WorkflowExecutionPaused,
    /// Let go on by an operator, or by a cancel.
    WorkflowExecutionResumed,
}

impl EventType {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::WorkflowExecutionStarted,
        Self::ActivityTaskScheduled,
        Self::ActivityTaskStarted,
        Self::ActivityTaskCompleted,
        Self::ActivityTaskFailed,
        Self::ActivityTaskTimedOut,
        Self::CompensationScheduled,
        Self::CompensationCompleted,
        Self::CompensationFailed,
        Self::WorkflowExecutionCompleted,
        Self::WorkflowExecutionFailed,
        Self::WorkflowExecutionCanceled,
        Self::WorkflowExecutionTimedOut,
        Self::WorkflowExecutionTerminated,
        Self::WorkflowExecutionPaused,
        Self::WorkflowExecutionResumed,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkflowExecutionStarted => "WorkflowExecutionStarted",
            Self::ActivityTaskScheduled => "ActivityTaskScheduled",
            Self::ActivityTaskStarted => "ActivityTaskStarted",
            Self::ActivityTaskCompleted => "ActivityTaskCompleted",
            Self::ActivityTaskFailed => "ActivityTaskFailed",
            Self::ActivityTaskTimedOut => "ActivityTaskTimedOut",
            Self::CompensationScheduled => "CompensationScheduled",
            Self::CompensationCompleted => "CompensationCompleted",
            Self::CompensationFailed => "CompensationFailed",
            Self::WorkflowExecutionCompleted => "WorkflowExecutionCompleted",
            Self::WorkflowExecutionFailed => "WorkflowExecutionFailed",
            Self::WorkflowExecutionCanceled => "WorkflowExecutionCanceled",
            Self::WorkflowExecutionTimedOut => "WorkflowExecutionTimedOut",
            Self::WorkflowExecutionTerminated => "WorkflowExecutionTerminated",
            Self::WorkflowExecutionPaused => "WorkflowExecutionPaused",
            Self::WorkflowExecutionResumed => "WorkflowExecutionResumed",
        }
    }
}

impl FromStr for EventType {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

/// One event of an execution's history, as users read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// From 1, without gaps within an execution.
    pub event_id: u64,
    /// One of [`EventType`]'s names.
    pub event_type: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// What happened; its shape depends on the type.
    pub details: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_and_read_by_its_name() {
        let named = include_str!("history.rs").matches(" => \"").count();
        assert_eq!(EventType::ALL.len(), named, "a kind is missing in ALL");
        for kind in EventType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.as_str().into()));
        }
    }
}
