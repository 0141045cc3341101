//! The suite that every engine passes: `engine::conformance::run(|runner| async { ... })`.
//!
//! It panics where an engine breaks a promise, saying which.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use clock::SharedClock;
use contracts::{ActivityError, Cause, EventType, Status, WorkflowKind};
use serde_json::{Value, json};
use store::{
    Created, ExecutionRecord, Executions, History, NewEvent, NewExecution, Progress, StepOutcome, StepRecorder,
};

use crate::{ActivityCall, ActivityRunner, Orchestrator};

const TENANT: &str = "tenant-a";

/// An engine and what it works with.
pub struct Subject {
    /// The engine.
    pub orchestrator: Arc<dyn Orchestrator>,
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
}

/// Activities that write down their calls and answer by name.
#[derive(Default)]
struct Script {
    calls: Mutex<Vec<String>>,
    clock: Mutex<Option<SharedClock>>,
}

#[async_trait]
impl ActivityRunner for Script {
    async fn run(&self, call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        let calls = {
            let mut calls = self.calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            calls.push(call.activity.clone());
            calls.iter().filter(|earlier| **earlier == call.activity).count()
        };
        let failed = |error: &str| Err(ActivityError { error: error.to_owned(), cause: Box::new(Cause::default()) });
        match call.activity.as_str() {
            "flaky" if calls <= 2 => failed("ServiceUnavailable"),
            "refused" => failed("ServiceRejected"),
            "hanging" => {
                let clock = self.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
                if let Some(clock) = clock {
                    clock::sleep(&*clock, Duration::from_secs(3_600)).await;
                }
                Ok(json!("too late"))
            }
            "panicking" => panic!("as it was told"),
            activity => Ok(json!(activity)),
        }
    }
}

/// A machine of one Task after the other, each with the standard retrier.
fn machine(activities: &[&str]) -> String {
    let states: serde_json::Map<String, Value> = activities
        .iter()
        .enumerate()
        .map(|(index, activity)| {
            let mut state = json!({
                "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 2,
                "Arguments": { "FunctionName": activity, "Payload": { "input": index } },
                "Retry": [{ "ErrorEquals": ["ServiceUnavailable"], "IntervalSeconds": 1, "MaxAttempts": 2 }],
                "Output": "{% $states.result.Payload %}",
            });
            match activities.get(index + 1) {
                Some(_) => state["Next"] = json!(format!("S{}", index + 1)),
                None => state["End"] = json!(true),
            }
            (format!("S{index}"), state)
        })
        .collect();
    json!({ "QueryLanguage": "JSONata", "StartAt": "S0", "States": states }).to_string()
}

fn new(subject: &Subject) -> NewExecution {
    let (kind, now) = (WorkflowKind::UserOnboarding, subject.clock.now());
    let id = kind.new_execution_id(now);
    let details = json!({ "workflow_type": kind, "input": null });
    NewExecution {
        tenant_id: TENANT.to_owned(),
        effect_scope: id.clone(),
        id,
        kind,
        user_id: None,
        started_at: now,
        deadline_at: None,
        status: Status::Pending,
        input: json!({}),
        request: json!({}),
        idempotency: None,
        progress: Progress { current_step: String::new(), total_steps: 7, completed_steps: 0, status_message: None },
        history: vec![NewEvent { event_type: EventType::WorkflowExecutionStarted, at: now, details }],
        journal: None,
        begins_pivot: false,
    }
}

/// Runs a machine of these activities to its end: the record, the calls, the history's event types.
async fn play(
    make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject,
    activities: &[&str],
) -> (ExecutionRecord, Vec<String>, Vec<String>) {
    play_definition(make, machine(activities)).await
}

async fn play_definition(
    make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject,
    definition: String,
) -> (ExecutionRecord, Vec<String>, Vec<String>) {
    let script = Arc::new(Script::default());
    let subject = make(script.clone(), definition).await;
    *script.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(subject.clock.clone());
    let mut execution = new(&subject);
    let id = execution.id.clone();
    subject.orchestrator.prepare_start(&mut execution).unwrap_or_else(|error| panic!("{error}"));
    let created = subject.executions.create(execution).await.unwrap_or_else(|error| panic!("{error}"));
    let Created::New(started) = created else { panic!("{created:?}") };
    // Twice is once.
    for _ in 0..2 {
        subject.orchestrator.start(&started).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let mut record = None;
    for _ in 0..1_000 {
        clock::sleep(&*subject.clock, Duration::from_millis(100)).await;
        record = subject.executions.get(TENANT, &id).await.unwrap_or_else(|error| panic!("{error}"));
        if record.as_ref().is_some_and(|record| !record.status.is_open()) {
            break;
        }
    }
    let record = record.unwrap_or_else(|| panic!("the record is there"));
    subject.orchestrator.start(&started).await.unwrap_or_else(|error| panic!("an ended one stays as it is: {error}"));
    let page = subject.history.events(TENANT, &id, None, 200).await.unwrap_or_else(|error| panic!("{error}"));
    let events = page.map(|page| page.rows).unwrap_or_default().into_iter().map(|row| row.event.event_type).collect();
    let calls = script.calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    (record, calls, events)
}

async fn steps_run_in_order_and_once(make: &impl AsyncFn(Arc<dyn ActivityRunner>, String) -> Subject) {
    let (record, calls, events) = play(make, &["one", "two", "three"]).await;
    assert_eq!((record.status, record.result), (Status::Completed, Some(json!("three"))));
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
    let (record, _, events) = play_definition(make, definition.to_string()).await;
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
