//! The same request many times at once, by its `Idempotency-Key` or by its nature.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::body::Body;
use contracts::Status;
use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::invariants;
use crate::subjects::{self, BULK_OPERATION};
use crate::world::{Site, TENANT, World, full_request, full_request_of, run};

const PATH: &str = "/api/v1/workflows/user-onboarding";

#[test]
fn fifty_at_once_start_one_execution() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            let headers = [("idempotency-key", "key-1")];
            let before = world.snapshot().await;
            let answers = join_all((0..50).map(|_| world.post(subject.path, &request, &headers))).await;
            let ids: Vec<_> = answers.iter().map(|(_, body)| body["workflow_id"].clone()).collect();
            // One that is stored when it has ended already is answered like any later repetition.
            let is_accepted = |status: &StatusCode| [StatusCode::ACCEPTED, StatusCode::OK].contains(status);
            assert!(answers.iter().all(|(status, _)| is_accepted(status)), "{answers:?}");
            assert!(ids.iter().all(|id| id == &ids[0]), "{ids:?}");
            let (_, list) = world.get("/api/v1/workflows").await;
            assert_eq!(list["total_count"], 1);
            let id = ids[0].as_str().unwrap();
            world.until_ended(id).await;
            let (status, body) = world.post(subject.path, &request, &headers).await;
            assert_eq!(
                (status, body["status"].as_str()),
                (StatusCode::OK, Some("completed")),
                "the first answer's execution"
            );
            invariants::check(&world, id, &before).await.unwrap();
        });
    }
}

#[test]
fn key_order_does_not_make_another_body_but_a_value_does() {
    for subject in subjects::ALL {
        run(async {
            let world = World::new().await;
            let request = world.prepare(subject, 0).await;
            let headers = [("idempotency-key", "key-1")];
            let (_, first) = world.post(subject.path, &request, &headers).await;
            let mut entries: Vec<_> = request.as_object().unwrap().clone().into_iter().collect();
            entries.reverse();
            let reordered: Value = entries.into_iter().collect();
            let (_, same) = world.post(subject.path, &reordered, &headers).await;
            assert_eq!(first["workflow_id"], same["workflow_id"]);
            for (name, value) in request.as_object().unwrap().iter().filter(|(_, value)| value.is_boolean()) {
                let mut other = request.clone();
                other[name] = (*value == false).into();
                let (status, problem) = world.post(subject.path, &other, &headers).await;
                assert_eq!(
                    (status, problem["error"]["type"].as_str()),
                    (StatusCode::UNPROCESSABLE_ENTITY, Some("UnprocessableEntity")),
                    "{name}"
                );
            }
        });
    }
}

/// The id of a job is its key: fifty at once are one, also when they come with keys of their own.
#[test]
fn a_job_is_started_once_by_its_own_id() {
    run(async {
        let world = World::new().await;
        let request = (BULK_OPERATION.request)(0);
        let starts = (0..50).map(|number| {
            let (world, request) = (&world, &request);
            async move {
                let key = format!("key-{number}");
                world.post(BULK_OPERATION.path, request, &[("idempotency-key", &key)]).await
            }
        });
        let answers = join_all(starts).await;
        let ids: BTreeSet<_> = answers.iter().map(|(_, body)| body["workflow_id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{answers:?}");
        let id = ids.into_iter().next().unwrap();
        world.until_ended(id).await;
        let (status, body) = world.post(BULK_OPERATION.path, &request, &[]).await;
        assert_eq!((status, body["workflow_id"].as_str()), (StatusCode::OK, Some(id)), "after its end, too");
        let mut other = request.clone();
        other["batch_options"]["batch_size"] = 3.into();
        let (status, problem) = world.post(BULK_OPERATION.path, &other, &[]).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    });
}

/// A key belongs to a route: the same one starts an execution of each workflow.
#[test]
fn a_key_is_one_routes_own() {
    run(async {
        let world = World::new().await;
        let mut ids = BTreeSet::new();
        for subject in subjects::ALL {
            let request = world.prepare(subject, 0).await;
            let (status, body) = world.post(subject.path, &request, &[("idempotency-key", "key-1")]).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{body}");
            ids.insert(body["workflow_id"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), subjects::ALL.len());
    });
}

#[test]
fn a_key_is_one_tenants_own() {
    run(async {
        let world = World::new().await;
        let (_, first) = world.post(PATH, &full_request(), &[("idempotency-key", "key-1")]).await;
        let mut request = full_request();
        request["tenant_id"] = "tenant-456".into();
        request["user_email"] = "other@example.com".into();
        let request = Request::post(PATH)
            .header("x-tenant-id", "tenant-456")
            .header("content-type", "application/json")
            .header("idempotency-key", "key-1")
            .body(Body::from(request.to_string()))
            .unwrap();
        let (status, _, second) = world.call(request).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{second}");
        assert_ne!(first["workflow_id"], second["workflow_id"]);
        assert_ne!(TENANT, "tenant-456");
    });
}

/// Executions of so many people, in a step that takes its time.
async fn running(world: &World, people: usize) -> Vec<String> {
    let slow = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 9_000 });
    world.services.set_faults(ServiceKind::User, vec![slow]);
    let mut ids = Vec::new();
    for number in 0..people {
        ids.push(world.start(&full_request_of(number)).await);
    }
    clock::sleep(&*world.clock, Duration::from_secs(1)).await;
    ids
}

