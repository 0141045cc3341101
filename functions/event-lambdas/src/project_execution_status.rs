//! EventBridge's "Step Functions Execution Status Change": the end of an execution becomes the end of its record.

use contracts::WorkflowKind;
use contracts::step::WorkflowRef;
use engine::{ExternalEngine, Standing};
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};
use store::EndRecorder;

use crate::{Error, Ports};

/// What we read of the event.
#[derive(Debug, Deserialize)]
struct StatusChange {
    detail: Detail,
}

#[derive(Debug, Deserialize)]
struct Detail {
    /// The execution's id.
    name: String,
    status: String,
}

/// Serves the event source.
pub async fn serve() -> Result<(), Error> {
    let ports = Ports::of_process()?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| handle(&ports, event.payload).await)).await
}

/// Events come late, twice, or not at all, and leave out what is large: the engine itself says how it ended.
async fn handle(ports: &Ports, event: Value) -> Result<Value, Error> {
    let StatusChange { detail } = serde_json::from_value(event)?;
    let kind = WorkflowKind::ALL.into_iter().find(|kind| detail.name.starts_with(&format!("{kind}_")));
    let Some(kind) = kind else {
        tracing::warn!(name = detail.name, "not an execution of ours");
        return Ok(json!({ "recorded": false }));
    };
    let Standing::Ended { end, at, input } = ports.engine.describe(kind, &detail.name).await? else {
        return Err(format!("{} is {}, but its engine does not say so", detail.name, detail.status).into());
    };
    let workflow: WorkflowRef = serde_json::from_value(input["workflow"].clone())?;
    let recorded = ports.store.record_end(&workflow.tenant_id, &detail.name, &end, at).await?;
    Ok(json!({ "recorded": recorded }))
}
