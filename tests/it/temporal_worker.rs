//! The worker: the engines' suite, Maps with many children, workers that are killed, that stop and come back, and what a
//! server may be like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asl::{Command, Outcome};
use async_trait::async_trait;
use bytes::Bytes;
use clock::{Clock as _, SharedClock, SystemClock};
use contracts::{ActivityError, Cause, EngineKind, Status, Timestamp, WorkflowKind};
use engine::conformance::Subject;
use engine::{ActivityCall, ActivityRunner, Engine as _, Standing};
use engine_temporal::{StateMachine, StateMachineInput};
use engine_temporal_worker::{Ports, WorkerError};
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use store::{BlobKey, EndRecorder, EngineEnd, Executions as _, NewAuditRow, StepOutcome, StepRecorder, StoreError};
use store_sql::{Durability, FileBlobs, SqlStore};
use temporalio_client::{UntypedWorkflow, WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowStartOptions};
use workflow_service::Worker;

use crate::interpreter::dice::Dice;
use crate::interpreter::machines::machine;
use crate::interpreter::run::RunRecord;
use crate::interpreter::script::Script;
use crate::process::{Site, pause};
use crate::subjects::{CallSite, USER_ONBOARDING};
use crate::temporal::{self, Options, Stack, Working, connector, fresh, functions};
use crate::world::{TENANT, full_request_of, new_execution, record_of};
use crate::{invariants, peers};

/// What a worker works with that runs nothing but a test's own activities.
async fn ports(directory: &std::path::Path, runner: Arc<dyn ActivityRunner>) -> Ports {
    let clock: SharedClock = Arc::new(SystemClock);
    let file = directory.join(format!("{}.db", fresh("store")));
    let store = Arc::new(SqlStore::open(&file, Durability::Process, Arc::clone(&clock)).await.unwrap());
    Ports {
        runner,
        recorder: store.clone(),
        executions: store.clone(),
        ends: store,
        blobs: Arc::new(FileBlobs::open(&directory.join("blobs")).await.unwrap()),
        clock,
    }
}

fn worker(server: &str, queue: &str, ports: Ports, activities: BTreeSet<String>) -> Worker {
    let mut options = engine_temporal_worker::Options::new(queue);
    options.activities.extend(activities);
    options.grace_period = Duration::from_secs(2);
    Worker { connector: connector(server), options, ports }
}

#[test]
fn the_engine() {
    temporal::run(|server| async move {
        let directory = tempfile::tempdir().unwrap();
        let working = Mutex::new(Vec::new());
        engine::conformance::run(async |runner, definition| {
            let (queue, machine) = (fresh("suite"), serde_json::from_str(&definition).unwrap());
            let clock: SharedClock = Arc::new(SystemClock);
            let file = directory.path().join(format!("{queue}.db"));
            let store = Arc::new(SqlStore::open(&file, Durability::Process, Arc::clone(&clock)).await.unwrap());
            let ports = ports(directory.path(), runner).await;
            let ports = Ports { recorder: store.clone(), executions: store.clone(), ends: store.clone(), ..ports };
            working.lock().unwrap().push(Working::of(worker(server, &queue, ports, functions(&machine))));
            let definition_of = Arc::new(move |_| Some(definition.clone()));
            let engine = engine_temporal::Temporal::new(Arc::new(connector(server)), queue, definition_of);
            Subject { engine: Arc::new(engine), executions: store.clone(), history: store, clock }
        })
        .await;
        let working = std::mem::take(&mut *working.lock().unwrap());
        join_all(working.into_iter().map(Working::stop)).await;
    });
}

/// Starts a state machine that is no workflow of ours, and waits for its end.
async fn play(server: &str, queue: &str, id: &str, definition: &Value, input: Value) -> EngineEnd {
    let client = connector(server).client().await.unwrap();
    let input = StateMachineInput { definition: definition.clone(), input, records_end_locally: true };
    let options = WorkflowStartOptions::new(queue, id).build();
    client.start_workflow(StateMachine("UserOnboarding".to_owned()), input, options).await.unwrap();
    let engine = engine_temporal::Temporal::new(Arc::new(connector(server)), queue, Arc::new(|_| None));
    let mut waited = Duration::from_millis(50);
    loop {
        match engine.describe(&record_of(id, EngineKind::Temporal)).await.unwrap() {
            Standing::Ended { end, .. } => return end,
            Standing::Running => pause(waited).await,
            Standing::Unknown => panic!("{id} is not known"),
        }
        waited = (waited * 2).min(Duration::from_secs(1));
    }
}

