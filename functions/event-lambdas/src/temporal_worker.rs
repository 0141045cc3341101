//! Every minute: a worker of the Temporal engine that works until shortly before its function's time is up. The next one
//! has begun by then; what a worker has not finished, the server gives to another.

use std::sync::Arc;
use std::time::Duration;

use clock::{SharedClock, SystemClock, Timestamp};
use engine_temporal_worker::{Options, Ports, run};
use lambda_glue::{Clients, Environment, InvokedActivities};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use store_aws::{DynamoStore, S3Blobs};

use crate::Error;
use crate::temporal_gateway::connector;

/// What is under way may take so long to finish; then it is given back.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

/// Kept free before the function is stopped, besides.
const MARGIN: Duration = Duration::from_secs(5);

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    lambda_glue::log();
    let mut environment = Environment::of_process();
    let clients = Clients::new(&mut environment);
    let server = environment.temporal_server();
    let clock: SharedClock = Arc::new(SystemClock);
    let store = Arc::new(DynamoStore::new(clients.dynamodb(), environment.table(), Arc::clone(&clock)));
    let blobs = Arc::new(S3Blobs::new(clients.s3(), environment.archive_bucket()));
    let activities = InvokedActivities::new(clients.functions(), environment.activity_functions());
    environment.finish()?;
    let ports = Ports {
        runner: Arc::new(activities),
        recorder: store.clone(),
        executions: store.clone(),
        ends: store,
        blobs,
        clock: Arc::clone(&clock),
    };
    let options = Options { grace_period: GRACE_PERIOD, ..Options::new(&server.task_queue) };
    let handle = async |event: LambdaEvent<Value>| {
        let deadline = Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX);
        let until = deadline.checked_sub(GRACE_PERIOD + MARGIN).unwrap_or(deadline);
        let time = Arc::clone(&clock);
        let stop = async move { clock::sleep_until(&*time, until).await };
        run(connector(&server, &clients, &clock).await?, options.clone(), ports.clone(), stop).await?;
        Ok::<_, Error>(json!({ "worked_until": clock.now() }))
    };
    crate::run(handle).await
}
