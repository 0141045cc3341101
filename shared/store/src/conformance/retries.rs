//! What every store promises of an execution that retries another one.

use contracts::step::StepPath;
use contracts::{ErrorName, Status, Timestamp};
use futures::future::join_all;
use serde_json::{Value, json};

use super::driver::{Begins, Driver, Ends, step, turn};
use super::{TENANT, at, create, holds, new, ok, request, with_key};
use crate::{
    Begin, BegunAttempt, Commit, CommitOutcome, Control, Controlled, Created, Effects, EndRecorder, EngineEnd,
    ExecutionRecord, Executions, Finish, Gate, History, Inherited, InheritedStep, Journal, ListFilter, NewExecution,
    Refusal, RetryOf, Standing, StepRecorder, StepRef, StoreError,
};

/// Of any store.
pub(super) async fn run<S: Executions + History>(open: &impl AsyncFn() -> S, driver: &impl Driver<S>) {
    a_retry_and_what_it_retries_name_each_other(&open().await, driver).await;
    of_many_retries_at_once_one_is_new(&open().await, driver).await;
    what_cannot_be_retried_is_left_alone(&open().await, driver).await;
    a_key_retries_once(&open().await, driver).await;
    what_a_retry_needs_is_read_as_it_was_written(&open().await, driver).await;
    a_retry_that_only_undoes_is_born_cancelled(&open().await, driver).await;
}

/// Of a store with a journal.
pub(super) async fn by_journal<S: Executions + Journal>(open: &impl AsyncFn() -> S) {
    what_was_taken_over_is_loaded(&open().await).await;
    a_turn_that_passes_is_not_held_back(&open().await).await;
}

/// Of a store with a record of attempts and ends.
pub(super) async fn by_steps<S, W: Future<Output = ()>>(open: &impl AsyncFn() -> S, wait: &impl Fn(Timestamp) -> W)
where
    S: Executions + History + StepRecorder + EndRecorder,
{
    a_step_goes_about_what_it_took_over(&open().await).await;
    what_is_answered_passes_a_cancel(&open().await).await;
    what_is_answered_passes_the_deadline(&open().await, wait).await;
    what_is_answered_waits_while_paused(&open().await, wait).await;
    an_undoing_reaches_every_scope(&open().await).await;
    what_is_left_at_the_end_is_named(&open().await).await;
}

fn retry(id: &str, of: &str) -> NewExecution {
    retry_of(new(id), of)
}

fn retry_of(new: NewExecution, of: &str) -> NewExecution {
    let retry_of = Some(RetryOf { id: of.to_owned(), undoes: false });
    NewExecution { retry_of, started_at: at(100), deadline_at: Some(at(1_100)), ..new }
}

/// An execution that has failed.
async fn failed<S: Executions>(store: &S, driver: &impl Driver<S>, id: &str) {
    create(store, id).await;
    assert!(driver.end(store, id, Ends::Badly, at(10)).await);
}

async fn get<S: Executions>(store: &S, id: &str) -> ExecutionRecord {
    ok(store.get(TENANT, id).await).expect("it is there")
}

async fn total<S: Executions>(store: &S) -> u64 {
    let page = ok(store.list(TENANT, &ListFilter::default(), None, 0, 99).await);
    assert_eq!(page.total, page.executions.len() as u64, "what is counted is there");
    page.total
}

