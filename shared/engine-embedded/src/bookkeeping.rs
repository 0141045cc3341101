//! What the engine knows of an execution besides the interpreter's state: the steps as users see them.
//!
//! Derived from nothing but the interpreter's commands and what it was told, so a replay rebuilds it.

use std::collections::{BTreeMap, BTreeSet};

use asl::ChildPath;
use contracts::step::{StepCall, StepKind};
use contracts::{ErrorName, Timestamp};
use serde_json::Value;
use store::events::{self, AttemptEvents};
use store::{End, EngineEnd, NewEvent, Progress};
use workflows::Workflow;

use crate::attempt::AttemptId;

/// A scheduled attempt that has not ended.
#[derive(Debug, Clone)]
struct OpenAttempt {
    /// None of a child's: the batches of a Map are no steps.
    events: Option<AttemptEvents>,
    undoes: Option<String>,
}

/// What there is to say of an attempt that is to begin.
pub(crate) struct ScheduledAttempt {
    pub(crate) kind: StepKind,
    /// From 1.
    pub(crate) number: u32,
    pub(crate) event: Option<NewEvent>,
}

/// The steps of one execution.
#[derive(Debug, Default)]
pub(crate) struct Bookkeeping {
    open: BTreeMap<AttemptId, OpenAttempt>,
    attempts: BTreeMap<String, u32>,
    /// Forward steps that have begun and are not over.
    begun: BTreeSet<String>,
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
        id: &AttemptId,
        state: &str,
        activity: &str,
        payload: &Value,
        retry_count: u32,
        at: Timestamp,
    ) -> ScheduledAttempt {
        let step = serde_json::from_value::<StepCall>(payload.clone()).ok().map(|call| call.step);
        let kind = step.as_ref().map_or(StepKind::Forward, |step| step.kind);
        let undoes = step.and_then(|step| step.undoes);
        if !id.0.is_root() {
            self.open.insert(id.clone(), OpenAttempt { events: None, undoes });
            return ScheduledAttempt { kind, number: retry_count + 1, event: None };
        }
        let number = self.attempts.entry(state.to_owned()).or_default();
        *number += 1;
        let events = AttemptEvents { activity: activity.to_owned(), step: state.to_owned(), kind, number: *number };
        if kind == StepKind::Forward && self.current_step != state {
            // The machine went on without them: whatever became of the steps before, they are over, but for those that
            // are under way in other branches.
            let open: BTreeSet<&str> =
                self.open.values().filter_map(|open| Some(open.events.as_ref()?.step.as_str())).collect();
            let is_left = |step: &String| step != state && !open.contains(step.as_str());
            self.over.extend(self.begun.extract_if(.., is_left));
            self.begun.insert(state.to_owned());
            self.current_step = state.to_owned();
        }
        self.compensating = kind == StepKind::Compensation;
        let scheduled = ScheduledAttempt { kind, number: events.number, event: Some(events.scheduled(at)) };
        self.open.insert(id.clone(), OpenAttempt { events: Some(events), undoes });
        scheduled
    }

    /// An attempt is of no interest any more.
    pub(crate) fn cancel(&mut self, id: &AttemptId) {
        self.open.remove(id);
    }

    /// Whether an attempt was scheduled and has not ended.
    pub(crate) fn is_open(&self, id: &AttemptId) -> bool {
        self.open.contains_key(id)
    }

    /// An attempt ended; `began_at` is none if it was refused before it began.
    pub(crate) fn settle(
        &mut self,
        path: &ChildPath,
        event: &asl::Event,
        began_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Vec<NewEvent> {
        let (asl::Event::TaskSucceeded { id, .. } | asl::Event::TaskFailed { id, .. }) = event else {
            return Vec::new();
        };
        let Some(OpenAttempt { events: Some(events), undoes }) = self.open.remove(&(path.clone(), *id)) else {
            return Vec::new();
        };
        if is_paused(event) {
            // A pause leaves no trace, however often it is met: this attempt never was.
            if let Some(number) = self.attempts.get_mut(&events.step) {
                *number -= 1;
            }
            return Vec::new();
        }
        let mut happened: Vec<NewEvent> = began_at.and_then(|began_at| events.started(began_at)).into_iter().collect();
        match event {
            asl::Event::TaskSucceeded { result, .. } => {
                happened.push(events.succeeded(result, at));
                match events.kind {
                    StepKind::Forward => {
                        self.begun.remove(&events.step);
                        self.over.insert(events.step);
                    }
                    StepKind::Compensation => {
                        let undone = undoes.unwrap_or(events.step);
                        if result["undone"] == true && !self.undone.contains(&undone) {
                            self.undone.push(undone);
                        }
                    }
                }
            }
            asl::Event::TaskFailed { error, cause, .. } => happened.push(events.failed(error, cause, at)),
            _ => {}
        }
        happened
    }

    /// The execution ended.
    pub(crate) fn end(&self, outcome: &asl::Outcome, at: Timestamp) -> (End, NewEvent) {
        let end = match outcome {
            asl::Outcome::Succeeded { output } => EngineEnd::Succeeded(output.clone()),
            asl::Outcome::Failed { error, cause } => EngineEnd::Failed { error: error.clone(), cause: cause.clone() },
        };
        let attempts = |step: &str| self.attempts.get(step).copied().unwrap_or_default();
        events::ending(&end, self.undone.clone(), attempts, at)
    }

    /// How far the execution is.
    pub(crate) fn progress(&self, workflow: &Workflow, end: Option<&End>) -> Progress {
        let kind = if self.compensating { StepKind::Compensation } else { StepKind::Forward };
        let progress = Progress {
            current_step: self.current_step.clone(),
            total_steps: workflow.steps.len() as u32,
            completed_steps: self.over.len() as u32,
            status_message: Some(events::status_message(Some(workflow), &self.current_step, kind)),
        };
        match end {
            Some(end) => events::final_progress(progress, end),
            None => progress,
        }
    }
}

/// Whether the attempt was held back by a pause.
fn is_paused(event: &asl::Event) -> bool {
    matches!(event, asl::Event::TaskFailed { error, .. } if error == ErrorName::WorkflowPaused.as_str())
}
