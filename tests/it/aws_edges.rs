//! What comes in at AWS's edges: API Gateway's events and claims, activity events, configurations.

use std::process::Stdio;
use std::time::Duration;

use aws_sdk_sfn::types::ExecutionStatus;
use axum::body::Body;
use contracts::{ErrorName, Status};
use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::aws::{self, Options, StatusEvents};
use crate::bad_input::{Wrong, wrong_starts};
use crate::lambda;
use crate::process::pause;
use crate::world::{TENANT, full_request};

const START: &str = "/api/v1/workflows/user-onboarding";

#[test]
fn a_wrong_request_is_named_and_does_nothing() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options::default()).await;
        let before = stack.site.snapshot().await;
        // API Gateway makes one field of several of one name, so what repeats one is another request there.
        let repeats = |request: &Request<Body>| {
            request.headers().keys().any(|name| request.headers().get_all(name).iter().count() > 1)
        };
        for Wrong { why, request, status, error_type, pointers } in wrong_starts() {
            if repeats(&request) {
                continue;
            }
            let (answered, headers, problem) = stack.site.call(request).await;
            assert_eq!(answered.as_u16(), status, "{why}: {problem}");
            assert_eq!(headers["content-type"], "application/problem+json", "{why}");
            assert_eq!(problem["error"]["type"], error_type, "{why}: {problem}");
            let named: Vec<_> =
                problem["errors"].as_array().into_iter().flatten().map(|e| e["pointer"].as_str().unwrap()).collect();
            assert_eq!(named, pointers, "{why}");
        }
        assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], 0, "nothing was stored");
        assert_eq!(stack.site.snapshot().await, before);
    });
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
}

#[test]
fn events_of_every_form_are_read() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options::default()).await;
        let plain = headers(&[("content-type", "application/json"), ("x-tenant-id", TENANT)]);
        let body = full_request().to_string();
        let start = |body: &str| lambda::event(&Method::POST, START, "", &plain, body.as_bytes(), None);

        let missing = stack.invoke("start-user-onboarding", start("")).await.unwrap();
        assert_eq!(missing["statusCode"], 400, "{missing}");

        let mut in_base64 = start("");
        in_base64["isBase64Encoded"] = json!(true);
        in_base64["body"] = json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &body));
        let accepted = stack.invoke("start-user-onboarding", in_base64).await.unwrap();
        assert_eq!(accepted["statusCode"], 202, "{accepted}");
        let started: Value = serde_json::from_str(accepted["body"].as_str().unwrap()).unwrap();
        let id = started["workflow_id"].as_str().unwrap();

        // A stage that is not the default one stands before the path.
        let path = format!("/api/v1/workflows/{id}/status");
        let mut staged = lambda::event(&Method::GET, &format!("/v1{path}"), "", &plain, b"", None);
        staged["requestContext"]["stage"] = json!("v1");
        let status = stack.invoke("get-workflow-status", staged).await.unwrap();
        assert_eq!(status["statusCode"], 200, "{status}");

        let mut twice = plain.clone();
        twice.append("x-tenant-id", "tenant-456".parse().unwrap());
        let twice = lambda::event(&Method::POST, START, "", &twice, body.as_bytes(), None);
        let refused = stack.invoke("start-user-onboarding", twice).await.unwrap();
        assert_eq!(refused["statusCode"], 400, "{refused}");
        stack.site.until_ended(id).await;
    });
}

