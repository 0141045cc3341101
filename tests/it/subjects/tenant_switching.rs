//! Tenant switching: a user moves from `tenant-123` to `tenant-456`.

use axum::body::Body;
use contracts::WorkflowKind;
use futures::FutureExt as _;
use http::Request;
use reference_services::{ServiceKind, Services};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Subject, site, undo};
use crate::world::TENANT;

/// Where users go.
pub(crate) const TARGET: &str = "tenant-456";

pub(crate) static TENANT_SWITCHING: Subject = Subject {
    kind: WorkflowKind::TenantSwitching,
    variant: None,
    path: "/api/v1/workflows/tenant-switching",
    request: request_of,
    prepare: |services, number| async move { settle(&services, &user_of(number)).await }.boxed(),
    presupposes: None,
    sites: &[
        site("ValidateTenantAccess", "tenant", "GET", "/api/v1/tenants/{tenant_id}/access/{user_id}"),
        site("GetTenantContext", "tenant", "GET", "/api/v1/tenants/{tenant_id}/context"),
        site("UpdateUserTenantContext", "user", "PUT", "/api/v1/users/{user_id}/tenant-context"),
        site("UpdateUserSession", "auth", "PUT", "/api/v1/users/{user_id}/session"),
        site("UpdateTenantUserMembership", "tenant", "PUT", "/api/v1/tenants/{tenant_id}/users/{user_id}"),
        site("RevokeUserSessions", "auth", "DELETE", "/api/v1/users/{user_id}/sessions"),
        undo("UndoRevokeUserSessions", "auth", 0),
        undo("UndoUpdateTenantUserMembership", "tenant", 0),
        undo("UndoUpdateUserSession", "auth", 1),
        undo("UndoUpdateUserTenantContext", "user", 0),
    ],
    undoable: &[
        ("UpdateUserTenantContext", "user"),
        ("UpdateUserSession", "auth"),
        ("UpdateTenantUserMembership", "tenant"),
        ("RevokeUserSessions", "auth"),
    ],
    tolerated: &[],
    last_before_pivot: "UpdateTenantUserMembership",
    // The old sessions are gone from then on.
    final_steps: &["RevokeUserSessions"],
    batches: &[],
    taken_elsewhere: &[],
    masked: &["new_session_id", "switch_completed_at"],
    // An id, and nothing else about the person.
    personal: &[],
    mails: 0,
    marks: |_, _, request| vec![request["user_id"].as_str().unwrap().to_owned()],
    counts: None,
    about_everything: None,
};

/// All of the same length: none is the begin of another one.
pub(crate) fn user_of(number: usize) -> String {
    format!("mover-{number:06}")
}

fn request_of(number: usize) -> Value {
    json!({
        "user_id": user_of(number), "current_tenant_id": TENANT, "target_tenant_id": TARGET,
        "preserve_session_data": true, "update_user_preferences": false,
    })
}

/// A user at home in `tenant-123`, where they are signed in, and a member of `tenant-456` as well.
async fn settle(services: &Services, user: &str) {
    let (name, email, session) = ("Mona Mover", format!("{user}@example.com"), format!("session-of-{user}"));
    let account = json!({
        "user_id": user, "email": email, "name": name, "role": "user", "tenant_id": TENANT,
        "send_welcome_email": false,
    });
    put(services, ServiceKind::Auth, TENANT, ("POST", "/api/v1/users"), account).await;
    let profile = json!({
        "profile_id": format!("profile-of-{user}"), "user_id": user,
        "profile_data": { "name": name, "email": email, "role": "user" },
        "preferences": { "language": "en", "theme": "dark" },
    });
    put(services, ServiceKind::User, TENANT, ("POST", "/api/v1/profiles"), profile).await;
    for tenant in [TENANT, TARGET] {
        join(services, user, tenant).await;
    }
    let sign_in = json!({ "session_id": session, "session_data": { "device": "laptop" } });
    let path = format!("/api/v1/users/{user}/sessions");
    put(services, ServiceKind::Auth, TENANT, ("POST", &path), sign_in).await;
}

/// Makes a user a member of a tenant.
pub(crate) async fn join(services: &Services, user: &str, tenant: &str) {
    let member = json!({ "role": "user", "permissions": ["tenant:read", "file:read"], "active": true });
    let path = format!("/api/v1/tenants/{tenant}/users/{user}");
    put(services, ServiceKind::Tenant, tenant, ("PUT", &path), member).await;
}

/// A mutation under a key that says what it is: a repetition changes nothing.
async fn put(services: &Services, kind: ServiceKind, tenant: &str, (method, path): (&str, &str), body: Value) {
    let key = contracts::effect::sha256_hex(format!("{tenant} {method} {path} {body}").as_bytes());
    let request = Request::builder().method(method).uri(path).header("x-tenant-id", tenant);
    let request = request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap();
    let answer = services.router(kind).oneshot(request).await.unwrap();
    assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
}

/// What a service answers to a tenant.
pub(crate) async fn read(services: &Services, kind: ServiceKind, tenant: &str, path: &str) -> Value {
    let request = Request::get(path).header("x-tenant-id", tenant).body(Body::empty()).unwrap();
    let answer = services.router(kind).oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}