/// Counts its calls by item.
#[derive(Default)]
struct Counting(Mutex<BTreeMap<String, u32>>);

#[async_trait]
impl ActivityRunner for Counting {
    async fn run(&self, call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        *self.0.lock().unwrap().entry(call.payload["batch"].to_string()).or_default() += 1;
        Ok(json!(1))
    }
}

/// The batches come from a file, and there are more than one workflow could run.
#[test]
fn a_map_of_two_thousand_batches_is_at_most_a_hundred_workflows() {
    const BATCHES: u32 = 2_000;
    temporal::run(|server| async move {
        let definition = json!({
            "QueryLanguage": "JSONata", "StartAt": "Batches", "States": { "Batches": {
                "Type": "Map", "End": true, "MaxConcurrency": 1_000,
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "JSON" },
                    "Arguments": { "Bucket": "any", "Key": format!("{TENANT}/batches.json") },
                },
                "ItemSelector": { "batch": "{% $states.context.Map.Item.Value %}" },
                "ItemProcessor": {
                    "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
                    "StartAt": "Work", "States": { "Work": {
                        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true, "TimeoutSeconds": 45,
                        "Arguments": { "FunctionName": "work", "Payload": "{% $states.input %}" },
                        "Output": "{% $states.result.Payload %}",
                    } },
                },
                "Output": "{% $sum($states.result) %}",
            } },
        });
        let directory = tempfile::tempdir().unwrap();
        let counting = Arc::new(Counting::default());
        let ports = ports(directory.path(), counting.clone()).await;
        let batches: Vec<u32> = (0..BATCHES).collect();
        let body = stream::iter([Ok(Bytes::from(json!(batches).to_string()))]).boxed();
        ports.blobs.put(&BlobKey::new(TENANT, &["batches.json"]).unwrap(), body).await.unwrap();
        let (queue, id) = (fresh("map"), WorkflowKind::UserOnboarding.new_execution_id(SystemClock.now()));
        let working = Working::of(worker(server, &queue, ports, functions(&definition)));
        let workflow = json!({ "id": id, "type": "user_onboarding", "tenant_id": TENANT, "user_id": null,
            "started_at": "2026-01-01T00:00:00Z", "traceparent": null });
        let end = play(server, &queue, &id, &definition, json!({ "workflow": workflow })).await;
        assert_eq!(end, EngineEnd::Succeeded(json!(BATCHES)));
        let calls = std::mem::take(&mut *counting.0.lock().unwrap());
        assert_eq!(calls.len(), BATCHES as usize, "every batch was worked on");
        println!("{} calls for {BATCHES} batches", calls.values().sum::<u32>());
        let client = connector(server).client().await.unwrap();
        let handle = client.get_workflow_handle::<UntypedWorkflow>(&id);
        let events = handle.describe(WorkflowDescribeOptions::default()).await.unwrap().history_length();
        assert!(events < 1_500, "{events} events in the history of the execution itself");
        working.stop().await;
    });
}

/// Answers a random machine's calls.
struct Answering(Mutex<Script<'static>>);

#[async_trait]
impl ActivityRunner for Answering {
    async fn run(&self, call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        let (delay, answer) = self.0.lock().unwrap().answer(&call.activity, &call.payload);
        pause(delay).await;
        answer.map_err(|(error, cause)| {
            let cause = serde_json::from_str(&cause).unwrap_or(Cause { message: cause, ..Cause::default() });
            ActivityError { error, cause: Box::new(cause) }
        })
    }
}

/// Causes are what our activities make of them.
fn without_causes(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let plain =
                |(name, value): (&String, &Value)| (name != "Cause").then(|| (name.clone(), without_causes(value)));
            Value::Object(object.iter().filter_map(plain).collect())
        }
        Value::Array(items) => items.iter().map(without_causes).collect(),
        other => other.clone(),
    }
}

