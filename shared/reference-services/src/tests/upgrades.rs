//! Files of older versions go on.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::storage::{Directory, open};
use super::*;

/// Takes from a file of the Tenant service what it did not have before there was a data port.
const BEFORE_THE_DATA_PORT: &str = "
    DROP TRIGGER tenants_inserted; DROP TRIGGER tenants_updated; DROP TRIGGER tenants_deleted;
    DROP TRIGGER memberships_inserted; DROP TRIGGER memberships_updated; DROP TRIGGER memberships_deleted;
    DROP TABLE profile_copies;
    DROP TABLE versions; DROP TABLE moment; DROP TABLE logs; DROP TABLE chunks; DROP TABLE uploads;
    CREATE TABLE older (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant_id TEXT NOT NULL,
        key TEXT NOT NULL,
        table_name TEXT NOT NULL,
        row_key TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('create', 'put')),
        before_image TEXT,
        undone INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    INSERT INTO older SELECT * FROM effects;
    DROP TABLE effects;
    ALTER TABLE older RENAME TO effects;
    CREATE INDEX effects_by_key ON effects (tenant_id, key);
    CREATE INDEX effects_by_row ON effects (table_name, row_key, seq);
    DELETE FROM memberships WHERE user_id IN ('user-124', 'user-125', 'user-126');
    DELETE FROM seeds WHERE name = 'demo 3';
    PRAGMA user_version = 2;
";

async fn make_older(directory: &Directory) {
    let options = SqliteConnectOptions::new().filename(directory.0.join("tenant.db"));
    let mut connection = options.connect().await.expect("connects");
    sqlx::raw_sql(BEFORE_THE_DATA_PORT).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closes");
}

async fn members(world: &World) -> Vec<(String, i64)> {
    let page = world.get(ServiceKind::Tenant, ACME, "/api/v1/data/membership").await.json();
    let items = page["items"].as_array().expect("items");
    let member =
        |item: &Value| (item["id"].as_str().expect("an id").to_owned(), item["version"].as_i64().expect("a version"));
    items.iter().map(member).collect()
}

#[tokio::test]
async fn an_older_file_gets_versions_and_the_newer_demo_data() {
    let directory = Directory::new();
    let world = open(&directory).await;
    world.services.seed_demo().await.expect("seeds");
    world.done(&put_member("older", "viewer")).await;
    drop(world);
    make_older(&directory).await;

    let world = open(&directory).await;
    assert_eq!(members(&world).await, [("user-123".to_owned(), 1)]);
    // Only what is new comes: what somebody has deleted stays away.
    assert!(world.services.seed_demo().await.expect("seeds"));
    let seeded = ["user-123", "user-125", "user-126"].map(|user_id| (user_id.to_owned(), 1));
    assert_eq!(members(&world).await, seeded);
    // What was done before can be undone, and what is deleted now too.
    let delete = json!({ "items": [{ "id": "user-123", "key": "gone" }] });
    world.post(ServiceKind::Tenant, ACME, "/api/v1/data/membership/delete", &delete).await;
    for key in ["gone", "older"] {
        assert_eq!(world.undo_key(ServiceKind::Tenant, ACME, key).await.json()["undone"], true, "{key}");
    }
    let snapshot = world.snapshot().await;
    assert_eq!(snapshot["tenant"]["memberships"][0]["role"], "user");
    drop(world);

    let world = open(&directory).await;
    assert_eq!(world.snapshot().await, snapshot);
    assert_eq!(members(&world).await[0], ("user-123".to_owned(), 4));
}

#[tokio::test]
async fn versions_and_cursors_survive_a_reopening() {
    let directory = Directory::new();
    let world = open(&directory).await;
    world.services.seed_demo().await.expect("seeds");
    world.done(&put_member("key", "viewer")).await;
    let path = "/api/v1/data/membership?limit=1";
    let first = world.get(ServiceKind::Tenant, ACME, path).await.json();
    let (versions, logs) = (members(&world).await, world.get(ServiceKind::Tenant, ACME, "/api/v1/logs").await.json());
    drop(world);
    let world = open(&directory).await;
    assert_eq!(members(&world).await, versions);
    assert_eq!(world.get(ServiceKind::Tenant, ACME, "/api/v1/logs").await.json(), logs);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = world.get(ServiceKind::Tenant, ACME, &format!("{path}&cursor={cursor}")).await.json();
    assert_eq!((&second["items"][0]["id"], &second["watermark"]), (&json!("user-124"), &first["watermark"]));
}
