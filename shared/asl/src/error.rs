//! How a state fails.

use serde_json::{Value, json};

/// An error with AWS's name and, mostly, a cause.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StateError {
    pub(crate) error: Option<String>,
    pub(crate) cause: Option<String>,
    /// Where an evaluation failed; then an `EvaluationFailed` event is due.
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

    /// What the outside reported; a time-out has no cause.
    pub(crate) fn reported(error: String, cause: String) -> Self {
        let present = |text: String| (!text.is_empty()).then_some(text);
        Self { error: present(error), cause: present(cause), evaluation: None }
    }

    /// An evaluation error; the cause still lacks the words that name the state.
    pub(crate) fn evaluation(cause: impl Into<String>, location: &str) -> Self {
        let location = Some(location.to_owned());
        Self { evaluation: Some(Evaluation { location }), ..Self::new("States.QueryEvaluationError", cause) }
    }

    /// An evaluation error of no field.
    pub(crate) fn evaluation_anywhere(cause: impl Into<String>) -> Self {
        Self { evaluation: Some(Evaluation { location: None }), ..Self::new("States.QueryEvaluationError", cause) }
    }

    /// What nothing can be done about.
    pub(crate) fn runtime(cause: impl Into<String>) -> Self {
        Self::new("States.Runtime", cause)
    }

    pub(crate) fn no_such_state(state: &str) -> Self {
        Self::runtime(format!("The definition has no such state, or one of another type: '{state}'."))
    }

    /// More than a state may hand on; `resource` as AWS names it: `lambda`, an ARN, or the state.
    pub(crate) fn too_large(resource: &str) -> Self {
        let cause = format!(
            "The state/task '{resource}' returned a result with a size exceeding the maximum number of bytes service \
             limit."
        );
        Self::new("States.DataLimitExceeded", cause)
    }

    /// Completes the cause of an evaluation error, with AWS's number of the event that entered the state.
    pub(crate) fn name_state(&mut self, state: &str, entered_event: u64) {
        let cause = self.cause.as_deref().unwrap_or_default();
        self.cause = Some(format!(
            "An error occurred while executing the state '{state}' (entered at the event id #{entered_event}). {cause}"
        ));
    }

    pub(crate) fn name(&self) -> &str {
        self.error.as_deref().unwrap_or_default()
    }

    /// `$states.errorOutput`.
    pub(crate) fn output(&self) -> Value {
        json!({ "Error": self.name(), "Cause": self.cause.as_deref().unwrap_or_default() })
    }

    /// Whether an `ErrorEquals` list names it.
    ///
    /// <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>
    pub(crate) fn matches(&self, error_equals: &[String]) -> bool {
        // "Not retriable, and will always cause the execution to fail."
        let is_final = self.name() == "States.Runtime";
        !is_final
            && error_equals.iter().any(|name| match name.as_str() {
                "States.ALL" => true,
                // "A wildcard that matches any known error name except for States.Timeout."
                "States.TaskFailed" => self.name() != "States.Timeout",
                // "Or failed to send a heartbeat for a period longer than the HeartbeatSeconds value."
                "States.Timeout" => matches!(self.name(), "States.Timeout" | "States.HeartbeatTimeout"),
                name => name == self.name(),
            })
    }
}
