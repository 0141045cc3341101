//! The suite that every engine passes: `engine::conformance::run(|runner| async { ... })`.
//!
//! It panics where an engine breaks a promise, saying which.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clock::SharedClock;
use contracts::responses::Items;
use contracts::step::{StepCall, WorkflowRef};
use contracts::{ActivityError, Cause, EventType, Status, WorkflowKind};
use serde_json::{Value, json};
use store::{
    AttemptOutcome, Begin, Created, EngineEnd, ExecutionRecord, Executions, History, HistoryRow, Inherited, NewEvent,
    NewExecution, Progress, StepOutcome, StepRecorder, StepRef, StoredRequest,
};

use crate::{ActivityCall, ActivityRunner, Engine, EngineError, Standing};

const TENANT: &str = "tenant-a";

/// An engine and what it works with.
pub struct Subject {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Its records.
    pub executions: Arc<dyn Executions>,
    /// Its histories.
    pub history: Arc<dyn History>,
    /// Its time.
    pub clock: SharedClock,
}

/// Runs the suite; `make` puts an engine, which runs this state machine as user onboarding, on an empty store before
/// these activities.
pub async fn run<M: AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject>(make: M) {
    steps_run_in_order_and_once(&make).await;
    a_failing_step_is_repeated(&make).await;
    a_machine_without_a_step_ends(&make).await;
    a_step_that_hangs_or_panics_fails(&make).await;
    branches_run_at_the_same_time(&make).await;
    a_branch_that_fails_is_caught(&make).await;
    children_run_for_every_item(&make).await;
    too_many_children_that_fail_are_caught(&make).await;
    items_of_maps_branches_and_loops_are_steps_of_their_own(&make).await;
    batches_are_recorded_each_by_itself(&make).await;
    what_steps_report_is_part_of_the_result(&make).await;
    a_terminated_execution_stops(&make).await;
}

/// Activities that write down their calls and answer by name; those with a step go through the recorder, as the harness
/// of the real ones does.
#[derive(Default)]
struct Script {
    calls: Mutex<Vec<String>>,
    clock: Mutex<Option<SharedClock>>,
}

#[async_trait]
impl ActivityRunner for Script {
    async fn run(&self, call: ActivityCall, recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        let calls = {
            let mut calls = lock(&self.calls);
            calls.push(call.activity.clone());
            calls.iter().filter(|earlier| **earlier == call.activity).count()
        };
        let Ok(step_call) = serde_json::from_value::<StepCall>(call.payload.clone()) else {
            return self.act(&call.activity, &call.payload, calls).await;
        };
        let step = StepRef::of(&step_call, &call.activity);
        let attempt = match recorder.begin_step(&step).await.unwrap_or_else(|error| panic!("{error}")) {
            Begin::Proceed { attempt, .. } => attempt,
            Begin::AlreadyDone(result) => return Ok(result),
            other => panic!("{other:?}"),
        };
        let outcome = self.act(&call.activity, &call.payload, calls).await;
        let report = step_call.input["report"].as_object().cloned();
        let ended = AttemptOutcome { outcome: outcome.clone(), report };
        recorder.finish_step(&step, &attempt, &ended).await.unwrap_or_else(|error| panic!("{error}"));
        outcome
    }
}

