//! What events and schedules start.

pub mod archive_executions;
pub mod keep_backups;
pub mod notify_due_requests;
pub mod project_execution_status;
pub mod reconcile_executions;
pub mod temporal_gateway;
pub mod temporal_worker;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use aws_clients::Clients;
use clock::{SharedClock, SystemClock};
use contracts::{ErrorName, WorkflowKind};
use engine_stepfunctions::StepFunctions;
use futures::FutureExt as _;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;
use serde_json::Value;
use settings::{Aws, FunctionSettings};
use store_aws::DynamoStore;

pub use aws_clients::Error;

/// What functions about the ends of executions work with.
pub struct Ports {
    /// The records.
    pub store: DynamoStore,
    /// The engine.
    pub engine: StepFunctions,
    /// Time.
    pub clock: SharedClock,
}

/// What they are told.
struct PortSettings {
    aws: Aws,
    table: String,
    machines: BTreeMap<WorkflowKind, String>,
}

impl PortSettings {
    fn read(settings: &mut FunctionSettings) -> Self {
        Self { aws: settings.aws(), table: settings.table(), machines: settings.state_machines() }
    }

    /// The ports, and what other clients are made from.
    fn open(self) -> (Ports, Clients) {
        let clients = Clients::of_function(self.aws);
        let clock: SharedClock = Arc::new(SystemClock);
        let sfn = clients.sfn();
        let engine = StepFunctions::new(|| sfn, self.machines);
        (Ports { store: store(&clients, self.table, &clock), engine, clock }, clients)
    }
}

fn store(clients: &Clients, table: String, clock: &SharedClock) -> DynamoStore {
    let dynamodb = clients.dynamodb();
    DynamoStore::new(|| dynamodb, table, Arc::clone(clock))
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
