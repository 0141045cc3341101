//! The two ways in which a store hears of what an execution does.

use std::future::Future;

use async_trait::async_trait;
use contracts::responses::Failure;
use contracts::step::{StepKind, StepPath};
use contracts::{ActivityError, EngineKind, ErrorName, EventType, Status, Timestamp};
use serde_json::{Value, json};

use super::{TENANT, event, ok, progress};
use crate::{
    Begin, Commit, CommitOutcome, End, EndRecorder, EngineEnd, Finish, Gate, Journal, JournalRecord, Refusal,
    StepRecorder, StepRef, StoreError,
};

/// What an execution begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// A step that can be interrupted.
    Forward,
    /// A step from whose begin on nothing interrupts.
    Pivot,
    /// Undoing the forward step.
    Undo,
}

/// What became of a begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    /// It began.
    Begun,
    /// It may not begin.
    Refused(Refusal),
    /// The execution has ended.
    Closed,
}

/// How an execution ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Completed, with the output `{"n": 1}`.
    Well,
    /// Failed with `Conflict`.
    Badly,
    /// By an operator.
    Terminated,
}

/// Something that a history tells of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    /// A step began; if `is_finished` it ended too.
    Begun { begins: Begins, is_finished: bool },
    /// A step was refused.
    Refused(Begins, Refusal),
    /// The execution ended.
    Ended(Ends),
}

/// Makes an execution do things.
#[async_trait]
pub(super) trait Driver<S: Sync>: Sync {
    /// An engine whose executions are driven like this.
    fn engine(&self) -> EngineKind;
    /// Begins a step at a moment, and ends it too if `is_finished`.
    async fn begin(&self, store: &S, id: &str, begins: Begins, is_finished: bool, at: Timestamp) -> Stepped;
    /// Ends the execution; false if it has ended before.
    async fn end(&self, store: &S, id: &str, ends: Ends, at: Timestamp) -> bool;
    /// The events of what happens. `open` are the steps that have begun and not ended, in the order of their begin.
    fn events(&self, open: &mut Vec<Begins>, told: Told) -> Vec<EventType>;

    /// Begins a step at a moment, and ends it unless it is refused: why it is refused.
    async fn step(&self, store: &S, id: &str, begins: Begins, at: Timestamp) -> Option<Refusal> {
        match self.begin(store, id, begins, true, at).await {
            Stepped::Begun => None,
            Stepped::Refused(refusal) => Some(refusal),
            Stepped::Closed => panic!("{id} has ended"),
        }
    }
}

/// By commits of turns.
pub(super) struct ByJournal;

/// A turn of the execution `id`, whose journal holds `expected_records`.
pub(super) fn turn(id: &str, expected_records: u64, gate: Gate) -> Commit {
    Commit {
        tenant_id: TENANT.to_owned(),
        execution_id: id.to_owned(),
        at: super::at(10),
        now: super::at(10),
        expected_records,
        records: vec![JournalRecord(json!({ "record": expected_records + 1 }))],
        forgotten: Vec::new(),
        history: vec![event(EventType::ActivityTaskScheduled, 10)],
        progress: progress("CreateUserAccount"),
        reported: None,
        items: None,
        gate,
        end: None,
        audit: None,
    }
}

impl ByJournal {
    async fn turn<S: Journal>(&self, store: &S, id: &str, gate: Gate, at: Timestamp) -> Commit {
        let loaded = ok(store.load(TENANT, id).await).expect("it is there");
        Commit { at, now: at, ..turn(id, loaded.journal_len, gate) }
    }
}

#[async_trait]
impl<S: Journal> Driver<S> for ByJournal {
    fn engine(&self) -> EngineKind {
        EngineKind::Embedded
    }

    async fn begin(&self, store: &S, id: &str, begins: Begins, is_finished: bool, at: Timestamp) -> Stepped {
        let gate = match begins {
            Begins::Forward => Gate::Forward { is_pivot: false, passes: false },
            Begins::Pivot => Gate::Forward { is_pivot: true, passes: false },
            Begins::Undo => Gate::Compensation,
        };
        match store.commit(self.turn(store, id, gate, at).await).await {
            Ok(CommitOutcome::Committed) => {}
            Ok(CommitOutcome::Refused(refusal)) => return Stepped::Refused(refusal),
            Err(StoreError::Inconsistent(_)) => return Stepped::Closed,
            other => panic!("{other:?}"),
        }
        if is_finished {
            let commit = self.turn(store, id, Gate::Open, at).await;
            let commit = Commit { history: vec![event(EventType::ActivityTaskFailed, 10)], ..commit };
            assert_eq!(ok(store.commit(commit).await), CommitOutcome::Committed);
        }
        Stepped::Begun
    }

    async fn end(&self, store: &S, id: &str, ends: Ends, at: Timestamp) -> bool {
        let end = match ends {
            Ends::Well => End { status: Status::Completed, result: Some(json!({ "n": 1 })), failure: None },
            Ends::Badly => {
                let failure = Failure { error: "Conflict".to_owned(), ..Failure::default() };
                End { status: Status::Failed, result: None, failure: Some(failure) }
            }
            Ends::Terminated => End { status: Status::Terminated, result: None, failure: None },
        };
        let commit = self.turn(store, id, Gate::Open, at).await;
        store.commit(Commit { end: Some(end), ..commit }).await.is_ok()
    }

