//! Bulk operations: what each operation does, where its entities come from, what is left of a job, and what may go wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use contracts::Status;
use contracts::responses::StatusResponse;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use reference_services::{Fault, FaultRule, Outcome, ServiceKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::fault_matrix::faults;
use crate::invariants;
use crate::subjects::{BULK_OPERATION, counts_are_true};
use crate::world::{Script, TENANT, World, in_parallel, run};

const UPLOADS: &str = "/api/v1/workflows/bulk-operation/uploads";
const OPERATIONS: &str = "/api/v1/operations/{operation}";

/// Starts a job and waits for its end.
async fn job(world: &World, request: &Value) -> StatusResponse {
    let id = world.start_of(&BULK_OPERATION, request).await;
    world.until_ended(&id).await
}

fn request(id: &str, operation: &str, targets: Value) -> Value {
    json!({ "operation_id": id, "tenant_id": TENANT, "operation_type": operation, "target_entities": targets })
}

fn target(service: &str, entity_type: &str, id: &str, data: Value) -> Value {
    json!({ "service": service, "entity_type": entity_type, "entity_id": id, "operation_data": data })
}

/// Completed, failed and unprocessed entities.
fn counts(status: &StatusResponse) -> [u64; 3] {
    let result = status.result.as_ref().unwrap_or_else(|| panic!("{:?}", status.error));
    ["successful_operations", "failed_operations", "unprocessed_entities"].map(|name| result[name].as_u64().unwrap())
}

/// What a request by a link or a path comes to, as text.
async fn raw(
    world: &World,
    method: Method,
    path: &str,
    body: impl Into<Body>,
) -> (StatusCode, http::HeaderMap, String) {
    let request = Request::builder().method(method).uri(path).header("x-tenant-id", TENANT).body(body.into()).unwrap();
    let (parts, body) = world.app.router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(bytes.into()).unwrap())
}

/// A file of results.
async fn file(world: &World, status: &StatusResponse, name: &str) -> String {
    let link = status.result.as_ref().unwrap()["files"][name].as_str().unwrap_or_else(|| panic!("no {name}"));
    linked(world, link, name).await
}

/// The file that a link of a result leads to.
pub(crate) async fn linked(world: &World, link: &str, name: &str) -> String {
    let (found, headers, _) = raw(world, Method::GET, link, Body::empty()).await;
    assert_eq!(found, StatusCode::FOUND, "{link}");
    let location = headers["location"].to_str().unwrap().to_owned();
    let (read, headers, text) = raw(world, Method::GET, &location, Body::empty()).await;
    assert_eq!(read, StatusCode::OK);
    assert_eq!(headers["content-disposition"], format!("attachment; filename=\"{name}\""));
    text
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Uploads a file; its id.
pub(crate) async fn upload(world: &World, file: &[u8]) -> String {
    upload_and_link(world, file).await.0
}

/// Uploads a file; its id, and the link.
async fn upload_and_link(world: &World, file: &[u8]) -> (String, String) {
    let (created, answer) = world.post(UPLOADS, &json!({ "size_bytes": file.len() }), &[]).await;
    assert_eq!(created, StatusCode::CREATED, "{answer}");
    let (stored, _, why) = raw(world, Method::PUT, answer["upload_url"].as_str().unwrap(), file.to_vec()).await;
    assert_eq!(stored, StatusCode::OK, "{why}");
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("upload_id"), text("upload_url"))
}

