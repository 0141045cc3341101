//! The suite that every store passes: `store::conformance::run(|| async { ... })`.
//!
//! It panics where a store breaks a promise, saying which.

use contracts::responses::Failure;
use contracts::{EventType, Status, Timestamp, WorkflowKind};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    CancelOutcome, Commit, CommitOutcome, ControlFlag, Created, End, Executions, Gate, History, IdempotencyKey,
    Journal, JournalRecord, ListFilter, NewEvent, NewExecution, Progress, Refusal, StoreError,
};

const TENANT: &str = "tenant-a";
const KIND: WorkflowKind = WorkflowKind::UserOnboarding;

/// Runs the suite; `open` gives an empty store each time.
pub async fn run<S: Executions + History + Journal>(open: impl AsyncFn() -> S) {
    a_start_is_whole(&open().await).await;
    a_key_starts_one_execution(&open().await).await;
    lists_are_ordered_filtered_and_paged(&open().await).await;
    the_journal_counts(&open().await).await;
    gates_let_through_and_refuse(&open().await).await;
    a_tolerated_failure_interrupts_nothing_but_new_cancels(&open().await).await;
    a_pause_stops_the_deadline(&open().await).await;
    a_cancel_has_one_answer(&open().await).await;
    an_end_is_final(&open().await).await;
    histories_grow_and_are_the_tenants_own(&open().await).await;
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap_or_default()
}

fn progress(step: &str) -> Progress {
    Progress { current_step: step.to_owned(), total_steps: 2, completed_steps: 0, status_message: None }
}

fn event(event_type: EventType, second: i64) -> NewEvent {
    NewEvent { event_type, at: at(second), details: json!({ "second": second }) }
}

fn new(id: &str) -> NewExecution {
    NewExecution {
        tenant_id: TENANT.to_owned(),
        id: id.to_owned(),
        kind: KIND,
        user_id: None,
        started_at: at(0),
        deadline_at: Some(at(1_000)),
        effect_scope: id.to_owned(),
        definition: "{}".to_owned(),
        input: json!({ "workflow": id }),
        request: json!({ "secret": "of the request" }),
        idempotency: None,
        progress: progress("First"),
        history: vec![event(EventType::WorkflowExecutionStarted, 0)],
        journal: vec![JournalRecord(json!("start"))],
        begins_pivot: false,
    }
}

fn with_key(id: &str, body_hash: &str) -> NewExecution {
    let key = IdempotencyKey { route: "POST /x".to_owned(), key: "key".to_owned(), body_hash: body_hash.to_owned() };
    NewExecution { idempotency: Some(key), ..new(id) }
}

/// A turn of the execution `id`, whose journal holds `expected_records`.
fn turn(id: &str, expected_records: u64, gate: Gate) -> Commit {
    Commit {
        tenant_id: TENANT.to_owned(),
        execution_id: id.to_owned(),
        at: at(10),
        expected_records,
        records: vec![JournalRecord(json!({ "record": expected_records + 1 }))],
        history: vec![event(EventType::ActivityTaskScheduled, 10)],
        progress: progress("Second"),
        gate,
        end: None,
    }
}

const FORWARD: Gate = Gate::Forward { is_pivot: false };
const PIVOT: Gate = Gate::Forward { is_pivot: true };

async fn create<S: Executions>(store: &S, id: &str) {
    assert!(matches!(ok(store.create(new(id)).await), Created::New(_)), "a fresh id is new");
}

fn ok<T>(result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| panic!("the store failed: {error}"))
}

async fn a_start_is_whole<S: Executions + History + Journal>(store: &S) {
    create(store, "e-1").await;
    let record = ok(store.get(TENANT, "e-1").await).expect("what was created is there");
    assert_eq!((record.status.reported(), record.started_at), (Status::Running, at(0)));
    assert_eq!(ok(store.get("tenant-b", "e-1").await), None, "another tenant has no such execution");
    let loaded = ok(store.load(TENANT, "e-1").await).expect("the journal has it");
    assert_eq!((loaded.definition.as_str(), loaded.records.len()), ("{}", 1));
    assert_eq!(loaded.request, json!({ "secret": "of the request" }));
    assert!(!loaded.has_ended);
    let open = ok(store.open_executions().await);
    assert_eq!(open.iter().map(|open| open.id.as_str()).collect::<Vec<_>>(), ["e-1"]);
    ok(store.check().await);
}

