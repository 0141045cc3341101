//! What surrounds an activity in a Lambda function: the same harness as everywhere, on the record in DynamoDB.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use activities::{Activities, Activity};
use aws_clients::Clients;
use clock::{SharedClock, SystemClock};
use contracts::{ActivityError, ErrorName};
use downstream::{Downstream, Endpoints, HttpTransport};
use futures::FutureExt as _;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use settings::{Aws, FunctionSettings, KeysPlace};
use store_aws::{DynamoStore, S3Blobs};
use vault::{KeyFilePath, Keys, NoKeys};

pub use aws_clients::Error;

/// The longest that one call to a service may take. Below the function's own limit by more than the longest
/// `Retry-After` that an attempt grants.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves an activity. An error's name is the function error's `errorType`, which is what the state machine's `Retry` and
/// `Catch` look at; its cause is the `errorMessage`.
pub async fn serve(activity: &'static Activity) -> Result<(), Error> {
    aws_clients::log();
    let surroundings = settings::of_function(Surroundings::of)?;
    let clients = Clients::of_function(surroundings.aws.clone());
    run(activity, surroundings, &clients, Arc::new(NoKeys("this function has no keys"))).await
}

/// Serves an activity that uses the installation's keys. Only its function has the client of KMS, and the rights.
pub async fn serve_with_keys(activity: &'static Activity) -> Result<(), Error> {
    aws_clients::log();
    let (surroundings, place) = settings::of_function(|settings| (Surroundings::of(settings), settings.keys()))?;
    let clients = Clients::of_function(surroundings.aws.clone());
    let keys: Arc<dyn Keys> = match place {
        KeysPlace::Kms { wrapping_key, signing_key } => Arc::new(clients.keys(wrapping_key, signing_key)),
        KeysPlace::File(path) => Arc::new(KeyFilePath::new(path)),
    };
    run(activity, surroundings, &clients, keys).await
}

/// What every activity's function has.
struct Surroundings {
    aws: Aws,
    table: String,
    bucket: String,
    endpoints: Endpoints,
}

impl Surroundings {
    fn of(settings: &mut FunctionSettings) -> Self {
        Self {
            aws: settings.aws(),
            table: settings.table(),
            bucket: settings.bucket(),
            endpoints: settings.endpoints(),
        }
    }
}

async fn run(
    activity: &'static Activity,
    surroundings: Surroundings,
    clients: &Clients,
    keys: Arc<dyn Keys>,
) -> Result<(), Error> {
    let Surroundings { table, bucket, endpoints, .. } = surroundings;
    let clock: SharedClock = Arc::new(SystemClock);
    let dynamodb = clients.dynamodb();
    let blobs = Arc::new(S3Blobs::new(clients.s3(), bucket));
    let recorder = DynamoStore::new(|| dynamodb, table, Arc::clone(&clock));
    let transport = Arc::new(HttpTransport::default());
    let downstream = Downstream::new(transport, endpoints, Arc::clone(&clock), CALL_TIMEOUT);
    let records = Arc::new(recorder.clone());
    let dataset = Arc::new(|| settings::dataset(None).map(Arc::new).map_err(|error| error.to_string()));
    let activities = Activities::new(downstream, blobs, records, keys, dataset, clock);
    let attempt = async |event: LambdaEvent<Value>| told(activities.attempt(activity, event.payload, &recorder)).await;
    lambda_runtime::run(service_fn(attempt)).await
}

/// What Step Functions is told of an attempt.
async fn told(attempt: impl Future<Output = Result<Value, ActivityError>>) -> Result<Value, Diagnostic> {
    let panicked = |_| Err(ActivityError::new(ErrorName::Internal, "the activity panicked"));
    let outcome = AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(panicked);
    outcome.map_err(|error| Diagnostic { error_message: error.cause_text(), error_type: error.error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_a_name() {
        let panicking = async { if true { panic!("as scripted") } else { Ok(Value::Null) } };
        let diagnostic = told(panicking).await.expect_err("it panicked");
        assert_eq!(diagnostic.error_type, "Internal");
        assert!(diagnostic.error_message.contains("the activity panicked"), "{}", diagnostic.error_message);
        assert_eq!(told(async { Ok(Value::Bool(true)) }).await.ok(), Some(Value::Bool(true)), "the next one works");
    }
}
