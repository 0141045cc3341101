//! Every minute: starts that never reached Step Functions, ends that nobody recorded.

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};

use crate::{Error, Ports};

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    let ports = Ports::of_process()?;
    lambda_runtime::run(service_fn(async |_: LambdaEvent<Value>| handle(&ports).await)).await
}

async fn handle(ports: &Ports) -> Result<Value, Error> {
    let reconciled = engine::reconcile(&ports.store, &ports.store, &[&ports.engine], &*ports.clock).await?;
    if reconciled != engine::Reconciled::default() {
        tracing::warn!(?reconciled, "executions were not as recorded");
    }
    Ok(json!({ "started": reconciled.started, "ended": reconciled.ended, "failed": reconciled.failed }))
}
