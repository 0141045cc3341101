//! Backups and restores: what comes back is what there was, and a restore that is not completed leaves no trace.

use contracts::Status;
use contracts::responses::StatusResponse;
use http::StatusCode;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};

use crate::subjects::damage;
use crate::world::{Control, ControlAction, Script, TENANT, World, run};

const BACKUP: &str = "/api/v1/coordination/backup";
const RESTORE: &str = "/api/v1/coordination/restore";

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
