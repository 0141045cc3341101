//! Requests as existing clients send them, and the fields that they read from the answers: each by its name and type.

use std::time::Duration;

use axum::body::Body;
use contracts::{Status, Timestamp};
use http::{Method, Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};

use crate::subjects::{self, USER_ONBOARDING};
use crate::world::{TENANT, World, run};

/// The JSON type of a field. A field that may be null is there in any case.
#[derive(Debug, Clone, Copy)]
enum Type {
    Text,
    /// RFC 3339 in UTC, with `Z`.
    Moment,
    Flag,
    /// A whole number that is not negative.
    Count,
    Number,
    List,
    /// An object of true and false.
    Flags,
    Any,
}

use Type::{Any, Count, Flag, Flags, List, Moment, Number, Text};

impl Type {
    fn fits(self, value: &Value) -> bool {
        match self {
            Text => value.is_string(),
            Moment => value.as_str().is_some_and(|text| text.ends_with('Z') && text.parse::<Timestamp>().is_ok()),
            Flag => value.is_boolean(),
            Count => value.is_u64(),
            Number => value.is_number(),
            List => value.is_array(),
            Flags => value.as_object().is_some_and(|flags| flags.values().all(Value::is_boolean)),
            Any => true,
        }
    }
}

/// Fields by their pointers; with a `?` they may be null.
type Fields = &'static [(&'static str, Type)];

const STARTED: Fields = &[
    ("/workflow_id", Text),
    ("/operation_id", Text),
    ("/status", Text),
    ("/result?", Any),
    ("/error?", Text),
    ("/started_at", Moment),
    ("/status_url", Text),
    ("/stream_url", Text),
    ("/estimated_duration_seconds?", Count),
];

const STATUS: Fields = &[
    ("/workflow_id", Text),
    ("/status", Text),
    ("/progress/current_step", Text),
    ("/progress/total_steps", Count),
    ("/progress/completed_steps", Count),
    ("/progress/percentage", Number),
    ("/progress/estimated_completion?", Moment),
    ("/progress/last_updated", Moment),
    ("/progress/status_message?", Text),
    ("/result?", Any),
    ("/error?", Text),
    ("/started_at", Moment),
    ("/updated_at", Moment),
];

const CANCELLED: Fields =
    &[("/workflow_id", Text), ("/cancelled", Flag), ("/cancelled_at", Moment), ("/message", Text)];

const LIST: Fields = &[
    ("/workflows", List),
    ("/workflows/0/workflow_id", Text),
    ("/workflows/0/workflow_type", Text),
    ("/workflows/0/status", Text),
    ("/workflows/0/started_at", Moment),
    ("/workflows/0/updated_at", Moment),
    ("/workflows/0/tenant_id", Text),
    ("/workflows/0/user_id?", Text),
    ("/total_count", Count),
    ("/page", Count),
    ("/page_size", Count),
    ("/has_more", Flag),
];

const HISTORY: Fields = &[
    ("/workflow_id", Text),
    ("/events", List),
    ("/events/0/event_id", Count),
    ("/events/0/event_type", Text),
    ("/events/0/timestamp", Moment),
    ("/events/0/details", Any),
    ("/total_events", Count),
    ("/next_page_token?", Text),
];

const PROBLEM: Fields = &[
    ("/error/message", Text),
    ("/error/type", Text),
    ("/message", Text),
    ("/type", Text),
    ("/title", Text),
    ("/status", Count),
    ("/detail", Text),
    ("/instance", Text),
    ("/code", Text),
    ("/retryable", Flag),
    ("/request_id", Text),
];

const HEALTH: Fields = &[("/status", Text), ("/service", Text), ("/timestamp", Moment), ("/version", Text)];

const READY: Fields = &[
    ("/status", Text),
    ("/service", Text),
    ("/timestamp", Moment),
    ("/checks", Flags),
    ("/checks/engine", Flag),
    ("/checks/store", Flag),
    ("/checks/services", Flag),
];

const HEALTH_CHECK: Fields = &[
    ("/overall_healthy", Flag),
    ("/service_results", Flags),
    ("/checked_at", Moment),
    ("/details", List),
    ("/details/0/service", Text),
    ("/details/0/healthy", Flag),
    ("/details/0/latency_ms", Count),
    ("/details/0/reason?", Text),
    ("/details/0/depends_on", List),
    ("/details/0/affected_by", List),
];

