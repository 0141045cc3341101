//! Exports of what is kept of a person: all of it, nothing of anybody else, and no secret.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::sync::Arc;

use asl::{Command, Definition, ExecutionStart, ExecutionTree};
use axum::body::Body;
use contracts::Status;
use contracts::Timestamp;
use contracts::effect::sha256_hex;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::subjects::{COMPLIANCE, ask, at};
use crate::world::{Script, TENANT, World, run};

/// Exports, and answers with the result.
async fn export(world: &World, changes: Value) -> Value {
    let mut request = json!({
        "compliance_id": "gdpr-export-789", "tenant_id": TENANT, "compliance_type": "GdprDataExport",
        "subject_user_id": "user-123",
    });
    for (name, value) in changes.as_object().unwrap() {
        request[name] = value.clone();
    }
    let id = world.start_of(&COMPLIANCE, &request).await;
    let status = world.until_ended(&id).await;
    assert_eq!(status.status, Status::Completed, "{:?}", status.error);
    status.result.unwrap()
}

async fn get(world: &World, path: &str) -> (StatusCode, Option<String>, Vec<u8>) {
    let request = Request::get(path).header("x-tenant-id", TENANT).body(Body::empty()).unwrap();
    let answer = world.app.router.clone().oneshot(request).await.unwrap();
    let location = answer.headers().get("location").map(|link| link.to_str().unwrap().to_owned());
    let status = answer.status();
    (status, location, answer.into_body().collect().await.unwrap().to_bytes().into())
}

