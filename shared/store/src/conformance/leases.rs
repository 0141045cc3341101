//! What every store promises of leases.

use super::{TENANT, at, create, ok};
use crate::{EndRecorder, EngineEnd, Executions, History, Holder, Leased, Leases};

/// The suite of a store of leases; `open` gives an empty store each time.
pub async fn leases<S: Leases + Executions + History + EndRecorder>(open: impl AsyncFn() -> S) {
    one_execution_holds_a_data_set(&open().await).await;
    of_fifty_at_once_one_wins(&open().await).await;
}

/// The execution of the tenant.
pub(super) fn holder(execution_id: &str) -> Holder<'_> {
    Holder { tenant_id: TENANT, execution_id }
}

fn sets(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn one_execution_holds_a_data_set<S: Leases + Executions + EndRecorder>(store: &S) {
    for id in ["e-1", "e-2", "e-3"] {
        create(store, id).await;
    }
    let lease = async |names: &[&str], id: &str| ok(store.lease(TENANT, &sets(names), holder(id)).await);
    let held = |data_set: &str, by: &str| Leased::Held { data_set: data_set.to_owned(), by: by.to_owned() };
    assert_eq!(lease(&["auth/account", "user/profile"], "e-1").await, Leased::Granted);
    assert_eq!(lease(&["user/profile", "auth/account"], "e-1").await, Leased::Granted, "it has them already");
    assert_eq!(lease(&["user/profile"], "e-2").await, held("user/profile", "e-1"));
    assert_eq!(lease(&["file/file"], "e-2").await, Leased::Granted, "another data set");
    let foreign = ok(store.lease("another-tenant", &sets(&["auth/account"]), holder("e-1")).await);
    assert_eq!(foreign, Leased::Granted, "another tenant's is another one");
    let refused = ok(store.lease("another-tenant", &sets(&["auth/account"]), holder("e-2")).await);
    assert_eq!(refused, held("auth/account", "e-1"), "whosever execution holds it");
    assert!(ok(store.record_end(TENANT, "e-1", &EngineEnd::Terminated, at(60), None).await));
    assert_eq!(lease(&["user/profile", "file/file"], "e-3").await, held("file/file", "e-2"));
    assert_eq!(lease(&["user/profile", "auth/account"], "e-3").await, Leased::Granted, "e-1 has ended");
    assert_eq!(lease(&["auth/account"], "e-2").await, held("auth/account", "e-3"));
    assert_eq!(lease(&[], "e-2").await, Leased::Granted);
}

async fn of_fifty_at_once_one_wins<S: Leases + Executions>(store: &S) {
    let ids: Vec<String> = (0..50).map(|number| format!("e-{number}")).collect();
    for id in &ids {
        create(store, id).await;
    }
    let wanted = sets(&["auth/account"]);
    let asked = ids.iter().map(|id| store.lease(TENANT, &wanted, holder(id)));
    let granted =
        futures::future::join_all(asked).await.into_iter().map(ok).filter(|leased| *leased == Leased::Granted);
    assert_eq!(granted.count(), 1);
}
