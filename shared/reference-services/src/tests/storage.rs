//! What stays: files, seeds, snapshots.

use std::path::PathBuf;

use clock::SystemClock;

use super::*;

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("reference-services-{}", uuid::Uuid::now_v7());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn open(directory: &Directory) -> World {
    let clock: SharedClock = Arc::new(SystemClock);
    let services = Services::open(&directory.0, Arc::clone(&clock)).await.expect("opens");
    World { services, clock }
}

#[tokio::test]
async fn everything_survives_a_reopening() {
    let directory = Directory::new();
    let world = open(&directory).await;
    assert!(world.services.seed_demo().await.expect("seeds"));
    let mut replies = Vec::new();
    for call in onboarding() {
        replies.push(world.run(&call).await);
    }
    let undone = create_user("undone", "other@example.com");
    world.undo(&undone).await;
    let (before, ledger) = (world.snapshot().await, world.ledger().await);
    drop(world);

    let world = open(&directory).await;
    assert!(!world.services.seed_demo().await.expect("seeds"));
    assert_eq!(world.snapshot().await, before);
    assert_eq!(world.ledger().await, ledger);
    for (call, first) in onboarding().iter().zip(replies) {
        assert_eq!(world.run(call).await.body, first.body);
    }
    assert_eq!(world.run(&undone).await.status, 410);
    for call in onboarding().iter().rev() {
        assert_eq!(world.undo(call).await["undone"], true);
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_file() {
    let directory = Directory::new();
    let world = open(&directory).await;
    world.services.seed_demo().await.expect("seeds");
    world.run(&create_user("key", "nina@example.com")).await;
    // The first one is still open and never closed properly, as after a kill.
    let other = open(&directory).await;
    assert_eq!(other.snapshot().await, world.snapshot().await);
    for kind in ServiceKind::ALL {
        assert!(directory.0.join(format!("{}.db", kind.name())).is_file());
    }
}

#[tokio::test]
async fn two_openings_of_one_directory_share_it() {
    let directory = Directory::new();
    let (one, other) = (open(&directory).await, open(&directory).await);
    one.services.seed_demo().await.expect("seeds");
    let call = create_user("key", "nina@example.com");
    let (first, second) = tokio::join!(one.run(&call), other.run(&call));
    assert_eq!((first.status.as_u16(), first.body), (201, second.body));
}

#[tokio::test]
async fn demo_data_is_created_once() {
    let world = World::new().await;
    let before = world.snapshot().await;
    assert!(!world.services.seed_demo().await.expect("seeds"));
    assert_eq!(world.snapshot().await, before);
    for (service, table, rows) in [
        ("auth", "accounts", 2),
        ("auth", "sessions", 1),
        ("user", "profiles", 2),
        ("tenant", "tenants", 2),
        ("tenant", "memberships", 2),
        ("file", "workspaces", 2),
        ("file", "files", 6),
        ("file", "contents", 6),
        ("notifications", "outbox", 0),
    ] {
        assert_eq!(before[service][table].as_array().map(Vec::len), Some(rows), "{table}");
    }
    assert_eq!(world.ledger().await, []);
}

#[tokio::test]
async fn tenants_can_be_added() {
    let world = World::new().await;
    assert!(world.services.add_tenant("tenant-9", "Initech").await.expect("adds"));
    assert!(!world.services.add_tenant("tenant-9", "Another").await.expect("adds"));
    let context = world.get(ServiceKind::Tenant, "tenant-9", "/api/v1/tenants/tenant-9/context").await;
    assert_eq!(context.json()["tenant_context"]["tenant_name"], "Initech");
}

#[tokio::test]
async fn a_snapshot_may_be_one_tenants() {
    let world = World::new().await;
    let of = async |tenant| world.services.snapshot(Some(tenant)).await.expect("a snapshot");
    let (acme, globex) = (of(ACME).await, of(GLOBEX).await);
    for call in onboarding() {
        world.run(&call).await;
    }
    assert_ne!(of(ACME).await, acme);
    assert_eq!(of(GLOBEX).await, globex);
    assert!(!globex.to_string().contains(ACME));
}
