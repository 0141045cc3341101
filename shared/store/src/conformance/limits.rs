//! What every store promises of how many executions are open.

use contracts::Timestamp;
use contracts::audit::{AuditAction, AuditOutcome};
use futures::future::join_all;
use serde_json::json;

use super::driver::{Driver, Ends};
use super::{TENANT, at, create, holds, new, ok, with_key};
use crate::{
    Audit, AuditFilter, Control, Created, Executions, Full, History, IdempotencyKey, ListFilter, NewAuditRow,
    NewExecution, OpenLimits, RetryOf,
};

/// Two of a tenant.
const TWO: OpenLimits = OpenLimits { of_tenant: 2, in_all: u64::MAX };

/// Of any store; `later` lets its clock reach a moment at which it knows of what has ended.
pub(super) async fn run<S, W: Future<Output = ()>>(
    open: &impl AsyncFn(OpenLimits) -> S,
    driver: &impl Driver<S>,
    later: &impl Fn(Timestamp) -> W,
) where
    S: Audit + Executions + History,
{
    what_is_beyond_the_limit_is_not_stored(&open(TWO).await, driver, later).await;
    a_retry_is_a_start_and_an_undoing_is_none(&open(TWO).await, driver).await;
}

/// Of a store that counts within the transaction of a start.
pub(super) async fn exactly<S: Executions>(open: &impl AsyncFn(OpenLimits) -> S) {
    of_many_starts_at_once_no_more_are_new(&open(OpenLimits { of_tenant: 5, in_all: 100 }).await).await;
    tenants_share_what_there_is(&open(OpenLimits { of_tenant: 5, in_all: 6 }).await).await;
}

fn keyed(id: &str, key: &str, body_hash: &str) -> NewExecution {
    let key = IdempotencyKey { route: "POST /x".to_owned(), key: key.to_owned(), body_hash: body_hash.to_owned() };
    NewExecution { idempotency: Some(key), audit: Some(row(id)), ..new(id) }
}

fn row(id: &str) -> NewAuditRow {
    NewAuditRow {
        tenant_id: TENANT.to_owned(),
        at: at(0),
        actor: None,
        is_admin: false,
        action: AuditAction::StartWorkflow,
        outcome: AuditOutcome::Accepted,
        workflow_id: Some(id.to_owned()),
        workflow_kind: None,
        request_id: format!("request-{id}"),
        reason: None,
        details: json!({}),
    }
}

async fn is_new<S: Executions>(store: &S, new: NewExecution) -> bool {
    matches!(ok(store.create(new).await), Created::New(_))
}

/// What is stored of a tenant: executions, rows of the audit log.
async fn stored<S: Audit + Executions>(store: &S) -> (u64, usize) {
    let executions = ok(store.list(TENANT, &ListFilter::default(), None, 0, 9).await).total;
    let rows = ok(store.rows(TENANT, &AuditFilter::default(), None, 9).await).rows;
    (executions, rows.len())
}

