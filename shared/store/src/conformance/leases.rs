//! What every store promises of leases.

use std::collections::BTreeSet;

use super::{TENANT, at, create, ok};
use crate::{EndRecorder, EngineEnd, Executions, History, Holder, Leased, Leases};

/// The suite of a store of leases; `open` gives an empty store each time.
pub async fn leases<S: Leases + Executions + History + EndRecorder>(open: impl AsyncFn() -> S) {
    one_execution_holds_a_data_set(&open().await).await;
    each_new_holder_has_a_higher_number(&open().await).await;
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
    assert!(is_granted(&lease(&["auth/account", "user/profile"], "e-1").await));
    assert!(is_granted(&lease(&["user/profile", "auth/account"], "e-1").await), "it has them already");
    assert_eq!(lease(&["user/profile"], "e-2").await, held("user/profile", "e-1"));
    assert!(is_granted(&lease(&["file/file"], "e-2").await), "another data set");
    let foreign = ok(store.lease("another-tenant", &sets(&["auth/account"]), holder("e-1")).await);
    assert!(is_granted(&foreign), "another tenant's is another one");
    let refused = ok(store.lease("another-tenant", &sets(&["auth/account"]), holder("e-2")).await);
    assert_eq!(refused, held("auth/account", "e-1"), "whosever execution holds it");
    assert!(ok(store.record_end(TENANT, "e-1", &EngineEnd::Terminated, at(60), None).await));
    assert_eq!(lease(&["user/profile", "file/file"], "e-3").await, held("file/file", "e-2"));
    assert!(is_granted(&lease(&["user/profile", "auth/account"], "e-3").await), "e-1 has ended");
    assert_eq!(lease(&["auth/account"], "e-2").await, held("auth/account", "e-3"));
    assert_eq!(lease(&[], "e-2").await, Leased::Granted { fence: 0 });
}

pub(super) fn is_granted(leased: &Leased) -> bool {
    matches!(leased, Leased::Granted { .. })
}

async fn each_new_holder_has_a_higher_number<S: Leases + Executions + EndRecorder>(store: &S) {
    for id in ["e-1", "e-2", "e-3", "e-4"] {
        create(store, id).await;
    }
    let fence = async |names: &[&str], id: &str| match ok(store.lease(TENANT, &sets(names), holder(id)).await) {
        Leased::Granted { fence } => fence,
        held @ Leased::Held { .. } => panic!("{held:?}"),
    };
    let first = fence(&["auth/account"], "e-1").await;
    assert_eq!(fence(&["auth/account"], "e-1").await, first, "the same holder keeps its number");
    let other = fence(&["file/file"], "e-2").await;
    assert!(other > first, "it grows over all data sets of the tenant: {first}, {other}");
    // What it writes now is not refused for what it had before.
    let more = fence(&["auth/account", "user/profile"], "e-1").await;
    assert!(more > other, "{other}, {more}");
    assert_eq!(fence(&["user/profile", "auth/account"], "e-1").await, more);
    assert!(ok(store.record_end(TENANT, "e-1", &EngineEnd::Terminated, at(60), None).await));
    let next = fence(&["auth/account"], "e-3").await;
    assert!(next > more, "the next holder is after everything that the last one had: {more}, {next}");
    assert!(ok(store.record_end(TENANT, "e-3", &EngineEnd::Terminated, at(61), None).await));
    assert!(fence(&["auth/account"], "e-4").await > next);
    assert_eq!(fence(&["file/file"], "e-2").await, other, "whoever still holds one keeps its number");
}

async fn of_fifty_at_once_one_wins<S: Leases + Executions>(store: &S) {
    let ids: Vec<String> = (0..50).map(|number| format!("e-{number}")).collect();
    for id in &ids {
        create(store, id).await;
    }
    let wanted = sets(&["auth/account"]);
    let asked = ids.iter().map(|id| store.lease(TENANT, &wanted, holder(id)));
    let granted = futures::future::join_all(asked).await.into_iter().map(ok).filter(is_granted);
    assert_eq!(granted.count(), 1);
    // Each of another data set has a number of its own.
    let wanted: Vec<Vec<String>> = ids.iter().map(|id| sets(&[id])).collect();
    let asked = ids.iter().zip(&wanted).map(|(id, wanted)| store.lease("another-tenant", wanted, holder(id)));
    let granted = futures::future::join_all(asked).await.into_iter().map(ok);
    let numbers: BTreeSet<u64> =
        granted.filter_map(|leased| if let Leased::Granted { fence } = leased { Some(fence) } else { None }).collect();
    assert_eq!(numbers.len(), ids.len(), "no number comes twice");
}
