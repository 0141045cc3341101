//! Every story comes out on Temporal as on the embedded engine, and faults, cancels and ends keep their promises there.

use std::collections::BTreeSet;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::{EngineKind, Status, WorkflowKind};
use engine::{ActivityCall, ActivityRunner, Engine as _, Engines, Reconciled};
use reference_services::Fault;
use serde_json::Value;
use store::{StepOutcome, StepRecorder};
use temporalio_client::{UntypedWorkflow, WorkflowCancelOptions, WorkflowTerminateOptions};

use crate::aws_cases::{comparable, difference};
use crate::cancel;
use crate::cases::{self, Case};
use crate::fault_matrix::{all, in_real_time, real_time_matrix};
use crate::generated::{self, Generated};
use crate::invariants;
use crate::process::pause;
use crate::retries::{self, Story};
use crate::subjects::{self, CallSite, Subject};
use crate::temporal::{self, Options, Stack, connector};
use crate::world::{Control, ControlAction, Script, full_request, record_of};

/// Cases whose histories on the server are kept, one for each outcome: whatever this code becomes, it must replay them.
const KEPT: [&str; 38] = [
    "success",
    "address-taken",
    "retry-createuseraccount",
    "refused-setupuserfileworkspace",
    "cancelled-before-mail",
    "deadline",
    "residue-createuserprofile",
    "refused-sendnotification",
    "tenant-switching-success",
    "tenant-switching-tenant-already-left",
    "tenant-switching-retry-updateusertenantcontext",
    "tenant-switching-cancelled-before-revoking",
    "tenant-switching-deadline",
    "tenant-switching-residue-updateusersession",
    "bulk-operation-all-done",
    "bulk-operation-some-refused",
    "bulk-operation-plan-fails",
    "bulk-operation-stopped",
    "bulk-operation-throttled",
    "bulk-operation-cancelled",
    "compliance-all-done",
    "compliance-partial",
    "erasure-all-done",
    "erasure-begin-fails",
    "erasure-given-up",
    "erasure-not-completed",
    "cross-service-backup-all-done",
    "cross-service-backup-plan-fails",
    "cross-service-backup-given-up",
    "cross-service-backup-cancelled",
    "cross-service-restore-all-done",
    "cross-service-restore-drill",
    "cross-service-restore-given-up",
    "cross-service-restore-cancelled",
    "data-migration-all-done",
    "data-migration-dry-run",
    "data-migration-given-up",
    "data-migration-cancelled",
];

/// The name of a case, and of its kept history: those of user onboarding are older than any other workflow.
fn named(subject: &Subject, case: &str) -> String {
    if subject.kind == WorkflowKind::UserOnboarding { case.to_owned() } else { format!("{}-{case}", subject.name()) }
}

fn kept_histories() -> PathBuf {
    crate::aws::root().join("tests/histories/temporal")
}

/// Nothing of a request is in what reached the server.
fn nothing_personal(subject: &Subject, history: &[u8], request: &Value) -> Result<(), String> {
    let text = String::from_utf8_lossy(history);
    // Payloads are base64 in this form of a history.
    let decoded: Vec<String> = payloads(&serde_json::from_slice(history).unwrap());
    for field in subject.personal {
        let value = request[*field].as_str().unwrap();
        if text.contains(value) || decoded.iter().any(|payload| payload.contains(value)) {
            return Err(format!("S7: {field} reached the server"));
        }
    }
    match decoded.iter().any(|payload| payload.contains("\"workflow\"")) {
        true => Ok(()),
        false => Err("the scan sees no payload at all".to_owned()),
    }
}

/// The texts of all payloads: byte arrays, or base64.
fn payloads(value: &Value) -> Vec<String> {
    use base64::Engine as _;
    match value {
        Value::Object(object) => {
            let own = object.get("data").and_then(|data| match data {
                Value::String(text) => base64::engine::general_purpose::STANDARD.decode(text).ok(),
                Value::Array(bytes) => {
                    bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Option<Vec<u8>>>()
                }
                _ => None,
            });
            let own = own.and_then(|bytes| String::from_utf8(bytes).ok());
            own.into_iter().chain(object.values().flat_map(payloads)).collect()
        }
        Value::Array(items) => items.iter().flat_map(payloads).collect(),
        _ => Vec::new(),
    }
}

