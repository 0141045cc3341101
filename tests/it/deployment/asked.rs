//! What functions ask AWS for, when each does all that it can do, is what their roles allow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contracts::Status;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};

use super::rights::{needed_for_large_requests, removes_folders, statements};
use super::{actions, needed, pascal, template};
use crate::aws::{self, Options, Stack, StatusEvents};
use crate::lambda;
use crate::process::pause;
use crate::proxy::{Answer, Rule};
use crate::subjects::{COMPLIANCE, DATA_MIGRATION, ERASURE};
use crate::world::{Door, Site, full_request, full_request_of};

/// Lets every function do all that it can do, each with a key of its own, and sees what they ask for.
#[test]
fn functions_ask_for_what_they_may_and_for_all_of_it() {
    aws::run(|aws| async move {
        let overrides = lambda::names().into_iter().map(|binary| (&*binary.leak(), "AWS_ACCESS_KEY_ID"));
        // DynamoDB Local takes letters and digits only.
        // Those that deny nothing but what a token does not allow.
        let lists = [
            "list-workflows",
            "list-audit-rows",
            "list-backups",
            "list-data-requests",
            "list-holds",
            "stream-workflow",
            "check-services-health",
            "create-bulk-upload",
        ];
        let gateway = [("MODE", "gateway"), ("TENANTS_CLAIM", "tenants"), ("ROLES_CLAIM", "roles")];
        let gateway = gateway.map(|(name, value)| (&*format!("WORKFLOW__AUTH__{name}").leak(), value.to_owned()));
        let gateway = lists.into_iter().flat_map(|list| gateway.clone().map(|(name, value)| (list, name, value)));
        let overrides = overrides.map(|(binary, name)| (binary, name, pascal(binary))).chain(gateway).collect();
        let status_events = StatusEvents::FirstLost;
        let settings = [
            ("BACKUPS__TENANTS", "tenant-123"),
            ("BACKUPS__EVERY", "24h"),
            ("COMPLIANCE__NOTIFY", "officer@example.com"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let stack =
            aws.stack(Options { overrides, status_events, proxied: true, settings, ..Options::default() }).await;
        let site = &stack.site;
        let proxies = stack.proxies.as_ref().unwrap();
        stack.claim(Some(json!({ "sub": "user-1", "tenants": "[tenant-123]" })));
        // One whose end and one whose start are the reconciler's business.
        let key = [("idempotency-key", "key-1")];
        let (_, started) = site.post("/api/v1/workflows/user-onboarding", &full_request(), &key).await;
        let id = started["workflow_id"].as_str().unwrap();
        site.post("/api/v1/workflows/user-onboarding", &full_request(), &key).await;
        let full = Answer::Error("ExecutionLimitExceeded", 400);
        proxies.sfn.script(vec![Rule { operation: "StartExecution", skip: 0, times: 1, answer: full }]);
        let mut request = full_request();
        request["user_email"] = json!("late@example.com");
        let late = site.start(&request).await;
        assert!(site.cancel(&late).await.is_ok(), "it has not begun");
        // What is open is asked for one by one.
        site.get("/api/v1/workflows/history").await;
        let found = crate::aws_faults::reconciled(&stack, 2).await;
        assert_eq!(found, json!({ "started": 1, "ended": 1, "failed": 0 }));
        for id in [id, &late] {
            site.until_ended(id).await;
        }
        let operated = operate(site).await;
        let switch = json!({
            "user_id": "user-123", "current_tenant_id": "tenant-123", "target_tenant_id": "tenant-456",
        });
        let (_, switching) = site.post("/api/v1/workflows/tenant-switching", &switch, &key).await;
        site.post("/api/v1/workflows/tenant-switching", &switch, &key).await;
        let switched = site.until_ended(switching["workflow_id"].as_str().unwrap()).await;
        assert_eq!(switched.status, Status::Completed, "{:?}", switched.error);
        let jobs =
            bulk(site).await + backups(site, &stack).await + migrations(site).await + exports(site, &stack).await;
        // An event that leaves something out.
        let brief = json!({ "detail": { "name": id, "status": "SUCCEEDED" } });
        let recorded = stack.invoke("project-execution-status", brief).await.unwrap();
        assert_eq!(recorded, json!({ "recorded": false }), "the reconciler was there before");
        for filter in ["", "?status=Completed", "?workflow_type=user_onboarding", "?user_id=user-123"] {
            assert!(site.get(&format!("/api/v1/workflows{filter}")).await.0.is_success(), "{filter}");
        }
        for path in ["/ready", "/health", "/api/v1/workflows/history"] {
            assert!(site.get(path).await.0.is_success(), "{path}");
        }
        let (_, health) = site.post("/api/v1/coordination/health-check", &json!({}), &[]).await;
        assert_eq!(health["overall_healthy"], true, "{health}");
        let (refused, problem) = site.get(&format!("/api/v1/workflows/{id}/stream")).await;
        assert_eq!(refused, 501, "what is in front waits for whole answers: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("/status?wait=25s"), "{problem}");
        let first = site.get(&format!("/api/v1/workflows/history?workflow_id={id}&page_size=3")).await.1;
        let token = first["next_page_token"].as_str().unwrap();
        site.get(&format!("/api/v1/workflows/history?workflow_id={id}&page_size=3&page_token={token}")).await;
        assert!(site.cancel(id).await.is_err());
        // What is archived, and what is nowhere.
        let archived = stack.invoke("archive-executions", Value::Null).await.unwrap();
        assert_eq!(archived, json!({ "executions": 3 + operated + jobs, "failed": 0 }));
        site.get(&format!("/api/v1/workflows/history?workflow_id={id}")).await;
        site.get("/api/v1/workflows/nowhere/status").await;
        site.get("/api/v1/coordination/backups/nowhere").await;
        holds(site).await;
        for path in ["/api/v1/compliance/requests/nowhere", "/api/v1/compliance/requests/nowhere/certificate"] {
            assert_eq!(site.get(path).await.0, 404, "{path}");
        }
        site.get("/api/v1/workflows/nowhere/results/failed.csv").await;
        site.get("/api/v1/workflows/history?workflow_id=nowhere").await;
        for asked in ["cancel", "pause", "resume", "terminate", "retry", "reverse"] {
            let (missing, problem) = site.post(&format!("/api/v1/workflows/nowhere/{asked}"), &Value::Null, &[]).await;
            assert_eq!(missing, 404, "{asked}: {problem}");
        }
        assert_eq!(act(site, "cancel", &["nowhere"]).await[0]["outcome"], "not_found");
        // What is denied, and what tells of it.
        for (method, path) in [
            ("GET", "/api/v1/workflows"),
            ("GET", "/api/v1/audit"),
            ("GET", "/api/v1/workflows/nowhere/stream"),
            ("POST", "/api/v1/coordination/health-check"),
            ("POST", "/api/v1/workflows/bulk-operation/uploads"),
            ("GET", "/api/v1/coordination/backups"),
            ("GET", "/api/v1/compliance/holds"),
            ("GET", "/api/v1/compliance/requests"),
        ] {
            let request = http::Request::builder().method(method).uri(path).header("x-tenant-id", "tenant-456");
            let request = request.body(axum::body::Body::empty()).unwrap();
            let (status, _, answer) = site.call(request).await;
            assert_eq!(status.as_u16(), 403, "{path}: {answer}");
        }
        let denied = site.get("/api/v1/audit?outcome=denied").await.1;
        assert_eq!(denied["entries"].as_array().map(Vec::len), Some(22), "{denied}");

        let mut used = BTreeMap::<String, BTreeSet<&str>>::new();
        let mut queried = BTreeMap::<String, BTreeSet<String>>::new();
        for seen in [proxies.dynamodb.take(), proxies.sfn.take(), proxies.s3.take()].concat() {
            let actions = actions(&seen);
            if actions.contains("dynamodb:Query") {
                let index = if seen.index.is_empty() { String::new() } else { format!("/index/{}", seen.index) };
                queried.entry(seen.key.clone()).or_default().insert(format!("Table.Arn{index}"));
            }
            used.entry(seen.key).or_default().extend(actions);
        }
        let template = template();
        // Those of Temporal have nothing to do here.
        for binary in lambda::names().into_iter().filter(|binary| !binary.starts_with("temporal-")) {
            let id = pascal(&binary);
            let mut needed: BTreeSet<&str> = &needed(&binary) - &needed_for_large_requests(&binary);
            // Where a tenant has as many holds as it may have, those whose time is up make room.
            if binary == "place-hold" {
                needed.remove("dynamodb:DeleteItem");
            }
            // Only one that goes on where an earlier one ended reads what that has done.
            if binary == "plan-erasure" {
                needed.remove("s3:GetObject");
            }
            // Of a workflow in batches it reads how many there were.
            if binary == "terminate-workflow" {
                needed.remove("dynamodb:BatchGetItem");
            }
            // It stops at no number of failures, so it never reads how many there are.
            if binary == "erase-data-set" {
                needed.remove("dynamodb:BatchGetItem");
            }
            needed.extend(removes_folders(&binary).then_some("s3:ListBucket"));
            assert_eq!(used.get(&id).cloned().unwrap_or_default(), needed, "{binary}");
            let allowed = statements(&template, &format!("{id}Role")).remove("dynamodb:Query").unwrap_or_default();
            let allowed = allowed.into_iter().map(|resource| resource.replace("${Table.Arn}", "Table.Arn")).collect();
            assert_eq!(queried.remove(&id).unwrap_or_default(), allowed, "{binary}: what it queries");
        }
    });
}

/// Does all that bulk operations do; how many executions there are from it.
async fn bulk(site: &Site) -> u64 {
    let path = "/api/v1/workflows/bulk-operation";
    let upload = async |text: &str| {
        let size = json!({ "size_bytes": text.len() });
        let (created, answer) = site.post(&format!("{path}/uploads"), &size, &[]).await;
        assert_eq!(created, 201, "{answer}");
        let mut put = reqwest::Client::new().put(answer["upload_url"].as_str().unwrap()).body(text.to_owned());
        for (name, value) in answer["headers"].as_object().unwrap() {
            put = put.header(name, value.as_str().unwrap());
        }
        let stored = put.send().await.unwrap();
        assert!(stored.status().is_success(), "{}", stored.text().await.unwrap());
        answer["upload_id"].as_str().unwrap().to_owned()
    };
    let job = async |id: &str, upload_id: String| {
        let asked = json!({
            "operation_id": id, "tenant_id": "tenant-123", "operation_type": "UserCreation",
            "input": { "upload_id": upload_id }, "operation_data": { "name": "N", "role": "user" },
            "batch_options": { "failure_threshold": { "count": 2 }, "batch_size": 2, "max_retries": 1 },
        });
        let (accepted, answer) = site.post(path, &asked, &[]).await;
        assert_eq!(accepted, 202, "{answer}");
        site.until_ended(answer["workflow_id"].as_str().unwrap()).await
    };
    // One call fails, so that the batch is called again.
    let once = FaultRule {
        times: Some(1),
        ..FaultRule::on(
            "POST",
            "/api/v1/operations/{operation}",
            Fault::Status { status: 503, retry_after_seconds: None },
        )
    };
    site.services.set_faults(ServiceKind::Auth, vec![once]);
    let rows = "service,entity_type,entity_id,email\nauth,account,b-1,b1@example.com\nauth,account,b-2,\n";
    let done = job("job-1", upload(rows).await).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.error);
    let result = done.result.unwrap();
    assert_eq!((&result["successful_operations"], &result["failed_operations"]), (&1.into(), &1.into()), "{result}");
    // The client follows the link, which is all that it takes.
    let Door::Http(client, base) = &site.door else { panic!("it is deployed") };
    let file = format!("{base}{}", result["files"]["failed.csv"].as_str().unwrap());
    let table = client.get(file).header("x-tenant-id", "tenant-123").send().await.unwrap().text().await.unwrap();
    assert!(table.contains("b-2") && table.lines().count() == 2, "{table}");
    let refused = job("job-2", upload("entity_id\n").await).await;
    assert_eq!(refused.failure.unwrap().error, "InvalidInput");
    2
}

/// Does all that backups and restores do; how many executions there are from it.
async fn backups(site: &Site, stack: &Stack) -> u64 {
    let asked = async |what: &str, id: &str, field: &str, value: Value| {
        let mut request = json!({ "backup_id": id, "tenant_id": "tenant-123" });
        request[field] = value;
        let (_, answer) = site.post(&format!("/api/v1/coordination/{what}"), &request, &[]).await;
        site.until_ended(answer["workflow_id"].as_str().unwrap_or_else(|| panic!("{answer}"))).await
    };
    let ended = async |what: &str, id: &str| asked(what, id, "keep_count", Value::from(1)).await;
    let refused = Fault::Status { status: 400, retry_after_seconds: None };
    site.services.set_faults(ServiceKind::User, vec![FaultRule::on("GET", "/api/v1/data/{type}", refused)]);
    assert_eq!(ended("backup", "refused").await.status, Status::Failed);
    site.services.set_faults(ServiceKind::User, Vec::new());
    assert_eq!(ended("backup", "backup-1").await.status, Status::Completed);
    // What is undone notes how far it is.
    let refused = Fault::Status { status: 400, retry_after_seconds: None };
    let rule = FaultRule::on("POST", "/api/v1/data/{type}/import", refused);
    site.services.set_faults(ServiceKind::User, vec![rule]);
    assert_eq!(ended("restore", "backup-1").await.status, Status::Failed);
    site.services.set_faults(ServiceKind::User, Vec::new());
    let status = ended("restore", "backup-1").await;
    assert_eq!(status.status, Status::Completed, "{:?}", status.error);
    let drill = asked("restore", "backup-1", "drill", Value::Bool(true)).await;
    assert_eq!(drill.status, Status::Completed, "{:?}", drill.error);
    let path = "/api/v1/coordination/backups";
    let (_, backup) = site.get(&format!("{path}/backup-1")).await;
    assert_eq!(backup["last_drill"]["passed"], true, "{backup}");
    // One too many: the older one goes.
    assert_eq!(ended("backup", "backup-2").await.status, Status::Completed);
    let kept = stack.invoke("keep-backups", Value::Null).await.unwrap();
    assert_eq!(kept, json!({ "begun": 1, "removed": 1, "left": 0 }));
    let (_, list) = site.get(path).await;
    let names: Vec<_> = list["backups"].as_array().unwrap().iter().map(|backup| &backup["backup_id"]).collect();
    assert!(names.contains(&&Value::from("backup-2")) && !names.contains(&&Value::from("backup-1")), "{list}");
    let removed = http::Request::delete(format!("{path}/backup-2")).header("x-tenant-id", "tenant-123");
    let (status, _, answer) = site.call(removed.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    // The scheduled one.
    let (_, list) = site.get("/api/v1/workflows?workflow_type=cross_service_backup&status=Running").await;
    for scheduled in list["workflows"].as_array().unwrap() {
        site.until_ended(scheduled["workflow_id"].as_str().unwrap()).await;
    }
    7
}

/// Does all that is done with legal holds.
async fn holds(site: &Site) {
    let path = "/api/v1/compliance/holds";
    let hold = json!({ "hold_id": "case-1", "subject_user_id": "user-124", "reason": "a lawsuit" });
    for expected in [201, 200] {
        let (status, answer) = site.post(path, &hold, &[]).await;
        assert_eq!(status, expected, "{answer}");
    }
    let (_, list) = site.get(path).await;
    assert_eq!(list["holds"][0]["hold_id"], "case-1", "{list}");
    assert_eq!(site.get(&format!("{path}/case-1")).await.0, 200);
    assert_eq!(site.get(&format!("{path}/nowhere")).await.0, 404);
    // What is kept because of the hold is erased when it is released.
    let mut erasure = (ERASURE.request)(1);
    erasure["subject_user_id"] = json!("user-124");
    let (_, answer) = site.post(ERASURE.path, &erasure, &[]).await;
    completed(site, &answer, "workflow_id").await;
    let certificate = "/api/v1/compliance/requests/erasure-0001/certificate";
    // It leads to the file among the results, and that to S3.
    let (status, answer) = site.get(certificate).await;
    assert_eq!((status.as_u16(), &answer["document"]["compliance_id"]), (200, &json!("erasure-0001")), "{answer}");
    let release = http::Request::delete(format!("{path}/case-1")).header("x-tenant-id", "tenant-123");
    let release = release.header("content-type", "application/json");
    let reason = axum::body::Body::from(json!({ "reason": "it is over" }).to_string());
    let (status, _, answer) = site.call(release.body(reason).unwrap()).await;
    assert_eq!((status.as_u16(), &answer["state"]), (200, &json!("released")), "{answer}");
    let deferred = json!({ "workflow_id": answer["deferred"][0] });
    completed(site, &deferred, "workflow_id").await;
}

/// Does all that migrations do; how many executions there are from it.
async fn migrations(site: &Site) -> u64 {
    let usage = json!([{ "service": "user", "entity_type": "usage" }]);
    let profiles = json!([{ "service": "user", "entity_type": "profile" }]);
    let mut last = String::new();
    for (number, (migration_type, selectors, restore_from)) in [
        ("CrossServiceSync", &profiles, Value::Null),
        ("SystemUpgrade", &profiles, Value::Null),
        ("DataArchival", &usage, Value::Null),
        ("DataRestore", &usage, json!("archive_migration-0002")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut request = (DATA_MIGRATION.request)(number);
        request["migration_type"] = json!(migration_type);
        request["data_selectors"] = selectors.clone();
        request["restore_from"] = restore_from;
        let (_, answer) = site.post(DATA_MIGRATION.path, &request, &[]).await;
        last = completed(site, &answer, "workflow_id").await;
    }
    let (_, answer) = site.post(&format!("/api/v1/workflows/{last}/reverse"), &Value::Null, &[]).await;
    completed(site, &answer, "new_workflow_id").await;
    5
}

/// Waits for an execution that an answer names; its id.
async fn completed(site: &Site, answer: &Value, member: &str) -> String {
    let id = answer[member].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let ended = site.until_ended(&id).await;
    assert_eq!(ended.status, Status::Completed, "{:?}", ended.error);
    id
}

/// Does all that exports do; how many executions there are from it.
async fn exports(site: &Site, stack: &Stack) -> u64 {
    let (_, answer) = site.post(COMPLIANCE.path, &(COMPLIANCE.request)(0), &[]).await;
    completed(site, &answer, "workflow_id").await;
    // Two that are not answered yet, one of them too late.
    let slow = FaultRule::on("GET", "/api/v1/data/{type}", Fault::Delay { delay_ms: 8_000 });
    site.services.set_faults(ServiceKind::Auth, vec![slow]);
    let mut late = (COMPLIANCE.request)(1);
    late["received_at"] = json!("2020-01-01T00:00:00Z");
    let (_, late) = site.post(COMPLIANCE.path, &late, &[]).await;
    let (_, open) = site.post(COMPLIANCE.path, &(COMPLIANCE.request)(2), &[]).await;
    let told = stack.invoke("notify-due-requests", Value::Null).await.unwrap();
    assert_eq!(told, json!({ "sent": 1, "logged": 0 }));
    let path = "/api/v1/compliance/requests";
    for (query, count) in [("", 3), ("?state=overdue", 1)] {
        let (_, list) = site.get(&format!("{path}{query}")).await;
        assert_eq!(list["requests"].as_array().map(Vec::len), Some(count), "{list}");
    }
    let extension = format!("{path}/export-0002/extension");
    let (status, extended) = site.post(&extension, &json!({ "reason": "much data" }), &[]).await;
    assert_eq!((status.as_u16(), &extended["state"]), (200, &json!("open")), "{extended}");
    site.services.set_faults(ServiceKind::Auth, Vec::new());
    for answer in [late, open] {
        completed(site, &answer, "workflow_id").await;
    }
    assert_eq!(site.get(&format!("{path}/export-0002")).await.1["state"], "completed");
    let (_, answer) = site.post(ERASURE.path, &(ERASURE.request)(0), &[]).await;
    completed(site, &answer, "workflow_id").await;
    4
}

/// Does to executions all that operators can do, to one and to many; how many executions there are from it.
async fn operate(site: &Site) -> u64 {
    let slow = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 4_000 });
    site.services.set_faults(ServiceKind::User, vec![slow]);
    let [one, another, cancelled] = [1, 2, 3].map(full_request_of);
    let [one, another, cancelled] = [site.start(&one).await, site.start(&another).await, site.start(&cancelled).await];
    for id in [&one, &another, &cancelled] {
        while site.status(id).await.progress.unwrap().current_step != "CreateUserProfile" {
            pause(Duration::from_millis(100)).await;
        }
    }
    for asked in ["pause", "resume", "terminate"] {
        let (status, answer) = site.post(&format!("/api/v1/workflows/{one}/{asked}"), &Value::Null, &[]).await;
        assert_eq!(status, 200, "{asked}: {answer}");
        assert_eq!(act(site, asked, &[&another]).await[0]["outcome"], "done", "{asked}");
    }
    assert_eq!(act(site, "cancel", &[&cancelled]).await[0]["outcome"], "done");
    // What was on its way arrives.
    pause(Duration::from_secs(5)).await;
    site.services.set_faults(ServiceKind::User, Vec::new());
    assert_eq!(site.until_ended(&cancelled).await.status, Status::Cancelled);
    let (status, retried) = site.post(&format!("/api/v1/workflows/{one}/retry"), &Value::Null, &[]).await;
    assert_eq!(status, 202, "{retried}");
    let undone = act(site, "undo", &[&another]).await.remove(0);
    let again = act(site, "retry", &[&cancelled]).await.remove(0);
    for (retry, expected) in [(retried, Status::Completed), (undone, Status::Cancelled), (again, Status::Completed)] {
        let id = retry["new_workflow_id"].as_str().unwrap_or_else(|| panic!("{retry}"));
        let ended = site.until_ended(id).await;
        assert_eq!(ended.status, expected, "{retry}: {:?}", ended.failure);
    }
    // By every index, and without doing anything.
    for filter in [
        json!({}),
        json!({ "status": ["Completed"] }),
        json!({ "workflow_type": "user_onboarding" }),
        json!({ "user_id": "user-123" }),
    ] {
        let body = json!({ "action": "cancel", "filter": filter, "dry_run": true });
        let (status, answer) = site.post("/api/v1/workflows/actions", &body, &[]).await;
        assert_eq!(status, 200, "{answer}");
    }
    6
}

/// Acts on these executions; what became of each.
async fn act(site: &Site, action: &str, ids: &[&str]) -> Vec<Value> {
    let body = json!({ "action": action, "ids": ids });
    let (status, answer) = site.post("/api/v1/workflows/actions", &body, &[]).await;
    assert_eq!(status, 200, "{answer}");
    answer["results"].as_array().unwrap().clone()
}
