//! Every minute: starts that never reached their engine, ends that nobody recorded.

use engine::ExternalEngine;
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};

use crate::{Error, Ports, run};

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    let ports = Ports::of_process()?;
    run(async |_: LambdaEvent<Value>| handle(&ports).await).await
}

async fn handle(ports: &Ports) -> Result<Value, Error> {
    let mut engines: Vec<&dyn ExternalEngine> = vec![&ports.engine];
    engines.extend(ports.temporal.as_ref().map(|temporal| temporal as &dyn ExternalEngine));
    let reconciled = engine::reconcile(&ports.store, &ports.store, &engines, &*ports.clock).await?;
    if reconciled != engine::Reconciled::default() {
        tracing::warn!(?reconciled, "executions were not as recorded");
    }
    let engine::Reconciled { started, ended, failed } = reconciled;
    match failed {
        0 => Ok(json!({ "started": started, "ended": ended, "failed": failed })),
        // For the alarm on the function's errors; why is in the log.
        _ => Err(format!("{failed} executions were not reconciled; {started} were started, {ended} ended").into()),
    }
}