/// The package, by the link of the result, which leads to one that expires.
async fn download(world: &World, result: &Value) -> Vec<u8> {
    let link = result["data_exported"]["export_file_path"].as_str().unwrap();
    let (status, location, _) = get(world, link).await;
    assert_eq!(status, StatusCode::FOUND, "{link}");
    let (status, _, package) = get(world, &location.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(result["package"]["sha256"], sha256_hex(&package), "{result}");
    package
}

/// The files of a package, by their paths.
fn opened(package: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(package)).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let read = |name: String| {
        let mut bytes = Vec::new();
        archive.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

fn text(files: &BTreeMap<String, Vec<u8>>, path: &str) -> String {
    let bytes = files.get(path).unwrap_or_else(|| panic!("no {path}: {:?}", files.keys()));
    String::from_utf8(bytes.clone()).unwrap()
}

fn json_of(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
    serde_json::from_str(&text(files, path)).unwrap()
}

#[test]
fn a_person_gets_all_of_it_and_nobody_elses() {
    run(async {
        let world = World::new().await;
        let result = export(&world, json!({ "audit_requirements": { "include_export_logs": true } })).await;
        let files = opened(download(&world, &result).await);
        let manifest = json_of(&files, "manifest.json");
        for entry in manifest["files"].as_array().unwrap() {
            let bytes = &files[entry["path"].as_str().unwrap()];
            assert_eq!(
                (&entry["bytes"], &entry["sha256"]),
                (&json!(bytes.len()), &json!(sha256_hex(bytes))),
                "{entry}"
            );
        }
        // All but the manifest are listed.
        assert_eq!(manifest["files"].as_array().unwrap().len() + 1, files.len());
        assert_eq!(json_of(&files, "data/auth.account.json")[0]["data"]["email"], "demo.user@example.com");
        assert_eq!(json_of(&files, "data/user.usage.json").as_array().unwrap().len(), 2);
        assert!(text(&files, "data/user.usage.csv").starts_with("(id),(about),actions,day,usage_id,user_id\r\n"));
        assert_eq!(json_of(&files, "logs/auth.json"), json!([]), "what this export reads is not in it");
        let (_, welcome) =
            ask(&world, ServiceKind::File, Method::GET, "/api/v1/data/file/file-123-1/content", "", "".into()).await;
        assert_eq!(files["files/00001-welcome.md"], welcome);
        for other in ["user-124", "Second", "user-125", "tenant-456", "file-456"] {
            let holds = files.iter().filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains(other));
            assert_eq!(holds.map(|(path, _)| path).next(), None, "{other}");
        }
        let index = text(&files, "index.html");
        assert!(index.contains("demo.user@example.com") && index.contains("files/00001-welcome.md"), "{index}");
        // Each service knows that it left the house.
        let logs = "/api/v1/logs?kind=export&subject=user-123";
        for kind in [ServiceKind::Auth, ServiceKind::User, ServiceKind::File] {
            let (_, logged) = ask(&world, kind, Method::GET, logs, "", "".into()).await;
            let logged: Value = serde_json::from_slice(&logged).unwrap();
            assert!(!logged["entries"].as_array().unwrap().is_empty(), "{kind:?}");
        }
    });
}

#[test]
fn secrets_stay_where_they_are_and_new_fields_are_told() {
    run(async {
        let world = World::new().await;
        let session = json!({ "session_id": "s-1", "session_data": { "token": "secret-token", "device": "phone" } });
        at(&world, ServiceKind::Auth, Method::POST, "/api/v1/users/user-123/sessions", session).await;
        let files = opened(download(&world, &export(&world, json!({})).await).await);
        let sessions = json_of(&files, "data/auth.session.json");
        let sessions = sessions.as_array().unwrap();
        let new = sessions.iter().find(|session| session["id"] == "s-1").unwrap();
        assert_eq!(new["data"]["session_data"], json!({ "device": "phone" }));
        assert!(files.values().all(|bytes| !String::from_utf8_lossy(bytes).contains("secret-token")));
        // A map of one's own, which knows less.
        let map = "version = 1\n\
                   nothing_personal = [\"auth/account\", \"auth/session\", \"user/usage\", \"tenant/tenant\", \
                   \"tenant/membership\", \"tenant/profile_copy\", \"file/workspace\", \"file/file\"]\n[user.profile]\nsubject = \"user_id\"\n[user.profile.fields]\n\
                   profile_data = { category = \"personal\", strategy = \"delete\" }\n\
                   [notifications.notification]\nmentions = [\"subject_id\"]\n[notifications.notification.fields]\n\
                   message = { category = \"content\", strategy = \"delete\" }\n";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("map.toml");
        std::fs::write(&file, map).unwrap();
        let setting = [("COMPLIANCE__DATASET", file.display().to_string())];
        let world = World::with(Script::default(), &setting).await;
        let result = export(&world, json!({})).await;
        assert_eq!(result["per_type"][1]["mentions"], 1, "{result}");
        let files = opened(download(&world, &result).await);
        let manifest = json_of(&files, "manifest.json");
        let unlisted = &manifest["sources"][0]["fields_not_exported"];
        assert_eq!(*unlisted, json!(["created_at", "preferences", "profile_id", "status"]));
        // Somebody else's thing says only that it mentions the person.
        assert_eq!(
            json_of(&files, "data/notifications.notification.json"),
            json!([{ "id": "notification-123", "about": "mention", "data": { "subject_id": "user-123" } }])
        );
    });
}

#[test]
fn what_is_missing_is_told_and_only_the_recipient_opens_it() {
    run(async {
        let identity = age::x25519::Identity::generate();
        let world = World::new().await;
        let rule: FaultRule = serde_json::from_value(json!({
            "method": "GET", "route": "/api/v1/data/{type}", "fault": { "kind": "status", "status": 500 },
        }))
        .unwrap();
        world.services.set_faults(ServiceKind::User, vec![rule]);
        let request = json!({ "allow_partial": true, "encrypt_to": identity.to_public().to_string() });
        let result = export(&world, request).await;
        assert_eq!(
            (&result["status"], &result["data_exported"]["encryption_applied"]),
            (&json!("PartiallyCompleted"), &json!(true))
        );
        let package = download(&world, &result).await;
        assert!(zip::ZipArchive::new(Cursor::new(&package)).is_err(), "it is encrypted");
        let files = opened(age::decrypt(&identity, &package).unwrap());
        let missing = json!([
            { "service": "user", "entity_type": "profile", "error": "ServiceUnavailable" },
            { "service": "user", "entity_type": "usage", "error": "ServiceUnavailable" },
        ]);
        assert_eq!((&result["not_read"], &json_of(&files, "manifest.json")["not_read"]), (&missing, &missing));
        assert!(text(&files, "index.html").contains("Some of it is missing"));
        assert!(!files.contains_key("data/user.profile.json"));
    });
}

/// What a service does not give is no less than there is.
#[test]
fn bytes_that_are_gone_and_types_that_are_not_told_are_missing() {
    run(async {
        let rule = |method: &str, route: &str, status: u16| -> FaultRule {
            serde_json::from_value(json!({
                "method": method, "route": route, "fault": { "kind": "status", "status": status },
            }))
            .unwrap()
        };
        let world = World::new().await;
        world.services.set_faults(ServiceKind::File, vec![rule("GET", "/api/v1/data/file/{file_id}/content", 404)]);
        let request = json!({
            "compliance_id": "whole", "tenant_id": TENANT, "compliance_type": "GdprDataExport",
            "subject_user_id": "user-123",
        });
        let status = world.until_ended(&world.start_of(&COMPLIANCE, &request).await).await;
        let failure = status.failure.unwrap();
        assert_eq!((failure.error.as_str(), status.status), ("NotFound", Status::Failed));
        assert!(failure.message.contains("its bytes are not"), "{:?}", status.error);
        let result = export(&world, json!({ "allow_partial": true, "compliance_id": "some" })).await;
        let missing = |entity_type: &str, service: &str, error: &str| json!([{ "service": service, "entity_type": entity_type, "error": error }]);
        let mut without_bytes = missing("file_content", "file", "NotFound");
        let ids = result["not_read"][0]["ids"].clone();
        (without_bytes[0]["ids_count"], without_bytes[0]["ids"]) = (json!(ids.as_array().unwrap().len()), ids);
        assert_eq!((&result["not_read"], result["status"].as_str()), (&without_bytes, Some("PartiallyCompleted")));
        let mut one = rule("GET", "/api/v1/data/file/{file_id}/content", 404);
        one.times = Some(1);
        world.services.set_faults(ServiceKind::File, vec![one]);
        let result = export(&world, json!({ "allow_partial": true, "compliance_id": "most" })).await;
        assert_eq!(result["not_read"][0]["ids_count"], 1, "the others are there: {result}");
        let files = result["per_type"].as_array().unwrap().iter().find(|of| of["entity_type"] == "file").unwrap();
        let bytes =
            opened(download(&world, &result).await).into_keys().filter(|name| name.starts_with("files/")).count();
        assert_eq!(bytes as u64, files["records"].as_u64().unwrap() - 1);
        world.services.set_faults(ServiceKind::File, vec![]);
        world.services.set_faults(ServiceKind::User, vec![rule("GET", "/api/v1/data", 503)]);
        let result = export(&world, json!({ "allow_partial": true, "compliance_id": "told" })).await;
        assert_eq!(result["status"], "PartiallyCompleted");
        assert_eq!(result["not_read"], missing("other types", "user", "ServiceUnavailable"));
    });
}

#[test]
fn what_is_large_comes_in_several_packages() {
    run(async {
        let world = World::new().await;
        let identity = age::x25519::Identity::generate();
        // What does not compress.
        let mut random = 7_u64;
        let large: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random.to_be_bytes()[0]
        })
        .take(900_000)
        .collect();
        for file in ["file-123-1", "file-123-2", "file-123-3"] {
            let path = format!("/api/v1/data/file/{file}/content");
            let (status, answer) = ask(&world, ServiceKind::File, Method::PUT, &path, file, large.clone().into()).await;
            assert!(status.is_success(), "{}", String::from_utf8_lossy(&answer));
        }
        for (id, is_encrypted) in [("large", false), ("large-encrypted", true)] {
            let mut changes = json!({ "compliance_id": id, "max_package_bytes": 1_000_000 });
            if is_encrypted {
                changes["encrypt_to"] = json!(identity.to_public().to_string());
            }
            let result = export(&world, changes).await;
            let packages = result["packages"].as_array().unwrap();
            let names: Vec<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
            let expected = ["export.zip", "export-2.zip"].map(|name| match is_encrypted {
                true => format!("{name}.age"),
                false => name.to_owned(),
            });
            assert_eq!(names, expected, "{result}");
            assert_eq!(result["package"]["name"], expected[1], "{result}");
            let (mut all, mut listed) = (BTreeMap::new(), 0);
            for (number, package) in packages.iter().enumerate() {
                let (_, location, _) = get(&world, result["files"][names[number]].as_str().unwrap()).await;
                let (_, _, bytes) = get(&world, &location.unwrap()).await;
                assert_eq!((&package["sha256"], &package["bytes"]), (&json!(sha256_hex(&bytes)), &json!(bytes.len())));
                let files = opened(if is_encrypted { age::decrypt(&identity, &bytes).unwrap() } else { bytes });
                let manifest =
                    if number == 1 { "manifest.json".to_owned() } else { format!("manifest-{}.json", number + 1) };
                let manifest = json_of(&files, &manifest);
                assert_eq!(manifest["package"], number + 1);
                assert_eq!(manifest["earlier_packages"], json!(packages[..number]));
                for entry in manifest["files"].as_array().unwrap() {
                    assert_eq!(entry["sha256"], sha256_hex(&files[entry["path"].as_str().unwrap()]), "{entry}");
                    listed += 1;
                }
                all.extend(files);
            }
            assert_eq!(listed + packages.len(), all.len(), "no two files have one name, and all are listed");
            let contents = all.values().filter(|bytes| **bytes == large).count();
            assert_eq!(contents, 3);
            let index = text(&all, "index.html");
            assert!(index.contains(&format!("are in {}:", expected[0])), "{index}");
            assert!(all.contains_key("data/auth.account.json"));
        }
    });
}

