//! Who saw, changed, deleted or took away what.

use super::*;

async fn logs(world: &World, kind: ServiceKind, tenant: &str, query: &str) -> Value {
    let reply = world.get(kind, tenant, &format!("/api/v1/logs{query}")).await;
    assert_eq!(reply.status, 200, "{query}");
    reply.json()
}

/// Kind, type, id, subject and action of each entry.
fn summary(logs: &Value) -> Vec<String> {
    let entries = logs["entries"].as_array().expect("entries");
    let text = |entry: &Value| {
        ["kind", "entity_type", "entity_id", "subject", "action"]
            .map(|field| entry[field].as_str().unwrap_or("-").to_owned())
            .join(" ")
    };
    entries.iter().map(text).collect()
}

#[tokio::test]
async fn mutations_and_their_undo_are_logged() {
    let world = World::new().await;
    let before = world.snapshot().await;
    world.done(&create_user("user", "nina@example.com")).await;
    world.done(&Do { path: "/api/v1/users/user-9/sessions", ..sign_in("sign-in", "session-9") }).await;
    assert_eq!(world.snapshot().await["user"], before["user"]);
    let body = json!({ "items": [{ "id": "user-9", "key": "gone" }] });
    world.post(ServiceKind::Auth, ACME, "/api/v1/data/account/delete", &body).await;
    world.post(ServiceKind::Auth, ACME, "/api/v1/data/account/delete", &body).await;
    world.undo_key(ServiceKind::Auth, ACME, "gone").await;
    world.undo(&create_user("user", "")).await;
    let found = logs(&world, ServiceKind::Auth, ACME, "").await;
    let undo = "DELETE /api/v1/effects/{idempotency_key}";
    assert_eq!(
        summary(&found),
        [
            "modification account user-9 user-9 POST /api/v1/users".to_owned(),
            "modification session session-9 user-9 POST /api/v1/users/{user_id}/sessions".to_owned(),
            "deletion session session-9 user-9 delete".to_owned(),
            "deletion account user-9 user-9 delete".to_owned(),
            format!("modification account user-9 user-9 {undo}"),
            format!("modification session session-9 user-9 {undo}"),
            format!("deletion session session-9 user-9 {undo}"),
            format!("deletion account user-9 user-9 {undo}"),
        ]
    );
    let first = &found["entries"][0];
    assert_eq!(
        *first,
        json!({
            "seq": 1, "kind": "modification", "at": "2026-03-01T08:00:00Z", "entity_type": "account",
            "entity_id": "user-9", "subject": "user-9", "action": "POST /api/v1/users", "actor": null, "key": "user",
        })
    );
    let keys: Vec<_> = found["entries"].as_array().expect("entries").iter().map(|entry| entry["key"].clone()).collect();
    assert_eq!(json!(keys), json!(["user", "sign-in", "gone", "gone", "gone", "gone", "user", "user"]));
    assert_eq!(world.snapshot().await, before, "logs are no business data");
}

#[tokio::test]
async fn reading_one_thing_is_logged() {
    let world = World::new().await;
    use ServiceKind::{Auth, File, Tenant, User};
    for (kind, path, expected) in [
        (Auth, "/api/v1/users/user-123", "access account user-123 user-123 read"),
        (User, "/api/v1/profiles/user-123", "access profile profile-123 user-123 read"),
        (Tenant, "/api/v1/tenants/tenant-123/context", "access tenant tenant-123 - read"),
        (File, "/api/v1/workspaces/workspace-123", "access workspace workspace-123 user-123 read"),
        (File, "/api/v1/files/file-123-1", "access file file-123-1 user-123 read"),
        (File, "/api/v1/data/file/file-123-2/content", "access file file-123-2 user-123 read"),
    ] {
        let before = summary(&logs(&world, kind, ACME, "?kind=access").await).len();
        let request = Request::get(path).header("x-tenant-id", ACME).header("x-user-id", "auditor").body(Body::empty());
        assert_eq!(world.send(kind, request.expect("a request")).await.expect("an answer").status, 200);
        let found = logs(&world, kind, ACME, "?kind=access").await;
        assert_eq!(summary(&found)[before..], [expected]);
        assert_eq!(found["entries"][before]["actor"], "auditor");
        assert_eq!(world.get(kind, GLOBEX, path).await.status, 404);
        assert_eq!(summary(&logs(&world, kind, GLOBEX, "").await), [""; 0]);
    }
}