/// Everything that an operation can be for: what it does to the demo data, and where that is seen.
#[test]
fn every_operation_does_what_it_says() {
    type Seen = (&'static str, &'static str, fn(&Value) -> bool);
    let every: Vec<(&str, Value, Seen)> = vec![
        (
            "UserCreation",
            target("auth", "account", "made", json!({ "email": "made@example.com", "name": "M", "role": "user" })),
            ("auth", "accounts", |row| row["user_id"] == "made" && row["email"] == "made@example.com"),
        ),
        (
            "UserCreation",
            target("user", "user", "made", json!({ "user_id": "made", "profile_data": { "name": "M" } })),
            ("user", "profiles", |row| row["profile_id"] == "made" && row["profile_data"]["name"] == "M"),
        ),
        (
            "UserCreation",
            target("tenant", "membership", "made", json!({ "role": "user", "permissions": ["file:read"] })),
            ("tenant", "memberships", |row| row["user_id"] == "made" && row["active"] == true),
        ),
        (
            "UserUpdate",
            target("auth", "account", "user-123", json!({ "name": "Renamed" })),
            ("auth", "accounts", |row| row["user_id"] == "user-123" && row["name"] == "Renamed"),
        ),
        (
            "UserUpdate",
            target("user", "profile", "profile-123", json!({ "preferences": { "theme": "light" } })),
            ("user", "profiles", |row| row["profile_id"] == "profile-123" && row["preferences"]["theme"] == "light"),
        ),
        (
            "UserDeactivation",
            target("auth", "account", "user-123", json!({})),
            ("auth", "accounts", |row| row["user_id"] == "user-123" && row["status"] == "deactivated"),
        ),
        (
            "UserDeactivation",
            target("tenant", "membership", "user-124", json!({})),
            ("tenant", "memberships", |row| row["user_id"] == "user-124" && row["active"] == false),
        ),
        (
            "PermissionUpdate",
            target("tenant", "user", "user-124", json!({ "permissions": ["tenant:read"], "role": "guest" })),
            ("tenant", "memberships", |row| row["user_id"] == "user-124" && row["role"] == "guest"),
        ),
        (
            "DataImport",
            target(
                "user",
                "usage",
                "usage-new",
                json!({ "record": { "user_id": "user-123", "day": "2026-01-02", "actions": 7 }, "on_conflict": "fail" }),
            ),
            ("user", "usage", |row| row["usage_id"] == "usage-new" && row["actions"] == 7),
        ),
        (
            "NotificationSend",
            target(
                "notifications",
                "notification",
                "user-123",
                json!({ "notification_type": "news", "recipient": "user-123@example.com", "message": "Hello" }),
            ),
            ("notifications", "outbox", |row| row["notification_type"] == "news" && row["message"] == "Hello"),
        ),
    ];
    for (number, (operation, entity, (service, table, is_seen))) in every.into_iter().enumerate() {
        run(async {
            let world = World::new().await;
            let seen = async || {
                let snapshot = world.snapshot().await;
                snapshot[service][table].as_array().unwrap().iter().any(is_seen)
            };
            assert!(!seen().await, "{operation} of {entity}: it is so already");
            let mut asked = request(&format!("op-{number}"), operation, json!([entity]));
            asked["batch_options"] = json!({ "dry_run": true });
            let dry = job(&world, &asked).await;
            assert_eq!(counts(&dry), [1, 0, 0], "{operation} of {entity}: {:?}", dry.result);
            assert!(!seen().await, "{operation} of {entity}: a dry run did it");
            let done = job(&world, &request(&format!("op-{number}-real"), operation, json!([entity]))).await;
            assert_eq!((done.status, counts(&done)), (Status::Completed, [1, 0, 0]), "{operation}: {:?}", done.result);
            assert!(seen().await, "{operation} of {entity}: it is not done");
        });
    }
}

#[test]
fn a_dry_run_counts_what_entities_of_different_batches_do_to_each_other_as_a_real_run_does() {
    run(async {
        let world = World::new().await;
        let user = |id: &str, email: &str| {
            target("auth", "account", id, json!({ "email": email, "name": "N", "role": "user" }))
        };
        let renamed = |id: &str, email: &str| target("auth", "account", id, json!({ "email": email }));
        let imported = |id: &str, email: &str, on_conflict: &str| {
            let record = json!({ "email": email, "name": "N", "role": "user", "status": "active" });
            target("auth", "account", id, json!({ "record": record, "on_conflict": on_conflict }))
        };
        let file = |action: &str| target("file", "file", "file-123-1", json!({ "action": action, "name": "new.txt" }));
        let moved = |to: &str| target("file", "file", "file-123-2", json!({ "action": "move", "workspace_id": to }));
        let created_at = "2026-01-01T00:00:00Z";
        let workspace = |id: &str| {
            let record = json!({ "user_id": "user-123", "workspace_config": {}, "created_at": created_at });
            target("file", "workspace", id, json!({ "record": record }))
        };
        let file_in = |workspace_id: &str| {
            let record = json!({
                "user_id": "user-123", "workspace_id": workspace_id, "name": "a.txt", "content_type": "text/plain",
                "size_bytes": 0, "sha256": null, "created_at": created_at,
            });
            target("file", "file", &format!("file-of-{workspace_id}"), json!({ "record": record }))
        };
        let profile = |id: &str, user_id: &str| {
            target("user", "profile", id, json!({ "user_id": user_id, "profile_data": { "name": "N" } }))
        };
        let jobs = [
            (
                "UserCreation",
                json!([
                    user("new-1", "one@example.com"),
                    user("new-2", "two@example.com"),
                    user("new-1", "three@example.com"),
                    user("new-3", "One@Example.com"),
                    user("user-123", "four@example.com"),
                    // One that fails by itself is in nobody's way.
                    target("auth", "account", "new-4", json!({ "email": "six@example.com", "role": "user" })),
                    user("new-4", "six@example.com"),
                ]),
                [3, 4, 0],
            ),
            (
                "UserUpdate",
                json!([
                    renamed("user-123", "new@example.com"),
                    renamed("user-123", "new@example.com"),
                    renamed("new-1", "new@example.com"),
                    renamed("new-2", "other@example.com"),
                ]),
                [3, 1, 0],
            ),
            (
                "DataImport",
                json!([
                    imported("new-5", "five@example.com", "fail"),
                    imported("new-5", "five@example.com", "skip"),
                    imported("new-5", "five@example.com", "fail"),
                    imported("new-6", "five@example.com", "fail"),
                ]),
                [2, 2, 0],
            ),
            ("FileProcessing", json!([file("rename"), file("delete"), file("rename")]), [2, 1, 0]),
            ("UserCreation", json!([profile("p-1", "u-9"), profile("p-2", "u-9"), profile("p-3", "u-8")]), [2, 1, 0]),
            // What one entity gives up, or brings, another one needs.
            (
                "UserUpdate",
                json!([renamed("new-1", "free@example.com"), renamed("new-2", "one@example.com")]),
                [2, 0, 0],
            ),
            (
                "DataImport",
                json!([
                    imported("new-5", "seven@example.com", "overwrite"),
                    imported("new-7", "five@example.com", "fail"),
                    imported("new-5", "eight@example.com", "overwrite"),
                    imported("new-8", "seven@example.com", "fail"),
                ]),
                [4, 0, 0],
            ),
            ("FileProcessing", json!([moved("workspace-new")]), [0, 1, 0]),
            (
                "DataImport",
                json!([workspace("workspace-new"), file_in("workspace-new"), file_in("nowhere")]),
                [2, 1, 0],
            ),
        ];
        for (number, (operation, targets, expected)) in jobs.into_iter().enumerate() {
            for dry_run in [true, false] {
                let mut asked = request(&format!("{operation}-{number}-{dry_run}"), operation, targets.clone());
                asked["batch_options"] = json!({ "batch_size": 1, "parallel_batches": 1, "dry_run": dry_run });
                let done = job(&world, &asked).await;
                assert_eq!(counts(&done), expected, "{operation}, dry_run {dry_run}: {:?}", done.result);
            }
        }
    });
}