impl Script {
    async fn act(&self, activity: &str, payload: &Value, calls: usize) -> StepOutcome {
        let failed = |error: &str| Err(ActivityError { error: error.to_owned(), cause: Box::new(Cause::default()) });
        match activity {
            "flaky" if calls <= 2 => failed("ServiceUnavailable"),
            "refused" => failed("ServiceRejected"),
            "hanging" => {
                self.sleep(Duration::from_secs(3_600)).await;
                Ok(json!("too late"))
            }
            "panicking" => panic!("as it was told"),
            // Nobody leaves before all three are there.
            "meeting" => {
                for _ in 0..100 {
                    if lock(&self.calls).iter().filter(|call| *call == "meeting").count() >= 3 {
                        return Ok(json!("met"));
                    }
                    self.sleep(Duration::from_millis(10)).await;
                }
                failed("ServiceUnavailable")
            }
            "even" if payload["item"].as_u64().is_some_and(|item| item % 2 == 1) => failed("ServiceRejected"),
            "odd" if payload["input"]["n"].as_u64().is_some_and(|n| n % 2 == 0) => failed("ServiceRejected"),
            "odd" | "square" => Ok(json!({ "squared": payload["input"]["n"].as_u64().map(|n| n * n) })),
            "double" => Ok(json!(payload["item"].as_u64().unwrap_or_default() * 2)),
            activity => Ok(json!({ "done": activity })),
        }
    }

    async fn sleep(&self, duration: Duration) {
        let clock = lock(&self.clock).clone();
        if let Some(clock) = clock {
            clock::sleep(&*clock, duration).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Task with the standard retrier.
fn task(name: &str, activity: &str) -> Value {
    json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 2,
        "Arguments": { "FunctionName": activity, "Payload": {
            "workflow": "{% $states.context.Execution.Input.workflow %}", "step": { "name": name, "kind": "forward" },
        } },
        "Retry": [{ "ErrorEquals": ["ServiceUnavailable"], "IntervalSeconds": 1, "MaxAttempts": 2 }],
        "Output": "{% $states.result.Payload %}",
    })
}

/// A machine of one Task after the other.
fn machine(activities: &[&str]) -> Value {
    let states: serde_json::Map<String, Value> = activities
        .iter()
        .enumerate()
        .map(|(index, activity)| {
            let name = format!("S{index}");
            let mut state = task(&name, activity);
            match activities.get(index + 1) {
                Some(_) => state["Next"] = json!(format!("S{}", index + 1)),
                None => state["End"] = json!(true),
            }
            (name, state)
        })
        .collect();
    json!({ "QueryLanguage": "JSONata", "StartAt": "S0", "States": states })
}

/// A machine of one state, whose failure is caught.
fn caught(name: &str, mut state: Value) -> Value {
    state["Catch"] =
        json!([{ "ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.Error %}", "Next": "Caught" }]);
    state["Next"] = json!("Done");
    let done = json!({ "Type": "Succeed" });
    let caught = json!({ "Type": "Pass", "Output": { "caught": "{% $states.input %}" }, "End": true });
    json!({ "QueryLanguage": "JSONata", "StartAt": name, "States": { name: state, "Done": done, "Caught": caught } })
}

/// A Parallel state with a Task in each branch.
fn parallel(activities: &[&str]) -> Value {
    let branch = |(index, activity): (usize, &&str)| {
        let name = format!("B{index}");
        let mut state = task(&name, activity);
        state["End"] = json!(true);
        json!({ "StartAt": name, "States": { name: state } })
    };
    json!({ "Type": "Parallel", "Branches": activities.iter().enumerate().map(branch).collect::<Vec<_>>() })
}

/// A distributed Map over 0 to 29 whose children call an activity, which is no step.
fn map(activity: &str) -> Value {
    let mut state = task("Child", activity);
    state["Arguments"]["Payload"] = json!({ "item": "{% $states.input.item %}" });
    state["End"] = json!(true);
    json!({
        "Type": "Map", "Items": "{% [0..29] %}", "MaxConcurrency": 5,
        "ItemSelector": { "item": "{% $states.context.Map.Item.Value %}" },
        "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
            "StartAt": "Child", "States": { "Child": state },
        },
    })
}

