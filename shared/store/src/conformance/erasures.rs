//! What every store promises of the ledger of erasures.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{TENANT, at, new, ok, with_key};
use crate::{
    Created, EndRecorder, EngineEnd, Erasure, Erasures, Executions, Forgotten, History, IdempotencyKey, NewExecution,
    StoredRequest,
};

/// The suite of a ledger of erasures; `open` gives an empty store each time.
pub async fn erasures<S: Erasures + Executions + EndRecorder + History>(open: impl AsyncFn() -> S) {
    executions_that_name_a_person_are_found_and_forget(&open().await).await;
    the_first_key_stays(&open().await).await;
    an_erasure_is_read_as_it_was_written(&open().await).await;
    pages_hold_each_once(&open().await).await;
}

fn erasure(compliance_id: &str) -> Erasure {
    Erasure {
        tenant_id: TENANT.to_owned(),
        compliance_id: compliance_id.to_owned(),
        subject: "ab".repeat(32),
        execution_id: "e-1".to_owned(),
        backup_id: None,
        backup_until: None,
        began_at: at(10),
        ended_at: None,
        is_complete: false,
        held_by: BTreeSet::new(),
        held_marks: BTreeSet::new(),
        kept_request: None,
    }
}

const PERSON: &str = "user-1";

async fn named<S: Erasures>(store: &S, person: &str, size: u32) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = ok(store.naming(TENANT, person, after.as_deref(), size).await);
        assert!(page.named.len() <= size as usize, "{size}");
        names.extend(page.named.into_iter().filter(|named| named.is_sure).map(|named| named.id));
        after = page.next;
        if after.is_none() {
            names.sort();
            return names;
        }
    }
}

async fn executions_that_name_a_person_are_found_and_forget<S: Erasures + Executions + EndRecorder + History>(
    store: &S,
) {
    let with =
        |id: &str, request: Value| NewExecution { request: StoredRequest::Inline(request), ..with_key(id, "hash") };
    let key = |new: NewExecution, key: &str| {
        let idempotency = new.idempotency.map(|of| IdempotencyKey { key: key.to_owned(), ..of });
        NewExecution { idempotency, ..new }
    };
    let requested = key(with("e-1", json!({ "user": PERSON, "email": "secret@example.com" })), "k-1");
    let acted = NewExecution { user_id: Some(PERSON.to_owned()), ..key(with("e-2", json!({ "secret": 2 })), "k-2") };
    let other =
        NewExecution { user_id: Some("user-12".to_owned()), ..key(with("e-3", json!({ "user": "user-12" })), "k-3") };
    let resulted = key(with("e-4", json!({ "email": "secret@example.com" })), "k-4");
    let blob = NewExecution { request: StoredRequest::Blob("ab".repeat(32)), ..key(new("e-5"), "k-5") };
    for new in [requested, acted, other.clone(), resulted, blob] {
        ok(store.create(new).await);
    }
    let end = EngineEnd::Succeeded(json!({ "user_id": PERSON, "n": 1 }));
    ok(store.record_end(TENANT, "e-4", &end, at(5), None).await);
    for size in [1, 2, 5, 9] {
        assert_eq!(named(store, PERSON, size).await, ["e-1", "e-2", "e-4"], "{size}");
    }
    let unsure = ok(store.naming(TENANT, PERSON, None, 9).await).named.into_iter().find(|named| !named.is_sure);
    assert_eq!(unsure.map(|named| named.id).as_deref(), Some("e-5"), "only the blob can tell");

    let who = |keeps_key| Forgotten { person: PERSON, pseudonym: "erased-1", keeps_key };
    for _ in 0..2 {
        ok(store.forget(TENANT, "e-1", who(false)).await);
        ok(store.forget(TENANT, "e-2", who(true)).await);
        ok(store.forget(TENANT, "e-4", who(false)).await);
        ok(store.forget("tenant-b", "e-3", who(false)).await);
        ok(store.forget(TENANT, "e-0", who(false)).await);
    }
    assert_eq!(named(store, PERSON, 9).await, Vec::<String>::new());
    for id in ["e-1", "e-2", "e-4"] {
        let retried = ok(store.retried(TENANT, id).await).expect("it is there");
        assert_eq!(retried.request, StoredRequest::Inline(Value::Null), "{id}");
    }
    let record = ok(store.get(TENANT, "e-4").await).expect("it is there");
    assert_eq!(record.result, Some(json!({ "user_id": "erased-1", "n": 1 })));
    let record = ok(store.get(TENANT, "e-2").await).expect("it is there");
    assert_eq!(record.user_id.as_deref(), Some("erased-1"));
    let history = ok(store.events(TENANT, "e-4", &[], None, 9).await);
    assert!(!format!("{history:?}").contains(&format!("\"{PERSON}\"")), "{history:?}");
    // The key that is kept still leads to its execution, the others are free.
    let again = |id: &str, of: &str| key(with_key(id, "hash"), of);
    assert!(matches!(ok(store.create(again("e-6", "k-1")).await), Created::New(_)));
    assert!(matches!(ok(store.create(again("e-7", "k-2")).await), Created::Existing(record) if record.id == "e-2"));
    let stays = ok(store.retried(TENANT, "e-3").await).expect("it is there");
    assert_eq!(stays.request, other.request, "somebody else's stays");
}

