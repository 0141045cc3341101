//! Machines with branches and children on the embedded engine: stopped at any commit, they end as if nothing had been,
//! and what children leave in the journal is little.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use clock::{SharedClock, VirtualClock};
use contracts::{ActivityError, EngineKind, ErrorName, Status, Timestamp, WorkflowKind};
use engine::{ActivityCall, ActivityRunner, Engine as _};
use engine_embedded::{EmbeddedEngine, Limits};
use futures::future::{Either, select};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use store::{
    BlobKey, Blobs as _, Commit, CommitOutcome, Created, ExecutionRecord, Executions as _, Journal, JournalRecord,
    JournalledExecution, NewAuditRow, OpenExecution, RecordSelection, StepOutcome, StepRecorder, StoreError,
};
use store_sql::{Durability, FileBlobs, SqlStore};
use tokio::sync::Notify;

use crate::world::{TENANT, new_execution, run};

const ID: &str = "user_onboarding_0";

/// A journal that stops at one of its commits, before or after it is durable, as a process does that is killed.
struct Stopping {
    journal: Arc<SqlStore>,
    clock: SharedClock,
    /// Commits so far, and the one that it stops at.
    commits: AtomicU64,
    stops_at: Option<u64>,
    is_durable: bool,
    has_stopped: Notify,
}

#[async_trait]
impl Journal for Stopping {
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StoreError> {
        if Some(self.commits.fetch_add(1, Ordering::Relaxed)) != self.stops_at {
            return self.journal.commit(commit).await;
        }
        if self.is_durable {
            self.journal.commit(commit).await?;
        }
        self.has_stopped.notify_one();
        clock::park(&*self.clock, std::future::pending()).await
    }

