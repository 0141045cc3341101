//! What one item of many does to the others, and what is wrong with a whole request.

use super::*;
use crate::{Fault, FaultRule};

const CREATE: &str = "/api/v1/operations/UserCreation";

fn account(key: &str, id: &str, email: &str) -> Value {
    json!({
        "entity_type": "account", "entity_id": id, "key": key,
        "data": { "email": email, "name": "Nina", "role": "user" },
    })
}

async fn create(world: &World, items: &[Value]) -> Vec<Value> {
    let reply = world.post(ServiceKind::Auth, ACME, CREATE, &json!({ "items": items })).await;
    assert_eq!(reply.status, 200);
    reply.json()["results"].as_array().cloned().expect("results")
}

#[tokio::test]
async fn a_failed_item_takes_back_only_itself() {
    let world = World::new().await;
    let mut wrong = account("c", "user-12", "");
    wrong["data"]["role"] = json!(3);
    let mut unknown = account("e", "user-14", "e@example.com");
    unknown["entity_type"] = "invoice".into();
    let items = [
        account("a", "user-10", "a@example.com"),
        account("b", "user-11", "A@example.com"),
        wrong,
        account("d", "a/b", "d@example.com"),
        unknown,
        account("f", "user-15", "f@example.com"),
        account("f", "user-15", "f@example.com"),
        account("a", "user-10", "other@example.com"),
    ];
    let results = create(&world, &items).await;
    let codes: Vec<_> = results.iter().map(|result| result["code"].as_str().unwrap_or("-")).collect();
    assert_eq!(codes, ["-", "Conflict", "InvalidInput", "InvalidInput", "UnknownEntityType", "-", "-", "KeyReused"]);
    let keys: Vec<_> = results.iter().map(|result| result["key"].as_str().unwrap_or_default()).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "e", "f", "f", "a"]);
    let message = results[2]["message"].as_str().expect("a message");
    assert!(message.contains("/data/email") && message.contains("/data/role"), "{message}");
    assert_eq!(results[5], results[6]);
    let accounts = world.snapshot().await["auth"]["accounts"].to_string();
    assert!(accounts.contains("user-10") && accounts.contains("user-15") && !accounts.contains("user-11"));
    let expected =
        [Outcome::Applied, Outcome::RefusedConflict, Outcome::Applied, Outcome::Replayed, Outcome::RefusedConflict];
    assert_eq!(world.outcomes().await, expected);
    // What failed can be done under its key.
    let results = create(&world, &[account("b", "user-11", "b@example.com")]).await;
    assert_eq!(results[0]["outcome"], "created");
}

#[tokio::test]
async fn whole_requests_are_refused_with_all_that_is_wrong() {
    let world = World::new().await;
    let (before, ledger) = (world.snapshot().await, world.ledger().await);
    let good = account("a", "user-10", "a@example.com");
    let long = account(&"k".repeat(256), "user-10", "a@example.com");
    let many = vec![good.clone(); 1_001];
    for (body, status, pointers) in [
        (json!({}), 422, vec!["/items"]),
        (json!([]), 422, vec![]),
        (json!({ "items": [] }), 422, vec!["/items"]),
        (json!({ "items": many }), 422, vec!["/items"]),
        (json!({ "items": [good, 3, long] }), 422, vec!["/items/1", "/items/2/key"]),
        (
            json!({ "items": [{ "data": 3 }] }),
            422,
            vec!["/items/0/entity_type", "/items/0/entity_id", "/items/0/key", "/items/0/data"],
        ),
        (json!("x".repeat(8 * 1024 * 1024)), 413, vec![]),
    ] {
        let reply = world.post(ServiceKind::Auth, ACME, CREATE, &body).await;
        assert_eq!(reply.status, status);
        let errors = reply.json()["errors"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().expect("a pointer")).collect();
        assert_eq!(found, pointers);
    }
    let items = json!({ "items": [account("a", "user-10", "a@example.com")] });
    for (path, status) in [("PermissionUpdate", 404), ("Nothing", 404), ("UserCreation?dry_run=perhaps", 400)] {
        let reply = world.post(ServiceKind::Auth, ACME, &format!("/api/v1/operations/{path}"), &items).await;
        assert_eq!(reply.status, status, "{path}");
    }
    assert_eq!((world.snapshot().await, world.ledger().await), (before, ledger));
}

