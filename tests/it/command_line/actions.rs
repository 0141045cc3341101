//! Cancel, pause, resume, terminate and retry: what they ask the API for, and what they make of its answers.

use axum::response::Response;
use serde_json::{Value, json};

use super::scripted::{Scripted, Seen, ok, refused};

const ACTIONS: &str = "POST /api/v1/workflows/actions";

/// Does what it is asked for, but to workflows whose ids say otherwise.
fn obedient(request: &Seen) -> Response {
    if request.line == ACTIONS {
        let ids = request.body["ids"].as_array().cloned().unwrap_or_default();
        let results = ids.iter().map(|id| {
            let outcome = match id.as_str().unwrap() {
                id if id.starts_with("ended") => "refused",
                id if id.starts_with("broken") => "failed",
                _ => "done",
            };
            json!({ "workflow_id": id, "outcome": outcome, "detail": "as said" })
        });
        return ok(json!({ "action": "x", "dry_run": false, "results": results.collect::<Vec<_>>() }));
    }
    match request.line.as_str() {
        "POST /api/v1/workflows/ended/cancel" => refused(409, "It has ended: Failed."),
        line => ok(json!({
            "workflow_id": "a", "message": format!("did {line}"), "new_workflow_id": line.ends_with("retry").then_some("b"),
            "may_still_stand": line.ends_with("terminate").then_some(["CreateUserAccount"]),
        })),
    }
}

#[tokio::test]
async fn one_workflow_is_a_matter_of_its_own_endpoint() {
    let server = Scripted::new(obedient).await;
    for (arguments, path, body) in [
        (&["cancel", "a"][..], "cancel", Value::Null),
        (&["cancel", "a", "--reason", "why"], "cancel", json!({ "reason": "why" })),
        (&["pause", "a", "--reason", "why"], "pause", json!({ "reason": "why" })),
        (&["resume", "a"], "resume", Value::Null),
        (&["terminate", "a", "--yes", "--reason", "why"], "terminate", json!({ "reason": "why" })),
        (&["retry", "a"], "retry", Value::Null),
        (&["retry", "a", "--undo"], "retry", json!({ "undo": true })),
        (&["retry", "a", "--only", "failed"], "retry", json!({ "only": "failed" })),
    ] {
        let ended = server.run(arguments).await;
        ended.assert(0, &format!("a: did POST /api/v1/workflows/a/{path}"), "");
        let seen = server.seen().pop().unwrap();
        assert_eq!((seen.line, seen.body), (format!("POST /api/v1/workflows/a/{path}"), body));
        assert_eq!(seen.headers["x-tenant-id"], "t");
        assert!(seen.headers.contains_key("idempotency-key"));
        match path {
            "retry" => assert!(ended.stdout.starts_with("b\n"), "the new id comes first: {}", ended.stdout),
            "terminate" => ended.assert(0, "may still stand: CreateUserAccount", ""),
            _ => {}
        }
    }
    let json = server.run(&["retry", "a", "-o", "json"]).await.json();
    assert_eq!(json["action"], "retry");
    assert_eq!((&json["results"][0]["outcome"], &json["results"][0]["new_workflow_id"]), (&json!("done"), &json!("b")));
    server.run(&["retry", "a", "b", "--only", "failed"]).await.assert(2, "", "--only is for one workflow at a time");
    server.run(&["cancel", "ended"]).await.assert(4, "", "409 Conflict: It has ended: Failed.");
}

