//! The services as callers see them, in process and in virtual time.

mod bulk;
mod content;
mod digests;
mod faults;
mod fences;
mod forget;
mod idempotency;
mod logs;
mod many;
mod operations;
mod pages;
mod poison;
mod random;
mod routes;
mod storage;
mod switching;
mod undo;
mod upgrades;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use clock::{SharedClock, VirtualClock};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{LedgerEntry, Outcome, ServiceKind, Services};

const ACME: &str = "tenant-123";
const GLOBEX: &str = "tenant-456";

struct World {
    services: Services,
    clock: SharedClock,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the reply is JSON")
    }
}

/// The connection broke.
#[derive(Debug)]
struct Broken;

fn start() -> Timestamp {
    "2026-03-01T08:00:00Z".parse().expect("a time")
}

impl World {
    /// The demo data in memory.
    async fn new() -> Self {
        let clock: SharedClock = Arc::new(VirtualClock::new(start()));
        let services = Services::in_memory(Arc::clone(&clock)).await.expect("opens");
        services.seed_demo().await.expect("seeds");
        Self { services, clock }
    }

    async fn send(&self, kind: ServiceKind, request: Request<Body>) -> Result<Reply, Broken> {
        let response = self.services.router(kind).oneshot(request).await;
        let (parts, body) = response.unwrap_or_else(|never| match never {}).into_parts();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.map_err(|_| Broken)?.to_bytes(),
        })
    }

    async fn get(&self, kind: ServiceKind, tenant: &str, path: &str) -> Reply {
        let request = Request::get(path).header("x-tenant-id", tenant).body(Body::empty());
        self.send(kind, request.expect("a request")).await.expect("an answer")
    }

    async fn try_do(&self, call: &Do<'_>) -> Result<Reply, Broken> {
        let request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header("x-tenant-id", call.tenant)
            .header("idempotency-key", call.key)
            .body(Body::from(call.body.to_string()));
        self.send(call.kind, request.expect("a request")).await
    }

    async fn run(&self, call: &Do<'_>) -> Reply {
        self.try_do(call).await.expect("an answer")
    }

    /// Does it, which must succeed.
    async fn done(&self, call: &Do<'_>) -> Value {
        let reply = self.run(call).await;
        assert!(reply.status.is_success(), "{} {}", reply.status, call.path);
        reply.json()
    }

    /// Sends JSON without an idempotency key.
    async fn post(&self, kind: ServiceKind, tenant: &str, path: &str, body: &Value) -> Reply {
        let request = Request::post(path).header("x-tenant-id", tenant).body(Body::from(body.to_string()));
        self.send(kind, request.expect("a request")).await.expect("an answer")
    }

    async fn undo_key(&self, kind: ServiceKind, tenant: &str, key: &str) -> Reply {
        self.try_undo(&Do { kind, tenant, method: "", path: "", key, body: Value::Null }).await
    }

    async fn try_undo(&self, call: &Do<'_>) -> Reply {
        let path = format!("/api/v1/effects/{}", call.key);
        let undo_key = format!("undo-{}", call.key);
        self.run(&Do { method: "DELETE", path: &path, key: &undo_key, body: Value::Null, ..*call }).await
    }

    async fn undo(&self, call: &Do<'_>) -> Value {
        let reply = self.try_undo(call).await;
        assert_eq!(reply.status, 200);
        reply.json()
    }

    async fn snapshot(&self) -> Value {
        self.services.snapshot(None).await.expect("a snapshot")
    }

    async fn ledger(&self) -> Vec<LedgerEntry> {
        self.services.ledger().await.expect("a ledger")
    }

    async fn outcomes(&self) -> Vec<Outcome> {
        self.ledger().await.into_iter().map(|entry| entry.outcome).collect()
    }
}

/// A mutation.
struct Do<'d> {
    kind: ServiceKind,
    tenant: &'d str,
    method: &'d str,
    path: &'d str,
    key: &'d str,
    body: Value,
}

fn create_user<'d>(key: &'d str, email: &str) -> Do<'d> {
    Do {
        kind: ServiceKind::Auth,
        tenant: ACME,
        method: "POST",
        path: "/api/v1/users",
        key,
        body: json!({
            "user_id": "user-9", "email": email, "name": "Nina", "role": "user", "tenant_id": ACME,
            "send_welcome_email": false,
        }),
    }
}

