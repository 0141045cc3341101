//! Each route's answer, and what every route refuses.

use super::*;

const NOW: &str = "2026-03-01T08:00:00Z";

#[tokio::test]
async fn mutations_answer_as_the_contract_says() {
    let world = World::new().await;
    let expected = [
        (201, json!({ "user_id": "user-9", "email": "nina@example.com", "created_at": NOW })),
        (201, json!({ "profile_id": "profile-9", "created_at": NOW })),
        (200, json!({ "updated_at": NOW })),
        (201, json!({ "workspace_id": "workspace-9", "created_at": NOW })),
        (201, json!({ "files_created": 3, "created_at": NOW })),
    ];
    for (call, (status, body)) in onboarding().iter().zip(expected) {
        let reply = world.run(call).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (status, body), "{}", call.path);
    }
    let mail = world.run(&send_notification("key-mail")).await;
    assert_eq!(mail.status, 201);
    assert_eq!(mail.json()["sent_at"], NOW);
    assert_eq!(mail.json()["delivery_status"], "queued");
}

#[tokio::test]
async fn reads_show_what_was_done() {
    let world = World::new().await;
    for call in onboarding() {
        world.run(&call).await;
    }
    let read = async |kind, path: &str| {
        let reply = world.get(kind, ACME, path).await;
        assert_eq!(reply.status, 200, "{path}");
        reply.json()
    };
    let account = read(ServiceKind::Auth, "/api/v1/users/user-9").await;
    assert_eq!((&account["email"], &account["role"]), (&json!("nina@example.com"), &json!("user")));
    assert_eq!(
        read(ServiceKind::Auth, "/api/v1/users/user-9/validate").await,
        json!({
            "valid": true, "user_id": "user-9",
            "permissions": ["tenant:read", "user:read", "file:read", "file:write"],
        })
    );
    assert_eq!(read(ServiceKind::Auth, "/api/v1/users/user-9/sessions").await, json!({ "sessions": [] }));
    let sessions = read(ServiceKind::Auth, "/api/v1/users/user-123/sessions").await;
    assert_eq!(sessions["sessions"][0]["session_data"], json!({ "device": "laptop" }));
    let profile = read(ServiceKind::User, "/api/v1/profiles/user-9").await;
    assert_eq!((&profile["profile_id"], &profile["profile_data"]), (&json!("profile-9"), &json!({ "name": "Nina" })));
    let context = &read(ServiceKind::Tenant, "/api/v1/tenants/tenant-123/context").await["tenant_context"];
    assert_eq!(context["tenant_name"], "Acme Corporation");
    assert!(context["features"].is_array() && context["quotas"]["users"].is_u64() && context["settings"].is_object());
    assert_eq!(
        read(ServiceKind::Tenant, "/api/v1/tenants/tenant-123/access/user-123").await,
        json!({ "has_access": true, "role": "viewer", "permissions": ["tenant:read"], "reason": null })
    );
    assert_eq!(
        read(ServiceKind::Tenant, "/api/v1/tenants/tenant-123/access/nobody").await,
        json!({ "has_access": false, "role": null, "permissions": [], "reason": "not_a_member" })
    );
    let members = read(ServiceKind::Tenant, "/api/v1/tenants/tenant-123/users").await;
    assert_eq!(members["users"][0]["active"], true);
    let workspace = read(ServiceKind::File, "/api/v1/workspaces/workspace-9").await;
    assert_eq!(workspace["workspace_config"], json!({ "type": "default", "quota_gb": "10" }));
    let files = read(ServiceKind::File, "/api/v1/users/user-9/files").await;
    assert_eq!(files["files"].as_array().map(Vec::len), Some(3));
    let newest = &files["files"][0];
    let path = format!("/api/v1/files/{}", newest["file_id"].as_str().expect("an id"));
    let file = world.get(ServiceKind::File, ACME, &path).await;
    assert_eq!(file.headers["content-type"], newest["content_type"].as_str().expect("a type"));
    assert_eq!(json!(file.body.len()), newest["size_bytes"]);
    assert!(file.body.starts_with(b"{\"theme\""));
    let outbox = read(ServiceKind::Notifications, "/api/v1/notifications").await;
    assert_eq!(outbox["notifications"][0]["recipient"], "nina@example.com");
    assert_eq!(outbox["notifications"][0]["metadata"]["user_name"], "Nina");
}

#[tokio::test]
async fn ids_are_made_where_the_caller_names_none() {
    let world = World::new().await;
    for (mut call, field) in [
        (create_user("a", "nina@example.com"), "user_id"),
        (create_profile("b"), "profile_id"),
        (create_workspace("c"), "workspace_id"),
    ] {
        call.body.as_object_mut().expect("an object").remove(field);
        let reply = world.run(&call).await.json();
        let id: uuid::Uuid = reply[field].as_str().and_then(|id| id.parse().ok()).expect("a UUID");
        let (seconds, _) = id.get_timestamp().expect("a version with a time").to_unix();
        assert_eq!(seconds, u64::try_from(start().as_second()).expect("after 1970"));
    }
}

