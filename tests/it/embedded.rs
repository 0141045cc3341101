//! What the embedded engine promises besides what all engines do: about attempts and their limits, time, and other
//! executions.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use clock::{SharedClock, SystemClock, Timestamp, VirtualClock};
use contracts::{ActivityError, EngineKind, ErrorName, Status, WorkflowKind};
use engine::{ActivityCall, ActivityRunner, Engine as _};
use engine_embedded::{EmbeddedEngine, Limits, edges_taken};
use serde_json::{Value, json};
use store::{Created, ExecutionRecord, Executions as _, StepOutcome, StepRecorder};
use store_sql::{Durability, FileBlobs, SqlStore};

use crate::world::{TENANT, new_execution, run};

/// An engine on a store of its own.
pub(crate) struct Subject {
    pub(crate) engine: EmbeddedEngine,
    pub(crate) store: Arc<SqlStore>,
    pub(crate) blobs: Arc<FileBlobs>,
    activities: Arc<Named>,
    pub(crate) clock: SharedClock,
    definitions: Arc<Mutex<String>>,
    /// One that goes with it.
    _directory: Option<tempfile::TempDir>,
}

/// Activities that do what their name says, and write down when they were called.
struct Named {
    clock: SharedClock,
    virtual_clock: Option<VirtualClock>,
    calls: Mutex<Vec<(String, Timestamp)>>,
    /// Where `log` writes its items: survives a kill.
    log: File,
}

#[async_trait]
impl ActivityRunner for Named {
    async fn run(&self, call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        let now = self.clock.now();
        self.calls.lock().unwrap().push((call.activity.clone(), now));
        match call.activity.split_once('-').unwrap_or((&call.activity, "")) {
            ("refuse", _) => Err(ActivityError::new(ErrorName::ServiceRejected, "as it was told")),
            ("hang", _) => clock::park(&*self.clock, std::future::pending()).await,
            ("sleep", seconds) => {
                clock::sleep(&*self.clock, Duration::from_secs(seconds.parse().unwrap())).await;
                Ok(json!(seconds))
            }
            ("age", _) => {
                let later = now.checked_add(Duration::from_millis(100)).unwrap();
                self.virtual_clock.as_ref().unwrap().jump_to(later);
                Ok(json!("older"))
            }
            ("log", _) => {
                // In one piece.
                (&self.log).write_all(format!("{}\n", call.payload["item"]).as_bytes()).unwrap();
                Ok(call.payload["item"].clone())
            }
            ("nest", levels) => Ok((1..levels.parse().unwrap()).fold(json!(1), |inner, _| Value::Array(vec![inner]))),
            ("weigh", bytes) => Ok(json!("x".repeat(bytes.parse::<usize>().unwrap() - 2))),
            _ => Ok(json!(call.activity)),
        }
    }
}

impl Named {
    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn called_at(&self, activity: &str) -> Option<Timestamp> {
        self.calls.lock().unwrap().iter().find(|(name, _)| name == activity).map(|(_, at)| *at)
    }
}

impl Subject {
    /// In virtual time.
    async fn new(max_concurrent_activities: usize) -> Self {
        let virtual_clock = VirtualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let clock: SharedClock = Arc::new(virtual_clock.clone());
        let directory = tempfile::tempdir().unwrap();
        let subject = Self::open(directory.path(), clock, Some(virtual_clock), max_concurrent_activities).await;
        Self { _directory: Some(directory), ..subject }
    }

    pub(crate) async fn open(
        directory: &Path,
        clock: SharedClock,
        virtual_clock: Option<VirtualClock>,
        max_concurrent_activities: usize,
    ) -> Self {
        let file = directory.join("db");
        let store = Arc::new(SqlStore::open(&file, Durability::Process, Arc::clone(&clock)).await.unwrap());
        let blobs = Arc::new(FileBlobs::open(&directory.join("blobs")).await.unwrap());
        let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
        let activities = Arc::new(Named { clock: Arc::clone(&clock), virtual_clock, calls: Mutex::default(), log });
        let definitions = Arc::new(Mutex::new(String::new()));
        let current = Arc::clone(&definitions);
        let engine = EmbeddedEngine::new(
            store.clone(),
            blobs.clone(),
            activities.clone(),
            Arc::clone(&clock),
            Limits { max_concurrent_activities },
            Arc::new(move |_: WorkflowKind| Some(current.lock().unwrap().clone())),
        );
        Self { engine, store, blobs, activities, clock, definitions, _directory: None }
    }

    async fn start(&self, definition: &Value) -> String {
        let id = WorkflowKind::UserOnboarding.new_execution_id(self.clock.now());
        self.start_as(&id, definition).await;
        id
    }