fn new(subject: &Subject) -> NewExecution {
    let (kind, now) = (WorkflowKind::UserOnboarding, subject.clock.now());
    let id = kind.new_execution_id(now);
    let workflow = WorkflowRef {
        id: id.clone(),
        kind,
        tenant_id: TENANT.to_owned(),
        user_id: None,
        started_at: now,
        traceparent: None,
    };
    let details = json!({ "workflow_type": kind, "input": null });
    NewExecution {
        tenant_id: TENANT.to_owned(),
        effect_scope: id.clone(),
        id,
        kind,
        engine: subject.engine.kind(),
        user_id: None,
        started_at: now,
        deadline_at: None,
        status: Status::Pending,
        input: json!({ "workflow": workflow, "options": {} }),
        request: StoredRequest::Inline(json!({})),
        idempotency: None,
        progress: Progress { current_step: String::new(), total_steps: 7, completed_steps: 0, status_message: None },
        history: vec![NewEvent { event_type: EventType::WorkflowExecutionStarted, at: now, details }],
        journal: None,
        begins_pivot: false,
        upload_id: None,
        retry_of: None,
        inherited: Inherited::default(),
        cancel_requested_at: None,
        audit: None,
    }
}

/// Runs a machine of these activities to its end: the record, the calls, the history's event types.
async fn play(
    make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject,
    activities: &[&str],
) -> (ExecutionRecord, Vec<String>, Vec<String>) {
    play_definition(make, &machine(activities)).await
}

async fn play_definition(
    make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject,
    definition: &Value,
) -> (ExecutionRecord, Vec<String>, Vec<String>) {
    let (record, calls, rows) = play_whole(make, definition).await;
    (record, calls, rows.into_iter().map(|row| row.event.event_type).collect())
}

async fn play_whole(
    make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject,
    definition: &Value,
) -> (ExecutionRecord, Vec<String>, Vec<HistoryRow>) {
    let (subject, script, record) = play_to_its_end(make, definition).await;
    let page = subject.history.events(TENANT, &record.id, &[], None, 200).await;
    let page = page.unwrap_or_else(|error| panic!("{error}"));
    let calls = lock(&script.calls).clone();
    (record, calls, page.map(|page| page.rows).unwrap_or_default())
}

async fn play_to_its_end(
    make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject,
    definition: &Value,
) -> (Subject, Arc<Script>, ExecutionRecord) {
    let (subject, script, started) = begin(make, definition).await;
    let id = &started.id;
    let mut record = None;
    for _ in 0..1_000 {
        clock::sleep(&*subject.clock, Duration::from_millis(100)).await;
        record = subject.executions.get(TENANT, id).await.unwrap_or_else(|error| panic!("{error}"));
        if record.as_ref().is_some_and(|record| !record.status.is_open()) {
            break;
        }
    }
    let record = record.unwrap_or_else(|| panic!("the record is there"));
    subject.engine.start(&started).await.unwrap_or_else(|error| panic!("an ended one stays as it is: {error}"));
    (subject, script, record)
}

/// Starts an execution of a machine.
async fn begin(
    make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject,
    definition: &Value,
) -> (Subject, Arc<Script>, ExecutionRecord) {
    let script = Arc::new(Script::default());
    let subject = make(script.clone(), definition.to_string()).await;
    *lock(&script.clock) = Some(subject.clock.clone());
    let mut execution = new(&subject);
    subject.engine.admit(&mut execution).await.unwrap_or_else(|error| panic!("{error}"));
    let created = subject.executions.create(execution).await.unwrap_or_else(|error| panic!("{error}"));
    let Created::New(started) = created else { panic!("{created:?}") };
    // Twice is once.
    for _ in 0..2 {
        subject.engine.start(&started).await.unwrap_or_else(|error| panic!("{error}"));
    }
    (subject, script, started)
}

async fn steps_run_in_order_and_once(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let (record, calls, events) = play(make, &["one", "two", "three"]).await;
    assert_eq!((record.status, record.result), (Status::Completed, Some(json!({ "done": "three" }))));
    assert_eq!(calls, ["one", "two", "three"]);
    let attempt = ["ActivityTaskScheduled", "ActivityTaskStarted", "ActivityTaskCompleted"];
    let expected: Vec<&str> = std::iter::once("WorkflowExecutionStarted")
        .chain(attempt.into_iter().cycle().take(9))
        .chain(["WorkflowExecutionCompleted"])
        .collect();
    assert_eq!(events, expected);
}