#[tokio::test]
async fn tenants_are_listed_for_those_who_belong_to_them() {
    let world = World::new().await;
    let list = async |user: Option<&str>| {
        let mut request = Request::get("/api/v1/tenants").header("x-tenant-id", GLOBEX);
        if let Some(user) = user {
            request = request.header("x-user-id", user);
        }
        let request = request.body(Body::empty()).expect("a request");
        let reply = world.send(ServiceKind::Tenant, request).await.expect("an answer").json();
        let tenants = reply["tenants"].as_array().cloned().expect("a list");
        tenants.iter().map(|tenant| tenant["tenant_id"].clone()).collect::<Value>()
    };
    assert_eq!(list(None).await, json!([GLOBEX]));
    assert_eq!(list(Some("stranger")).await, json!([GLOBEX]));
    assert_eq!(list(Some("user-123")).await, json!([ACME, GLOBEX]));
}

#[tokio::test]
async fn lists_of_tenants_have_pages() {
    let world = World::new().await;
    let list = async |query: &str| {
        let request = Request::get(format!("/api/v1/tenants?{query}"));
        let request = request.header("x-tenant-id", ACME).header("x-user-id", "user-123").body(Body::empty());
        world.send(ServiceKind::Tenant, request.expect("a request")).await.expect("an answer")
    };
    for (page, tenant_id) in [(1, ACME), (2, GLOBEX)] {
        let reply = list(&format!("page={page}&page_size=1")).await.json();
        assert_eq!(reply["tenants"].as_array().map(Vec::len), Some(1));
        assert_eq!((&reply["tenants"][0]["tenant_id"], &reply["total_count"]), (&json!(tenant_id), &json!(2)));
        assert_eq!(reply["tenants"][0]["status"], "active");
    }
    assert_eq!(list("page=3&page_size=1").await.json()["tenants"], json!([]));
    for bad in ["page=0", "page_size=0", "page_size=1001", "page=x"] {
        assert_eq!(list(bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn health_needs_no_tenant() {
    let world = World::new().await;
    for kind in ServiceKind::ALL {
        let request = Request::get("/health").body(Body::empty()).expect("a request");
        let reply = world.send(kind, request).await.expect("an answer");
        let expected = json!({ "status": "healthy", "service": kind.name(), "timestamp": NOW });
        assert_eq!((reply.status.as_u16(), reply.json()), (200, expected));
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    for (kind, path) in [
        (ServiceKind::Auth, "/api/v1/users/nobody"),
        (ServiceKind::Auth, "/api/v1/users/nobody/validate"),
        (ServiceKind::Auth, "/api/v1/users/nobody/sessions"),
        (ServiceKind::User, "/api/v1/profiles/nobody"),
        (ServiceKind::User, "/api/v1/users/nobody/tenant-context"),
        (ServiceKind::Tenant, "/api/v1/tenants/none/context"),
        (ServiceKind::Tenant, "/api/v1/tenants/none/access/user-123"),
        (ServiceKind::File, "/api/v1/workspaces/none"),
        (ServiceKind::File, "/api/v1/files/none"),
        (ServiceKind::File, "/api/v1/no-such-route"),
    ] {
        let reply = world.get(kind, ACME, path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert_eq!(reply.json()["status"], 404);
    }
    for path in ["/api/v1/tenants/none/context", "/api/v1/tenants/none/access/user-123"] {
        assert_eq!(world.get(ServiceKind::Tenant, "none", path).await.status, 404);
    }
    assert_eq!(world.run(&create_sample_data("key")).await.status, 404);
    let wrong_method = world.get(ServiceKind::File, ACME, "/api/v1/workspaces").await;
    assert_eq!(wrong_method.status, 405);
}

#[tokio::test]
async fn another_tenants_objects_are_not_there() {
    let world = World::new().await;
    for call in onboarding() {
        world.run(&call).await;
    }
    for (kind, path) in [
        (ServiceKind::Auth, "/api/v1/users/user-9"),
        (ServiceKind::Auth, "/api/v1/users/user-9/validate"),
        (ServiceKind::Auth, "/api/v1/users/user-9/sessions"),
        (ServiceKind::User, "/api/v1/profiles/user-9"),
        (ServiceKind::User, "/api/v1/users/user-9/tenant-context"),
        (ServiceKind::Tenant, "/api/v1/tenants/tenant-123/context"),
        (ServiceKind::Tenant, "/api/v1/tenants/tenant-123/access/user-123"),
        (ServiceKind::Tenant, "/api/v1/tenants/tenant-123/users"),
        (ServiceKind::File, "/api/v1/workspaces/workspace-9"),
        (ServiceKind::File, "/api/v1/files/file-123-1"),
    ] {
        let foreign = world.get(kind, GLOBEX, path).await;
        assert_eq!(
            (foreign.status.as_u16(), foreign.json()["detail"].clone()),
            (404, json!("there is no such object"))
        );
    }
    let files = world.get(ServiceKind::File, GLOBEX, "/api/v1/users/user-9/files").await;
    assert_eq!(files.json(), json!({ "files": [] }));

    let before = world.snapshot().await;
    for call in [create_sample_data("foreign"), put_member("foreign", "admin")] {
        let reply = world.run(&Do { tenant: GLOBEX, ..call }).await;
        assert_eq!(reply.status, 404);
    }
    let wrong_body = Do { tenant: GLOBEX, ..create_user("foreign", "x@example.com") };
    assert_eq!(world.run(&wrong_body).await.status, 403);
    assert_eq!(world.snapshot().await, before);
}

#[tokio::test]
async fn the_same_address_and_id_may_exist_in_two_tenants() {
    let world = World::new().await;
    let mut call = create_user("key", "nina@example.com");
    assert_eq!(world.run(&call).await.status, 201);
    call.tenant = GLOBEX;
    call.body["tenant_id"] = json!(GLOBEX);
    assert_eq!(world.run(&call).await.status, 201);
}

#[tokio::test]
async fn what_exists_is_not_created_again() {
    let world = World::new().await;
    for call in onboarding() {
        world.run(&call).await;
    }
    let before = world.snapshot().await;
    let mut same_address = create_user("again-1", "NINA@example.com");
    same_address.body["user_id"] = json!("user-10");
    for call in [same_address, create_profile("again-2"), create_workspace("again-3")] {
        assert_eq!(world.run(&call).await.status, 409, "{}", call.path);
    }
    assert_eq!(world.snapshot().await, before);
    let refused = world.ledger().await.into_iter().filter(|entry| entry.outcome == Outcome::RefusedConflict);
    assert_eq!(refused.count(), 3);
}

#[tokio::test]
async fn headers_are_required() {
    let world = World::new().await;
    let user = create_user("key", "nina@example.com").body.to_string();
    for (headers, missing) in [
        (vec![("idempotency-key", "key")], "X-Tenant-ID"),
        (vec![("x-tenant-id", "")], "x-tenant-id"),
        (vec![("x-tenant-id", "a b"), ("idempotency-key", "key")], "X-Tenant-ID"),
        (vec![("x-tenant-id", ACME), ("x-tenant-id", ACME), ("idempotency-key", "key")], "x-tenant-id"),
        (vec![("x-tenant-id", ACME)], "Idempotency-Key"),
    ] {
        let mut request = Request::post("/api/v1/users");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(user.clone())).expect("a request");
        let reply = world.send(ServiceKind::Auth, request).await.expect("an answer");
        assert_eq!(reply.status, 400);
        assert!(reply.json()["detail"].as_str().expect("a detail").contains(missing));
    }
    let request = Request::get("/api/v1/users/user-123").body(Body::empty()).expect("a request");
    assert_eq!(world.send(ServiceKind::Auth, request).await.expect("an answer").status, 400);
    let undo = Request::delete("/api/v1/effects/key").header("x-tenant-id", ACME).body(Body::empty());
    assert_eq!(world.send(ServiceKind::Auth, undo.expect("a request")).await.expect("an answer").status, 400);
}

#[tokio::test]
async fn bodies_are_checked() {
    let world = World::new().await;
    let before = world.snapshot().await;
    let send = async |body: String| {
        let request = Request::post("/api/v1/users")
            .header("x-tenant-id", ACME)
            .header("idempotency-key", "key")
            .body(Body::from(body))
            .expect("a request");
        world.send(ServiceKind::Auth, request).await.expect("an answer")
    };
    assert_eq!(send("{".to_owned()).await.status, 400);
    assert_eq!(send(format!("\"{}\"", "x".repeat(1024 * 1024))).await.status, 413);
    assert_eq!(send("[]".to_owned()).await.status, 422);
    let reply = send(json!({ "email": 3, "name": "", "tenant_id": ACME, "user_id": "a/b" }).to_string()).await;
    assert_eq!(reply.status, 422);
    let errors = reply.json()["errors"].as_array().cloned().expect("errors");
    let mut pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().expect("a pointer")).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/email", "/name", "/role", "/user_id"]);
    assert_eq!(world.snapshot().await, before);
    assert_eq!(world.ledger().await, []);
}