/// What it counts is there before the first batch is over, and a pause is no part of its pace.
#[test]
fn a_job_tells_how_far_it_is_from_its_plan_on() {
    run(async {
        let world = World::new().await;
        let slow = FaultRule::on("POST", OPERATIONS, Fault::Delay { delay_ms: 5_000 });
        world.services.set_faults(ServiceKind::Auth, vec![slow]);
        let user = |number: u32| {
            let data = json!({ "email": format!("{number}@example.com"), "name": "N", "role": "user" });
            target("auth", "account", &format!("new-{number}"), data)
        };
        let mut asked = request("slow", "UserCreation", (0..4).map(user).collect());
        asked["batch_options"] = json!({ "batch_size": 1, "parallel_batches": 1 });
        let id = world.start_of(&BULK_OPERATION, &asked).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let status = world.status(&id).await;
        let items = |status: &StatusResponse| status.items.map(|items| (items.total, items.completed, items.failed));
        assert_eq!(items(&status), Some((4, 0, 0)));
        let progress = status.progress.unwrap();
        let told = (progress.current_step.as_str(), progress.status_message.as_deref());
        assert_eq!(told, ("ProcessBatches", Some("Working through the batches")));
        clock::sleep(&*world.clock, Duration::from_secs(9)).await;
        assert_eq!(items(&world.status(&id).await), Some((4, 2, 0)));
        assert_eq!(world.post(&format!("/api/v1/workflows/{id}/pause"), &Value::Null, &[]).await.0, StatusCode::OK);
        clock::sleep(&*world.clock, Duration::from_secs(600)).await;
        let paused = world.status(&id).await;
        assert_eq!(paused.progress.unwrap().status_message.as_deref(), Some("Paused: no further step begins"));
        assert_eq!(world.post(&format!("/api/v1/workflows/{id}/resume"), &Value::Null, &[]).await.0, StatusCode::OK);
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        let status = world.status(&id).await;
        let pace = status.items.unwrap().per_second.unwrap();
        assert!((0.1..=0.3).contains(&pace), "{pace} a second: three in about sixteen seconds");
        assert!(status.estimated_completion.unwrap() < clock::after(&*world.clock, Duration::from_secs(30)));
        assert_eq!(counts(&world.until_ended(&id).await), [4, 0, 0]);
    });
}