async fn a_failing_step_is_repeated(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let (record, calls, _) = play(make, &["one", "flaky"]).await;
    assert_eq!(record.status, Status::Completed);
    assert_eq!(calls, ["one", "flaky", "flaky", "flaky"], "two retries");
    let (record, calls, events) = play(make, &["refused", "never"]).await;
    assert_eq!((record.status, calls), (Status::Failed, vec!["refused".to_owned()]), "not named by the retrier");
    assert_eq!(record.failure.map(|failure| failure.error).as_deref(), Some("ServiceRejected"));
    assert_eq!(events.last().map(String::as_str), Some("WorkflowExecutionFailed"));
}

async fn a_machine_without_a_step_ends(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let definition = json!({
        "QueryLanguage": "JSONata", "StartAt": "Done",
        "States": { "Done": { "Type": "Succeed", "Output": { "answer": 42 } } },
    });
    let (record, _, events) = play_definition(make, &definition).await;
    assert_eq!((record.status, record.result), (Status::Completed, Some(json!({ "answer": 42 }))));
    assert_eq!(events, ["WorkflowExecutionStarted", "WorkflowExecutionCompleted"]);
}

async fn a_step_that_hangs_or_panics_fails(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let (record, _, events) = play(make, &["hanging"]).await;
    assert_eq!(record.failure.map(|failure| failure.error).as_deref(), Some("States.Timeout"));
    assert!(events.iter().any(|event| event == "ActivityTaskTimedOut"), "{events:?}");
    let (record, _, _) = play(make, &["panicking"]).await;
    assert_eq!(record.failure.map(|failure| failure.error).as_deref(), Some("Internal"));
}

async fn branches_run_at_the_same_time(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let definition = caught("Together", parallel(&["meeting", "meeting", "meeting"]));
    let (record, calls, events) = play_definition(make, &definition).await;
    assert_eq!((record.status, record.result), (Status::Completed, Some(json!(["met", "met", "met"]))));
    assert_eq!(calls.len(), 3);
    for event in ["ActivityTaskScheduled", "ActivityTaskStarted", "ActivityTaskCompleted"] {
        assert_eq!(events.iter().filter(|found| *found == event).count(), 3, "{events:?}");
    }
}

async fn a_branch_that_fails_is_caught(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let definition = caught("Together", parallel(&["one", "refused"]));
    let (record, _, _) = play_definition(make, &definition).await;
    assert_eq!((record.status, record.result), (Status::Completed, Some(json!({ "caught": "ServiceRejected" }))));
}

async fn children_run_for_every_item(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let (record, calls, _) = play_definition(make, &caught("Each", map("double"))).await;
    let doubled: Vec<u32> = (0..30).map(|item| item * 2).collect();
    assert_eq!((record.status, record.result), (Status::Completed, Some(json!(doubled))));
    assert_eq!(calls.len(), 30);
}

async fn too_many_children_that_fail_are_caught(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let mut few = map("even");
    few["ToleratedFailureCount"] = json!(3);
    let (record, calls, _) = play_definition(make, &caught("Each", few)).await;
    let exceeded = json!({ "caught": "States.ExceedToleratedFailureThreshold" });
    assert_eq!((record.status, record.result), (Status::Completed, Some(exceeded)));
    assert!(calls.len() < 30, "the rest is left alone: {} calls", calls.len());
    let mut half = map("even");
    half["ToleratedFailurePercentage"] = json!(50.0);
    half["Output"] = json!("{% $count($states.result) %}");
    let (record, calls, _) = play_definition(make, &caught("Each", half)).await;
    assert_eq!((record.status, record.result, calls.len()), (Status::Completed, Some(json!(30)), 30));
}