async fn play(server: &'static str, subject: &'static Subject, name: String, mut case: Case) -> Result<Value, String> {
    let (script, settings) = (case.script.clone(), case.settings.clone());
    let mut stack = Stack::start(server, Options { script, settings, ..Options::default() }).await;
    for rule in case.faults.values_mut().flatten() {
        in_real_time(&mut rule.fault, &mut stack.site.settling_time);
    }
    let worker = stack.work();
    let (id, request, outcome) = cases::play_on(&stack.site, subject, &case).await?;
    let history = stack.server_history(&id).await;
    nothing_personal(subject, &history, &request)?;
    keep(&name, &history);
    worker.stop().await;
    Ok(outcome)
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn keep(name: &str, history: &[u8]) {
    if KEPT.contains(&name) && std::env::var("UPDATE_HISTORIES").is_ok() {
        std::fs::create_dir_all(kept_histories()).unwrap();
        let history: Value = serde_json::from_slice(history).unwrap();
        std::fs::write(kept_histories().join(format!("{name}.json")), history.to_string()).unwrap();
    }
}

#[test]
fn every_story_comes_out_as_on_the_embedded_engine() {
    async fn story(server: &'static str, subject: &'static Subject, name: String, file: PathBuf) -> Result<(), String> {
        let case = cases::read(&file);
        let expected = comparable(&case, case.expected.clone());
        let outcome = comparable(&case, play(server, subject, name, case.clone()).await?);
        if expected == outcome { Ok(()) } else { Err(difference(&expected, &outcome)) }
    }
    temporal::run(|server| async move {
        let stories = subjects::EVERY
            .into_iter()
            .flat_map(|subject| cases::files(subject).into_iter().zip(iter::repeat(subject)));
        let tasks: Vec<_> = stories
            .map(|(file, subject)| {
                let name = named(subject, &cases::name(&file));
                (name.clone(), story(server, subject, name, file))
            })
            .collect();
        let count = tasks.len();
        let wrong = all(tasks.into_iter()).await;
        println!("{} of {count} stories come out the same", count - wrong.len());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// One generated case of each pattern and workflow, and those whose histories are kept; all of them with
/// `TEMPORAL_MATRIX=full`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn generated_cases_end_as_on_the_embedded_engine() {
    async fn generated(server: &'static str, subject: &'static Subject, of: Generated) -> Result<(), String> {
        of.expected.check(&play(server, subject, named(subject, &of.name), of.case).await?)
    }
    let is_full = std::env::var("TEMPORAL_MATRIX").is_ok_and(|matrix| matrix == "full");
    let is_selected: BTreeSet<String> =
        generated::selected(is_full).map(|(subject, of)| named(subject, &of.name)).collect();
    temporal::run(|server| async move {
        let tasks: Vec<_> = generated::selected(true)
            .map(|(subject, of)| (named(subject, &of.name), subject, of))
            .filter(|(name, ..)| is_selected.contains(name) || KEPT.contains(&name.as_str()))
            .map(|(name, subject, of)| (name, generated(server, subject, of)))
            .collect();
        println!("{} generated cases", tasks.len());
        let wrong = all(tasks.into_iter()).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Histories that earlier versions left on servers: executions of them may still be under way when a new one comes.
#[tokio::test]
async fn kept_histories_replay() {
    let workflows = engine_temporal_worker::Options::new("queue").workflows;
    let mut replayed = BTreeSet::new();
    for file in std::fs::read_dir(kept_histories()).unwrap() {
        let file = file.unwrap().path();
        let history = std::fs::read(&file).unwrap();
        let outcome = engine_temporal_worker::replay(&history, &workflows).await;
        assert_eq!(outcome, Ok(()), "{}", file.display());
        let first = [
            "get_tenant_context",
            "plan_bulk_operation",
            "plan_backup",
            "plan_restore",
            "plan_migration",
            "plan_export",
            "plan_erasure",
        ];
        let history = String::from_utf8(history).unwrap();
        let other =
            first.iter().fold(history, |history, name| history.replace(&format!("\"{name}\""), "\"another_activity\""));
        let refused = engine_temporal_worker::replay(other.as_bytes(), &workflows).await;
        assert!(refused.is_err(), "{}: another activity goes unnoticed", file.display());
        replayed.insert(file.file_stem().unwrap().to_string_lossy().into_owned());
    }
    for name in KEPT {
        assert!(replayed.contains(name), "{name} has no history (UPDATE_HISTORIES=1 keeps one)");
    }
}

/// One story of retries of each kind and workflow; all of them with `TEMPORAL_MATRIX=full`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn whatever_did_not_complete_can_be_retried_or_undone() {
    async fn play(server: &'static str, story: Story, completed: Value) -> Result<(), String> {
        let stack = Stack::start(server, Options::default()).await;
        let worker = stack.work();
        retries::play(&stack.site, story, &completed, retries::REAL_PACE).await?;
        worker.stop().await;
        Ok(())
    }
    let is_full = std::env::var("TEMPORAL_MATRIX").is_ok_and(|matrix| matrix == "full");
    let completed = retries::completed();
    temporal::run(|server| async move {
        let stories = retries::selected(is_full);
        let tasks: Vec<_> = stories
            .into_iter()
            .map(|story| (story.to_string(), play(server, story, completed[&story.subject.name()].clone())))
            .collect();
        println!("{} stories of retries", tasks.len());
        let wrong = all(tasks.into_iter()).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

async fn cell(
    server: &'static str,
    subject: &'static Subject,
    site: CallSite,
    mut fault: Fault,
    times: Option<u64>,
) -> Result<(), String> {
    let script = subject.script_to(&site);
    let mut stack = Stack::start(server, Options { script, ..Options::default() }).await;
    let request = stack.site.prepare(subject, 0).await;
    let before = stack.site.snapshot().await;
    in_real_time(&mut fault, &mut stack.site.settling_time);
    stack.site.faults(&site.faulty(fault, times));
    let worker = stack.work();
    let id = stack.site.start_of(subject, &request).await;
    stack.site.until_ended(&id).await;
    if stack.site.services.faults_fired(site.kind()) == [0] {
        return Err("the fault never happened".to_owned());
    }
    invariants::check(&stack.site, &id, &before).await?;
    worker.stop().await;
    Ok(())
}

/// One call site of each workflow sees every class of fault; `TEMPORAL_MATRIX=full` lets all of them see all, once and for ever.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn every_class_of_fault_keeps_the_invariants() {
    let full = std::env::var("TEMPORAL_MATRIX").is_ok_and(|matrix| matrix == "full");
    temporal::run(|server| {
        real_time_matrix(full, move |subject, site, fault, times| cell(server, subject, site, fault, times))
    });
}

/// Does something to the workflow at the server while a step is under way, once its effect is there.
struct During {
    inner: Arc<dyn ActivityRunner>,
    server: &'static str,
    step: String,
    what: AtTheServer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtTheServer {
    Cancel,
    Terminate,
}

#[async_trait]
impl ActivityRunner for During {
    async fn run(&self, call: ActivityCall, recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        let (step, id) = (call.payload["step"]["name"].clone(), call.payload["workflow"]["id"].clone());
        let outcome = self.inner.run(call, recorder).await;
        if step == self.step.as_str() {
            let client = connector(self.server).client().await.unwrap();
            let workflow = client.get_workflow_handle::<UntypedWorkflow>(id.as_str().unwrap());
            match self.what {
                AtTheServer::Cancel => workflow.cancel(WorkflowCancelOptions::default()).await.unwrap(),
                AtTheServer::Terminate => workflow.terminate(WorkflowTerminateOptions::default()).await.unwrap(),
            }
        }
        outcome
    }
}

fn during(server: &'static str, step: &str, what: AtTheServer) -> temporal::Around {
    let step = step.to_owned();
    Box::new(move |inner| Arc::new(During { inner, server, step, what }))
}

#[test]
fn a_cancel_during_any_step_undoes_everything_or_comes_too_late() {
    async fn cancel(
        server: &'static str,
        subject: &'static Subject,
        step: &'static workflows::WorkflowStep,
        at_the_server: bool,
    ) -> Result<(), String> {
        let cancel = Control { during: step.state.to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
        let options = match at_the_server {
            true => Options { around: Some(during(server, &step.state, AtTheServer::Cancel)), ..Options::default() },
            false => Options { script: Script { control: vec![cancel], ..Script::default() }, ..Options::default() },
        };
        let stack = Stack::start(server, options).await;
        let request = stack.site.prepare(subject, 0).await;
        let before = stack.site.snapshot().await;
        let worker = stack.work();
        let id = stack.site.start_of(subject, &request).await;
        stack.site.until_ended(&id).await;
        let status = invariants::check(&stack.site, &id, &before).await?;
        worker.stop().await;
        if status.status == cancel::expected(subject, &step.state) {
            Ok(())
        } else {
            Err(format!("ended {}", status.status))
        }
    }
    temporal::run(|server| async move {
        let both = subjects::steps().flat_map(|of| [(of, false), (of, true)]);
        let tasks = both.map(|((subject, step), at_the_server)| {
            let by = if at_the_server { "at the server" } else { "by the API" };
            let name = format!("{}: {} {by}", subject.name(), step.state);
            (name, async move { cancel(server, subject, step, at_the_server).await })
        });
        let wrong = all(tasks).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Nothing is undone then; the record says so once the reconciler has looked.
#[test]
fn a_workflow_that_is_terminated_is_recorded_as_such() {
    async fn terminated(server: &'static str, by_port: bool) -> Result<(), String> {
        let around = (!by_port).then(|| during(server, "CreateUserAccount", AtTheServer::Terminate));
        let stack = Stack::start(server, Options { around, ..Options::default() }).await;
        let ports = stack.ports();
        let engine = stack.engine("{}");
        // Nobody works on it when it is ended by the port.
        let worker = (!by_port).then(|| stack.work());
        let id = stack.site.start(&full_request()).await;
        if by_port {
            let record = record_of(&id, EngineKind::Temporal);
            engine.terminate(&record, "as a test wants", None).await.unwrap();
            engine.terminate(&record, "twice is once", None).await.unwrap();
        }
        let engines = Engines::new(vec![Arc::new(engine)]);
        for _ in 0..90 {
            let found = engine::reconcile(&*ports.executions, &*ports.ends, &engines, &*ports.clock).await.unwrap();
            // The server's own reconciler may have been there first.
            if found != Reconciled::default() || !stack.site.status(&id).await.status.is_open() {
                break;
            }
            pause(Duration::from_secs(1)).await;
        }
        let status = stack.site.status(&id).await.status;
        if let Some(worker) = worker {
            worker.stop().await;
        }
        if status == Status::Terminated { Ok(()) } else { Err(format!("recorded as {status}")) }
    }
    temporal::run(|server| async move {
        let tasks = [false, true].map(|by_port| (format!("by the port: {by_port}"), terminated(server, by_port)));
        let wrong = all(tasks.into_iter()).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
