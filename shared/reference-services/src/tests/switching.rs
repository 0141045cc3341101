//! What a user's move from one tenant to another needs: access, contexts, sessions.

use super::*;

const INITECH: &str = "tenant-789";

async fn read(world: &World, kind: ServiceKind, tenant: &str, path: &str) -> Value {
    let reply = world.get(kind, tenant, path).await;
    assert_eq!(reply.status, 200, "{path}");
    reply.json()
}

/// The ids of the user's active sessions in the tenant, the newest first.
async fn active_sessions(world: &World, tenant: &str) -> Vec<String> {
    let reply = read(world, ServiceKind::Auth, tenant, "/api/v1/users/user-123/sessions").await;
    let sessions = reply["sessions"].as_array().cloned().expect("a list");
    let active = sessions.iter().filter(|session| session["active"] == true);
    active.map(|session| session["session_id"].as_str().expect("an id").to_owned()).collect()
}

async fn context(world: &World, tenant: &str) -> Value {
    read(world, ServiceKind::User, tenant, "/api/v1/users/user-123/tenant-context").await
}

/// A tenant of the user's besides those of the demo data.
async fn join_third_tenant(world: &World) -> &'static str {
    const THIRD: &str = "tenant-9";
    world.services.add_tenant(THIRD, "Umbrella").await.expect("adds");
    let path = "/api/v1/tenants/tenant-9/users/user-123";
    world.done(&Do { tenant: THIRD, path, ..put_member("join-third", "user") }).await;
    THIRD
}

#[tokio::test]
async fn access_is_refused_with_its_reason() {
    let world = World::new().await;
    let member = |tenant, path, active: bool| {
        let body = json!({ "role": "user", "permissions": [], "active": active });
        Do { tenant, path, body, ..put_member(path, "") }
    };
    world.done(&member(GLOBEX, "/api/v1/tenants/tenant-456/users/gone", false)).await;
    world.done(&member(INITECH, "/api/v1/tenants/tenant-789/users/user-123", true)).await;
    for (tenant, user, reason) in [
        (GLOBEX, "user-124", "not_a_member"),
        (GLOBEX, "gone", "membership_inactive"),
        (INITECH, "user-123", "tenant_suspended"),
        (INITECH, "nobody", "tenant_suspended"),
    ] {
        let path = format!("/api/v1/tenants/{tenant}/access/{user}");
        let expected = json!({ "has_access": false, "role": null, "permissions": [], "reason": reason });
        assert_eq!(read(&world, ServiceKind::Tenant, tenant, &path).await, expected);
    }
    let granted = read(&world, ServiceKind::Tenant, GLOBEX, "/api/v1/tenants/tenant-456/access/user-123").await;
    let permissions = ["tenant:read", "user:read", "file:read", "file:write"];
    assert_eq!(granted, json!({ "has_access": true, "role": "user", "permissions": permissions, "reason": null }));
    let suspended = read(&world, ServiceKind::Tenant, INITECH, "/api/v1/tenants/tenant-789/context").await;
    assert_eq!(suspended["tenant_context"]["tenant_name"], "Initech");
}