async fn a_retry_and_what_it_retries_name_each_other<S: Executions + History>(store: &S, driver: &impl Driver<S>) {
    failed(store, driver, "e-1").await;
    let before = get(store, "e-1").await;
    let undoing = Some(RetryOf { id: "e-1".to_owned(), undoes: true });
    let Created::New(record) =
        ok(store.create(NewExecution { retry_of: undoing.clone(), ..retry("e-2", "e-1") }).await)
    else {
        panic!("it has not been retried before");
    };
    assert_eq!((&record.retry_of, &record.retried_as), (&undoing, &None));
    assert_eq!(record, get(store, "e-2").await);
    let linked = get(store, "e-1").await;
    assert_eq!((linked.retried_as.as_deref(), &linked.retry_of), (Some("e-2"), &None));
    assert!(linked.version > before.version, "it reads otherwise than before");
    let expected = ExecutionRecord { retried_as: Some("e-2".to_owned()), version: linked.version, ..before };
    assert_eq!(linked, expected, "nothing else changes");

    assert_eq!(ok(store.create(retry("e-3", "e-1")).await), Created::Existing(record.clone()), "it has its retry");
    assert_eq!(ok(store.get(TENANT, "e-3").await), None, "nothing was stored");
    assert_eq!(ok(store.events(TENANT, "e-3", &[], None, 9).await), None);
    assert_eq!((get(store, "e-1").await, get(store, "e-2").await, total(store).await), (linked, record, 2));

    // A retry is an execution like others: it can be retried once it has ended.
    assert!(driver.end(store, "e-2", Ends::Badly, at(120)).await);
    assert!(matches!(ok(store.create(retry("e-4", "e-2")).await), Created::New(_)));
    let middle = get(store, "e-2").await;
    assert_eq!((middle.retry_of, middle.retried_as.as_deref()), (undoing, Some("e-4")));
}

async fn of_many_retries_at_once_one_is_new<S: Executions>(store: &S, driver: &impl Driver<S>) {
    failed(store, driver, "e-1").await;
    let ids: Vec<String> = (0..50).map(|number| format!("retry-{number}")).collect();
    let created = join_all(ids.iter().map(|id| store.create(retry(id, "e-1")))).await;
    let (mut new, mut all) = (Vec::new(), Vec::new());
    for created in created {
        match ok(created) {
            Created::New(record) => {
                new.push(record.id.clone());
                all.push(record.id);
            }
            Created::Existing(record) => all.push(record.id),
            other => panic!("there is neither a key nor a limit nor an upload: {other:?}"),
        }
    }
    assert_eq!(new.len(), 1, "of fifty at once one is new");
    assert!(all.len() == 50 && all.iter().all(|id| *id == new[0]), "all are answered with the same execution");
    assert_eq!(get(store, "e-1").await.retried_as, Some(new[0].clone()));
    assert_eq!(total(store).await, 2);
}

async fn what_cannot_be_retried_is_left_alone<S: Executions>(store: &S, driver: &impl Driver<S>) {
    create(store, "e-1").await;
    let before = get(store, "e-1").await;
    let foreign = NewExecution { tenant_id: "tenant-b".to_owned(), ..retry("e-2", "e-1") };
    for (new, what) in [
        (retry("e-2", "e-1"), "it has not ended"),
        (retry("e-2", "nobody"), "there is no such execution"),
        (foreign.clone(), "it is another tenant's"),
    ] {
        let refused = store.create(new).await;
        assert!(matches!(refused, Err(StoreError::Inconsistent(_))), "{what}: {refused:?}");
    }
    ok(store.check().await);
    assert_eq!((get(store, "e-1").await, total(store).await), (before, 1), "nothing was stored");

    assert!(driver.end(store, "e-1", Ends::Badly, at(10)).await);
    let refused = store.create(foreign).await;
    assert!(matches!(refused, Err(StoreError::Inconsistent(_))), "it is another tenant's: {refused:?}");
    assert_eq!(get(store, "e-1").await.retried_as, None);
    assert_eq!(ok(store.get("tenant-b", "e-2").await), None);
    assert_eq!(ok(store.list("tenant-b", &ListFilter::default(), None, 0, 9).await).total, 0);
    assert!(matches!(ok(store.create(retry("e-2", "e-1")).await), Created::New(_)));
}

async fn a_key_retries_once<S: Executions>(store: &S, driver: &impl Driver<S>) {
    create(store, "e-1").await;
    let keyed = |id: &str, of: &str, body: &str| retry_of(with_key(id, body), of);
    let refused = store.create(keyed("e-2", "e-1", "of a refused one")).await;
    assert!(matches!(refused, Err(StoreError::Inconsistent(_))), "{refused:?}");
    assert!(driver.end(store, "e-1", Ends::Badly, at(10)).await);
    let Created::New(first) = ok(store.create(keyed("e-2", "e-1", "same")).await) else {
        panic!("of what was refused no key is kept");
    };
    assert_eq!(ok(store.create(keyed("e-3", "e-1", "same")).await), Created::Existing(first.clone()));
    assert_eq!(ok(store.create(keyed("e-3", "e-1", "another")).await), Created::KeyReused);
    assert_eq!(ok(store.create(retry("e-3", "e-1")).await), Created::Existing(first), "without a key too");

    // A key that was used for something else links nothing.
    failed(store, driver, "other").await;
    assert_eq!(ok(store.create(keyed("e-3", "other", "another")).await), Created::KeyReused);
    assert_eq!(get(store, "other").await.retried_as, None);
    assert_eq!(ok(store.get(TENANT, "e-3").await), None);
    assert_eq!(total(store).await, 3);
}

