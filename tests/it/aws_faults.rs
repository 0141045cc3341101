//! What can go wrong around the deployed shape: the services, the events, the starts, AWS itself.

use std::collections::BTreeSet;
use std::time::Duration;

use clock::{Clock as _, SystemClock};
use contracts::effect::sha256_hex;
use contracts::{EngineKind, Status, WorkflowKind};
use engine::Engine as _;
use engine_stepfunctions::StepFunctions;
use futures::future::join_all;
use http::StatusCode;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use store::{Executions as _, IdempotencyKey};
use workflows::WorkflowStep;

use crate::aws::{self, Aws, Options, StatusEvents};
use crate::cancel;
use crate::fault_matrix::{all, faults, in_real_time, real_time_matrix};
use crate::invariants;
use crate::process::pause;
use crate::proxy::{Answer, Rule};
use crate::subjects::{self, CallSite, Subject, USER_ONBOARDING};
use crate::world::{Control, ControlAction, Script, TENANT, full_request, new_execution};

const START: &str = "/api/v1/workflows/user-onboarding";

async fn cell(
    aws: &'static Aws,
    subject: &'static Subject,
    site: CallSite,
    mut fault: Fault,
    times: Option<u64>,
) -> Result<(), String> {
    let mut stack = aws.stack(Options { script: subject.script_to(&site), ..Options::default() }).await;
    let request = stack.site.prepare(subject, 0).await;
    let before = stack.site.snapshot().await;
    in_real_time(&mut fault, &mut stack.site.settling_time);
    stack.site.faults(&site.faulty(fault, times));
    let id = stack.site.start_of(subject, &request).await;
    stack.site.until_ended(&id).await;
    if stack.site.services.faults_fired(site.kind()) == [0] {
        return Err("the fault never happened".to_owned());
    }
    invariants::check(&stack.site, &id, &before).await.map(drop)
}

/// One call site of each workflow sees every class of fault; `AWS_MATRIX=full` lets all of them see all, once and for ever.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn every_class_of_fault_keeps_the_invariants() {
    let full = std::env::var("AWS_MATRIX").is_ok_and(|matrix| matrix == "full");
    aws::run(|aws| real_time_matrix(full, move |subject, site, fault, times| cell(aws, subject, site, fault, times)));
}