    async fn close_damaged(
        &self,
        tenant_id: &str,
        id: &str,
        at: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<bool, StoreError> {
        self.journal.close_damaged(tenant_id, id, at, audit).await
    }

    async fn journalled(&self) -> Result<Vec<OpenExecution>, StoreError> {
        self.journal.journalled().await
    }

    async fn load(&self, tenant_id: &str, id: &str) -> Result<Option<JournalledExecution>, StoreError> {
        self.journal.load(tenant_id, id).await
    }

    async fn records(
        &self,
        tenant_id: &str,
        id: &str,
        selection: RecordSelection,
    ) -> Result<Vec<(u64, JournalRecord)>, StoreError> {
        self.journal.records(tenant_id, id, selection).await
    }
}

/// Answers with one more than the item, a second later, `quick` at once; `picky` refuses odd ones. Counts its calls.
struct Counting {
    calls: Mutex<BTreeMap<String, u32>>,
    clock: SharedClock,
}

#[async_trait]
impl ActivityRunner for Counting {
    async fn run(&self, call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        if call.activity != "quick" {
            clock::sleep(&*self.clock, Duration::from_secs(1)).await;
        }
        let item = call.payload["item"].as_u64().unwrap_or_default();
        *self.calls.lock().unwrap().entry(format!("{} {item}", call.activity)).or_default() += 1;
        match call.activity.as_str() {
            "picky" if item % 2 == 1 => Err(ActivityError::new(ErrorName::ServiceRejected, "odd")),
            _ => Ok(json!(item + 1)),
        }
    }
}

/// What became of one life of a process.
struct Life {
    record: ExecutionRecord,
    calls: BTreeMap<String, u32>,
    commits: u64,
    records: u64,
}

/// One life, which ends with the execution or at a commit.
fn live(directory: &Path, definition: &Value, stops: Option<(u64, bool)>) -> Life {
    run(async {
        let clock: SharedClock = Arc::new(VirtualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let store =
            Arc::new(SqlStore::open(&directory.join("db"), Durability::Process, Arc::clone(&clock)).await.unwrap());
        let blobs = Arc::new(FileBlobs::open(&directory.join("blobs")).await.unwrap());
        let journal = Arc::new(Stopping {
            journal: Arc::clone(&store),
            clock: Arc::clone(&clock),
            commits: 0.into(),
            stops_at: stops.map(|(commit, _)| commit),
            is_durable: stops.is_some_and(|(_, is_durable)| is_durable),
            has_stopped: Notify::new(),
        });
        let activities = Arc::new(Counting { calls: Mutex::default(), clock: Arc::clone(&clock) });
        let text = definition.to_string();
        let definition_of = Arc::new(move |_: WorkflowKind| Some(text.clone()));
        let engine = EmbeddedEngine::new(
            journal.clone(),
            blobs.clone(),
            activities.clone(),
            Arc::clone(&clock),
            Limits::default(),
            definition_of,
        );
        if store.get(TENANT, ID).await.unwrap().is_none() {
            for (key, body) in files() {
                let key = BlobKey::new(TENANT, &[key]).unwrap();
                blobs.put(&key, stream::iter([Ok(body.into())]).boxed()).await.unwrap();
            }
            let mut new = new_execution(ID, EngineKind::Embedded, clock.now());
            engine.admit(&mut new).await.unwrap();
            let created = store.create(new).await.unwrap();
            let Created::New(record) = created else { panic!("{created:?}") };
            engine.start(&record).await.unwrap();
        } else {
            engine.recover().await.unwrap();
        }
        let mut record = store.get(TENANT, ID).await.unwrap().unwrap();
        while record.status.is_open() {
            // Time may stand still once the journal has stopped: somebody waits for it with an answer in hand.
            let stopped = std::pin::pin!(journal.has_stopped.notified());
            let pause = std::pin::pin!(clock::sleep(&*clock, Duration::from_millis(100)));
            if let Either::Left(_) = select(stopped, pause).await {
                break;
            }
            engine.check().await.unwrap();
            record = store.get(TENANT, ID).await.unwrap().unwrap();
        }
        let records = store.load(TENANT, ID).await.unwrap().unwrap().journal_kept;
        let calls = activities.calls.lock().unwrap().clone();
        Life { record, calls, commits: journal.commits.load(Ordering::Relaxed), records }
    })
}

/// Items by the key that they are at, below the tenant.
fn files() -> [(&'static str, String); 4] {
    let numbers = |count: u64| json!((0..count).collect::<Vec<_>>()).to_string();
    let rows: String = (0..4).map(|row| format!("{row},x\n")).collect();
    [("seven.json", numbers(7)), ("many.json", numbers(2_000)), ("no-array.json", "{}".to_owned()), ("four.csv", rows)]
}

fn task(activity: &str, next: Option<&str>) -> Value {
    let mut task = json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 60,
        "Arguments": { "FunctionName": activity, "Payload": { "item": "{% $states.input %}" } },
        "Output": "{% $states.result.Payload %}",
    });
    match next {
        Some(next) => task["Next"] = next.into(),
        None => task["End"] = true.into(),
    }
    task
}

fn machine(start_at: &str, states: Value) -> Value {
    json!({ "QueryLanguage": "JSONata", "StartAt": start_at, "States": states })
}

fn children(start_at: &str, states: Value) -> Value {
    json!({
        "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
        "StartAt": start_at, "States": states,
    })
}

fn reader(key: &str) -> Value {
    json!({
        "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "JSON" },
        "Arguments": { "Bucket": "any", "Key": key },
    })
}

/// Children of a file, of two steps with a wait between them.
fn of_a_file() -> Value {
    let steps = json!({
        "First": task("first", Some("Rest")),
        "Rest": { "Type": "Wait", "Seconds": 1, "Next": "Second" },
        "Second": task("second", None),
    });
    let key = format!("{TENANT}/seven.json");
    let each = json!({
        "Type": "Map", "ItemReader": reader(&key), "MaxConcurrency": 3, "ItemProcessor": children("First", steps),
        "Next": "Last",
    });
    let last = json!({ "Type": "Pass", "Output": "{% $sum($states.input) %}", "End": true });
    machine("Each", json!({ "Each": each, "Last": last }))
}

/// Branches, one of them a Map, and steps behind them.
fn of_branches() -> Value {
    let inline = json!({
        "Type": "Map", "Items": [1, 2, 3], "End": true,
        "ItemProcessor": { "StartAt": "Inner", "States": { "Inner": task("inner", None) } },
    });
    let chain = json!({
        "One": { "Type": "Pass", "Output": 10, "Next": "Two" },
        "Two": task("two", Some("Three")), "Three": task("three", None),
    });
    let both = json!({
        "Type": "Parallel", "Next": "Last", "Output": "{% $sum($states.result[0]) + $states.result[1] %}",
        "Branches": [
            { "StartAt": "Inline", "States": { "Inline": inline } },
            { "StartAt": "One", "States": chain },
        ],
    });
    machine("Both", json!({ "Both": both, "Last": task("last", None) }))
}

/// Children with children, some of which fail, and results that are written.
fn of_children_of_children() -> Value {
    let inner = json!({
        "Type": "Map", "ToleratedFailurePercentage": 50, "MaxConcurrency": 2, "End": true,
        "ItemProcessor": children("Try", json!({ "Try": task("picky", None) })),
        "Output": "{% $count($states.result) %}",
    });
    let outer = json!({
        "Type": "Map", "Items": [[2, 3], [4], [6, 7]], "MaxConcurrency": 2, "Next": "Count",
        "ItemProcessor": children("Inner", json!({ "Inner": inner })),
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Arguments": { "Bucket": "any", "Prefix": format!("{TENANT}/results") },
        },
        "Output": "{% $substringBefore($states.result.ResultWriterDetails.Key, '/results') %}",
    });
    // What was written can be read.
    let read = json!({
        "Type": "Map", "ItemReader": reader(&format!("{TENANT}/seven.json")), "MaxConcurrency": 1, "End": true,
        "ItemProcessor": children("Add", json!({ "Add": { "Type": "Pass", "End": true } })),
        "Output": { "outer": "{% $outer %}", "read": "{% $count($states.result) %}" },
    });
    let count = json!({ "Type": "Pass", "Assign": { "outer": "{% $states.input %}" }, "Next": "Read" });
    machine("Outer", json!({ "Outer": outer, "Count": count, "Read": read }))
}

