//! What a journal promises.

use contracts::Status;
use contracts::audit::AuditAction;
use serde_json::json;

use super::audit::{log, row, told};
use super::driver::turn;
use super::{KIND, TENANT, at, create, new, ok, request};
use crate::{
    Audit, Commit, CommitOutcome, Control, End, Executions, Gate, History, Journal, JournalRecord, MAX_RECORDS_READ,
    NewExecution, OpenExecution, RecordSelection, Reported, StoreError,
};

pub(super) async fn run<S: Audit + Executions + History + Journal>(open: &impl AsyncFn() -> S) {
    it_is_loaded_as_it_was_written(&open().await).await;
    it_counts(&open().await).await;
    it_forgets(&open().await).await;
    it_is_read_in_parts(&open().await).await;
    what_steps_reported_stays_until_it_changes(&open().await).await;
    an_end_that_somebody_asked_for_has_a_row(&open().await).await;
}

async fn an_end_that_somebody_asked_for_has_a_row<S: Audit + Executions + Journal>(store: &S) {
    let ended = |records, second| {
        let end = End { status: Status::Terminated, result: None, failure: None };
        let audit = Some(row("e-1", AuditAction::TerminateWorkflow, second));
        Commit { end: Some(end), audit, ..turn("e-1", records, Gate::Open) }
    };
    create(store, "e-1").await;
    assert!(store.commit(ended(7, 1)).await.is_err(), "it does not know the journal");
    ok(store.control(TENANT, "e-1", Control::Cancel, at(2), None).await);
    let gate = Gate::Forward { is_pivot: false, passes: false };
    let refused = ok(store.commit(Commit { gate, ..ended(1, 2) }).await);
    assert!(matches!(refused, CommitOutcome::Refused(_)), "{refused:?}");
    assert_eq!(log(store).await, [], "nothing was written");
    assert_eq!(ok(store.commit(ended(1, 3)).await), CommitOutcome::Committed);
    assert!(store.commit(ended(2, 4)).await.is_err(), "it has ended");
    assert_eq!(log(store).await, told(&[(3, AuditAction::TerminateWorkflow)]));
}

async fn what_steps_reported_stays_until_it_changes<S: Executions + Journal>(store: &S) {
    create(store, "e-1").await;
    let mut reported = Reported::default();
    reported.add([("n".to_owned(), json!(1))].into_iter().collect(), true);
    let commit = Commit { reported: Some(reported.clone()), ..turn("e-1", 1, Gate::Open) };
    assert_eq!(ok(store.commit(commit).await), CommitOutcome::Committed);
    assert_eq!(ok(store.commit(turn("e-1", 2, Gate::Open)).await), CommitOutcome::Committed);
    assert_eq!(ok(store.load(TENANT, "e-1").await).expect("it is there").reported, reported);
}

async fn it_is_loaded_as_it_was_written<S: Executions + Journal>(store: &S) {
    create(store, "e-1").await;
    ok(store.create(NewExecution { journal: None, ..new("of-another-engine") }).await);
    let loaded = ok(store.load(TENANT, "e-1").await).expect("the journal has it");
    assert_eq!((loaded.definition.as_str(), loaded.journal_len, loaded.kind), ("{}", 1, KIND));
    assert_eq!((loaded.request, loaded.reported), (request(), Reported::default()));
    assert_eq!(loaded.ended_at, None);
    let expected = [OpenExecution { tenant_id: TENANT.to_owned(), id: "e-1".to_owned() }];
    assert_eq!(ok(store.journalled().await), expected, "only what has a journal");
}

async fn it_counts<S: Executions + Journal>(store: &S) {
    const FORWARD: Gate = Gate::Forward { is_pivot: false, passes: false };
    create(store, "e-1").await;
    assert_eq!(ok(store.commit(turn("e-1", 1, FORWARD)).await), CommitOutcome::Committed);
    for wrong in [1, 3] {
        let refused = store.commit(turn("e-1", wrong, FORWARD)).await;
        assert!(matches!(refused, Err(StoreError::Inconsistent(_))), "a turn that counted {wrong} of 2 records");
    }
    let unknown = store.commit(turn("nobody", 0, FORWARD)).await;
    assert!(matches!(unknown, Err(StoreError::Inconsistent(_))));
    let loaded = ok(store.load(TENANT, "e-1").await).expect("it is there");
    let records = ok(store.records(TENANT, "e-1", RecordSelection::After(0)).await);
    assert_eq!(records, [(1, JournalRecord(json!("start"))), (2, JournalRecord(json!({ "record": 2 })))]);
    assert_eq!((loaded.journal_len, loaded.journal_kept), (2, 2));
    assert_eq!(loaded.progress.current_step, "CreateUserAccount");
    ok(store.check().await);
}

async fn it_forgets<S: Executions + Journal>(store: &S) {
    create(store, "e-1").await;
    for len in 1..=3 {
        ok(store.commit(turn("e-1", len, Gate::Open)).await);
    }
    let forgetting = |forgotten: &[u64]| Commit { forgotten: forgotten.to_vec(), ..turn("e-1", 4, Gate::Open) };
    for wrong in [&[5][..], &[2, 2], &[9]] {
        let refused = store.commit(forgetting(wrong)).await;
        assert!(matches!(refused, Err(StoreError::Inconsistent(_))), "{wrong:?}");
    }
    assert_eq!(numbers(store, TENANT, RecordSelection::After(0)).await, [1, 2, 3, 4], "nothing was written");
    assert_eq!(ok(store.commit(forgetting(&[2, 4])).await), CommitOutcome::Committed);
    let loaded = ok(store.load(TENANT, "e-1").await).expect("it is there");
    assert_eq!((loaded.journal_len, loaded.journal_kept), (5, 3));
    assert_eq!(numbers(store, TENANT, RecordSelection::After(0)).await, [1, 3, 5]);
    assert_eq!(ok(store.commit(turn("e-1", 5, Gate::Open)).await), CommitOutcome::Committed);
}

async fn it_is_read_in_parts<S: Executions + Journal>(store: &S) {
    create(store, "e-1").await;
    let many = MAX_RECORDS_READ as u64 + 20;
    let record = JournalRecord(json!("one of many"));
    let commit = Commit { records: vec![record; many as usize], ..turn("e-1", 1, Gate::Open) };
    assert_eq!(ok(store.commit(commit).await), CommitOutcome::Committed);
    let first: Vec<u64> = (1..=MAX_RECORDS_READ as u64).collect();
    assert_eq!(numbers(store, TENANT, RecordSelection::After(0)).await, first);
    let rest: Vec<u64> = (MAX_RECORDS_READ as u64 + 1..=many + 1).collect();
    assert_eq!(numbers(store, TENANT, RecordSelection::After(MAX_RECORDS_READ as u64)).await, rest);
    assert_eq!(numbers(store, TENANT, RecordSelection::After(many + 1)).await, [0; 0]);
    assert_eq!(numbers(store, TENANT, RecordSelection::Numbered(vec![7, 2, many + 9])).await, [2, 7]);
    assert_eq!(numbers(store, TENANT, RecordSelection::Numbered(Vec::new())).await, [0; 0]);
    assert_eq!(numbers(store, "another-tenant", RecordSelection::After(0)).await, [0; 0]);
}

async fn numbers<S: Journal>(store: &S, tenant_id: &str, which: RecordSelection) -> Vec<u64> {
    ok(store.records(tenant_id, "e-1", which).await).into_iter().map(|(number, _)| number).collect()
}
