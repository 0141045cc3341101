//! Every hour: executions that ended long ago go from the table to the archive.

use std::sync::Arc;
use std::time::Duration;

use aws_clients::Clients;
use clock::{SharedClock, SystemClock};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use store_aws::{Archived, DynamoStore, S3Blobs};

use crate::{Error, run, store};

/// Executions that are looked for at once.
const BATCH: u32 = 500;

/// No batch is begun after this; a function has 15 minutes.
const LAST_BEGIN: Duration = Duration::from_secs(10 * 60);

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    aws_clients::log();
    let (aws, table, bucket, retention) =
        settings::of_function(|settings| (settings.aws(), settings.table(), settings.bucket(), settings.retention()))?;
    let clock: SharedClock = Arc::new(SystemClock);
    let clients = Clients::of_function(aws);
    let blobs = S3Blobs::new(clients.s3(), bucket);
    let store = store(&clients, table, &clock);
    let handle = async |_: LambdaEvent<Value>| handle(&store, &blobs, &clock, retention).await;
    run(handle).await
}

async fn handle(
    store: &DynamoStore,
    blobs: &S3Blobs,
    clock: &SharedClock,
    retention: Duration,
) -> Result<Value, Error> {
    let (began, ended_before) = (clock.instant(), clock.now() - retention);
    let mut all = Archived::default();
    // What fails stays due, and holds nothing up that is due after it.
    while clock.instant().since(began) <= LAST_BEGIN {
        let batch = store.archive(blobs, ended_before, all.last.as_deref(), BATCH).await?;
        all.executions += batch.executions;
        all.failed += batch.failed;
        all.last = batch.last;
        if all.last.is_none() {
            break;
        }
    }
    let Archived { executions, failed, .. } = all;
    if executions > 0 {
        tracing::info!(executions, failed, "archived");
    }
    match failed {
        0 => Ok(json!({ "executions": executions, "failed": failed })),
        // For the alarm on the function's errors; why is in the log.
        _ => Err(format!("{failed} executions were not archived, {executions} were").into()),
    }
}
