//! Clients of AWS, made from the environment that Lambda gives every function. There are no profiles, files or metadata
//! services to ask, so none of the SDK's configuration loading is linked: it would be the larger part of a cold start.

use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

use crate::Environment;

/// One try of a request; all tries of it. API Gateway gives 30 s in all, and an activity's own limit is longer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ATTEMPTS: u32 = 4;

/// What all clients are made from.
pub struct Clients {
    region: Region,
    credentials: Credentials,
    dynamodb_endpoint: Option<String>,
    sfn_endpoint: Option<String>,
    s3_endpoint: Option<String>,
}

impl Clients {
    /// From the variables that Lambda sets, and `AWS_ENDPOINT_URL_*` where AWS is played by something else.
    pub fn new(environment: &mut Environment) -> Self {
        // Fixed for the life of an execution environment; Lambda starts another one before they expire.
        let session_token = environment.optional("AWS_SESSION_TOKEN").map(str::to_owned);
        let credentials = Credentials::new(
            environment.required("AWS_ACCESS_KEY_ID"),
            environment.required("AWS_SECRET_ACCESS_KEY"),
            session_token,
            None,
            "environment",
        );
        let endpoint = |name: &str| {
            let of_service = environment.optional(name);
            of_service.or_else(|| environment.optional("AWS_ENDPOINT_URL")).map(str::to_owned)
        };
        let dynamodb_endpoint = endpoint("AWS_ENDPOINT_URL_DYNAMODB");
        let sfn_endpoint = endpoint("AWS_ENDPOINT_URL_SFN");
        let s3_endpoint = endpoint("AWS_ENDPOINT_URL_S3");
        let region = Region::new(environment.required("AWS_REGION"));
        Self { region, credentials, dynamodb_endpoint, sfn_endpoint, s3_endpoint }
    }

    /// Makes a client of DynamoDB, when it is called for.
    pub fn dynamodb(&self) -> impl FnOnce() -> aws_sdk_dynamodb::Client + Send + 'static {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .retry_config(retries())
            .timeout_config(timeouts());
        let config = match &self.dynamodb_endpoint {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        || aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// Makes a client of Step Functions, when it is called for.
    pub fn sfn(&self) -> impl FnOnce() -> aws_sdk_sfn::Client + Send + 'static {
        let config = aws_sdk_sfn::Config::builder()
            .behavior_version(aws_sdk_sfn::config::BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .retry_config(retries())
            .timeout_config(timeouts());
        let config = match &self.sfn_endpoint {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        || aws_sdk_sfn::Client::from_conf(config.build())
    }

    /// Makes a client of S3, when it is called for.
    pub fn s3(&self) -> impl FnOnce() -> aws_sdk_s3::Client + Send + 'static {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .retry_config(retries())
            .timeout_config(timeouts());
        let config = match &self.s3_endpoint {
            // What plays S3 has no host name for each bucket.
            Some(endpoint) => config.endpoint_url(endpoint).force_path_style(true),
            None => config,
        };
        || aws_sdk_s3::Client::from_conf(config.build())
    }
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}
