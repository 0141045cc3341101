//! EventBridge's "Step Functions Execution Status Change": the end of an execution becomes the end of its record.

use contracts::step::WorkflowRef;
use contracts::{Timestamp, WorkflowKind};
use engine_stepfunctions::{Description, ExecutionStatus};
use futures::FutureExt as _;
use lambda_runtime::LambdaEvent;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{EndRecorder, EngineEnd};

use crate::{Error, PortSettings, Ports, run};

/// What we read of the event.
#[derive(Debug, Deserialize)]
struct StatusChange {
    detail: Detail,
}

/// <https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html>: `input` and `output` are JSON as
/// text, and left out, which their details say, when they are above 248 KB. What is null or missing is not known.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    /// The execution's id.
    name: String,
    status: String,
    /// In milliseconds.
    stop_date: Option<i64>,
    input: Option<String>,
    input_details: Option<Included>,
    output: Option<String>,
    output_details: Option<Included>,
    error: Option<String>,
    cause: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Included {
    included: bool,
}

/// How an execution ended, when, and whose it was.
struct ToldEnd {
    end: EngineEnd,
    at: Timestamp,
    workflow: WorkflowRef,
}

impl Detail {
    /// What the event says by itself; none if it leaves something out.
    fn ended(&self) -> Option<ToldEnd> {
        let parts = [(&self.input, &self.input_details), (&self.output, &self.output_details)];
        let [input, output] = parts.map(|(text, details)| {
            let is_whole = details.as_ref().is_none_or(|details| details.included);
            text.as_deref().filter(|_| is_whole)
        });
        let status = ExecutionStatus::from(self.status.as_str());
        let is_told = match status {
            ExecutionStatus::Succeeded => output.is_some(),
            ExecutionStatus::Failed => self.error.is_some() && self.cause.is_some(),
            _ => true,
        };
        let end = engine_stepfunctions::end(&status, output, self.error.as_deref(), self.cause.as_deref());
        let at = Timestamp::from_millisecond(self.stop_date?).ok()?;
        let workflow = workflow(&serde_json::from_str(input?).ok()?).ok()?;
        Some(ToldEnd { end: end.filter(|_| is_told)?, at, workflow })
    }
}

fn workflow(input: &Value) -> serde_json::Result<WorkflowRef> {
    serde_json::from_value(input["workflow"].clone())
}

/// Serves the event source.
pub async fn serve() -> Result<(), Error> {
    aws_clients::log();
    let (ports, _) = settings::of_function(PortSettings::read)?.open();
    run(async |event: LambdaEvent<Value>| handle(&ports, event.payload).await).await
}

/// Events come late, twice, or not at all. What one leaves out is asked of the engine, whose quota for that is far below
/// the rate of events.
async fn handle(ports: &Ports, event: Value) -> Result<Value, Error> {
    let StatusChange { detail } = serde_json::from_value(event)?;
    let kind = WorkflowKind::of_execution(&detail.name);
    let Some(kind) = kind else {
        tracing::warn!(name = detail.name, "not an execution of ours");
        return Ok(json!({ "recorded": false }));
    };
    let ended = match detail.ended() {
        Some(ended) => ended,
        None => asked(ports, kind, &detail).await?,
    };
    let recorded = ports.store.record_end(&ended.workflow.tenant_id, &detail.name, &ended.end, ended.at, None).await?;
    Ok(json!({ "recorded": recorded }))
}

async fn asked(ports: &Ports, kind: WorkflowKind, detail: &Detail) -> Result<ToldEnd, Error> {
    // Boxed: with the SDK's own the function's future would nest too deep for the compiler.
    match ports.engine.description(kind, &detail.name).boxed().await? {
        Some(Description { input, end: Some((end, at)) }) => Ok(ToldEnd { end, at, workflow: workflow(&input)? }),
        Some(_) | None => Err(format!("{} is {}, but its engine does not say so", detail.name, detail.status).into()),
    }
}