    pub(crate) async fn start_as(&self, id: &str, definition: &Value) {
        *self.definitions.lock().unwrap() = definition.to_string();
        let mut new = new_execution(id, EngineKind::Embedded, self.clock.now());
        self.engine.admit(&mut new).await.unwrap();
        let created = self.store.create(new).await.unwrap();
        let Created::New(record) = created else { panic!("{created:?}") };
        self.engine.start(&record).await.unwrap();
    }

    async fn record(&self, id: &str) -> ExecutionRecord {
        self.engine.check().await.unwrap();
        self.store.get(TENANT, id).await.unwrap().unwrap()
    }

    async fn pause(&self, duration: Duration) {
        clock::sleep(&*self.clock, duration).await;
    }

    pub(crate) async fn until_ended(&self, id: &str) -> ExecutionRecord {
        for _ in 0..3_000 {
            let record = self.record(id).await;
            if !record.status.is_open() {
                return record;
            }
            self.pause(Duration::from_millis(20)).await;
        }
        panic!("{id} does not end; calls: {:?}", self.activities.calls());
    }

    async fn play(&self, definition: &Value) -> ExecutionRecord {
        let id = self.start(definition).await;
        self.until_ended(&id).await
    }
}

pub(crate) fn machine(start_at: &str, states: Value) -> Value {
    json!({ "QueryLanguage": "JSONata", "StartAt": start_at, "States": states })
}

pub(crate) fn task(activity: &str, more: Value) -> Value {
    let mut task = json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": { "FunctionName": activity, "Payload": {} },
        "Output": "{% $states.result.Payload %}",
    });
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

/// Branches of one Task each, named after their activities.
fn branches(activities: &[&str]) -> Value {
    let branch = |activity: &&str| json!({ "StartAt": activity, "States": { *activity: task(activity, json!({ "End": true })) } });
    let branches: Vec<Value> = activities.iter().map(branch).collect();
    machine("All", json!({ "All": { "Type": "Parallel", "Branches": branches, "End": true } }))
}

/// A Task whose failure is caught and told.
fn caught(activity: &str, more: Value) -> Value {
    let mut first = task(activity, json!({ "End": true }));
    first.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    first["Catch"] = json!([{ "ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Tell" }]);
    machine("First", json!({ "First": first, "Tell": { "Type": "Pass", "End": true } }))
}

#[test]
fn what_waits_for_its_turn_does_not_begin_after_the_end() {
    run(async {
        let subject = Subject::new(1).await;
        let record = subject.play(&branches(&["refuse", "second", "third"])).await;
        assert_eq!(record.failure.unwrap().error, "ServiceRejected");
        subject.pause(Duration::from_secs(3_600)).await;
        assert_eq!(subject.activities.calls(), ["refuse"]);
    });
}

#[test]
fn what_hangs_gives_its_turn_back_at_the_end() {
    run(async {
        let subject = Subject::new(2).await;
        for round in 1..=3 {
            let record = subject.play(&branches(&["hang", "refuse"])).await;
            assert_eq!((record.status, subject.activities.calls().len()), (Status::Failed, 2 * round));
        }
    });
}

#[test]
fn time_goes_on_however_many_attempts_end() {
    run(async {
        let subject = Subject::new(10).await;
        let wait = json!({
            "Wait": { "Type": "Wait", "Seconds": 1, "Next": "Mark" }, "Mark": task("mark", json!({ "End": true })),
        });
        // Each of them takes 100 ms that nobody waits for.
        let work = json!({
            "Begin": { "Type": "Pass", "Assign": { "left": 100 }, "Next": "Age" },
            "Age": task("age", json!({ "Assign": { "left": "{% $left - 1 %}" }, "Next": "Enough" })),
            "Enough": { "Type": "Choice", "Default": "Age",
                "Choices": [{ "Condition": "{% $left = 0 %}", "Next": "End" }] },
            "End": { "Type": "Succeed" },
        });
        let both = json!([{ "StartAt": "Wait", "States": wait }, { "StartAt": "Begin", "States": work }]);
        let both = json!({ "Type": "Parallel", "Branches": both, "End": true });
        let record = subject.play(&machine("Both", json!({ "Both": both }))).await;
        assert_eq!(record.status, Status::Completed, "{:?}", record.failure);
        let position = subject.activities.calls().iter().position(|call| call == "mark").unwrap();
        assert!((10..15).contains(&position), "{position} attempts ended before a second was over");
    });
}

