//! Data migrations: what is copied is what there was, with ids of its own, and one that is not completed leaves no trace.

mod verified;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use contracts::Status;
use contracts::responses::StatusResponse;
use http::{Method, Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::bulk::linked;
use crate::subjects::{DATA_MIGRATION, ask, at, held};
use crate::world::{Control, ControlAction, Script, TENANT, World, run};

/// The tenant that things are copied into; nobody has one of this name yet.
const NEW: &str = "tenant-new";

/// What is written first.
const NEW_TENANT: (ServiceKind, &str) = (ServiceKind::Tenant, "tenant");

/// What belongs to a tenant, but for notices: service and type.
pub(crate) const TYPES: [(&str, &str); 7] = [
    ("auth", "account"),
    ("auth", "session"),
    ("user", "profile"),
    ("user", "usage"),
    ("tenant", "membership"),
    ("file", "workspace"),
    ("file", "file"),
];

/// Everything that a tenant has, but for notices, and the tenant itself.
fn everything() -> Value {
    let types = [("tenant", "tenant")].into_iter().chain(TYPES);
    types.map(|(service, entity_type)| json!({ "service": service, "entity_type": entity_type })).collect()
}

fn between_tenants(migration_id: &str, selectors: Value) -> Value {
    json!({
        "migration_id": migration_id, "source_tenant_id": TENANT, "target_tenant_id": NEW,
        "migration_type": "TenantToTenant", "data_selectors": selectors,
        "migration_options": { "batch_size": 2, "create_backup": false },
    })
}

/// Starts a migration of the target's: its id.
async fn begin(world: &World, request: &Value) -> String {
    let tenant_id = request["target_tenant_id"].as_str().unwrap();
    let asked = Request::post(DATA_MIGRATION.path).header("x-tenant-id", tenant_id);
    let asked = asked.header("content-type", "application/json").body(Body::from(request.to_string())).unwrap();
    let (status, _, answer) = world.call(asked).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    answer["workflow_id"].as_str().unwrap().to_owned()
}

/// Starts a migration of the target's, and waits for the end.
async fn migrate(world: &World, request: &Value) -> StatusResponse {
    let id = begin(world, request).await;
    until_ended(world, request["target_tenant_id"].as_str().unwrap(), &id).await
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
    let (mut things, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/data/{entity_type}?limit=1000{cursor}");
        let asked = Request::get(path).header("x-tenant-id", tenant_id).body(Body::empty()).unwrap();
        let answer = world.services.router(kind).oneshot(asked).await.unwrap();
        let answer = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        things.extend(answer["items"].as_array().unwrap().iter().map(|item| item["data"].clone()));
        let Some(next) = answer["next_cursor"].as_str() else { return things };
        cursor = format!("&cursor={next}");
    }
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
        let tenant = json!({ "service": "tenant", "entity_type": "tenant" });
        request["data_selectors"].as_array_mut().unwrap().push(tenant.clone());
        let alone = migrate(&world, &request).await;
        assert_eq!(alone.status, Status::Failed, "a file without its workspace is refused: {:?}", alone.result);
        assert_eq!(alone.failure.unwrap().step.as_deref(), Some("PlanMigration"), "before anything is written");
        assert!(things(&world, ServiceKind::File, "file", NEW).await.is_empty());
        files[0]["filters"] = json!({ "name": "welcome.md" });
        // The tenant itself, which others belong to.
        files.as_array_mut().unwrap().insert(0, tenant);
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
    run(async {
        let cancel = Control { during: "MigrateBatch".to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
        let world = World::with(Script { control: vec![cancel], ..Script::default() }, &[]).await;
        let mut request = between_tenants("cancelled", everything());
        request["migration_options"]["rollback_on_error"] = json!(false);
        let status = migrate(&world, &request).await;
        let result = status.result.unwrap();
        assert_eq!((status.status, &result["status"]), (Status::Cancelled, &json!("Failed")));
        let there = things(&world, NEW_TENANT.0, NEW_TENANT.1, NEW).await.len();
        assert_eq!(result["per_type"][0]["to"], "auth/account", "{result}");
        assert!(there == 1 && result["records_migrated"].as_u64() >= Some(1), "{result}");
        assert!(result["reversible_until"].is_string(), "{result}");
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
        let id = begin(&world, &between_tenants("moving", everything())).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let renamed =
            json!({ "entity_type": "account", "entity_id": "user-124", "key": "rename", "data": { "name": "Newer" } });
        at(&world, ServiceKind::Auth, Method::POST, "/api/v1/operations/UserUpdate", json!({ "items": [renamed] }))
            .await;
        let gone = json!({ "items": [{ "id": "file-123-1", "key": "gone" }] });
        at(&world, ServiceKind::File, Method::POST, "/api/v1/data/file/delete", gone).await;
        let status = until_ended(&world, NEW, &id).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        let accounts = things(&world, ServiceKind::Auth, "account", NEW).await;
        assert!(accounts.iter().any(|account| account["name"] == "Newer"), "{accounts:?}");
        assert_eq!(things(&world, ServiceKind::File, "file", NEW).await.len(), 2, "what is gone is gone there too");
    });
}

/// Stores a copy of a thing of the tenant with other values.
async fn copy_of(world: &World, kind: ServiceKind, entity_type: &str, changes: Value) {
    let mut data = things(world, kind, entity_type, TENANT).await.remove(0);
    let changes = changes.as_object().unwrap().clone();
    let id = changes.values().next().unwrap().clone();
    data.as_object_mut().unwrap().extend(changes);
    let body = json!({ "on_conflict": "fail", "items": [{ "id": id, "key": format!("new-{id}"), "data": data }] });
    at(world, kind, Method::POST, &format!("/api/v1/data/{entity_type}/import"), body).await;
}

#[test]
fn what_comes_meanwhile_brings_along_what_it_refers_to_and_is_counted() {
    run(async {
        let world = World::new().await;
        let slow = FaultRule {
            times: Some(1),
            skip: 1,
            // What this test itself stores is not slow.
            tenant: Some(NEW.to_owned()),
            ..FaultRule::on("POST", "/api/v1/data/{type}/import", Fault::Delay { delay_ms: 5_000 })
        };
        world.services.set_faults(ServiceKind::User, vec![slow]);
        let with = |service: &str, entity_type: &str| json!({ "service": service, "entity_type": entity_type, "include_relationships": true });
        let mut request =
            between_tenants("moving", json!([with("user", "profile"), with("file", "file"), with("tenant", "tenant")]));
        request["migration_options"]["batch_size"] = json!(1);
        let id = begin(&world, &request).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let account = json!({ "user_id": "a-new", "email": "new@example.com", "name": "New" });
        copy_of(&world, ServiceKind::Auth, "account", account).await;
        let profile = json!({ "profile_id": "z-new", "user_id": "a-new" });
        copy_of(&world, ServiceKind::User, "profile", profile).await;
        copy_of(&world, ServiceKind::File, "file", json!({ "file_id": "a-file", "name": "new.txt" })).await;
        let path = "/api/v1/data/file/a-file/content";
        let (put, _) = ask(&world, ServiceKind::File, Method::PUT, path, "bytes", "the new bytes".into()).await;
        assert!(put.is_success());
        let gone = json!({ "items": [{ "id": "file-123-1", "key": "gone" }] });
        at(&world, ServiceKind::File, Method::POST, "/api/v1/data/file/delete", gone).await;
        let status = until_ended(&world, NEW, &id).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        let accounts = things(&world, ServiceKind::Auth, "account", NEW).await;
        let profiles = things(&world, ServiceKind::User, "profile", NEW).await;
        let files = things(&world, ServiceKind::File, "file", NEW).await;
        let account = accounts.iter().find(|account| account["email"] == "new@example.com");
        let account = account.unwrap_or_else(|| panic!("{:#}", status.result.as_ref().unwrap()));
        assert!(profiles.iter().any(|profile| profile["user_id"] == account["user_id"]), "{profiles:?}");
        let file = files.iter().find(|file| file["name"] == "new.txt");
        let file = file.unwrap_or_else(|| panic!("{files:?} {:#}", status.result.as_ref().unwrap()));
        assert_eq!(bytes_of(&world, NEW, file["file_id"].as_str().unwrap()).await, b"the new bytes");
        let result = status.result.as_ref().unwrap();
        let of = |name: &str| {
            let types = result["per_type"].as_array().unwrap();
            let of = types.iter().find(|of| of["to"] == name).unwrap();
            ["read", "created", "verified"].map(|count| usize::try_from(of[count].as_u64().unwrap()).unwrap())
        };
        for (name, there) in [("auth/account", &accounts), ("user/profile", &profiles), ("file/file", &files)] {
            assert_eq!(of(name), [there.len(); 3], "{name}: {result:#}");
        }
        let reversal =
            Request::post(format!("/api/v1/workflows/{}/reverse", status.workflow_id)).header("x-tenant-id", NEW);
        let (_, _, answer) = world.call(reversal.body(Body::empty()).unwrap()).await;
        let reversal = until_ended(&world, NEW, answer["new_workflow_id"].as_str().unwrap()).await;
        assert_eq!(reversal.result.unwrap()["taken_back"], result["records_processed"]);
        for (kind, entity_type) in
            [(ServiceKind::Auth, "account"), (ServiceKind::User, "profile"), (ServiceKind::File, "file")]
        {
            assert_eq!(things(&world, kind, entity_type, NEW).await, Vec::<Value>::new(), "{entity_type}");
        }
    });
}

/// Things that are copied while they change, unless `MIGRATED_ENTITIES` says otherwise.
const MANY: usize = 3_000;

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn many() -> usize {
    std::env::var("MIGRATED_ENTITIES").ok().and_then(|many| many.parse().ok()).unwrap_or(MANY)
}

/// Stores what user-123 did on these days: the day's number and how often.
async fn store_usage(world: &World, key: &str, days: impl Iterator<Item = (usize, u64)>) {
    let item = |(day, actions)| {
        let id = format!("many-{day:07}");
        let data = json!({ "usage_id": id, "user_id": "user-123", "day": format!("day {day}"), "actions": actions });
        json!({ "id": id, "key": format!("{key}-{id}"), "data": data })
    };
    let items: Vec<Value> = days.map(item).collect();
    for items in items.chunks(1_000) {
        let body = json!({ "on_conflict": "overwrite", "items": items });
        at(world, ServiceKind::User, Method::POST, "/api/v1/data/usage/import", body).await;
    }
}

#[test]
fn of_many_things_that_change_during_the_copy_each_is_copied_as_it_is_at_the_end() {
    run(async {
        let (world, many) = (World::new().await, many());
        store_usage(&world, "first", (0..many).map(|day| (day, 1))).await;
        // Files are written last: everything changes before the end.
        let slow = Fault::Delay { delay_ms: 8_000 };
        let slow = FaultRule { times: Some(1), ..FaultRule::on("POST", "/api/v1/data/{type}/import", slow) };
        world.services.set_faults(ServiceKind::File, vec![slow]);
        let mut request = between_tenants("many", everything());
        request["migration_options"] = json!({ "batch_size": 200, "create_backup": false, "validate_data": false });
        let id = begin(&world, &request).await;
        for round in 0..5 {
            clock::sleep(&*world.clock, Duration::from_secs(1)).await;
            let changed = (0..many).skip(round).step_by(100).map(|day| (day, 2 + round as u64));
            store_usage(&world, &format!("changed-{round}"), changed).await;
            store_usage(&world, &format!("new-{round}"), (0..20).map(|day| (many + 20 * round + day, 7))).await;
            let gone = |day: usize| json!({ "id": format!("many-{:07}", 50 + 100 * day + round), "key": format!("gone-{round}-{day}") });
            let gone = json!({ "items": (0..many / 100).map(gone).collect::<Vec<_>>() });
            at(&world, ServiceKind::User, Method::POST, "/api/v1/data/usage/delete", gone).await;
        }
        let status = until_ended(&world, NEW, &id).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        let result = status.result.unwrap();
        assert!(result["changed_meanwhile"].as_u64() > Some(0) && result["still_changing"] == false, "{result}");
        assert_eq!(result["records_failed"], 0, "{result}");
        let by_day = async |tenant_id: &str| -> BTreeMap<String, Value> {
            let all = things(&world, ServiceKind::User, "usage", tenant_id).await.into_iter();
            all.map(|usage| (usage["day"].to_string(), usage["actions"].clone())).collect()
        };
        let (source, target) = (by_day(TENANT).await, by_day(NEW).await);
        let differ = source.iter().filter(|(day, actions)| target.get(*day) != Some(actions)).count();
        let only_there = target.keys().filter(|day| !source.contains_key(*day)).count();
        assert_eq!((differ, only_there), (0, 0), "of {} things; {result}", source.len());
        println!(
            "{} things, {} changed and {} gone meanwhile",
            source.len(),
            result["changed_meanwhile"],
            result["gone_meanwhile"]
        );
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
        assert_eq!(counted_by_type(&dry), counted_by_type(&real));
        let real =
            migrate(&world, &within("up", "SystemUpgrade", json!([selector("user", "profile", json!({}))]))).await;
        let (_, _, reversal) = reverse(&world, &real.workflow_id).await;
        let result = reversal.unwrap().result.unwrap();
        let (of_type, all) = (&result["per_type"][0], &result["records_processed"]);
        assert_eq!((&of_type["to"], &of_type["read"]), (&json!("user/profile"), all), "{result}");
    });
}

/// `per_type` without what was verified: a dry run verifies nothing.
fn counted_by_type(result: &Value) -> Vec<Value> {
    let mut types = result["per_type"].as_array().unwrap().clone();
    types.iter_mut().for_each(|of_type| of_type["verified"] = Value::Null);
    assert!(!types.is_empty(), "{result}");
    types
}

#[test]
fn what_a_restore_would_not_take_is_told_before_anything_is_written() {
    run(async {
        let world = World::new().await;
        let usage = json!([selector("user", "usage", json!({}))]);
        completed(&world, &within("old", "DataArchival", usage.clone())).await;
        let restore = |migration_id: &str, options: &[(&str, Value)]| {
            let mut request = within(migration_id, "DataRestore", usage.clone());
            request["restore_from"] = json!("archive_old");
            for (name, value) in options {
                request["migration_options"][*name] = value.clone();
            }
            request
        };
        let dry = completed(&world, &restore("tried", &[("dry_run", json!(true))])).await;
        let real = completed(&world, &restore("back", &[])).await;
        assert_eq!((&dry["created"], &dry["expected"]), (&real["created"], &real["expected"]), "{dry} {real}");
        assert_eq!(counted_by_type(&dry), counted_by_type(&real));
        // Somebody has changed one of the things, and another one is gone.
        let changed = things(&world, ServiceKind::User, "usage", TENANT).await.remove(0);
        let id = changed["usage_id"].as_str().unwrap().to_owned();
        let mut data = changed.clone();
        data["actions"] = json!(1_000);
        let body = json!({ "on_conflict": "overwrite", "items": [{ "id": id, "key": "more", "data": data }] });
        at(&world, ServiceKind::User, Method::POST, "/api/v1/data/usage/import", body).await;
        let before = held(&world).await;
        let fail = ("on_conflict", json!("fail"));
        let tried = migrate(&world, &restore("fail-tried", &[fail.clone(), ("dry_run", json!(true))])).await;
        assert_eq!(tried.result.as_ref().unwrap()["records_failed"], 1, "{:?}", tried.result);
        let refused = migrate(&world, &restore("fail", std::slice::from_ref(&fail))).await;
        assert_eq!(refused.failure.as_ref().unwrap().step.as_deref(), Some("PlanMigration"));
        for status in [&tried, &refused] {
            assert_eq!(status.result.as_ref().unwrap()["problems"], 1, "{:?}", status.result);
            let told = lines(&world, status, "plan_files", "problems.jsonl").await;
            assert_eq!((told.len(), &told[0]["id"], &told[0]["code"]), (1, &json!(id), &json!("Conflict")));
        }
        // Without being asked before, the service refuses it, and all of it is undone.
        let unchecked = migrate(&world, &restore("unchecked", &[fail, ("validate_data", json!(false))])).await;
        assert_eq!(unchecked.failure.as_ref().unwrap().error, "Conflict");
        assert_eq!(held(&world).await, before);
        let told = lines(&world, &unchecked, "files", "failed.jsonl").await;
        assert_eq!((told.len(), &told[0]["id"]), (1, &json!(id)), "{told:?}");
        let result = unchecked.result.unwrap();
        let counts = ["records_failed", "records_migrated", "created", "updated"].map(|name| result[name].as_u64());
        assert_eq!(
            (&result["status"], counts),
            (&json!("RolledBack"), [Some(1), Some(0), Some(0), Some(0)]),
            "{result}"
        );
        // What is there is skipped, and what is not is written and compared.
        let others = things(&world, ServiceKind::User, "usage", TENANT).await;
        let other = others.iter().find(|other| other["usage_id"] != id.as_str()).unwrap()["usage_id"].clone();
        let gone = json!({ "items": [{ "id": other, "key": "gone" }] });
        at(&world, ServiceKind::User, Method::POST, "/api/v1/data/usage/delete", gone).await;
        let skipped = completed(&world, &restore("skipped", &[("on_conflict", json!("skip"))])).await;
        let all = others.len() as u64;
        let counts = ["records_processed", "created", "skipped", "unchanged", "records_migrated", "verified"];
        let counts = counts.map(|name| skipped[name].as_u64().unwrap());
        assert_eq!(
            counts,
            [all, 1, all - 1, 0, 1, all - 1],
            "all but the changed one are as in the archive: {skipped}"
        );
    });
}

/// Its service deletes with a tenant whatever belongs to it.
#[test]
fn a_tenant_is_not_archived_without_what_belongs_to_it() {
    run(async {
        let world = World::new().await;
        let before = held(&world).await;
        let of = |types: &[&str]| -> Value { types.iter().map(|name| selector("tenant", name, json!({}))).collect() };
        for is_dry in [true, false] {
            let mut alone = within(&format!("alone-{is_dry}"), "DataArchival", of(&["tenant", "membership"]));
            alone["migration_options"]["dry_run"] = json!(is_dry);
            let status = migrate(&world, &alone).await;
            assert_eq!(status.status == Status::Completed, is_dry, "{:?}", status.error);
            let told = lines(&world, &status, "plan_files", "problems.jsonl").await;
            let types: Vec<&str> = told.iter().map(|line| line["entity_type"].as_str().unwrap()).collect();
            assert!(!types.is_empty() && types.iter().all(|name| *name == "profile_copy"), "{told:?}");
            assert_eq!(held(&world).await, before);
        }
        let all = within("all", "DataArchival", of(&["tenant", "membership", "profile_copy"]));
        let archived = completed(&world, &all).await;
        assert_eq!(archived["removed"], archived["records_processed"], "{archived}");
        let mut back = within("back", "DataRestore", of(&["tenant", "membership", "profile_copy"]));
        back["restore_from"] = json!("archive_all");
        let back = completed(&world, &back).await;
        assert_eq!(back["created"], archived["removed"], "{back}");
        let after = held(&world).await;
        for (service, tables) in before.as_object().unwrap() {
            for (table, rows) in tables.as_object().unwrap() {
                let there = after[service][table].as_array().unwrap().len();
                assert_eq!(there, rows.as_array().unwrap().len(), "{service} {table}");
            }
        }
    });
}

#[test]
fn a_selector_that_cannot_match_is_told_by_name_and_leaves_no_archive() {
    run(async {
        let world = World::new().await;
        let before = held(&world).await;
        for (id, migration_type, filters, error, told) in [
            ("none", "DataArchival", json!({ "user_id": "nobody" }), "NotFound", "the selectors match nothing"),
            (
                "unknown",
                "DataArchival",
                json!({ "colour": "red" }),
                "ServiceRejected",
                "usage by colour: answered 400; it may",
            ),
            (
                "unknown-too",
                "SystemUpgrade",
                json!({ "colour": "red" }),
                "ServiceRejected",
                "profile by colour: answered 400; it may",
            ),
        ] {
            let entity_type = if migration_type == "DataArchival" { "usage" } else { "profile" };
            let selectors = json!([selector("user", entity_type, filters)]);
            let failed = migrate(&world, &within(id, migration_type, selectors)).await;
            let failure = failed.failure.unwrap();
            assert_eq!(failure.error, error, "{failure:?}");
            let failed = failed.error.unwrap();
            assert!(failed.contains(told), "{failed}");
            let asked = Request::get("/api/v1/coordination/backups").header("x-tenant-id", TENANT);
            let (_, _, backups) = world.call(asked.body(Body::empty()).unwrap()).await;
            assert_eq!(backups["backups"], json!([]), "{backups}");
        }
        assert_eq!(held(&world).await, before);
    });
}

#[test]
fn a_target_that_is_not_there_or_has_no_room_is_told_before_anything_is_written() {
    run(async {
        let world = World::new().await;
        let accounts = json!([{ "service": "auth", "entity_type": "account" }]);
        for is_dry in [true, false] {
            let mut request = between_tenants(&format!("nowhere-{is_dry}"), accounts.clone());
            request["migration_options"]["dry_run"] = json!(is_dry);
            let failed = migrate(&world, &request).await.failure.unwrap();
            assert_eq!((failed.error.as_str(), failed.step.as_deref()), ("NotFound", Some("PlanMigration")));
            assert!(failed.message.contains("there is no tenant tenant-new"), "{}", failed.message);
        }
        let mut small = things(&world, ServiceKind::Tenant, "tenant", TENANT).await.remove(0);
        small["quotas"] = json!({ "users": 3, "storage_gb": 0 });
        let item = json!({ "id": TENANT, "key": "small", "data": small });
        let body = json!({ "on_conflict": "overwrite", "items": [item] });
        at(&world, ServiceKind::Tenant, Method::POST, "/api/v1/data/tenant/import", body).await;
        completed(&world, &between_tenants("the-tenant", json!([{ "service": "tenant", "entity_type": "tenant" }])))
            .await;
        let before = held(&world).await;
        let of_type = |entity_type| json!({ "service": "file", "entity_type": entity_type });
        for (name, selectors) in [("users", accounts), ("files", json!([of_type("workspace"), of_type("file")]))] {
            let full = migrate(&world, &between_tenants(name, selectors)).await;
            let result = full.result.unwrap();
            let told = (full.failure.unwrap().error, &result["problems"]);
            assert_eq!(told, ("InvalidInput".to_owned(), &json!(1)), "{name}: {result}");
        }
        assert_eq!(held(&world).await, before);
    });
}

#[test]
fn what_belongs_to_something_that_does_not_come_along_is_told_before_anything_is_written() {
    run(async {
        let world = World::new().await;
        let files = json!([{ "service": "file", "entity_type": "file", "include_relationships": false }]);
        let count = things(&world, ServiceKind::File, "file", TENANT).await.len();
        let tenant = json!([{ "service": "tenant", "entity_type": "tenant" }]);
        completed(&world, &between_tenants("the-tenant", tenant)).await;
        let before = held(&world).await;
        let mut request = between_tenants("tried", files.clone());
        request["migration_options"]["dry_run"] = json!(true);
        let dry = completed(&world, &request).await;
        assert_eq!(
            (&dry["created"], &dry["records_failed"], &dry["problems"]),
            (&json!(0), &json!(count), &json!(count))
        );
        let real = migrate(&world, &between_tenants("done", files)).await;
        let failure = real.failure.unwrap();
        assert_eq!((failure.error.as_str(), failure.step.as_deref()), ("InvalidInput", Some("PlanMigration")));
        assert_eq!(held(&world).await, before);
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
        let first = begin(&world, &between_tenants("first", everything())).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let second = migrate(&world, &between_tenants("second", everything())).await;
        let failure = second.failure.unwrap();
        assert_eq!(failure.error, "Conflict");
        assert!(failure.message.contains(&first), "{}", failure.message);
        assert_eq!(until_ended(&world, NEW, &first).await.status, Status::Completed);
    });
}

/// A migration within the tenant.
fn within(migration_id: &str, migration_type: &str, selectors: Value) -> Value {
    json!({
        "migration_id": migration_id, "target_tenant_id": TENANT, "migration_type": migration_type,
        "data_selectors": selectors, "migration_options": { "batch_size": 2, "create_backup": false },
    })
}

fn selector(service: &str, entity_type: &str, filters: Value) -> Value {
    json!({ "service": service, "entity_type": entity_type, "filters": filters })
}

/// Gives a profile other preferences.
async fn prefer(world: &World, key: &str, profile_id: &str, preferences: Value) {
    let profiles = things(world, ServiceKind::User, "profile", TENANT).await;
    let mut data = profiles.into_iter().find(|profile| profile["profile_id"] == profile_id).unwrap();
    data["preferences"] = preferences;
    let item = json!({ "id": profile_id, "key": key, "data": data });
    let body = json!({ "on_conflict": "overwrite", "items": [item] });
    at(world, ServiceKind::User, Method::POST, "/api/v1/data/profile/import", body).await;
}

async fn preferences(world: &World) -> BTreeMap<String, Value> {
    let profiles = things(world, ServiceKind::User, "profile", TENANT).await.into_iter();
    profiles
        .map(|profile| (profile["profile_id"].as_str().unwrap().to_owned(), profile["preferences"].clone()))
        .collect()
}

/// Takes a migration back; the answer and, if it was accepted, how that ended.
async fn reverse(world: &World, id: &str) -> (StatusCode, Value, Option<StatusResponse>) {
    let asked = Request::post(format!("/api/v1/workflows/{id}/reverse")).header("x-tenant-id", TENANT);
    let (status, _, answer) = world.call(asked.body(Body::empty()).unwrap()).await;
    let ended = match answer["new_workflow_id"].as_str() {
        Some(id) => Some(until_ended(world, TENANT, id).await),
        None => None,
    };
    (status, answer, ended)
}

/// The lines of a file of a result.
async fn lines(world: &World, status: &StatusResponse, files: &str, name: &str) -> Vec<Value> {
    let result = status.result.as_ref().unwrap();
    let link = result[files][name].as_str().unwrap_or_else(|| panic!("no {name}: {result}"));
    let text = linked(world, link, name).await;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_upgrade_changes_what_is_older_and_a_second_one_nothing() {
    run(async {
        let world = World::new().await;
        prefer(&world, "newer", "profile-124", json!({ "locale": "fr-FR" })).await;
        let request = within("up-1", "SystemUpgrade", json!([selector("user", "profile", json!({}))]));
        let result = completed(&world, &request).await;
        let all = preferences(&world).await;
        assert_eq!(all["profile-123"], json!({ "theme": "dark", "locale": "en-US" }), "{result}");
        assert_eq!(all["profile-124"], json!({ "locale": "fr-FR" }));
        assert_eq!((&result["updated"], &result["unchanged"]), (&json!(all.len() - 1), &json!(1)), "{result}");
        assert_eq!(result["verified"], json!(all.len()), "{result}");
        let again = within("up-2", "SystemUpgrade", json!([selector("user", "profile", json!({}))]));
        let again = completed(&world, &again).await;
        assert_eq!((&again["updated"], &again["unchanged"]), (&json!(0), &json!(all.len())), "{again}");
    });
}

#[test]
fn what_does_not_transform_is_reported_and_stays_as_it_was() {
    run(async {
        let world = World::new().await;
        prefer(&world, "klingon", "profile-124", json!({ "language": "tlh" })).await;
        let before = preferences(&world).await;
        let selectors = json!([selector("user", "profile", json!({}))]);
        let refused = migrate(&world, &within("up-1", "SystemUpgrade", selectors.clone())).await;
        assert_eq!(refused.status, Status::Failed);
        assert_eq!(refused.failure.as_ref().unwrap().error, "InvalidInput");
        let told = lines(&world, &refused, "plan_files", "problems.jsonl").await;
        assert_eq!((&told[0]["id"], told.len()), (&json!("profile-124"), 1));
        assert!(!told[0].to_string().contains("tlh"), "{told:?}");
        assert_eq!(preferences(&world).await, before, "nothing is written before everything is known to be good");
        let mut unchecked = within("up-2", "SystemUpgrade", selectors.clone());
        unchecked["migration_options"]["validate_data"] = json!(false);
        let undone = migrate(&world, &unchecked).await;
        assert_eq!((undone.status, &undone.result.as_ref().unwrap()["status"]), (Status::Failed, &json!("RolledBack")));
        assert_eq!(preferences(&world).await, before);
        let mut kept = within("up-3", "SystemUpgrade", selectors);
        kept["migration_options"]["validate_data"] = json!(false);
        kept["migration_options"]["rollback_on_error"] = json!(false);
        let kept = migrate(&world, &kept).await;
        assert_eq!((kept.status, &kept.result.as_ref().unwrap()["status"]), (Status::Failed, &json!("Failed")));
        assert_eq!(lines(&world, &kept, "files", "failed.jsonl").await[0]["id"], "profile-124");
        let after = preferences(&world).await;
        assert_eq!((&after["profile-124"], &after["profile-123"]["locale"]), (&before["profile-124"], &json!("en-US")));
        let (status, answer, reversal) = reverse(&world, &kept.workflow_id).await;
        assert_eq!(status, StatusCode::ACCEPTED, "what was left can be taken back: {answer}");
        assert_eq!(reversal.unwrap().status, Status::Completed);
        assert_eq!(preferences(&world).await, before);
    });
}

#[test]
fn what_changes_while_it_is_upgraded_is_upgraded_as_it_is_then() {
    run(async {
        let world = World::new().await;
        let slow = FaultRule {
            times: Some(1),
            skip: 1,
            ..FaultRule::on("POST", "/api/v1/data/{type}/import", Fault::Delay { delay_ms: 5_000 })
        };
        world.services.set_faults(ServiceKind::User, vec![slow]);
        let mut request = within("up-1", "SystemUpgrade", json!([selector("user", "profile", json!({}))]));
        request["migration_options"]["validate_data"] = json!(false);
        let id = begin(&world, &request).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        prefer(&world, "later", "profile-125", json!({ "language": "de", "new": "yes" })).await;
        let status = until_ended(&world, TENANT, &id).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        assert_eq!(preferences(&world).await["profile-125"], json!({ "locale": "de-DE", "new": "yes" }));
    });
}

#[test]
fn what_is_archived_is_gone_and_comes_back_with_its_bytes() {
    run(async {
        let world = World::new().await;
        let before = held(&world).await;
        let files = json!([selector("file", "workspace", json!({})), selector("file", "file", json!({}))]);
        let names = things(&world, ServiceKind::File, "file", TENANT).await;
        let archived = completed(&world, &within("old", "DataArchival", files.clone())).await;
        assert_eq!(archived["removed"], archived["records_processed"], "{archived}");
        assert_eq!(archived["verified"], archived["removed"], "{archived}");
        assert!(things(&world, ServiceKind::File, "file", TENANT).await.is_empty());
        assert!(things(&world, ServiceKind::File, "workspace", TENANT).await.is_empty());
        let mut one = within(
            "back-1",
            "DataRestore",
            json!([
                selector("file", "workspace", json!({})),
                selector("file", "file", json!({ "name": names[0]["name"] })),
            ]),
        );
        one["restore_from"] = json!("archive_old");
        let restored = completed(&world, &one).await;
        let wanted = names.iter().filter(|file| file["name"] == names[0]["name"]).count();
        assert_eq!(things(&world, ServiceKind::File, "file", TENANT).await.len(), wanted, "{restored}");
        let mut rest = within("back-2", "DataRestore", files);
        rest["restore_from"] = json!("archive_old");
        rest["migration_options"]["on_conflict"] = json!("skip");
        let rest = completed(&world, &rest).await;
        assert_eq!(rest["created"], json!(names.len() - wanted), "{rest}");
        assert_eq!(held(&world).await, before, "everything is as it was");
    });
}

#[test]
fn what_changed_since_it_was_archived_stays_and_is_told_of() {
    run(async {
        let world = World::new().await;
        // The plan reads pages after the archive was made.
        let slow = FaultRule {
            times: Some(1),
            skip: 2,
            ..FaultRule::on("GET", "/api/v1/data/{type}", Fault::Delay { delay_ms: 5_000 })
        };
        world.services.set_faults(ServiceKind::User, vec![slow]);
        let usage = json!([selector("user", "usage", json!({}))]);
        let id = begin(&world, &within("old", "DataArchival", usage)).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let changed = things(&world, ServiceKind::User, "usage", TENANT).await.remove(0);
        let mut data = changed.clone();
        data["actions"] = json!(1_000);
        let item = json!({ "id": changed["usage_id"], "key": "more", "data": data });
        let body = json!({ "on_conflict": "overwrite", "items": [item] });
        at(&world, ServiceKind::User, Method::POST, "/api/v1/data/usage/import", body).await;
        let status = until_ended(&world, TENANT, &id).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        let result = status.result.as_ref().unwrap();
        let left = things(&world, ServiceKind::User, "usage", TENANT).await;
        let total = result["removed"].as_u64().unwrap() + left.len() as u64;
        assert_eq!(result["records_processed"], json!(total), "{result}");
        // It was archived as it is now, or it is there still: it is not lost.
        let is_left = left.iter().any(|usage| usage["actions"] == 1_000);
        assert_eq!(json!(usize::from(is_left)), result["left"], "{result}");
    });
}

#[test]
fn what_others_have_changed_since_is_not_taken_back() {
    run(async {
        let world = World::new().await;
        let before = preferences(&world).await;
        let request = within("up-1", "SystemUpgrade", json!([selector("user", "profile", json!({}))]));
        let upgraded = migrate(&world, &request).await;
        assert_eq!(upgraded.status, Status::Completed, "{:?}", upgraded.error);
        prefer(&world, "mine", "profile-124", json!({ "locale": "ja-JP" })).await;
        let (status, answer, reversal) = reverse(&world, &upgraded.workflow_id).await;
        let reversal = reversal.unwrap_or_else(|| panic!("{status} {answer}"));
        assert_eq!(reversal.status, Status::Completed, "{:?}", reversal.error);
        let result = reversal.result.as_ref().unwrap();
        assert_eq!(
            (&result["left"], &result["left_first"]),
            (&json!(1), &json!(["user/profile/profile-124"])),
            "{result}"
        );
        assert_eq!(result["taken_back"], json!(before.len() - 1), "{result}");
        assert_eq!(lines(&world, &reversal, "files", "left.jsonl").await[0]["id"], "profile-124");
        let after = preferences(&world).await;
        assert_eq!(after["profile-124"], json!({ "locale": "ja-JP" }));
        assert_eq!(after["profile-123"], before["profile-123"]);
        let (status, again, _) = reverse(&world, &upgraded.workflow_id).await;
        assert_eq!((status, &again["new_workflow_id"]), (StatusCode::ACCEPTED, &answer["new_workflow_id"]), "the same");
        let (status, refused, _) = reverse(&world, &reversal.workflow_id).await;
        assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    });
}

/// What one that was ended by force has written is taken back by itself, or together with what its retry did.
#[test]
fn what_a_terminated_migration_and_its_retry_wrote_is_taken_back() {
    for is_retried in [false, true] {
        run(async {
            let world = World::new().await;
            let mut sync = within("forced", "CrossServiceSync", json!([selector("user", "profile", json!({}))]));
            sync["migration_options"]["batch_size"] = json!(1);
            sync["migration_options"]["parallel_workers"] = json!(1);
            let copies = || things(&world, ServiceKind::Tenant, "profile_copy", TENANT);
            let before = copies().await;
            let slow = FaultRule {
                skip: 1,
                ..FaultRule::on("POST", "/api/v1/data/{type}/import", Fault::DelayBeforeEffect { delay_ms: 5_000 })
            };
            world.services.set_faults(ServiceKind::Tenant, vec![slow]);
            let id = world.start_of(&DATA_MIGRATION, &sync).await;
            while copies().await == before {
                clock::sleep(&*world.clock, Duration::from_millis(500)).await;
            }
            let (status, stopped) = world.post(&format!("/api/v1/workflows/{id}/terminate"), &Value::Null, &[]).await;
            assert_eq!(
                (status, &stopped["may_still_stand"]),
                (StatusCode::OK, &json!(["MigrateBatches"])),
                "{stopped}"
            );
            assert!(stopped["message"].as_str().unwrap().contains("/reverse takes it back"), "{stopped}");
            world.services.set_faults(ServiceKind::Tenant, Vec::new());
            clock::sleep(&*world.clock, Duration::from_secs(10)).await;
            let mut last = id;
            if is_retried {
                let (_, retried) = world.post(&format!("/api/v1/workflows/{last}/retry"), &Value::Null, &[]).await;
                last = retried["new_workflow_id"].as_str().unwrap().to_owned();
                assert_eq!(world.until_ended(&last).await.status, Status::Completed);
            }
            assert_ne!(copies().await, before);
            let (status, answer, reversal) = reverse(&world, &last).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
            let reversal = reversal.unwrap();
            assert_eq!(reversal.status, Status::Completed, "{:?}", reversal.error);
            assert_eq!(copies().await, before, "retried: {is_retried}");
        });
    }
}

#[test]
fn what_cannot_be_reversed_is_refused_by_reason() {
    run(async {
        let world = World::new().await;
        let profiles = json!([selector("user", "profile", json!({}))]);
        let mut never = within("never", "SystemUpgrade", profiles.clone());
        never["migration_options"]["reversible_days"] = json!(0);
        let never = migrate(&world, &never).await;
        let (status, answer, _) = reverse(&world, &never.workflow_id).await;
        assert_eq!(
            (status, answer["detail"].as_str().unwrap().contains("reversible_days 0")),
            (StatusCode::CONFLICT, true),
            "{answer}"
        );
        let mut short = within("short", "CrossServiceSync", profiles);
        short["migration_options"]["reversible_days"] = json!(1);
        let short = migrate(&world, &short).await;
        assert!(short.result.as_ref().unwrap()["reversible_until"].is_string());
        clock::sleep(&*world.clock, Duration::from_secs(25 * 3_600)).await;
        let (status, answer, _) = reverse(&world, &short.workflow_id).await;
        assert_eq!(
            (status, answer["detail"].as_str().unwrap().contains("until")),
            (StatusCode::CONFLICT, true),
            "{answer}"
        );
        let (status, _, _) = reverse(&world, "data_migration_00000000-0000-7000-8000-000000000000").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn copies_of_many_are_compared_by_digests_and_only_differences_are_read() {
    run(async {
        let world = World::new().await;
        // Profiles and equal copies of them, but for every thousandth.
        let (mut profiles, mut copies) = (Vec::new(), Vec::new());
        for number in 0..12_500 {
            let id = format!("many-{number:05}");
            let name = if number % 5_000 == 77 { "Other".to_owned() } else { format!("Name {number}") };
            let email = format!("{id}@example.com");
            let data = json!({ "name": format!("Name {number}"), "email": email });
            profiles.push((
                id.clone(),
                json!({
                    "profile_id": id, "user_id": id, "profile_data": data, "preferences": {}, "status": "active",
                }),
            ));
            copies.push((id.clone(), json!({ "profile_id": id, "user_id": id, "name": name, "email": email })));
        }
        for (kind, entity_type, all) in
            [(ServiceKind::User, "profile", profiles), (ServiceKind::Tenant, "profile_copy", copies)]
        {
            for some in all.chunks(1_000) {
                let item = |(id, data): &(String, Value)| json!({ "id": id, "key": format!("{entity_type}-{id}"), "data": data });
                let body = json!({ "on_conflict": "overwrite", "items": some.iter().map(item).collect::<Value>() });
                at(&world, kind, Method::POST, &format!("/api/v1/data/{entity_type}/import"), body).await;
            }
        }
        let mut request = within("many", "CrossServiceSync", json!([selector("user", "profile", json!({}))]));
        request["migration_options"]["batch_size"] = json!(100);
        world.calls.lock().unwrap().clear();
        let result = completed(&world, &request).await;
        assert_eq!((&result["records_processed"], &result["verified"]), (&json!(12_503), &json!(12_503)), "{result}");
        assert_eq!(
            (&result["created"], &result["updated"], &result["only_copies"]),
            (&json!(1), &json!(4), &json!(1)),
            "{result}"
        );
        let pages: u32 = {
            let calls = world.calls.lock().unwrap();
            let is_page = |call: &str| call.starts_with("GET") && call.contains("/data/profile?");
            calls.iter().filter(|(call, _)| is_page(call)).map(|(_, count)| count).sum()
        };
        assert!(pages < 40, "{pages} pages of profiles were read; all of them are 63, three times");
        assert_eq!(
            completed(&world, &within("again", "CrossServiceSync", json!([selector("user", "profile", json!({}))])))
                .await["updated"],
            0
        );
    });
}
