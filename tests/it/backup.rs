//! Backups and restores: what comes back is what there was, and a restore that is not completed leaves no trace.

use axum::body::Body;
use contracts::Status;
use contracts::responses::StatusResponse;
use http::{Method, Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::world::{Control, ControlAction, Script, TENANT, World, run};

const BACKUP: &str = "/api/v1/coordination/backup";
const RESTORE: &str = "/api/v1/coordination/restore";

/// A call to a service, past ours.
async fn at(world: &World, kind: ServiceKind, method: Method, path: &str, body: Value) {
    let request = Request::builder().method(method).uri(path).header("x-tenant-id", TENANT);
    let request = request.header("idempotency-key", path).body(Body::from(body.to_string())).unwrap();
    let answer = world.services.router(kind).oneshot(request).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}

async fn delete(world: &World, kind: ServiceKind, entity_type: &str, id: &str) {
    let body = json!({ "items": [{ "id": id, "key": format!("delete {id}") }] });
    at(world, kind, Method::POST, &format!("/api/v1/data/{entity_type}/delete"), body).await;
}

/// Takes a backup.
async fn back_up(world: &World, backup_id: &str) -> Value {
    let request = json!({ "backup_id": backup_id, "tenant_id": TENANT });
    let (status, answer) = world.post(BACKUP, &request, &[]).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("completed")), "{answer}");
    answer
}

/// Restores a backup, and waits for the end.
async fn restore(world: &World, request: Value) -> StatusResponse {
    let (status, answer) = world.post(RESTORE, &request, &[]).await;
    assert!(status.is_success(), "{answer}");
    world.until_ended(answer["workflow_id"].as_str().unwrap()).await
}

fn request(backup_id: &str) -> Value {
    json!({ "backup_id": backup_id, "tenant_id": TENANT })
}

/// What the services hold, without what they only calculate.
async fn held(world: &World) -> Value {
    let mut held = world.snapshot().await;
    for content in held["file"]["contents"].as_array_mut().unwrap() {
        content["sha256"].take();
    }
    held
}

/// Deletes, changes and adds things.
async fn damage(world: &World) {
    delete(world, ServiceKind::User, "profile", "profile-123").await;
    delete(world, ServiceKind::File, "file", "file-123-1").await;
    let change = json!({ "items": [{ "entity_type": "account", "entity_id": "user-124", "key": "rename", "data": { "name": "Renamed" } }] });
    at(world, ServiceKind::Auth, Method::POST, "/api/v1/operations/UserUpdate", change).await;
    at(world, ServiceKind::File, Method::PUT, "/api/v1/data/file/file-123-2/content", json!("other bytes")).await;
}

#[test]
fn what_was_deleted_or_changed_comes_back() {
    run(async {
        let world = World::new().await;
        let before = held(&world).await;
        let taken = back_up(&world, "backup-1").await;
        println!("{taken}");
        for name in ["backup_id", "backup_location", "services_backed_up", "backup_size_bytes", "created_at"] {
            assert!(!taken[name].is_null(), "{name} is missing: {taken}");
        }
        assert_eq!(held(&world).await, before, "a backup changes nothing");
        damage(&world).await;
        assert_ne!(held(&world).await, before);
        let status = restore(&world, request("backup-1")).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        println!("{}", status.result.unwrap());
        assert_eq!(held(&world).await, before);
    });
}

#[test]
fn a_restore_that_fails_or_is_cancelled_leaves_everything_as_it_was() {
    for (name, script, fault) in [
        ("refused", Script::default(), Some(Fault::Status { status: 400, retry_after_seconds: None })),
        (
            "cancelled",
            Script {
                control: vec![Control {
                    during: "RestorePart".to_owned(),
                    what: ControlAction::Cancel,
                    after_seconds: 0,
                }],
                ..Script::default()
            },
            None,
        ),
    ] {
        run(async {
            let world = World::with(script, &[]).await;
            back_up(&world, "backup-1").await;
            damage(&world).await;
            let damaged = held(&world).await;
            if let Some(fault) = fault {
                let rule = FaultRule::on("PUT", "/api/v1/data/file/{file_id}/content", fault);
                world.services.set_faults(ServiceKind::File, vec![rule]);
            }
            let status = restore(&world, request("backup-1")).await;
            println!("{name}: {:?} {:?}", status.status, status.error);
            assert_ne!(status.status, Status::Completed, "{name}");
            assert_eq!(held(&world).await, damaged, "{name}");
        });
    }
}