async fn what_is_beyond_the_limit_is_not_stored<S, W: Future<Output = ()>>(
    store: &S,
    driver: &impl Driver<S>,
    later: &impl Fn(Timestamp) -> W,
) where
    S: Audit + Executions + History,
{
    let full = Some(Full::Tenant(2));
    assert_eq!(ok(store.full(TENANT, None).await), None);
    let Created::New(first) = ok(store.create(with_key("e-1", "same")).await) else { panic!("there is room") };
    create(store, "e-2").await;
    let before = stored(store).await;
    assert_eq!(ok(store.full(TENANT, None).await), full);
    for _ in 0..3 {
        assert_eq!(ok(store.create(keyed("e-3", "other", "one")).await), Created::Full(Full::Tenant(2)));
    }
    assert_eq!((ok(store.get(TENANT, "e-3").await), stored(store).await), (None, before));
    assert_eq!(ok(store.events(TENANT, "e-3", &[], None, 9).await), None);

    // What came before is answered as it was then.
    let key = with_key("e-3", "same").idempotency;
    assert_eq!(ok(store.full(TENANT, key.as_ref()).await), None);
    let unknown = keyed("e-3", "other", "one").idempotency;
    assert_eq!(ok(store.full(TENANT, unknown.as_ref()).await), full);
    assert_eq!(ok(store.create(with_key("e-3", "same")).await), Created::Existing(first));
    assert_eq!(ok(store.create(with_key("e-3", "another")).await), Created::KeyReused);

    let foreign = NewExecution { tenant_id: "tenant-b".to_owned(), ..new("foreign") };
    assert_eq!(ok(store.full("tenant-b", None).await), None);
    assert!(is_new(store, foreign).await, "other tenants have a limit of their own");

    // A paused one is open as well.
    assert!(holds(store, "e-1", Control::Pause, 1).await);
    assert!(holds(store, "e-2", Control::Cancel, 1).await);
    later(at(100)).await;
    assert_eq!(ok(store.full(TENANT, None).await), full);
    assert!(driver.end(store, "e-2", Ends::Badly, at(100)).await);
    later(at(200)).await;
    assert_eq!(ok(store.full(TENANT, None).await), None);
    assert!(is_new(store, keyed("e-3", "other", "two")).await, "of what was refused no key is kept");
    assert_eq!(ok(store.full(TENANT, None).await), full);
    assert_eq!(stored(store).await, (before.0 + 1, before.1 + 1));
}

async fn a_retry_is_a_start_and_an_undoing_is_none<S: Executions>(store: &S, driver: &impl Driver<S>) {
    create(store, "e-1").await;
    assert!(driver.end(store, "e-1", Ends::Badly, at(10)).await);
    let retry = |id: &str, undoes: bool| {
        let retry_of = Some(RetryOf { id: "e-1".to_owned(), undoes });
        NewExecution { retry_of, ..new(id) }
    };
    // A store that does not count what ends at once has counted the first one.
    for id in ["e-2", "e-3"] {
        let _ = ok(store.create(new(id)).await);
    }
    let before = ok(store.get(TENANT, "e-1").await);
    assert_eq!(ok(store.create(retry("e-4", false)).await), Created::Full(Full::Tenant(2)));
    assert_eq!(ok(store.get(TENANT, "e-1").await), before, "it can still be retried");
    let Created::New(undoing) = ok(store.create(retry("e-5", true)).await) else {
        panic!("what undoes something is never refused");
    };
    assert_eq!(ok(store.create(retry("e-6", false)).await), Created::Existing(undoing.clone()));
    assert_eq!(ok(store.create(retry("e-7", true)).await), Created::Existing(undoing));
    assert!(holds(store, "e-2", Control::Cancel, 20).await);
    assert!(driver.end(store, "e-2", Ends::Terminated, at(20)).await);
}

/// How many of so many starts at once are new; all others are refused for this reason.
async fn new_of<S: Executions>(store: &S, tenant_id: &str, starts: usize, full: Full) -> usize {
    let start =
        |number: usize| NewExecution { tenant_id: tenant_id.to_owned(), ..new(&format!("{tenant_id}-{number}")) };
    let created = join_all((0..starts).map(|number| store.create(start(number)))).await;
    let is_new = |created| match ok(created) {
        Created::New(_) => true,
        other => {
            assert_eq!(other, Created::Full(full));
            false
        }
    };
    created.into_iter().map(is_new).filter(|is_new| *is_new).count()
}

async fn of_many_starts_at_once_no_more_are_new<S: Executions>(store: &S) {
    assert_eq!(new_of(store, TENANT, 20, Full::Tenant(5)).await, 5);
}

async fn tenants_share_what_there_is<S: Executions>(store: &S) {
    assert_eq!(new_of(store, "tenant-a", 20, Full::Service).await, 3, "as many as are left");
    assert_eq!(new_of(store, "tenant-b", 20, Full::Service).await, 2);
    assert_eq!(ok(store.full("tenant-c", None).await), None);
    assert_eq!(new_of(store, "tenant-c", 20, Full::Service).await, 1);
    assert_eq!(ok(store.full("tenant-d", None).await), Some(Full::Service));
    assert_eq!(new_of(store, "tenant-d", 20, Full::Service).await, 0);
}