async fn the_first_key_stays<S: Erasures>(store: &S) {
    assert_eq!(ok(store.erasure_key(TENANT).await), None);
    assert_eq!(ok(store.keep_erasure_key(TENANT, "first").await), "first");
    assert_eq!(ok(store.keep_erasure_key(TENANT, "second").await), "first");
    assert_eq!(ok(store.erasure_key(TENANT).await), Some("first".to_owned()));
    assert_eq!(ok(store.erasure_key("tenant-b").await), None);
    assert_eq!(ok(store.keep_erasure_key("tenant-b", "second").await), "second");
    assert_eq!(ok(store.erasures(TENANT, None, 9).await), [], "a key is no erasure");
}

async fn an_erasure_is_read_as_it_was_written<S: Erasures>(store: &S) {
    assert_eq!(ok(store.erasure(TENANT, "c-1").await), None);
    let begun = erasure("c-1");
    ok(store.note_erasure(&begun).await);
    assert_eq!(ok(store.erasure(TENANT, "c-1").await), Some(begun.clone()));
    assert_eq!(ok(store.erasure("tenant-b", "c-1").await), None, "another tenant's is another one");
    let ended = Erasure {
        execution_id: "e-2".to_owned(),
        backup_id: Some("b-1".to_owned()),
        backup_until: Some(at(100)),
        ended_at: Some(at(20)),
        is_complete: true,
        held_by: BTreeSet::from(["hold-1".to_owned()]),
        held_marks: BTreeSet::from(["ab".to_owned(), "cd".to_owned()]),
        kept_request: Some(json!({ "subject_user_id": PERSON })),
        ..begun
    };
    ok(store.note_erasure(&ended).await);
    assert_eq!(ok(store.erasure(TENANT, "c-1").await), Some(ended));
}

async fn pages_hold_each_once<S: Erasures>(store: &S) {
    ok(store.keep_erasure_key(TENANT, "key").await);
    for name in ["c-3", "c-1", "c-2"] {
        ok(store.note_erasure(&erasure(name)).await);
    }
    ok(store.note_erasure(&Erasure { tenant_id: "tenant-b".to_owned(), ..erasure("c-4") }).await);
    for size in [1, 2, 3, 9] {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = ok(store.erasures(TENANT, after.as_deref(), size).await);
            assert!(page.len() <= size as usize, "{size}");
            let Some(last) = page.last() else { break };
            after = Some(last.compliance_id.clone());
            names.extend(page.into_iter().map(|erasure| erasure.compliance_id));
        }
        assert_eq!(names, ["c-1", "c-2", "c-3"], "{size}");
    }
}