/// Children that end as soon as they begin, their results written, and the results read.
fn of_children_without_a_step() -> Value {
    let each = json!({
        "Type": "Map", "Items": [1, 2, 3, 4, 5], "MaxConcurrency": 2, "Next": "Read", "ToleratedFailureCount": 2,
        "ItemProcessor": children("Odd", json!({
            "Odd": { "Type": "Choice", "Default": "Good",
                "Choices": [{ "Condition": "{% $states.input = 4 %}", "Next": "Bad" }] },
            "Good": { "Type": "Pass", "Output": { "of": "{% $states.input %}" }, "End": true },
            "Bad": { "Type": "Fail", "Error": "Four" },
        })),
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Arguments": { "Bucket": "any", "Prefix": format!("{TENANT}/results") },
        },
        "Output": "{% $replace($states.result.ResultWriterDetails.Key, 'manifest', 'SUCCEEDED_0') %}",
    });
    let mut reader = reader("");
    reader["Arguments"]["Key"] = json!("{% $states.input %}");
    let read = json!({
        "Type": "Map", "ItemReader": reader, "End": true,
        "ItemProcessor": children("Result", json!({ "Result": { "Type": "Pass", "End": true } })),
        "ItemSelector": "{% $states.context.Map.Item.Value.Output %}",
    });
    machine("Each", json!({ "Each": each, "Read": read }))
}

#[test]
fn results_of_children_without_a_step_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let life = live(directory.path(), &of_children_without_a_step(), None);
    let written = [1, 2, 3, 5].map(|of| json!({ "of": of }).to_string());
    assert_eq!(life.record.result, Some(json!(written)), "{:?}", life.record.failure);
}

#[test]
fn results_are_written_in_the_order_of_the_items_however_many() {
    let mut each = of_a_file()["States"]["Each"].clone();
    each["ItemReader"]["Arguments"]["Key"] = json!(format!("{TENANT}/many.json"));
    each["MaxConcurrency"] = json!(100);
    let mut machine = of_children_without_a_step();
    for field in ["ResultWriter", "Output", "Next"] {
        each[field] = machine["States"]["Each"][field].clone();
    }
    machine["States"]["Each"] = each;
    machine["States"]["Read"]["Output"] = json!("{% $join($states.result, ' ') %}");
    let directory = tempfile::tempdir().unwrap();
    let life = live(directory.path(), &machine, None);
    let expected: Vec<String> = (0..2_000).map(|item| (item + 2).to_string()).collect();
    assert_eq!(life.record.result, Some(json!(expected.join(" "))), "{:?}", life.record.failure);
}

#[test]
fn a_turn_begins_with_so_many_items_only() {
    let each = json!({
        "Type": "Map", "ItemReader": reader(&format!("{TENANT}/many.json")), "MaxConcurrency": 100, "End": true,
        "ItemProcessor": children("Pass", json!({ "Pass": { "Type": "Pass", "End": true } })),
        "Output": "{% $count($states.result) %}",
    });
    let directory = tempfile::tempdir().unwrap();
    let life = live(directory.path(), &machine("Each", json!({ "Each": each })), None);
    assert_eq!(life.record.result, Some(json!(2_000)), "{:?}", life.record.failure);
    assert!(life.commits >= 2_000 / 500, "{} commits for all of the file", life.commits);
}

