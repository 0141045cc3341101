//! Import, deletion and masking of many things.

use super::*;

async fn send(world: &World, kind: ServiceKind, tenant: &str, path: &str, body: &Value) -> Vec<Value> {
    let reply = world.post(kind, tenant, &format!("/api/v1/data/{path}"), body).await;
    assert_eq!(reply.status, 200, "{path} {:?}", reply.json());
    reply.json()["results"].as_array().cloned().expect("results")
}

fn account(id: &str, key: &str, name: &str) -> Value {
    let data = json!({ "email": format!("{id}@example.com"), "name": name, "role": "user" });
    json!({ "id": id, "key": key, "data": data })
}

fn summary(results: &[Value]) -> Vec<(&str, &str)> {
    results
        .iter()
        .map(|result| (result["status"].as_str().unwrap_or("-"), result["code"].as_str().unwrap_or("-")))
        .collect()
}

#[tokio::test]
async fn records_are_imported_as_asked() {
    for (on_conflict, status, code) in [
        (Some("skip"), "skipped", "-"),
        (Some("overwrite"), "updated", "-"),
        (Some("fail"), "failed", "Conflict"),
        (None, "failed", "Conflict"),
    ] {
        let world = World::new().await;
        let before = world.snapshot().await;
        let body = json!({
            "on_conflict": on_conflict, "before_images": true,
            "items": [account("user-9", "new", "Nina"), account("user-123", "old", "Other")],
        });
        let results = send(&world, ServiceKind::Auth, ACME, "account/import", &body).await;
        assert_eq!(summary(&results), [("created", "-"), (status, code)], "{on_conflict:?}");
        assert_eq!(results[0]["before"], Value::Null);
        assert_eq!(results[1]["before"]["name"] == "Demo User", status != "failed");
        let name = &world.get(ServiceKind::Auth, ACME, "/api/v1/users/user-123").await.json()["name"];
        assert_eq!(name, if status == "updated" { "Other" } else { "Demo User" });
        // The same again is the same answer.
        if status != "failed" {
            assert_eq!(send(&world, ServiceKind::Auth, ACME, "account/import", &body).await, results);
        }
        for key in ["old", "new"] {
            world.undo_key(ServiceKind::Auth, ACME, key).await;
        }
        assert_eq!(world.snapshot().await, before);
        let late = send(&world, ServiceKind::Auth, ACME, "account/import", &body).await;
        assert_eq!(summary(&late), [("failed", "Undone"), ("failed", "Undone")]);
    }
}

