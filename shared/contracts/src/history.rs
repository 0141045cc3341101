//! What users read as an execution's history: Temporal's vocabulary, whichever engine runs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
