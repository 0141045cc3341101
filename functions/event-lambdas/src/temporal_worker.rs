//! Every minute: a worker of the Temporal engine that works until shortly before its function's time is up. The next one
//! has begun by then; what a worker has not finished, the server gives to another.

use std::sync::Arc;
use std::time::Duration;

use aws_clients::{Clients, InvokedActivities};
use clock::{SharedClock, SystemClock, Timestamp};
use engine_temporal_worker::{Options, Ports, run};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use settings::{Aws, FunctionSettings, TemporalServer};
use store_aws::S3Blobs;

use crate::temporal_gateway::connector;
use crate::{Error, store};

/// What is under way may take so long to finish; then it is given back.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

/// Kept free before the function is stopped, besides.
const MARGIN: Duration = Duration::from_secs(5);

/// What it is told.
struct WorkerSettings {
    aws: Aws,
    table: String,
    bucket: String,
    server: TemporalServer,
    task_queue: String,
    function_prefix: String,
}

impl WorkerSettings {
    fn read(settings: &mut FunctionSettings) -> Self {
        Self {
            aws: settings.aws(),
            table: settings.table(),
            bucket: settings.bucket(),
            server: settings.temporal_server(),
            task_queue: settings.task_queue(),
            function_prefix: settings.function_prefix(),
        }
    }
}

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    aws_clients::log();
    let WorkerSettings { aws, table, bucket, server, task_queue, function_prefix } =
        settings::of_function(WorkerSettings::read)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let clients = Clients::of_function(aws);
    let secrets = clients.secrets();
    let store = Arc::new(store(&clients, table, &clock));
    let blobs = Arc::new(S3Blobs::new(clients.s3(), bucket));
    let activities = InvokedActivities::new(clients.functions(), function_prefix);
    let ports = Ports {
        runner: Arc::new(activities),
        recorder: store.clone(),
        executions: store.clone(),
        ends: store,
        blobs,
        clock: Arc::clone(&clock),
    };
    let options = Options { grace_period: GRACE_PERIOD, ..Options::new(&task_queue) };
    let handle = async |event: LambdaEvent<Value>| {
        let deadline = Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX);
        let until = deadline.checked_sub(GRACE_PERIOD + MARGIN).unwrap_or(deadline);
        let time = Arc::clone(&clock);
        let stop = async move { clock::sleep(&*time, clock::until(&*time, until)).await };
        let connector = connector(&server, &secrets, &clock).await?;
        run(connector, options.clone(), ports.clone(), || {}, stop).await?;
        Ok::<_, Error>(json!({ "worked_until": clock.now() }))
    };
    crate::run(handle).await
}
