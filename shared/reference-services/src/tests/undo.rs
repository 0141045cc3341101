//! Undo by key: what it reverts, what it leaves alone, what it refuses afterwards.

use std::time::Duration;

use super::*;

async fn role(world: &World) -> Value {
    let path = "/api/v1/tenants/tenant-123/access/user-123";
    world.get(ServiceKind::Tenant, ACME, path).await.json()["role"].clone()
}

#[tokio::test]
async fn do_and_undo_leave_no_trace() {
    let world = World::new().await;
    let before = world.snapshot().await;
    for call in every_mutation() {
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        world.done(&call).await;
    }
    assert_ne!(world.snapshot().await, before);
    let calls: Vec<_> = every_mutation().collect();
    for call in calls.iter().rev() {
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        let answer = world.undo(call).await;
        assert_eq!(answer, json!({ "undone": true, "undone_at": world.clock.now() }));
    }
    assert_eq!(world.snapshot().await, before);

    let ledger = world.ledger().await;
    let undone: Vec<_> = ledger.iter().filter(|entry| entry.outcome == Outcome::Undone).collect();
    assert_eq!(undone.len(), calls.len());
    for entry in undone {
        let done = ledger.iter().find(|done| done.key == entry.key && done.outcome == Outcome::Applied);
        let done = done.expect("the do stands under the same key");
        assert_eq!((&done.entity, &done.entity_id), (&entry.entity, &entry.entity_id));
    }
}

/// Spellings of one address.
const SPELLINGS: [&str; 5] = [
    "us\u{e9}r@ex\u{e4}mple.com",
    "US\u{c9}R@EX\u{c4}MPLE.COM",
    "use\u{301}r@exa\u{308}mple.com",
    "USE\u{301}R@ex\u{e4}mple.com",
    "us\u{e9}r@xn--exmple-cua.com",
];

#[tokio::test]
async fn an_address_has_one_account_however_it_is_written() {
    for first in SPELLINGS {
        let world = World::new().await;
        let call = |key, user_id: &str, email: &str| {
            let mut call = create_user(key, email);
            call.body["user_id"] = user_id.into();
            call
        };
        let created = call("first", "user-9", first);
        assert_eq!(world.done(&created).await["email"], first, "it stays as it was written");
        for (key, other) in ["a", "b", "c", "d", "e"].into_iter().zip(SPELLINGS) {
            assert_eq!(world.run(&call(key, "user-10", other)).await.status, 409, "{first} {other}");
        }
        world.done(&call("plain", "user-11", "user@ex\u{e4}mple.com")).await;
        assert_eq!(world.undo(&created).await["undone"], true);
        for (key, other) in ["f", "g", "h", "i", "j"].into_iter().zip(SPELLINGS) {
            let again = call(key, "user-10", other);
            world.done(&again).await;
            world.undo(&again).await;
        }
    }
}

#[tokio::test]
async fn a_late_do_is_refused() {
    for call in every_mutation() {
        let world = World::new().await;
        let before = world.snapshot().await;
        assert_eq!(world.undo(&call).await["undone"], false);
        assert_eq!(world.run(&call).await.status, 410, "{}", call.path);
        assert_eq!(world.snapshot().await, before);
        assert_eq!(world.outcomes().await, [Outcome::UndoFoundNothing, Outcome::RefusedTombstone]);
    }
}

#[tokio::test]
async fn a_repeated_do_is_refused_after_its_undo() {
    let world = World::new().await;
    let call = create_user("key", "nina@example.com");
    world.run(&call).await;
    world.undo(&call).await;
    assert_eq!(world.run(&call).await.status, 410);
    // Under another key the address is free again.
    assert_eq!(world.run(&create_user("other", "nina@example.com")).await.status, 201);
}

#[tokio::test]
async fn a_repeated_undo_gets_the_first_answer() {
    let world = World::new().await;
    let call = create_user("key", "nina@example.com");
    world.run(&call).await;
    let first = world.undo(&call).await;
    // The address is taken again meanwhile: a repeat must not touch that account.
    world.run(&create_user("other", "nina@example.com")).await;
    let before = world.snapshot().await;
    clock::sleep(&*world.clock, Duration::from_secs(5)).await;
    assert_eq!(world.undo(&call).await, first);
    let under_another_key =
        Do { method: "DELETE", path: "/api/v1/effects/key", key: "undo-again", body: Value::Null, ..call };
    assert_eq!(world.run(&under_another_key).await.json(), first);
    assert_eq!(world.snapshot().await, before);
    assert_eq!(
        world.outcomes().await,
        [Outcome::Applied, Outcome::Undone, Outcome::Applied, Outcome::Replayed, Outcome::Replayed,]
    );
}