#[test]
fn a_cancel_during_any_step_undoes_everything_or_comes_too_late() {
    async fn cancel(aws: &'static Aws, subject: &'static Subject, step: &WorkflowStep) -> Result<(), String> {
        let cancel = Control { during: step.state.to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
        let script = Script { control: vec![cancel], ..Script::default() };
        let stack = aws.stack(Options { script, ..Options::default() }).await;
        let request = stack.site.prepare(subject, 0).await;
        let before = stack.site.snapshot().await;
        let id = stack.site.start_of(subject, &request).await;
        stack.site.until_ended(&id).await;
        let status = invariants::check(&stack.site, &id, &before).await?;
        if status.status == cancel::expected(subject, &step.state) {
            Ok(())
        } else {
            Err(format!("ended {}", status.status))
        }
    }
    aws::run(|aws| async move {
        let wrong = all(subjects::steps()
            .map(|(subject, step)| (format!("{}: {}", subject.name(), step.state), cancel(aws, subject, step))))
        .await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn fifty_starts_with_one_key_are_one_execution() {
    aws::run(|aws| async move {
        for subject in subjects::ALL {
            fifty_starts(aws, subject).await;
        }
    });
}

async fn fifty_starts(aws: &'static Aws, subject: &'static Subject) {
    let stack = aws.stack(Options::default()).await;
    let request = stack.site.prepare(subject, 0).await;
    let before = stack.site.snapshot().await;
    let key = [("idempotency-key", "key-1")];
    let answers = join_all((0..50).map(|_| stack.site.post(subject.path, &request, &key))).await;
    let ids: Vec<&Value> = answers.iter().map(|(_, body)| &body["workflow_id"]).collect();
    assert!(answers.iter().all(|(status, _)| status.is_success()), "{answers:?}");
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let id = ids[0].as_str().unwrap();
    stack.site.until_ended(id).await;
    invariants::check(&stack.site, id, &before).await.unwrap();
    assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], 1);
    let other = (subject.request)(1);
    assert_eq!(stack.site.post(subject.path, &other, &key).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

/// A start that another engine is to run, from before a switch, does not begin on this one when its client repeats it.
#[test]
fn a_start_stays_on_its_engine() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let mut request = full_request();
        request.sort_all_objects();
        let mut earlier = new_execution("user_onboarding_from-before", EngineKind::Temporal, SystemClock.now());
        let (route, key) = (format!("POST {START}"), "key-1".to_owned());
        let body_hash = sha256_hex(request.to_string().as_bytes());
        earlier.idempotency = Some(IdempotencyKey { route, key, body_hash });
        let id = earlier.id.clone();
        stack.store.create(earlier).await.unwrap();
        let (status, body) = stack.site.post(START, &request, &[("idempotency-key", "key-1")]).await;
        assert_eq!((status, &body["workflow_id"]), (StatusCode::ACCEPTED, &json!(id)), "{body}");
        assert!(stack.proxies.as_ref().unwrap().sfn.take().is_empty(), "it was not asked to start it");
    });
}

/// Invokes the reconciler until it has found so much; executions younger than a minute are not its business.
pub(crate) async fn reconciled(stack: &aws::Stack, expected: u64) -> Value {
    let mut all = [0, 0, 0];
    for _ in 0..80 {
        let found = stack.invoke("reconcile-executions", json!({})).await.unwrap();
        for (all, name) in all.iter_mut().zip(["started", "ended", "failed"]) {
            *all += found[name].as_u64().unwrap();
        }
        if all.iter().sum::<u64>() >= expected {
            return json!({ "started": all[0], "ended": all[1], "failed": all[2] });
        }
        pause(Duration::from_secs(1)).await;
    }
    panic!("the reconciler finds {all:?}");
}

#[test]
fn events_and_starts_that_are_lost_are_found() {
    async fn lost_end(aws: &'static Aws) -> Result<(), String> {
        let stack = aws.stack(Options { status_events: StatusEvents::Lost, ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let id = stack.site.start(&full_request()).await;
        assert_eq!(reconciled(&stack, 1).await, json!({ "started": 0, "ended": 1, "failed": 0 }));
        assert_eq!(stack.site.until_ended(&id).await.status, Status::Completed);
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    async fn doubled_end(aws: &'static Aws) -> Result<(), String> {
        let stack = aws.stack(Options { status_events: StatusEvents::Doubled, ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let id = stack.site.start(&full_request()).await;
        stack.site.until_ended(&id).await;
        let deliveries =
            || aws.lambda.spent(&stack.prefix).get("project-execution-status").map(|spent| spent.invocations);
        for _ in 0..100 {
            if deliveries() == Some(2) {
                break;
            }
            pause(Duration::from_millis(100)).await;
        }
        assert_eq!(deliveries(), Some(2));
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    async fn lost_start(aws: &'static Aws) -> Result<(), String> {
        let nowhere = ("start-user-onboarding", "AWS_ENDPOINT_URL_SFN", "http://127.0.0.1:1".to_owned());
        // Less than it waits for the reconciler.
        let limit = ("start-user-onboarding", "WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "30".to_owned());
        let stack = aws.stack(Options { overrides: vec![nowhere, limit], ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let id = stack.site.start(&full_request()).await;
        assert_eq!(stack.store.get(TENANT, &id).await.unwrap().unwrap().status, Status::Pending);
        assert_eq!(reconciled(&stack, 1).await, json!({ "started": 1, "ended": 0, "failed": 0 }));
        assert_eq!(stack.site.until_ended(&id).await.status, Status::Completed);
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    async fn full_engine(aws: &'static Aws) -> Result<(), String> {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let full = Answer::Error("ExecutionLimitExceeded", 400);
        let rule = Rule { operation: "StartExecution", skip: 0, times: 1, answer: full };
        stack.proxies.as_ref().unwrap().sfn.script(vec![rule]);
        let id = stack.site.start(&full_request()).await;
        assert_eq!(reconciled(&stack, 1).await, json!({ "started": 1, "ended": 0, "failed": 0 }));
        stack.site.until_ended(&id).await;
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    async fn unreachable_engine(aws: &'static Aws) -> Result<(), String> {
        let nowhere = |function| (function, "AWS_ENDPOINT_URL_SFN", "http://127.0.0.1:1".to_owned());
        let overrides = vec![nowhere("start-user-onboarding"), nowhere("reconcile-executions")];
        let stack = aws.stack(Options { overrides, ..Options::default() }).await;
        // However long it was tried to start it, the answer is out before the function's time is up.
        let (status, body) = stack.site.post(START, &full_request(), &[("prefer", "wait=25")]).await;
        if (status, &body["status"]) != (StatusCode::ACCEPTED, &json!("running")) {
            return Err(format!("{status}: {body}"));
        }
        for _ in 0..80 {
            match stack.invoke("reconcile-executions", json!({})).await {
                Ok(found) if found["failed"] == 0 => pause(Duration::from_secs(1)).await,
                Err(error) if error.to_string().contains("1 executions were not reconciled") => return Ok(()),
                other => return Err(format!("{other:?}")),
            }
        }
        Err("the function never fails".to_owned())
    }
    async fn terminated(aws: &'static Aws) -> Result<(), String> {
        let stack = aws.stack(Options::default()).await;
        let slow = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 5_000 });
        stack.site.services.set_faults(ServiceKind::User, vec![slow]);
        let machines = [(WorkflowKind::UserOnboarding, stack.machine_arn.clone())].into();
        let client = aws.sfn.clone();
        let engine = StepFunctions::new(|| client, machines);
        let id = stack.site.start(&full_request()).await;
        pause(Duration::from_secs(1)).await;
        let record = stack.store.get(TENANT, &id).await.unwrap().unwrap();
        for reason in ["as a test wants", "twice is once"] {
            engine.terminate(&record, reason, None).await.map_err(|error| error.to_string())?;
        }
        match stack.site.until_ended(&id).await.status {
            Status::Terminated => Ok(()),
            other => Err(format!("recorded as {other}")),
        }
    }
    type Task = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
    aws::run(|aws| async move {
        let tasks: Vec<(String, Task)> = vec![
            ("a lost end".to_owned(), Box::pin(lost_end(aws))),
            ("a doubled end".to_owned(), Box::pin(doubled_end(aws))),
            ("a lost start".to_owned(), Box::pin(lost_start(aws))),
            ("a start that the engine refused".to_owned(), Box::pin(full_engine(aws))),
            ("an engine that nobody reaches".to_owned(), Box::pin(unreachable_engine(aws))),
            ("one that was terminated".to_owned(), Box::pin(terminated(aws))),
        ];
        let wrong = all(tasks.into_iter()).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Short of something, AWS refuses; the functions repeat what can be repeated, and otherwise say so.
#[test]
fn what_aws_refuses_is_repeated() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let proxies = stack.proxies.as_ref().unwrap();
        let before = stack.site.snapshot().await;
        let tables = [
            (
                "throttled once each",
                vec![
                    rule("TransactWriteItems", 0, 1, THROTTLED),
                    rule("UpdateItem", 0, 1, THROTTLED),
                    rule("BatchGetItem", 0, 1, THROTTLED),
                ],
            ),
            (
                "meeting other transactions",
                vec![
                    rule("TransactWriteItems", 0, 3, Answer::Conflict),
                    rule("TransactWriteItems", 2, 2, Answer::Conflict),
                    rule("UpdateItem", 0, 3, MET),
                    rule("UpdateItem", 2, 2, MET),
                ],
            ),
            (
                "answers lost",
                vec![rule("TransactWriteItems", 0, 2, Answer::Lost), rule("UpdateItem", 0, 2, Answer::Lost)],
            ),
            (
                "an answer lost, then meeting itself",
                vec![
                    rule("TransactWriteItems", 0, 1, Answer::Lost),
                    rule("TransactWriteItems", 0, 1, Answer::Conflict),
                ],
            ),
            ("reads done in part", vec![rule("BatchGetItem", 0, 3, Answer::Unprocessed)]),
        ];
        let count = tables.len();
        for (number, (name, rules)) in tables.into_iter().enumerate() {
            proxies.dynamodb.script(rules);
            let mut request = full_request();
            request["user_email"] = json!(format!("user-{number}@example.com"));
            let id = stack.site.start(&request).await;
            assert_eq!(stack.site.until_ended(&id).await.status, Status::Completed, "{name}");
            assert_eq!(proxies.dynamodb.unused(), 0, "{name}: not all of it happened");
        }
        let engine = [
            ("throttled", Answer::Error("ThrottlingException", 400)),
            ("its answer lost", Answer::Lost),
            ("known to it already", Answer::After("ExecutionAlreadyExists", 400)),
        ];
        let count = count + engine.len();
        for (number, (name, answer)) in engine.into_iter().enumerate() {
            proxies.sfn.script(vec![rule("StartExecution", 0, 1, answer)]);
            let mut request = full_request();
            request["user_email"] = json!(format!("engine-{number}@example.com"));
            let id = stack.site.start(&request).await;
            assert_eq!(stack.site.until_ended(&id).await.status, Status::Completed, "{name}");
            assert_eq!(proxies.sfn.unused(), 0, "{name}: it never happened");
        }
        let emails = stack.site.snapshot().await["auth"].to_string().matches("@example.com").count();
        let emails_before = before["auth"].to_string().matches("@example.com").count();
        assert_eq!(emails - emails_before, count, "each was started once");
        assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], json!(count));
    });
}

/// What lasts is said before API Gateway gives up, together with whether anything may have been accepted.
#[test]
fn what_aws_refuses_for_good_is_said() {
    const NOT_ACCEPTED: &str = "nothing was accepted";
    const NOT_KNOWN: &str = "not known whether this was accepted";
    aws::run(|aws| async move {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let dynamodb = &stack.proxies.as_ref().unwrap().dynamodb;
        let write = |answer| rule("TransactWriteItems", 0, 100, answer);
        let lost = |then| vec![rule("TransactWriteItems", 0, 1, Answer::Lost), write(then)];
        let in_progress = Answer::Error("TransactionInProgressException", 400);
        let tables = [
            ("throttled", vec![write(THROTTLED)], 0, NOT_ACCEPTED),
            ("meeting others", vec![write(Answer::Conflict)], 0, NOT_ACCEPTED),
            ("an answer lost, then throttled", lost(THROTTLED), 1, NOT_KNOWN),
            ("an answer lost, then meeting others", lost(Answer::Conflict), 1, NOT_KNOWN),
            ("in progress", vec![write(in_progress)], 0, NOT_KNOWN),
            ("all answers lost", vec![write(Answer::Lost)], 1, NOT_KNOWN),
        ];
        let mut accepted = 0;
        for (name, rules, stored, expected) in tables {
            dynamodb.script(rules);
            let mut request = full_request();
            request["user_email"] = json!(format!("user-{accepted}@example.com"));
            let key = [("idempotency-key", name.replace(',', ""))];
            let key = [(key[0].0, key[0].1.as_str())];
            refused_in_time(&stack, post(&request, &key), name, expected).await;
            dynamodb.script(Vec::new());
            accepted += stored;
            let (_, list) = stack.site.get("/api/v1/workflows").await;
            assert_eq!(list["total_count"], json!(accepted), "{name}: nothing half-written");
            // What the answer says to do.
            let (status, answer) = stack.site.post(START, &request, &key).await;
            assert!(status.is_success(), "{name}: {answer}");
            accepted += 1 - stored;
            stack.site.until_ended(answer["workflow_id"].as_str().unwrap()).await;
            assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], json!(accepted), "{name}: one");
        }
        dynamodb.script(vec![rule("BatchGetItem", 0, 100, Answer::Unprocessed)]);
        let status = http::Request::get("/api/v1/workflows/some-id/status").header("x-tenant-id", TENANT);
        let status = status.body(axum::body::Body::empty()).unwrap();
        refused_in_time(&stack, status, "reads done in part", NOT_ACCEPTED).await;
    });
}

/// What a single write is told that meets a transaction.
const MET: Answer = Answer::Error("TransactionConflictException", 400);

const THROTTLED: Answer = Answer::Error("ProvisionedThroughputExceededException", 400);

fn rule(operation: &'static str, skip: u32, times: u32, answer: Answer) -> Rule {
    Rule { operation, skip, times, answer }
}

fn post(body: &Value, headers: &[(&str, &str)]) -> http::Request<axum::body::Body> {
    let request = http::Request::post(START).header("x-tenant-id", TENANT).header("content-type", "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.to_string().into()).unwrap()
}

async fn refused_in_time(stack: &aws::Stack, request: http::Request<axum::body::Body>, name: &str, expected: &str) {
    let began = clock::Clock::now(&clock::SystemClock);
    let (status, headers, problem) = stack.site.call(request).await;
    let took = clock::Clock::now(&clock::SystemClock).duration_since(began);
    println!("{name}: {status} after {took:#}");
    assert_eq!((status, &problem["retryable"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(true)), "{name}: {problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(expected), "{name}: {detail}");
    let seconds: Option<u64> = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{name}: {headers:?}");
    assert!(took.as_secs() < 28, "{name}: {took:#}, and API Gateway waits 30 s");
}

/// Once something is being undone, or was tolerated after an undoing, nobody can cancel any more.
#[test]
fn a_cancel_during_an_undoing_comes_too_late() {
    async fn cancel(aws: &'static Aws, undo: &str) -> Result<(), String> {
        let (refused, expected) = match undo {
            "UndoCreateSampleData" => ("CreateSampleData", Status::Completed),
            _ => ("SetupUserFileWorkspace", Status::Failed),
        };
        let cancel = Control { during: undo.to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
        let script = Script { control: vec![cancel], ..Script::default() };
        let stack = aws.stack(Options { script, ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let site = USER_ONBOARDING.site(refused);
        let permanent = faults().into_iter().find(|(name, _)| name.contains("permanent")).unwrap().1;
        stack.site.faults(&site.faulty(permanent, None));
        let id = stack.site.start(&full_request()).await;
        let ended = stack.site.until_ended(&id).await;
        if ended.status != expected || ended.cancelled_at.is_some() {
            return Err(format!("{} {:?}", ended.status, ended.cancelled_at));
        }
        if !stack.site.history(&id).await.events.iter().any(|event| event.event.details["activity_id"] == undo) {
            return Err("it was never undone".to_owned());
        }
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    let undos = USER_ONBOARDING.sites.iter().filter(|site| site.is_undo);
    aws::run(|aws| async move {
        let wrong = all(undos.map(|site| (site.name.to_owned(), cancel(aws, site.name)))).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_cancel_during_an_undoing_is_refused() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options::default()).await;
        cancel::is_refused_during_compensation(&stack.site).await;
    });
}

#[test]
fn fifty_cancels_at_once_have_one_answer() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options::default()).await;
        let before = stack.site.snapshot().await;
        let slow = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 8_000 });
        stack.site.services.set_faults(ServiceKind::User, vec![slow]);
        let id = stack.site.start(&full_request()).await;
        pause(Duration::from_secs(1)).await;
        let answers = join_all((0..50).map(|_| stack.site.cancel(&id))).await;
        let at: BTreeSet<_> = answers.into_iter().map(|answer| answer.unwrap().cancelled_at).collect();
        assert_eq!(at.len(), 1, "the first one counts");
        assert_eq!(stack.site.until_ended(&id).await.status, Status::Cancelled);
        assert_eq!(stack.site.cancel(&id).await.unwrap_err()["status"], 409, "it has ended");
        invariants::check(&stack.site, &id, &before).await.unwrap();
    });
}