async fn a_key_starts_one_execution<S: Executions>(store: &S) {
    let ids: Vec<String> = (0..20).map(|number| format!("e-{number}")).collect();
    let created = join_all(ids.iter().map(|id| store.create(with_key(id, "same")))).await;
    let new = created.iter().filter(|created| matches!(created, Ok(Created::New(_)))).count();
    assert_eq!(new, 1, "of twenty at once one is new");
    let started: Vec<String> = created
        .into_iter()
        .map(|created| match ok(created) {
            Created::New(record) | Created::Existing(record) => record.id,
            Created::KeyReused => panic!("the body was the same"),
        })
        .collect();
    assert!(started.iter().all(|id| id == &started[0]), "all are answered with the same execution");
    assert_eq!(ok(store.create(with_key("other", "another")).await), Created::KeyReused);
    assert_eq!(ok(store.get(TENANT, "other").await), None, "nothing was stored");
    let foreign = NewExecution { tenant_id: "tenant-b".to_owned(), ..with_key("foreign", "another") };
    assert!(matches!(ok(store.create(foreign).await), Created::New(_)), "a key is one tenant's own");
}

async fn lists_are_ordered_filtered_and_paged<S: Executions + Journal>(store: &S) {
    for number in 0..5 {
        create(store, &format!("e-{number}")).await;
    }
    let end = End { status: Status::Completed, result: Some(json!({})), failure: None };
    ok(store.commit(Commit { end: Some(end), ..turn("e-1", 1, Gate::Open) }).await);
    let all = ListFilter::default();
    let first = ok(store.list(TENANT, &all, None, 0, 2).await);
    let ids = |page: &crate::ListPage| page.executions.iter().map(|record| record.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&first), first.total), (vec!["e-4".to_owned(), "e-3".to_owned()], 5), "newest first");
    let second = ok(store.list(TENANT, &all, first.next, 0, 2).await);
    assert_eq!(ids(&second), ["e-2", "e-1"]);
    assert_eq!(ids(&ok(store.list(TENANT, &all, None, 2, 2).await)), ids(&second), "skipping is the same");
    let last = ok(store.list(TENANT, &all, second.next, 0, 2).await);
    assert_eq!((ids(&last), last.next), (vec!["e-0".to_owned()], None));
    let completed = ListFilter { statuses: vec![Status::Completed], kind: Some(KIND) };
    assert_eq!(ids(&ok(store.list(TENANT, &completed, None, 0, 9).await)), ["e-1"]);
    let compliance = ListFilter { kind: Some(WorkflowKind::Compliance), ..ListFilter::default() };
    assert_eq!(ok(store.list(TENANT, &compliance, None, 0, 9).await).total, 0);
    assert_eq!(ok(store.list("tenant-b", &all, None, 0, 9).await).total, 0, "another tenant sees nothing");
}

async fn the_journal_counts<S: Executions + Journal>(store: &S) {
    create(store, "e-1").await;
    assert_eq!(ok(store.commit(turn("e-1", 1, FORWARD)).await), CommitOutcome::Committed);
    for wrong in [1, 3] {
        let refused = store.commit(turn("e-1", wrong, FORWARD)).await;
        assert!(matches!(refused, Err(StoreError::Inconsistent(_))), "a turn that counted {wrong} of 2 records");
    }
    let unknown = store.commit(turn("nobody", 0, FORWARD)).await;
    assert!(matches!(unknown, Err(StoreError::Inconsistent(_))));
    let loaded = ok(store.load(TENANT, "e-1").await).expect("it is there");
    assert_eq!(loaded.records, [JournalRecord(json!("start")), JournalRecord(json!({ "record": 2 }))]);
    assert_eq!(loaded.progress.current_step, "Second");
    ok(store.check().await);
}

