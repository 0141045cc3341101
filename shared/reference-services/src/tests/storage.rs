//! What stays: files, seeds, snapshots.

use std::path::PathBuf;

use clock::SystemClock;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::*;

/// A directory that goes with the test.
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        let name = format!("reference-services-{}", uuid::Uuid::now_v7());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn open(directory: &Directory) -> World {
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
        ("auth", "accounts", 4),
        ("auth", "sessions", 1),
        ("user", "profiles", 3),
        ("user", "contexts", 3),
        ("user", "usage", 3),
        ("tenant", "tenants", 3),
        ("tenant", "memberships", 5),
        ("tenant", "profile_copies", 3),
        ("file", "workspaces", 2),
        ("file", "files", 6),
        ("file", "contents", 6),
        ("notifications", "outbox", 1),
    ] {
        assert_eq!(before[service][table].as_array().map(Vec::len), Some(rows), "{table}");
    }
    assert_eq!(world.ledger().await, []);
}

/// Makes the directory that the services had when their tables had taken only the first step.
async fn write_first_version(directory: &Directory) {
    std::fs::create_dir_all(&directory.0).expect("a directory");
    for (kind, rows) in [
        (
            ServiceKind::Auth,
            "INSERT INTO accounts VALUES ('tenant-123', 'user-123', 'old@example.com', 'Old', 'admin', 't');
             INSERT INTO sessions VALUES ('tenant-123', 'session-1', 'user-123', '{\"device\":\"laptop\"}', 't', 't');",
        ),
        (
            ServiceKind::User,
            "INSERT INTO profiles VALUES ('tenant-123', 'profile-1', 'user-123', '{}', '{\"theme\":\"dark\"}', 't');
             INSERT INTO profiles VALUES ('tenant-456', 'profile-2', 'user-123', '{}', '{}', 't');",
        ),
        (
            ServiceKind::Tenant,
            "INSERT INTO tenants VALUES ('tenant-123', 'Old Corporation', 'standard', '[]', '{}', '{}', 't');
             INSERT INTO memberships VALUES ('tenant-123', 'user-123', 'admin', '[]', 1, 't');",
        ),
    ] {
        let file = directory.0.join(format!("{}.db", kind.name()));
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let mut connection = options.connect().await.expect("connects");
        for sql in [kind.definition().schema[0], rows] {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("runs");
        }
        connection.close().await.expect("closes");
    }
}

#[tokio::test]
async fn a_directory_of_the_first_version_goes_on() {
    let directory = Directory::new();
    write_first_version(&directory).await;
    let world = open(&directory).await;
    let before = world.snapshot().await;
    let session = json!({
        "tenant_id": ACME, "session_id": "session-1", "user_id": "user-123",
        "session_data": { "device": "laptop" }, "active": true, "created_at": "t", "revoked_at": null,
    });
    assert_eq!(before["auth"]["sessions"], json!([session]));
    let context = json!({
        "user_id": "user-123", "tenant_id": ACME, "preferences": { "theme": "dark" }, "version": 1, "updated_at": "t",
    });
    assert_eq!(before["user"]["contexts"], json!([context]));
    assert_eq!(before["tenant"]["tenants"][0]["status"], "active");

    // The demo data come to it, and change nothing that is there.
    assert!(world.services.seed_demo().await.expect("seeds"));
    let seeded = world.snapshot().await;
    for (service, tables) in before.as_object().expect("services") {
        for (table, rows) in tables.as_object().expect("tables") {
            let seeded = seeded[service][table].as_array().expect("rows");
            assert!(rows.as_array().expect("rows").iter().all(|row| seeded.contains(row)), "{table}");
        }
    }
    for call in switching() {
        world.done(&call).await;
    }
    let switched = world.snapshot().await;
    drop(world);
    let world = open(&directory).await;
    assert!(!world.services.seed_demo().await.expect("seeds"));
    assert_eq!(world.snapshot().await, switched);
}

#[tokio::test]
async fn accounts_of_an_older_directory_keep_their_addresses() {
    let directory = Directory::new();
    std::fs::create_dir_all(&directory.0).expect("a directory");
    let options = SqliteConnectOptions::new().filename(directory.0.join("auth.db")).create_if_missing(true);
    let mut connection = options.connect().await.expect("connects");
    let definition = ServiceKind::Auth.definition();
    let rows = "INSERT INTO accounts VALUES ('tenant-123', 'user-1', 'us\u{e9}r@example.com', 'Old', 'user', 't');
         INSERT INTO accounts VALUES ('tenant-123', 'user-2', 'US\u{c9}R@example.com', 'Older than the rule', 'user', 't');
         INSERT INTO accounts VALUES ('tenant-456', 'user-3', 'us\u{e9}r@example.com', 'Elsewhere', 'user', 't');
         PRAGMA user_version = 2;";
    for sql in [definition.schema[0], definition.schema[1], rows] {
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("runs");
    }
    connection.close().await.expect("closes");

    let expected: Vec<Value> = [
        (ACME, "user-1", "us\u{e9}r@example.com", "Old"),
        (ACME, "user-2", "US\u{c9}R@example.com", "Older than the rule"),
        (GLOBEX, "user-3", "us\u{e9}r@example.com", "Elsewhere"),
    ]
    .into_iter()
    .map(|(tenant_id, user_id, email, name)| {
        json!({
            "tenant_id": tenant_id, "user_id": user_id, "email": email, "name": name, "role": "user", "created_at": "t",
            "status": "active",
        })
    })
    .collect();
    for key in ["first", "second"] {
        let world = open(&directory).await;
        assert_eq!(world.snapshot().await["auth"]["accounts"], json!(expected), "all are there, as they were");
        let spelt = create_user(key, "USE\u{301}R@EXAMPLE.COM");
        assert_eq!(world.run(&spelt).await.status, 409, "an account from before has the address");
    }
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
