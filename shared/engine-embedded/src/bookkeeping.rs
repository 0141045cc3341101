//! What the engine knows of an execution besides the interpreter's state: the steps as users see them.
//!
//! Derived from nothing but the interpreter's commands and what it was told, so a replay rebuilds it.

use std::collections::{BTreeMap, BTreeSet};

use asl::ChildPath;
use contracts::responses::Items;
use contracts::step::{Step, StepCall, StepKind, StepPath};
use contracts::{ErrorName, Timestamp};
use serde_json::{Map, Value};
use store::events::{self, AttemptEvents, Ended};
use store::{
    BatchChange, Effects, End, EngineEnd, Inherited, NewEvent, Progress, Reported, StepMoments, completed_steps,
};

use crate::attempt::AttemptId;

/// A scheduled attempt that has not ended.
#[derive(Debug, Clone)]
struct OpenAttempt {
    /// None of a batch: the batches of a Map are no events.
    events: Option<AttemptEvents>,
    /// Of a batch that does something.
    batch: Option<Batch>,
    undoes: Option<StepPath>,
    closes: bool,
    /// Where the execution stood before: a pause brings it back. None of a batch.
    before: Option<Position>,
}

/// A batch of a distributed Map.
#[derive(Debug, Clone)]
struct Batch {
    path: StepPath,
    /// How many there are, if its Task says so.
    batches: Option<u64>,
    /// Whether it reports how many of its items are done and how many failed.
    reports: bool,
}

/// Where an execution stands.
#[derive(Debug, Clone, Default)]
struct Position {
    /// The step that began last.
    step: String,
    /// When a forward step began last.
    forward_at: u64,
    message: String,
}

/// What there is to say of an attempt that is to begin.
pub(crate) struct ScheduledAttempt {
    pub(crate) kind: StepKind,
    pub(crate) path: StepPath,
    /// The step that a compensation undoes.
    pub(crate) undoes: Option<StepPath>,
    /// Whether nothing may interrupt the execution from its begin on.
    pub(crate) is_final: bool,
    /// Whether it passes a cancel and the deadline.
    pub(crate) passes: bool,
    /// With how many failed items it does not begin any more, if it is a batch that says so.
    pub(crate) stops_at: Option<u64>,
    /// From 1.
    pub(crate) number: u32,
    pub(crate) event: Option<NewEvent>,
}

/// What is known of a step.
#[derive(Debug, Default)]
struct StepRecord {
    attempts: u32,
    is_done: bool,
    /// It was answered from the record of the execution that this one retries.
    is_answered: bool,
    closed_at: Option<u64>,
}

/// The steps of one execution.
#[derive(Debug)]
pub(crate) struct Bookkeeping {
    open: BTreeMap<AttemptId, OpenAttempt>,
    steps: BTreeMap<StepPath, StepRecord>,
    /// Grows with every attempt: what tells earlier from later.
    attempts: u64,
    position: Position,
    undone: Vec<StepPath>,
    total_steps: u32,
    /// What steps have reported of the result.
    pub(crate) reported: Reported,
    /// What the execution took over from the one that it retries.
    inherited: Inherited,
    /// How far batches are, once one of them is over. A replay does not count: of children that have ended it knows no
    /// attempts.
    pub(crate) items: Option<Items>,
    /// Batches of which an attempt has failed, and none has done them since; of children that have ended only those of this
    /// life.
    failed_batches: BTreeSet<StepPath>,
}

/// The step of a Task that is called without one: a machine that is none of ours.
fn unnamed_step(state: &str) -> Step {
    Step {
        name: state.to_owned(),
        item: None,
        kind: StepKind::Forward,
        undoes: None,
        title: None,
        pivot: false,
        batch: false,
        batches: None,
        reports: false,
        stops_at: None,
        closes: false,
    }
}

impl Bookkeeping {
    pub(crate) fn new(total_steps: u32, reported: Reported, inherited: Inherited) -> Self {
        Self {
            open: BTreeMap::new(),
            steps: BTreeMap::new(),
            attempts: 0,
            position: Position::default(),
            undone: Vec::new(),
            total_steps,
            reported,
            inherited,
            items: None,
            failed_batches: BTreeSet::new(),
        }
    }

