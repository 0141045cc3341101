//! Backup and restore of a tenant. They are about everything that it has, so executions of them do not run side by side.

use axum::body::Body;
use bytes::Bytes;
use contracts::responses::StatusResponse;
use contracts::{Status, WorkflowKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use reference_services::ServiceKind;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Subject, site, undo};
use crate::world::{Site, TENANT, World};

pub(crate) static CROSS_SERVICE_BACKUP: Subject = Subject {
    kind: WorkflowKind::CrossServiceBackup,
    variant: None,
    path: "/api/v1/coordination/backup",
    request: |number| json!({ "backup_id": format!("backup-{number:04}"), "tenant_id": TENANT }),
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: None,
    sites: &[
        site("PlanBackup", "auth", "GET", "/api/v1/data"),
        site("PlanBackup/last", "notifications", "GET", "/api/v1/data"),
        site("BackUpDataSet/content", "file", "GET", CONTENT),
        site("BackUpDataSet/content-last", "file", "GET", CONTENT).after(2),
        site("BackUpDataSet", "user", "GET", PAGES),
        site("BackUpDataSet/last", "auth", "GET", PAGES).after(1),
        // Each type once more.
        site("CompleteBackup", "user", "GET", PAGES).after(2),
        site("CompleteBackup/last", "auth", "GET", PAGES).after(3),
    ],
    undoable: &[],
    tolerated: &[],
    last_before_pivot: "PlanBackup",
    final_steps: &["CompleteBackup"],
    // Its list of data sets is lost; a data set takes longer than one attempt.
    batches: &[("BackUpDataSet", 11)],
    taken_elsewhere: &["BackUpDataSets/Catch/0", "BackUpDataSet/Catch/0", "WaitForDataSet"],
    masked: &["began_at", "created_at", "backup_size_bytes"],
    personal: &[],
    mails: 0,
    marks: |_, _, _| Vec::new(),
    counts: None,
    about_everything: Some(a_backup_is_whole_or_gone),
};

pub(crate) static CROSS_SERVICE_RESTORE: Subject = Subject {
    kind: WorkflowKind::CrossServiceRestore,
    variant: None,
    path: "/api/v1/coordination/restore",
    request: CROSS_SERVICE_BACKUP.request,
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: Some(backed_up_and_damaged),
    sites: &[
        site("PlanRestore", "auth", "GET", "/api/v1/data"),
        site("RestorePart", "auth", "POST", IMPORT),
        site("RestorePart/file", "file", "POST", IMPORT).after(1),
        site("RestorePart/content", "file", "GET", CONTENT),
        site("RestorePart/upload", "file", "PUT", CONTENT),
        site("RestorePart/upload-last", "file", "PUT", CONTENT).after(1),
        site("VerifyRestore", "user", "GET", PAGES),
        site("VerifyRestore/last", "file", "GET", PAGES).after(1),
        undo("ConcludeRestore", "file", 0),
        // A session, and the other accounts.
        undo("ConcludeRestore/last", "auth", 4),
    ],
    undoable: &[
        ("RestoreParts", "auth"),
        ("RestoreParts", "user"),
        ("RestoreParts", "tenant"),
        ("RestoreParts", "file"),
        ("RestoreParts", "notifications"),
    ],
    tolerated: &[],
    last_before_pivot: "RestorePart[10]",
    final_steps: &["CompleteRestore"],
    batches: &[("RestorePart", 11)],
    taken_elsewhere: &["RestoreParts/Catch/0", "RestorePart/Catch/0", "WaitForPart"],
    masked: &["restored_at", "recovery_point", "recovery_seconds", "tenant_id"],
    personal: &[],
    mails: 0,
    // What it restores is the tenant's.
    marks: |_, _, _| vec![TENANT.to_owned()],
    counts: None,
    about_everything: Some(a_restore_is_whole),
};

const IMPORT: &str = "/api/v1/data/{type}/import";
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

/// What the services hold, without what they only calculate.
pub(crate) async fn held(site: &Site) -> Value {
    let mut held = site.snapshot().await;
    for content in held["file"]["contents"].as_array_mut().unwrap() {
        content["sha256"].take();
    }
    held
}

/// A backup that is complete holds everything as it is; of any other nothing is left.
fn a_backup_is_whole_or_gone<'w>(
    world: &'w World,
    status: &'w StatusResponse,
    request: &'w Value,
    _: &'w Value,
) -> BoxFuture<'w, Result<(), String>> {
    async move {
        let id = request["backup_id"].as_str().unwrap();
        if status.status != Status::Completed {
            let folder = world.blobs().join(TENANT).join("backups").join(id);
            let left: Vec<_> = std::fs::read_dir(&folder).map(Iterator::collect).unwrap_or_default();
            return if left.is_empty() { Ok(()) } else { Err(format!("parts are left of {id}: {left:?}")) };
        }
        let request = json!({ "backup_id": id, "tenant_id": TENANT, "dry_run": true });
        let id = world.start_of(&CROSS_SERVICE_RESTORE, &request).await;
        let told = world.until_ended(&id).await;
        let result = told.result.filter(|_| told.status == Status::Completed);
        let result = result.ok_or_else(|| format!("it cannot be restored: {:?}", told.error))?;
        match result["records_restored"] == 0
            && result["skipped"] == status.result.as_ref().unwrap()["records_backed_up"]
        {
            true => Ok(()),
            false => Err(format!("it is not what the services hold: {result}")),
        }
    }
    .boxed()
}

/// After a restore that is complete, everything is as it was before the damage.
fn a_restore_is_whole<'w>(
    world: &'w World,
    status: &'w StatusResponse,
    _: &'w Value,
    first: &'w Value,
) -> BoxFuture<'w, Result<(), String>> {
    async move {
        let now = held(world).await;
        match status.status != Status::Completed || now == *first {
            true => Ok(()),
            false => Err(format!("it is not as before: {now}, it was {first}")),
        }
    }
    .boxed()
}

/// Deletes and changes things of the demo data.
pub(crate) async fn damage(site: &Site) {
    use ServiceKind::{Auth, File, User};
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

/// A call to a service, past ours, that has to succeed.
pub(crate) async fn at(site: &Site, kind: ServiceKind, method: Method, path: &str, body: Value) {
    let (status, _) = ask(site, kind, method, path, path, body.to_string().into()).await;
    assert!(status.is_success(), "{path}: {status}");
}

/// A call to a service, past ours, with this key if any.
pub(crate) async fn ask(
    site: &Site,
    kind: ServiceKind,
    method: Method,
    path: &str,
    key: &str,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let mut request = Request::builder().method(method).uri(path).header("x-tenant-id", TENANT);
    if !key.is_empty() {
        request = request.header("idempotency-key", key);
    }
    let answer = site.services.router(kind).oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = answer.status();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}