#[tokio::test]
async fn a_conflict_leaves_nothing_to_undo() {
    let world = World::new().await;
    world.run(&create_user("theirs", "nina@example.com")).await;
    let before = world.snapshot().await;
    let ours = create_user("ours", "nina@example.com");
    assert_eq!(world.run(&ours).await.status, 409);
    assert_eq!(world.undo(&ours).await["undone"], false);
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_membership_is_restored() {
    let inactive = json!({ "role": "editor", "permissions": ["file:read", "tenant:read"], "active": false });
    for (path, before) in [
        ("/api/v1/tenants/tenant-123/users/user-123", None),
        ("/api/v1/tenants/tenant-123/users/user-123", Some(inactive)),
        ("/api/v1/tenants/tenant-123/users/user-new", None),
    ] {
        let world = World::new().await;
        if let Some(body) = before {
            world.done(&Do { path, body, ..put_member("earlier", "") }).await;
        }
        let before = world.snapshot().await;
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        let call = Do { path, ..put_member("key", "viewer") };
        world.done(&call).await;
        assert_ne!(world.snapshot().await, before);
        assert_eq!(world.undo(&call).await["undone"], true);
        assert_eq!(world.snapshot().await, before);
    }
}

#[tokio::test]
async fn what_somebody_changed_since_is_left_alone() {
    let world = World::new().await;
    let start = world.snapshot().await;
    // The same values are somebody else's change as well.
    for (ours, theirs, their_role) in [("a", "b", "editor"), ("c", "d", "viewer")] {
        let (ours, theirs) = (put_member(ours, "viewer"), put_member(theirs, their_role));
        world.done(&ours).await;
        world.done(&theirs).await;
        let before = world.snapshot().await;
        let refusal = world.try_undo(&ours).await;
        let detail = "what the key changed has been changed again since";
        assert_eq!((refusal.status.as_u16(), refusal.json()["detail"].clone()), (409, json!(detail)));
        assert_eq!(role(&world).await, their_role);
        assert_eq!(world.snapshot().await, before);
        assert_eq!(world.outcomes().await.last(), Some(&Outcome::RefusedConflict));
        // Once their change is undone, ours is the current one again.
        assert_eq!(world.undo(&theirs).await["undone"], true);
        assert_eq!(world.undo(&ours).await["undone"], true);
        assert_eq!(world.snapshot().await, start);
    }
}

#[tokio::test]
async fn undoing_in_any_order_ends_where_it_began() {
    for order in [["a", "b", "c"], ["a", "c", "b"], ["b", "a", "c"], ["b", "c", "a"], ["c", "a", "b"], ["c", "b", "a"]]
    {
        for path in ["/api/v1/tenants/tenant-123/users/user-123", "/api/v1/tenants/tenant-123/users/user-new"] {
            let world = World::new().await;
            let before = world.snapshot().await;
            for key in ["a", "b", "c"] {
                world.done(&Do { path, ..put_member(key, key) }).await;
            }
            // What is refused because of a later change is repeated when that is undone.
            for _ in 0..order.len() {
                for key in order {
                    let status = world.try_undo(&put_member(key, key)).await.status;
                    assert!(status == 200 || status == 409, "{status}");
                }
            }
            assert_eq!(world.snapshot().await, before, "{order:?}");
            let undone = world.outcomes().await.into_iter().filter(|outcome| *outcome == Outcome::Undone);
            assert_eq!(undone.count(), 3);
        }
    }
}

#[tokio::test]
async fn an_account_takes_its_sessions_along() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let account = create_user("account", "nina@example.com");
    world.done(&account).await;
    let path = "/api/v1/users/user-9/sessions";
    world.done(&Do { path, ..sign_in("sign-in", "session-9") }).await;
    let revoked = Do { path, ..revoke_sessions("revoke", ACME) };
    assert_eq!(world.done(&revoked).await["sessions_revoked"], 1);
    assert_eq!(world.undo(&account).await["undone"], true);
    assert_eq!(world.snapshot().await, before);
    // The revocation's undo does not bring back a session of nobody.
    assert_eq!(world.undo(&revoked).await["undone"], false);
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_workspace_takes_its_files_along() {
    let world = World::new().await;
    let before = world.snapshot().await;
    world.run(&create_workspace("workspace")).await;
    world.run(&create_sample_data("samples")).await;
    assert_eq!(world.undo(&create_workspace("workspace")).await["undone"], true);
    assert_eq!(world.snapshot().await, before);
    assert_eq!(world.undo(&create_sample_data("samples")).await["undone"], false);
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn what_somebody_made_of_an_imported_thing_stays() {
    use ServiceKind::{Auth, File};
    let world = World::new().await;
    let import = async |kind, entity_type: &str, id: &str, key: &str, data: Value| {
        let body = json!({ "on_conflict": "fail", "items": [{ "id": id, "key": key, "data": data }] });
        let reply = world.post(kind, ACME, &format!("/api/v1/data/{entity_type}/import"), &body).await.json();
        assert_eq!(reply["results"][0]["status"], "created", "{reply}");
    };
    let account = json!({ "user_id": "user-9", "email": "nina@example.com", "name": "Nina", "role": "user" });
    import(Auth, "account", "user-9", "account", account).await;
    let update = json!({ "items": [{
        "entity_type": "account", "entity_id": "user-9", "key": "update", "data": { "name": "Mine" },
    }] });
    let reply = world.post(Auth, ACME, "/api/v1/operations/UserUpdate", &update).await.json();
    assert_eq!(reply["results"][0]["outcome"], "updated", "{reply}");
    let workspace = json!({ "workspace_id": "workspace-9", "user_id": "user-123", "workspace_config": {} });
    import(File, "workspace", "workspace-9", "workspace", workspace).await;
    let file = json!({
        "file_id": "file-9", "workspace_id": "workspace-9", "user_id": "user-123", "name": "own.txt",
        "content_type": "text/plain", "size_bytes": 0,
    });
    import(File, "file", "file-9", "file", file).await;
    let before = world.snapshot().await;
    for (kind, key) in [(Auth, "account"), (File, "workspace")] {
        assert_eq!(world.undo_key(kind, ACME, key).await.status, 409, "{key}");
    }
    assert_eq!(world.snapshot().await, before);
    // The last change first, it all goes.
    for (kind, key) in [(Auth, "update"), (Auth, "account"), (File, "file"), (File, "workspace")] {
        world.undo_key(kind, ACME, key).await;
    }
    let left = world.snapshot().await.to_string();
    assert!(!left.contains("user-9") && !left.contains("workspace-9"), "{left}");
}
