//! POST /api/v1/workflows/user-onboarding, the way a function is written that takes things as they come.

use std::sync::Arc;
use std::time::Duration;

use api::{Access, Api, Starting, Streaming};
use clock::{SharedClock, SystemClock};
use contracts::{EngineKind, WorkflowKind};
use engine::Engines;
use engine_stepfunctions::StepFunctions;
use lambda_http::Error;
use store_aws::{DynamoStore, S3Blobs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_from_env().await;
    let (dynamodb, sfn) = (aws_sdk_dynamodb::Client::new(&config), aws_sdk_sfn::Client::new(&config));
    let machine = std::env::var("WORKFLOW__ENGINE__STATE_MACHINE_PREFIX")? + "user-onboarding";
    let table = std::env::var("WORKFLOW__STORE__TABLE")?;
    let clock: SharedClock = Arc::new(SystemClock);
    let store = Arc::new(DynamoStore::new(|| dynamodb, table, Arc::clone(&clock)));
    let blobs = S3Blobs::new(aws_sdk_s3::Client::new(&config), std::env::var("WORKFLOW__STORE__BUCKET")?);
    let engine = StepFunctions::new(|| sfn, [(WorkflowKind::UserOnboarding, machine)].into());
    let api = Api {
        executions: store.clone(),
        history: store.clone(),
        audit: store.clone(),
        engines: Engines::new(vec![Arc::new(engine)]),
        clock: Arc::clone(&clock),
        access: Access::Open,
        request_timeout: Duration::from_secs(28),
        longest_wait: Duration::from_secs(3),
        streaming: Streaming::Unsupported,
    };
    let audit = Arc::clone(&api.audit);
    let starting = Starting {
        api,
        engine: EngineKind::StepFunctions,
        blobs: Arc::new(blobs),
        default_timeout: Duration::from_secs(300),
        durations: Arc::default(),
        backups: store.clone(),
        erasures: store,
    };
    let routes = api::start_user_onboarding::route().with_state(starting);
    lambda_http::run(api::complete(routes, clock, Duration::from_secs(28), Some(audit))).await
}