/// The second of six entities fails.
#[test]
fn a_dry_run_stops_where_a_real_run_does() {
    run(async {
        let world = World::new().await;
        let user = |id: String| {
            let email =
                if id.ends_with("-1") { "demo.user@example.com".to_owned() } else { format!("{id}@example.com") };
            target("auth", "account", &id, json!({ "email": email, "name": "N" }))
        };
        let options = [
            (json!({ "continue_on_error": false }), [1, 1, 4], 2),
            (json!({ "continue_on_error": false, "batch_size": 4 }), [3, 1, 2], 1),
            (json!({ "failure_threshold": { "count": 2 } }), [5, 1, 0], 6),
            (json!({ "failure_threshold": { "percent": 10 }, "batch_size": 2 }), [1, 1, 4], 1),
        ];
        for (number, (options, expected, batches)) in options.into_iter().enumerate() {
            for dry_run in [true, false] {
                let targets = (0..6).map(|place| user(format!("new-{number}-{place}"))).collect();
                let mut asked = request(&format!("stops-{number}-{dry_run}"), "UserCreation", Value::Array(targets));
                asked["operation_data"] = json!({ "role": "user" });
                asked["batch_options"] = json!({ "batch_size": 1, "parallel_batches": 1, "dry_run": dry_run });
                asked["batch_options"].as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
                let done = job(&world, &asked).await;
                let found = (counts(&done), &done.result.as_ref().unwrap()["batches_processed"]);
                assert_eq!(found, (expected, &json!(batches)), "{options}, dry_run {dry_run}: {:?}", done.result);
                assert_eq!(done.status == Status::Completed, expected[2] == 0, "{options}, dry_run {dry_run}");
            }
        }
    });
}

#[test]
fn what_is_exported_and_processed_is_in_a_file_of_the_results() {
    run(async {
        let world = World::new().await;
        let targets =
            json!([target("auth", "account", "user-123", json!({})), target("user", "profile", "nobody", json!({}))]);
        let mut tried = request("tried", "DataExport", targets.clone());
        tried["batch_options"] = json!({ "dry_run": true });
        let tried = job(&world, &tried).await;
        assert_eq!(counts(&tried), [1, 1, 0]);
        assert!(tried.result.unwrap()["files"].get("exported.jsonl").is_none(), "a dry run hands nothing out");
        let exported = job(&world, &request("export", "DataExport", targets)).await;
        assert_eq!(counts(&exported), [1, 1, 0]);
        let found = lines(&file(&world, &exported, "exported.jsonl").await);
        assert_eq!((found.len(), &found[0]["entity_id"]), (1, &json!("user-123")));
        assert_eq!(found[0]["data"]["email"], "demo.user@example.com");
        let files = world.snapshot().await["file"]["files"].as_array().unwrap().clone();
        let known =
            files.iter().find(|file| file["tenant_id"] == TENANT).unwrap()["file_id"].as_str().unwrap().to_owned();
        let targets = json!([target("file", "file", &known, json!({}))]);
        let mut asked = request("sums", "FileProcessing", targets);
        asked["operation_data"] = json!({ "action": "checksum" });
        let processed = job(&world, &asked).await;
        let found = lines(&file(&world, &processed, "exported.jsonl").await);
        assert_eq!(found[0]["data"]["sha256"].as_str().map(str::len), Some(64), "{found:?}");
    });
}

/// What failed is repaired at the service, and tried again: by a retry, and by the failed file itself.
#[test]
fn what_failed_is_tried_again_and_nothing_else() {
    run(async {
        let world = World::new().await;
        let account = |id: &str, email: &str| target("auth", "account", id, json!({ "email": email, "name": "N" }));
        let targets = json!([
            account("a", "a@example.com"),
            // The address has an account.
            account("b", "demo.user@example.com"),
            account("c", "c@example.com"),
        ]);
        let mut asked = request("first", "UserCreation", targets);
        asked["operation_data"] = json!({ "role": "user" });
        asked["batch_options"] = json!({ "batch_size": 2 });
        let first = job(&world, &asked).await;
        assert_eq!((first.status, counts(&first)), (Status::Completed, [2, 1, 0]));
        let failed = lines(&file(&world, &first, "failed.jsonl").await);
        assert_eq!(failed.len(), 1);
        assert_eq!(
            (&failed[0]["index"], &failed[0]["code"], &failed[0]["attempts"]),
            (&json!(1), &json!("Conflict"), &json!(1))
        );
        let table = file(&world, &first, "failed.csv").await;
        assert_eq!(table.lines().count(), 2, "{table}");
        let path = format!("/api/v1/workflows/{}/retry", first.workflow_id);
        let (refused, problem) = world.post(&path, &Value::Null, &[]).await;
        assert_eq!(refused, StatusCode::CONFLICT, "it has completed: {problem}");
        let (refused, problem) = world.post(&path, &json!({ "undo": true }), &[]).await;
        assert_eq!(refused, StatusCode::CONFLICT, "{problem}");
        // The address becomes free.
        let rename = request(
            "rename",
            "UserUpdate",
            json!([target("auth", "account", "user-123", json!({ "email": "x@example.com" }))]),
        );
        assert_eq!(counts(&job(&world, &rename).await), [1, 0, 0]);
        let (accepted, retried) = world.post(&path, &json!({ "only": "failed" }), &[]).await;
        assert_eq!(accepted, StatusCode::ACCEPTED, "{retried}");
        let retry = world.until_ended(retried["new_workflow_id"].as_str().unwrap()).await;
        assert_eq!((retry.status, counts(&retry)), (Status::Completed, [1, 0, 0]));
        assert_eq!(
            lines(&file(&world, &retry, "succeeded.jsonl").await)[0]["index"],
            1,
            "the place in the first input"
        );
        let path = format!("/api/v1/workflows/{}/retry", retry.workflow_id);
        let (refused, problem) = world.post(&path, &json!({}), &[]).await;
        assert_eq!(refused, StatusCode::CONFLICT, "another retry than that one: {problem}");
        let (refused, problem) = world.post(&path, &json!({ "only": "failed" }), &[]).await;
        assert_eq!(refused, StatusCode::CONFLICT, "nothing failed: {problem}");

        // The same by the file, as it is.
        for (name, text) in [("csv", table), ("jsonl", file(&world, &first, "failed.jsonl").await)] {
            let upload_id = upload(&world, text.as_bytes()).await;
            let mut again = request(&format!("again-{name}"), "UserCreation", json!([]));
            again["input"] = json!({ "upload_id": upload_id });
            again["operation_data"] = json!({ "role": "user" });
            let again = job(&world, &again).await;
            // It exists by now.
            assert_eq!((again.status, counts(&again)), (Status::Completed, [0, 1, 0]), "{name}: {:?}", again.error);
        }
    });
}

