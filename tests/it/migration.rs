//! Data migrations: what is copied is what there was, with ids of its own, and one that is not completed leaves no trace.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use contracts::Status;
use contracts::responses::StatusResponse;
use http::{Method, Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::subjects::{DATA_MIGRATION, at, held};
use crate::world::{Control, ControlAction, Script, TENANT, World, run};

/// The tenant that things are copied into; nobody has one of this name yet.
const NEW: &str = "tenant-new";

/// Everything that a tenant has, but for notices.
fn everything() -> Value {
    let types = [
        ("tenant", "tenant"),
        ("auth", "account"),
        ("auth", "session"),
        ("user", "profile"),
        ("user", "usage"),
        ("tenant", "membership"),
        ("file", "workspace"),
        ("file", "file"),
    ];
    types.map(|(service, entity_type)| json!({ "service": service, "entity_type": entity_type })).to_vec().into()
}

fn between_tenants(migration_id: &str, selectors: Value) -> Value {
    json!({
        "migration_id": migration_id, "source_tenant_id": TENANT, "target_tenant_id": NEW,
        "migration_type": "TenantToTenant", "data_selectors": selectors,
        "migration_options": { "batch_size": 2, "create_backup": false },
    })
}

/// Starts a migration of the target's, and waits for the end.
async fn migrate(world: &World, request: &Value) -> StatusResponse {
    let tenant_id = request["target_tenant_id"].as_str().unwrap();
    let asked = Request::post(DATA_MIGRATION.path).header("x-tenant-id", tenant_id);
    let asked = asked.header("content-type", "application/json").body(Body::from(request.to_string())).unwrap();
    let (status, _, answer) = world.call(asked).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    until_ended(world, tenant_id, answer["workflow_id"].as_str().unwrap()).await
}

async fn until_ended(world: &World, tenant_id: &str, id: &str) -> StatusResponse {
    loop {
        let asked = Request::get(format!("/api/v1/workflows/{id}/status")).header("x-tenant-id", tenant_id);
        let (_, _, answer) = world.call(asked.body(Body::empty()).unwrap()).await;
        let status: StatusResponse = serde_json::from_value(answer).unwrap();
        if !status.status.is_open() {
            return status;
        }
        clock::sleep(&*world.clock, Duration::from_millis(500)).await;
    }
}

/// What came out of one that completed.
async fn completed(world: &World, request: &Value) -> Value {
    let status = migrate(world, request).await;
    assert_eq!(status.status, Status::Completed, "{:?}", status.error);
    status.result.unwrap()
}

/// The things of a type that a tenant has.
async fn things(world: &World, kind: ServiceKind, entity_type: &str, tenant_id: &str) -> Vec<Value> {
    let path = format!("/api/v1/data/{entity_type}");
    let asked = Request::get(path).header("x-tenant-id", tenant_id).body(Body::empty()).unwrap();
    let answer = world.services.router(kind).oneshot(asked).await.unwrap();
    let answer = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    answer["items"].as_array().unwrap().iter().map(|item| item["data"].clone()).collect()
}

async fn bytes_of(world: &World, tenant_id: &str, file_id: &str) -> Vec<u8> {
    let path = format!("/api/v1/data/file/{file_id}/content");
    let asked = Request::get(path).header("x-tenant-id", tenant_id).body(Body::empty()).unwrap();
    let answer = world.services.router(ServiceKind::File).oneshot(asked).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{file_id}");
    axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec()
}

#[test]
fn what_is_copied_into_another_tenant_has_new_ids_and_the_same_relationships() {
    run(async {
        let world = World::new().await;
        let source = held(&world).await;
        let result = completed(&world, &between_tenants("copy-1", everything())).await;
        println!("{result}");
        assert_eq!(result["created"], result["records_processed"], "{result}");
        assert_eq!(result["verified"], result["records_processed"], "{result}");
        let names = |accounts: Vec<Value>| -> BTreeMap<String, String> {
            let pair =
                |account: Value| [&account["email"], &account["user_id"]].map(|text| text.as_str().unwrap().to_owned());
            accounts.into_iter().map(pair).map(|[email, id]| (email, id)).collect()
        };
        let old = names(things(&world, ServiceKind::Auth, "account", TENANT).await);
        let new = names(things(&world, ServiceKind::Auth, "account", NEW).await);
        assert!(old.keys().eq(new.keys()) && old.values().all(|id| !new.values().any(|new| new == id)));
        let renamed = |id: &Value| {
            let (email, _) = old.iter().find(|(_, old)| **old == *id).unwrap();
            json!(new[email])
        };
        for (kind, entity_type) in [
            (ServiceKind::User, "profile"),
            (ServiceKind::Tenant, "membership"),
            (ServiceKind::File, "workspace"),
            (ServiceKind::File, "file"),
        ] {
            let users = |things: Vec<Value>| things.into_iter().map(|thing| thing["user_id"].clone());
            let mut expected: Vec<String> =
                users(things(&world, kind, entity_type, TENANT).await).map(|id| renamed(&id).to_string()).collect();
            let mut found: Vec<String> =
                users(things(&world, kind, entity_type, NEW).await).map(|id| id.to_string()).collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{entity_type}");
        }
        let itself = things(&world, ServiceKind::Tenant, "tenant", NEW).await;
        assert_eq!(itself[0]["tenant_id"], NEW);
        let files = |things: Vec<Value>| -> BTreeMap<String, String> {
            let pair = |file: Value| [&file["name"], &file["file_id"]].map(|text| text.as_str().unwrap().to_owned());
            things.into_iter().map(pair).map(|[name, id]| (name, id)).collect()
        };
        let copies = files(things(&world, ServiceKind::File, "file", NEW).await);
        for (name, id) in files(things(&world, ServiceKind::File, "file", TENANT).await) {
            assert_eq!(bytes_of(&world, NEW, &copies[&name]).await, bytes_of(&world, TENANT, &id).await, "{name}");
        }
        let again = completed(&world, &between_tenants("copy-2", everything())).await;
        assert_eq!((&again["created"], &again["updated"]), (&json!(0), &json!(0)), "nothing is copied twice: {again}");
        assert_eq!(again["unchanged"], result["created"], "{again}");
        let accounts = |held: &Value| {
            let all = held["auth"]["accounts"].as_array().unwrap().clone();
            all.into_iter().filter(|row| row["tenant_id"] == TENANT).collect::<Vec<_>>()
        };
        assert_eq!(accounts(&held(&world).await), accounts(&source), "the source is not touched");
    });
}

#[test]
fn what_is_referred_to_comes_along_or_is_told_of() {
    run(async {
        let world = World::new().await;
        let mut files = json!([{ "service": "file", "entity_type": "file", "include_relationships": true }]);
        let mut request = between_tenants("alone", files.clone());
        request["data_selectors"][0]["include_relationships"] = json!(false);
        let alone = migrate(&world, &request).await;
        assert_eq!(alone.status, Status::Failed, "a file without its workspace is refused: {:?}", alone.result);
        assert_eq!(alone.result.unwrap()["status"], "RolledBack");
        assert!(things(&world, ServiceKind::File, "file", NEW).await.is_empty());
        files[0]["filters"] = json!({ "name": "welcome.md" });
        // The tenant itself, which others belong to.
        files.as_array_mut().unwrap().insert(0, json!({ "service": "tenant", "entity_type": "tenant" }));
        let result = completed(&world, &between_tenants("with-others", files)).await;
        assert_eq!((&result["records_processed"], &result["dangling_references"]), (&json!(4), &json!(0)), "{result}");
        assert_eq!(things(&world, ServiceKind::File, "workspace", NEW).await.len(), 1);
        assert_eq!(things(&world, ServiceKind::Auth, "account", NEW).await.len(), 1);
    });
}

#[test]
fn a_migration_that_fails_or_is_cancelled_leaves_everything_as_it_was() {
    let cancel = Control { during: "MigrateBatch".to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
    for (name, control, route) in
        [("refused", vec![], Some("/api/v1/data/file/{file_id}/content")), ("cancelled", vec![cancel], None)]
    {
        run(async {
            let world = World::with(Script { control, ..Script::default() }, &[]).await;
            let before = held(&world).await;
            if let Some(route) = route {
                let refused = Fault::Status { status: 400, retry_after_seconds: None };
                world.services.set_faults(ServiceKind::File, vec![FaultRule::on("PUT", route, refused)]);
            }
            let status = migrate(&world, &between_tenants(name, everything())).await;
            assert_ne!(status.status, Status::Completed, "{name}");
            assert_eq!(status.result.unwrap()["status"], "RolledBack", "{name}");
            assert_eq!(held(&world).await, before, "{name}");
        });
    }
}

#[test]
fn a_migration_may_leave_what_it_has_written() {
    run(async {
        let world = World::new().await;
        let refused = Fault::Status { status: 400, retry_after_seconds: None };
        let rule = FaultRule::on("PUT", "/api/v1/data/file/{file_id}/content", refused);
        world.services.set_faults(ServiceKind::File, vec![rule]);
        let mut request = between_tenants("kept", everything());
        request["migration_options"]["rollback_on_error"] = json!(false);
        let status = migrate(&world, &request).await;
        assert_eq!((status.status, &status.result.unwrap()["status"]), (Status::Failed, &json!("Failed")));
        assert_eq!(things(&world, ServiceKind::Auth, "account", NEW).await.len(), 4, "what was written stays");
    });
}

#[test]
fn what_changes_meanwhile_is_migrated_as_it_is_at_the_end() {
    run(async {
        let world = World::new().await;
        // The tenant's own row is written first: everything else has been planned by then.
        let slow = FaultRule {
            times: Some(1),
            skip: 2,
            ..FaultRule::on("POST", "/api/v1/data/{type}/import", Fault::Delay { delay_ms: 5_000 })
        };
        world.services.set_faults(ServiceKind::Auth, vec![slow]);
        let asked =
            Request::post(DATA_MIGRATION.path).header("x-tenant-id", NEW).header("content-type", "application/json");
        let body = between_tenants("moving", everything()).to_string();
        let (_, _, answer) = world.call(asked.body(Body::from(body)).unwrap()).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let renamed =
            json!({ "entity_type": "account", "entity_id": "user-124", "key": "rename", "data": { "name": "Newer" } });
        at(&world, ServiceKind::Auth, Method::POST, "/api/v1/operations/UserUpdate", json!({ "items": [renamed] }))
            .await;
        let gone = json!({ "items": [{ "id": "file-123-1", "key": "gone" }] });
        at(&world, ServiceKind::File, Method::POST, "/api/v1/data/file/delete", gone).await;
        let status = until_ended(&world, NEW, answer["workflow_id"].as_str().unwrap()).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        let accounts = things(&world, ServiceKind::Auth, "account", NEW).await;
        assert!(accounts.iter().any(|account| account["name"] == "Newer"), "{accounts:?}");
        assert_eq!(things(&world, ServiceKind::File, "file", NEW).await.len(), 2, "what is gone is gone there too");
    });
}

#[test]
fn a_migration_without_a_backup_needs_no_keys() {
    run(async {
        let world = World::new().await;
        std::fs::remove_file(world.blobs().with_file_name("keys.json")).unwrap();
        completed(&world, &between_tenants("no-keys", everything())).await;
        let mut request = between_tenants("keys", everything());
        request["migration_options"]["create_backup"] = json!(true);
        let failed = migrate(&world, &request).await;
        assert_eq!((failed.status, failed.failure.unwrap().step), (Status::Failed, Some("PlanBackup".to_owned())));
    });
}

#[test]
fn a_dry_run_counts_what_a_real_run_does() {
    run(async {
        let world = World::new().await;
        let before = held(&world).await;
        let mut request = between_tenants("tried", everything());
        request["migration_options"]["dry_run"] = json!(true);
        let dry = completed(&world, &request).await;
        assert_eq!(held(&world).await, before, "a dry run changes nothing");
        let real = completed(&world, &between_tenants("done", everything())).await;
        for count in ["records_processed", "created", "updated", "unchanged", "records_failed"] {
            assert_eq!(dry[count], real[count], "{count}: {dry} {real}");
        }
    });
}

#[test]
fn one_migration_at_a_time_changes_a_type() {
    run(async {
        let world = World::new().await;
        let slow = FaultRule {
            times: Some(1),
            ..FaultRule::on("POST", "/api/v1/data/{type}/import", Fault::Delay { delay_ms: 8_000 })
        };
        world.services.set_faults(ServiceKind::User, vec![slow]);
        let asked =
            Request::post(DATA_MIGRATION.path).header("x-tenant-id", NEW).header("content-type", "application/json");
        let body = between_tenants("first", everything()).to_string();
        let (_, _, first) = world.call(asked.body(Body::from(body)).unwrap()).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let second = migrate(&world, &between_tenants("second", everything())).await;
        let (failure, first) = (second.failure.unwrap(), first["workflow_id"].as_str().unwrap());
        assert_eq!(failure.error, "Conflict");
        assert!(failure.message.contains(first), "{}", failure.message);
        assert_eq!(until_ended(&world, NEW, first).await.status, Status::Completed);
    });
}