async fn what_a_retry_needs_is_read_as_it_was_written<S: Executions>(store: &S, driver: &impl Driver<S>) {
    failed(store, driver, "e-1").await;
    let found = ok(store.retried(TENANT, "e-1").await).expect("it is there");
    assert_eq!((found.effect_scope.as_str(), found.inherited), ("e-1", Inherited::default()));
    let new = NewExecution { effect_scope: "a-scope".to_owned(), inherited: inherited(), ..retry("e-2", "e-1") };
    ok(store.create(new).await);
    let found = ok(store.retried(TENANT, "e-2").await).expect("it is there");
    assert_eq!((found.request, found.effect_scope.as_str()), (request(), "a-scope"));
    assert_eq!((found.inherited, found.record), (inherited(), get(store, "e-2").await));
    assert_eq!(ok(store.retried("tenant-b", "e-2").await), None, "another tenant has no such execution");
    assert_eq!(ok(store.retried(TENANT, "nobody").await), None);
}

async fn a_retry_that_only_undoes_is_born_cancelled<S: Executions>(store: &S, driver: &impl Driver<S>) {
    failed(store, driver, "e-1").await;
    let cancelled = NewExecution { cancel_requested_at: Some(at(100)), ..retry("e-2", "e-1") };
    let Created::New(record) = ok(store.create(cancelled).await) else { panic!("it is new") };
    assert_eq!((record.status, record.cancel_requested_at), (Status::Running, Some(at(100))));
    let again = ok(store.control(TENANT, "e-2", Control::Cancel, at(101), None).await);
    assert_eq!(again, Controlled::Accepted(record.clone()), "it holds already");
    let paused = ok(store.control(TENANT, "e-2", Control::Pause, at(102), None).await);
    assert_eq!(paused, Controlled::Refused(record));
    assert_eq!(driver.step(store, "e-2", Begins::Pivot, at(103)).await, Some(Refusal::Cancelled));
    assert_eq!(driver.step(store, "e-2", Begins::Undo, at(104)).await, None);
}

/// A step of each standing, with a result and without one.
fn inherited() -> Inherited {
    let one = |path: &str, is_done: bool, scopes: &[&str], standing| InheritedStep {
        path: StepPath::of_state(path),
        result: is_done.then(|| json!({ "of": path })),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        standing,
        is_tolerated: false,
        is_lasting: false,
    };
    Inherited(vec![
        one("Sure", true, &["s-1"], Standing::Sure),
        one("Unsure", false, &["s-1", "s-2"], Standing::Unsure),
        one("UnsureDone", true, &["s-2"], Standing::Unsure),
        one("Outdated", true, &["s-1", "s-2"], Standing::Outdated),
        one("Gone", true, &[], Standing::Gone),
        one("Failed", false, &[], Standing::Gone),
        InheritedStep { is_tolerated: true, ..one("Tolerated", false, &["s-1"], Standing::Unsure) },
        one("SendNotification", true, &["s-1"], Standing::Sure),
    ])
}

/// An execution that took over [`inherited`].
fn heir(id: &str) -> NewExecution {
    NewExecution { inherited: inherited(), effect_scope: "own".to_owned(), ..new(id) }
}

