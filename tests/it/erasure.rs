//! Erasures of a person: nothing of them is left, in whatever byte, nobody else loses anything, and what is left is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use contracts::Status;
use contracts::audit::{AuditAction, AuditOutcome};
use contracts::holds::Hold;
use http::{Method, Request, StatusCode};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use store::{Erasures as _, Holds as _, NewAuditRow, Placed};
use vault::{Keys as _, verify_document};

use crate::bulk::{linked, upload};
use crate::subjects::{BULK_OPERATION, COMPLIANCE, CROSS_SERVICE_BACKUP, DATA_MIGRATION, ERASURE, at};
use crate::world::{Dispatch, Script, TENANT, World, full_request, run};

const CANARY: &str = "canary";

/// Erases somebody, and answers with the execution and its result.
async fn erase(world: &World, person: &str, changes: Value) -> (String, Value) {
    let mut request = json!({
        "compliance_id": "erasure-1", "tenant_id": TENANT, "compliance_type": "GdprDataDeletion",
        "subject_user_id": person,
    });
    for (name, value) in changes.as_object().unwrap() {
        request[name] = value.clone();
    }
    let id = world.start_of(&ERASURE, &request).await;
    let status = world.until_ended(&id).await;
    assert_eq!(status.status, Status::Completed, "{:?}", status.error);
    (id, status.result.unwrap())
}

/// Somebody is onboarded who has the word in every field, and their id.
async fn onboarded(world: &World) -> String {
    let mut request = full_request();
    request["user_email"] = json!("canary@example.com");
    request["user_name"] = json!("Canary Canary");
    request["create_sample_data"] = json!(true);
    let status = world.until_ended(&world.start(&request).await).await;
    let result = status.result.unwrap();
    result["user_id"].as_str().unwrap().to_owned()
}