#[test]
fn only_what_the_token_allows_is_done() {
    let gateway = [
        ("WORKFLOW__AUTH__MODE", "gateway"),
        ("WORKFLOW__AUTH__TENANTS_CLAIM", "tenants"),
        ("WORKFLOW__AUTH__ROLES_CLAIM", "roles"),
    ];
    let functions = ["start-user-onboarding", "start-tenant-switching", "list-workflows"];
    aws::run(|aws| async move {
        let of_function = |function| gateway.map(|(name, value)| (function, name, value.to_owned()));
        let overrides = functions.into_iter().flat_map(of_function).collect();
        let stack = aws.stack(Options { overrides, ..Options::default() }).await;
        let list = async |claims: Option<Value>, user: Option<&str>| {
            stack.claim(claims);
            let mut request = http::Request::builder().uri("/api/v1/workflows").header("x-tenant-id", TENANT);
            if let Some(user) = user {
                request = request.header("x-user-id", user);
            }
            stack.site.call(request.body(axum::body::Body::empty()).unwrap()).await.0.as_u16()
        };
        let claims = |tenants: Value| Some(json!({ "sub": "user-1", "tenants": tenants }));
        for (why, claims, expected) in [
            ("no token", None, 401),
            ("no claims", Some(json!({})), 401),
            ("no tenants", Some(json!({ "sub": "user-1" })), 401),
            ("no subject", Some(json!({ "tenants": "[tenant-123]" })), 401),
            ("an empty claim", claims(json!("")), 401),
            ("an empty list", claims(json!("[]")), 401),
            ("a malformed list", claims(json!("[tenant-123")), 401),
            ("an odd tenant", claims(json!("[tenant-123 ../x]")), 401),
            ("an empty member before", claims(json!("[ tenant-123]")), 401),
            ("an empty member between", claims(json!("[tenant-123  tenant-456]")), 401),
            ("a number", claims(json!(7)), 403),
            ("null", claims(json!(null)), 401),
            ("an array of null", claims(json!([null])), 401),
            ("a truth", claims(json!(true)), 401),
            ("nobody", Some(json!({ "sub": null, "tenants": "tenant-123" })), 401),
            ("an object", claims(json!({ "tenant-123": true })), 401),
            ("an array of other things", claims(json!([{ "id": "tenant-123" }])), 401),
            ("a foreign tenant", claims(json!("[tenant-456]")), 403),
            ("a part of the name", claims(json!("[tenant-12 tenant-1234]")), 403),
            ("as HTTP APIs write arrays", claims(json!("[tenant-456 tenant-123]")), 200),
            ("as JSON", claims(json!("[\"tenant-123\"]")), 200),
            ("as an array that stayed one", claims(json!(["tenant-456", "tenant-123"])), 200),
            ("a single one", claims(json!("tenant-123")), 200),
        ] {
            assert_eq!(list(claims, None).await, expected, "{why}");
        }
        stack.claim(None);
        let nobody = http::Request::get("/api/v1/workflows").body(axum::body::Body::empty()).unwrap();
        let (status, headers, _) = stack.site.call(nobody).await;
        assert_eq!(status.as_u16(), 401, "nobody is not told what else is missing");
        assert_eq!(headers["www-authenticate"], "Bearer");
        let mine = claims(json!("[tenant-123]"));
        assert_eq!(list(mine.clone(), Some("user-1")).await, 200, "as oneself");
        assert_eq!(list(mine.clone(), Some("user-2")).await, 403, "as somebody else");
        let admin = Some(json!({ "sub": "user-1", "tenants": "[tenant-123]", "roles": "[reader workflow-admin]" }));
        assert_eq!(list(admin, Some("user-2")).await, 200, "an administrator for somebody else");

        stack.claim(mine);
        let mut foreign = full_request();
        foreign["tenant_id"] = json!("tenant-456");
        let (status, problem) = stack.site.post(START, &foreign, &[]).await;
        assert_eq!((status.as_u16(), &problem["error"]["type"]), (403, &json!("Authorization")), "a foreign body");

        let switch = json!({
            "user_id": "user-123", "current_tenant_id": "tenant-123", "target_tenant_id": "tenant-456",
        });
        let token =
            |subject: &str, tenants: &str, roles: &str| json!({ "sub": subject, "tenants": tenants, "roles": roles });
        for (why, claims, expected) in [
            ("without the target", token("user-123", "[tenant-123]", "[]"), 403),
            ("without the current one", token("user-123", "[tenant-456]", "[]"), 403),
            ("of another user", token("user-1", "[tenant-123 tenant-456]", "[]"), 403),
            ("of an administrator", token("user-1", "[tenant-123 tenant-456]", "[workflow-admin]"), 202),
            ("of the user", token("user-123", "[tenant-123 tenant-456]", "[]"), 202),
        ] {
            stack.claim(Some(claims));
            let (status, body) = stack.site.post("/api/v1/workflows/tenant-switching", &switch, &[]).await;
            assert_eq!(status.as_u16(), expected, "a token {why}: {body}");
        }
        stack.claim(claims(json!("[tenant-123]")));
        let (status, started) = stack.site.post(START, &full_request(), &[("prefer", "wait=20")]).await;
        assert_eq!(status.as_u16(), 200, "{started}");
        let list = stack.site.get("/api/v1/workflows").await.1;
        assert_eq!(list["workflows"][0]["user_id"], "user-1", "the token's subject is who asked");
    });
}

