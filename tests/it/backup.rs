//! Backups and restores: what comes back is what there was, and a restore that is not completed leaves no trace.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use contracts::Status;
use contracts::responses::StatusResponse;
use http::{Method, Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use vault::{KeyFilePath, Keys as _, Manifest};

use crate::subjects::{DATA_MIGRATION, at, damage, held};
use crate::world::{Control, ControlAction, Script, TENANT, World, run};

const BACKUP: &str = "/api/v1/coordination/backup";
const RESTORE: &str = "/api/v1/coordination/restore";
const BACKUPS: &str = "/api/v1/coordination/backups";

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
fn a_backup_that_fails_says_of_what_and_why() {
    run(async {
        let world = World::new().await;
        let rule = FaultRule::on("GET", "/api/v1/data/{type}", Fault::MalformedBody);
        world.services.set_faults(ServiceKind::Auth, vec![rule]);
        let (_, answer) = world.post(BACKUP, &request("backup-1"), &[]).await;
        let status = world.until_ended(answer["workflow_id"].as_str().unwrap()).await;
        let error = status.error.unwrap();
        assert!(error.contains("auth/session was not read to its end: auth: "), "{error}");
        assert!(!world.blobs().join(TENANT).join("backups/backup-1").exists(), "its parts are gone");
    });
}

/// A service that knows of a file and does not hand out its bytes: the backup does not have them, and says so.
#[test]
fn a_backup_tells_of_files_whose_bytes_are_missing() {
    run(async {
        let world = World::new().await;
        let whole = back_up(&world, "whole").await;
        let gone = Fault::Status { status: 404, retry_after_seconds: None };
        let rule = FaultRule { times: Some(1), ..FaultRule::on("GET", "/api/v1/data/file/{file_id}/content", gone) };
        world.services.set_faults(ServiceKind::File, vec![rule]);
        let lacking = back_up(&world, "lacking").await;
        let dangling = |answer: &Value| answer["dangling_references"].as_u64().unwrap();
        assert_eq!(dangling(&lacking), dangling(&whole) + 1, "{lacking}");
        let told = lacking["dangling_first"].as_array().unwrap();
        let is_told = |of: &Value| of["entity_type"] == "file" && of["field"] == "content";
        assert_eq!(told.iter().filter(|of| is_told(of)).count(), 1, "{lacking}");
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

/// Whatever is wrong with a backup is found before anything is written.
#[test]
fn a_backup_that_is_not_as_it_was_signed_writes_nothing() {
    type Tamper = fn(&Path);
    let cases: [(&str, &str, Tamper); 7] = [
        ("a bit is flipped", "IntegrityViolation", |folder| {
            let mut bytes = std::fs::read(folder.join("auth.account.00001.part")).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(folder.join("auth.account.00001.part"), bytes).unwrap();
        }),
        ("the end is cut off", "IntegrityViolation", |folder| {
            let bytes = std::fs::read(folder.join("user.profile.00001.part")).unwrap();
            std::fs::write(folder.join("user.profile.00001.part"), &bytes[..bytes.len() - 20]).unwrap();
        }),
        ("two parts are swapped", "IntegrityViolation", |folder| {
            let [one, other] = ["auth.account.00001.part", "user.profile.00001.part"].map(|name| folder.join(name));
            std::fs::rename(&one, folder.join("x")).unwrap();
            std::fs::rename(&other, &one).unwrap();
            std::fs::rename(folder.join("x"), &other).unwrap();
        }),
        ("a part is missing", "IntegrityViolation", |folder| {
            std::fs::remove_file(folder.join("tenant.membership.00001.part")).unwrap();
        }),
        ("a part is another backup's", "IntegrityViolation", |folder| {
            let name = "auth.account.00001.part";
            std::fs::copy(folder.with_file_name("backup-2").join(name), folder.join(name)).unwrap();
        }),
        ("the manifest is changed", "IntegrityViolation", |folder| {
            let text = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
            std::fs::write(folder.join("manifest.json"), text.replacen("\"rounds\":1", "\"rounds\":2", 1)).unwrap();
        }),
        ("the manifest is another backup's", "IntegrityViolation", |folder| {
            std::fs::copy(folder.with_file_name("backup-2").join("manifest.json"), folder.join("manifest.json"))
                .unwrap();
        }),
    ];
    for (name, expected, tamper) in cases {
        run(async {
            let world = World::new().await;
            back_up(&world, "backup-1").await;
            back_up(&world, "backup-2").await;
            damage(&world).await;
            let damaged = held(&world).await;
            tamper(&world.blobs().join(TENANT).join("backups/backup-1"));
            world.forget_calls();
            let status = restore(&world, request("backup-1")).await;
            let failure = status.failure.unwrap_or_else(|| panic!("{name}: {}", status.status));
            assert_eq!((failure.error.as_str(), failure.step.as_deref()), (expected, Some("PlanRestore")), "{name}");
            let calls = world.calls.lock().unwrap().clone();
            assert!(calls.keys().all(|call| call.starts_with("GET ")), "{name}: {calls:?}");
            assert_eq!(held(&world).await, damaged, "{name}");
        });
    }
}

/// What is signed of each type is compared with what is in the parts, whoever has signed it.
#[test]
fn a_backup_whose_digests_are_not_those_of_its_parts_writes_nothing() {
    run(async {
        let world = World::new().await;
        back_up(&world, "backup-1").await;
        damage(&world).await;
        let damaged = held(&world).await;
        let file = world.blobs().join(TENANT).join("backups/backup-1/manifest.json");
        let signed = std::fs::read(&file).unwrap();
        let keys = KeyFilePath::new(world.database().with_file_name("keys.json"));
        let of = Manifest::open_any(&signed, &keys.public_keys().await.unwrap()).unwrap();
        let types = of.services.iter().enumerate();
        let places: Vec<(usize, usize)> =
            types.flat_map(|(service, of)| (0..of.types.len()).map(move |of_type| (service, of_type))).collect();
        for (service, of_type) in places {
            let mut changed = of.clone();
            changed.services[service].types[of_type].digest = "0".repeat(64);
            std::fs::write(&file, changed.sign(&keys).await.unwrap()).unwrap();
            let failure = restore(&world, request("backup-1")).await.failure.unwrap();
            let name = &of.services[service].types[of_type].entity_type;
            assert_eq!((failure.error.as_str(), failure.message.contains(name.as_str())), ("IntegrityViolation", true));
            assert_eq!(held(&world).await, damaged, "{name}");
        }
        std::fs::write(&file, signed).unwrap();
        assert_eq!(restore(&world, request("backup-1")).await.status, Status::Completed);
    });
}

#[test]
fn a_backup_that_is_not_there_is_as_one_of_somebody_else() {
    run(async {
        let world = World::new().await;
        back_up(&world, "backup-1").await;
        let mut told = Vec::new();
        for id in ["backup-1", "backup-9"] {
            let foreign = json!({ "backup_id": id, "tenant_id": "tenant-456" });
            let asked = Request::builder().method(Method::POST).uri(RESTORE).header("x-tenant-id", "tenant-456");
            let asked = asked.header("content-type", "application/json").body(Body::from(foreign.to_string()));
            let (status, _, mut answer) = world.call(asked.unwrap()).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
            answer["request_id"] = Value::Null;
            told.push(answer);
        }
        assert_eq!(told[0], told[1]);
        let again = world.post(BACKUP, &request("backup-1"), &[]).await.1;
        assert_eq!(again["status"], "completed", "the same start is the same execution: {again}");
        assert_eq!(world.get("/api/v1/workflows?workflow_type=cross_service_backup").await.1["total_count"], 1);
        let mut other = request("backup-1");
        other["services"] = json!(["auth"]);
        assert_eq!(world.post(BACKUP, &other, &[]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

/// A request about backups that were completed, of this tenant.
async fn ask(world: &World, method: Method, path: &str, tenant_id: &str) -> (StatusCode, Value) {
    let asked = Request::builder().method(method).uri(format!("{BACKUPS}{path}")).header("x-tenant-id", tenant_id);
    let (status, _, answer) = world.call(asked.header("x-request-id", "r").body(Body::empty()).unwrap()).await;
    (status, answer)
}

async fn listed(world: &World) -> Vec<String> {
    let (_, list) = ask(world, Method::GET, "", TENANT).await;
    let backups = list["backups"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
    backups.map(|backup| backup["backup_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn backups_are_listed_shown_and_removed_by_their_tenant_alone() {
    run(async {
        let world = World::new().await;
        let taken = back_up(&world, "backup-1").await;
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        back_up(&world, "backup-2").await;
        assert_eq!(listed(&world).await, ["backup-2", "backup-1"], "the newest is the first");
        let (_, shown) = ask(&world, Method::GET, "/backup-1", TENANT).await;
        for name in ["backup_id", "workflow_id", "backup_location", "backup_size_bytes", "records_backed_up"] {
            assert_eq!(shown[name], taken[name], "{name}: {shown}");
        }
        assert_eq!((&shown["keep_until"], &shown["last_drill"]), (&Value::Null, &Value::Null), "{shown}");
        let types =
            shown["services"].as_array().unwrap().iter().flat_map(|service| service["types"].as_array().unwrap());
        assert!(types.clone().any(|of| of["entity_type"] == "account" && of["items"] == 4), "{shown}");

        let before = held(&world).await;
        let (_, foreign) = ask(&world, Method::GET, "", "tenant-456").await;
        assert_eq!(foreign["backups"], json!([]), "{foreign}");
        for method in [Method::GET, Method::DELETE] {
            let mut told = Vec::new();
            for id in ["backup-1", "backup-9", "a%2Fb"] {
                let (status, problem) = ask(&world, method.clone(), &format!("/{id}"), "tenant-456").await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
                told.push(problem.to_string().replace(id, "ID"));
            }
            assert!(told.iter().all(|other| *other == told[0]), "{told:?}");
        }
        assert_eq!(listed(&world).await.len(), 2, "nothing is removed by others");

        let (status, removed) = ask(&world, Method::DELETE, "/backup-1", TENANT).await;
        assert_eq!((status, &removed["deleted"]), (StatusCode::OK, &json!(true)), "{removed}");
        assert_eq!(listed(&world).await, ["backup-2"]);
        assert!(!world.blobs().join(TENANT).join("backups/backup-1").exists(), "its files are gone");
        assert_eq!(ask(&world, Method::DELETE, "/backup-1", TENANT).await.0, StatusCode::NOT_FOUND);
        let (status, problem) = world.post(RESTORE, &request("backup-1"), &[]).await;
        assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("NotFound")), "{problem}");
        let (status, problem) = world.post(BACKUP, &request("backup-1"), &[]).await;
        assert_eq!((status, &problem["workflow_id"]), (StatusCode::CONFLICT, &taken["workflow_id"]), "{problem}");
        assert_eq!(held(&world).await, before, "what the services hold stays");
        let audit = world.get("/api/v1/audit?action=delete_backup").await.1;
        let accepted: Vec<_> =
            audit["entries"].as_array().unwrap().iter().filter(|row| row["outcome"] == "accepted").collect();
        assert_eq!(accepted.len(), 1, "{audit}");
        assert_eq!(accepted[0]["details"]["backup_id"], "backup-1");
    });
}

#[test]
fn a_backup_in_use_is_not_removed() {
    run(async {
        let world = World::new().await;
        back_up(&world, "backup-1").await;
        damage(&world).await;
        let slow = FaultRule {
            times: Some(1),
            ..FaultRule::on("POST", "/api/v1/data/{type}/import", Fault::Delay { delay_ms: 5_000 })
        };
        world.services.set_faults(ServiceKind::User, vec![slow]);
        let (_, answer) = world.post(RESTORE, &request("backup-1"), &[("prefer", "wait=0")]).await;
        let id = answer["workflow_id"].as_str().unwrap();
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let (status, problem) = ask(&world, Method::DELETE, "/backup-1", TENANT).await;
        assert_eq!(status, StatusCode::CONFLICT, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(id), "{problem}");
        let status = world.until_ended(id).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        assert_eq!(ask(&world, Method::DELETE, "/backup-1", TENANT).await.0, StatusCode::OK);
    });
}

#[test]
fn backups_go_by_their_age_and_their_number() {
    run(async {
        let world = World::new().await;
        let take = async |id: &str, field: &str, value: u64| {
            let mut request = request(id);
            request[field] = json!(value);
            let (status, answer) = world.post(BACKUP, &request, &[]).await;
            assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("completed")), "{answer}");
            clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        };
        back_up(&world, "for-ever").await;
        take("for-two-days", "keep_days", 2).await;
        for id in ["one", "two", "three"] {
            take(id, "keep_count", 2).await;
        }
        // Its own number is no other one's.
        take("four", "keep_count", 1).await;
        take("five", "keep_count", 9).await;
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        clock::sleep(&*world.clock, hours(1)).await;
        assert_eq!(listed(&world).await, ["five", "for-two-days", "for-ever"]);
        assert!(!world.blobs().join(TENANT).join("backups/one").exists(), "its files are gone");
        clock::sleep(&*world.clock, hours(46)).await;
        assert_eq!(listed(&world).await.len(), 3, "two days are not over");
        clock::sleep(&*world.clock, hours(2)).await;
        assert_eq!(listed(&world).await, ["five", "for-ever"]);
        let audit = world.get("/api/v1/audit?action=delete_backup").await.1;
        let told: Vec<_> =
            audit["entries"].as_array().unwrap().iter().map(|row| &row["details"]["backup_id"]).collect();
        assert_eq!((told[0], told.len()), (&json!("for-two-days"), 5), "{audit}");
        assert_eq!(audit["entries"][0]["actor"], Value::Null);
    });
}

#[test]
fn a_schedule_makes_one_backup_of_each_tenant_in_each_period() {
    run(async {
        let settings = [
            ("BACKUPS__TENANTS", "tenant-123,tenant-456".to_owned()),
            ("BACKUPS__EVERY", "6h".to_owned()),
            ("BACKUPS__KEEP_COUNT", "3".to_owned()),
        ];
        let world = World::with(Script::default(), &settings).await;
        clock::sleep(&*world.clock, Duration::from_secs(31 * 3_600)).await;
        let ids = listed(&world).await;
        assert_eq!(ids.len(), 3, "{ids:?}");
        assert!(ids.iter().all(|id| id.starts_with("scheduled-")), "{ids:?}");
        for tenant_id in [TENANT, "tenant-456"] {
            let asked = Request::get("/api/v1/workflows?workflow_type=cross_service_backup");
            let (_, _, list) = world.call(asked.header("x-tenant-id", tenant_id).body(Body::empty()).unwrap()).await;
            assert!((6..=7).contains(&list["total_count"].as_u64().unwrap()), "{list}");
            assert_eq!(list["counts"]["Completed"], list["total_count"], "{list}");
        }
    });
}

#[test]
fn a_backup_goes_into_another_tenant_of_the_caller() {
    run(async {
        let world = World::new().await;
        back_up(&world, "backup-1").await;
        let before = held(&world).await;
        let mut asked = request("backup-1");
        asked["target_tenant_id"] = json!("tenant-new");
        let status = restore(&world, asked.clone()).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        let result = status.result.unwrap();
        assert_eq!((&result["created"], &result["verified"]), (&json!(24), &json!(24)), "{result}");
        let new = world.services.router(ServiceKind::Tenant);
        let tenants = Request::get("/api/v1/data/tenant").header("x-tenant-id", "tenant-new");
        let answer = new.oneshot(tenants.body(Body::empty()).unwrap()).await.unwrap();
        let answer = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let itself = &answer["items"][0];
        assert_eq!((&itself["id"], &itself["data"]["tenant_id"]), (&json!("tenant-new"), &json!("tenant-new")));
        assert_ne!(held(&world).await, before);
        let (forbidden, problem) = {
            let mut foreign = asked;
            foreign["tenant_id"] = json!("tenant-456");
            foreign["target_tenant_id"] = json!("tenant-789");
            world.post(RESTORE, &foreign, &[]).await
        };
        assert_eq!(forbidden, StatusCode::FORBIDDEN, "{problem}");
    });
}

#[test]
fn a_drill_tells_whether_a_backup_can_be_restored_and_leaves_nothing() {
    run(async {
        let world = World::new().await;
        back_up(&world, "backup-1").await;
        damage(&world).await;
        let before = held(&world).await;
        let drill = async || {
            let mut asked = request("backup-1");
            asked["drill"] = json!(true);
            let status = restore(&world, asked).await;
            let (_, shown) = ask(&world, Method::GET, "/backup-1", TENANT).await;
            assert_eq!(shown["last_drill"]["workflow_id"], status.workflow_id, "{shown}");
            (status, shown["last_drill"].clone())
        };
        let (status, noted) = drill().await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        let result = status.result.unwrap();
        assert_eq!((&result["created"], &result["verified"]), (&json!(24), &json!(24)), "{result}");
        assert_eq!((&noted["passed"], &noted["error"]), (&json!(true), &Value::Null));
        assert_eq!(noted["recovery_seconds"], result["recovery_seconds"]);
        assert!(result["recovery_point"].is_string(), "{result}");
        assert_eq!(held(&world).await, before, "nothing is left of it");

        let refused = Fault::Status { status: 400, retry_after_seconds: None };
        let rule = FaultRule::on("POST", "/api/v1/data/{type}/import", refused);
        world.services.set_faults(ServiceKind::User, vec![rule]);
        let (status, noted) = drill().await;
        assert_eq!(status.status, Status::Failed);
        assert_eq!((&noted["passed"], &noted["error"]), (&json!(false), &json!("ServiceRejected")));
        assert_eq!(held(&world).await, before, "nothing is left of it");
        world.services.set_faults(ServiceKind::User, Vec::new());

        let part = world.blobs().join(TENANT).join("backups/backup-1/auth.account.00001.part");
        let mut bytes = std::fs::read(&part).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&part, bytes).unwrap();
        let (_, noted) = drill().await;
        assert_eq!((&noted["passed"], &noted["error"]), (&json!(false), &json!("IntegrityViolation")));
        assert_eq!(held(&world).await, before);
    });
}

#[test]
fn what_is_there_is_overwritten_or_stays_or_is_an_error() {
    run(async {
        let world = World::new().await;
        let before = held(&world).await;
        back_up(&world, "backup-1").await;
        damage(&world).await;
        let damaged = held(&world).await;
        let of = |more: Value| {
            let mut request = request("backup-1");
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            request
        };
        let dry = restore(&world, of(json!({ "dry_run": true }))).await.result.unwrap();
        assert_eq!(held(&world).await, damaged, "a dry run changes nothing");
        let failed = restore(&world, of(json!({ "on_conflict": "fail" }))).await;
        assert_eq!(failed.failure.unwrap().error, "Conflict");
        assert_eq!(held(&world).await, damaged, "a restore that fails changes nothing");
        let kept = restore(&world, of(json!({ "on_conflict": "skip" }))).await.result.unwrap();
        assert_eq!((&kept["created"], &kept["replaced"]), (&json!(2), &json!(0)), "{kept}");
        let renamed = held(&world).await["auth"]["accounts"].to_string();
        assert!(renamed.contains("\"name\":\"X\""), "what is there stays: {renamed}");
        let done = restore(&world, request("backup-1")).await.result.unwrap();
        assert_eq!(done["created"], 0, "{done}");
        assert_eq!(held(&world).await, before);
        assert_eq!((&dry["created"], &dry["replaced"]), (&json!(2), &json!(2)), "as the real ones together: {dry}");
    });
}

/// What is missing has something missing to belong to, and the rest is as the backup says.
#[test]
fn what_is_as_the_backup_says_is_no_conflict_and_what_comes_with_it_is_told_before() {
    run(async {
        let world = World::new().await;
        let before = held(&world).await;
        back_up(&world, "backup-1").await;
        let body = json!({ "items": [{ "id": "workspace-123", "key": "delete" }] });
        at(&world, ServiceKind::File, Method::POST, "/api/v1/data/workspace/delete", body).await;
        let gone = held(&world).await;
        let mut request = request("backup-1");
        request["on_conflict"] = json!("fail");
        for dry_run in [true, false] {
            assert_eq!(held(&world).await, gone);
            request["dry_run"] = json!(dry_run);
            let status = restore(&world, request.clone()).await;
            let result = status.result.unwrap_or_else(|| panic!("{:?}", status.error));
            assert_eq!((&result["created"], &result["replaced"]), (&json!(4), &json!(0)), "{result}");
        }
        assert_eq!(held(&world).await, before);
        let other = json!("bytes of another length");
        at(&world, ServiceKind::File, Method::PUT, "/api/v1/data/file/file-123-2/content", other).await;
        let changed = held(&world).await;
        assert_eq!(restore(&world, request).await.failure.unwrap().error, "Conflict");
        assert_eq!(held(&world).await, changed);
    });
}

/// What changes while a backup is made is in it as it is at the end.
#[test]
fn a_backup_catches_up_with_what_changes_meanwhile() {
    run(async {
        let world = World::new().await;
        // Accounts are read last: everything else has been read by then.
        let slow = FaultRule {
            times: Some(1),
            ..FaultRule::on("GET", "/api/v1/data/{type}", Fault::Delay { delay_ms: 5_000 })
        };
        world.services.set_faults(ServiceKind::Auth, vec![slow]);
        let (_, answer) = world.post(BACKUP, &request("backup-1"), &[("prefer", "wait=0")]).await;
        let id = answer["workflow_id"].as_str().unwrap();
        clock::sleep(&*world.clock, std::time::Duration::from_secs(2)).await;
        damage(&world).await;
        let changed = held(&world).await;
        let status = world.until_ended(id).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        assert_eq!(status.result.unwrap()["changed_during"], true);
        for (kind, path, id) in
            [(ServiceKind::User, "profile", "profile-124"), (ServiceKind::File, "file", "file-123-2")]
        {
            let body = json!({ "items": [{ "id": id, "key": format!("again {id}") }] });
            at(&world, kind, Method::POST, &format!("/api/v1/data/{path}/delete"), body).await;
        }
        let status = restore(&world, request("backup-1")).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        assert_eq!(held(&world).await, changed, "it is as it was when the backup ended");
    });
}

#[test]
fn what_did_not_complete_can_be_retried() {
    run(async {
        let world = World::new().await;
        let before = held(&world).await;
        let refused = Fault::Status { status: 400, retry_after_seconds: None };
        let retried = async |id: &str| {
            world.services.set_faults(ServiceKind::User, Vec::new());
            let (status, answer) = world.post(&format!("/api/v1/workflows/{id}/retry"), &Value::Null, &[]).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
            world.until_ended(answer["new_workflow_id"].as_str().unwrap()).await.status
        };
        let rule = FaultRule::on("GET", "/api/v1/data/{type}", refused.clone());
        world.services.set_faults(ServiceKind::User, vec![rule]);
        let (_, failed) = world.post(BACKUP, &request("backup-1"), &[]).await;
        assert_eq!(failed["status"], "failed", "{failed}");
        let folder = world.blobs().join(TENANT).join("backups/backup-1");
        assert_eq!(std::fs::read_dir(&folder).map_or(0, Iterator::count), 0, "what was written is discarded");
        assert_eq!(retried(failed["workflow_id"].as_str().unwrap()).await, Status::Completed);
        damage(&world).await;
        world
            .services
            .set_faults(ServiceKind::User, vec![FaultRule::on("POST", "/api/v1/data/{type}/import", refused)]);
        let failed = restore(&world, request("backup-1")).await;
        assert_eq!(failed.status, Status::Failed);
        assert_eq!(retried(&failed.workflow_id).await, Status::Completed);
        assert_eq!(held(&world).await, before);
    });
}

#[test]
fn only_what_failed_is_tried_again_of_bulk_operations_and_of_nothing_else() {
    run(async {
        let world = World::new().await;
        let refuse = async |id: &str| {
            let path = format!("/api/v1/workflows/{id}/retry");
            let (status, problem) = world.post(&path, &json!({ "only": "failed" }), &[]).await;
            assert_eq!(status, StatusCode::CONFLICT, "{problem}");
            assert_eq!(problem["detail"], "It is no bulk operation: retry it without \"only\".");
            let status = world.status(id).await;
            assert_eq!(status.retried_as, None, "nothing was started");
        };
        let taken = back_up(&world, "backup-1").await;
        refuse(taken["workflow_id"].as_str().unwrap()).await;
        refuse(&restore(&world, request("backup-1")).await.workflow_id).await;
        world.services.set_faults(
            ServiceKind::User,
            vec![FaultRule::on(
                "POST",
                "/api/v1/data/{type}/import",
                Fault::Status { status: 400, retry_after_seconds: None },
            )],
        );
        let failed = restore(&world, request("backup-1")).await;
        assert_eq!(failed.status, Status::Failed);
        refuse(&failed.workflow_id).await;
        world.services.set_faults(ServiceKind::User, Vec::new());
        let migrated = (DATA_MIGRATION.request)(0);
        let migrated = world.until_ended(&world.start_of(&DATA_MIGRATION, &migrated).await).await;
        assert_eq!(migrated.status, Status::Completed, "{:?}", migrated.error);
        refuse(&migrated.workflow_id).await;
    });
}