#[tokio::test]
async fn bad_records_are_refused_each_with_all_that_is_wrong() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let good = account("user-9", "a", "Nina");
    for (changes, expected) in [
        (json!({ "email": 3, "role": null }), vec!["/data/email", "/data/role"]),
        (json!({ "nickname": "N" }), vec!["/data/nickname"]),
        (json!({ "user_id": "user-10" }), vec!["/data/user_id"]),
        (json!({ "status": "asleep" }), vec!["/data/status"]),
        (json!({ "tenant_id": GLOBEX }), vec!["/data/tenant_id"]),
    ] {
        let mut item = good.clone();
        for (field, value) in changes.as_object().expect("an object") {
            item["data"][field] = value.clone();
        }
        let results = send(&world, ServiceKind::Auth, ACME, "account/import", &json!({ "items": [item] })).await;
        assert_eq!(summary(&results), [("failed", "InvalidInput")]);
        let message = results[0]["message"].as_str().expect("a message");
        assert!(expected.iter().all(|pointer| message.contains(pointer)), "{message}");
    }
    let orphan = json!({ "id": "file-9", "key": "f", "data": {
        "workspace_id": "none", "user_id": "user-123", "name": "a", "content_type": "text/plain", "size_bytes": 0,
    } });
    let foreign = json!({ "id": GLOBEX, "key": "t", "data": {
        "tenant_name": "x", "subscription_tier": "x", "features": [], "quotas": {}, "settings": {},
    } });
    for (kind, path, item, code) in [
        (ServiceKind::File, "file/import", orphan, "NotFound"),
        (ServiceKind::Tenant, "tenant/import", foreign, "Forbidden"),
    ] {
        let results = send(&world, kind, ACME, path, &json!({ "on_conflict": "overwrite", "items": [item] })).await;
        assert_eq!(summary(&results), [("failed", code)], "{path}");
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_version_may_be_required() {
    let world = World::new().await;
    let with = |mut item: Value, version: i64| {
        item["if_version"] = version.into();
        item
    };
    for (path, body, key, expected) in [
        ("account/import", with(account("user-123", "a", "A"), 2), "a", ("failed", "VersionMismatch")),
        ("account/import", with(account("user-9", "b", "B"), 1), "b", ("failed", "VersionMismatch")),
        ("account/import", with(account("user-123", "c", "C"), 1), "c", ("updated", "-")),
        ("account/import", with(account("user-123", "d", "D"), 1), "d", ("failed", "VersionMismatch")),
        ("account/mask", with(json!({ "id": "user-123", "key": "e" }), 1), "e", ("failed", "VersionMismatch")),
        ("account/mask", with(json!({ "id": "user-123", "key": "f" }), 2), "f", ("updated", "-")),
        ("account/delete", with(json!({ "id": "user-123", "key": "g" }), 2), "g", ("failed", "VersionMismatch")),
        ("account/delete", with(json!({ "id": "user-123", "key": "h" }), 3), "h", ("deleted", "-")),
    ] {
        let body = json!({ "on_conflict": "overwrite", "fields": { "name": "redact" }, "items": [body] });
        let results = send(&world, ServiceKind::Auth, ACME, path, &body).await;
        assert_eq!(summary(&results), [expected], "{path} {key}");
    }
}

#[tokio::test]
async fn deletions_take_along_what_belongs_to_them_and_bring_it_back() {
    use ServiceKind::{Auth, File, Notifications, Tenant, User};
    for (kind, entity_type, id, gone) in [
        (Auth, "account", "user-123", vec!["accounts", "sessions"]),
        (Auth, "session", "session-123", vec!["sessions"]),
        (User, "profile", "profile-123", vec!["profiles"]),
        (User, "usage", "user-123-2026-02-26", vec!["usage"]),
        (Tenant, "tenant", "tenant-123", vec!["tenants", "memberships", "profile_copies"]),
        (Tenant, "membership", "user-123", vec!["memberships"]),
        (Tenant, "profile_copy", "profile-126", vec!["profile_copies"]),
        (File, "workspace", "workspace-123", vec!["workspaces", "files", "contents"]),
        (File, "file", "file-123-1", vec!["files", "contents"]),
        (Notifications, "notification", "notification-123", vec!["outbox"]),
    ] {
        let world = World::new().await;
        // Somebody signed in elsewhere is signed out there with their last account.
        world.done(&put_session("elsewhere", "session-elsewhere")).await;
        let before = world.snapshot().await;
        let path = format!("{entity_type}/delete");
        let body = json!({ "items": [{ "id": id, "key": "gone" }, { "id": "nothing", "key": "none" }] });
        let foreign = send(&world, kind, "tenant-9", &path, &body).await;
        assert_eq!(summary(&foreign), [("failed", "NotFound"), ("failed", "NotFound")]);
        let dry = send(&world, kind, ACME, &format!("{path}?dry_run=true"), &body).await;
        assert_eq!(world.snapshot().await, before);
        let results = send(&world, kind, ACME, &path, &body).await;
        assert_eq!(summary(&results), [("deleted", "-"), ("failed", "NotFound")], "{entity_type}");
        assert_eq!(results, dry);
        let after = world.snapshot().await;
        let tables = before[kind.name()].as_object().expect("tables");
        let mut changed: Vec<_> =
            tables.keys().filter(|table| after[kind.name()][*table] != before[kind.name()][*table]).collect();
        let mut gone = gone;
        changed.sort_unstable();
        gone.sort_unstable();
        assert_eq!(changed, gone);
        assert!(!entity_type.eq("account") || !after.to_string().contains("session-elsewhere"));
        assert_eq!(send(&world, kind, ACME, &path, &body).await[0], results[0]);
        assert_eq!(world.undo_key(kind, ACME, "gone").await.json()["undone"], true);
        assert_eq!(world.snapshot().await, before, "{entity_type}");
    }
}

#[tokio::test]
async fn what_belongs_to_something_deleted_waits_for_it() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let delete = async |entity_type: &str, id: &str, key: &str| {
        let body = json!({ "items": [{ "id": id, "key": key }] });
        let path = format!("{entity_type}/delete");
        assert_eq!(send(&world, ServiceKind::File, ACME, &path, &body).await[0]["status"], "deleted");
    };
    delete("file", "file-123-1", "file").await;
    delete("workspace", "workspace-123", "workspace").await;
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "file").await.status, 409);
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "workspace").await.json()["undone"], true);
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "file").await.json()["undone"], true);
    assert_eq!(world.snapshot().await, before);

    // What is undone altogether does not come back in parts.
    world.done(&create_workspace("made")).await;
    world.done(&create_sample_data("samples")).await;
    delete("workspace", "workspace-9", "away").await;
    assert_eq!(world.undo(&create_workspace("made")).await["undone"], false);
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "away").await.json()["undone"], false);
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn what_was_moved_in_is_not_lost_with_what_it_was_moved_into() {
    let world = World::new().await;
    let before = world.snapshot().await;
    world.done(&create_workspace("made")).await;
    let data = json!({ "action": "move", "workspace_id": "workspace-9" });
    let item = json!({ "entity_type": "file", "entity_id": "file-123-1", "key": "moved", "data": data });
    let path = "/api/v1/operations/FileProcessing";
    world.post(ServiceKind::File, ACME, path, &json!({ "items": [item] })).await;
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "made").await.status, 409);
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "moved").await.json()["undone"], true);
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "made").await.json()["undone"], true);
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn masked_fields_are_unreadable_and_come_back() {
    let hash = |value: &str| {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(format!("{ACME}\n{value}"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    use ServiceKind::{Auth, File, Tenant, User};
    for (kind, entity_type, id, fields, pointer, expected) in [
        (
            User,
            "profile",
            "profile-123",
            json!({ "profile_data.name": "redact" }),
            "/profile_data/name",
            json!("[redacted]"),
        ),
        (
            User,
            "profile",
            "profile-123",
            json!({ "profile_data.name": "hash" }),
            "/profile_data/name",
            json!(hash("Demo User")),
        ),
        (
            User,
            "profile",
            "profile-123",
            json!({ "profile_data.name": "null" }),
            "/profile_data",
            json!({
                "email": "demo.user@example.com", "role": "user",
            }),
        ),
        (User, "profile", "profile-123", json!({ "preferences": "null" }), "/preferences", json!({})),
        (Auth, "account", "user-123", json!({ "email": "redact" }), "/email", json!("[redacted] user-123")),
        (Auth, "account", "user-123", json!({ "name": "redact" }), "/name", json!("[redacted]")),
        (Tenant, "profile_copy", "profile-124", json!({ "email": "null" }), "/email", Value::Null),
        (File, "file", "file-123-1", json!({ "name": "hash" }), "/name", json!(hash("welcome.md"))),
    ] {
        let world = World::new().await;
        let before = world.snapshot().await;
        let body = json!({ "fields": fields, "before_images": true, "items": [{ "id": id, "key": "mask" }] });
        let path = format!("{entity_type}/mask");
        let results = send(&world, kind, ACME, &path, &body).await;
        assert_eq!(summary(&results), [("updated", "-")], "{fields}");
        assert_ne!(results[0]["before"].pointer(pointer), Some(&expected));
        let page = world.get(kind, ACME, &format!("/api/v1/data/{entity_type}?from_id={id}&limit=1")).await.json();
        assert_eq!(page["items"][0]["data"].pointer(pointer), Some(&expected), "{fields}");
        let others = before.to_string().matches("\"tenant_id\"").count();
        assert_eq!(world.snapshot().await.to_string().matches("\"tenant_id\"").count(), others);
        assert_eq!(world.undo_key(kind, ACME, "mask").await.json()["undone"], true);
        assert_eq!(world.snapshot().await, before);
    }
}

#[tokio::test]
async fn bad_requests_are_refused_with_all_that_is_wrong() {
    let world = World::new().await;
    let items = json!([{ "id": "user-123", "key": "a" }]);
    for (path, body, pointers) in [
        ("account/mask", json!({ "items": items }), vec!["/fields", "/fields"]),
        (
            "account/mask",
            json!({ "items": items, "fields": { "email": "null", "user_id": "hash", "x": "redact", "name": "blur" } }),
            vec!["/fields/email", "/fields/name", "/fields/user_id", "/fields/x"],
        ),
        (
            "account/delete",
            json!({ "items": [{ "id": "", "if_version": -1 }] }),
            vec!["/items/0/if_version", "/items/0/id", "/items/0/key"],
        ),
        (
            "account/import",
            json!({ "on_conflict": "merge", "items": [{ "id": "a", "key": "b" }] }),
            vec!["/on_conflict", "/items/0/data"],
        ),
    ] {
        let reply = world.post(ServiceKind::Auth, ACME, &format!("/api/v1/data/{path}"), &body).await;
        assert_eq!(reply.status, 422, "{path}");
        let errors = reply.json()["errors"].as_array().cloned().expect("errors");
        let mut found: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().expect("a pointer")).collect();
        let mut pointers = pointers;
        found.sort_unstable();
        pointers.sort_unstable();
        assert_eq!(found, pointers, "{path}");
    }
    let reply = world.post(ServiceKind::Auth, ACME, "/api/v1/data/invoice/delete", &json!({ "items": items })).await;
    assert_eq!(reply.status, 404);
}