#[test]
fn an_activity_event_of_unknown_shape_is_a_named_error() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options::default()).await;
        for payload in [json!(null), json!([]), json!({ "workflow": 1 }), json!("text")] {
            let error = stack.invoke("create-user-account", payload.clone()).await.unwrap_err();
            assert_eq!(error["errorType"], ErrorName::Internal.as_str(), "{payload}: {error}");
        }
        assert_eq!(stack.site.snapshot().await["auth"].to_string().matches("new@example.com").count(), 0);
    });
}

/// The engine's quota for questions is small: it is asked what an event leaves out, and nothing else.
#[test]
fn an_end_is_read_from_its_event_and_only_what_is_missing_is_asked() {
    aws::run(|aws| async move {
        let options = Options { status_events: StatusEvents::Lost, proxied: true, ..Options::default() };
        let stack = aws.stack(options).await;
        let id = stack.site.start(&full_request()).await;
        let arn = format!("{}:{id}", stack.machine_arn.replace(":stateMachine:", ":execution:"));
        let described = loop {
            let described = aws.sfn.describe_execution().execution_arn(&arn).send().await.unwrap();
            if described.status == ExecutionStatus::Succeeded {
                break described;
            }
            pause(Duration::from_millis(200)).await;
        };
        let whole = json!({
            "name": id, "status": "SUCCEEDED", "stopDate": described.stop_date.unwrap().to_millis().unwrap(),
            "input": described.input, "inputDetails": { "included": true },
            "output": described.output, "outputDetails": { "included": true }, "error": null, "cause": null,
        });
        let with = |changes: Value| {
            let mut detail = whole.clone();
            detail.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            detail
        };
        let excluded = json!({ "included": false });
        let sfn = &stack.proxies.as_ref().unwrap().sfn;
        sfn.take();
        for (what, detail, recorded, asked) in [
            ("somebody else's", with(json!({ "name": "other" })), false, 0),
            ("a whole one", whole.clone(), true, 0),
            ("the same again", whole.clone(), false, 0),
            ("without input", with(json!({ "input": null, "inputDetails": excluded })), false, 1),
            ("without output", with(json!({ "output": null, "outputDetails": excluded })), false, 1),
            ("without a date", with(json!({ "stopDate": null })), false, 1),
            ("without an error", with(json!({ "status": "FAILED", "cause": "{}" })), false, 1),
            ("without a cause", with(json!({ "status": "FAILED", "error": "Conflict" })), false, 1),
            ("a failure", with(json!({ "status": "FAILED", "error": "Conflict", "cause": "{}" })), false, 0),
            ("an abort", with(json!({ "status": "ABORTED", "output": null })), false, 0),
        ] {
            let answer = stack.invoke_plainly("project-execution-status", json!({ "detail": detail })).await.unwrap();
            assert_eq!(answer, json!({ "recorded": recorded }), "{what}");
            assert_eq!(sfn.take().len(), asked, "{what}");
        }
        let status = stack.site.until_ended(&id).await;
        assert_eq!(status.status, Status::Completed);
        assert_eq!(status.updated_at.as_millisecond(), whole["stopDate"].as_i64().unwrap(), "it ended when it ended");
    });
}

#[test]
fn a_function_without_its_configuration_names_all_of_it() {
    aws::run(|_| async move {
        let binary = lambda::built().await.join("start-user-onboarding");
        let output = Command::new(binary)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", "http://127.0.0.1:1")
            .env("WORKFLOW__AUTH__MODE", "off")
            .env("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "soon")
            .env("WORKFLOW__STORE__ARCHIVE_BUCKET", "bucket")
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        for name in [
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "WORKFLOW__STORE__TABLE",
            "WORKFLOW__ENGINE__KIND",
            "WORKFLOW__ENGINE__STATE_MACHINE_PREFIX",
            "WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT: expected whole seconds",
            "WORKFLOW__LIMITS__OPEN_EXECUTIONS_PER_TENANT: is missing",
            "WORKFLOW__STORE__ARCHIVE_BUCKET: there is no such setting",
            "WORKFLOW__AUTH__MODE: 'off' is for STAGE=local only",
        ] {
            assert!(said.contains(name), "{name} is missing in {said}");
        }
    });
}
