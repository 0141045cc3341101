//! What is compared after it was copied: what is wrong is told by name, and what its original has changed again meanwhile is no
//! fault.

use super::*;

/// All accounts, and the tenant that they belong to.
fn accounts_with_tenant() -> Value {
    json!([selector("tenant", "tenant", json!({})), selector("auth", "account", json!({}))])
}

/// A migration of all accounts, held up when its originals are read for the comparison: after a second of that, `meddle` acts.
async fn while_compared(world: &World, migration_id: &str, meddle: impl AsyncFn()) -> StatusResponse {
    let mut request = between_tenants(migration_id, accounts_with_tenant());
    request["migration_options"] = json!({ "batch_size": 100, "create_backup": false, "rollback_on_error": false });
    // The plan reads them, the batch, and whoever asks for what has changed since.
    let slow = FaultRule {
        times: Some(1),
        skip: 3,
        tenant: Some(TENANT.to_owned()),
        ..FaultRule::on("GET", "/api/v1/data/{type}", Fault::DelayBeforeEffect { delay_ms: 5_000 })
    };
    world.services.set_faults(ServiceKind::Auth, vec![slow]);
    let id = begin(world, &request).await;
    clock::sleep(&*world.clock, Duration::from_secs(2)).await;
    assert_eq!(things(world, ServiceKind::Auth, "account", NEW).await.len(), 4, "all are copied");
    meddle().await;
    until_ended(world, NEW, &id).await
}