async fn what_was_taken_over_is_loaded<S: Executions + Journal>(store: &S) {
    // Without a deadline, as the store's clock may stand anywhere.
    ok(store.create(NewExecution { deadline_at: None, ..heir("e-1") }).await);
    let cancelled = NewExecution { deadline_at: None, cancel_requested_at: Some(at(0)), ..heir("e-2") };
    ok(store.create(cancelled).await);
    let pivot = NewExecution { deadline_at: None, begins_pivot: true, cancel_requested_at: Some(at(0)), ..heir("e-3") };
    ok(store.create(pivot).await);
    for (id, is_interrupted) in [("e-1", false), ("e-2", true), ("e-3", false)] {
        let loaded = ok(store.load(TENANT, id).await).expect("it is there");
        assert_eq!((loaded.effect_scope.as_str(), loaded.inherited), ("own", inherited()));
        assert_eq!(loaded.is_interrupted, is_interrupted, "{id}");
    }
    assert!(holds(store, "e-1", Control::Cancel, 1).await);
    assert!(ok(store.load(TENANT, "e-1").await).expect("it is there").is_interrupted);
    // The deadline is at 1,000 s, and stands still while an execution is paused.
    for (id, paused_at, is_interrupted) in [("e-4", 900, false), ("e-5", 1_100, true)] {
        ok(store.create(heir(id)).await);
        assert!(holds(store, id, Control::Pause, paused_at).await);
        let loaded = ok(store.load(TENANT, id).await).expect("it is there");
        assert_eq!(loaded.is_interrupted, is_interrupted, "{id}");
    }
}

async fn a_turn_that_passes_is_not_held_back<S: Executions + Journal>(store: &S) {
    let passing = |is_pivot| Gate::Forward { is_pivot, passes: true };
    let commit = async |id: &str, records, gate, second| {
        ok(store.commit(Commit { at: at(second), now: at(second), ..turn(id, records, gate) }).await)
    };
    for id in ["cancelled", "late", "paused", "free"] {
        ok(store.create(heir(id)).await);
    }
    assert!(holds(store, "cancelled", Control::Cancel, 1).await);
    assert_eq!(commit("cancelled", 1, passing(true), 2).await, CommitOutcome::Passed);
    assert!(get(store, "cancelled").await.window_open, "what is only answered is no pivot");
    let held = Gate::Forward { is_pivot: false, passes: false };
    assert_eq!(commit("cancelled", 2, held, 3).await, CommitOutcome::Refused(Refusal::Cancelled));

    assert_eq!(commit("late", 1, passing(true), 2_000).await, CommitOutcome::Passed);
    assert!(get(store, "late").await.window_open);
    assert_eq!(commit("late", 2, held, 2_001).await, CommitOutcome::Refused(Refusal::TimedOut));

    assert!(holds(store, "paused", Control::Pause, 1).await);
    for second in [2, 2_000] {
        assert_eq!(commit("paused", 1, passing(false), second).await, CommitOutcome::Refused(Refusal::Paused));
    }

    assert_eq!(commit("free", 1, passing(true), 2).await, CommitOutcome::Committed, "it has its usual way");
    assert!(!get(store, "free").await.window_open);
}

/// Begins a step of an heir: the attempt, and how it goes about what was taken over.
async fn begin<S: StepRecorder>(store: &S, step: &StepRef) -> (BegunAttempt, Effects) {
    match ok(store.begin_step(step).await) {
        Begin::Proceed { attempt, effect_scope, effects, request: found } => {
            assert_eq!((&*found, &*effect_scope), (&request(), "own"));
            (attempt, effects)
        }
        other => panic!("{}: {other:?}", step.path),
    }
}

async fn refused<S: StepRecorder>(store: &S, step: &StepRef) -> Refusal {
    match ok(store.begin_step(step).await) {
        Begin::Refused(refusal) => refusal,
        other => panic!("{}: {other:?}", step.path),
    }
}

fn scopes(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(|scope| (*scope).to_owned()).collect()
}

/// What a step is answered with that an earlier execution has done.
fn answer(path: &str) -> Value {
    json!({ "of": path, "already_done": true })
}