/// A job that was cancelled or terminated goes on where it was, by the same keys.
#[test]
fn what_was_not_done_is_done_by_a_retry_and_the_rest_is_not_done_again() {
    for (what, path) in [("cancel", "cancel"), ("terminate", "terminate")] {
        run(async {
            let world = World::new().await;
            let mut asked = (BULK_OPERATION.request)(0);
            asked["batch_options"] = json!({ "batch_size": 2, "parallel_batches": 1 });
            let slow = FaultRule {
                times: Some(1),
                skip: 1,
                ..FaultRule::on("POST", OPERATIONS, Fault::Delay { delay_ms: 5_000 })
            };
            world.services.set_faults(ServiceKind::Auth, vec![slow]);
            let id = world.start_of(&BULK_OPERATION, &asked).await;
            clock::sleep(&*world.clock, Duration::from_secs(2)).await;
            let (stopped, answer) = world.post(&format!("/api/v1/workflows/{id}/{path}"), &Value::Null, &[]).await;
            assert_eq!(stopped, StatusCode::OK, "{what}: {answer}");
            let status = world.until_ended(&id).await;
            if what == "cancel" {
                assert_eq!((status.status, counts(&status)), (Status::Cancelled, [4, 0, 2]));
                let left = lines(&file(&world, &status, "unprocessed.jsonl").await);
                assert_eq!(left.iter().map(|line| line["index"].clone()).collect::<Vec<_>>(), [4, 5]);
            }
            let (accepted, retried) = world.post(&format!("/api/v1/workflows/{id}/retry"), &Value::Null, &[]).await;
            assert_eq!(accepted, StatusCode::ACCEPTED, "{what}: {retried}");
            let retry = world.until_ended(retried["new_workflow_id"].as_str().unwrap()).await;
            assert_eq!(retry.status, Status::Completed, "{what}: {:?}", retry.error);
            assert_eq!(counts(&retry)[1..], [0, 0]);
            let ledger = world.ledger().await;
            invariants::one_effect(&ledger).unwrap();
            let applied = ledger.iter().filter(|entry| entry.route == OPERATIONS && entry.outcome == Outcome::Applied);
            assert_eq!(applied.count(), 6, "{what}: each account is made once");
        });
    }
}

#[test]
fn an_upload_is_used_by_one_tenant_and_removed_after_the_job() {
    run(async {
        let world = World::new().await;
        let rows: String =
            (0..25).map(|number| format!("auth,account,up-{number},up-{number}@example.com,N\n")).collect();
        let csv = format!("service,entity_type,entity_id,email,name\n{rows}");
        let (upload_id, url) = upload_and_link(&world, csv.as_bytes()).await;
        let mut asked = request("from-a-file", "UserCreation", json!([]));
        asked["input"] = json!({ "upload_id": upload_id });
        asked["operation_data"] = json!({ "role": "user" });
        asked["batch_options"] = json!({ "batch_size": 10 });
        let mut foreign = asked.clone();
        foreign["tenant_id"] = json!("tenant-456");
        let start = |tenant: &str, body: &Value| {
            let request = Request::post(BULK_OPERATION.path).header("x-tenant-id", tenant);
            request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
        };
        let (refused, _, problem) = world.call(start("tenant-456", &foreign)).await;
        assert_eq!(
            (refused.as_u16(), &problem["errors"][0]["pointer"]),
            (422, &json!("/input/upload_id")),
            "{problem}"
        );
        // Of two starts at once one uses it.
        let mut second = asked.clone();
        second["operation_id"] = json!("at-the-same-time");
        let (one, other) =
            futures::join!(world.post(BULK_OPERATION.path, &asked, &[]), world.post(BULK_OPERATION.path, &second, &[]));
        let ((accepted, started), (refused, problem)) = if one.0.is_success() { (one, other) } else { (other, one) };
        assert_eq!((accepted, refused), (StatusCode::ACCEPTED, StatusCode::CONFLICT), "{started} {problem}");
        assert_eq!(problem["workflow_id"], started["workflow_id"]);
        assert!(problem["detail"].as_str().unwrap().contains("uses this one"), "{problem}");
        let done = world.until_ended(started["workflow_id"].as_str().unwrap()).await;
        assert_eq!((done.status, counts(&done)), (Status::Completed, [25, 0, 0]), "{:?}", done.error);
        assert_eq!(done.result.as_ref().unwrap()["batches_processed"], 3);
        asked["operation_id"] = done.result.as_ref().unwrap()["operation_id"].clone();
        // The same start again is the same execution, although the upload is gone; another one needs it.
        let (again, body) = world.post(BULK_OPERATION.path, &asked, &[]).await;
        assert_eq!((again, &body["workflow_id"]), (StatusCode::OK, &json!(done.workflow_id)));
        asked["operation_id"] = json!("another");
        let (refused, problem) = world.post(BULK_OPERATION.path, &asked, &[]).await;
        assert_eq!((refused, &problem["workflow_id"]), (StatusCode::CONFLICT, &json!(done.workflow_id)), "{problem}");
        let (refused, _, why) = raw(&world, Method::PUT, &url, csv.clone().into_bytes()).await;
        assert_eq!(refused, StatusCode::CONFLICT, "the link is used: {why}");
    });
}