#[tokio::test]
async fn exports_are_logged() {
    let world = World::new().await;
    world.get(ServiceKind::User, ACME, "/api/v1/data/usage").await;
    world.get(ServiceKind::User, ACME, "/api/v1/data/usage?purpose=export&limit=2").await;
    let item = json!({ "entity_type": "profile", "entity_id": "profile-124", "key": "export" });
    let body = json!({ "items": [item] });
    world.post(ServiceKind::User, ACME, "/api/v1/operations/DataExport?dry_run=true", &body).await;
    world.post(ServiceKind::User, ACME, "/api/v1/operations/DataExport", &body).await;
    let found = logs(&world, ServiceKind::User, ACME, "?kind=export").await;
    assert_eq!(
        summary(&found),
        [
            "export usage user-123-2026-02-26 user-123 export",
            "export usage user-123-2026-02-27 user-123 export",
            "export profile profile-124 user-124 DataExport",
        ]
    );
    let of_one = logs(&world, ServiceKind::User, ACME, "?kind=export&subject=user-124").await;
    assert_eq!(summary(&of_one), ["export profile profile-124 user-124 DataExport"]);
}

#[tokio::test]
async fn refused_and_dry_requests_are_not_logged() {
    let world = World::new().await;
    world.run(&create_user("a", "demo.user@example.com")).await;
    world.run(&create_user("b", "")).await;
    let item = json!({ "entity_type": "account", "entity_id": "user-123", "key": "c" });
    let path = "/api/v1/operations/UserDeactivation?dry_run=true";
    world.post(ServiceKind::Auth, ACME, path, &json!({ "items": [item] })).await;
    assert_eq!(summary(&logs(&world, ServiceKind::Auth, ACME, "").await), [""; 0]);
}

#[tokio::test]
async fn logs_have_pages_and_periods() {
    let world = World::new().await;
    for (key, role) in [("a", "one"), ("b", "two"), ("c", "three"), ("d", "four"), ("e", "five")] {
        world.done(&put_member(key, role)).await;
        clock::sleep(&*world.clock, std::time::Duration::from_millis(500)).await;
    }
    let keys = |logs: &Value| {
        let entries = logs["entries"].as_array().expect("entries");
        entries.iter().map(|entry| entry["key"].as_str().expect("a key").to_owned()).collect::<String>()
    };
    for (query, expected) in [
        ("", "abcde"),
        ("?kind=deletion", ""),
        ("?subject=user-123", "abcde"),
        ("?subject=user-124", ""),
        ("?from=2026-03-01T08:00:01Z", "cde"),
        ("?to=2026-03-01T08:00:01Z", "ab"),
        ("?from=2026-03-01T08:00:00.5Z&to=2026-03-01T08:00:01.5Z", "bc"),
    ] {
        assert_eq!(keys(&logs(&world, ServiceKind::Tenant, ACME, query).await), expected, "{query}");
    }
    let mut seen = String::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = logs(&world, ServiceKind::Tenant, ACME, &query).await;
        seen.push_str(&keys(&page));
        seen.push('|');
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, "ab|cd|e|");
    let cursor = query.trim_start_matches("?limit=2&cursor=").to_owned();
    for (tenant, query) in [
        (ACME, "?kind=gossip".to_owned()),
        (ACME, "?from=yesterday".to_owned()),
        (ACME, "?limit=0".to_owned()),
        (ACME, format!("?kind=access&cursor={cursor}")),
        (GLOBEX, format!("?cursor={cursor}")),
    ] {
        let reply = world.get(ServiceKind::Tenant, tenant, &format!("/api/v1/logs{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
    }
}