/// As the end of one on the bare interpreter.
fn alike(outcome: &Outcome, end: &EngineEnd) -> bool {
    match (outcome, end) {
        (Outcome::Succeeded { output }, EngineEnd::Succeeded(found)) => without_causes(output) == without_causes(found),
        (Outcome::Failed { error, .. }, EngineEnd::Failed { error: found, .. }) => error == found,
        _ => false,
    }
}

/// Machines that need tasks only: recorded ones where they are beside the repository, otherwise random ones.
fn task_machines(count: usize) -> Vec<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance/asl-jsonata.json");
    let recorded: Value = std::fs::read_to_string(beside).map_or(Value::Null, |text| text.parse().unwrap());
    let is_plain = |text: &str| {
        ["$states.context", "$uuid", "$random", "$now", "$millis", "Cause"].iter().all(|word| !text.contains(word))
    };
    let recorded: Vec<Value> = recorded["vectors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|vector| vector["kind"] == "execution" && vector["s3"].is_null())
        .filter(|vector| is_plain(&vector["definition"].to_string()))
        .filter(|vector| vector["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty()))
        .cloned()
        .collect();
    println!("{} recorded machines; random ones from the seed {SEED}", recorded.len());
    let random = (SEED..).map(|seed| {
        let definition = machine(&mut Dice(seed), "answering");
        json!({ "definition": definition, "input": { "n": 1, "k": "0" }, "random": seed })
    });
    let is_short = |case: &Value| {
        let Ok(definition) = asl::Definition::load(&case["definition"].to_string()) else { return false };
        let Ok(run) = RunRecord::of(case, &Arc::new(definition)) else { return false };
        let last = run.told.last().map_or(0, |(at, ..)| at.as_second());
        last <= 5 && (1..60).contains(&run.told.len())
    };
    recorded.into_iter().chain(random).filter(is_short).take(count).collect()
}

const SEED: u64 = 20_260_401;

#[test]
fn machines_come_out_as_on_the_bare_interpreter() {
    const MACHINES: usize = 60;
    temporal::run(|server| async move {
        let directory = tempfile::tempdir().unwrap();
        let played = stream::iter(task_machines(MACHINES)).map(|case| async {
            let case: &'static Value = Box::leak(Box::new(case));
            let definition = asl::Definition::load(&case["definition"].to_string()).unwrap();
            let run = RunRecord::of(case, &Arc::new(definition)).unwrap();
            let called = run.commands.iter().filter_map(|(.., command)| match command {
                Command::ScheduleTask { function, .. } => Some(function.clone()),
                _ => None,
            });
            let (called, expected) = (called.collect(), run.outcome);
            let answering = Arc::new(Answering(Mutex::new(Script::of(case))));
            let queue = fresh("machine");
            let ports = ports(directory.path(), answering).await;
            let working = Working::of(worker(server, &queue, ports, called));
            let end = play(server, &queue, &queue, &case["definition"], case["input"].clone()).await;
            working.stop().await;
            match alike(&expected, &end) {
                true => None,
                false => Some(format!("{}\n  interpreter {expected:?}\n  Temporal    {end:?}", case["definition"])),
            }
        });
        let wrong: Vec<Option<String>> = played.buffer_unordered(8).collect().await;
        let count = wrong.len();
        let wrong: Vec<String> = wrong.into_iter().flatten().collect();
        println!("{} of {count} machines come out the same", count - wrong.len());
        assert!(count >= 50 && wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Workers that live for ten seconds each, one after the other, as inside a function's time limit.
#[test]
fn executions_survive_workers_that_come_and_go() {
    const EXECUTIONS: usize = 50;
    temporal::run(|server| async move {
        let stack = Stack::start(server, Options::default()).await;
        let before = stack.site.snapshot().await;
        // Slow enough that one life is too short for all.
        let slow = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 1_500 });
        stack.site.services.set_faults(ServiceKind::User, vec![slow]);
        let ids = join_all((0..EXECUTIONS).map(async |number| stack.site.start(&full_request_of(number)).await)).await;
        let mut workers = 0;
        let open = async || {
            let statuses = join_all(ids.iter().map(|id| stack.site.status(id))).await;
            statuses.iter().filter(|status| status.status.is_open()).count()
        };
        while open().await > 0 {
            workers += 1;
            assert!(workers <= 20, "{} executions do not end", open().await);
            let mut worker = stack.worker();
            worker.options.grace_period = Duration::from_secs(1);
            worker.options.max_concurrent_activities = 3;
            let working = Working::of(worker);
            pause(Duration::from_secs(10)).await;
            working.stop().await;
        }
        println!("{EXECUTIONS} executions by {workers} workers");
        assert!(workers > 1, "one life was enough");
        let ledger = stack.site.ledger().await;
        invariants::one_effect(&ledger).unwrap();
        for id in &ids {
            let status = stack.site.status(id).await;
            assert_eq!(status.status, Status::Completed, "{:?}", status.error);
            invariants::history_is_true(&stack.site, &status, &ledger).await.unwrap();
        }
        assert_ne!(stack.site.snapshot().await, before);
    });
}

/// A store whose record of ends is away for a while, and slow.
struct Away {
    store: Arc<SqlStore>,
    times: AtomicU32,
    takes: Duration,
}

#[async_trait]
impl EndRecorder for Away {
    async fn record_end(
        &self,
        tenant_id: &str,
        id: &str,
        end: &EngineEnd,
        at: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<bool, StoreError> {
        let left = self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        pause(self.takes).await;
        self.store.record_end(tenant_id, id, end, at, audit).await
    }
}

/// Plays so many executions that fail at once, whose ends such a store records before their workflows end.
async fn ends_are_recorded(server: &str, executions: usize, away: u32, takes: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let queue = fresh("ends");
    let clock: SharedClock = Arc::new(SystemClock);
    let file = directory.path().join("ends.db");
    let store = Arc::new(SqlStore::open(&file, Durability::Process, Arc::clone(&clock)).await.unwrap());
    let ports = ports(directory.path(), Arc::new(Counting::default())).await;
    let away = Away { store: store.clone(), times: AtomicU32::new(away), takes };
    let ports = Ports { executions: store.clone(), ends: Arc::new(away), ..ports };
    let working = Working::of(worker(server, &queue, ports, BTreeSet::new()));
    let definition = json!({
        "QueryLanguage": "JSONata", "StartAt": "Only", "States": { "Only": { "Type": "Fail", "Error": "AsScripted" } },
    });
    let play_one = async |_| {
        let (id, now) = (fresh("user_onboarding"), clock.now());
        store.create(new_execution(&id, EngineKind::Temporal, now)).await.unwrap();
        let workflow = json!({
            "id": id, "type": "user_onboarding", "tenant_id": TENANT, "user_id": null, "started_at": now,
            "traceparent": null,
        });
        let end = play(server, &queue, &id, &definition, json!({ "workflow": workflow })).await;
        assert!(matches!(end, EngineEnd::Failed { error: Some(error), .. } if error == "AsScripted"));
        assert_eq!(store.get(TENANT, &id).await.unwrap().unwrap().status, Status::Failed, "before the workflow ended");
    };
    join_all((0..executions).map(play_one)).await;
    working.stop().await;
}

/// Longer than a turn of a workflow may last.
#[test]
fn an_end_is_recorded_however_long_the_store_is_away() {
    temporal::run(|server| ends_are_recorded(server, 1, 6, Duration::ZERO));
}

#[test]
fn no_end_waits_for_another_one() {
    temporal::run(|server| async move {
        let began = SystemClock.now();
        ends_are_recorded(server, 30, 0, Duration::from_secs(2)).await;
        let took = SystemClock.now().duration_since(began).as_secs();
        assert!(took < 30, "{took} s, and one after the other takes 60");
    });
}

/// A definition that does not load, and a type that nobody knows, are ends with a reason; nothing loops.
#[test]
fn what_cannot_run_ends_with_its_reason() {
    temporal::run(|server| async move {
        let directory = tempfile::tempdir().unwrap();
        let queue = fresh("unfit");
        let ports = ports(directory.path(), Arc::new(Counting::default())).await;
        let working = Working::of(worker(server, &queue, ports, BTreeSet::new()));
        let end = play(server, &queue, &fresh("unfit"), &json!({ "StartAt": "Nowhere" }), json!({})).await;
        let EngineEnd::Failed { error, cause } = end else { panic!("{end:?}") };
        assert_eq!(error.as_deref(), Some("States.Runtime"));
        assert!(cause.as_ref().is_some_and(|cause| cause.contains("fields are required: [States]")), "{cause:?}");

        let client = connector(server).client().await.unwrap();
        let id = fresh("stray");
        let options = WorkflowStartOptions::new(queue.as_str(), id.as_str()).build();
        let input = StateMachineInput { definition: Value::Null, input: Value::Null, records_end_locally: true };
        client.start_workflow(StateMachine("NobodyKnows".to_owned()), input, options).await.unwrap();
        let handle = client.get_workflow_handle::<UntypedWorkflow>(&id);
        let mut status = WorkflowExecutionStatus::Running;
        for _ in 0..120 {
            status = handle.describe(WorkflowDescribeOptions::default()).await.unwrap().status();
            if status != WorkflowExecutionStatus::Running {
                break;
            }
            pause(Duration::from_secs(1)).await;
        }
        assert_eq!(status, WorkflowExecutionStatus::Terminated);
        let history = handle.fetch_history(Default::default()).to_json().await.unwrap();
        let history = String::from_utf8(history).unwrap();
        assert!(history.contains("there is no workflow type 'NobodyKnows'"), "{history}");
        working.stop().await;
    });
}

/// Wrong addresses and namespaces are said, starts are refused before anything is written.
#[test]
fn a_server_that_is_not_as_it_should_be_is_said() {
    temporal::run(|server| async move {
        let nowhere = "http://127.0.0.1:1".to_owned();
        let (tls, namespace) = (
            server.replace("http:", "https:"),
            BTreeMap::from([("TEMPORAL__NAMESPACE".to_owned(), "nobody-has-it".to_owned())]),
        );
        let cases = [
            (Options { server: Some(nowhere), ..Options::default() }, "cannot be reached"),
            (Options { server: Some(tls), ..Options::default() }, "cannot be reached"),
            (Options { settings: namespace, ..Options::default() }, "no namespace 'nobody-has-it'"),
        ];
        for (options, reason) in cases {
            let stack = Stack::start(server, options).await;
            let (status, body) = stack.site.get("/ready").await;
            assert_eq!((status.as_u16(), &body["checks"]["engine"]), (503, &json!(false)), "{body}");
            assert!(body["reason"].as_str().is_some_and(|said| said.contains(reason)), "{body}");
            let (status, problem) =
                stack.site.post("/api/v1/workflows/user-onboarding", &full_request_of(1), &[]).await;
            assert_eq!((status.as_u16(), &problem["retryable"]), (503, &json!(true)), "{problem}");
            assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], 0, "nothing is written");
            let Err(WorkerError::Unavailable(said)) = stack.work().ended().await else { panic!("it works") };
            // In words for people.
            assert!(said.contains(reason) && !said.contains("Error("), "{said}");
        }
    });
}

/// The server goes away while executions are under way, and comes back.
#[test]
fn a_server_that_goes_away_loses_nothing() {
    temporal::run(|server| async move {
        let Some(mut other) = peers::OwnTemporal::start() else { return };
        let options = Options { server: Some(other.address()), ..Options::default() };
        let stack = Stack::start(server, options).await;
        // Slow enough that none has ended before.
        let slow = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 2_000 });
        stack.site.services.set_faults(ServiceKind::User, vec![slow]);
        let working = stack.work();
        let ids = join_all((0..10).map(async |number| stack.site.start(&full_request_of(number)).await)).await;
        pause(Duration::from_millis(700)).await;
        other.stop();
        pause(Duration::from_secs(6)).await;
        let (status, _) = stack.site.post("/api/v1/workflows/user-onboarding", &full_request_of(99), &[]).await;
        assert_eq!(status.as_u16(), 503);
        assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], 10, "nothing is written");
        other.start_again();
        for id in &ids {
            assert_eq!(stack.site.until_ended(id).await.status, Status::Completed);
        }
        invariants::one_effect(&stack.site.ledger().await).unwrap();
        let is_ready = async || {
            while stack.site.get("/ready").await.0.as_u16() != 200 {
                pause(Duration::from_millis(100)).await;
            }
        };
        let ready = clock::timeout(&SystemClock, Duration::from_secs(30), is_ready()).await;
        ready.expect("it is ready again");
        let id = stack.site.start(&full_request_of(99)).await;
        assert_eq!(stack.site.until_ended(&id).await.status, Status::Completed, "it takes starts again");
        working.stop().await;
    });
}