    /// Those of its turns.
    fn events(&self, _open: &mut Vec<Begins>, told: Told) -> Vec<EventType> {
        match told {
            Told::Begun { is_finished: true, .. } => {
                vec![EventType::ActivityTaskScheduled, EventType::ActivityTaskFailed]
            }
            Told::Begun { is_finished: false, .. } | Told::Ended(_) => vec![EventType::ActivityTaskScheduled],
            Told::Refused(..) => vec![],
        }
    }
}

/// By the record of attempts and ends.
pub(super) struct BySteps<'a, F> {
    pub(super) wait: &'a F,
}

/// The step of a path; `Undo...` is the undoing of another, `SendNotification` a pivot.
pub(super) fn step(id: &str, path: &str) -> StepRef {
    let parse = |path: &str| path.parse::<StepPath>().unwrap_or_else(|error| panic!("{path}: {error}"));
    let undoes = path.strip_prefix("Undo").map(parse);
    StepRef {
        tenant_id: TENANT.to_owned(),
        execution_id: id.to_owned(),
        path: parse(path),
        kind: if undoes.is_some() { StepKind::Compensation } else { StepKind::Forward },
        undoes,
        title: Some(format!("At {path}")),
        is_final: path == "SendNotification",
        closes: path == "SendNotification",
        is_batch: false,
        batches: None,
        reports: false,
        stops_at: None,
        activity: "an_activity".to_owned(),
        accepted_at: super::at(0),
    }
}

#[async_trait]
impl<S, F, W> Driver<S> for BySteps<'_, F>
where
    S: StepRecorder + EndRecorder,
    F: Fn(Timestamp) -> W + Sync,
    W: Future<Output = ()> + Send,
{
    fn engine(&self) -> EngineKind {
        EngineKind::Temporal
    }

    async fn begin(&self, store: &S, id: &str, begins: Begins, is_finished: bool, at: Timestamp) -> Stepped {
        (self.wait)(at).await;
        // A forward step that fails, so that it can begin as often as a test likes.
        let failed = || Err(ActivityError::new(ErrorName::ServiceUnavailable, "down"));
        let (step, outcome) = match begins {
            Begins::Forward => (step(id, "CreateUserAccount"), failed()),
            Begins::Pivot => (step(id, "SendNotification"), failed()),
            Begins::Undo => (step(id, "UndoCreateUserProfile"), Ok(json!({ "undone": true }))),
        };
        let attempt = match ok(store.begin_step(&step).await) {
            Begin::Proceed { attempt, .. } => attempt,
            Begin::Refused(refusal) => return Stepped::Refused(refusal),
            Begin::Closed => return Stepped::Closed,
            Begin::AlreadyDone(result) => panic!("it has never been done: {result}"),
        };
        if is_finished {
            assert_eq!(ok(store.finish_step(&step, &attempt, &outcome.into()).await), Finish::Recorded);
        }
        Stepped::Begun
    }

    async fn end(&self, store: &S, id: &str, ends: Ends, at: Timestamp) -> bool {
        let end = match ends {
            Ends::Well => EngineEnd::Succeeded(json!({ "n": 1 })),
            Ends::Badly => EngineEnd::Failed { error: Some("Conflict".to_owned()), cause: None },
            Ends::Terminated => EngineEnd::Terminated,
        };
        ok(store.record_end(TENANT, id, &end, at, None).await)
    }

    fn events(&self, open: &mut Vec<Begins>, told: Told) -> Vec<EventType> {
        // An attempt that never said how it ended is closed by the next one, or by the end.
        let is_closed = |begun: &Begins| match told {
            Told::Begun { begins, .. } | Told::Refused(begins, _) => *begun == begins,
            Told::Ended(_) => true,
        };
        let mut events: Vec<EventType> =
            open.iter().filter(|begun| is_closed(begun)).map(|begun| lost(*begun)).collect();
        open.retain(|begun| !is_closed(begun));
        match told {
            Told::Begun { begins, is_finished } => {
                events.extend(begun(begins));
                if is_finished {
                    events.push(finished(begins));
                } else {
                    open.push(begins);
                }
            }
            Told::Refused(_, Refusal::Paused) => {}
            Told::Refused(..) => events.extend([EventType::ActivityTaskScheduled, EventType::ActivityTaskFailed]),
            Told::Ended(Ends::Well) => events.push(EventType::WorkflowExecutionCompleted),
            Told::Ended(Ends::Badly) => events.push(EventType::WorkflowExecutionFailed),
            Told::Ended(Ends::Terminated) => events.push(EventType::WorkflowExecutionTerminated),
        }
        events
    }
}

fn begun(begins: Begins) -> &'static [EventType] {
    match begins {
        Begins::Forward | Begins::Pivot => &[EventType::ActivityTaskScheduled, EventType::ActivityTaskStarted],
        Begins::Undo => &[EventType::CompensationScheduled],
    }
}

fn finished(begins: Begins) -> EventType {
    match begins {
        Begins::Forward | Begins::Pivot => EventType::ActivityTaskFailed,
        Begins::Undo => EventType::CompensationCompleted,
    }
}

fn lost(begins: Begins) -> EventType {
    match begins {
        Begins::Forward | Begins::Pivot => EventType::ActivityTaskTimedOut,
        Begins::Undo => EventType::CompensationFailed,
    }
}

/// The names of a history's events.
pub(super) fn types(rows: &[crate::HistoryRow]) -> Vec<&str> {
    rows.iter().map(|row| row.event.event_type.as_str()).collect()
}

/// A detail of each event.
pub(super) fn details<'a>(rows: &'a [crate::HistoryRow], name: &str) -> Vec<&'a Value> {
    rows.iter().map(|row| &row.event.details[name]).collect()
}
