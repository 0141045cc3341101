//! What a journal promises.

use serde_json::json;

use super::driver::turn;
use super::{KIND, TENANT, create, new, ok};
use crate::{
    Commit, CommitOutcome, Executions, Gate, History, Journal, JournalRecord, NewExecution, OpenExecution, StoreError,
};

pub(super) async fn run<S: Executions + History + Journal>(open: &impl AsyncFn() -> S) {
    it_is_loaded_as_it_was_written(&open().await).await;
    it_counts(&open().await).await;
    it_forgets(&open().await).await;
}

async fn it_is_loaded_as_it_was_written<S: Executions + Journal>(store: &S) {
    create(store, "e-1").await;
    ok(store.create(NewExecution { journal: None, ..new("of-another-engine") }).await);
    let loaded = ok(store.load(TENANT, "e-1").await).expect("the journal has it");
    assert_eq!((loaded.definition.as_str(), loaded.records.len(), loaded.kind), ("{}", 1, KIND));
    assert_eq!(loaded.request, json!({ "secret": "of the request" }));
    assert!(!loaded.has_ended);
    let expected = [OpenExecution { tenant_id: TENANT.to_owned(), id: "e-1".to_owned() }];
    assert_eq!(ok(store.journalled().await), expected, "only what has a journal");
}

async fn it_counts<S: Executions + Journal>(store: &S) {
    const FORWARD: Gate = Gate::Forward { is_pivot: false };
    create(store, "e-1").await;
    assert_eq!(ok(store.commit(turn("e-1", 1, FORWARD)).await), CommitOutcome::Committed);
    for wrong in [1, 3] {
        let refused = store.commit(turn("e-1", wrong, FORWARD)).await;
        assert!(matches!(refused, Err(StoreError::Inconsistent(_))), "a turn that counted {wrong} of 2 records");
    }
    let unknown = store.commit(turn("nobody", 0, FORWARD)).await;
    assert!(matches!(unknown, Err(StoreError::Inconsistent(_))));
    let loaded = ok(store.load(TENANT, "e-1").await).expect("it is there");
    assert_eq!(loaded.records, [(1, JournalRecord(json!("start"))), (2, JournalRecord(json!({ "record": 2 })))]);
    assert_eq!(loaded.journal_len, 2);
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
    assert_eq!(ok(store.load(TENANT, "e-1").await).expect("it is there").records.len(), 4, "nothing was written");
    assert_eq!(ok(store.commit(forgetting(&[2, 4])).await), CommitOutcome::Committed);
    let loaded = ok(store.load(TENANT, "e-1").await).expect("it is there");
    let numbers: Vec<u64> = loaded.records.iter().map(|(number, _)| *number).collect();
    assert_eq!((numbers, loaded.journal_len), (vec![1, 3, 5], 5));
    assert_eq!(ok(store.commit(turn("e-1", 5, Gate::Open)).await), CommitOutcome::Committed);
}