#[test]
fn one_that_failed_is_retried_and_its_name_stands_for_one_request() {
    run(async {
        let world = World::new().await;
        let rule: FaultRule = serde_json::from_value(json!({
            "method": "GET", "route": "/api/v1/logs", "fault": { "kind": "status", "status": 403 },
        }))
        .unwrap();
        world.services.set_faults(ServiceKind::File, vec![rule]);
        let request = (COMPLIANCE.request)(1);
        let id = world.start_of(&COMPLIANCE, &request).await;
        let failed = world.until_ended(&id).await;
        assert_eq!((failed.status, failed.failure.unwrap().error.as_str()), (Status::Failed, "AccessDenied"));
        world.services.set_faults(ServiceKind::File, Vec::new());
        assert_eq!(world.start_of(&COMPLIANCE, &request).await, id, "the same one, though it failed");
        let mut other = request.clone();
        other["subject_user_id"] = json!("user-124");
        let (status, refused) = world.post(COMPLIANCE.path, &other, &[]).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        let (_, retried) = world.post(&format!("/api/v1/workflows/{id}/retry"), &json!({}), &[]).await;
        let completed = world.until_ended(retried["new_workflow_id"].as_str().unwrap()).await;
        assert_eq!(completed.status, Status::Completed, "{:?}", completed.error);
        download(&world, &completed.result.unwrap()).await;
    });
}