async fn a_step_goes_about_what_it_took_over<S: Executions + StepRecorder>(store: &S) {
    ok(store.create(heir("e-1")).await);
    for (path, expected) in [
        ("Sure", Effects::Answered(Ok(answer("Sure")))),
        ("Unsure", Effects::First(scopes(&["s-1", "s-2"]))),
        ("UnsureDone", Effects::First(scopes(&["s-2"]))),
        ("Outdated", Effects::Undone(scopes(&["s-1", "s-2"]))),
        ("Gone", Effects::Own),
        ("Failed", Effects::Own),
        ("Tolerated", Effects::First(scopes(&["s-1"]))),
        ("Another", Effects::Own),
    ] {
        let (_, effects) = begin(store, &step("e-1", path)).await;
        assert_eq!(effects, expected, "{path}");
        let (again, effects) = begin(store, &step("e-1", path)).await;
        assert_eq!((again.number, effects), (2, expected), "{path} is tried again");
    }
    assert!(get(store, "e-1").await.window_open);
    let pivot = StepRef { is_final: true, ..step("e-1", "Sure") };
    assert!(matches!(begin(store, &pivot).await.1, Effects::Answered(_)));
    assert!(!get(store, "e-1").await.window_open, "what was a pivot is one again");
    assert!(matches!(begin(store, &step("e-1", "SendNotification")).await.1, Effects::Answered(_)), "the last one too");
}

/// Steps that are answered where nothing else may begin, and those that are not.
async fn pass_or_are_refused<S: Executions + StepRecorder>(store: &S, refusal: Refusal) {
    for path in ["Unsure", "Failed", "Another"] {
        assert_eq!(refused(store, &step("e-1", path)).await, refusal, "{path}: nothing answers it");
    }
    assert_eq!(refused(store, &step("e-1", "SendNotification")).await, refusal, "what follows it is the end");
    for path in ["UnsureDone", "Outdated", "Gone"] {
        let (_, effects) = begin(store, &step("e-1", path)).await;
        assert_eq!(effects, Effects::Answered(Ok(answer(path))), "{path}");
    }
    let (_, effects) = begin(store, &step("e-1", "Tolerated")).await;
    let Effects::Answered(Err(error)) = effects else { panic!("{effects:?}") };
    assert_eq!(error.error, ErrorName::Conflict.as_str(), "it failed then, and fails again");

    let pivot = StepRef { is_final: true, ..step("e-1", "Sure") };
    assert_eq!(begin(store, &pivot).await.1, Effects::Answered(Ok(answer("Sure"))));
    assert!(get(store, "e-1").await.window_open, "what is only answered is no pivot");
    assert_eq!(refused(store, &step("e-1", "Another")).await, refusal);
}

async fn what_is_answered_passes_a_cancel<S: Executions + StepRecorder>(store: &S) {
    ok(store.create(NewExecution { cancel_requested_at: Some(at(0)), ..heir("e-1") }).await);
    pass_or_are_refused(store, Refusal::Cancelled).await;
}

async fn what_is_answered_passes_the_deadline<S: Executions + StepRecorder, W: Future<Output = ()>>(
    store: &S,
    wait: &impl Fn(Timestamp) -> W,
) {
    ok(store.create(heir("e-1")).await);
    begin(store, &step("e-1", "First")).await;
    wait(at(2_000)).await;
    pass_or_are_refused(store, Refusal::TimedOut).await;
}

async fn what_is_answered_waits_while_paused<S: Executions + StepRecorder, W: Future<Output = ()>>(
    store: &S,
    wait: &impl Fn(Timestamp) -> W,
) {
    ok(store.create(heir("e-1")).await);
    begin(store, &step("e-1", "First")).await;
    assert!(holds(store, "e-1", Control::Pause, 1).await);
    for (second, when) in [(1, "before its deadline"), (2_000, "and behind it")] {
        wait(at(second)).await;
        for path in ["Sure", "Unsure", "UnsureDone", "Outdated", "Gone", "Another"] {
            assert_eq!(refused(store, &step("e-1", path)).await, Refusal::Paused, "{path}, {when}");
        }
    }
    assert!(holds(store, "e-1", Control::Resume, 2_000).await);
    assert!(matches!(begin(store, &step("e-1", "Sure")).await.1, Effects::Answered(_)));
    assert_eq!(begin(store, &step("e-1", "Unsure")).await.1, Effects::First(scopes(&["s-1", "s-2"])), "in time");
}

