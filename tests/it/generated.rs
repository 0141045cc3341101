//! Cases that repeat a pattern for each step of each workflow, made from its state machine. The invariants judge them,
//! and an expectation that says how it ends, why, at which step and with what left behind.

use contracts::{ErrorName, Status};
use reference_services::Fault;
use serde_json::Value;

use crate::cases::Case;
use crate::subjects::{self, Subject};
use crate::world::{Control, ControlAction, Dispatch, Script};

/// What happens to one step of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// The service answers 503 once.
    Retried,
    /// The connection breaks five times before there is an answer, which is more often than a 503 is put up with.
    Unreached,
    /// The service refuses for good.
    Refused,
    /// The function fails once before it does anything.
    LambdaFault,
    /// The execution is paused before it, and resumed.
    PausedBefore,
    /// The service answers 503 once when it is undone.
    UndoRetried,
    /// The connection breaks twelve times when it is undone.
    UndoUnreached,
    /// The service answers 503 as often as undoing it is tried.
    Residue,
}

impl Pattern {
    const ALL: [Self; 8] = [
        Self::Retried,
        Self::Refused,
        Self::LambdaFault,
        Self::PausedBefore,
        Self::UndoRetried,
        Self::Residue,
        Self::Unreached,
        Self::UndoUnreached,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retry",
            Self::Unreached => "unreached",
            Self::Refused => "refused",
            Self::LambdaFault => "lambda-fault",
            Self::PausedBefore => "paused-before",
            Self::UndoRetried => "undo-retried",
            Self::UndoUnreached => "undo-unreached",
            Self::Residue => "residue",
        }
    }
}

/// A case that no file holds.
#[derive(Debug, Clone)]
pub(crate) struct Generated {
    /// E.g. `retry-createuseraccount`.
    pub(crate) name: String,
    pub(crate) case: Case,
    pub(crate) expected: Expected,
}

/// How it ends.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    status: Status,
    /// The error's name and the step that failed, unless it completes.
    failure: Option<(ErrorName, String)>,
    /// The steps whose effect may stand.
    residue: Vec<String>,
    /// How often a Task is tried. None where the engine's own faults are not seen by those who write the history.
    attempts: Option<(String, usize)>,
}

impl Expected {
    /// Whether this came out.
    pub(crate) fn check(&self, outcome: &Value) -> Result<(), String> {
        let text = |pointer: &str| outcome.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let residue = outcome.pointer("/failure/residue").and_then(Value::as_array).into_iter().flatten();
        let residue: Vec<&str> = residue.filter_map(|residue| residue["step"].as_str()).collect();
        let (error, step) = self.failure.clone().unzip();
        let expected = (Some(self.status.as_str().to_owned()), error.map(|error| error.as_str().to_owned()), step);
        let actual = (text("/status"), text("/failure/error"), text("/failure/step"));
        if expected != actual || self.residue != residue {
            return Err(format!("expected {expected:?}, left {:?}, got {actual:?}, left {residue:?}", self.residue));
        }
        let Some((task, expected)) = &self.attempts else { return Ok(()) };
        let history = outcome["history"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let is_attempt = |line: &&str| {
            ["ActivityTaskScheduled", "CompensationScheduled"]
                .iter()
                .any(|event| line.strip_prefix(event).is_some_and(|rest| rest.split(' ').nth(1) == Some(task)))
        };
        let attempts = history.filter(is_attempt).count();
        if attempts == *expected { Ok(()) } else { Err(format!("{attempts} attempts of {task}, not {expected}")) }
    }
}

/// The cases of a workflow, by pattern.
pub(crate) fn cases(subject: &Subject) -> Vec<Generated> {
    // What batches do is no event of its own: stories tell of it.
    if subject.workflow().has_batches() {
        return Vec::new();
    }
    let machine = subject.machine();
    Pattern::ALL.into_iter().flat_map(|pattern| of_pattern(subject, &machine, pattern)).collect()
}

/// One case of each pattern, each about another step where there are enough.
pub(crate) fn sample(subject: &Subject) -> Vec<Generated> {
    let machine = subject.machine();
    let one = |(number, pattern): (usize, Pattern)| {
        let mut cases = of_pattern(subject, &machine, pattern);
        cases.swap_remove(number % cases.len())
    };
    Pattern::ALL.into_iter().enumerate().map(one).collect()
}

/// All cases of all workflows, or a sample.
pub(crate) fn selected(is_full: bool) -> impl Iterator<Item = (&'static Subject, Generated)> {
    let of = move |subject| if is_full { cases(subject) } else { sample(subject) };
    subjects::ALL.into_iter().flat_map(move |subject| of(subject).into_iter().map(move |case| (subject, case)))
}

fn of_pattern(subject: &Subject, machine: &Value, pattern: Pattern) -> Vec<Generated> {
    let steps = subject.steps().iter().map(|step| step.state.as_str());
    match pattern {
        Pattern::UndoRetried | Pattern::UndoUnreached | Pattern::Residue => {
            let undos = steps.filter_map(|step| undo_of(machine, step).map(|undo| (step, undo)));
            undos.map(|(step, undo)| undone(subject, machine, pattern, step, undo)).collect()
        }
        _ => steps.map(|step| forward(subject, pattern, step)).collect(),
    }
}

/// The Task that undoes a step.
fn undo_of<'m>(machine: &'m Value, step: &str) -> Option<&'m str> {
    let mut states = machine["States"].as_object()?.iter();
    states.find(|(_, state)| state["Arguments"]["Payload"]["step"]["undoes"] == step).map(|(name, _)| name.as_str())
}