#[tokio::test]
async fn several_workflows_are_one_call_and_the_worst_outcome_is_the_exit_code() {
    let server = Scripted::new(obedient).await;
    let ended = server.run(&["cancel", "a", "b"]).await;
    ended.assert(0, "2 done", "");
    assert_eq!(server.seen().pop().unwrap().body, json!({ "action": "cancel", "dry_run": false, "ids": ["a", "b"] }));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(&lines[..2], ["WORKFLOW  OUTCOME  STATUS  DETAIL", "a         done             as said"]);
    server.run(&["pause", "a", "ended-1", "ended-2"]).await.assert(4, "1 done, 2 refused", "");
    server.run(&["retry", "ended", "broken"]).await.assert(5, "1 refused, 1 failed", "");
    let dry = server.run(&["terminate", "a", "--dry-run", "--reason", "why"]).await;
    dry.assert(0, "", "");
    let body = json!({ "action": "terminate", "dry_run": true, "reason": "why", "ids": ["a"] });
    assert_eq!(server.seen().pop().unwrap().body, body);

    let ids: Vec<String> = (0..250).map(|number| format!("w{number}")).collect();
    let mut arguments = vec!["retry", "--undo", "-o", "json"];
    arguments.extend(ids.iter().map(String::as_str));
    let calls = server.seen().len();
    let json = server.run(&arguments).await.json();
    assert_eq!(json["results"].as_array().unwrap().len(), 250);
    let sizes =
        server.seen()[calls..].iter().map(|seen| seen.body["ids"].as_array().unwrap().len()).collect::<Vec<_>>();
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(server.seen().pop().unwrap().body["action"], "undo");
}

/// A server with three pages of workflows, which fails at the second page at first.
async fn paged() -> Scripted {
    Scripted::new(|request| {
        if request.line != ACTIONS {
            return ok(json!({ "workflows": [], "total_count": 3 }));
        }
        let page: usize = request.body["page_token"].as_str().map_or(0, |token| token.parse().unwrap());
        if page == 1 && request.repetition == 1 {
            return refused(503, "not now");
        }
        let next = (page < 2).then(|| (page + 1).to_string());
        let result = json!({ "workflow_id": format!("w{page}"), "outcome": "would" });
        ok(json!({ "results": [result], "next_page_token": next }))
    })
    .await
}

#[tokio::test]
async fn all_that_filters_find_is_as_many_calls_as_it_has_pages() {
    let server = paged().await;
    let filters = ["--status", "failed,TimedOut", "--type", "user-onboarding", "--started-after", "2026-01-02"];
    let ended = server.run(&[&["cancel", "--all", "--yes", "-o", "json"], &filters[..]].concat()).await;
    ended.assert(0, "", "503 Service Unavailable: not now; trying again");
    let ids: Vec<Value> =
        ended.json()["results"].as_array().unwrap().iter().map(|row| row["workflow_id"].clone()).collect();
    assert_eq!(ids, ["w0", "w1", "w2"]);
    let calls: Vec<Seen> = server.seen().into_iter().filter(|seen| seen.line == ACTIONS).collect();
    let filter = json!({
        "status": ["Failed", "TimedOut"], "workflow_type": "user_onboarding", "started_after": "2026-01-02T00:00:00Z",
    });
    assert!(calls.iter().all(|call| call.body["filter"] == filter && call.body["ids"].is_null()), "{calls:?}");
    let tokens: Vec<&Value> = calls.iter().map(|call| &call.body["page_token"]).collect();
    assert_eq!(tokens, [&Value::Null, &json!("1"), &json!("1"), &json!("2")]);
    assert_eq!(calls[1].headers["idempotency-key"], calls[2].headers["idempotency-key"], "a repetition says so");

    // An execution is retried once, so that this is repeated as well.
    let server = paged().await;
    let ended = server.run(&["retry", "--all", "--yes"]).await;
    ended.assert(0, "w2        would\n\n3 would", "503 Service Unavailable: not now; trying again");
    assert_eq!(server.seen().pop().unwrap().body["filter"], json!({ "status": ["Failed", "TimedOut"] }));
}

#[tokio::test]
async fn nothing_is_done_without_consent_or_to_workflows_that_are_not_meant() {
    let server = paged().await;
    server.run(&["cancel", "--all"]).await.assert(2, "", "no terminal to ask for consent: give --yes");
    server.run(&["terminate", "a"]).await.assert(2, "", "no terminal to ask for consent: give --yes");
    server.run(&["cancel"]).await.assert(2, "", "<IDS>");
    server.run(&["cancel", "a", "--all"]).await.assert(2, "", "cannot be used with");
    server.run(&["cancel", "a", "--status", "Running"]).await.assert(2, "", "filters are for --all");
    server.run(&["resume", "..", "--yes"]).await.assert(2, "", "'..' is no id of a workflow");
    assert!(server.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", server.lines());
    server.run(&["resume", "--all", "--dry-run"]).await.assert(0, "3 would", "");
}