fn create_profile(key: &str) -> Do<'_> {
    Do {
        kind: ServiceKind::User,
        tenant: ACME,
        method: "POST",
        path: "/api/v1/profiles",
        key,
        body: json!({
            "profile_id": "profile-9", "user_id": "user-9", "profile_data": { "name": "Nina" }, "preferences": {},
        }),
    }
}

fn put_member<'d>(key: &'d str, role: &str) -> Do<'d> {
    Do {
        kind: ServiceKind::Tenant,
        tenant: ACME,
        method: "PUT",
        path: "/api/v1/tenants/tenant-123/users/user-123",
        key,
        body: json!({ "role": role, "permissions": ["tenant:read"], "active": true }),
    }
}

fn create_workspace(key: &str) -> Do<'_> {
    Do {
        kind: ServiceKind::File,
        tenant: ACME,
        method: "POST",
        path: "/api/v1/workspaces",
        key,
        body: json!({
            "workspace_id": "workspace-9", "user_id": "user-9",
            "workspace_config": { "type": "default", "quota_gb": "10" },
        }),
    }
}

fn create_sample_data(key: &str) -> Do<'_> {
    Do {
        kind: ServiceKind::File,
        tenant: ACME,
        method: "POST",
        path: "/api/v1/workspaces/workspace-9/sample-data",
        key,
        body: json!({ "user_id": "user-9" }),
    }
}

fn send_notification(key: &str) -> Do<'_> {
    Do {
        kind: ServiceKind::Notifications,
        tenant: ACME,
        method: "POST",
        path: "/api/v1/notifications",
        key,
        body: json!({
            "notification_type": "welcome_email", "recipient": "nina@example.com", "message": "Welcome to ADX Core!",
            "metadata": { "user_name": "Nina", "tenant_name": "Acme Corporation" },
        }),
    }
}

/// Every mutation that onboarding a user needs, in its order.
fn onboarding() -> [Do<'static>; 6] {
    [
        create_user("key-user", "nina@example.com"),
        create_profile("key-profile"),
        put_member("key-member", "viewer"),
        create_workspace("key-workspace"),
        create_sample_data("key-samples"),
        send_notification("key-mail"),
    ]
}

fn sign_in<'d>(key: &'d str, session_id: &str) -> Do<'d> {
    Do {
        kind: ServiceKind::Auth,
        tenant: ACME,
        method: "POST",
        path: "/api/v1/users/user-123/sessions",
        key,
        body: json!({ "session_id": session_id, "session_data": { "device": "phone" } }),
    }
}

fn put_session<'d>(key: &'d str, session_id: &str) -> Do<'d> {
    Do {
        kind: ServiceKind::Auth,
        tenant: GLOBEX,
        method: "PUT",
        path: "/api/v1/users/user-123/session",
        key,
        body: json!({
            "session_id": session_id, "tenant_id": GLOBEX, "source_tenant_id": ACME,
            "session_data": { "preserve_data": "true" },
        }),
    }
}

fn put_context<'d>(key: &'d str, tenant: &'d str, expected: &str) -> Do<'d> {
    Do {
        kind: ServiceKind::User,
        tenant,
        method: "PUT",
        path: "/api/v1/users/user-123/tenant-context",
        key,
        body: json!({ "new_tenant_id": tenant, "preserve_preferences": false, "expected_tenant_id": expected }),
    }
}

fn revoke_sessions<'d>(key: &'d str, tenant: &'d str) -> Do<'d> {
    Do {
        kind: ServiceKind::Auth,
        tenant,
        method: "DELETE",
        path: "/api/v1/users/user-123/sessions",
        key,
        body: Value::Null,
    }
}

/// Every mutation that switching tenants needs and onboarding does not, in its order, after one more sign-in.
fn switching() -> [Do<'static>; 4] {
    [
        sign_in("key-sign-in", "session-9"),
        put_session("key-session", "session-10"),
        put_context("key-context", GLOBEX, ACME),
        revoke_sessions("key-revoke", ACME),
    ]
}

fn every_mutation() -> impl Iterator<Item = Do<'static>> {
    onboarding().into_iter().chain(switching())
}
