//! What events and schedules start.

pub mod archive_executions;
pub mod project_execution_status;
pub mod reconcile_executions;
pub mod temporal_gateway;
pub mod temporal_worker;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use clock::{SharedClock, SystemClock};
use contracts::ErrorName;
use engine_stepfunctions::StepFunctions;
use futures::FutureExt as _;
use lambda_glue::gateway::TemporalGateway;
use lambda_glue::{Clients, Environment};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;
use serde_json::Value;
use store_aws::DynamoStore;

pub use lambda_glue::Error;

/// What these functions work with.
pub struct Ports {
    /// The records.
    pub store: DynamoStore,
    /// The engine.
    pub engine: StepFunctions,
    /// The other one, where it is deployed.
    pub temporal: Option<TemporalGateway>,
    /// Time.
    pub clock: SharedClock,
}

impl Ports {
    fn of_process() -> Result<Self, Error> {
        lambda_glue::log();
        let mut environment = Environment::of_process();
        let clock: SharedClock = Arc::new(SystemClock);
        let clients = Clients::new(&mut environment);
        let store = DynamoStore::new(clients.dynamodb(), environment.table(), Arc::clone(&clock));
        let engine = StepFunctions::new(clients.sfn(), environment.state_machines());
        let gateway = |function| TemporalGateway::new(clients.functions(), function, Arc::clone(&clock));
        let temporal = environment.temporal_gateway().map(gateway);
        environment.finish()?;
        Ok(Self { store, engine, temporal, clock })
    }
}

/// Serves events. What goes wrong has a name, a panic too; what a panic said is for the log.
pub async fn run<E: DeserializeOwned>(
    handle: impl AsyncFn(LambdaEvent<E>) -> Result<Value, Error>,
) -> Result<(), Error> {
    let told = async |event| {
        let handled = AssertUnwindSafe(handle(event)).catch_unwind().await;
        let handled = handled.unwrap_or_else(|_| Err("the function panicked".into()));
        let error_type = ErrorName::Internal.to_string();
        handled.map_err(|error| Diagnostic { error_type, error_message: error.to_string() })
    };
    lambda_runtime::run(service_fn(told)).await
}