/// What failed is corrected where it was wrong, and is uploaded again as it is; a row that is no entity is in a file of its own.
#[test]
fn the_file_of_what_failed_is_an_input() {
    run(async {
        let world = World::new().await;
        let rows = "auth,account,again-1,,One\nauth,account\nauth,account,again-2,again-2@example.com,Two\n";
        let csv = format!("service,entity_type,entity_id,email,name\n{rows}");
        let mut asked = request("first", "UserCreation", json!([]));
        asked["input"] = json!({ "upload_id": upload(&world, csv.as_bytes()).await, "on_malformed": "continue" });
        asked["operation_data"] = json!({ "role": "user" });
        let first = job(&world, &asked).await;
        assert_eq!((first.status, counts(&first)), (Status::Completed, [1, 2, 0]));
        for (number, name) in ["failed.csv", "failed.jsonl"].into_iter().enumerate() {
            let failed = file(&world, &first, name).await;
            let mut asked = request(&format!("again-{number}"), "UserCreation", json!([]));
            asked["input"] = json!({ "upload_id": upload(&world, failed.as_bytes()).await });
            asked["operation_data"] = json!({ "role": "user", "email": format!("again-{number}@example.com") });
            let again = job(&world, &asked).await;
            let expected = if number == 0 { [1, 0, 0] } else { [0, 1, 0] };
            assert_eq!((again.status, counts(&again)), (Status::Completed, expected), "{name}: {:?}", again.result);
        }
        let retried = format!("/api/v1/workflows/{}/retry", first.workflow_id);
        let (accepted, retried) = world.post(&retried, &json!({ "only": "failed" }), &[]).await;
        assert_eq!(accepted, StatusCode::ACCEPTED, "{retried}");
        let retried = world.until_ended(retried["new_workflow_id"].as_str().unwrap()).await;
        assert_eq!(counts(&retried), [0, 1, 0], "a row that is no entity stays one");
    });
}

#[test]
fn a_file_that_is_none_stops_the_job_before_anything_is_done() {
    run(async {
        let world = World::new().await;
        for (number, (file, why)) in [
            (&b"service;entity_type;entity_id\nauth;account;u\n"[..], "separated by ';'"),
            (b"PK\x03\x04 a spreadsheet", "spreadsheet"),
            (b"service,entity_type,entity_id\n", "no row"),
            (b"service,entity_type,entity_id\nauth,account,a\nauth,account\n", "line 3"),
        ]
        .into_iter()
        .enumerate()
        {
            let upload_id = upload(&world, file).await;
            let mut asked = request(&format!("file-{number}"), "UserCreation", json!([]));
            asked["input"] = json!({ "upload_id": upload_id });
            let failed = job(&world, &asked).await;
            let failure = failed.failure.unwrap();
            assert_eq!((failed.status, failure.error.as_str()), (Status::Failed, "InvalidInput"), "{why}");
            assert!(failure.message.contains(why), "{why}: {}", failure.message);
        }
        let mut asked = request("goes-on", "UserDeactivation", json!([]));
        let upload_id = upload(&world, b"service,entity_type,entity_id\nauth,account,user-123\nauth,account\n").await;
        asked["input"] = json!({ "upload_id": upload_id, "on_malformed": "continue" });
        let done = job(&world, &asked).await;
        assert_eq!((done.status, counts(&done)), (Status::Completed, [1, 1, 0]));
        let malformed = lines(&file(&world, &done, "malformed.jsonl").await);
        assert_eq!((&malformed[0]["index"], &malformed[0]["row"]), (&json!(1), &json!("auth,account")));
        assert!(malformed[0]["message"].as_str().unwrap().starts_with("line 3: "), "{malformed:?}");
        let table = file(&world, &done, "malformed.csv").await;
        assert!(
            table.starts_with("index,message,row\r\n1,\"line 3: ") && table.ends_with(",\"auth,account\"\r\n"),
            "{table}"
        );
        assert!(done.result.as_ref().unwrap()["files"].get("failed.csv").is_none(), "it holds entities alone");
        assert!(world.ledger().await.iter().all(|entry| entry.route == OPERATIONS), "nothing else was called");
    });
}

