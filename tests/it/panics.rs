//! A panic is an answer like others, and what comes after it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use clock::SystemClock;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::world::run;

#[test]
fn an_endpoint_that_panics_answers_a_problem_and_goes_on() {
    run(async {
        let first = Arc::new(AtomicBool::new(true));
        let handle = move || {
            let panics = first.swap(false, Ordering::Relaxed);
            async move { if panics { panic!("canary-of-the-panic") } else { "works" } }
        };
        let routes = Router::new().route("/here", get(handle));
        let routes = api::complete(routes, Arc::new(SystemClock), Duration::from_secs(5));
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