/// The files below a folder whose bytes have a word, in whatever case.
fn having(folder: &Path, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(having(&path, word));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap().to_ascii_lowercase();
        let word = word.to_ascii_lowercase();
        if bytes.windows(word.len()).any(|window| window == word.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn nothing_of_a_person_is_left_in_any_byte_and_others_keep_everything() {
    run(async {
        let world = World::new().await;
        let before = world.snapshot().await;
        let person = onboarded(&world).await;
        let (session, token) = (json!({ "device": "canary phone" }), "canary-session");
        let path = format!("/api/v1/users/{person}/sessions");
        at(&world, ServiceKind::Auth, Method::POST, &path, json!({ "session_id": token, "session_data": session }))
            .await;
        // Ids of things may be made of the person's.
        let data = json!({ "user_id": person, "day": "2026-01-02", "actions": 7 });
        let usage = json!({ "id": format!("{person}-2026-01-02"), "key": "usage", "data": data });
        let usage = json!({ "on_conflict": "fail", "items": [usage] });
        at(&world, ServiceKind::User, Method::POST, "/api/v1/data/usage/import", usage).await;
        let backup = json!({ "backup_id": "before", "tenant_id": TENANT, "services": ["auth", "user"] });
        assert_eq!(world.post("/api/v1/coordination/backup", &backup, &[]).await.0, StatusCode::OK);
        // What our own service knows of them: an export, and a job about them.
        let export = json!({
            "compliance_id": "export-1", "tenant_id": TENANT, "compliance_type": "GdprDataExport",
            "subject_user_id": person,
        });
        let export = world.start_of(&COMPLIANCE, &export).await;
        world.until_ended(&export).await;
        let job = json!({
            "operation_id": "job", "tenant_id": TENANT, "operation_type": "UserUpdate",
            "target_entities": [{ "service": "auth", "entity_type": "account", "entity_id": person,
                "operation_data": { "name": "Canary the second" } }],
            "operation_data": {}, "batch_options": { "batch_size": 1, "parallel_batches": 1 },
        });
        let (status, job) = world.post("/api/v1/workflows/bulk-operation", &job, &[]).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job}");
        let job = job["workflow_id"].as_str().unwrap().to_owned();
        world.until_ended(&job).await;
        // What came to nothing knows no more than the address.
        let mut refused = full_request();
        (refused["user_email"], refused["user_name"]) = (json!("canary@example.com"), json!("Canary"));
        let refused = world.start(&refused).await;
        assert_eq!(world.until_ended(&refused).await.status, Status::Failed, "the address is taken");
        // An address is the same in capital letters.
        let mut capitals = full_request();
        (capitals["user_email"], capitals["user_name"]) = (json!("CANARY@Example.COM"), json!("Somebody Else"));
        let capitals = world.start(&capitals).await;
        assert_eq!(world.until_ended(&capitals).await.status, Status::Failed, "the address is taken");
        let refused_job = json!({
            "operation_id": "refused", "tenant_id": TENANT, "operation_type": "UserCreation",
            "target_entities": [{ "service": "auth", "entity_type": "account", "entity_id": "another",
                "operation_data": { "email": "canary@example.com", "name": "Canary", "role": "user" } }],
        });
        let (_, refused_job) = world.post("/api/v1/workflows/bulk-operation", &refused_job, &[]).await;
        let refused_job = world.until_ended(refused_job["workflow_id"].as_str().unwrap()).await;
        assert_eq!(refused_job.result.unwrap()["failed_operations"], 1);
        let folder = world.database().parent().unwrap().to_owned();
        assert!(!having(&folder, CANARY).is_empty() && !having(&folder, &person).is_empty());

        let (id, result) = erase(&world, &person, json!({})).await;
        assert_eq!(result["status"], "Completed", "{result:#}");
        assert_eq!(result["data_deleted"]["backup_id"], "gdpr_deletion_backup_erasure-1");
        for word in [CANARY, person.as_str(), "CANARY@Example.COM", "Somebody Else"] {
            assert_eq!(having(&folder, word), Vec::<String>::new(), "{word}");
            assert!(!world.snapshot().await.to_string().to_lowercase().contains(word), "{word}");
        }
        assert_eq!(world.snapshot().await, before, "what others have stays");
        for (id, files) in [(&export, "export.zip"), (&job, "succeeded.csv")] {
            assert_eq!(world.history(id).await.events[0].event.details["input"], Value::Null, "{id}");
            let (status, _) = world.get(&format!("/api/v1/workflows/{id}/results/{files}")).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{files}");
        }
        // The same request is the same erasure; another one has nothing to do, and tells what the first one did.
        let again = json!({
            "compliance_id": "erasure-1", "tenant_id": TENANT, "compliance_type": "GdprDataDeletion",
            "subject_user_id": person,
        });
        assert_eq!(world.start_of(&ERASURE, &again).await, id);
        let mut other = again.clone();
        other["compliance_id"] = json!("erasure-2");
        let status = world.until_ended(&world.start_of(&ERASURE, &other).await).await;
        let (again, first) = (status.result.unwrap(), &result["data_deleted"]["total_records_deleted"]);
        assert_eq!((&again["status"], &again["erased_before"]), (&json!("Completed"), first), "{again:#}");
        assert_eq!(having(&folder, &person), Vec::<String>::new(), "what asked for it is forgotten, too");
        other["compliance_id"] = json!("erasure-3");
        other["subject_user_id"] = json!("nobody");
        let status = world.until_ended(&world.start_of(&ERASURE, &other).await).await;
        let error = status.error.unwrap();
        assert!(error.contains("no service keeps anything of this person"), "{error}");
    });
}

/// Asks for the certificate of the first erasure, in this form.
fn asking(accept: &str) -> Request<Body> {
    let request = Request::get("/api/v1/compliance/requests/erasure-1/certificate").header("x-tenant-id", TENANT);
    request.header("accept", accept).body(Body::empty()).unwrap()
}

#[test]
fn a_certificate_proves_itself_and_a_changed_one_does_not() {
    run(async {
        let world = World::new().await;
        let (id, result) = erase(&world, "user-123", json!({ "legal_basis": "Article 17 (1) (b)" })).await;
        let number = result["compliance_certificate"].as_str().unwrap();
        assert!(number.starts_with("COMPLIANCE_CERT_GDPR_DATA_DELETION_tenant-123_"), "{number}");
        let read = |name: &str| std::fs::read(world.blobs().join(TENANT).join("results").join(&id).join(name)).unwrap();
        let keys = vault::KeyFilePath::new(world.database().with_file_name("keys.json")).public_keys().await.unwrap();
        let certificate = read("certificate.json");
        let document = verify_document("erasure-certificate", &certificate, &keys).unwrap();
        assert_eq!((&document["number"], &document["compliance_id"]), (&json!(number), &json!("erasure-1")));
        assert_eq!(document["legal_basis"], "Article 17 (1) (b)");
        let account = document["types"].as_array().unwrap().iter().find(|of| of["entity_type"] == "account").unwrap();
        assert_eq!((&account["removed"], &account["retained"]), (&json!(1), &json!(0)));
        assert_eq!(document["still_held_by"][0]["backup_id"], "gdpr_deletion_backup_erasure-1");
        assert!(!document.to_string().contains("user-123"), "it names nobody: {document}");
        let changed = String::from_utf8(certificate).unwrap().replacen("\"removed\": 1", "\"removed\": 2", 1);
        assert!(verify_document("erasure-certificate", changed.as_bytes(), &keys).is_err());
        let (status, headers, _) = world.call(asking("*/*")).await;
        assert_eq!(status, StatusCode::FOUND);
        assert_eq!(headers["location"], format!("../../../workflows/{id}/results/certificate.json").as_str());
        let (_, headers, _) = world.call(asking("text/html,*/*")).await;
        assert_eq!(headers["location"], format!("../../../workflows/{id}/results/certificate.html").as_str());
        let page = String::from_utf8(read("certificate.html")).unwrap();
        assert!(page.contains(number) && page.contains("Certificate of erasure"), "{page}");
    });
}

#[test]
fn what_cannot_be_erased_is_told_and_there_is_no_certificate() {
    run(async {
        let world = World::new().await;
        let refuses = FaultRule::on(
            "POST",
            "/api/v1/data/{type}/delete",
            Fault::Status { status: 400, retry_after_seconds: None },
        );
        world.faults(&BTreeMap::from([("file".to_owned(), vec![refuses])]));
        let (id, result) = erase(&world, "user-123", json!({})).await;
        assert_eq!(
            (&result["status"], &result["compliance_certificate"]),
            (&json!("PartiallyCompleted"), &Value::Null)
        );
        let residue = result["residue"].as_array().unwrap();
        assert!(residue.iter().any(|left| left["service"] == "file" && left["reason"] == "StillThere"), "{residue:?}");
        assert!(result["files"].as_object().unwrap().is_empty(), "{result}");
        assert_eq!(world.call(asking("*/*")).await.0, StatusCode::NOT_FOUND);
        let (status, _) = world.get(&format!("/api/v1/workflows/{id}/results/certificate.json")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        // Once the service takes part, another request does the rest.
        world.faults(&BTreeMap::new());
        let deleted = |result: &Value, entity_type: &str| {
            let types = result["per_type"].as_array().unwrap().iter();
            types.filter(|of| of["entity_type"] == entity_type).map(|of| of["deleted"].as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!([deleted(&result, "session"), deleted(&result, "file")], [1, 0]);
        let (id, result) = erase(&world, "user-123", json!({ "compliance_id": "erasure-2" })).await;
        assert_eq!(result["status"], "Completed", "{result:#}");
        assert_eq!([deleted(&result, "session"), deleted(&result, "file")], [1, 3], "what both did is counted");
        let certificate = world.blobs().join(TENANT).join("results").join(&id).join("certificate.json");
        let certificate: Value = serde_json::from_slice(&std::fs::read(certificate).unwrap()).unwrap();
        let held = certificate["document"]["still_held_by"].as_array().unwrap().iter();
        let held: Vec<&str> = held.map(|backup| backup["backup_id"].as_str().unwrap()).collect();
        assert_eq!(held, ["gdpr_deletion_backup_erasure-2", "gdpr_deletion_backup_erasure-1"]);
    });
}

/// What the map does not know would be left, and nobody would be told.
#[test]
fn a_map_that_does_not_know_a_type_makes_exports_and_erasures_fail() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("map.toml");
        let map = "version = 1\nnothing_personal = [\"tenant/tenant\"]\n[tenant.membership]\nsubject = \"user_id\"\n\
            [tenant.membership.fields]\nrole = { category = \"identity\", strategy = \"delete\" }\n";
        std::fs::write(&file, map).unwrap();
        let world = World::with(Script::default(), &[("COMPLIANCE__DATASET", file.display().to_string())]).await;
        let before = world.snapshot().await;
        for subject in [&COMPLIANCE, &ERASURE] {
            let id = world.start_of(subject, &(subject.request)(0)).await;
            let error = world.until_ended(&id).await.error.unwrap();
            let is_told = |word: &&str| error.contains(word);
            assert!(
                ["InvalidInput", "auth/account", "file/file", "tenant/profile_copy"].iter().all(is_told),
                "{error}"
            );
            assert!(!["tenant/tenant", "tenant/membership"].iter().any(is_told), "{error}");
        }
        assert_eq!(world.snapshot().await, before, "nothing is erased");
    });
}

/// What is not erased yet is kept by a hold that comes meanwhile.
#[test]
fn a_hold_that_is_placed_while_an_erasure_is_under_way_holds() {
    run(async {
        let world = World::new().await;
        let slow = FaultRule::on("POST", "/api/v1/data/{type}/delete", Fault::Delay { delay_ms: 5_000 });
        world.faults(&BTreeMap::from([("auth".to_owned(), vec![slow])]));
        let before = world.snapshot().await;
        let id = world.start_of(&ERASURE, &(ERASURE.request)(0)).await;
        while world.app.store.erasure(TENANT, "erasure-0000").await.unwrap().is_none() {
            clock::sleep(&*world.clock, std::time::Duration::from_millis(200)).await;
            assert!(world.status(&id).await.status.is_open());
        }
        clock::sleep(&*world.clock, std::time::Duration::from_secs(2)).await;
        hold(&world, "late", json!({ "subject_user_id": "user-123" })).await;
        world.faults(&BTreeMap::new());
        let result = world.until_ended(&id).await.result.unwrap();
        assert_eq!(result["held_by"], json!(["late"]), "{result:#}");
        let after = world.snapshot().await;
        for (service, table) in [("auth", "accounts"), ("file", "files"), ("user", "profiles")] {
            assert_eq!(after[service][table], before[service][table], "{table}");
        }
        assert_ne!(after["auth"]["sessions"], before["auth"]["sessions"], "those were being erased");
    });
}

/// One release begins the erasures of several persons: each waits until it can be alone.
#[test]
fn a_release_of_a_hold_on_several_persons_erases_all_of_them() {
    run(async {
        let world = World::new().await;
        let person = onboarded(&world).await;
        hold(&world, "lawsuit", json!({ "data_categories": ["contact"] })).await;
        for (number, person) in ["user-123", &person].into_iter().enumerate() {
            let id = format!("erasure-{number}");
            let (_, result) = erase(&world, person, json!({ "compliance_id": id })).await;
            assert_eq!(result["held_by"], json!(["lawsuit"]), "{result:#}");
        }
        let body = Body::from(json!({ "reason": "It is over" }).to_string());
        let request = Request::delete("/api/v1/compliance/holds/lawsuit").header("x-tenant-id", TENANT);
        let request = request.header("content-type", "application/json").body(body).unwrap();
        let (status, _, released) = world.call(request).await;
        let deferred = released["deferred"].as_array().unwrap();
        assert_eq!((status, deferred.len()), (StatusCode::OK, 2), "{released}");
        for id in deferred {
            let ended = world.until_ended(id.as_str().unwrap()).await;
            assert_eq!(ended.status, Status::Completed, "{:?}", ended.error);
            assert_eq!(ended.result.unwrap()["held_by"], json!([]));
        }
    });
}

/// Each release begins an erasure while the other one is under way, or waits: they do not stand in each other's way.
#[test]
fn holds_that_are_released_one_after_the_other_end_with_everything_erased() {
    run(async {
        let world = World::new().await;
        for (name, category) in [("one", "contact"), ("two", "usage")] {
            hold(&world, name, json!({ "subject_user_id": "user-123", "data_categories": [category] })).await;
        }
        erase(&world, "user-123", json!({})).await;
        let mut linked = Vec::new();
        for name in ["one", "two"] {
            let body = Body::from(json!({ "reason": "It is over" }).to_string());
            let request = Request::delete(format!("/api/v1/compliance/holds/{name}")).header("x-tenant-id", TENANT);
            let request = request.header("content-type", "application/json").body(body).unwrap();
            let (_, _, released) = world.call(request).await;
            linked.extend(released["deferred"].as_array().unwrap().clone());
        }
        for id in &linked {
            let result = world.until_ended(id.as_str().unwrap()).await.result.unwrap();
            assert_eq!((&result["status"], &result["residue"]), (&json!("Completed"), &json!([])), "{result:#}");
        }
        let (_, open) = world.get("/api/v1/compliance/requests?state=partially_completed").await;
        assert_eq!((linked.len() >= 2, &open["requests"]), (true, &json!([])), "nothing stays due");
    });
}

/// One that is ended by force in the middle of a call does not learn what came of it; the certificate tells all the same.
#[test]
fn a_retry_of_an_erasure_that_was_terminated_counts_everything() {
    run(async {
        for kind in [ServiceKind::File, ServiceKind::Auth] {
            let world = World::new().await;
            let slow = FaultRule {
                times: Some(1),
                ..FaultRule::on("POST", "/api/v1/data/{type}/delete", Fault::Delay { delay_ms: 6_000 })
            };
            world.services.set_faults(kind, vec![slow]);
            let request = json!({
                "compliance_id": "erasure-1", "tenant_id": TENANT, "compliance_type": "GdprDataDeletion",
                "subject_user_id": "user-123",
            });
            let id = world.start_of(&ERASURE, &request).await;
            clock::sleep(&*world.clock, Duration::from_secs(3)).await;
            let (status, answer) = world.post(&format!("/api/v1/workflows/{id}/terminate"), &json!({}), &[]).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            clock::sleep(&*world.clock, Duration::from_secs(10)).await;
            let (_, answer) = world.post(&format!("/api/v1/workflows/{id}/retry"), &json!({}), &[]).await;
            let result = world.until_ended(answer["new_workflow_id"].as_str().unwrap()).await.result.unwrap();
            assert_eq!(result["status"], "Completed", "{result:#}");
            assert_eq!(result["data_deleted"]["total_records_deleted"], 12, "{kind:?}: {result:#}");
        }
    });
}

#[test]
fn a_restore_leaves_out_who_was_erased_and_the_erasures_own_backup_brings_them_back() {
    run(async {
        let world = World::new().await;
        let before = world.snapshot().await;
        let backup = json!({ "backup_id": "before", "tenant_id": TENANT });
        let (status, answer) = world.post("/api/v1/coordination/backup", &backup, &[]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        erase(&world, "user-123", json!({})).await;
        let erased = world.snapshot().await;
        at(
            &world,
            ServiceKind::Auth,
            Method::POST,
            "/api/v1/data/account/delete",
            json!({ "items": [{ "id": "user-124", "key": "mistake" }] }),
        )
        .await;
        let restore = json!({ "backup_id": "before", "tenant_id": TENANT });
        let (status, answer) = world.post("/api/v1/coordination/restore", &restore, &[]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(world.snapshot().await, erased, "user-124 is back, and user-123 is not");
        let restore = json!({ "backup_id": "gdpr_deletion_backup_erasure-1", "tenant_id": TENANT });
        let (status, answer) = world.post("/api/v1/coordination/restore", &restore, &[]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert!(answer["created"].as_u64() > Some(5), "{answer}");
        let back = world.snapshot().await;
        assert_eq!(back["auth"]["accounts"], before["auth"]["accounts"]);

        clock::sleep(&*world.clock, Duration::from_secs(31 * 24 * 3_600)).await;
        let backups = "/api/v1/coordination/backups/gdpr_deletion_backup_";
        let (status, answer) = world.get(&format!("{backups}erasure-1")).await;
        assert_eq!((status, &answer["title"]), (StatusCode::GONE, &json!("Gone")), "{answer}");
        assert_eq!(world.get(&format!("{backups}erasure-2")).await.0, StatusCode::NOT_FOUND);
        let (status, answer) = world.post("/api/v1/coordination/restore", &restore, &[]).await;
        assert_eq!((status, &answer["title"]), (StatusCode::GONE, &json!("Gone")), "{answer}");
        let selectors = json!([{ "service": "auth", "entity_type": "account" }]);
        let migration = json!({
            "migration_id": "from-destroyed", "target_tenant_id": TENANT, "migration_type": "DataRestore",
            "restore_from": restore["backup_id"], "data_selectors": selectors,
        });
        let (status, answer) = world.post("/api/v1/workflows/data-migration", &migration, &[]).await;
        assert_eq!((status, &answer["title"]), (StatusCode::GONE, &json!("Gone")), "{answer}");
    });
}

#[test]
fn files_of_jobs_and_migrations_name_the_person_no_more_and_others_as_before() {
    run(async {
        let world = World::new().await;
        let line = |id: &str| {
            let data = json!({ "email": format!("{id}@canary.example"), "name": "Canary", "role": "user" });
            json!({ "service": "auth", "entity_type": "account", "entity_id": id, "operation_data": data }).to_string()
                + "\n"
        };
        let upload_id = upload(&world, (line("gone-1") + &line("gone-12")).as_bytes()).await;
        let job = json!({
            "operation_id": "uploaded", "tenant_id": TENANT, "operation_type": "UserCreation",
            "input": { "upload_id": upload_id },
        });
        let id = world.start_of(&BULK_OPERATION, &job).await;
        assert_eq!(world.until_ended(&id).await.status, Status::Completed);
        let selectors = json!([{ "service": "auth", "entity_type": "account" }]);
        let migration = json!({
            "migration_id": "tried", "target_tenant_id": TENANT,
            "migration_type": "DataArchival", "data_selectors": selectors, "migration_options": { "dry_run": true },
        });
        let tried = world.start_of(&DATA_MIGRATION, &migration).await;
        assert_eq!(world.until_ended(&tried).await.status, Status::Completed);
        let blobs = world.blobs();
        assert!(!having(&blobs, "gone-1@canary.example").is_empty(), "it is searched where it is");
        erase(&world, "gone-1", json!({})).await;
        assert_eq!(having(&blobs, "gone-1@canary.example"), [] as [String; 0]);
        assert_eq!(having(&blobs, "\"gone-1\""), [] as [String; 0]);
        assert_eq!(having(&blobs, "gone-12@canary.example").len(), 2, "the other one is in both files of the results");
    });
}

/// Somebody places a legal hold.
async fn hold(world: &World, hold_id: &str, scope: Value) {
    let now = world.clock.now();
    let audit = NewAuditRow {
        tenant_id: TENANT.to_owned(),
        at: now,
        actor: None,
        action: AuditAction::PlaceHold,
        outcome: AuditOutcome::Accepted,
        workflow_id: None,
        workflow_kind: None,
        request_id: String::new(),
        is_admin: false,
        reason: None,
        details: json!({}),
    };
    let mut hold = json!({
        "hold_id": hold_id, "tenant_id": TENANT, "reason": "A lawsuit", "until": null, "placed_at": now, "placed_by": null,
        "released": null,
    });
    hold.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
    let hold: Hold = serde_json::from_value(hold).unwrap();
    assert_eq!(world.app.store.place(&hold, audit).await.unwrap(), Placed::New);
}

#[test]
fn a_legal_hold_keeps_what_it_covers_and_what_that_hangs_on() {
    run(async {
        let world = World::new().await;
        let before = world.snapshot().await;
        let record = json!({ "service": "file", "entity_type": "file", "entity_id": "file-123-1" });
        hold(&world, "lawsuit", json!({ "record": record })).await;
        hold(&world, "somebody-else", json!({ "subject_user_id": "user-124" })).await;
        let (id, result) = erase(&world, "user-123", json!({})).await;
        assert_eq!((&result["status"], &result["held_by"]), (&json!("Completed"), &json!(["lawsuit"])), "{result:#}");
        let of = |entity_type: &str| {
            let types = result["per_type"].as_array().unwrap();
            let of = types.iter().find(|of| of["entity_type"] == entity_type).unwrap();
            [of["deleted"].as_u64().unwrap(), of["held"].as_u64().unwrap()]
        };
        assert_eq!([of("file"), of("workspace"), of("account"), of("profile")], [[2, 1], [0, 1], [0, 1], [1, 0]]);
        let after = world.snapshot().await;
        assert_eq!(after["auth"]["accounts"], before["auth"]["accounts"], "the account goes last");
        let files = |snapshot: &Value| {
            let files = snapshot["file"]["files"].as_array().unwrap().iter();
            files.filter(|file| file["file_id"] == "file-123-1").cloned().collect::<Vec<_>>()
        };
        assert_eq!(files(&after), files(&before), "what is held is untouched");
        let certificate = world.blobs().join(TENANT).join("results").join(&id).join("certificate.json");
        assert!(std::fs::read_to_string(certificate).unwrap().contains("\"lawsuit\""));
        let link = result["files"]["held.jsonl"].as_str().unwrap().to_owned();
        let held: Vec<Value> =
            linked(&world, &link, "held.jsonl").await.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let first = json!({ "service": "file", "entity_type": "file", "id": "file-123-1", "held_by": ["lawsuit"] });
        let ids: Vec<&str> = held.iter().map(|held| held["id"].as_str().unwrap()).collect();
        assert_eq!((&held[0], ids), (&first, vec!["file-123-1", "workspace-123", "user-123"]), "{held:?}");
        let kept = world.app.store.erasure(TENANT, "erasure-1").await.unwrap().unwrap();
        assert_eq!(kept.kept_request.unwrap()["subject_user_id"], "user-123", "what is needed to go on later stays");
        let release = |reason: &str| {
            let body = Body::from(json!({ "reason": reason }).to_string());
            let request = Request::delete("/api/v1/compliance/holds/lawsuit").header("x-tenant-id", TENANT);
            request.header("content-type", "application/json").body(body).unwrap()
        };
        let (status, _, released) = world.call(release("It is over")).await;
        assert_eq!(status, StatusCode::OK, "{released}");
        let linked = released["deferred"][0].as_str().unwrap().to_owned();
        let result = world.until_ended(&linked).await.result.unwrap();
        assert_eq!((&result["status"], &result["held_by"]), (&json!("Completed"), &json!([])), "{result:#}");
        assert_eq!(result["data_deleted"]["total_records_deleted"], 3, "{result:#}");
        let left = world.snapshot().await;
        for rows in left.as_object().unwrap().values().flat_map(|of| of.as_object().unwrap().values()) {
            let is_of = |row: &&Value| row["tenant_id"] == TENANT && row.to_string().contains("\"user-123\"");
            assert_eq!(rows.as_array().unwrap().iter().find(is_of), None, "nothing is left in the tenant");
        }
        let kept = world.app.store.erasure(TENANT, "erasure-1").await.unwrap().unwrap();
        assert_eq!(kept.kept_request, None, "nobody needs it any more");
        let asked = Request::get(&link).header("x-tenant-id", TENANT).body(Body::empty()).unwrap();
        assert_eq!(world.call(asked).await.0, StatusCode::NOT_FOUND, "the list names what is gone");
        // A hold of all that is kept of a person: nothing goes, and the certificate says so.
        hold(&world, "inquiry", json!({ "subject_user_id": "user-125" })).await;
        let (_, result) = erase(&world, "user-125", json!({ "compliance_id": "erasure-3" })).await;
        assert_eq!((&result["status"], &result["held_by"]), (&json!("Completed"), &json!(["inquiry"])), "{result:#}");
        assert_eq!(result["data_deleted"]["total_records_deleted"], 0, "{result:#}");
        let (_, _, again) = world.call(release("It is over")).await;
        assert_eq!(again["deferred"], json!([]), "there is nothing to go on with");
    });
}

#[test]
fn what_the_law_keeps_is_masked_and_the_rules_of_the_services_hold() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("map.toml");
        let map = "version = 1\n\
            nothing_personal = [\"auth/session\", \"user/usage\", \"tenant/tenant\", \"tenant/profile_copy\", \"file/workspace\", \
            \"file/file\", \"notifications/notification\"]\n[auth.account]\nsubject = \"user_id\"\nafter = [\"user/profile\", \"tenant/membership\"]\n\
            [auth.account.fields]\nemail = { category = \"contact\", strategy = \"pseudonym\" }\n\
            name = { category = \"identity\", strategy = \"pseudonym\" }\n\
            created_at = { category = \"usage\", strategy = \"keep\", legal_basis = \"tax law, section 147\" }\n\
            [user.profile]\nsubject = \"user_id\"\n[user.profile.fields]\n\
            preferences = { category = \"personal\", strategy = \"null\" }\n\
            \"profile_data.name\" = { category = \"personal\", strategy = \"null\" }\n\
            status = { category = \"personal\", strategy = \"keep\", legal_basis = \"statistics\" }\n\
            [tenant.membership]\nsubject = \"user_id\"\n[tenant.membership.fields]\n\
            role = { category = \"identity\", strategy = \"keep\", legal_basis = \"audits\" }\n";
        std::fs::write(&file, map).unwrap();
        let setting = [("COMPLIANCE__DATASET", file.display().to_string())];
        let world = World::with(Script::default(), &setting).await;
        for (person, number) in [("user-123", 1), ("user-124", 2), ("user-125", 3)] {
            let name = format!("erasure-{number}");
            let (id, result) = erase(&world, person, json!({ "compliance_id": name })).await;
            assert_eq!(result["status"], "Completed", "{result:#}");
            assert_eq!(result["data_deleted"]["total_records_deleted"], 2, "two are masked, one stays");
            let certificate = world.blobs().join(TENANT).join("results").join(&id).join("certificate.json");
            let certificate = std::fs::read_to_string(certificate).unwrap();
            assert!(certificate.contains("tax law, section 147") && certificate.contains("audits"), "{certificate}");
        }
        let after = world.snapshot().await;
        let mut addresses = Vec::new();
        let is_erased = |of: &&Value| {
            of["tenant_id"] == TENANT && ["user-123", "user-124", "user-125"].contains(&of["user_id"].as_str().unwrap())
        };
        for account in after["auth"]["accounts"].as_array().unwrap().iter().filter(is_erased) {
            let email = account["email"].as_str().unwrap();
            assert!(email.starts_with("erased-") && email.ends_with("@erased.invalid"), "{email}");
            addresses.push(email.to_owned());
        }
        let distinct: std::collections::BTreeSet<&String> = addresses.iter().collect();
        assert_eq!(distinct.len(), 3, "each has an address of its own: {addresses:?}");
        for profile in after["user"]["profiles"].as_array().unwrap().iter().filter(is_erased) {
            assert_eq!(
                (&profile["preferences"], &profile["profile_data"]["name"]),
                (&json!({}), &Value::Null),
                "{profile}"
            );
        }
    });
}

#[test]
fn one_that_failed_goes_on_when_it_is_retried_and_counts_everything() {
    run(async {
        let dispatch = vec![Dispatch {
            step: "CompleteCompliance".to_owned(),
            error: "Internal".to_owned(),
            times: 1,
            after_effect: false,
        }];
        let world = World::with(Script { dispatch, ..Script::default() }, &[]).await;
        let id = world.start_of(&ERASURE, &(ERASURE.request)(0)).await;
        let status = world.until_ended(&id).await;
        assert_eq!(status.status, Status::Failed);
        assert_eq!(status.failure.unwrap().residue[0].step, "EraseDataSets");
        let (status, retried) = world.post(&format!("/api/v1/workflows/{id}/retry"), &Value::Null, &[]).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{retried}");
        let status = world.until_ended(retried["new_workflow_id"].as_str().unwrap()).await;
        let result = status.result.unwrap_or_else(|| panic!("{:?}", status.error));
        assert_eq!(
            (&result["status"], &result["data_deleted"]["total_records_deleted"]),
            (&json!("Completed"), &json!(12))
        );
    });
}

#[test]
fn whoever_reads_or_writes_everything_keeps_an_erasure_away_and_it_them() {
    run(async {
        let world = World::new().await;
        let slow = |route: &str| {
            let rule = FaultRule::on("GET", route, Fault::Delay { delay_ms: 5_000 });
            world.faults(&BTreeMap::from([("auth".to_owned(), vec![rule])]));
        };
        slow("/api/v1/data/{type}");
        let backup = world.start_of(&CROSS_SERVICE_BACKUP, &(CROSS_SERVICE_BACKUP.request)(0)).await;
        clock::sleep(&*world.clock, std::time::Duration::from_secs(2)).await;
        let erasure = world.start_of(&ERASURE, &(ERASURE.request)(0)).await;
        let error = world.until_ended(&erasure).await.error.unwrap();
        assert!(error.contains("Conflict") && error.contains(&backup), "{error}");
        assert_eq!(world.until_ended(&backup).await.status, Status::Completed);
        slow("/api/v1/data/{type}");
        let erasure = world.start_of(&ERASURE, &(ERASURE.request)(1)).await;
        clock::sleep(&*world.clock, std::time::Duration::from_secs(2)).await;
        for (subject, number) in [(&CROSS_SERVICE_BACKUP, 2), (&COMPLIANCE, 3), (&ERASURE, 4)] {
            let other = world.start_of(subject, &(subject.request)(number)).await;
            let error = world.until_ended(&other).await.error.unwrap();
            assert!(error.contains("Conflict") && error.contains(&erasure), "{}: {error}", subject.name());
        }
        world.faults(&BTreeMap::new());
        assert_eq!(world.until_ended(&erasure).await.status, Status::Completed);
    });
}

#[test]
fn one_that_takes_long_is_called_again_and_a_lost_list_of_types_is_told() {
    run(async {
        let world = World::new().await;
        let edges = world.watched_edges();
        // More than two pages of one type, from a slow service.
        let things = |from: usize| -> Vec<Value> {
            let thing = |number: usize| {
                let id = format!("usage-{number:04}");
                // A person has one of each day.
                let day = format!("20{:02}-{:02}-{:02}", number / 336, number / 28 % 12 + 1, number % 28 + 1);
                json!({ "id": id, "key": format!("made-{number}"), "data": {
                    "usage_id": id, "user_id": "user-123", "day": day, "actions": 1,
                } })
            };
            (from..from + 225).map(thing).collect()
        };
        for from in [0, 225] {
            let items = json!({ "on_conflict": "fail", "items": things(from) });
            at(&world, ServiceKind::User, Method::POST, "/api/v1/data/usage/import", items).await;
        }
        let slow = |method: &str, route: &str| FaultRule::on(method, route, Fault::Delay { delay_ms: 9_000 });
        let slow = vec![slow("POST", "/api/v1/data/{type}/delete"), slow("GET", "/api/v1/data/{type}")];
        world.faults(&BTreeMap::from([("user".to_owned(), slow)]));
        let (_, result) = erase(&world, "user-123", json!({})).await;
        assert_eq!(
            (&result["status"], &result["data_deleted"]["total_records_deleted"]),
            (&json!("Completed"), &json!(462))
        );
        world.faults(&BTreeMap::new());
        // Between the steps the list of types gets lost.
        let blobs = world.blobs().join(TENANT);
        let folder = blobs.clone();
        world.after_step("BeginErasure", move || {
            for job in std::fs::read_dir(folder.join("bulk")).unwrap() {
                let _ = std::fs::remove_file(job.unwrap().path().join("erasure-manifest.json"));
            }
        });
        let (_, result) = erase(&world, "user-124", json!({ "compliance_id": "erasure-2" })).await;
        assert_eq!(
            (&result["status"], &result["residue_count"]),
            (&json!("PartiallyCompleted"), &json!(1)),
            "{result:#}"
        );
        assert_eq!(result["residue"][0]["entity_type"], "EraseDataSets");
        let taken: Vec<String> = edges.lock().unwrap().iter().map(ToString::to_string).collect();
        for edge in ["EraseDataSets/Catch/0", "EraseDataSet/Catch/0", "WaitForErasure"] {
            assert!(taken.iter().any(|taken| taken == edge), "{edge} is not taken: {taken:?}");
        }
    });
}