/// Two jobs would change the same entities in an order that nobody knows.
#[test]
fn one_job_at_a_time_changes_a_data_set() {
    run(async {
        let world = World::new().await;
        let slow = FaultRule { times: Some(1), ..FaultRule::on("POST", OPERATIONS, Fault::Delay { delay_ms: 5_000 }) };
        world.services.set_faults(ServiceKind::Auth, vec![slow]);
        let first = world.start_of(&BULK_OPERATION, &(BULK_OPERATION.request)(0)).await;
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        let second = job(&world, &(BULK_OPERATION.request)(1)).await;
        let failure = second.failure.unwrap();
        assert_eq!((second.status, failure.error.as_str()), (Status::Failed, "Conflict"));
        assert!(failure.message.contains(&first) && failure.message.contains("auth/account"), "{}", failure.message);
        let export = request("export", "DataExport", json!([target("auth", "account", "user-123", json!({}))]));
        assert_eq!(counts(&job(&world, &export).await), [1, 0, 0], "it changes nothing");
        assert_eq!(world.until_ended(&first).await.status, Status::Completed);
        let (accepted, retried) =
            world.post(&format!("/api/v1/workflows/{}/retry", second.workflow_id), &Value::Null, &[]).await;
        assert_eq!(accepted, StatusCode::ACCEPTED, "{retried}");
        let retried = world.until_ended(retried["new_workflow_id"].as_str().unwrap()).await;
        assert_eq!((retried.status, counts(&retried)), (Status::Completed, [6, 0, 0]));
    });
}

/// A call of a terminated job is still on its way when the next job has worked.
#[test]
fn what_a_job_writes_late_changes_nothing_of_what_the_next_one_did() {
    const MINUTE: Duration = Duration::from_secs(60);
    let rename = |id: &str, name: &str| {
        request(id, "UserUpdate", json!([target("auth", "account", "user-123", json!({ "name": name }))]))
    };
    // As long as nobody else has had the lease, what comes late is done.
    for (has_next, expected) in [(false, "Late"), (true, "Next")] {
        run(async {
            let world = World::new().await;
            let name = async || {
                let snapshot = world.snapshot().await;
                let accounts = snapshot["auth"]["accounts"].as_array().unwrap();
                accounts.iter().find(|row| row["user_id"] == "user-123").unwrap()["name"].clone()
            };
            let late = Fault::LateDelivery { delay_ms: 120_000 };
            let late = FaultRule { times: Some(1), ..FaultRule::on("POST", OPERATIONS, late) };
            let away = FaultRule::on("POST", OPERATIONS, Fault::Reset);
            world.services.set_faults(ServiceKind::Auth, vec![late, away]);
            let first = world.start_of(&BULK_OPERATION, &rename("first", "Late")).await;
            clock::sleep(&*world.clock, Duration::from_secs(1)).await;
            let path = format!("/api/v1/workflows/{first}/terminate");
            let (stopped, answer) = world.post(&path, &Value::Null, &[]).await;
            assert_eq!(stopped, StatusCode::OK, "{answer}");
            world.services.set_faults(ServiceKind::Auth, Vec::new());
            if has_next {
                assert_eq!(counts(&job(&world, &rename("second", "Next")).await), [1, 0, 0]);
            }
            clock::sleep(&*world.clock, 3 * MINUTE).await;
            assert_eq!(name().await, expected);
            // Who holds the lease goes on writing.
            assert_eq!(counts(&job(&world, &rename("third", "Third")).await), [1, 0, 0]);
            assert_eq!(name().await, "Third");
        });
    }
}

