//! How what happens to an execution reads as events, progress and end; one place for every engine.

use contracts::step::{StepKind, StepPath};
use contracts::{EventType, Status, Timestamp};
use serde_json::{Value, json};

use crate::{End, EngineEnd, NewEvent, Refusal, Reported, StepRef};

/// The error of an attempt that did not end in time, as engines name it.
pub const TIMEOUT: &str = "States.Timeout";

/// The error of an attempt that was silent for too long.
pub const HEARTBEAT_TIMEOUT: &str = "States.HeartbeatTimeout";

/// An attempt, as its events name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEvents {
    /// The activity.
    pub activity: String,
    /// The step.
    pub path: StepPath,
    /// Doing or undoing.
    pub kind: StepKind,
    /// The step that a compensation undoes.
    pub undoes: Option<StepPath>,
    /// From 1.
    pub number: u32,
}

impl AttemptEvents {
    /// Of an attempt of a step.
    pub fn of(step: &StepRef, number: u32) -> Self {
        Self {
            activity: step.activity.clone(),
            path: step.path.clone(),
            kind: step.kind,
            undoes: step.undoes.clone(),
            number,
        }
    }

    /// It is about to begin.
    pub fn scheduled(&self, at: Timestamp) -> NewEvent {
        let event_type = match self.kind {
            StepKind::Forward => EventType::ActivityTaskScheduled,
            StepKind::Compensation => EventType::CompensationScheduled,
        };
        let undoes = self.undoes.as_ref().map(|undoes| json!({ "undoes": undoes }));
        self.event(event_type, at, undoes.unwrap_or_else(|| json!({})))
    }

    /// It began; the beginning of an undoing is no event of its own.
    pub fn started(&self, at: Timestamp) -> Option<NewEvent> {
        (self.kind == StepKind::Forward).then(|| self.event(EventType::ActivityTaskStarted, at, json!({})))
    }

    /// It succeeded.
    pub fn succeeded(&self, result: &Value, at: Timestamp) -> NewEvent {
        let event_type = match self.kind {
            StepKind::Forward => EventType::ActivityTaskCompleted,
            StepKind::Compensation => EventType::CompensationCompleted,
        };
        self.event(event_type, at, json!({ "result": result }))
    }

    /// It failed; `cause` is the JSON text of a [`contracts::Cause`], or whatever an engine says.
    pub fn failed(&self, error: &str, cause: &str, at: Timestamp) -> NewEvent {
        let cause = serde_json::from_str(cause).unwrap_or_else(|_| json!({ "message": cause }));
        let event_type = match self.kind {
            StepKind::Forward if [TIMEOUT, HEARTBEAT_TIMEOUT].contains(&error) => EventType::ActivityTaskTimedOut,
            StepKind::Forward => EventType::ActivityTaskFailed,
            StepKind::Compensation => EventType::CompensationFailed,
        };
        self.event(event_type, at, json!({ "error": error, "cause": cause }))
    }

    fn event(&self, event_type: EventType, at: Timestamp, more: Value) -> NewEvent {
        let mut details = json!({ "activity_type": self.activity, "activity_id": self.path, "attempt": self.number });
        if let (Value::Object(details), Value::Object(more)) = (&mut details, more) {
            details.extend(more);
        }
        NewEvent { event_type, at, details }
    }
}

/// What an execution has to say of its steps at its end.
#[derive(Debug)]
pub struct Ended<'a> {
    /// The steps whose effects were undone, in order.
    pub undone: Vec<String>,
    /// Steps of the execution that it retries whose effects may still stand, and to which it never came.
    pub left: Vec<&'a StepPath>,
}

/// How an execution ended, and the event that says so; `attempts_of` knows how often a step was tried.
pub fn ending(
    end: &EngineEnd,
    reported: &Reported,
    ended: Ended<'_>,
    attempts_of: impl Fn(&str) -> u32,
    at: Timestamp,
) -> (End, NewEvent) {
    let Ended { undone, left } = ended;
    let (error, cause) = match end {
        EngineEnd::Succeeded(output) => {
            let result = reported.result(Status::Completed, Some(output.clone()));
            let details = json!({ "result": result });
            let end = End { status: Status::Completed, result, failure: None };
            return (end, NewEvent { event_type: EventType::WorkflowExecutionCompleted, at, details });
        }
        EngineEnd::Failed { error, cause } => (error.as_deref(), cause.as_deref()),
        EngineEnd::Terminated => (Some("Terminated"), Some("ended by an operator, nothing was undone")),
    };
    let mut ended = workflows::unsuccessful_end(error, cause, undone, attempts_of);
    if *end != EngineEnd::Terminated {
        ended.leave(&left);
    }
    let status = if *end == EngineEnd::Terminated { Status::Terminated } else { ended.status };
    let event_type = match status {
        Status::Cancelled => EventType::WorkflowExecutionCanceled,
        Status::TimedOut => EventType::WorkflowExecutionTimedOut,
        Status::Terminated => EventType::WorkflowExecutionTerminated,
        _ => EventType::WorkflowExecutionFailed,
    };
    let result = reported.result(status, None);
    let mut details = json!({ "error": ended.failure.error, "failure": ended.failure });
    if let Some(result) = &result {
        details["result"] = result.clone();
    }
    (End { status, result, failure: Some(ended.failure) }, NewEvent { event_type, at, details })
}

/// The same of one that is terminated although not everything of it can be read.
pub fn ending_of_damaged(at: Timestamp) -> (End, NewEvent) {
    let ended = Ended { undone: Vec::new(), left: Vec::new() };
    ending(&EngineEnd::Terminated, &Reported::default(), ended, |_| 0, at)
}

/// What people read while a step is under way, or its undoing.
pub fn status_message(title: Option<&str>, kind: StepKind) -> String {
    match kind {
        StepKind::Compensation => title.unwrap_or("Undoing what was done").to_owned(),
        StepKind::Forward => title.unwrap_or_default().to_owned(),
    }
}

/// The events of a step that may not begin: it was about to, and was refused.
pub fn refused(attempt: &AttemptEvents, refusal: Refusal, at: Timestamp) -> [NewEvent; 2] {
    let error = contracts::ActivityError::new(refusal.error_name(), refusal.message());
    [attempt.scheduled(at), attempt.failed(&error.error, &error.cause_text(), at)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_was_too_long_or_silent_for_too_long_timed_out() {
        let events = AttemptEvents {
            activity: "a".to_owned(),
            path: StepPath::of_state("A"),
            kind: StepKind::Forward,
            undoes: None,
            number: 1,
        };
        for (error, expected) in [
            (TIMEOUT, EventType::ActivityTaskTimedOut),
            (HEARTBEAT_TIMEOUT, EventType::ActivityTaskTimedOut),
            ("ServiceUnavailable", EventType::ActivityTaskFailed),
        ] {
            assert_eq!(events.failed(error, "", Timestamp::UNIX_EPOCH).event_type, expected, "{error}");
        }
    }
}
