//! What the engine knows of an execution besides the interpreter's state: the steps as users see them.
//!
//! Derived from nothing but the interpreter's commands and what it was told, so a replay rebuilds it.

use std::collections::{BTreeMap, BTreeSet};

use contracts::step::{StepCall, StepKind};
use contracts::{ErrorName, EventType, Status, Timestamp};
use serde_json::{Value, json};
use store::{End, NewEvent, Progress};
use workflows::Workflow;

/// A scheduled attempt that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct OpenAttempt {
    pub(crate) step: String,
    pub(crate) kind: StepKind,
    undoes: Option<String>,
    activity: String,
    pub(crate) number: u32,
}

/// The steps of one execution.
#[derive(Debug, Default)]
pub(crate) struct Bookkeeping {
    pub(crate) open: BTreeMap<asl::TaskId, OpenAttempt>,
    attempts: BTreeMap<String, u32>,
    /// Forward steps that are over: done, skipped, or failed and left behind by a later step.
    over: BTreeSet<String>,
    undone: Vec<String>,
    current_step: String,
    compensating: bool,
}

impl Bookkeeping {
    /// An attempt is to begin.
    pub(crate) fn schedule(
        &mut self,
        id: asl::TaskId,
        state: &str,
        activity: &str,
        payload: &Value,
        at: Timestamp,
    ) -> NewEvent {
        let step = serde_json::from_value::<StepCall>(payload.clone()).ok().map(|call| call.step);
        let kind = step.as_ref().map_or(StepKind::Forward, |step| step.kind);
        let number = self.attempts.entry(state.to_owned()).or_default();
        *number += 1;
        let attempt = OpenAttempt {
            step: state.to_owned(),
            kind,
            undoes: step.and_then(|step| step.undoes),
            activity: activity.to_owned(),
            number: *number,
        };
        if kind == StepKind::Forward && self.current_step != state {
            // The machine went on without it: whatever became of the step before, it is over.
            let before = std::mem::replace(&mut self.current_step, state.to_owned());
            self.over.insert(before);
            self.over.remove("");
        }
        self.compensating = kind == StepKind::Compensation;
        let event = attempt.event(
            match kind {
                StepKind::Forward => EventType::ActivityTaskScheduled,
                StepKind::Compensation => EventType::CompensationScheduled,
            },
            at,
            json!({}),
        );
        self.open.insert(id, attempt);
        event
    }

    /// An attempt ended; `began_at` is none if it was refused before it began.
    pub(crate) fn settle(&mut self, event: &asl::Event, began_at: Option<Timestamp>, at: Timestamp) -> Vec<NewEvent> {
        let id = match event {
            asl::Event::TaskSucceeded { id, .. } | asl::Event::TaskFailed { id, .. } => id,
        };
        let Some(attempt) = self.open.remove(id) else {
            return Vec::new();
        };
        if is_paused(event) {
            // A pause leaves no trace, however often it is met: this attempt never was.
            if let Some(number) = self.attempts.get_mut(&attempt.step) {
                *number -= 1;
            }
            return Vec::new();
        }
        let mut events = Vec::new();
        if let (Some(began_at), StepKind::Forward) = (began_at, attempt.kind) {
            events.push(attempt.event(EventType::ActivityTaskStarted, began_at, json!({})));
        }
        events.push(match event {
            asl::Event::TaskSucceeded { result, .. } => {
                let details = json!({ "result": result });
                match attempt.kind {
                    StepKind::Forward => {
                        self.over.insert(attempt.step.clone());
                        attempt.event(EventType::ActivityTaskCompleted, at, details)
                    }
                    StepKind::Compensation => {
                        let undoes = attempt.undoes.as_ref().unwrap_or(&attempt.step);
                        if result["undone"] == true && !self.undone.contains(undoes) {
                            self.undone.push(undoes.clone());
                        }
                        attempt.event(EventType::CompensationCompleted, at, details)
                    }
                }
            }
            asl::Event::TaskFailed { error, cause, .. } => {
                let cause = serde_json::from_str(cause).unwrap_or_else(|_| json!({ "message": cause }));
                let event_type = match attempt.kind {
                    StepKind::Forward if error == "States.Timeout" => EventType::ActivityTaskTimedOut,
                    StepKind::Forward => EventType::ActivityTaskFailed,
                    StepKind::Compensation => EventType::CompensationFailed,
                };
                attempt.event(event_type, at, json!({ "error": error, "cause": cause }))
            }
        });
        events
    }

    /// The execution ended.
    pub(crate) fn end(&self, outcome: &asl::Outcome, at: Timestamp) -> (End, NewEvent) {
        match outcome {
            asl::Outcome::Succeeded { output } => {
                let end = End { status: Status::Completed, result: Some(output.clone()), failure: None };
                let details = json!({ "result": output });
                (end, NewEvent { event_type: EventType::WorkflowExecutionCompleted, at, details })
            }
            asl::Outcome::Failed { error, cause } => {
                let attempts = |step: &str| self.attempts.get(step).copied().unwrap_or_default();
                let ended = workflows::ended(error.as_deref(), cause.as_deref(), self.undone.clone(), attempts);
                let event_type = match ended.status {
                    Status::Cancelled => EventType::WorkflowExecutionCanceled,
                    Status::TimedOut => EventType::WorkflowExecutionTimedOut,
                    _ => EventType::WorkflowExecutionFailed,
                };
                let details = json!({ "error": ended.failure.error, "failure": ended.failure });
                let end = End { status: ended.status, result: None, failure: Some(ended.failure) };
                (end, NewEvent { event_type, at, details })
            }
        }
    }

    /// How far the execution is.
    pub(crate) fn progress(&self, workflow: &Workflow, end: Option<&End>) -> Progress {
        let total_steps = workflow.steps.len() as u32;
        let completed = end.is_some_and(|end| end.status == Status::Completed);
        let message = match end {
            Some(End { failure: Some(failure), .. }) => failure.summary(),
            Some(_) => "Done".to_owned(),
            None if self.compensating => "Undoing what was done".to_owned(),
            None => workflow.title(&self.current_step).unwrap_or_default().to_owned(),
        };
        Progress {
            current_step: self.current_step.clone(),
            total_steps,
            completed_steps: if completed { total_steps } else { self.over.len() as u32 },
            status_message: Some(message),
        }
    }
}

/// Whether the attempt was held back by a pause.
fn is_paused(event: &asl::Event) -> bool {
    matches!(event, asl::Event::TaskFailed { error, .. } if error == ErrorName::WorkflowPaused.as_str())
}

impl OpenAttempt {
    fn event(&self, event_type: EventType, at: Timestamp, more: Value) -> NewEvent {
        let mut details = json!({
            "activity_type": self.activity,
            "activity_id": self.step,
            "attempt": self.number,
        });
        if let (Value::Object(details), Value::Object(more)) = (&mut details, more) {
            details.extend(more);
        }
        NewEvent { event_type, at, details }
    }
}
