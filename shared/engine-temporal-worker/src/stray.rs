//! Workflows of a type that no worker knows: the server would offer them for ever. They are ended, with the reason.

use std::time::Duration;

use clock::SharedClock;
use futures::StreamExt as _;
use temporalio_client::{
    Client, UntypedWorkflow, WorkflowDescribeOptions, WorkflowListOptions, WorkflowTerminateOptions,
};

use crate::Options;
use crate::range::RANGE_TYPE;

/// How often it is looked for them.
const INTERVAL: Duration = Duration::from_secs(10);

/// So often a worker has failed to begin it: in a deployment that goes on, a newer one would have begun it meanwhile.
const MIN_ATTEMPTS: i32 = 3;

/// Ends them, for as long as the worker works.
pub(crate) async fn end_strays(client: Client, options: Options, clock: SharedClock) {
    let known = options.workflows.iter().map(String::as_str).chain([RANGE_TYPE]);
    let known: String = known.map(|name| format!(" AND WorkflowType != '{}'", name.replace('\'', ""))).collect();
    let queue = options.task_queue.replace('\'', "");
    let query = format!("TaskQueue = '{queue}' AND ExecutionStatus = 'Running'{known}");
    loop {
        clock::sleep(&*clock, INTERVAL).await;
        let mut found = client.list_workflows(query.clone(), WorkflowListOptions::default());
        while let Some(workflow) = found.next().await {
            match workflow {
                Ok(workflow) => end_stray(&client, workflow.id(), workflow.workflow_type(), &options).await,
                Err(error) => {
                    tracing::warn!(%error, "workflows of unknown types cannot be looked for");
                    break;
                }
            }
        }
    }
}

async fn end_stray(client: &Client, id: &str, workflow_type: &str, options: &Options) {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(id);
    let described = match handle.describe(WorkflowDescribeOptions::default()).await {
        Ok(described) => described,
        Err(error) => return tracing::warn!(id, %error, "a workflow of an unknown type cannot be described"),
    };
    let attempts = described.raw().pending_workflow_task.as_ref().map_or(0, |task| task.attempt);
    if attempts < MIN_ATTEMPTS {
        return;
    }
    let known: Vec<&str> = options.workflows.iter().map(String::as_str).collect();
    let reason = format!("there is no workflow type '{workflow_type}', only {}", known.join(", "));
    tracing::error!(id, reason, "the workflow is ended");
    if let Err(error) = handle.terminate(WorkflowTerminateOptions::builder().reason(reason).build()).await {
        tracing::warn!(id, %error, "a workflow of an unknown type cannot be ended");
    }
}