/// A Task whose step is one of several of its state.
fn item_task(name: &str, item: &str, more: Value) -> Value {
    let mut state = task(name, "square");
    state["Arguments"]["Payload"]["step"]["item"] = json!(item);
    state["Output"] = json!("{% $states.result.Payload.squared %}");
    if let (Some(state), Some(more)) = (state.as_object_mut(), more.as_object()) {
        state.extend(more.clone());
    }
    state
}

/// Squares of 1, 2, 3 by a Map, of 4 and 5 by branches, of 6, 7, 8 by a loop; then it fails, so that the record shows what
/// was counted.
fn counting_machine() -> Value {
    let input = |state: &mut Value, n: &str| state["Arguments"]["Payload"]["input"] = json!({ "n": n });
    let mut each = item_task("Each", "{% $string($states.context.Map.Item.Index) %}", json!({ "End": true }));
    each["Arguments"]["Payload"]["step"]["item"] = json!("{% $string($states.input.index) %}");
    input(&mut each, "{% $states.input.n %}");
    let map = json!({
        "Type": "Map", "Items": [1, 2, 3], "MaxConcurrency": 2, "Next": "Branches",
        "ItemSelector": { "index": "{% $states.context.Map.Item.Index %}", "n": "{% $states.context.Map.Item.Value %}" },
        "ItemProcessor": { "ProcessorConfig": { "Mode": "INLINE" }, "StartAt": "Each", "States": { "Each": each } },
        "Assign": { "squares": "{% $states.result %}", "round": 6 },
    });
    let branch = |name: &str, item: &str, n: u32| {
        let mut state = item_task(name, item, json!({ "End": true }));
        input(&mut state, &format!("{{% {n} %}}"));
        json!({ "StartAt": name, "States": { name: state } })
    };
    let parallel = json!({
        "Type": "Parallel", "Branches": [branch("Left", "4", 4), branch("Right", "5", 5)], "Next": "Again",
        "Assign": { "squares": "{% $append($squares, $states.result) %}" },
    });
    let mut again = item_task(
        "Again",
        "{% $string($round) %}",
        json!({ "Next": "Whether", "Assign": {
            "squares": "{% $append($squares, [$states.result.Payload.squared]) %}", "round": "{% $round + 1 %}",
        } }),
    );
    input(&mut again, "{% $round %}");
    let whether = json!({
        "Type": "Choice", "Choices": [{ "Condition": "{% $round < 9 %}", "Next": "Again" }], "Default": "Counted",
    });
    let counted = json!({ "Type": "Fail", "Error": "Counted", "Cause": "{% $string($squares) %}" });
    json!({
        "QueryLanguage": "JSONata", "StartAt": "Map",
        "States": { "Map": map, "Branches": parallel, "Again": again, "Whether": whether, "Counted": counted },
    })
}

async fn items_of_maps_branches_and_loops_are_steps_of_their_own(
    make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject,
) {
    let (record, calls, rows) = play_whole(make, &counting_machine()).await;
    let failure = record.failure.unwrap_or_default();
    assert_eq!((failure.error.as_str(), failure.message.as_str()), ("Counted", "[1,4,9,16,25,36,49,64]"));
    assert_eq!(calls.len(), 8, "each is asked for once");
    let completed = rows.iter().filter(|row| row.event.event_type == "ActivityTaskCompleted");
    let mut paths: Vec<&str> = completed.filter_map(|row| row.event.details["activity_id"].as_str()).collect();
    paths.sort_unstable();
    let expected = ["Again[6]", "Again[7]", "Again[8]", "Each[0]", "Each[1]", "Each[2]", "Left[4]", "Right[5]"];
    assert_eq!(paths, expected);
    assert_eq!(record.progress.completed_steps, 8, "the same count on every engine");
    assert_eq!(record.progress.current_step, "Again");
}