#[test]
fn an_attempt_may_be_silent_for_so_long() {
    run(async {
        let subject = Subject::new(10).await;
        let limits = json!({ "TimeoutSeconds": 60, "HeartbeatSeconds": 5 });
        let record = subject.play(&caught("sleep-4", limits.clone())).await;
        assert_eq!(record.result, Some(json!("4")));
        let began = subject.clock.now();
        let record = subject.play(&caught("sleep-6", limits.clone())).await;
        assert_eq!(record.result, Some(json!({ "Error": "States.HeartbeatTimeout", "Cause": "" })));
        let took = subject.clock.now().duration_since(began).as_secs_f64();
        assert!((5.0..5.1).contains(&took), "after {took} s");
        let record = subject.play(&caught("sleep-6", json!({ "TimeoutSeconds": 5 }))).await;
        assert_eq!(record.result, Some(json!({ "Error": "States.Timeout", "Cause": "" })));
    });
}

#[test]
fn an_answer_that_is_too_much_does_not_get_into_the_journal() {
    run(async {
        let subject = Subject::new(10).await;
        let too_much = json!({
            "Error": "States.DataLimitExceeded",
            "Cause": "The state/task 'lambda' returned a result with a size exceeding the maximum number of bytes \
                      service limit.",
        });
        for activity in ["nest-98", "nest-99", "nest-100", "nest-101", "nest-126", "nest-2000", "weigh-300000"] {
            let id = subject.start(&caught(activity, json!({}))).await;
            let record = subject.until_ended(&id).await;
            let is_refused = record.result.as_ref() == Some(&too_much);
            assert_eq!(is_refused, !["nest-98", "nest-99"].contains(&activity), "{activity}: {:?}", record.status);
            // It can be read again.
            let edges = edges_taken(subject.store.clone(), Arc::clone(&subject.clock), TENANT, &id).await;
            assert!(edges.is_ok(), "{activity}: {edges:?}");
        }
    });
}

#[test]
fn a_step_under_way_in_another_branch_is_not_done() {
    run(async {
        let subject = Subject::new(10).await;
        let mut both = branches(&["sleep-5", "sleep-1"]);
        both["States"]["All"]["Next"] = json!("Last");
        both["States"]["All"].as_object_mut().unwrap().remove("End");
        both["States"]["Last"] = task("sleep-9", json!({ "End": true }));
        let id = subject.start(&both).await;
        let mut seen = BTreeMap::new();
        for second in [0, 2, 6] {
            let at = subject.record(&id).await.started_at.checked_add(Duration::from_millis(second * 1_000 + 500));
            clock::sleep(&*subject.clock, clock::until(&*subject.clock, at.unwrap())).await;
            seen.insert(second, subject.record(&id).await.progress.completed_steps);
        }
        assert_eq!(seen, BTreeMap::from([(0, 0), (2, 1), (6, 2)]));
    });
}

/// A long turn of one execution, with one worker thread for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_long_turn_does_not_hold_up_other_executions() {
    let round = json!({ "left": "{% $left - 1 %}" });
    let passes = json!({ "Type": "Pass", "Next": "More", "Assign": round });
    // An attempt is never made.
    let catches = json!({ "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
        "Arguments": "{% $error('nothing') %}",
        "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "More", "Assign": round }] });
    for burn in [passes, catches] {
        others_go_on_beside(&burn).await;
    }
}

async fn others_go_on_beside(burn: &Value) {
    let directory = tempfile::tempdir().unwrap();
    let subject = Subject::open(directory.path(), Arc::new(SystemClock), None, 10).await;
    let ticking = machine("Tick", json!({ "Tick": task("tick", json!({ "Next": "Tick", "Output": {} })) }));
    subject.start(&ticking).await;
    let bomb = machine(
        "Light",
        json!({
            "Light": task("light", json!({ "Assign": { "left": 4_000 }, "Next": "Burn" })),
            "Burn": burn,
            "More": { "Type": "Choice", "Default": "Burn",
                "Choices": [{ "Condition": "{% $left = 0 %}", "Next": "Bang" }] },
            "Bang": task("bang", json!({ "End": true })),
        }),
    );
    let record = subject.play(&bomb).await;
    assert_eq!(record.status, Status::Completed, "{:?}", record.failure);
    let (lit, banged) = (subject.activities.called_at("light").unwrap(), subject.activities.called_at("bang").unwrap());
    let calls = subject.activities.calls.lock().unwrap();
    let ticks = calls.iter().filter(|(name, at)| name == "tick" && (lit..banged).contains(at)).count();
    println!("{ticks} ticks in {:?}", banged.duration_since(lit));
    assert!(ticks >= 20, "{ticks} ticks in {:?}", banged.duration_since(lit));
}
