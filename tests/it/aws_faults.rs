//! What can go wrong around the deployed shape: the services, the events, the starts, AWS itself.

use std::sync::Arc;
use std::time::Duration;

use contracts::Status;
use futures::future::join_all;
use http::StatusCode;
use reference_services::Fault;
use serde_json::{Value, json};
use store::Executions as _;
use tokio::sync::Semaphore;

use crate::aws::{self, Aws, Options, StatusEvents};
use crate::fault_matrix::{CallSite, SITES, faults};
use crate::invariants;
use crate::process::pause;
use crate::proxy::{Answer, Rule};
use crate::world::{Control, ControlAction, Script, TENANT, full_request};

const START: &str = "/api/v1/workflows/user-onboarding";

/// Executions under way at once: most of what they do is wait.
const AT_ONCE: usize = 8;

/// Runs all of them, some at a time; what went wrong.
async fn all<F>(tasks: impl Iterator<Item = (String, F)>) -> Vec<String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let spawned: Vec<_> = tasks
        .map(|(name, task)| {
            let turns = Arc::clone(&turns);
            let guarded = async move {
                let _turn = turns.acquire().await.unwrap();
                task.await
            };
            (name, tokio::spawn(guarded))
        })
        .collect();
    let mut wrong = Vec::new();
    for (name, task) in spawned {
        if let Err(why) = task.await.unwrap_or_else(|panic| Err(panic.to_string())) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    wrong
}

async fn cell(aws: &'static Aws, site: CallSite, fault: Fault, times: Option<u64>) -> Result<(), String> {
    let mut stack = aws.stack(Options { script: site.script(), ..Options::default() }).await;
    let before = stack.site.snapshot().await;
    let fault = match fault {
        Fault::LateDelivery { .. } => {
            stack.site.settling_time = Duration::from_secs(20);
            Fault::LateDelivery { delay_ms: 15_000 }
        }
        other => other,
    };
    stack.site.faults(&site.faulty(fault, times));
    let id = stack.site.start(&full_request()).await;
    stack.site.until_ended(&id).await;
    if stack.site.services.faults_fired(site.kind()) == [0] {
        return Err("the fault never happened".to_owned());
    }
    invariants::check(&stack.site, &id, &before).await.map(drop)
}

/// One call site sees every class of fault; `AWS_MATRIX=full` lets all of them see all, once and for ever.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn every_class_of_fault_keeps_the_invariants() {
    let full = std::env::var("AWS_MATRIX").is_ok_and(|matrix| matrix == "full");
    let sites: Vec<CallSite> = SITES.into_iter().filter(|site| full || site.name == "CreateUserProfile").collect();
    let times = if full { vec![Some(1), None] } else { vec![Some(1)] };
    aws::run(|aws| async move {
        let cells = sites.iter().flat_map(|site| faults().into_iter().map(move |(name, fault)| (*site, name, fault)));
        let cells: Vec<_> = cells
            .flat_map(|(site, name, fault)| times.iter().map(move |times| (site, name, fault.clone(), *times)))
            .collect();
        let count = cells.len();
        let violations = all(cells.into_iter().map(|(site, name, fault, times)| {
            let when = if times.is_some() { "once" } else { "for ever" };
            (format!("{} x {name} x {when}", site.name), cell(aws, site, fault, times))
        }))
        .await;
        println!("{count} cells, {} violations", violations.len());
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    });
}

