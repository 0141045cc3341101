//! Temporal as the engine of the deployed shape: a function that others ask Temporal through, a worker inside a function's
//! time limit, activities in their own functions, the record in DynamoDB.

use std::collections::BTreeSet;

use contracts::Status;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::json;
use temporalio_client::{UntypedWorkflow, WorkflowTerminateOptions};

use crate::aws::{self, Options};
use crate::aws_faults::reconciled;
use crate::deployment::{actions, needed};
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
        let refused = FaultRule {
            method: Some("POST".to_owned()),
            route: Some("/api/v1/workspaces".to_owned()),
            tenant: None,
            times: Some(1),
            skip: 0,
            fault: Fault::Status { status: 400, retry_after_seconds: None },
        };
        stack.site.services.set_faults(ServiceKind::File, vec![refused]);
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
