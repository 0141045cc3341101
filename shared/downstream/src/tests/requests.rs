//! What is sent.

use super::*;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn every_request_carries_its_headers() {
    let (transport, downstream) = scripted(500, Value::Null);
    every_call(&downstream.traced(Some(TRACEPARENT.to_owned()))).await;
    let requests = transport.requests.lock().expect("no panic");
    let mut ports: Vec<_> = requests.iter().filter_map(|request| request.uri().port_u16()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports, [1, 2, 3, 4, 5], "every service is called");
    for request in requests.iter() {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let uri = request.uri();
        assert_eq!(header("traceparent"), Some(TRACEPARENT), "{uri}");
        assert_eq!(header("idempotency-key"), (request.method() != http::Method::GET).then_some("key"), "{uri}");
        let tenant = if uri.path().ends_with("/session") || uri.path().ends_with("-context") { "t2" } else { "t" };
        assert_eq!(header("x-tenant-id"), Some(tenant), "{uri}");
        assert!(header("x-user-id").is_none_or(|user| user == "u"), "{uri}");
        assert_eq!(header("content-type").is_some(), !request.body().is_empty(), "{uri}");
    }
}

#[tokio::test]
async fn a_switch_says_what_the_contract_says() {
    let (transport, downstream) = scripted(500, Value::Null);
    for preserve in [true, false] {
        let session = NewSession { preserve_data: preserve, ..session() };
        let switch = ContextSwitch { preserve_preferences: preserve, ..switch() };
        assert!(auth::put_session(&downstream, &session, key()).await.is_err());
        assert!(user::put_tenant_context(&downstream, &switch, key()).await.is_err());
    }
    let owned = vec!["file:read".to_owned()];
    assert!(tenant::put_member(&downstream, "t2", "u", "user", &owned, key()).await.is_err());
    assert!(auth::revoke_sessions(&downstream, "t", "auth0|u", key()).await.is_err());
    let requests = transport.requests.lock().expect("no panic");
    let sent = requests.iter().map(|request| {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        (format!("{} {}", request.method(), request.uri().path()), body)
    });
    let session = |data: Value| {
        let body = json!({ "session_id": "s", "tenant_id": "t2", "source_tenant_id": "t", "session_data": data });
        ("PUT /api/v1/users/u/session".to_owned(), body)
    };
    let context = |preserve: bool| {
        let body = json!({ "new_tenant_id": "t2", "preserve_preferences": preserve, "expected_tenant_id": "t" });
        ("PUT /api/v1/users/u/tenant-context".to_owned(), body)
    };
    let expected = [
        session(json!({ "preserve_data": "true" })),
        context(true),
        session(json!({})),
        context(false),
        (
            "PUT /api/v1/tenants/t2/users/u".to_owned(),
            json!({ "role": "user", "permissions": ["file:read"], "active": true }),
        ),
        ("DELETE /api/v1/users/auth0%7Cu/sessions".to_owned(), Value::Null),
    ];
    assert_eq!(sent.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn ids_that_would_name_another_path_are_not_sent() {
    let (transport, downstream) = scripted(200, Value::Null);
    for user_id in [".", "..", ""] {
        let outcome = auth::revoke_sessions(&downstream, "t", user_id, key()).await;
        assert_eq!(name_of(outcome), named(ErrorName::InvalidInput));
    }
    assert!(transport.requests.lock().expect("no panic").is_empty());
}
