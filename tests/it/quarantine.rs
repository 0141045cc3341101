//! What is damaged is told with its reason and holds nothing else up, whether it is found at the start or by a request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use clock::{SharedClock, VirtualClock};
use contracts::audit::AuditAction;
use contracts::{EngineKind, Status};
use engine::Engine as _;
use http::StatusCode;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use store::{
    Created, EndRecorder as _, EngineEnd, Executions as _, History as _, JournalRecord, JournalStart, ListFilter,
    StoredRequest, conformance,
};
use store_aws::DynamoStore;

use crate::embedded::{Subject, machine, task};
use crate::peers;
use crate::world::{TENANT, World, full_request, new_execution, run};

/// Each column of a record, with something in it that cannot be read, and what is said of it.
const RECORD: [(&str, &str); 24] = [
    ("kind = 'odd'", "'kind' is an unknown name 'odd'"),
    ("kind = CAST(x'ff' AS TEXT)", "'kind' is no text"),
    ("engine = 'odd'", "'engine' is an unknown name 'odd'"),
    ("user_id = CAST(x'ff' AS TEXT)", "'user_id' is no text"),
    ("status = 'Odd'", "'status' is an unknown name 'Odd'"),
    ("status = x'ff'", "'status' is no text"),
    ("started_at = 'never'", "'started_at' is no moment"),
    ("started_at = CAST(x'ff' AS TEXT)", "'started_at' is no moment"),
    ("updated_at = 1.5", "'updated_at' is no moment"),
    ("ended_at = 'never'", "'ended_at' is no moment"),
    ("cancel_requested_at = 'never'", "'cancel_requested_at' is no moment"),
    ("paused_at = 'never'", "'paused_at' is no moment"),
    ("cancel_window_open = 'yes'", "'cancel_window_open' is no number"),
    ("result = '{'", "'result' is no JSON that is understood"),
    ("failure = '7'", "'failure' is no JSON that is understood"),
    ("progress = '{'", "'progress' is no JSON that is understood"),
    ("progress = '{}'", "'progress' is no JSON that is understood"),
    ("progress = CAST(x'ff' AS TEXT)", "'progress' is no text"),
    ("input = ''", "'input' is no JSON that is understood"),
    ("retried_from = x'ff'", "'retried_from' is no text"),
    ("retried_as = CAST(x'ff' AS TEXT)", "'retried_as' is no text"),
    ("only_undoes = 'yes'", "'only_undoes' is no number"),
    ("version = 'x'", "'version' is no count"),
    ("version = -1", "'version' is no count"),
];