/// The call sites of an onboarding that is undone after its workspace was refused, and of one that is not.
fn killed_at() -> Vec<CallSite> {
    let undone = [
        "UndoSetupUserFileWorkspace",
        "UndoUpdateTenantUserMembership",
        "UndoCreateUserProfile",
        "UndoCreateUserAccount",
    ];
    let is_there = |site: &&CallSite| !site.is_undo || undone.contains(&site.name);
    USER_ONBOARDING.sites.iter().filter(is_there).copied().collect()
}

/// A worker that is killed while a call is under way whose effect is there: another one goes on, and nothing is done twice.
#[test]
fn a_worker_killed_at_any_step_loses_and_doubles_nothing() {
    async fn killed(server: &str, site: CallSite) -> Result<(), String> {
        let at = Site::new().await;
        let mut rules: Vec<FaultRule> =
            site.faulty(Fault::Delay { delay_ms: 8_000 }, Some(1)).into_values().flatten().collect();
        let is_undone = site.name.starts_with("Undo");
        if is_undone {
            // There are no sample data here, whose undoing would come before.
            rules.iter_mut().for_each(|rule| rule.skip = 0);
            let refused = FaultRule::on("POST", "/api/v1/workspaces", Fault::StatusAfterEffect { status: 400 });
            match site.kind() {
                ServiceKind::File => rules.push(refused),
                _ => at.services.set_faults(ServiceKind::File, vec![refused]),
            }
        }
        at.services.set_faults(site.kind(), rules);
        let temporal = [
            ("WORKFLOW__ENGINE__KIND", "temporal".to_owned()),
            ("WORKFLOW__TEMPORAL__SERVER_URL", server.to_owned()),
            ("WORKFLOW__TEMPORAL__TASK_QUEUE", fresh("killed")),
        ];
        let mut api = at.spawn_as("server", &temporal);
        at.until_up(&mut api).await;
        let mut worker = at.spawn_as("worker", &temporal);
        let id = at.start(TENANT, "killed@example.com").await.ok_or("it did not start")?;
        let mut waited = 0;
        while at.services.faults_fired(site.kind()).first() == Some(&0) {
            waited += 1;
            if waited > 600 {
                return Err("the call never came".to_owned());
            }
            pause(Duration::from_millis(50)).await;
        }
        pause(Duration::from_millis(300)).await;
        worker.kill().await.unwrap();
        let mut worker = at.spawn_as("worker", &temporal);
        let ended = at.until_all_ended(TENANT).await;
        let expected = if is_undone { "Failed" } else { "Completed" };
        if ended != [(id.clone(), expected.to_owned())] {
            return Err(format!("{ended:?}"));
        }
        worker.kill().await.unwrap();
        invariants::one_effect(&at.services.ledger().await.unwrap())
    }
    temporal::run(|server| async move {
        let sites = killed_at();
        let count = sites.len();
        let killed = stream::iter(sites).map(async |site| (site.name, killed(server, site).await)).buffer_unordered(6);
        let wrong: Vec<String> = killed
            .filter_map(async |(name, outcome)| outcome.err().map(|why| format!("{name}: {why}")))
            .collect()
            .await;
        println!("killed at {count} call sites");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