async fn an_undoing_reaches_every_scope<S: Executions + StepRecorder>(store: &S) {
    ok(store.create(NewExecution { cancel_requested_at: Some(at(0)), ..heir("e-1") }).await);
    let finish = async |step: &StepRef, attempt: &BegunAttempt, result: Value| {
        assert_eq!(ok(store.finish_step(step, attempt, &Ok(result).into()).await), Finish::Recorded);
    };
    for path in ["Sure", "Outdated", "Gone"] {
        let (attempt, _) = begin(store, &step("e-1", path)).await;
        finish(&step("e-1", path), &attempt, answer(path)).await;
    }
    for (path, expected, why) in [
        ("Sure", &["s-1"][..], "it was answered, so nothing was done under the own scope"),
        ("Outdated", &["s-2", "s-1"], "the newest first"),
        ("Gone", &[], "nothing stands"),
        ("Unsure", &["own", "s-2", "s-1"], "nobody knows what was done under the own scope"),
        ("Another", &["own"], "nothing was taken over"),
    ] {
        let undo = step("e-1", &format!("Undo{path}"));
        let (attempt, effects) = begin(store, &undo).await;
        assert_eq!(effects, Effects::Undone(scopes(expected)), "{path}: {why}");
        let (again, effects) = begin(store, &undo).await;
        assert_eq!((again.number, effects), (2, Effects::Undone(scopes(expected))), "{path} is tried again");
        assert_eq!(ok(store.finish_step(&undo, &attempt, &Ok(json!({})).into()).await), Finish::Superseded);
        finish(&undo, &again, json!({ "undone": true })).await;
    }

    // What was done anew is undone under the own scope first.
    ok(store.create(heir("e-2")).await);
    let (attempt, _) = begin(store, &step("e-2", "Unsure")).await;
    finish(&step("e-2", "Unsure"), &attempt, json!({ "of": "it" })).await;
    let (_, effects) = begin(store, &step("e-2", "UndoUnsure")).await;
    assert_eq!(effects, Effects::Undone(scopes(&["own", "s-2", "s-1"])));
}

async fn what_is_left_at_the_end_is_named<S: Executions + History + StepRecorder + EndRecorder>(store: &S) {
    let cancelled = EngineEnd::Failed { error: Some("WorkflowCancelled".to_owned()), cause: None };
    for id in ["nothing-met", "all-met", "terminated", "completed"] {
        ok(store.create(NewExecution { cancel_requested_at: Some(at(0)), ..heir(id) }).await);
    }
    let left = async |id: &str, end: &EngineEnd| {
        assert!(ok(store.record_end(TENANT, id, end, at(50), None).await));
        let record = get(store, id).await;
        let last = ok(store.events(TENANT, id, &[], None, 99).await).expect("it is there").rows.pop();
        let told = last.expect("an end").event.details["failure"].clone();
        assert_eq!(told, json!(record.failure), "the history says the same");
        let failure = record.failure.unwrap_or_default();
        let residue: Vec<String> = failure.residue.into_iter().map(|residue| residue.step).collect();
        (record.status, failure.error, failure.message, residue)
    };
    let some = ["Sure", "Unsure", "UnsureDone", "Outdated", "Tolerated", "SendNotification"].map(str::to_owned);
    let (status, error, message, residue) = left("nothing-met", &cancelled).await;
    assert_eq!((status, error.as_str(), message.as_str()), (Status::Failed, "CompensationFailed", "WorkflowCancelled"));
    assert_eq!(residue, some, "but not what is gone");

    for path in ["Sure", "UnsureDone", "Outdated", "Tolerated"] {
        begin(store, &step("all-met", path)).await;
    }
    assert_eq!(refused(store, &step("all-met", "Unsure")).await, Refusal::Cancelled);
    begin(store, &step("all-met", "UndoSendNotification")).await;
    let (status, error, _, residue) = left("all-met", &cancelled).await;
    assert_eq!((status, error.as_str(), residue), (Status::Cancelled, "WorkflowCancelled", vec![]));

    let (status, error, _, residue) = left("terminated", &EngineEnd::Terminated).await;
    assert_eq!(
        (status, error.as_str(), residue),
        (Status::Terminated, "Terminated", vec![]),
        "it undid nothing at all"
    );
    assert!(ok(store.record_end(TENANT, "completed", &EngineEnd::Succeeded(json!({})), at(50), None).await));
    let record = get(store, "completed").await;
    assert_eq!((record.status, record.failure), (Status::Completed, None));
}