#[tokio::test]
async fn a_thousand_items_are_one_request() {
    let world = World::new().await;
    let items: Vec<_> = (0..1_000)
        .map(|n| account(&format!("key-{n}"), &format!("bulk-{n}"), &format!("bulk-{n}@example.com")))
        .collect();
    let results = create(&world, &items).await;
    assert_eq!(results.len(), 1_000);
    assert!(results.iter().all(|result| result["outcome"] == "created"));
}

#[tokio::test]
async fn one_item_can_poison_a_whole_request() {
    let world = World::new().await;
    let rule = FaultRule {
        entity_id: Some("user-11".to_owned()),
        ..FaultRule::on(
            "POST",
            "/api/v1/operations/{operation}",
            Fault::Status { status: 503, retry_after_seconds: None },
        )
    };
    world.services.set_faults(ServiceKind::Auth, vec![rule]);
    let send = async |items: &[Value]| {
        world.post(ServiceKind::Auth, ACME, CREATE, &json!({ "items": items })).await.status.as_u16()
    };
    let (good, bad) = (account("a", "user-10", "a@example.com"), account("b", "user-11", "b@example.com"));
    assert_eq!(send(&[good.clone(), bad.clone()]).await, 503);
    assert_eq!(send(std::slice::from_ref(&good)).await, 200);
    assert_eq!(send(&[json!({ "id": "user-11" })]).await, 503);
    assert_eq!(world.run(&create_user("user", "nina@example.com")).await.status, 201);
    assert_eq!(world.services.faults_fired(ServiceKind::Auth), [2]);
}

#[tokio::test]
async fn a_deactivated_account_is_not_valid() {
    let world = World::new().await;
    let item = json!({ "entity_type": "account", "entity_id": "user-123", "key": "off" });
    let path = "/api/v1/operations/UserDeactivation";
    world.post(ServiceKind::Auth, ACME, path, &json!({ "items": [item] })).await;
    for tenant in [ACME, GLOBEX] {
        let validated = world.get(ServiceKind::Auth, tenant, "/api/v1/users/user-123/validate").await;
        let expected = json!({ "valid": false, "user_id": "user-123", "permissions": [] });
        assert_eq!((validated.status.as_u16(), validated.json()), (200, expected));
    }
    let sessions = world.get(ServiceKind::Auth, ACME, "/api/v1/users/user-123/sessions").await.json();
    assert_eq!(sessions["sessions"][0]["active"], false);
    assert_eq!(world.run(&sign_in("sign-in", "session-9")).await.status, 409);
    assert_eq!(world.undo_key(ServiceKind::Auth, ACME, "off").await.json()["undone"], true);
    let validated = world.get(ServiceKind::Auth, ACME, "/api/v1/users/user-123/validate").await;
    assert_eq!(validated.json()["valid"], true);
}

#[tokio::test]
async fn what_was_deleted_comes_back_unless_it_was_made_anew() {
    let world = World::new().await;
    let send = async |operation: &str, key: &str, id: &str, data: Value| {
        let item = json!({ "entity_type": "file", "entity_id": id, "key": key, "data": data });
        let path = format!("/api/v1/operations/{operation}");
        let reply = world.post(ServiceKind::File, ACME, &path, &json!({ "items": [item] })).await;
        reply.json()["results"][0].clone()
    };
    let record = send("DataExport", "a", "file-123-1", json!({})).await["data"].clone();
    let before = world.snapshot().await;
    assert_eq!(send("FileProcessing", "b", "file-123-1", json!({ "action": "delete" })).await["outcome"], "deleted");
    assert_eq!(world.get(ServiceKind::File, ACME, "/api/v1/files/file-123-1").await.status, 404);
    assert_eq!(send("DataImport", "c", "file-123-1", json!({ "record": record })).await["outcome"], "created");
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "b").await.status, 409);
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "c").await.json()["undone"], true);
    assert_eq!(world.undo_key(ServiceKind::File, ACME, "b").await.json()["undone"], true);
    assert_eq!(world.snapshot().await, before);
}