/// Services are so slow that the bytes of the files take longer than one attempt: it goes on where that ended.
#[test]
fn what_takes_long_is_read_in_several_attempts() {
    run(async {
        let world = World::new().await;
        let edges = world.watched_edges();
        let slow = FaultRule { method: Some("GET".to_owned()), ..FaultRule::new(Fault::Delay { delay_ms: 9_000 }) };
        world.services.set_faults(ServiceKind::File, vec![slow]);
        let files = opened(download(&world, &export(&world, json!({})).await).await);
        let names = ["files/00001-welcome.md", "files/00002-contacts.csv", "files/00003-settings.json"];
        let found: Vec<&String> = files.keys().filter(|path| path.starts_with("files/")).collect();
        assert_eq!(found, names);
        let taken: Vec<String> = edges.lock().unwrap().iter().map(ToString::to_string).collect();
        for edge in ["CollectDataSet/Catch/0", "WaitForDataSet"] {
            assert!(taken.iter().any(|taken| taken == edge), "{edge} is not taken");
        }
    });
}

/// The list of data sets is lost: the export fails, and nothing is left of it.
#[test]
fn a_lost_list_of_data_sets_fails_the_export() {
    run(async {
        let world = World::new().await;
        let (blobs, edges) = (world.blobs().join(TENANT), world.watched_edges());
        let jobs = blobs.join("bulk");
        // Between the plan and the Map: the plan's attempt ends later than it wrote the list.
        world.after_step("PlanExport", move || {
            for job in std::fs::read_dir(&jobs).unwrap() {
                std::fs::remove_file(job.unwrap().path().join("manifest.json")).unwrap();
            }
        });
        let id = world.start_of(&COMPLIANCE, &(COMPLIANCE.request)(0)).await;
        let failed = world.until_ended(&id).await;
        assert_eq!((failed.status, failed.result), (Status::Failed, None), "{:?}", failed.error);
        assert!(!blobs.join("results").join(&id).exists());
        let edge = "CollectDataSets/Catch/0";
        assert!(edges.lock().unwrap().iter().any(|taken| taken.to_string() == edge), "{edge} is not taken");
    });
}

/// The request refuses such a type before; the machine does not go on with it either.
#[test]
fn the_machine_knows_no_other_type() {
    let definition = Arc::new(Definition::load(&COMPLIANCE.machine().to_string()).unwrap());
    let input = json!({ "workflow": {}, "options": { "type": "DataClassification" } });
    let start = ExecutionStart { input, execution_id: "e".into(), ..ExecutionStart::default() };
    let mut execution = ExecutionTree::start(definition, start, Timestamp::UNIX_EPOCH);
    while let Some((_, command)) = execution.poll_command() {
        assert!(!matches!(command, Command::ScheduleTask { .. }), "{command:?}");
    }
    let outcome = format!("{:?}", execution.outcome());
    assert!(outcome.contains("Internal") && outcome.contains("there is no such type yet"), "{outcome}");
}
