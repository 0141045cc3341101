//! Temporal as the engine of the deployed shape: a function that others ask Temporal through, a worker inside a function's
//! time limit, activities in their own functions, the record in DynamoDB.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use contracts::Status;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::json;
use temporalio_client::{UntypedWorkflow, WorkflowTerminateOptions};
use tokio::process::Command;

use crate::aws::{self, Options};
use crate::aws_faults::reconciled;
use crate::deployment::{actions, needed};
use crate::process::{self, pause};
use crate::temporal::connector;
use crate::world::{full_request, full_request_of};
use crate::{invariants, peers};

#[test]
fn executions_run_in_functions() {
    aws::run(|aws| async move {
        let Some(server) = peers::temporal() else { return };
        // What the worker itself asks of DynamoDB goes under a name of its own.
        let overrides = vec![("temporal-worker", "AWS_ACCESS_KEY_ID", "TemporalWorker".to_owned())];
        let options = Options { temporal: Some(server), overrides, proxied: true, ..Options::default() };
        let stack = aws.stack(options).await;
        let before = stack.site.snapshot().await;
        let work = async || stack.invoke("temporal-worker", json!({})).await.unwrap();

        // One that is undone, so that nothing is left of it.
        let refused = Fault::Status { status: 400, retry_after_seconds: None };
        let rule = FaultRule { times: Some(1), ..FaultRule::on("POST", "/api/v1/workspaces", refused) };
        stack.site.services.set_faults(ServiceKind::File, vec![rule]);
        let id = stack.site.start(&full_request()).await;
        let (_, status) = futures::join!(work(), stack.site.until_ended(&id));
        assert_eq!(status.status, Status::Failed, "{:?}", status.error);
        invariants::check(&stack.site, &id, &before).await.unwrap();

        // Two that one worker begins, and another may have to finish.
        let ids = [stack.site.start(&full_request_of(1)).await, stack.site.start(&full_request_of(2)).await];
        work().await;
        for id in &ids {
            let mut status = stack.site.status(id).await.status;
            if status.is_open() {
                work().await;
                status = stack.site.status(id).await.status;
            }
            assert_eq!(status, Status::Completed);
        }
        invariants::one_effect(&stack.site.ledger().await).unwrap();
        let used: BTreeSet<&str> = stack
            .proxies
            .as_ref()
            .unwrap()
            .dynamodb
            .take()
            .iter()
            .filter(|seen| seen.key == "TemporalWorker")
            .flat_map(actions)
            .collect();
        assert!(used.is_subset(&needed("temporal-worker")) && !used.is_empty(), "{used:?}");

        // One that is terminated at the server: the reconciler hears of it through the gateway.
        let id = stack.site.start(&full_request_of(3)).await;
        let client = connector(server).client().await.unwrap();
        let workflow = client.get_workflow_handle::<UntypedWorkflow>(&id);
        workflow.terminate(WorkflowTerminateOptions::default()).await.unwrap();
        assert_eq!(reconciled(&stack, 1).await, json!({ "started": 0, "ended": 1, "failed": 0 }));
        assert_eq!(stack.site.status(&id).await.status, Status::Terminated);
    });
}

/// Without a server a start is refused before anything is written.
#[test]
fn a_server_that_is_away_refuses_starts() {
    aws::run(|aws| async move {
        let stack = aws.stack(Options { temporal: Some("http://127.0.0.1:1"), ..Options::default() }).await;
        let (status, problem) = stack.site.post("/api/v1/workflows/user-onboarding", &full_request(), &[]).await;
        assert_eq!((status.as_u16(), &problem["retryable"]), (503, &json!(true)), "{problem}");
        assert_eq!(stack.site.get("/api/v1/workflows").await.1["total_count"], 0, "nothing is written");
        let error = stack.invoke("temporal-worker", json!({})).await.unwrap_err();
        assert!(error["errorMessage"].as_str().unwrap().contains("cannot be reached"), "{error}");
    });
}

/// A worker that is a process, beside the functions: it records in their table, and calls them or does their work itself.
#[test]
fn a_worker_may_be_a_process_beside_the_functions() {
    aws::run(|aws| async move {
        let Some(server) = peers::temporal() else { return };
        let stack = aws.stack(Options { temporal: Some(server), ..Options::default() }).await;
        let binary = process::binary().await;
        let spawn = |activities: &str| {
            let is_its = |name: &str| {
                let begins = |prefix: &str| name.starts_with(prefix);
                let store = begins("WORKFLOW__STORE__") && name != "WORKFLOW__STORE__RETENTION_DAYS";
                let functions = activities == "lambda" && name == "WORKFLOW__ENGINE__FUNCTION_PREFIX";
                let others = ["WORKFLOW__TEMPORAL__", "WORKFLOW__SERVICES__", "AWS_"].into_iter().any(begins);
                store || functions || others
            };
            let deployed = aws.lambda.deployment(&stack.prefix).environment.clone();
            let mut worker = Command::new(&binary);
            worker.arg("worker").env_clear().envs(deployed.into_iter().filter(|(name, _)| is_its(name)));
            worker.env("WORKFLOW__TEMPORAL__ACTIVITIES", activities);
            worker.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap()
        };
        let invocations = || {
            let spent = aws.lambda.spent(&stack.prefix);
            let of = |function: &str| spent.get(function).map_or(0, |spent| spent.invocations);
            of("create-user-account")
        };
        let slow = FaultRule::on("POST", "/api/v1/workspaces", Fault::Delay { delay_ms: 4_000 });
        stack.site.services.set_faults(ServiceKind::File, vec![slow]);
        for (number, activities) in ["lambda", "process"].into_iter().enumerate() {
            let before = invocations();
            let id = stack.site.start(&full_request_of(number)).await;
            let mut killed = spawn(activities);
            let mut status = stack.site.status(&id).await;
            while status.progress.unwrap().completed_steps < 4 {
                pause(Duration::from_millis(20)).await;
                status = stack.site.status(&id).await;
            }
            assert_eq!(status.status, Status::Running);
            // What it was at, the next one does.
            killed.kill().await.unwrap();
            let mut worker = spawn(activities);
            let status = stack.site.until_ended(&id).await;
            assert_eq!(status.status, Status::Completed, "{activities}: {:?}", status.error);
            assert_eq!(invocations() > before, activities == "lambda", "{activities}");
            let pid = worker.id().unwrap().to_string();
            assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().await.unwrap().success());
            assert!(worker.wait().await.unwrap().success(), "it stops when it is told");
        }
        invariants::one_effect(&stack.site.ledger().await).unwrap();
    });
}