async fn gates_let_through_and_refuse<S: Executions + Journal>(store: &S) {
    create(store, "paused").await;
    assert!(ok(store.set_control(TENANT, "paused", ControlFlag::Pause, at(5)).await));
    let refused = |refusal| CommitOutcome::Refused(refusal);
    assert_eq!(ok(store.commit(turn("paused", 1, FORWARD)).await), refused(Refusal::Paused));
    assert_eq!(ok(store.load(TENANT, "paused").await).expect("it is there").records.len(), 1, "nothing was written");
    assert!(ok(store.set_control(TENANT, "paused", ControlFlag::Resume, at(5)).await));
    assert_eq!(ok(store.commit(turn("paused", 1, FORWARD)).await), CommitOutcome::Committed);
    assert!(!ok(store.set_control("tenant-b", "paused", ControlFlag::Pause, at(5)).await), "a foreign execution");

    create(store, "late").await;
    let late = Commit { at: at(2_000), ..turn("late", 1, FORWARD) };
    assert_eq!(ok(store.commit(late).await), refused(Refusal::TimedOut));

    create(store, "cancelled").await;
    ok(store.request_cancel(TENANT, "cancelled", at(1)).await);
    assert_eq!(ok(store.commit(turn("cancelled", 1, PIVOT)).await), refused(Refusal::Cancelled));
    assert_eq!(ok(store.commit(turn("cancelled", 1, Gate::Open)).await), CommitOutcome::Committed, "no step begins");
    assert_eq!(ok(store.commit(turn("cancelled", 2, Gate::Compensation)).await), CommitOutcome::Committed);

    create(store, "past-the-pivot").await;
    assert_eq!(ok(store.commit(turn("past-the-pivot", 1, PIVOT)).await), CommitOutcome::Committed);
    assert!(!ok(store.set_control(TENANT, "past-the-pivot", ControlFlag::Pause, at(5)).await), "nothing to hold");
    let late = Commit { at: at(2_000), ..turn("past-the-pivot", 2, FORWARD) };
    assert_eq!(ok(store.commit(late).await), CommitOutcome::Committed, "nothing interrupts any more");
}

/// A forward step may follow an undoing. What was asked before the undoing began still holds it.
async fn a_tolerated_failure_interrupts_nothing_but_new_cancels<S: Executions + Journal>(store: &S) {
    create(store, "cancelled").await;
    ok(store.request_cancel(TENANT, "cancelled", at(1)).await);
    ok(store.commit(turn("cancelled", 1, Gate::Compensation)).await);
    let refused = |refusal| CommitOutcome::Refused(refusal);
    assert_eq!(ok(store.commit(turn("cancelled", 2, PIVOT)).await), refused(Refusal::Cancelled));

    create(store, "late").await;
    ok(store.commit(turn("late", 1, Gate::Compensation)).await);
    let late = Commit { at: at(2_000), ..turn("late", 2, PIVOT) };
    assert_eq!(ok(store.commit(late).await), refused(Refusal::TimedOut));

    create(store, "paused").await;
    ok(store.commit(turn("paused", 1, Gate::Compensation)).await);
    assert!(ok(store.set_control(TENANT, "paused", ControlFlag::Pause, at(5)).await));
    assert_eq!(ok(store.commit(turn("paused", 2, PIVOT)).await), refused(Refusal::Paused));
    assert!(ok(store.set_control(TENANT, "paused", ControlFlag::Resume, at(6)).await));
    assert!(matches!(ok(store.request_cancel(TENANT, "paused", at(7)).await), CancelOutcome::Refused(_)));
    assert_eq!(ok(store.commit(turn("paused", 2, PIVOT)).await), CommitOutcome::Committed);
}

async fn a_pause_stops_the_deadline<S: Executions + Journal>(store: &S) {
    create(store, "e-1").await;
    let status = async || ok(store.get(TENANT, "e-1").await).expect("it is there").status;
    assert!(ok(store.set_control(TENANT, "e-1", ControlFlag::Pause, at(900)).await));
    assert_eq!(status().await, Status::Paused);
    assert!(ok(store.set_control(TENANT, "e-1", ControlFlag::Pause, at(950)).await), "held since 900 all the same");
    let at_second = |second| Commit { at: at(second), ..turn("e-1", 1, FORWARD) };
    let refused = |refusal| CommitOutcome::Refused(refusal);
    assert_eq!(ok(store.commit(at_second(2_000)).await), refused(Refusal::Paused), "its deadline was at 1000");
    assert_eq!(
        ok(store.commit(Commit { at: at(2_000), ..turn("e-1", 1, Gate::Open) }).await),
        CommitOutcome::Committed
    );
    assert_eq!(status().await, Status::Paused, "what goes on meanwhile does not release it");
    assert!(ok(store.set_control(TENANT, "e-1", ControlFlag::Resume, at(3_000)).await));
    assert_eq!(status().await, Status::Running);
    let late = Commit { expected_records: 2, ..at_second(3_101) };
    assert_eq!(ok(store.commit(late).await), refused(Refusal::TimedOut), "100 seconds were left");
    let in_time = Commit { expected_records: 2, ..at_second(3_100) };
    assert_eq!(ok(store.commit(in_time).await), CommitOutcome::Committed);
}