/// Executions that were terminated, and have left an account.
async fn terminated(world: &World, people: usize) -> Vec<String> {
    let ids = running(world, people).await;
    for id in &ids {
        let (status, answer) = world.post(&format!("/api/v1/workflows/{id}/terminate"), &Value::Null, &[]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    // What was on its way arrives.
    clock::sleep(&*world.clock, Duration::from_secs(20)).await;
    world.faults(&BTreeMap::new());
    ids
}

/// Sends it fifty times at once, each time in a task of its own, as clients do.
async fn fifty(world: &World, path: &str, body: &Value, headers: &[(&str, &str)]) -> Vec<(StatusCode, Value)> {
    let request = || {
        let request = Request::post(path).header("x-tenant-id", TENANT).header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(Body::from(body.to_string())).unwrap()
    };
    let calls = (0..50).map(|_| {
        let (router, request) = (world.app.router.clone(), request());
        async move {
            let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
            (parts.status, serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
        }
    });
    let answers = clock::spawn_all(&world.clock, calls).await;
    answers.into_iter().map(Option::unwrap).collect()
}

/// How many rows of the audit log tell of this change of an execution.
async fn told(site: &Site, action: &str, id: &str) -> usize {
    let (status, log) = site.get(&format!("/api/v1/audit?action={action}&workflow_id={id}&outcome=accepted")).await;
    assert_eq!(status, StatusCode::OK, "{log}");
    log["entries"].as_array().unwrap().len()
}

/// How many events of this type the history of an execution has.
async fn events(site: &Site, event_type: &str, id: &str) -> usize {
    let history = site.history(id).await.events;
    history.iter().filter(|event| event.event.event_type == event_type).count()
}

/// What is asked of a running execution: the moment that the answer tells, and the event that the history gets.
const CONTROLS: [(&str, &str, &str); 4] = [
    ("cancel", "cancelled_at", "WorkflowExecutionCanceled"),
    ("pause", "paused_at", "WorkflowExecutionPaused"),
    ("resume", "resumed_at", "WorkflowExecutionResumed"),
    ("terminate", "terminated_at", "WorkflowExecutionTerminated"),
];

#[test]
fn fifty_at_once_control_an_execution_once() {
    for (asked, moment, event) in CONTROLS {
        run(async {
            let world = World::new().await;
            let before = world.snapshot().await;
            let id = running(&world, 1).await.remove(0);
            if asked == "resume" {
                let (status, answer) = world.post(&format!("/api/v1/workflows/{id}/pause"), &Value::Null, &[]).await;
                assert_eq!(status, StatusCode::OK, "{answer}");
            }
            let headers = [("idempotency-key", "key-1")];
            let path = format!("/api/v1/workflows/{id}/{asked}");
            let answers = fifty(&world, &path, &json!({ "reason": "a mistake" }), &headers).await;
            let (done, refused): (Vec<_>, Vec<_>) =
                answers.into_iter().partition(|(status, _)| *status == StatusCode::OK);
            assert!(refused.iter().all(|(status, _)| *status == StatusCode::CONFLICT), "{asked}: {refused:?}");
            match asked {
                // It holds, so asking for it again is answered like the first time.
                "cancel" | "pause" => assert_eq!(done.len(), 50, "{refused:?}"),
                "resume" => assert_eq!(done.len(), 1, "there is one pause to end"),
                _ => assert!(!done.is_empty(), "{refused:?}"),
            }
            assert!(done.iter().all(|(_, answer)| answer[moment] == done[0].1[moment]), "{asked}: {done:?}");
            assert_eq!(told(&world, &format!("{asked}_workflow"), &id).await, 1, "{asked}");
            if asked == "pause" {
                let (status, answer) = world.post(&format!("/api/v1/workflows/{id}/resume"), &Value::Null, &[]).await;
                assert_eq!(status, StatusCode::OK, "{answer}");
            }
            let ended = world.until_ended(&id).await;
            assert_eq!(events(&world, event, &id).await, 1, "{asked}");
            match asked {
                "terminate" => assert_eq!(ended.status, Status::Terminated),
                _ => drop(invariants::check(&world, &id, &before).await.unwrap()),
            }
        });
    }
}

#[test]
fn fifty_at_once_retry_an_execution_once() {
    let key = [("idempotency-key", "key-1")];
    for (body, headers, action, end) in [
        (Value::Null, &[][..], "retry_workflow", Status::Completed),
        (json!({}), &key, "retry_workflow", Status::Completed),
        (json!({ "undo": true }), &[], "undo_workflow", Status::Cancelled),
        (json!({ "undo": true }), &key, "undo_workflow", Status::Cancelled),
    ] {
        run(async {
            let world = World::new().await;
            let id = terminated(&world, 1).await.remove(0);
            let path = format!("/api/v1/workflows/{id}/retry");
            let answers = fifty(&world, &path, &body, headers).await;
            assert!(answers.iter().all(|(status, _)| *status == StatusCode::ACCEPTED), "{body}: {answers:?}");
            let retry = answers[0].1["new_workflow_id"].as_str().unwrap();
            assert!(answers.iter().all(|(_, answer)| answer["new_workflow_id"] == retry), "{body}: {answers:?}");
            assert_eq!(world.get("/api/v1/workflows").await.1["total_count"], 2, "{body}");
            assert_eq!(told(&world, action, &id).await, 1, "{body}");
            assert_eq!(world.until_ended(retry).await.status, end, "{body}");
            invariants::one_effect(&world.ledger().await).unwrap();
            let (status, again) = world.post(&path, &body, headers).await;
            assert_eq!((status, again["new_workflow_id"].as_str()), (StatusCode::ACCEPTED, Some(retry)), "{body}");
        });
    }
}

#[test]
fn a_key_stands_for_one_body_of_a_retry() {
    let key = [("idempotency-key", "key-1")];
    for undoes in [false, true] {
        run(async {
            let world = World::new().await;
            let id = terminated(&world, 1).await.remove(0);
            let path = format!("/api/v1/workflows/{id}/retry");
            let (status, first) = world.post(&path, &json!({ "undo": undoes }), &key).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{first}");
            for other in [json!({ "undo": !undoes }), json!({ "undo": undoes, "reason": "another" })] {
                let (status, problem) = world.post(&path, &other, &key).await;
                assert_eq!(
                    (status, &problem["error"]["type"]),
                    (StatusCode::UNPROCESSABLE_ENTITY, &json!("UnprocessableEntity")),
                    "{other}: {problem}"
                );
            }
            let (status, same) = world.post(&path, &json!({ "undo": undoes }), &[("idempotency-key", "key-2")]).await;
            assert_eq!(
                (status, &same["new_workflow_id"]),
                (StatusCode::ACCEPTED, &first["new_workflow_id"]),
                "with another key it is the same retry"
            );
            let (status, problem) = world.post(&path, &json!({ "undo": !undoes }), &[]).await;
            assert_eq!(status, StatusCode::CONFLICT, "{problem}");
            assert_eq!(world.get("/api/v1/workflows").await.1["total_count"], 2);
        });
    }
}

#[test]
fn fifty_at_once_act_on_each_execution_once() {
    for action in ["cancel", "pause", "resume", "terminate", "retry", "undo"] {
        run(async {
            let world = World::new().await;
            let ids = match action {
                "retry" | "undo" => terminated(&world, 3).await,
                // In virtual time only a task of its own may wait for its turn to read a journal, and those of one request
                // share a task.
                "terminate" => running(&world, 1).await,
                _ => running(&world, 3).await,
            };
            let body = json!({ "action": action, "ids": ids, "reason": "a mistake" });
            if action == "resume" {
                let pause = json!({ "action": "pause", "ids": ids });
                assert_eq!(world.post("/api/v1/workflows/actions", &pause, &[]).await.0, StatusCode::OK);
            }
            let executions = world.get("/api/v1/workflows").await.1["total_count"].as_u64().unwrap();
            let answers = fifty(&world, "/api/v1/workflows/actions", &body, &[("idempotency-key", "key-1")]).await;
            assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK), "{action}: {answers:?}");
            for (number, id) in ids.iter().enumerate() {
                let results: Vec<&Value> = answers.iter().map(|(_, answer)| &answer["results"][number]).collect();
                assert!(results.iter().all(|result| result["workflow_id"] == id.as_str()), "{action}");
                let (done, others): (Vec<&Value>, Vec<&Value>) =
                    results.into_iter().partition(|result| result["outcome"] == "done");
                assert!(others.iter().all(|result| result["outcome"] == "refused"), "{action}: {others:?}");
                match action {
                    "resume" => assert_eq!(done.len(), 1, "there is one pause to end"),
                    "terminate" => assert!(!done.is_empty(), "{others:?}"),
                    _ => assert_eq!(done.len(), 50, "{action}: {others:?}"),
                }
                assert!(done.iter().all(|result| result["new_workflow_id"] == done[0]["new_workflow_id"]), "{done:?}");
                assert_eq!(told(&world, &format!("{action}_workflow"), id).await, 1, "{action}");
            }
            let retries = if matches!(action, "retry" | "undo") { ids.len() as u64 } else { 0 };
            assert_eq!(world.get("/api/v1/workflows").await.1["total_count"], executions + retries, "{action}");
            invariants::one_effect(&world.ledger().await).unwrap();
        });
    }
}
