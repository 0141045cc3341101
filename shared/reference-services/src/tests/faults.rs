//! Each fault does to the effect and to the answer what its name says, as often as its rule says.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{Fault, FaultRule};

fn once(fault: Fault) -> Vec<FaultRule> {
    vec![FaultRule { times: Some(1), ..FaultRule::new(fault) }]
}

fn call() -> Do<'static> {
    create_user("key", "nina@example.com")
}

async fn world(fault: Fault) -> World {
    let world = World::new().await;
    world.services.set_faults(ServiceKind::Auth, once(fault));
    world
}

async fn is_applied(world: &World) -> bool {
    let snapshot = world.snapshot().await;
    let accounts = snapshot["auth"]["accounts"].as_array().expect("a table");
    accounts.iter().any(|account| account["user_id"] == "user-9")
}

/// After the fault the same call succeeds, and there has been one effect in all.
async fn recovers(world: &World) {
    let reply = world.run(&call()).await;
    assert_eq!((reply.status.as_u16(), reply.json()["user_id"].clone()), (201, json!("user-9")));
    let outcomes = world.outcomes().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count(), 1);
}

#[tokio::test]
async fn status() {
    let world = world(Fault::Status { status: 429, retry_after_seconds: Some(7) }).await;
    let reply = world.run(&call()).await;
    assert_eq!((reply.status.as_u16(), &reply.headers["retry-after"]), (429, &"7".parse().expect("a value")));
    assert_eq!(reply.json()["status"], 429);
    assert!(!is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn status_after_effect() {
    let world = world(Fault::StatusAfterEffect { status: 503 }).await;
    assert_eq!(world.run(&call()).await.status, 503);
    assert!(is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn delay() {
    let world = world(Fault::Delay { delay_ms: 60_000 }).await;
    let answer = clock::timeout(&*world.clock, Duration::from_secs(10), world.run(&call())).await;
    assert!(answer.is_none());
    assert_eq!(world.clock.now(), start() + Duration::from_secs(10));
    assert!(is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn delay_that_the_caller_sits_out() {
    for fault in [Fault::Delay { delay_ms: 3_000 }, Fault::DelayBeforeEffect { delay_ms: 3_000 }] {
        let world = world(fault).await;
        assert_eq!(world.run(&call()).await.status, 201);
        assert_eq!(world.clock.now(), start() + Duration::from_secs(3));
    }
}

#[tokio::test]
async fn delay_before_effect() {
    let world = world(Fault::DelayBeforeEffect { delay_ms: 60_000 }).await;
    let answer = clock::timeout(&*world.clock, Duration::from_secs(10), world.run(&call())).await;
    assert!(answer.is_none());
    clock::sleep(&*world.clock, Duration::from_secs(120)).await;
    assert!(!is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn reply_lost() {
    let world = world(Fault::ReplyLost).await;
    assert!(world.try_do(&call()).await.is_err());
    assert!(is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn reset() {
    let world = world(Fault::Reset).await;
    assert!(world.try_do(&call()).await.is_err());
    assert!(!is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn late_delivery() {
    let world = world(Fault::LateDelivery { delay_ms: 5_000 }).await;
    assert!(world.try_do(&call()).await.is_err());
    clock::sleep(&*world.clock, Duration::from_secs(4)).await;
    assert!(!is_applied(&world).await);
    clock::sleep(&*world.clock, Duration::from_secs(2)).await;
    assert!(is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn late_delivery_after_the_undo_is_refused() {
    let world = world(Fault::LateDelivery { delay_ms: 5_000 }).await;
    let before = world.snapshot().await;
    assert!(world.try_do(&call()).await.is_err());
    assert_eq!(world.undo(&call()).await["undone"], false);
    clock::sleep(&*world.clock, Duration::from_secs(10)).await;
    assert_eq!(world.snapshot().await, before);
    assert_eq!(world.outcomes().await, [Outcome::UndoFoundNothing, Outcome::RefusedTombstone]);
}

#[tokio::test]
async fn malformed_body() {
    let world = world(Fault::MalformedBody).await;
    let reply = world.run(&call()).await;
    assert_eq!(reply.status, 201);
    assert!(serde_json::from_slice::<Value>(&reply.body).is_err());
    assert!(is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn oversized_body() {
    let world = world(Fault::OversizedBody { bytes: 7_340_032 }).await;
    let reply = world.run(&call()).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (201, 7_340_032));
    assert_eq!(reply.json()["user_id"], "user-9");
    assert!(is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn wrong_id() {
    let world = world(Fault::WrongId).await;
    let reply = world.run(&call()).await;
    assert_eq!(reply.status, 201);
    assert_ne!(reply.json()["user_id"], "user-9");
    assert_eq!(reply.json()["email"], "nina@example.com");
    assert!(is_applied(&world).await);
    recovers(&world).await;
}

#[tokio::test]
async fn rules_choose_their_requests() {
    let world = World::new().await;
    let status = |status| Fault::Status { status, retry_after_seconds: None };
    let member = "/api/v1/tenants/{tenant_id}/users/{user_id}";
    let rules = vec![
        FaultRule {
            tenant: Some(ACME.to_owned()),
            times: Some(1),
            skip: 1,
            ..FaultRule::on("PUT", member, status(500))
        },
        FaultRule { route: Some(member.to_owned()), times: Some(2), skip: 1, ..FaultRule::new(status(503)) },
        FaultRule { tenant: Some(GLOBEX.to_owned()), ..FaultRule::new(status(502)) },
    ];
    world.services.set_faults(ServiceKind::Tenant, rules);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(world.run(&put_member("key", "viewer")).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 500, 503, 503, 200]);
    for _ in 0..3 {
        let foreign = world.get(ServiceKind::Tenant, GLOBEX, "/api/v1/tenants/tenant-456/users").await;
        assert_eq!(foreign.status, 502);
    }
    // The other services are not concerned.
    assert_eq!(world.get(ServiceKind::Auth, GLOBEX, "/api/v1/users/user-123/validate").await.status, 200);
}

#[tokio::test]
async fn the_control_routes_set_list_and_clear() {
    let world = World::new().await;
    let control = async |method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_string()));
        world.send(ServiceKind::Auth, request.expect("a request")).await.expect("an answer")
    };
    let every_kind = json!([
        { "fault": { "kind": "status", "status": 503 } },
        { "times": 1, "skip": 2, "fault": { "kind": "status", "status": 429, "retry_after_seconds": 3 } },
        { "times": null, "fault": { "kind": "status_after_effect", "status": 503 } },
        { "method": "POST", "fault": { "kind": "delay", "delay_ms": 1 } },
        { "route": "/api/v1/users", "fault": { "kind": "delay_before_effect", "delay_ms": 1 } },
        { "tenant": ACME, "fault": { "kind": "reply_lost" } },
        { "fault": { "kind": "reset" } },
        { "fault": { "kind": "late_delivery", "delay_ms": 1 } },
        { "fault": { "kind": "malformed_body" } },
        { "fault": { "kind": "oversized_body", "bytes": 7_340_032 } },
        { "fault": { "kind": "wrong_id" } },
    ]);
    assert_eq!(control("PUT", "/_control/faults", every_kind).await.status, 200);
    assert_eq!(world.get(ServiceKind::Auth, ACME, "/api/v1/users/user-123").await.status, 503);
    let listed = control("GET", "/_control/faults", Value::Null).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(11));
    assert_eq!((&listed[0]["used"], &listed[1]["used"]), (&json!(1), &json!(0)));
    assert_eq!(listed[1]["fault"], json!({ "kind": "status", "status": 429, "retry_after_seconds": 3 }));

    for wrong in [
        json!({}),
        json!([{ "fault": { "kind": "unheard_of" } }]),
        json!([{ "time": 1, "fault": { "kind": "reset" } }]),
    ] {
        assert_eq!(control("PUT", "/_control/faults", wrong).await.status, 422);
    }
    assert_eq!(control("DELETE", "/_control/faults", Value::Null).await.status, 204);
    assert_eq!(control("GET", "/_control/faults", Value::Null).await.json(), json!([]));
    world.run(&call()).await;
    let ledger = control("GET", "/_control/ledger", Value::Null).await.json();
    assert_eq!(
        ledger,
        json!([{
            "service": "auth", "seq": 1, "key": "key", "tenant": ACME, "method": "POST", "route": "/api/v1/users",
            "entity": "account", "entity_id": "user-9", "outcome": "applied", "at": "2026-03-01T08:00:00Z",
        }])
    );
    assert_eq!(serde_json::from_value::<Vec<LedgerEntry>>(ledger).expect("entries"), world.ledger().await);
    for (tenant, accounts) in [(ACME, 5), (GLOBEX, 0)] {
        let snapshot = control("GET", &format!("/_control/snapshot?tenant={tenant}"), Value::Null).await.json();
        assert_eq!(snapshot["accounts"].as_array().map(Vec::len), Some(accounts), "{tenant}");
    }
    assert_eq!(control("GET", "/_control/snapshot", Value::Null).await.json(), world.snapshot().await["auth"]);
}

#[tokio::test]
async fn the_switches_are_for_this_machine_only() {
    let world = World::new().await;
    for (host, status) in [("localhost:8081", 200), ("127.0.0.1", 200), ("[::1]:8081", 200), ("evil.example:8081", 421)]
    {
        let request = Request::get("/_control/faults").header("host", host).body(Body::empty()).expect("a request");
        assert_eq!(world.send(ServiceKind::Auth, request).await.expect("an answer").status, status, "{host}");
    }
}

#[tokio::test]
async fn a_broken_reply_breaks_a_real_connection() {
    let clock: SharedClock = Arc::new(clock::SystemClock);
    let services = Services::in_memory(clock).await.expect("opens");
    let rule = FaultRule { method: Some("POST".to_owned()), ..FaultRule::new(Fault::ReplyLost) };
    services.set_faults(ServiceKind::Auth, vec![rule]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let router = services.router(ServiceKind::Auth);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let body = call().body.to_string();
    let request = format!(
        "POST /api/v1/users HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: {ACME}\r\nidempotency-key: key\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = tokio::net::TcpStream::connect(address).await.expect("connects");
    connection.write_all(request.as_bytes()).await.expect("sends");
    let mut reply = Vec::new();
    // The server closes although keep-alive was agreed on, and without the last chunk.
    let _ = connection.read_to_end(&mut reply).await;
    assert!(!reply.ends_with(b"0\r\n\r\n"));
    let snapshot = services.snapshot(None).await.expect("a snapshot");
    assert_eq!(snapshot["auth"]["accounts"].as_array().map(Vec::len), Some(1));
    server.abort();
}