/// Damages an execution behind the store's back.
async fn damage(database: &Path, statement: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(&format!("sqlite://{}", database.display())).await.unwrap();
    for statement in ["PRAGMA foreign_keys = OFF", statement] {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// An execution that nothing drives.
async fn open_one(world: &World, id: &str) {
    let created = world.app.store.create(new_execution(id, EngineKind::Embedded, world.clock.now())).await.unwrap();
    assert!(matches!(created, Created::New(_)));
}

async fn ready(world: &World) -> (StatusCode, Value) {
    let (status, answer) = world.get("/ready").await;
    (status, answer["quarantined"].clone())
}

#[test]
fn each_damaged_column_is_told_and_holds_nothing_up() {
    run(async {
        let world = World::new().await;
        assert_eq!(ready(&world).await, (StatusCode::OK, json!(0)));
        for (number, (set, _)) in RECORD.iter().enumerate() {
            let id = format!("user_onboarding_{number}");
            open_one(&world, &id).await;
            damage(&world.database(), &format!("UPDATE executions SET {set} WHERE id = '{id}'")).await;
        }
        let sound = world.start(&full_request()).await;
        assert_eq!(world.until_ended(&sound).await.status, Status::Completed);

        let (status, list) = world.get("/api/v1/workflows?page_size=100").await;
        assert_eq!(status, StatusCode::OK, "{list}");
        let rows = list["workflows"].as_array().unwrap();
        assert_eq!((rows.len(), &list["total_count"]), (RECORD.len() + 1, &json!(RECORD.len() + 1)), "{list}");
        assert_eq!(ready(&world).await, (StatusCode::OK, json!(RECORD.len())));
        let (status, feed) = world.get("/api/v1/workflows/history?page_size=200").await;
        assert_eq!(status, StatusCode::OK, "{feed}");
        for (number, (set, why)) in RECORD.iter().enumerate() {
            let id = format!("user_onboarding_{number}");
            let row = rows.iter().find(|row| row["workflow_id"] == id.as_str()).unwrap();
            assert!(row["damaged"].as_str().unwrap().contains(why), "{set}: {row}");
            assert!(feed["events"].as_array().unwrap().iter().any(|event| event["workflow_id"] == id.as_str()));
            told_refused_and_closed(&world, &id, set, why).await;
        }
        let rows = world.get("/api/v1/workflows?status=Terminated&page_size=100").await.1;
        assert_eq!(rows["total_count"], RECORD.len(), "{rows}");
        assert_eq!(world.status(&sound).await.damaged, None);
    });
}

/// What each endpoint says of a damaged execution.
async fn told_refused_and_closed(world: &World, id: &str, set: &str, why: &str) {
    let status = world.status(id).await;
    assert!(status.damaged.as_ref().is_some_and(|damaged| damaged.contains(why)), "{set}: {status:?}");
    assert_eq!((status.error, status.status.is_open()), (status.damaged, true), "{set}");
    assert_eq!(world.history(id).await.events.len(), 1, "{set}");
    for action in ["cancel", "pause", "resume", "retry"] {
        let (code, answer) = world.post(&format!("/api/v1/workflows/{id}/{action}"), &json!({}), &[]).await;
        assert_eq!(code, StatusCode::CONFLICT, "{set}, {action}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(why), "{set}, {action}: {answer}");
    }
    let (code, answer) = world.post(&format!("/api/v1/workflows/{id}/terminate"), &json!({}), &[]).await;
    assert_eq!((code, &answer["terminated"]), (StatusCode::OK, &json!(true)), "{set}: {answer}");
    assert_eq!(world.status(id).await.status, Status::Terminated, "{set}");
    assert_eq!(world.history(id).await.events.len(), 2, "{set}");
    let (code, answer) = world.post(&format!("/api/v1/workflows/{id}/terminate"), &json!({}), &[]).await;
    assert_eq!(code, StatusCode::CONFLICT, "{set}: {answer}");
    let (_, audit) = world.get(&format!("/api/v1/audit?workflow_id={id}")).await;
    let action = serde_json::to_value(AuditAction::TerminateWorkflow).unwrap();
    assert_eq!(
        audit["entries"].as_array().map(|rows| rows.iter().filter(|row| row["action"] == action).count()),
        Some(1)
    );
}

/// What the writer meets is no reason for it to stop.
#[test]
fn what_cannot_be_changed_is_answered_with_the_reason() {
    run(async {
        let world = World::new().await;
        open_one(&world, "user_onboarding_0").await;
        // What is no number, and what contradicts the rows that are there.
        for (length, why) in [("'many'", "history_len"), ("0", "history.execution_id")] {
            damage(&world.database(), &format!("UPDATE executions SET history_len = {length}")).await;
            let (code, answer) = world.post("/api/v1/workflows/user_onboarding_0/pause", &json!({}), &[]).await;
            assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains(why), "{answer}");
        }
        // A count of what is open that is wrong keeps nobody out.
        damage(&world.database(), "UPDATE open_executions SET executions = -5").await;
        let sound = world.start(&full_request()).await;
        assert_eq!(world.until_ended(&sound).await.status, Status::Completed);
        assert_eq!(ready(&world).await.0, StatusCode::OK);
    });
}

#[test]
fn a_damaged_event_is_shown_as_such_and_nothing_is_retried_by_it() {
    run(async {
        let world = World::new().await;
        let id = world.start(&full_request()).await;
        assert_eq!(world.until_ended(&id).await.status, Status::Completed);
        let before = world.history(&id).await;
        damage(&world.database(), "UPDATE history SET details = '{' WHERE event_id = 3").await;
        damage(&world.database(), "UPDATE history SET at = CAST(x'ff' AS TEXT) WHERE event_id = 4").await;
        damage(&world.database(), "UPDATE executions SET request = '{', status = 'Failed'").await;
        let after = world.history(&id).await;
        assert_eq!((after.events.len(), after.total_events), (before.events.len(), before.total_events));
        let damaged = |number: usize| after.events[number - 1].event.details["damaged"].as_str().unwrap_or_default();
        assert!(damaged(1).contains("'request' is no JSON"), "{:?}", after.events[0]);
        assert!(damaged(3).contains("'details' is no JSON") && damaged(4).contains("'at' is no moment"), "{after:?}");
        assert_eq!(after.events[4..], before.events[4..]);
        let (status, feed) = world.get("/api/v1/workflows/history").await;
        assert_eq!(status, StatusCode::OK, "{feed}");
        for statement in ["SELECT 1", "UPDATE executions SET request = '{\"inline\":{}}'"] {
            damage(&world.database(), statement).await;
            let (code, answer) = world.post(&format!("/api/v1/workflows/{id}/retry"), &json!({}), &[]).await;
            assert_eq!(code, StatusCode::CONFLICT, "{answer}");
        }
    });
}

/// A journal that the engine does not understand is known to the engine alone.
#[test]
fn what_the_engine_cannot_go_on_with_is_told_and_can_be_terminated() {
    run(async {
        let world = World::new().await;
        let id = "user_onboarding_0";
        let mut new = new_execution(id, EngineKind::Embedded, world.clock.now());
        new.journal = Some(JournalStart { definition: "{}".to_owned(), records: vec![JournalRecord(json!("odd"))] });
        new.request = StoredRequest::Blob("0".repeat(64));
        let Created::New(record) = world.app.store.create(new).await.unwrap() else { panic!("it is new") };
        world.app.engine.start(&record).await.unwrap();
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        assert_eq!(ready(&world).await, (StatusCode::OK, json!(1)));
        let status = world.status(id).await;
        assert!(status.damaged.is_some_and(|damaged| damaged.starts_with("It stands still: ")));
        let (_, list) = world.get("/api/v1/workflows").await;
        assert!(list["workflows"][0]["damaged"].is_string(), "{list}");
        let answer = world.cancel(id).await.unwrap_err();
        assert!(answer["detail"].as_str().unwrap().contains("terminate it"), "{answer}");
        let actions = json!({ "action": "cancel", "ids": [id], "dry_run": true });
        let (_, would) = world.post("/api/v1/workflows/actions", &actions, &[]).await;
        assert_eq!(would["results"][0]["outcome"], "refused", "{would}");
        let request = http::Request::builder().method("POST").uri(format!("/api/v1/workflows/{id}/cancel"));
        let request = request.header("x-tenant-id", "tenant-456").body(axum::body::Body::empty()).unwrap();
        assert_eq!(world.call(request).await.0, StatusCode::NOT_FOUND, "others hear nothing of it");
        let history = world.history(id).await;
        assert_eq!(history.events[0].event.details["input"], Value::Null, "the blob of its request is missing");
        let (code, answer) = world.post(&format!("/api/v1/workflows/{id}/terminate"), &json!({}), &[]).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
        assert_eq!(ready(&world).await, (StatusCode::OK, json!(0)));
        assert_eq!(world.status(id).await.damaged, None);
    });
}

/// What is done to what an execution goes on with, and what is said of it.
const JOURNALS: [(&str, &str); 12] = [
    ("DELETE FROM journal WHERE number = 1 AND execution_id = 'ID'", "does not begin with a start"),
    ("DELETE FROM journal WHERE number = 2 AND execution_id = 'ID'", "the journal has"),
    ("DELETE FROM journal WHERE execution_id = 'ID'", "the journal is empty"),
    ("UPDATE journal SET record = '{' WHERE number = 2 AND execution_id = 'ID'", "record 2 of its journal"),
    ("UPDATE journal SET record = '\"odd\"' WHERE number = 2 AND execution_id = 'ID'", ""),
    ("UPDATE journal SET record = x'ff' WHERE number = 2 AND execution_id = 'ID'", "record 2 of its journal"),
    ("UPDATE executions SET kind = 'odd' WHERE id = 'ID'", "'kind' is an unknown name 'odd'"),
    ("UPDATE executions SET request = '{' WHERE id = 'ID'", "'request' is no JSON"),
    ("UPDATE executions SET definition_hash = 'none' WHERE id = 'ID'", "'definition' is missing"),
    ("UPDATE executions SET deadline_at = 'never' WHERE id = 'ID'", "'deadline_at' is no moment"),
    ("UPDATE executions SET journal_len = 'many' WHERE id = 'ID'", "'journal_len' is no count"),
    ("UPDATE executions SET cancel_window_open = 'yes' WHERE id = 'ID'", "'cancel_window_open' is not of its type"),
];

#[test]
fn a_start_goes_on_with_what_is_sound() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("db");
    let open = async || {
        let virtual_clock = VirtualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let clock: SharedClock = Arc::new(virtual_clock.clone());
        Subject::open(directory.path(), clock, Some(virtual_clock), 100).await
    };
    let id = |number: usize| format!("user_onboarding_{number}");
    run(async {
        let subject = open().await;
        let definition = machine(
            "First",
            json!({
                "First": task("first", json!({ "Next": "Hang" })), "Hang": task("sleep-40", json!({ "End": true })),
            }),
        );
        for number in 0..=JOURNALS.len() {
            subject.start_as(&id(number), &definition).await;
        }
        clock::sleep(&*subject.clock, Duration::from_secs(10)).await;
    });
    run(async {
        for (number, (statement, _)) in JOURNALS.iter().enumerate() {
            damage(&database, &statement.replace("ID", &id(number))).await;
        }
    });
    run(async {
        let subject = open().await;
        assert_eq!(subject.engine.recover().await.unwrap(), JOURNALS.len() + 1);
        assert_eq!(subject.until_ended(&id(JOURNALS.len())).await.status, Status::Completed);
        subject.engine.check().await.unwrap();
        assert_eq!(subject.engine.quarantine().len(), JOURNALS.len(), "{:?}", subject.engine.quarantine());
        for (number, (statement, why)) in JOURNALS.iter().enumerate() {
            let found = subject.engine.quarantined(&id(number)).unwrap();
            assert!(found.contains(why), "{statement}: {found}");
            let record = subject.store.get(TENANT, &id(number)).await.unwrap().unwrap();
            subject.engine.terminate(&record, "a test", None).await.unwrap();
            let record = subject.store.get(TENANT, &id(number)).await.unwrap().unwrap();
            assert_eq!(record.status, Status::Terminated, "{statement}");
        }
        assert_eq!(subject.engine.quarantine(), [""; 0]);
    });
}

/// What is damaged in a table holds nothing up there either, and can be terminated.
#[test]
fn a_damaged_item_can_be_terminated() {
    let Some(endpoint) = peers::dynamodb() else { return };
    run(async {
        let client = peers::dynamodb_client(endpoint);
        store_aws::create_table(&client, "damaged").await.unwrap();
        let epoch = conformance::epoch();
        let own = client.clone();
        let store = DynamoStore::new(|| own, "damaged", Arc::new(VirtualClock::new(epoch)));
        let damages =
            ["kind", "engine", "status", "started_at", "updated_at", "progress", "input", "version", "history_len"];
        for attribute in damages.into_iter().chain(["current_step"]) {
            let id = format!("user_onboarding_{attribute}");
            store.create(new_execution(&id, EngineKind::StepFunctions, epoch)).await.unwrap();
            let key = |name: &str| AttributeValue::S(name.to_owned());
            let update = client.update_item().table_name("damaged");
            let update = update.key("pk", key(&format!("{TENANT}#E#{id}"))).key("sk", key("A"));
            let update = update.update_expression("SET #name = :value").expression_attribute_names("#name", attribute);
            update.expression_attribute_values(":value", AttributeValue::Bool(true)).send().await.unwrap();

            let found = store.get(TENANT, &id).await.unwrap().unwrap();
            let feed = store.tenant_events(TENANT, &[], None, 50).await.unwrap();
            assert!(feed.rows.iter().any(|row| row.execution_id == id), "{attribute}");
            let at = epoch + Duration::from_secs(1);
            assert!(store.record_end(TENANT, &id, &EngineEnd::Terminated, at, None).await.unwrap(), "{attribute}");
            let ended = store.get(TENANT, &id).await.unwrap().unwrap();
            assert_eq!((found.status.is_open(), ended.status), (true, Status::Terminated), "{attribute}");
            assert!(!store.record_end(TENANT, &id, &EngineEnd::Terminated, at, None).await.unwrap(), "once");
            let events = store.events(TENANT, &id, &[], None, 9).await.unwrap().unwrap();
            let types: Vec<&str> = events.rows.iter().map(|row| row.event.event_type.as_str()).collect();
            assert_eq!(types, ["WorkflowExecutionStarted", "WorkflowExecutionTerminated"], "{attribute}");
        }
        let list = store.list(TENANT, &ListFilter::default(), None, 0, 50).await.unwrap();
        assert_eq!(list.counts.by_status.get(&Status::Terminated), Some(&10), "{:?}", list.counts);
        assert_eq!(list.counts.by_status.get(&Status::Running).copied().unwrap_or_default(), 0, "{:?}", list.counts);
    });
}