async fn a_cancel_has_one_answer<S: Executions + Journal>(store: &S) {
    assert_eq!(ok(store.request_cancel(TENANT, "nobody", at(1)).await), CancelOutcome::NotFound);
    create(store, "e-1").await;
    assert_eq!(ok(store.request_cancel("tenant-b", "e-1", at(1)).await), CancelOutcome::NotFound);
    for second in [1, 2] {
        let CancelOutcome::Accepted(record) = ok(store.request_cancel(TENANT, "e-1", at(second)).await) else {
            panic!("a running execution can be cancelled");
        };
        assert_eq!(record.cancel_requested_at, Some(at(1)), "the first request counts");
    }
    create(store, "e-2").await;
    ok(store.commit(turn("e-2", 1, Gate::Compensation)).await);
    let too_late = ok(store.request_cancel(TENANT, "e-2", at(1)).await);
    assert!(matches!(too_late, CancelOutcome::Refused(_)), "compensation is not interrupted");
    let closed = NewExecution { begins_pivot: true, ..new("e-3") };
    ok(store.create(closed).await);
    let too_late = ok(store.request_cancel(TENANT, "e-3", at(1)).await);
    assert!(matches!(too_late, CancelOutcome::Refused(_)), "its first step is not interrupted");
}

async fn an_end_is_final<S: Executions + Journal>(store: &S) {
    assert_eq!(ok(store.mean_duration_ms(KIND).await), None);
    create(store, "good").await;
    let end = End { status: Status::Completed, result: Some(json!({ "n": 1 })), failure: None };
    ok(store.commit(Commit { end: Some(end.clone()), ..turn("good", 1, Gate::Open) }).await);
    let record = ok(store.get(TENANT, "good").await).expect("it is there");
    assert_eq!(
        (record.status, record.result, record.ended_at),
        (Status::Completed, Some(json!({ "n": 1 })), Some(at(10)))
    );
    let again = store.commit(Commit { end: Some(end), ..turn("good", 2, Gate::Open) }).await;
    assert!(matches!(again, Err(StoreError::Inconsistent(_))), "an ended execution has no further turns");
    assert!(matches!(ok(store.request_cancel(TENANT, "good", at(11)).await), CancelOutcome::Refused(_)));
    assert!(!ok(store.set_control(TENANT, "good", ControlFlag::Pause, at(5)).await));
    assert_eq!(ok(store.mean_duration_ms(KIND).await), Some(10_000));
    assert_eq!(ok(store.open_executions().await), []);
    assert!(ok(store.load(TENANT, "good").await).expect("it is there").has_ended);

    create(store, "bad").await;
    let failure = Failure { error: "Conflict".to_owned(), ..Failure::default() };
    let end = End { status: Status::Failed, result: None, failure: Some(failure.clone()) };
    ok(store.commit(Commit { end: Some(end), ..turn("bad", 1, Gate::Open) }).await);
    let record = ok(store.get(TENANT, "bad").await).expect("it is there");
    assert_eq!((record.status, record.failure), (Status::Failed, Some(failure)));
    assert_eq!(ok(store.mean_duration_ms(KIND).await), Some(10_000), "only what completed counts");
}

async fn histories_grow_and_are_the_tenants_own<S: Executions + History + Journal>(store: &S) {
    create(store, "e-1").await;
    create(store, "e-2").await;
    ok(store.commit(turn("e-1", 1, FORWARD)).await);
    assert_eq!(ok(store.events("tenant-b", "e-1", 0, 9).await), None);
    let page = ok(store.events(TENANT, "e-1", 0, 9).await).expect("it is there");
    let ids: Vec<u64> = page.rows.iter().map(|row| row.event.event_id).collect();
    assert_eq!((ids, page.total, page.next), (vec![1, 2], 2, None), "from 1 without gaps");
    assert_eq!(page.rows[0].event.details["input"], json!({ "secret": "of the request" }), "read from the request");
    assert_eq!(page.rows[1].event.details.get("input"), None::<&Value>);
    let first = ok(store.events(TENANT, "e-1", 0, 1).await).expect("it is there");
    let rest = ok(store.events(TENANT, "e-1", first.next.unwrap_or_default(), 1).await).expect("it is there");
    assert_eq!((first.rows.len(), rest.rows[0].event.event_id, rest.next), (1, 2, None));

    let newest = ok(store.tenant_events(TENANT, None, 2).await);
    let of: Vec<&str> = newest.rows.iter().map(|row| row.execution_id.as_str()).collect();
    assert_eq!((of, newest.total), (vec!["e-1", "e-2"], 3), "newest first, over all executions");
    let oldest = ok(store.tenant_events(TENANT, newest.next, 2).await);
    assert_eq!((oldest.rows.len(), oldest.next), (1, None));
    assert_eq!(ok(store.tenant_events("tenant-b", None, 2).await).total, 0);
}