async fn rename(world: &World, tenant_id: &str, id: &str) {
    let item = json!({ "entity_type": "account", "entity_id": id, "key": format!("rename-{id}"), "data": { "name": "Newer" } });
    let asked = Request::post("/api/v1/operations/UserUpdate").header("x-tenant-id", tenant_id);
    let asked = asked.header("content-type", "application/json");
    let asked = asked.body(Body::from(json!({ "items": [item] }).to_string())).unwrap();
    let answer = world.services.router(ServiceKind::Auth).oneshot(asked).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[test]
fn what_changes_after_the_last_round_is_told_and_is_no_fault() {
    run(async {
        let world = World::new().await;
        let status = while_compared(&world, "moving", async || rename(&world, TENANT, "user-124").await).await;
        assert_eq!(status.status, Status::Completed, "{:?}", status.error);
        let result = status.result.unwrap();
        let counts = ["created", "records_failed", "verified"].map(|name| result[name].as_u64().unwrap());
        assert_eq!((counts, &result["still_changing"]), ([5, 0, 4], &json!(true)), "{result}");
        assert!(result["files"]["still_changing.jsonl"].is_string(), "{result}");
    });
}

#[test]
fn what_is_not_as_it_should_be_is_told_by_name_and_the_rest_is_verified() {
    run(async {
        let world = World::new().await;
        let spoil = async || {
            let copies = things(&world, ServiceKind::Auth, "account", NEW).await;
            for copy in copies.iter().take(2) {
                rename(&world, NEW, copy["user_id"].as_str().unwrap()).await;
            }
        };
        let status = while_compared(&world, "moving", spoil).await;
        assert_eq!(status.failure.as_ref().unwrap().error, "IntegrityViolation", "{:?}", status.failure);
        let result = status.result.unwrap();
        let counts = ["created", "records_migrated", "records_failed"].map(|name| result[name].as_u64().unwrap());
        assert_eq!(counts, [5, 3, 2], "{result}");
        assert_eq!((&result["verified"], &result["per_type"][0]["verified"]), (&json!(3), &json!(2)), "{result}");
        assert!(result["error_summary"].as_str().unwrap().contains("is not as it should be"), "{result}");
        assert!(result["files"]["failed.jsonl"].is_string(), "{result}");
    });
}

/// It goes from the source without being told as deleted.
#[test]
fn what_a_service_lists_and_does_not_have_fails_the_migration() {
    run(async {
        let world = World::new().await;
        let mut request = between_tenants("listed", accounts_with_tenant());
        request["migration_options"]["validate_data"] = json!(false);
        // The tenant's own row is written first: the accounts have been planned by then.
        let slow = FaultRule {
            times: Some(1),
            tenant: Some(NEW.to_owned()),
            ..FaultRule::on("POST", "/api/v1/data/{type}/import", Fault::Delay { delay_ms: 5_000 })
        };
        world.services.set_faults(ServiceKind::Tenant, vec![slow]);
        let id = begin(&world, &request).await;
        clock::sleep(&*world.clock, Duration::from_secs(2)).await;
        let gone = json!({ "items": [{ "id": "user-124", "key": "gone" }] });
        at(&world, ServiceKind::Auth, Method::POST, "/api/v1/data/account/delete", gone).await;
        let forgotten = json!({ "subject": "user-124", "pseudonym": "erased-1" });
        at(&world, ServiceKind::Auth, Method::POST, "/api/v1/data/forget", forgotten).await;
        let status = until_ended(&world, NEW, &id).await;
        let failure = status.failure.unwrap_or_else(|| panic!("{:?}", status.result));
        assert_eq!((failure.error.as_str(), status.status), ("IntegrityViolation", Status::Failed));
        assert!(failure.message.contains("listed 1 things that it does not have"), "{}", failure.message);
        assert!(things(&world, ServiceKind::Auth, "account", NEW).await.is_empty(), "nothing of it is left");
    });
}

#[test]
fn a_reference_to_what_the_source_does_not_have_is_told() {
    run(async {
        let world = World::new().await;
        let path = "/api/v1/data/account/delete";
        let profiles = things(&world, ServiceKind::User, "profile", TENANT).await;
        let gone = profiles[0]["user_id"].clone();
        at(&world, ServiceKind::Auth, Method::POST, path, json!({ "items": [{ "id": gone, "key": "gone" }] })).await;
        for (number, brings) in [(0, false), (1, true)] {
            let of = |service: &str, entity_type: &str| json!({ "service": service, "entity_type": entity_type, "include_relationships": brings });
            let selectors = json!([of("tenant", "tenant"), of("auth", "account"), of("user", "profile")]);
            let mut request = between_tenants(&format!("tried-{number}"), selectors);
            request["migration_options"]["dry_run"] = json!(true);
            let result = completed(&world, &request).await;
            assert_eq!(result["dangling_references"], 1, "{result}");
        }
    });
}

/// A restore of files without their workspaces.
#[test]
fn what_a_restore_cannot_put_back_alone_is_told_by_a_dry_run() {
    run(async {
        let world = World::new().await;
        let both = json!([selector("file", "workspace", json!({})), selector("file", "file", json!({}))]);
        completed(&world, &within("old", "DataArchival", both.clone())).await;
        let restore = |migration_id: &str, selectors: &Value, dry_run: bool| {
            let mut request = within(migration_id, "DataRestore", selectors.clone());
            request["restore_from"] = json!("archive_old");
            request["migration_options"]["dry_run"] = json!(dry_run);
            request
        };
        let files = json!([selector("file", "file", json!({}))]);
        let tried = completed(&world, &restore("tried", &files, true)).await;
        let counts =
            ["created", "records_failed", "problems", "file_contents"].map(|name| tried[name].as_u64().unwrap());
        assert_eq!(counts, [0, 3, 3, 0], "{tried}");
        let refused = migrate(&world, &restore("refused", &files, false)).await;
        assert_eq!(refused.failure.unwrap().step.as_deref(), Some("PlanMigration"));
        let tried = completed(&world, &restore("tried-both", &both, true)).await;
        let real = completed(&world, &restore("back", &both, false)).await;
        assert_eq!(counted_by_type(&tried), counted_by_type(&real));
        assert_eq!(tried["file_contents"], real["file_contents"]);
        assert!(things(&world, ServiceKind::File, "file", TENANT).await.len() == 3, "they are back");
    });
}
