//! Every hour: somebody is told of requests of persons whose time for an answer is nearly over, or over.

use std::sync::Arc;
use std::time::Duration;

use api::{Notified, notify_due_requests};
use aws_clients::Clients;
use clock::{SharedClock, SystemClock};
use downstream::{Downstream, HttpTransport};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use store_aws::DynamoStore;

use crate::{Error, run, store};

/// The longest that one call to a service may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the metric is.
const NAMESPACE: &str = "WorkflowService";

/// Serves the schedule.
pub async fn serve() -> Result<(), Error> {
    aws_clients::log();
    let (aws, table, endpoints, to) =
        settings::of_function(|settings| (settings.aws(), settings.table(), settings.endpoints(), settings.notify()))?;
    let clock: SharedClock = Arc::new(SystemClock);
    let store = store(&Clients::of_function(aws), table, &clock);
    let downstream = Downstream::new(Arc::new(HttpTransport::default()), endpoints, Arc::clone(&clock), CALL_TIMEOUT);
    run(async |_: LambdaEvent<Value>| handle(&store, &downstream, to.as_deref(), &clock).await).await
}

async fn handle(
    store: &DynamoStore,
    downstream: &Downstream,
    to: Option<&str>,
    clock: &SharedClock,
) -> Result<Value, Error> {
    let Notified { sent, logged, failed } = notify_due_requests(store, downstream, to, &**clock).await?;
    tracing::info!(sent, logged, failed, "requests of persons that are due");
    // CloudWatch reads the metric out of the log.
    println!("{}", metric(clock.now().as_millisecond(), sent + logged));
    match failed {
        0 => Ok(json!({ "sent": sent, "logged": logged })),
        // For the alarm on the function's errors; why is in the log.
        _ => Err(format!("{failed} notices were not given, {} were", sent + logged).into()),
    }
}

/// How many notices were given, in CloudWatch's embedded metric format.
fn metric(at_ms: i64, notices: usize) -> Value {
    const NAME: &str = "DataRequestNotices";
    let metrics =
        json!([{ "Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": [{ "Name": NAME, "Unit": "Count" }] }]);
    let mut line = json!({ "_aws": { "Timestamp": at_ms, "CloudWatchMetrics": metrics } });
    line[NAME] = notices.into();
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_is_in_the_format_that_cloudwatch_reads() {
        let line = metric(1_700_000_000_000, 3);
        assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_000_i64);
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!((&metrics["Namespace"], &metrics["Dimensions"]), (&json!("WorkflowService"), &json!([[]])));
        let name = metrics["Metrics"][0]["Name"].as_str().expect("it has a name");
        assert_eq!(line[name], 3);
    }
}
