//! Every hour: executions that ended long ago go from the table to the archive.

use std::sync::Arc;
use std::time::Duration;

use clock::{SharedClock, SystemClock};
use lambda_glue::{Clients, Environment};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use store_aws::{Archived, DynamoStore, S3Blobs};

use crate::Error;

/// Executions that are looked for at once.
const BATCH: u32 = 500;

/// No batch is begun after this; a function has 15 minutes.
const LAST_BEGIN: Duration = Duration::from_secs(10 * 60);

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    lambda_glue::log();
    let mut environment = Environment::of_process();
    let clock: SharedClock = Arc::new(SystemClock);
    let clients = Clients::new(&mut environment);
    let blobs = S3Blobs::new(clients.s3(), environment.archive_bucket());
    let store = DynamoStore::new(clients.dynamodb(), environment.table(), Arc::clone(&clock));
    let retention = environment.retention();
    environment.finish()?;
    let handle = async |_: LambdaEvent<Value>| handle(&store, &blobs, &clock, retention).await;
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(
    store: &DynamoStore,
    blobs: &S3Blobs,
    clock: &SharedClock,
    retention: Duration,
) -> Result<Value, Error> {
    let began = clock.now();
    let ended_before = began - retention;
    let mut all = Archived::default();
    loop {
        let batch = store.archive(blobs, ended_before, BATCH).await?;
        all.executions += batch.executions;
        all.failed += batch.failed;
        let is_late = clock.now().duration_since(began).unsigned_abs() > LAST_BEGIN;
        if is_late || batch.failed > 0 || batch.executions == 0 {
            break;
        }
    }
    if all != Archived::default() {
        tracing::info!(executions = all.executions, failed = all.failed, "archived");
    }
    Ok(json!(all))
}
