//! Every minute: starts that never reached their engine, ends that nobody recorded.

use std::sync::Arc;

use aws_clients::gateway::TemporalGateway;
use engine::{Engine, Engines};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};

use crate::{Error, PortSettings, Ports, run};

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    aws_clients::log();
    let (ports, gateway) = settings::of_function(|settings| {
        let gateway = settings.has_temporal().then(|| settings.temporal_gateway());
        (PortSettings::read(settings), gateway)
    })?;
    let (ports, clients) = ports.open();
    let mut engines: Vec<Arc<dyn Engine>> = vec![Arc::new(ports.engine.clone())];
    if let Some(gateway) = gateway {
        engines.push(Arc::new(TemporalGateway::new(clients.functions(), gateway, Arc::clone(&ports.clock))));
    }
    let engines = Engines::new(engines);
    run(async |_: LambdaEvent<Value>| handle(&ports, &engines).await).await
}

async fn handle(ports: &Ports, engines: &Engines) -> Result<Value, Error> {
    let reconciled = engine::reconcile(&ports.store, &ports.store, engines, &*ports.clock).await?;
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
