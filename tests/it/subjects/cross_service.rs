//! Backup and restore of a tenant. They are about everything that it has, so executions of them do not run side by side.

use contracts::WorkflowKind;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Subject, site};
use crate::world::{Site, TENANT};

pub(crate) static CROSS_SERVICE_BACKUP: Subject = Subject {
    kind: WorkflowKind::CrossServiceBackup,
    path: "/api/v1/coordination/backup",
    request: |number| json!({ "backup_id": format!("backup-{number:04}"), "tenant_id": TENANT }),
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: None,
    sites: &[
        site("PlanBackup", "auth", "GET", "/api/v1/data"),
        site("BackUpDataSet", "user", "GET", PAGES),
        site("BackUpDataSet/content", "file", "GET", CONTENT),
        site("CompleteBackup", "user", "GET", PAGES),
    ],
    undoable: &[],
    tolerated: &[],
    last_before_pivot: "PlanBackup",
    final_steps: &["CompleteBackup"],
    // Its list of data sets is lost; a data set takes longer than one attempt.
    taken_elsewhere: &["BackUpDataSets/Catch/0", "BackUpDataSet/Catch/0", "WaitForDataSet"],
    masked: &["began_at", "created_at", "backup_size_bytes"],
    personal: &[],
    mails: 0,
    marks: |_, _, _| Vec::new(),
    counts: None,
};

pub(crate) static CROSS_SERVICE_RESTORE: Subject = Subject {
    kind: WorkflowKind::CrossServiceRestore,
    path: "/api/v1/coordination/restore",
    request: CROSS_SERVICE_BACKUP.request,
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: Some(backed_up_and_damaged),
    sites: &[
        site("PlanRestore", "auth", "GET", "/api/v1/data"),
        site("RestorePart", "auth", "POST", "/api/v1/data/{type}/import"),
        site("RestorePart/content", "file", "GET", CONTENT),
        site("RestorePart/upload", "file", "PUT", CONTENT),
        site("CompleteRestore", "user", "GET", PAGES),
    ],
    undoable: &[
        ("RestoreParts", "auth"),
        ("RestoreParts", "user"),
        ("RestoreParts", "tenant"),
        ("RestoreParts", "file"),
        ("RestoreParts", "notifications"),
    ],
    tolerated: &[],
    last_before_pivot: "RestorePart",
    final_steps: &["EndDrill"],
    taken_elsewhere: &["RestoreParts/Catch/0", "RestorePart/Catch/0", "WaitForPart"],
    masked: &["restored_at", "recovery_point", "recovery_seconds", "tenant_id"],
    personal: &[],
    mails: 0,
    // What it restores is the tenant's.
    marks: |_, _, _| vec![TENANT.to_owned()],
    counts: None,
};

const PAGES: &str = "/api/v1/data/{type}";
const CONTENT: &str = "/api/v1/data/file/{file_id}/content";

/// There is a backup with this number, and since then things were deleted and changed.
fn backed_up_and_damaged(site: &Site, number: usize) -> BoxFuture<'_, ()> {
    async move {
        let request = (CROSS_SERVICE_BACKUP.request)(number);
        let (status, answer) = site.post(CROSS_SERVICE_BACKUP.path, &request, &[]).await;
        assert!([StatusCode::OK, StatusCode::ACCEPTED].contains(&status), "{answer}");
        site.until_ended(answer["workflow_id"].as_str().unwrap()).await;
        damage(site).await;
        site.calls.lock().unwrap().clear();
    }
    .boxed()
}

/// Deletes and changes things of the demo data.
pub(crate) async fn damage(site: &Site) {
    use http::Method;
    use reference_services::ServiceKind::{Auth, File, User};
    let deleted = |id: &str| json!({ "items": [{ "id": id, "key": format!("delete {id}") }] });
    let renamed =
        json!({ "entity_type": "account", "entity_id": "user-124", "key": "rename", "data": { "name": "X" } });
    for (kind, method, path, body) in [
        (User, Method::POST, "/api/v1/data/profile/delete", deleted("profile-123")),
        (File, Method::POST, "/api/v1/data/file/delete", deleted("file-123-1")),
        (Auth, Method::POST, "/api/v1/operations/UserUpdate", json!({ "items": [renamed] })),
        (File, Method::PUT, "/api/v1/data/file/file-123-2/content", json!("other bytes")),
    ] {
        at(site, kind, method, path, body).await;
    }
}

/// A call to a service, past ours.
pub(crate) async fn at(
    site: &Site,
    kind: reference_services::ServiceKind,
    method: http::Method,
    path: &str,
    body: Value,
) {
    use tower::ServiceExt as _;
    let request = http::Request::builder().method(method).uri(path).header("x-tenant-id", TENANT);
    let request = request.header("idempotency-key", path).body(axum::body::Body::from(body.to_string())).unwrap();
    let answer = site.services.router(kind).oneshot(request).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}