#[track_caller]
fn has(answer: &Value, fields: Fields) {
    for (pointer, expected) in fields {
        let (pointer, may_be_null) = pointer.strip_suffix('?').map_or((*pointer, false), |pointer| (pointer, true));
        let value = answer.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing in {answer}"));
        let fits = if value.is_null() { may_be_null } else { expected.fits(value) };
        assert!(fits, "{pointer} must be a {expected:?} in {answer}");
    }
}

/// A request with these headers and this body, as it is.
async fn send(
    world: &World,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path).header("x-tenant-id", TENANT);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (status, _, answer) = world.call(request.body(body.into()).unwrap()).await;
    (status, answer)
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Adds `synchronous` to a request.
fn answered(request: &Value, synchronous: Value) -> Value {
    let mut request = request.clone();
    request["synchronous"] = synchronous;
    request
}

/// Holds the profile for this long, so that requests come in between.
fn slow_profile(world: &World, delay_ms: u64) {
    let rule = FaultRule { times: Some(1), ..FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms }) };
    world.services.set_faults(ServiceKind::User, vec![rule]);
}

#[test]
fn a_synchronous_start_is_answered_with_the_result() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            let (status, started) = world.post(subject.path, &answered(&request, json!(true)), &[]).await;
            assert_eq!((status, started["status"].as_str()), (StatusCode::OK, Some("completed")), "{started}");
            has(&started, STARTED);
            assert!(started["result"].is_object() && started["error"].is_null(), "{started}");
            let history = world.history(started["workflow_id"].as_str().unwrap()).await;
            assert_eq!(history.events[0].event.details["input"].get("synchronous"), None, "it is not kept");
        });
    }
}

#[test]
fn a_synchronous_start_waits_as_long_as_a_gateway_does() {
    run(async {
        let world = World::new().await;
        // Each of its attempts hangs until it is given up.
        let hanging = FaultRule::on("POST", "/api/v1/profiles", Fault::DelayBeforeEffect { delay_ms: 3_600_000 });
        world.services.set_faults(ServiceKind::User, vec![hanging]);
        let before = world.clock.now();
        let request = answered(&(USER_ONBOARDING.request)(0), json!(true));
        let (status, started) = world.post(USER_ONBOARDING.path, &request, &[]).await;
        assert_eq!((status, started["status"].as_str()), (StatusCode::ACCEPTED, Some("running")), "{started}");
        assert_eq!(world.clock.now().duration_since(before).as_secs(), 25);
    });
}

#[test]
fn how_to_answer_is_no_part_of_what_is_asked_for() {
    run(async {
        let world = World::new().await;
        let request = (USER_ONBOARDING.request)(0);
        let key = [("idempotency-key", "key-1")];
        let (status, first) = world.post(USER_ONBOARDING.path, &answered(&request, json!(false)), &key).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{first}");
        for repeated in [request.clone(), answered(&request, json!(true)), answered(&request, json!(false))] {
            let (_, answer) = world.post(USER_ONBOARDING.path, &repeated, &key).await;
            assert_eq!(answer["workflow_id"], first["workflow_id"], "{answer}");
        }
        // A header says it more exactly.
        slow_profile(&world, 8_000);
        let before = world.clock.now();
        let other = answered(&(USER_ONBOARDING.request)(1), json!(true));
        let (status, answer) = world.post(USER_ONBOARDING.path, &other, &[("prefer", "wait=2")]).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        assert_eq!(world.clock.now().duration_since(before).as_secs(), 2);
    });
}

#[test]
fn a_start_is_told_how_long_it_will_take() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let mut answers = Vec::new();
            for number in 0..3 {
                let request = world.prepare(subject, number).await;
                let (status, started) = world.post(subject.path, &request, &[]).await;
                assert_eq!((status, started["status"].as_str()), (StatusCode::ACCEPTED, Some("running")), "{started}");
                has(&started, STARTED);
                let id = started["workflow_id"].as_str().unwrap();
                assert_eq!(started["operation_id"], id);
                assert_eq!(started["status_url"], format!("/api/v1/workflows/{id}/status"));
                assert_eq!(started["stream_url"], format!("/api/v1/workflows/{id}/stream"));
                world.until_ended(id).await;
                answers.push(started["estimated_duration_seconds"].clone());
            }
            assert_eq!(answers[0], Value::Null, "before there are any");
            assert!(answers[1].as_u64().is_some_and(|seconds| seconds <= 2) && answers[2].is_u64(), "{answers:?}");
        });
    }
}

