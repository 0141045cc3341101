//! A panic is an answer like others, and what comes after it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use clock::{Clock as _, SystemClock};
use contracts::{EngineKind, WorkflowKind};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use store::Executions as _;
use tower::ServiceExt as _;

use crate::aws::{self, Options};
use crate::lambda;
use crate::world::{TENANT, new_execution, run};

#[test]
fn an_endpoint_that_panics_answers_a_problem_and_goes_on() {
    run(async {
        let first = Arc::new(AtomicBool::new(true));
        let handle = move || {
            let panics = first.swap(false, Ordering::Relaxed);
            async move { if panics { panic!("canary-of-the-panic") } else { "works" } }
        };
        let routes = Router::new().route("/here", get(handle));
        let routes = api::complete(routes, Arc::new(SystemClock), Duration::from_secs(5), None);
        let call = async || {
            let request = Request::get("/here").header("x-request-id", "request-1").body(Body::empty()).unwrap();
            let (parts, body) = routes.clone().oneshot(request).await.unwrap().into_parts();
            (parts, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
        };
        let (parts, body) = call().await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((parts.status, &problem["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &"Internal".into()));
        assert_eq!(parts.headers["content-type"], "application/problem+json");
        assert_eq!((&problem["request_id"], &problem["retryable"]), (&"request-1".into(), &false.into()));
        assert!(!body.contains("canary"), "what it said is for the log: {body}");
        let (parts, body) = call().await;
        assert_eq!((parts.status, body.as_str()), (StatusCode::OK, "works"));
    });
}

#[test]
fn a_function_that_panics_answers_and_its_process_goes_on() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options::default()).await;
        let request = lambda::event(&Method::GET, "/here", "", &HeaderMap::new(), &[], None);
        let first = stack.invoke_plainly("panicking-endpoint", request.clone()).await.unwrap();
        let problem: Value = serde_json::from_str(first["body"].as_str().unwrap()).unwrap();
        assert_eq!((&first["statusCode"], &problem["code"]), (&500.into(), &"Internal".into()), "{first}");
        assert!(!first.to_string().contains("canary"), "what it said is for the log: {first}");
        // A new process would panic again.
        let second = stack.invoke_again("panicking-endpoint", request).await.unwrap();
        assert_eq!((&second["statusCode"], &second["body"]), (&200.into(), &"works".into()), "{second}");

        let now = SystemClock.now();
        let id = WorkflowKind::UserOnboarding.new_execution_id(now);
        stack.store.create(new_execution(&id, EngineKind::StepFunctions, now)).await.unwrap();
        let call = json!({
            "workflow": {"id": id, "type": "user_onboarding", "tenant_id": TENANT, "user_id": null, "started_at": now},
            "step": {"name": "CreateUserAccount", "kind": "forward"}, "when": true, "input": {},
        });
        let failed = stack.invoke_plainly("panicking-activity", call.clone()).await.unwrap_err();
        assert_eq!(failed["errorType"], "Internal", "{failed}");
        assert!(!failed.to_string().contains("canary"), "what it said is for the log: {failed}");
        let second = stack.invoke_again("panicking-activity", call).await.unwrap();
        assert_eq!(second["works"], true, "{second}");

        let failed = stack.invoke_plainly("panicking-event", json!({})).await.unwrap_err();
        assert_eq!(failed, json!({ "errorType": "Internal", "errorMessage": "the function panicked" }));
        let second = stack.invoke_again("panicking-event", json!({})).await.unwrap();
        assert_eq!(second["works"], true, "{second}");
    });
}
