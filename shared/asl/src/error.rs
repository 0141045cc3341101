//! How a state fails.

use serde_json::{Value, json};

/// An error with AWS's name and, mostly, a cause.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StateError {
    pub(crate) error: Option<String>,
    pub(crate) cause: Option<String>,
    /// The field whose evaluation failed; then an `EvaluationFailed` event is due.
    pub(crate) evaluation: Option<Evaluation>,
}

/// Where an evaluation failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evaluation {
    pub(crate) location: Option<String>,
}

impl StateError {
    pub(crate) fn new(error: &str, cause: impl Into<String>) -> Self {
        Self { error: Some(error.to_owned()), cause: Some(cause.into()), evaluation: None }
    }

    /// An evaluation error; the cause still lacks the words that name the state.
    pub(crate) fn evaluation(cause: impl Into<String>, location: Option<&str>) -> Self {
        let evaluation = Evaluation { location: location.map(str::to_owned) };
        Self { evaluation: Some(evaluation), ..Self::new("States.QueryEvaluationError", cause) }
    }

    pub(crate) fn name(&self) -> &str {
        self.error.as_deref().unwrap_or_default()
    }

    /// `$states.errorOutput`.
    pub(crate) fn output(&self) -> Value {
        json!({ "Error": self.name(), "Cause": self.cause.as_deref().unwrap_or_default() })
    }

    /// Whether an `ErrorEquals` list names it.
    pub(crate) fn matches(&self, error_equals: &[String]) -> bool {
        error_equals.iter().any(|name| match name.as_str() {
            "States.ALL" => true,
            // Every failure of a task but a time-out, whatever name the function gave it.
            "States.TaskFailed" => self.evaluation.is_none() && self.name() != "States.Timeout",
            // A missed heartbeat is a time-out too.
            "States.Timeout" => matches!(self.name(), "States.Timeout" | "States.HeartbeatTimeout"),
            name => name == self.name(),
        })
    }
}