/// Something happens to a forward step.
fn forward(subject: &Subject, pattern: Pattern, step: &str) -> Generated {
    let site = subject.site(step);
    let status = |status| Fault::Status { status, retry_after_seconds: None };
    let dispatch = |error: &str, times| {
        let dispatch = Dispatch { step: step.to_owned(), error: error.to_owned(), times, after_effect: false };
        Script { dispatch: vec![dispatch], ..Script::default() }
    };
    let mut expected = Expected { status: Status::Completed, failure: None, residue: Vec::new(), attempts: None };
    let mut case = Case::default();
    match pattern {
        Pattern::Retried => {
            case.faults = site.faulty(status(503), Some(1));
            expected.attempts = Some((step.to_owned(), 2));
        }
        Pattern::Unreached => {
            case.faults = site.faulty(Fault::Reset, Some(5));
            expected.attempts = Some((step.to_owned(), 6));
        }
        Pattern::Refused => {
            case.faults = site.faulty(status(400), None);
            expected.attempts = Some((step.to_owned(), 1));
            if !subject.is_tolerated(step) {
                expected.status = Status::Failed;
                expected.failure = Some((ErrorName::ServiceRejected, step.to_owned()));
            }
        }
        Pattern::LambdaFault => case.script = dispatch("Lambda.Unknown", 1),
        _ => match step_before(subject, step) {
            Some(before) => case.script.control = pause_during(before),
            // Nothing comes before it: the attempt itself finds the pause.
            None => case.script = dispatch(ErrorName::WorkflowPaused.as_str(), 2),
        },
    }
    generated(pattern, step, case, expected)
}

fn pause_during(step: &str) -> Vec<Control> {
    let control = |what, after_seconds| Control { during: step.to_owned(), what, after_seconds };
    vec![control(ControlAction::Pause, 0), control(ControlAction::Resume, 60)]
}

/// Something happens to the undoing of a step, when everything is undone.
fn undone(subject: &Subject, machine: &Value, pattern: Pattern, step: &str, undo: &str) -> Generated {
    let site = subject.site(undo);
    let retries = machine["States"][undo]["Retry"][1]["MaxAttempts"].as_u64().unwrap();
    let status = Fault::Status { status: 503, retry_after_seconds: None };
    let (fault, times) = match pattern {
        Pattern::Residue => (status, retries + 1),
        Pattern::UndoUnreached => (Fault::Reset, 12),
        _ => (status, 1),
    };
    let case = Case { faults: site.faulty(fault, Some(times)), script: subject.script_to(&site), ..Case::default() };
    // The step that finds the execution cancelled.
    let found_by = step_after(subject, subject.last_before_pivot).to_owned();
    let (status, error, residue) = match pattern {
        Pattern::Residue => (Status::Failed, ErrorName::CompensationFailed, vec![step.to_owned()]),
        _ => (Status::Cancelled, ErrorName::WorkflowCancelled, Vec::new()),
    };
    let attempts = if pattern == Pattern::Residue { times } else { times + 1 };
    let attempts = Some((undo.to_owned(), attempts as usize));
    let expected = Expected { status, failure: Some((error, found_by)), residue, attempts };
    generated(pattern, step, case, expected)
}

fn generated(pattern: Pattern, step: &str, case: Case, expected: Expected) -> Generated {
    let name = format!("{}-{}", pattern.as_str(), step.to_lowercase());
    let about = format!("{pattern:?}: {step}");
    Generated { name, case: Case { about, ..case }, expected }
}

fn position(subject: &Subject, step: &str) -> usize {
    subject.steps().iter().position(|of| of.state == step).unwrap()
}

fn step_before<'s>(subject: &'s Subject, step: &str) -> Option<&'s str> {
    position(subject, step).checked_sub(1).map(|before| subject.steps()[before].state.as_str())
}

fn step_after<'s>(subject: &'s Subject, step: &str) -> &'s str {
    &subject.steps()[position(subject, step) + 1].state
}