#[test]
fn an_execution_is_polled_and_cancelled() {
    const TEXT: (&str, &str) = ("content-type", "text/plain");
    let cancels: [(&[(&str, &str)], &str); 6] = [
        (&[JSON], r#"{"reason":"a mistake"}"#),
        (&[JSON], "{}"),
        (&[JSON], ""),
        (&[JSON], "null"),
        (&[TEXT], ""),
        (&[], ""),
    ];
    run(async {
        let world = World::new().await;
        for (number, (headers, body)) in cancels.into_iter().enumerate() {
            slow_profile(&world, 5_000);
            let id = world.start(&(USER_ONBOARDING.request)(number)).await;
            clock::sleep(&*world.clock, Duration::from_secs(1)).await;
            let (status, polled) = world.get(&format!("/api/v1/workflows/{id}/status")).await;
            assert_eq!((status, polled["status"].as_str()), (StatusCode::OK, Some("Running")), "{polled}");
            has(&polled, STATUS);
            let path = format!("/api/v1/workflows/{id}/cancel");
            let (status, cancelled) = send(&world, Method::POST, &path, headers, body).await;
            assert_eq!((status, &cancelled["cancelled"]), (StatusCode::OK, &json!(true)), "{headers:?} {body}");
            has(&cancelled, CANCELLED);
            assert_eq!(world.until_ended(&id).await.status, Status::Cancelled);
            let (_, polled) = world.get(&format!("/api/v1/workflows/{id}/status")).await;
            has(&polled, STATUS);
        }
    });
}

#[test]
fn answers_have_the_fields_that_clients_read() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            let id = world.start_of(subject, &request).await;
            world.until_ended(&id).await;
            let status = format!("/api/v1/workflows/{id}/status");
            let (of_one, history) =
                (format!("/api/v1/workflows/history?workflow_id={id}"), "/api/v1/workflows/history");
            for (path, fields) in [
                (status.as_str(), STATUS),
                ("/api/v1/workflows?page=1&page_size=50", LIST),
                (&of_one, HISTORY),
                (history, HISTORY),
                ("/health", HEALTH),
                ("/ready", READY),
            ] {
                let (status, answer) = world.get(path).await;
                assert_eq!(status, StatusCode::OK, "{answer}");
                has(&answer, fields);
            }
            let services = json!({ "services": ["auth_service", "file_service"] });
            let (status, answer) = world.post("/api/v1/coordination/health-check", &services, &[]).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            has(&answer, HEALTH_CHECK);
        });
    }
}

#[test]
fn errors_have_the_fields_that_clients_read() {
    run(async {
        let world = World::new().await;
        let id = world.start(&(USER_ONBOARDING.request)(0)).await;
        world.until_ended(&id).await;
        let cancel = format!("/api/v1/workflows/{id}/cancel");
        let wrong_tenant = [JSON, ("x-tenant-id", "tenant-456")];
        for (method, path, headers, body, status, error_type) in [
            (Method::POST, USER_ONBOARDING.path, &[JSON][..], "{}", 422, "Validation"),
            (Method::POST, USER_ONBOARDING.path, &[JSON], "{", 400, "Validation"),
            (Method::POST, USER_ONBOARDING.path, &wrong_tenant, "{}", 400, "TenantContext"),
            (Method::GET, "/api/v1/workflows/nowhere/status", &[], "", 404, "NotFound"),
            (Method::POST, &cancel, &[JSON], "", 409, "Conflict"),
            (Method::POST, "/api/v1/coordination/health-check", &[JSON], r#"{"services":[]}"#, 422, "Validation"),
        ] {
            let (answered, problem) = send(&world, method, path, headers, body).await;
            has(&problem, PROBLEM);
            assert_eq!((answered.as_u16(), problem["error"]["type"].as_str()), (status, Some(error_type)), "{problem}");
            assert_eq!(problem["message"], problem["detail"]);
            assert_eq!(problem["error"]["message"], problem["detail"]);
        }
    });
}