#[tokio::test]
async fn a_user_is_known_where_they_have_access_and_nowhere_else() {
    let world = World::new().await;
    let validity = json!({
        "valid": true, "user_id": "user-123", "permissions": ["tenant:read", "user:read", "file:read", "file:write"],
    });
    let validate = "/api/v1/users/user-123/validate";
    for tenant in [ACME, GLOBEX] {
        assert_eq!(read(&world, ServiceKind::Auth, tenant, validate).await, validity);
        let expected = json!({
            "user_id": "user-123", "tenant_id": ACME, "preferences": { "language": "en", "theme": "dark" },
            "version": 1,
        });
        assert_eq!(context(&world, tenant).await, expected);
    }
    assert_eq!(active_sessions(&world, ACME).await, ["session-123"]);
    assert_eq!(active_sessions(&world, GLOBEX).await, Vec::<String>::new());
    // The account itself stays its own tenant's.
    assert_eq!(world.get(ServiceKind::Auth, GLOBEX, "/api/v1/users/user-123").await.status, 404);

    let left = json!({ "role": "user", "permissions": [], "active": false });
    let path = "/api/v1/tenants/tenant-456/users/user-123";
    let leave = Do { tenant: GLOBEX, path, body: left, ..put_member("leave", "") };
    world.done(&leave).await;
    let before = world.snapshot().await;
    for tenant in [GLOBEX, INITECH, "none"] {
        let sessions = "/api/v1/users/user-123/sessions";
        for (kind, path) in [
            (ServiceKind::Auth, validate),
            (ServiceKind::Auth, sessions),
            (ServiceKind::User, "/api/v1/users/user-123/tenant-context"),
        ] {
            assert_eq!(world.get(kind, tenant, path).await.status, 404, "{tenant} {path}");
        }
        let mut session = Do { tenant, ..put_session("session", "session-9") };
        session.body["tenant_id"] = json!(tenant);
        for call in [
            session,
            Do { tenant, ..sign_in("sign-in", "session-9") },
            put_context("context", tenant, ACME),
            revoke_sessions("revoke", tenant),
        ] {
            assert_eq!(world.run(&call).await.status, 404, "{tenant} {}", call.path);
        }
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_context_is_compared_and_set() {
    let world = World::new().await;
    let call = put_context("key", GLOBEX, ACME);
    let answer = json!({
        "updated_at": start(),
        "new_context": { "user_id": "user-123", "tenant_id": GLOBEX, "previous_tenant_id": ACME },
    });
    assert_eq!(world.done(&call).await, answer);
    // Whoever still believes the user in the old tenant is refused; a repeat of what was done is not.
    assert_eq!(world.run(&put_context("late", GLOBEX, ACME)).await.status, 409);
    assert_eq!(world.done(&call).await, answer);
    for tenant in [ACME, GLOBEX] {
        let after = context(&world, tenant).await;
        assert_eq!((&after["tenant_id"], &after["version"]), (&json!(GLOBEX), &json!(2)));
    }
    let nobody = Do { path: "/api/v1/users/nobody/tenant-context", ..put_context("nobody", GLOBEX, ACME) };
    assert_eq!(world.run(&nobody).await.status, 404);
    let foreign = Do { tenant: ACME, ..put_context("foreign", GLOBEX, GLOBEX) };
    assert_eq!(world.run(&foreign).await.status, 403);
}

#[tokio::test]
async fn preferences_are_kept_or_become_the_new_tenants() {
    for (preserve, expected) in [
        (true, json!({ "language": "en", "theme": "dark" })),
        (false, json!({ "language": "de", "time_zone": "Europe/Berlin" })),
    ] {
        let world = World::new().await;
        let before = world.snapshot().await;
        let mut call = put_context("key", GLOBEX, ACME);
        call.body["preserve_preferences"] = json!(preserve);
        world.done(&call).await;
        assert_eq!(context(&world, GLOBEX).await["preferences"], expected);
        assert_eq!(world.undo(&call).await["undone"], true);
        assert_eq!(world.snapshot().await, before);
    }
}

#[tokio::test]
async fn of_two_switches_at_once_one_wins() {
    let world = World::new().await;
    let third = join_third_tenant(&world).await;
    let before = world.snapshot().await;
    let (one, other) = (put_context("one", GLOBEX, ACME), put_context("other", third, ACME));
    let (first, second) = tokio::join!(world.run(&one), world.run(&other));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let (winner, loser) = if first.status == 200 { (&one, &other) } else { (&other, &one) };
    assert_eq!(context(&world, ACME).await["tenant_id"], winner.tenant);
    let after = world.snapshot().await;
    assert_eq!(world.undo(loser).await["undone"], false);
    assert_eq!(world.snapshot().await, after);
    assert_eq!(world.undo(winner).await["undone"], true);
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_switch_is_undone_only_while_it_is_the_last() {
    let world = World::new().await;
    let third = join_third_tenant(&world).await;
    let before = world.snapshot().await;
    let (first, second) = (put_context("first", GLOBEX, ACME), put_context("second", third, GLOBEX));
    world.done(&first).await;
    let between = world.snapshot().await;
    world.done(&second).await;
    assert_eq!(world.try_undo(&first).await.status, 409);
    assert_eq!(context(&world, ACME).await["tenant_id"], third);
    assert_eq!(world.undo(&second).await["undone"], true);
    assert_eq!(world.snapshot().await, between);
    assert_eq!(world.undo(&first).await["undone"], true);
    assert_eq!(world.snapshot().await, before);
    assert_eq!(world.run(&first).await.status, 410);
}

#[tokio::test]
async fn a_new_users_first_profile_says_where_they_are() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let profile = create_profile("key");
    world.done(&profile).await;
    let path = "/api/v1/users/user-9/tenant-context";
    let context = read(&world, ServiceKind::User, ACME, path).await;
    assert_eq!((&context["tenant_id"], &context["version"]), (&json!(ACME), &json!(1)));
    // A second profile, in another tenant, moves nobody, and makes nothing visible there.
    let second = Do { tenant: GLOBEX, ..create_profile("second") };
    world.done(&second).await;
    assert_eq!(read(&world, ServiceKind::User, ACME, path).await, context);
    assert_eq!(world.get(ServiceKind::User, GLOBEX, path).await.status, 404);
    for call in [second, profile] {
        world.undo(&call).await;
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn a_session_takes_the_newest_ones_data_along() {
    let world = World::new().await;
    let data = async |key: &str, session_data: Value, source: Option<&str>| {
        let mut call = put_session(key, key);
        call.body["session_data"] = session_data;
        call.body["source_tenant_id"] = json!(source);
        assert_eq!(world.done(&call).await, json!({ "session_id": key, "updated_at": start() }));
        let path = "/api/v1/users/user-123/sessions";
        read(&world, ServiceKind::Auth, GLOBEX, path).await["sessions"][0]["session_data"].clone()
    };
    let preserve = json!({ "preserve_data": "true" });
    assert_eq!(data("a", preserve.clone(), Some(ACME)).await, json!({ "device": "laptop" }));
    world.done(&sign_in("newer", "session-newer")).await;
    let with_more = json!({ "preserve_data": "true", "locale": "de" });
    assert_eq!(data("b", with_more, Some(ACME)).await, json!({ "device": "phone", "locale": "de" }));
    assert_eq!(data("c", json!({ "preserve_data": "false" }), Some(ACME)).await, json!({}));
    assert_eq!(data("d", json!({ "locale": "de" }), Some(ACME)).await, json!({ "locale": "de" }));
    assert_eq!(data("e", preserve.clone(), None).await, json!({}));
    world.done(&revoke_sessions("revoke", ACME)).await;
    assert_eq!(data("f", preserve, Some(ACME)).await, json!({}));
}

#[tokio::test]
async fn a_session_is_created_in_the_headers_tenant_under_a_free_id() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let call = put_session("key", "session-9");
    assert_eq!(world.run(&Do { tenant: ACME, ..put_session("foreign", "session-9") }).await.status, 403);
    world.done(&call).await;
    assert_eq!(active_sessions(&world, GLOBEX).await, ["session-9"]);
    assert_eq!(active_sessions(&world, ACME).await, ["session-123"]);
    assert_eq!(world.run(&put_session("again", "session-9")).await.status, 409);
    let mut unnamed = put_session("unnamed", "");
    unnamed.body.as_object_mut().expect("an object").remove("session_id");
    let made = world.done(&unnamed).await;
    assert!(made["session_id"].as_str().is_some_and(|id| id.parse::<uuid::Uuid>().is_ok()));
    for call in [unnamed, call] {
        assert_eq!(world.undo(&call).await["undone"], true);
    }
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn revoking_is_for_one_tenant_and_its_undo_for_what_it_revoked() {
    let world = World::new().await;
    world.done(&sign_in("a", "revoked-before")).await;
    world.done(&revoke_sessions("earlier", ACME)).await;
    for session in ["first", "second"] {
        world.done(&sign_in(session, session)).await;
    }
    world.done(&put_session("globex", "globex")).await;
    let before = world.snapshot().await;

    let call = revoke_sessions("key", ACME);
    assert_eq!(world.done(&call).await, json!({ "sessions_revoked": 2, "revoked_at": start() }));
    assert_eq!(active_sessions(&world, ACME).await, Vec::<String>::new());
    assert_eq!(active_sessions(&world, GLOBEX).await, ["globex"]);
    assert_eq!(world.done(&revoke_sessions("nothing-left", ACME)).await["sessions_revoked"], 0);
    world.done(&sign_in("later", "later")).await;

    assert_eq!(world.undo(&call).await["undone"], true);
    assert_eq!(active_sessions(&world, ACME).await, ["later", "second", "first"]);
    assert_eq!(world.run(&call).await.status, 410);
    world.undo(&sign_in("later", "later")).await;
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn sessions_end_also_of_those_who_have_lost_access() {
    let world = World::new().await;
    world.done(&put_session("session", "session-9")).await;
    let body = json!({ "role": "user", "permissions": [], "active": false });
    let path = "/api/v1/tenants/tenant-456/users/user-123";
    world.done(&Do { tenant: GLOBEX, path, body, ..put_member("leave", "") }).await;
    assert_eq!(world.run(&put_session("another", "session-10")).await.status, 404);
    assert_eq!(active_sessions(&world, GLOBEX).await, ["session-9"]);
    assert_eq!(world.done(&revoke_sessions("revoke", GLOBEX)).await["sessions_revoked"], 1);
    assert_eq!(active_sessions(&world, GLOBEX).await, Vec::<String>::new());
}

#[tokio::test]
async fn all_sessions_are_revoked_however_many() {
    let world = World::new().await;
    for number in 0..1_001 {
        let id = format!("many-{number}");
        world.done(&sign_in(&id, &id)).await;
    }
    let before = world.snapshot().await;
    let call = revoke_sessions("key", ACME);
    assert_eq!(world.done(&call).await["sessions_revoked"], 1_002);
    world.undo(&call).await;
    assert_eq!(world.snapshot().await, before);
}