#[test]
fn a_cancel_during_any_step_undoes_everything_or_comes_too_late() {
    async fn cancel(aws: &'static Aws, step: &workflows::Step) -> Result<(), String> {
        let cancel = Control { during: step.state.to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
        let script = Script { control: vec![cancel], ..Script::default() };
        let stack = aws.stack(Options { script, ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let id = stack.site.start(&full_request()).await;
        stack.site.until_ended(&id).await;
        let status = invariants::check(&stack.site, &id, &before).await?;
        let expected = if step.is_pivot { Status::Completed } else { Status::Cancelled };
        if status.status == expected { Ok(()) } else { Err(format!("ended {}", status.status)) }
    }
    let steps = workflows::workflow(contracts::WorkflowKind::UserOnboarding).unwrap().steps;
    aws::run(|aws| async move {
        let wrong = all(steps.iter().map(|step| (step.state.to_owned(), cancel(aws, step)))).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn fifty_starts_with_one_key_are_one_execution() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options::default()).await;
        let before = stack.site.snapshot().await;
        let (request, key) = (full_request(), [("idempotency-key", "key-1")]);
        let answers = join_all((0..50).map(|_| stack.site.post(START, &request, &key))).await;
        let ids: Vec<&Value> = answers.iter().map(|(_, body)| &body["workflow_id"]).collect();
        assert!(answers.iter().all(|(status, _)| status.is_success()), "{answers:?}");
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let id = ids[0].as_str().unwrap();
        stack.site.until_ended(id).await;
        invariants::check(&stack.site, id, &before).await.unwrap();
        assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], 1);
        let mut other = request.clone();
        other["role"] = json!("admin");
        assert_eq!(stack.site.post(START, &other, &key).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

/// Invokes the reconciler until it has found something; executions younger than a minute are not its business.
pub(crate) async fn reconciled(stack: &aws::Stack) -> Value {
    for _ in 0..80 {
        let found = stack.invoke("reconcile-executions", json!({})).await.unwrap();
        if found != json!({ "started": 0, "ended": 0, "failed": 0 }) {
            return found;
        }
        pause(Duration::from_secs(1)).await;
    }
    panic!("the reconciler finds nothing");
}

#[test]
fn events_and_starts_that_are_lost_are_found() {
    async fn lost_end(aws: &'static Aws) -> Result<(), String> {
        let stack = aws.stack(Options { status_events: StatusEvents::Lost, ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let id = stack.site.start(&full_request()).await;
        assert_eq!(reconciled(&stack).await, json!({ "started": 0, "ended": 1, "failed": 0 }));
        assert_eq!(stack.site.until_ended(&id).await.status, Status::Completed);
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    async fn doubled_end(aws: &'static Aws) -> Result<(), String> {
        let stack = aws.stack(Options { status_events: StatusEvents::Doubled, ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let id = stack.site.start(&full_request()).await;
        stack.site.until_ended(&id).await;
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    async fn lost_start(aws: &'static Aws) -> Result<(), String> {
        let nowhere = ("start-user-onboarding", "AWS_ENDPOINT_URL_SFN", "http://127.0.0.1:1".to_owned());
        let stack = aws.stack(Options { overrides: vec![nowhere], ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let id = stack.site.start(&full_request()).await;
        assert_eq!(stack.store.get(TENANT, &id).await.unwrap().unwrap().status, Status::Pending);
        assert_eq!(reconciled(&stack).await, json!({ "started": 1, "ended": 0, "failed": 0 }));
        stack.site.until_ended(&id).await;
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    async fn full_engine(aws: &'static Aws) -> Result<(), String> {
        let stack = aws.stack(Options { proxied: true, ..Options::default() }).await;
        let before = stack.site.snapshot().await;
        let full = Answer::Error("ExecutionLimitExceeded", 400);
        let rule = Rule { operation: "StartExecution", skip: 0, times: 1, answer: full };
        stack.proxies.as_ref().unwrap().sfn.script(vec![rule]);
        let id = stack.site.start(&full_request()).await;
        assert_eq!(reconciled(&stack).await, json!({ "started": 1, "ended": 0, "failed": 0 }));
        stack.site.until_ended(&id).await;
        invariants::check(&stack.site, &id, &before).await.map(drop)
    }
    type Task = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
    aws::run(|aws| async move {
        let tasks: Vec<(String, Task)> = vec![
            ("a lost end".to_owned(), Box::pin(lost_end(aws))),
            ("a doubled end".to_owned(), Box::pin(doubled_end(aws))),
            ("a lost start".to_owned(), Box::pin(lost_start(aws))),
            ("a start that the engine refused".to_owned(), Box::pin(full_engine(aws))),
        ];
        let wrong = all(tasks.into_iter()).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Short of something, AWS refuses; the functions repeat what can be repeated, and otherwise say so.
#[test]
fn what_aws_refuses_is_repeated_or_said() {
    const THROTTLED: Answer = Answer::Error("ProvisionedThroughputExceededException", 400);
    let rule = |operation, skip, times, answer| Rule { operation, skip, times, answer };
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
                ],
            ),
            (
                "answers lost",
                vec![rule("TransactWriteItems", 0, 2, Answer::Lost), rule("UpdateItem", 0, 2, Answer::Lost)],
            ),
        ];
        for (number, (name, rules)) in tables.into_iter().enumerate() {
            proxies.dynamodb.script(rules);
            let mut request = full_request();
            request["user_email"] = json!(format!("user-{number}@example.com"));
            let id = stack.site.start(&request).await;
            assert_eq!(stack.site.until_ended(&id).await.status, Status::Completed, "{name}");
        }
        let engine = [("throttled", Answer::Error("ThrottlingException", 400)), ("its answer lost", Answer::Lost)];
        for (number, (name, answer)) in engine.into_iter().enumerate() {
            proxies.sfn.script(vec![rule("StartExecution", 0, 1, answer)]);
            let mut request = full_request();
            request["user_email"] = json!(format!("engine-{number}@example.com"));
            let id = stack.site.start(&request).await;
            assert_eq!(stack.site.until_ended(&id).await.status, Status::Completed, "{name}");
        }
        let emails = stack.site.snapshot().await["auth"].to_string().matches("@example.com").count();
        let emails_before = before["auth"].to_string().matches("@example.com").count();
        assert_eq!(emails - emails_before, 5, "each was started once");

        // For good: said at once, and nothing is there.
        proxies.dynamodb.script(vec![rule("TransactWriteItems", 0, 100, THROTTLED)]);
        let count = stack.site.get("/api/v1/workflows").await.1["total_count"].clone();
        let (status, problem) = stack.site.post(START, &full_request(), &[]).await;
        assert_eq!((status, &problem["retryable"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(true)), "{problem}");
        proxies.dynamodb.script(Vec::new());
        assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], count, "nothing half-written");
    });
}