#[test]
fn a_stop_at_any_commit_changes_nothing() {
    let mut stops = 0;
    for definition in [of_a_file(), of_branches(), of_children_of_children(), of_children_without_a_step()] {
        let directory = tempfile::tempdir().unwrap();
        let whole = live(directory.path(), &definition, None);
        assert_eq!(whole.record.status, Status::Completed, "{:?}", whole.record.failure);
        assert!(whole.calls.values().all(|calls| *calls == 1), "{:?}", whole.calls);
        for (stop, is_durable) in (0..whole.commits).flat_map(|stop| [(stop, false), (stop, true)]) {
            let directory = tempfile::tempdir().unwrap();
            let first = live(directory.path(), &definition, Some((stop, is_durable)));
            let second = live(directory.path(), &definition, None);
            let at = format!("stopped at commit {stop}, durable: {is_durable}");
            assert_eq!(
                (second.record.status, &second.record.result),
                (Status::Completed, &whole.record.result),
                "{at}"
            );
            let mut calls = first.calls;
            second.calls.into_iter().for_each(|(call, count)| *calls.entry(call).or_default() += count);
            assert!(calls.keys().eq(whole.calls.keys()), "{at}: {calls:?}");
            assert!(calls.values().all(|calls| *calls <= 2), "{at}: delivered again at most once: {calls:?}");
            stops += 1;
        }
    }
    println!("{stops} stops");
    assert!(stops > 60, "{stops}");
}

#[test]
fn the_journal_forgets_children_that_have_ended() {
    let each = json!({
        "Type": "Map", "ItemReader": reader(&format!("{TENANT}/many.json")), "MaxConcurrency": 100, "End": true,
        "ItemProcessor": children("Call", json!({ "Call": task("quick", None) })),
        "Output": "{% $sum($states.result) %}",
    });
    let directory = tempfile::tempdir().unwrap();
    let life = live(directory.path(), &machine("Each", json!({ "Each": each })), None);
    assert_eq!(life.record.result, Some(json!(2_000 * 2_001 / 2)), "{:?}", life.record.failure);
    assert_eq!(life.calls.len(), 2_000);
    // The start, the count of the items, and an end for each.
    assert_eq!(life.records, 2 + 2_000);
    assert!(life.commits < 200, "{} commits: what ends together shares one", life.commits);
}

#[test]
fn files_that_cannot_be_read_fail_the_map() {
    let cases = [
        (json!(format!("{TENANT}/nothing.json")), "There is no object"),
        (json!(format!("{TENANT}/no-array.json")), "Attempting to map over non-iterable node."),
        (json!("tenant-456/seven.json"), "is no key of the tenant"),
        (json!(format!("{TENANT}/../tenant-456/seven.json")), "is no key of the tenant"),
        (json!(format!("{TENANT}56/seven.json")), "is no key of the tenant"),
        (json!(7), "must be a string"),
    ];
    for (key, cause) in cases {
        let mut reader = reader("");
        reader["Arguments"]["Key"] = key;
        let each = json!({
            "Type": "Map", "ItemReader": reader, "End": true,
            "ItemProcessor": children("Call", json!({ "Call": task("call", None) })),
        });
        let directory = tempfile::tempdir().unwrap();
        let life = live(directory.path(), &machine("Each", json!({ "Each": each })), None);
        let failure = life.record.failure.unwrap();
        assert_eq!((life.record.status, failure.error.as_str()), (Status::Failed, "States.ItemReaderFailed"));
        assert!(format!("{failure:?}").contains(cause), "{failure:?}");
        assert!(life.calls.is_empty());
    }
}

#[test]
fn other_formats_are_read_too() {
    let mut reader = reader(&format!("{TENANT}/four.csv"));
    reader["ReaderConfig"] =
        json!({ "InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["n"], "MaxItems": 3 });
    let each = json!({
        "Type": "Map", "ItemReader": reader, "End": true, "ItemSelector": "{% $number($states.context.Map.Item.Value.n) %}",
        "ItemProcessor": children("Call", json!({ "Call": task("call", None) })),
    });
    let directory = tempfile::tempdir().unwrap();
    let life = live(directory.path(), &machine("Each", json!({ "Each": each })), None);
    assert_eq!(life.record.result, Some(json!([1, 2, 3])), "{:?}", life.record.failure);
}