/// The batches of a distributed Map: each has a record of its own, none is an event.
async fn batches_are_recorded_each_by_itself(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let mut state = item_task("Batch", "{% $string($states.input.item) %}", json!({ "End": true }));
    state["Arguments"]["Payload"]["workflow"] = json!("{% $states.input.workflow %}");
    state["Arguments"]["Payload"]["step"]["batch"] = json!(true);
    state["Arguments"]["Payload"]["input"] = json!({ "n": "{% $states.input.item %}" });
    let mut map = map("square");
    map["Items"] = json!([1, 2, 3, 4, 5]);
    map["ItemSelector"]["workflow"] = json!("{% $states.context.Execution.Input.workflow %}");
    map["ItemProcessor"]["StartAt"] = json!("Batch");
    map["ItemProcessor"]["States"] = json!({ "Batch": state });
    map["ItemProcessor"]["States"]["Batch"]["Arguments"]["Payload"]["step"]["batches"] = json!(5);
    let (record, calls, rows) = play_whole(make, &caught("Each", map.clone())).await;
    assert_eq!((record.status, record.result), (Status::Completed, Some(json!([1, 4, 9, 16, 25]))));
    assert_eq!((calls.len(), rows.len()), (5, 2), "the start and the end");

    // What is over of them is counted.
    map["ItemProcessor"]["States"]["Batch"]["Arguments"]["FunctionName"] = json!("odd");
    map["ToleratedFailurePercentage"] = json!(100.0);
    map["Output"] = json!("{% $count($states.result) %}");
    let (subject, _, record) = play_to_its_end(make, &caught("Each", map)).await;
    assert_eq!(record.status, Status::Completed, "{:?}", record.failure);
    let found = subject.executions.get_estimated(TENANT, &record.id).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.and_then(|found| found.items), Some(Items { total: 5, completed: 3, failed: 2 }));
}

async fn what_steps_report_is_part_of_the_result(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let mut definition = machine(&["one", "two"]);
    definition["States"]["S0"]["Arguments"]["Payload"]["input"] = json!({ "report": { "a": 1, "done": "before" } });
    let (record, _, rows) = play_whole(make, &definition).await;
    let expected = json!({ "a": 1, "done": "two" });
    assert_eq!((record.status, record.result), (Status::Completed, Some(expected.clone())));
    assert_eq!(rows.last().map(|row| &row.event.details["result"]), Some(&expected));

    definition["States"]["S0"]["Arguments"]["Payload"]["step"]["closes"] = json!(true);
    definition["States"]["S1"]["Arguments"]["FunctionName"] = json!("refused");
    let (record, _, _) = play_whole(make, &definition).await;
    assert_eq!((record.status, record.result), (Status::Failed, Some(json!({ "a": 1, "done": "before" }))));
}

async fn a_terminated_execution_stops(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let wait = json!({ "Type": "Wait", "Seconds": 3_600, "End": true });
    let mut definition = machine(&["one"]);
    definition["States"]["S0"]["Next"] = json!("Long");
    definition["States"]["Long"] = wait;
    if let Some(state) = definition["States"]["S0"].as_object_mut() {
        state.remove("End");
    }
    let (subject, script, record) = begin(make, &definition).await;
    for _ in 0..100 {
        if !lock(&script.calls).is_empty() {
            break;
        }
        clock::sleep(&*subject.clock, Duration::from_millis(100)).await;
    }
    let failed = |error: EngineError| -> ! { panic!("{error}") };
    let standing = subject.engine.describe(&record).await.unwrap_or_else(|error| failed(error));
    assert_eq!(standing, Standing::Running);
    // Twice is once.
    for _ in 0..2 {
        subject.engine.terminate(&record, "by a test", None).await.unwrap_or_else(|error| failed(error));
    }
    let standing = subject.engine.describe(&record).await.unwrap_or_else(|error| failed(error));
    assert!(matches!(standing, Standing::Ended { end: EngineEnd::Terminated, .. }), "{standing:?}");
    let unknown = ExecutionRecord { id: "nobody".to_owned(), ..record };
    let standing = subject.engine.describe(&unknown).await.unwrap_or_else(|error| failed(error));
    assert_eq!(standing, Standing::Unknown);
}
