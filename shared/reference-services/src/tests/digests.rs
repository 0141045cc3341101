//! Digests tell whether two services hold the same, whatever happened before.

use super::*;

async fn digest(world: &World, kind: ServiceKind, tenant: &str, path: &str) -> (Value, Value) {
    let reply = world.get(kind, tenant, &format!("/api/v1/data/{path}")).await;
    assert_eq!(reply.status, 200, "{path}");
    (reply.json()["count"].clone(), reply.json()["sha256"].clone())
}

/// Every type, with a thing of it.
const TYPES: [(ServiceKind, &str, &str); 9] = [
    (ServiceKind::Auth, "account", "user-123"),
    (ServiceKind::Auth, "session", "session-123"),
    (ServiceKind::User, "profile", "profile-123"),
    (ServiceKind::User, "usage", "user-123-2026-02-26"),
    (ServiceKind::Tenant, "tenant", "tenant-123"),
    (ServiceKind::Tenant, "membership", "user-123"),
    (ServiceKind::Tenant, "profile_copy", "profile-123"),
    (ServiceKind::File, "workspace", "workspace-123"),
    (ServiceKind::Notifications, "notification", "notification-123"),
];

async fn record(world: &World, kind: ServiceKind, entity_type: &str, id: &str) -> Value {
    let path = format!("/api/v1/data/{entity_type}?from_id={id}&limit=1");
    let page = world.get(kind, ACME, &path).await.json();
    assert_eq!(page["items"][0]["id"], id);
    page["items"][0]["data"].clone()
}

async fn import(world: &World, kind: ServiceKind, entity_type: &str, id: &str, key: &str, data: &Value) -> Value {
    let body = json!({ "on_conflict": "overwrite", "items": [{ "id": id, "key": key, "data": data }] });
    let path = format!("/api/v1/data/{entity_type}/import");
    world.post(kind, ACME, &path, &body).await.json()["results"][0].clone()
}

/// Another value of the same kind.
fn other(field: &str, value: &Value) -> Value {
    match (field, value) {
        ("status", status) if status == "active" && field == "status" => json!("deactivated"),
        (_, Value::Bool(flag)) => json!(!flag),
        (_, Value::Number(_)) => json!(4_711),
        (_, Value::Array(_)) => json!(["another"]),
        (_, Value::Object(_)) => json!({ "another": "value" }),
        _ => json!("another"),
    }
}

#[tokio::test]
async fn each_field_matters_and_no_history_does() {
    for (kind, entity_type, id) in TYPES {
        let world = World::new().await;
        let path = format!("{entity_type}/digest");
        let first = digest(&world, kind, ACME, &path).await;
        let original = record(&world, kind, entity_type, id).await;
        for (number, (field, value)) in original.as_object().expect("an object").iter().enumerate() {
            if field == id_field(entity_type) {
                continue;
            }
            let mut changed = original.clone();
            changed[field] =
                if entity_type == "tenant" && field == "status" { json!("suspended") } else { other(field, value) };
            clock::sleep(&*world.clock, std::time::Duration::from_secs(1)).await;
            let result = import(&world, kind, entity_type, id, &format!("to-{number}"), &changed).await;
            assert_eq!(result["status"], "updated", "{entity_type} {field} {result}");
            assert_ne!(digest(&world, kind, ACME, &path).await, first, "{entity_type} {field}");
            import(&world, kind, entity_type, id, &format!("back-{number}"), &original).await;
            assert_eq!(digest(&world, kind, ACME, &path).await, first, "{entity_type} {field}");
        }
    }
}

fn id_field(entity_type: &str) -> &'static str {
    match entity_type {
        "account" | "membership" => "user_id",
        "session" => "session_id",
        "profile" | "profile_copy" => "profile_id",
        "usage" => "usage_id",
        "tenant" => "tenant_id",
        "workspace" => "workspace_id",
        _ => "notification_id",
    }
}

#[tokio::test]
async fn digests_are_for_a_tenant_and_a_selection() {
    let world = World::new().await;
    let all = digest(&world, ServiceKind::Auth, ACME, "account/digest").await;
    assert_eq!(all.0, 4);
    let none = digest(&world, ServiceKind::Auth, GLOBEX, "account/digest").await;
    assert_eq!(none, (json!(0), json!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")));
    for (query, count) in [
        ("from_id=user-124", 3),
        ("to_id=user-124", 1),
        ("from_id=user-124&to_id=user-126", 2),
        ("filter.role=user", 4),
        ("subject=user-123", 1),
    ] {
        let part = digest(&world, ServiceKind::Auth, ACME, &format!("account/digest?{query}")).await;
        assert_eq!(part.0, count, "{query}");
        assert_eq!(part.1 == all.1, count == 4, "{query}");
    }
    assert_eq!(digest(&world, ServiceKind::File, ACME, "file/digest").await.0, 3);
}

#[tokio::test]
async fn what_is_carried_over_has_the_same_digest() {
    let (from, to) = (World::new().await, World::new().await);
    for kind in [ServiceKind::Auth, ServiceKind::User, ServiceKind::File, ServiceKind::Notifications] {
        let catalog = from.get(kind, ACME, "/api/v1/data").await.json();
        for described in catalog["entity_types"].as_array().expect("types") {
            let entity_type = described["type"].as_str().expect("a name");
            let page = from.get(kind, ACME, &format!("/api/v1/data/{entity_type}")).await.json();
            let items: Vec<_> = page["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|item| {
                    let key = format!("move-{entity_type}-{}", item["id"].as_str().expect("an id"));
                    json!({ "id": item["id"], "key": key, "data": item["data"] })
                })
                .collect();
            to.services.add_tenant("tenant-new", "New").await.expect("adds");
            let path = format!("/api/v1/data/{entity_type}/import");
            let reply = to.post(kind, "tenant-new", &path, &json!({ "items": items })).await.json();
            assert!(reply["results"].as_array().expect("results").iter().all(|result| result["status"] == "created"));
            let path = format!("{entity_type}/digest");
            assert_eq!(digest(&to, kind, "tenant-new", &path).await, digest(&from, kind, ACME, &path).await);
        }
    }
}