/// The list of batches is lost: the job fails, and says so.
#[test]
fn a_lost_list_of_batches_fails_the_job() {
    run(async {
        let world = World::new().await;
        let blobs = world.blobs();
        let edges = world.watched_edges();
        // Between the plan and the Map: the plan's attempt ends later than it wrote the list.
        world.script.lock().unwrap().control = Vec::new();
        world.after_step("PlanBulkOperation", move || {
            for list in walk(&blobs).into_iter().filter(|file| file.ends_with("manifest.json")) {
                std::fs::remove_file(list).unwrap();
            }
        });
        let failed = job(&world, &(BULK_OPERATION.request)(0)).await;
        assert_eq!((failed.status, failed.result), (Status::Failed, None), "{:?}", failed.error);
        assert!(world.ledger().await.is_empty(), "nothing was done");
        let taken = edges.lock().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        for edge in BULK_OPERATION.taken_elsewhere {
            assert!(taken.iter().any(|taken| taken == edge), "{edge} is not taken");
        }
    });
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Every fault at the one place where a batch calls a service, once and for ever: each entity has one effect at most, the
/// counts are true, and nothing is lost.
#[test]
fn every_fault_of_a_batch_keeps_the_invariants() {
    // Who is asked to slow down waits, as long as it takes: for ever would be for ever.
    let ends = |cell: &((&str, Fault), Option<u64>)| !(cell.0.0.starts_with("429") && cell.1.is_none());
    let cells = faults().into_iter().flat_map(|fault| [(fault.clone(), Some(2)), (fault, None)]);
    let cells: Vec<_> = cells.filter(ends).collect();
    in_parallel(cells.len(), |number| {
        run(async {
            let ((name, fault), times) = &cells[number];
            let name = format!("{name}, {}", if times.is_some() { "twice" } else { "for ever" });
            let world = World::with(Script::default(), &[]).await;
            let rule = FaultRule { times: *times, ..FaultRule::on("POST", OPERATIONS, fault.clone()) };
            world.faults(&BTreeMap::from([("auth".to_owned(), vec![rule])]));
            let status = job(&world, &(BULK_OPERATION.request)(0)).await;
            clock::sleep(&*world.clock, world.settling_time).await;
            assert_eq!(status.status, Status::Completed, "{name}: {:?}", status.error);
            let ledger = world.ledger().await;
            invariants::one_effect(&ledger).unwrap_or_else(|why| panic!("{name}: {why}"));
            let [done, failed, left] = counts(&status);
            assert_eq!((done + failed, left), (6, 0), "{name}");
            let applied = ledger.iter().filter(|entry| entry.outcome == Outcome::Applied).count() as u64;
            // What is told as failed may have been done where the service says something else than it did.
            assert!((done..=done + failed).contains(&applied), "{name}: {done} done, {applied} effects");
            if times.is_some() && !name.starts_with("permanent") && !name.starts_with("another id") {
                assert_eq!((done, applied), (6, 6), "{name}: it passes");
                counts_are_true(&status, &ledger).unwrap_or_else(|why| panic!("{name}: {why}"));
            }
            let calls: u32 = world.calls.lock().unwrap().values().sum();
            assert!(calls <= 3 * (4 + 2 * 2 + 17 + 1), "{name}: {calls} calls");
        });
    });
}

/// Of so many entities this share fails.
fn of_size(entities: usize, per_mille: usize) -> (Vec<u8>, u64) {
    let (mut text, mut failing) = (Vec::new(), 0);
    for number in 0..entities {
        let fails = number * per_mille / 1_000 != (number + 1) * per_mille / 1_000;
        failing += u64::from(fails);
        let (email, name) = (format!("i{number}@example.com"), if fails { "" } else { "N" });
        let line = json!({ "service": "auth", "entity_type": "account", "entity_id": format!("i{number}"), "email": email, "name": name, "role": "user" });
        text.extend(format!("{line}\n").into_bytes());
    }
    (text, failing)
}

/// I6: the counts of a job of many entities are those of its files and of the services. 100,000 entities with
/// `BULK_ENTITIES=100000`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn the_counts_of_a_large_job_are_true() {
    let entities = std::env::var("BULK_ENTITIES").map_or(5_000, |entities| entities.parse().unwrap());
    in_parallel(3, |number| {
        run(async {
            let (text, failing) = of_size(entities, [1, 100, 1_000][number]);
            let world = World::new().await;
            let upload_id = upload(&world, &text).await;
            let mut asked = request("large", "UserCreation", json!([]));
            asked["input"] = json!({ "upload_id": upload_id });
            asked["batch_options"] = json!({ "batch_size": 100, "parallel_batches": 8 });
            let status = job(&world, &asked).await;
            assert_eq!(status.status, Status::Completed, "{:?}", status.error);
            assert_eq!(counts(&status), [entities as u64 - failing, failing, 0]);
            counts_are_true(&status, &world.ledger().await).unwrap();
            for (name, expected) in [("succeeded", entities as u64 - failing), ("failed", failing)] {
                if expected == 0 {
                    continue;
                }
                let rows = file(&world, &status, &format!("{name}.csv")).await.lines().count() as u64;
                let found = lines(&file(&world, &status, &format!("{name}.jsonl")).await);
                assert_eq!((rows - 1, found.len() as u64), (expected, expected), "{name}");
                assert!(found.windows(2).all(|pair| pair[0]["index"].as_u64() < pair[1]["index"].as_u64()));
            }
        });
    });
}
