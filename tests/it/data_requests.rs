//! The requests of persons by the API: when they are due, what became of them, and who is told in time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use contracts::Status;
use downstream::{Downstream, Endpoints};
use futures::future::join_all;
use http::{Method, Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};

use crate::in_process::InProcess;
use crate::subjects::COMPLIANCE;
use crate::world::{Control, ControlAction, Script, TENANT, World, run};

const REQUESTS: &str = "/api/v1/compliance/requests";
const OTHER: &str = "tenant-456";
const OFFICER: &str = "officer@example.com";

async fn ask(world: &World, method: Method, path: &str, tenant: &str, body: &Value) -> (StatusCode, Value) {
    // Rows of one and the same moment have no order.
    clock::sleep(&*world.clock, Duration::from_millis(1)).await;
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("x-tenant-id", tenant).header("x-user-id", "user-1");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let (status, _, answer) = world.call(request.body(body).unwrap()).await;
    (status, answer)
}

async fn read(world: &World, id: &str) -> Value {
    let (status, answer) = ask(world, Method::GET, &format!("{REQUESTS}/{id}"), TENANT, &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn extend(world: &World, id: &str, reason: &str) -> (StatusCode, Value) {
    let path = format!("{REQUESTS}/{id}/extension");
    ask(world, Method::POST, &path, TENANT, &json!({ "reason": reason })).await
}

async fn names(world: &World, query: &str) -> String {
    let (status, answer) = ask(world, Method::GET, &format!("{REQUESTS}{query}"), TENANT, &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{query}: {answer}");
    let names = answer["requests"].as_array().unwrap().iter().map(|request| request["compliance_id"].as_str().unwrap());
    names.collect::<Vec<_>>().join(" ")
}

fn request(id: &str, received_at: Option<&str>) -> Value {
    json!({
        "compliance_id": id, "tenant_id": TENANT, "compliance_type": "GdprDataExport",
        "subject_user_id": "user-123", "received_at": received_at,
    })
}

/// Starts an export and pauses it, so that it stays open; the execution.
async fn open(world: &World, id: &str, received_at: &str) -> String {
    let pause = Control { during: "PlanExport".to_owned(), what: ControlAction::Pause, after_seconds: 0 };
    world.script.lock().unwrap().control.push(pause);
    let id = world.start_of(&COMPLIANCE, &request(id, Some(received_at))).await;
    clock::sleep(&*world.clock, Duration::from_secs(10)).await;
    assert_eq!(world.status(&id).await.status, Status::Paused);
    id
}

/// The world begins with the year 2026.
async fn until(world: &World, moment: &str) {
    let left = moment.parse::<contracts::Timestamp>().unwrap().duration_since(world.clock.now());
    clock::sleep(&*world.clock, left.unsigned_abs()).await;
}

/// Kind and request of the notices in the outbox, in the order of their being sent.
async fn notices(world: &World) -> Vec<String> {
    let snapshot = world.snapshot().await;
    let mut sent: Vec<(String, String)> = Vec::new();
    for row in snapshot["notifications"]["outbox"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(kind) = text(&row["notification_type"]).strip_prefix("data_request_") {
            assert_eq!(row["recipient"], OFFICER, "{row}");
            sent.push((text(&row["sent_at"]), format!("{kind} {}", text(&row["metadata"]["compliance_id"]))));
        }
    }
    sent.sort();
    sent.into_iter().map(|(_, told)| told).collect()
}

#[test]
fn a_request_is_remembered_until_it_is_answered() {
    run(async {
        let world = World::new().await;
        let workflow_id = open(&world, "c-1", "2025-12-31T12:00:00Z").await;
        let open = read(&world, "c-1").await;
        for (name, expected) in [
            ("compliance_type", json!("GdprDataExport")),
            ("workflow_id", json!(workflow_id)),
            ("subject_user_id", json!("user-123")),
            ("state", json!("open")),
            ("received_at", json!("2025-12-31T12:00:00Z")),
            ("due_at", json!("2026-01-31T12:00:00Z")),
            ("extended_until", Value::Null),
            ("completed_at", Value::Null),
            ("days_left", json!(30)),
        ] {
            assert_eq!(open[name], expected, "{name}");
        }
        let resume = format!("/api/v1/workflows/{workflow_id}/resume");
        assert_eq!(world.post(&resume, &Value::Null, &[]).await.0, StatusCode::OK);
        world.until_ended(&workflow_id).await;
        let completed = read(&world, "c-1").await;
        assert_eq!((&completed["state"], &completed["days_left"]), (&json!("completed"), &Value::Null));
        let completed_at: contracts::Timestamp = completed["completed_at"].as_str().unwrap().parse().unwrap();
        assert!(completed_at > "2026-01-01T00:00:10Z".parse().unwrap(), "{completed}");
        let log = world.get("/api/v1/audit").await.1;
        assert!(!log.to_string().contains("user-123"), "no person is in the log");

        for (method, body) in [(Method::GET, Value::Null), (Method::POST, json!({ "reason": "r" }))] {
            let end = if method == Method::POST { "/extension" } else { "" };
            let mut answers = Vec::new();
            for id in ["c-1", "c-2", "a%20b"] {
                let path = format!("{REQUESTS}/{id}{end}");
                let (status, mut problem) = ask(&world, method.clone(), &path, OTHER, &body).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {problem}");
                (problem["request_id"], problem["instance"]) = (Value::Null, Value::Null);
                answers.push(problem);
            }
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        }
        let (_, list) = ask(&world, Method::GET, REQUESTS, OTHER, &Value::Null).await;
        assert_eq!(list["requests"], json!([]));
    });
}

#[test]
fn what_is_due_first_comes_first() {
    run(async {
        let world = World::new().await;
        let refused = Fault::Status { status: 400, retry_after_seconds: None };
        let rule = FaultRule { times: Some(1), ..FaultRule::on("GET", "/api/v1/data/{type}", refused) };
        world.services.set_faults(ServiceKind::Auth, vec![rule]);
        let failed = world.start_of(&COMPLIANCE, &request("failed", Some("2025-12-20T00:00:00Z"))).await;
        assert_eq!(world.until_ended(&failed).await.status, Status::Failed);
        let done = world.start_of(&COMPLIANCE, &request("done", None)).await;
        assert_eq!(world.until_ended(&done).await.status, Status::Completed);
        let cancelled = open(&world, "cancelled", "2025-12-25T00:00:00Z").await;
        assert!(world.cancel(&cancelled).await.is_ok());
        assert_eq!(world.until_ended(&cancelled).await.status, Status::Cancelled);
        open(&world, "open", "2025-12-15T00:00:00Z").await;
        open(&world, "overdue", "2025-11-15T00:00:00Z").await;
        for (query, expected) in [
            ("", "overdue open failed cancelled done"),
            ("?state=open", "open"),
            ("?state=overdue", "overdue"),
            ("?state=failed", "failed"),
            ("?state=cancelled", "cancelled"),
            ("?state=completed", "done"),
            ("?due_before=2026-01-20T00:00:00Z", "overdue open"),
            ("?due_before=2026-01-20T00:00:00Z&state=open", "open"),
            ("?due_before=2025-12-01T00:00:00Z", ""),
        ] {
            assert_eq!(names(&world, query).await, expected, "{query}");
        }
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("{REQUESTS}?page_size=2{token}");
            let (_, page) = ask(&world, Method::GET, &path, TENANT, &Value::Null).await;
            found.extend(page["requests"].as_array().unwrap().iter().map(|request| request["compliance_id"].clone()));
            let Some(next) = page["next_page_token"].as_str() else { break };
            token = format!("&page_token={next}");
        }
        assert_eq!(found, ["overdue", "open", "failed", "cancelled", "done"]);

        // A retry answers the same request.
        let (_, retried) = world.post(&format!("/api/v1/workflows/{failed}/retry"), &Value::Null, &[]).await;
        let retry = retried["new_workflow_id"].as_str().unwrap_or_else(|| panic!("{retried}"));
        assert_eq!(world.until_ended(retry).await.status, Status::Completed);
        let answered = read(&world, "failed").await;
        assert_eq!((&answered["state"], &answered["workflow_id"]), (&json!("completed"), &json!(retry)));
        assert_eq!(answered["received_at"], "2025-12-20T00:00:00Z");
        assert_eq!(names(&world, "?state=failed").await, "");
    });
}

#[test]
fn a_request_is_extended_once_and_in_time() {
    run(async {
        let world = World::new().await;
        for (id, received_at) in [("c-1", "2025-12-31T00:00:00Z"), ("late", "2025-11-15T00:00:00Z")] {
            open(&world, id, received_at).await;
        }
        let extended = join_all((0..20).map(|_| extend(&world, "c-1", "much data"))).await;
        for (status, answer) in &extended {
            assert_eq!(*status, StatusCode::OK, "{answer}");
            assert_eq!(answer["extended_until"], "2026-03-31T00:00:00Z");
            assert_eq!((&answer["extension_reason"], &answer["days_left"]), (&json!("much data"), &json!(88)));
            assert_eq!(answer["due_at"], "2026-01-31T00:00:00Z", "what it was before");
        }
        let done = world.start_of(&COMPLIANCE, &request("done", None)).await;
        world.until_ended(&done).await;
        for (id, detail) in [("c-1", "was extended before"), ("late", "was due at"), ("done", "is completed")] {
            let (status, problem) = extend(&world, id, "another").await;
            assert_eq!(status, StatusCode::CONFLICT, "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        }
        let (_, log) = world.get("/api/v1/audit?action=extend_request&outcome=accepted").await;
        let rows = log["entries"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{log}");
        assert_eq!((&rows[0]["details"]["compliance_id"], &rows[0]["reason"]), (&json!("c-1"), &json!("much data")));
        assert_eq!(names(&world, "").await, "late done c-1", "what has more time is behind what has less");
    });
}

#[test]
fn notices_are_given_once_each() {
    run(async {
        let world = World::with(Script::default(), &[("COMPLIANCE__NOTIFY", OFFICER.to_owned())]).await;
        // One that is not over in time, one that is, one that gets more time.
        open(&world, "slow", "2025-12-05T00:00:00Z").await;
        let fast = open(&world, "fast", "2025-12-10T00:00:00Z").await;
        open(&world, "extended", "2025-12-05T00:00:00Z").await;
        assert_eq!(extend(&world, "extended", "much data").await.0, StatusCode::OK);
        // The first try gets no answer.
        let refused = Fault::Status { status: 503, retry_after_seconds: None };
        let rule = FaultRule { times: Some(1), ..FaultRule::on("POST", "/api/v1/notifications", refused) };
        world.services.set_faults(ServiceKind::Notifications, vec![rule]);
        until(&world, "2026-01-01T00:15:00Z").await;
        assert_eq!(notices(&world).await, [""; 0]);
        until(&world, "2026-01-01T01:00:00Z").await;
        assert_eq!(notices(&world).await, ["due_soon slow"]);
        until(&world, "2026-01-02T05:55:00Z").await;
        assert_eq!(notices(&world).await, ["due_soon slow"]);
        until(&world, "2026-01-02T06:15:00Z").await;
        assert_eq!(notices(&world).await, ["due_soon slow", "due_soon fast"]);
        assert_eq!(world.post(&format!("/api/v1/workflows/{fast}/resume"), &Value::Null, &[]).await.0, StatusCode::OK);
        world.until_ended(&fast).await;
        until(&world, "2026-01-04T23:55:00Z").await;
        assert_eq!(notices(&world).await.len(), 2);
        until(&world, "2026-01-05T00:15:00Z").await;
        let all = ["due_soon slow", "due_soon fast", "overdue slow"];
        assert_eq!(notices(&world).await, all);
        until(&world, "2026-01-07T00:00:00Z").await;
        assert_eq!(notices(&world).await, all, "each once, and none of what is answered or has more time");
    });
}

/// Who asked still waits for what failed and for the rest of what was done in part.
#[test]
fn of_what_failed_or_is_done_in_part_notices_are_given_too() {
    run(async {
        let world = World::with(Script::default(), &[("COMPLIANCE__NOTIFY", OFFICER.to_owned())]).await;
        let unavailable = Fault::Status { status: 500, retry_after_seconds: None };
        let rule = FaultRule::on("GET", "/api/v1/data/{type}", unavailable);
        for (id, allow_partial, status, state) in
            [("failed", false, Status::Failed, "failed"), ("part", true, Status::Completed, "partially_completed")]
        {
            world.services.set_faults(ServiceKind::User, vec![rule.clone()]);
            let mut asked = request(id, Some("2025-12-05T00:00:00Z"));
            asked["allow_partial"] = json!(allow_partial);
            let workflow_id = world.start_of(&COMPLIANCE, &asked).await;
            assert_eq!(world.until_ended(&workflow_id).await.status, status);
            let ended = read(&world, id).await;
            assert_eq!((&ended["state"], &ended["days_left"]), (&json!(state), &json!(3)), "{ended}");
            assert_eq!(names(&world, &format!("?state={state}")).await, id);
        }
        world.services.set_faults(ServiceKind::User, Vec::new());
        let cancelled = open(&world, "cancelled", "2025-12-05T00:00:00Z").await;
        assert!(world.cancel(&cancelled).await.is_ok());
        until(&world, "2026-01-06T00:00:00Z").await;
        let mut given = notices(&world).await;
        given.sort();
        assert_eq!(given, ["due_soon failed", "due_soon part", "overdue failed", "overdue part"]);
    });
}

#[test]
fn of_several_servers_one_gives_a_notice() {
    run(async {
        let world = World::new().await;
        for number in 0..5 {
            open(&world, &format!("c-{number}"), "2025-12-05T00:00:00Z").await;
        }
        let port = ServiceKind::Notifications.default_port();
        let transport =
            InProcess::default().with(&format!("127.0.0.1:{port}"), world.services.router(ServiceKind::Notifications));
        let url = format!("http://127.0.0.1:{port}");
        let endpoints = Endpoints::new([&url; 5].map(String::as_str)).unwrap();
        let timeout = Duration::from_secs(10);
        let downstream = Downstream::new(Arc::new(transport), endpoints, Arc::clone(&world.clock), timeout);
        let notify = || api::notify_due_requests(&world.app.store, &downstream, Some(OFFICER), &*world.clock);
        let notified = join_all((0..10).map(|_| notify())).await;
        let sent: usize = notified.into_iter().map(|notified| notified.unwrap().sent).sum();
        assert_eq!((sent, notices(&world).await.len()), (5, 5));
    });
}
