//! Commands that wait: `start --wait` and `history --follow`, while the server goes away and comes back.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::Ended;
use super::scripted::{Scripted, Seen, ok, refused, stream};

const STATUS: &str = "GET /api/v1/workflows/w/status";

fn status(status: &str) -> Value {
    json!({
        "workflow_id": "w", "workflow_type": "user_onboarding", "status": status, "started_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:06Z", "result": (status == "Completed").then_some(json!({ "n": 1 })),
        "error": (status == "Failed").then_some("it failed"), "new_field": 7,
        "progress": {
            "total_steps": 7, "completed_steps": 3, "percentage": 42.9, "estimated_completion": null,
            "status_message": null,
        },
    })
}

/// A server that takes every start, and whose polls are answered so, one after the other.
async fn polled(polls: impl Fn(usize) -> Response + Send + Sync + 'static) -> Scripted {
    Scripted::new(move |request: &Seen| match request.line.strip_prefix(STATUS) {
        Some(query) => polls(request.repetition + usize::from(!query.is_empty())),
        None => ok(json!({ "workflow_id": "w", "status": "running" })),
    })
    .await
}

#[tokio::test]
async fn a_wait_survives_polls_that_fail_and_says_so_once() {
    let server = polled(|poll| match poll {
        0 | 3 => ok(status("Running")),
        1 | 2 => refused(503, "not now"),
        _ => ok(status("Completed")),
    })
    .await;
    let ended = server.run(&["start", "user_onboarding", "--input", "{}", "--wait"]).await;
    assert_eq!(ended.stdout, "w\nCompleted\n{\n  \"n\": 1\n}\n");
    assert_eq!(ended.stderr, "503 Service Unavailable: not now; trying again until there is an answer\n");
    assert_eq!(ended.code, 0);
    assert_eq!(server.lines()[0], "POST /api/v1/workflows/user-onboarding");
}

#[tokio::test]
async fn the_end_is_the_exit_code_and_programs_get_it_whole() {
    for (end, code) in [("Completed", 0), ("Failed", 3), ("Cancelled", 3), ("TimedOut", 3), ("Terminated", 3)] {
        let server = polled(move |_| ok(status(end))).await;
        let arguments = ["start", "user-onboarding", "--input", "{}", "--wait", "--output", "json"];
        let ended = server.run(&arguments).await;
        ended.assert(code, "", "started w");
        assert_eq!((&ended.json()["status"], &ended.json()["new_field"]), (&json!(end), &json!(7)));
    }
    let server = polled(|_| refused(404, "There is no such workflow.")).await;
    server.run(&["start", "x", "--input", "{}", "--wait"]).await.assert(4, "w\n", "404 Not Found");
}

#[tokio::test]
async fn a_long_poll_says_what_is_known_already() {
    let server = Scripted::new(|request| {
        let is_first = request.line == STATUS;
        let known = request.headers.get("if-none-match").map(|tag| tag.to_str().unwrap().to_owned());
        match (request.line.starts_with(STATUS), is_first, known.as_deref()) {
            (false, _, _) => ok(json!({ "workflow_id": "w" })),
            (true, true, None) => ([("etag", "W/\"1\"")], Json(status("Running"))).into_response(),
            (true, false, Some("W/\"1\"")) if request.repetition == 0 => StatusCode::NOT_MODIFIED.into_response(),
            (true, false, Some("W/\"1\"")) => ok(status("Completed")),
            asked => panic!("{asked:?}"),
        }
    })
    .await;
    server.run(&["start", "x", "--input", "{}", "--wait"]).await.assert(0, "Completed", "");
    assert_eq!(server.lines()[1..], [STATUS, &format!("{STATUS}?wait=20s"), &format!("{STATUS}?wait=20s")]);
}

/// A history that grows by one event with each look at the status, and ends so.
async fn growing(
    events: usize,
    end: &'static str,
    streams: impl Fn(usize) -> Response + Send + Sync + 'static,
) -> Scripted {
    let looks = AtomicUsize::new(0);
    Scripted::new(move |request| {
        if request.line.starts_with(STATUS) {
            let look = looks.fetch_add(1, SeqCst) + 1;
            let status = status(if look >= events { end } else { "Running" });
            return ([("etag", format!("W/\"{look}\""))], Json(status)).into_response();
        }
        if request.line.ends_with("/stream") {
            return streams(request.repetition);
        }
        // Two events a page.
        let begin = if request.line.contains("page_token") { 2 } else { 0 };
        let known = looks.load(SeqCst).min(events);
        let event = |number: usize| {
            let kind = if number + 1 == events { format!("WorkflowExecution{end}") } else { "Other".to_owned() };
            json!({ "event_id": number + 1, "event_type": kind, "timestamp": "2026-01-02T03:04:05Z", "details": {} })
        };
        let last = if begin == 0 { known.min(2) } else { known };
        let next = (last < known).then_some("two");
        let page: Vec<Value> = (begin.min(last)..last).map(event).collect();
        ok(json!({ "workflow_id": "w", "events": page, "total_events": known, "next_page_token": next }))
    })
    .await
}

async fn follow(server: &Scripted) -> Ended {
    server.run(&["history", "w", "--follow", "-o", "json"]).await
}

fn ids(ended: &Ended) -> Vec<u64> {
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event_id"].as_u64().unwrap();
    ended.stdout.lines().map(id).collect()
}

#[tokio::test]
async fn a_stream_that_breaks_off_loses_and_doubles_no_event() {
    let server = growing(5, "Completed", |repetition| match repetition {
        1 => refused(503, "not now"),
        _ => stream(": hello\n\nevent: history\ndata: {}\n\n"),
    })
    .await;
    let ended = follow(&server).await;
    ended.assert(0, "", "");
    assert_eq!(ids(&ended), [1, 2, 3, 4, 5]);
    let opened: Vec<_> = server.seen().into_iter().filter(|seen| seen.line.ends_with("/stream")).collect();
    assert!(opened.len() >= 2, "{:?}", server.lines());
    // It goes on behind what was read.
    let positions: Vec<&str> = opened.iter().map(|seen| seen.headers["last-event-id"].to_str().unwrap()).collect();
    assert!(positions[0] == "1" && positions.is_sorted(), "{positions:?}");
}

#[tokio::test]
async fn a_server_without_a_stream_is_asked_to_wait_for_something_new() {
    for status in [404, 501] {
        let server = growing(3, "Failed", move |_| refused(status, "No stream here.")).await;
        let ended = follow(&server).await;
        ended.assert(3, "WorkflowExecutionFailed", "");
        assert_eq!(ids(&ended), [1, 2, 3]);
        let streams = server.lines().iter().filter(|line| line.ends_with("/stream")).count();
        assert_eq!(streams, 1, "it is asked for once");
        let polls: Vec<_> =
            server.seen().into_iter().filter(|seen| seen.line == format!("{STATUS}?wait=20s")).collect();
        let tags: Vec<_> = polls.iter().map(|poll| poll.headers["if-none-match"].to_str().unwrap()).collect();
        assert_eq!(tags, ["W/\"1\"", "W/\"2\""]);
    }
}

#[tokio::test]
async fn only_the_types_asked_for_are_asked_for() {
    let server = growing(1, "Completed", |_| refused(404, "")).await;
    let arguments = ["history", "w", "--event-type", "ActivityTaskFailed,Other", "--event-type", "More"];
    server.run(&arguments).await.assert(0, "#  TIME", "");
    let expected =
        "GET /api/v1/workflows/history?workflow_id=w&page_size=200&event_type=ActivityTaskFailed%2COther%2CMore";
    assert_eq!(server.lines(), [expected]);
}