    /// How an attempt goes about what an earlier execution left; `passed` if only an answer lets it pass, `is_repeated` if
    /// it may have begun in an earlier life of the process.
    pub(crate) fn effects(
        &self,
        attempt: &ScheduledAttempt,
        own_scope: &str,
        passed: bool,
        is_repeated: bool,
    ) -> Effects {
        match &attempt.undoes {
            Some(undoes) => {
                let is_answered = self.steps.get(undoes).is_some_and(|step| step.is_answered);
                self.inherited.undoing(undoes, own_scope, is_answered)
            }
            None => self.inherited.effects(&attempt.path, passed, attempt.number == 1 && !is_repeated),
        }
    }

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
        // A Task of a child that names no step is none.
        let is_step = step.as_ref().map_or(id.0.is_root(), |step| !step.batch);
        let step = step.unwrap_or_else(|| unnamed_step(state));
        let (kind, path, undoes, closes) = (step.kind, step.path(), step.undone_path(), step.closes);
        let passes = self.inherited.passes(&path, closes);
        let mut scheduled = ScheduledAttempt {
            kind,
            path,
            undoes,
            is_final: step.is_final(),
            passes,
            stops_at: step.stops_at.filter(|_| step.batch),
            number: retry_count + 1,
            event: None,
        };
        if !is_step {
            let undoes = scheduled.undoes.clone();
            let path = scheduled.path.clone();
            let (batches, reports) = (step.batches, step.reports);
            let batch = (step.batch && kind == StepKind::Forward).then_some(Batch { path, batches, reports });
            self.open.insert(id.clone(), OpenAttempt { events: None, batch, undoes, closes, before: None });
            return scheduled;
        }
        let before = Some(self.position.clone());
        self.attempts += 1;
        match kind {
            StepKind::Forward => {
                self.position.forward_at = self.attempts;
                self.position.step.clone_from(&step.name);
            }
            StepKind::Compensation => {
                if let Some(undoes) = &scheduled.undoes {
                    self.steps.entry(undoes.clone()).or_default().closed_at.get_or_insert(self.attempts);
                }
            }
        }
        self.position.message = events::status_message(step.title.as_deref(), kind);
        let path = scheduled.path.clone();
        let record = self.steps.entry(path.clone()).or_default();
        record.attempts += 1;
        let (activity, undoes, number) = (activity.to_owned(), scheduled.undoes.clone(), record.attempts);
        let events = AttemptEvents { activity, path, kind, undoes: undoes.clone(), number };
        scheduled.number = events.number;
        scheduled.event = Some(events.scheduled(at));
        self.open.insert(id.clone(), OpenAttempt { events: Some(events), batch: None, undoes, closes, before });
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
        report: Option<Map<String, Value>>,
        at: Timestamp,
    ) -> Vec<NewEvent> {
        let (asl::Event::TaskSucceeded { id, .. } | asl::Event::TaskFailed { id, .. }) = event else {
            return Vec::new();
        };
        let Some(OpenAttempt { events, batch, undoes, closes, before }) = self.open.remove(&(path.clone(), *id)) else {
            return Vec::new();
        };
        if let Some(batch) = batch {
            self.count_batch(batch, event, report.as_ref());
            return Vec::new();
        }
        if let Some(report) = report {
            self.reported.add(report, closes);
        }
        let Some(events) = events else { return Vec::new() };
        if is_paused(event) {
            // A pause leaves no trace, however often it is met: this attempt never was.
            self.steps.entry(events.path).or_default().attempts -= 1;
            self.position = before.unwrap_or_default();
            return Vec::new();
        }
        let mut happened: Vec<NewEvent> = began_at.and_then(|began_at| events.started(began_at)).into_iter().collect();
        match event {
            asl::Event::TaskSucceeded { result, .. } => {
                happened.push(events.succeeded(result, at));
                match events.kind {
                    StepKind::Forward => {
                        let step = self.steps.entry(events.path).or_default();
                        (step.is_done, step.is_answered) = (true, store::is_answered(result));
                    }
                    StepKind::Compensation => {
                        let undone = undoes.unwrap_or(events.path);
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

    /// An attempt of a batch ended. One that was refused was never one.
    fn count_batch(&mut self, batch: Batch, event: &asl::Event, report: Option<&Map<String, Value>>) {
        if is_refused(event) {
            return;
        }
        let Batch { path, batches, reports } = batch;
        let is_done = matches!(event, asl::Event::TaskSucceeded { .. });
        let change = BatchChange::of(reports, is_done, report, self.failed_batches.contains(&path));
        match change.has_failed {
            true => self.failed_batches.insert(path),
            false => self.failed_batches.remove(&path),
        };
        if !change.is_counted() {
            return;
        }
        let items = self.items.get_or_insert_default();
        items.completed = items.completed.saturating_add_signed(change.completed);
        items.failed = items.failed.saturating_add_signed(change.failed);
        items.total = batches.unwrap_or(items.total).max(items.completed + items.failed);
    }

    /// Whether so many items have failed that this batch does not begin any more.
    pub(crate) fn is_stopped(&self, attempt: &ScheduledAttempt) -> bool {
        let failed = self.items.map_or(0, |items| items.failed);
        attempt.kind == StepKind::Forward && attempt.stops_at.is_some_and(|stops_at| failed >= stops_at)
    }

    /// Attempts that never say how they ended, as the execution is stopped.
    pub(crate) fn close_lost(&mut self, at: Timestamp) -> Vec<NewEvent> {
        let open = std::mem::take(&mut self.open);
        open.into_values().filter_map(|open| Some(open.events?.failed(events::TIMEOUT, "", at))).collect()
    }

    /// The end that the execution came to, for people.
    pub(crate) fn end(&self, end: &EngineEnd, at: Timestamp) -> (End, NewEvent) {
        let attempts = |name: &str| {
            let found = self.steps.iter().find(|(path, _)| path.to_string() == name);
            found.map_or(0, |(_, step)| step.attempts)
        };
        let undone = self.undone.iter().map(ToString::to_string).collect();
        let left = self.inherited.left(|path| self.steps.contains_key(path));
        events::ending(end, &self.reported, Ended { undone, left }, attempts, at)
    }

    /// How far the execution is.
    pub(crate) fn progress(&self, end: Option<&End>) -> Progress {
        let moments = self.steps.values().map(|step| StepMoments { is_done: step.is_done, closed_at: step.closed_at });
        let progress = Progress {
            current_step: self.position.step.clone(),
            total_steps: self.total_steps,
            completed_steps: completed_steps(moments, self.position.forward_at),
            status_message: Some(self.position.message.clone()),
        };
        match end {
            Some(end) => progress.at_the_end(end),
            None => progress,
        }
    }
}

/// The end of a state machine, as an engine's.
pub(crate) fn engine_end(outcome: &asl::Outcome) -> EngineEnd {
    match outcome {
        asl::Outcome::Succeeded { output } => EngineEnd::Succeeded(output.clone()),
        asl::Outcome::Failed { error, cause } => EngineEnd::Failed { error: error.clone(), cause: cause.clone() },
    }
}

/// Whether the attempt may not begin.
fn is_refused(event: &asl::Event) -> bool {
    let refusals = [
        ErrorName::WorkflowPaused,
        ErrorName::WorkflowCancelled,
        ErrorName::WorkflowTimedOut,
        ErrorName::BatchesStopped,
    ];
    matches!(event, asl::Event::TaskFailed { error, .. } if refusals.iter().any(|refusal| error == refusal.as_str()))
}

/// Whether the attempt was held back by a pause.
fn is_paused(event: &asl::Event) -> bool {
    matches!(event, asl::Event::TaskFailed { error, .. } if error == ErrorName::WorkflowPaused.as_str())
}
