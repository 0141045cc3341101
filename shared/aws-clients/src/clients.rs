//! Clients of AWS. A function makes them from the environment that Lambda gives it: there are no profiles, files or metadata
//! services to ask, so none of the SDK's configuration loading is linked, which would be the larger part of a cold start.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_types::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use settings::Aws;

use crate::http::{CONNECT_TIMEOUT, http_client};
use crate::{Functions, KmsKeys, Secrets};

/// One try of a request; all tries of it. API Gateway gives 30 s in all, and an activity's own limit is longer.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ATTEMPTS: u32 = 4;

/// What all clients are made from.
#[derive(Debug, Clone)]
pub struct Clients {
    sdk: SdkConfig,
}

impl Clients {
    /// Of a function.
    pub fn of_function(aws: Aws) -> Self {
        let Aws { region, access_key_id, secret_access_key, session_token, endpoint_urls, has_own_roots } = aws;
        let credentials = Credentials::new(access_key_id, secret_access_key, session_token, None, "environment");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .service_config(EndpointUrls(endpoint_urls))
            .http_client(http_client(has_own_roots));
        Self::new(sdk.build())
    }

    /// From a configuration that says who asks, where, and with which [`http_client`].
    pub fn new(sdk: SdkConfig) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT);
        Self { sdk: sdk.into_builder().retry_config(retries).timeout_config(timeouts.build()).build() }
    }

    /// Of DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk)
    }

    /// Of Step Functions.
    pub fn sfn(&self) -> aws_sdk_sfn::Client {
        aws_sdk_sfn::Client::new(&self.sdk)
    }

    /// Of S3. What plays S3 has no host name for each bucket.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.sdk).force_path_style(self.is_played("S3"));
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Calls functions.
    pub fn functions(&self) -> Functions {
        Functions::new(&self.sdk)
    }

    /// Reads secrets.
    pub fn secrets(&self) -> Secrets {
        Secrets::new(&self.sdk)
    }

    /// The keys of KMS with these ARNs: a symmetric one, and one that signs with Ed25519.
    pub fn keys(&self, wrapping_key: String, signing_key: String) -> KmsKeys {
        KmsKeys::new(&self.sdk, wrapping_key, signing_key)
    }

    /// Whether something else plays this service.
    fn is_played(&self, service_id: &str) -> bool {
        let key = ServiceConfigKey::builder().service_id(service_id).env(ENDPOINT_URL).profile("endpoint_url").build();
        let of_service = self.sdk.service_config().zip(key.ok()).and_then(|(services, key)| services.load_config(key));
        of_service.is_some() || self.sdk.endpoint_url().is_some()
    }
}

/// The variable that says where all of AWS is played.
const ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";

/// Where AWS is played by something else, by the names of the variables: `AWS_ENDPOINT_URL_DYNAMODB`.
#[derive(Debug)]
struct EndpointUrls(BTreeMap<String, String>);

impl LoadServiceConfig for EndpointUrls {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let of_service = format!("{}_{}", key.env(), key.service_id().to_uppercase().replace(' ', "_"));
        self.0.get(&of_service).or_else(|| self.0.get(key.env())).cloned()
    }
}

/// The limits of what is tried once.
pub(crate) fn single_attempt(limit: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(limit).build()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::SystemTime;

    use aws_credential_types::provider::{ProvideCredentials, future};
    use aws_sdk_dynamodb::error::DisplayErrorContext;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use clock::SystemClock;

    use super::*;
    use crate::scripted::{answered, clients};

    /// A root that cannot be read would end the first request, and an endpoint that is not heeded would leave the machine.
    #[tokio::test]
    async fn amazons_roots_are_read_and_endpoints_are_heeded() {
        let nowhere = |name: &str, url: &str| (name.to_owned(), url.to_owned());
        let endpoint_urls = BTreeMap::from([
            nowhere("AWS_ENDPOINT_URL", "https://127.0.0.1:1"),
            nowhere("AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://127.0.0.1:2"),
        ]);
        let aws = Aws { region: "us-east-1".to_owned(), endpoint_urls, ..Aws::default() };
        let clients = Clients::of_function(aws);
        let refused = clients.dynamodb().list_tables().send().await.expect_err("nobody listens there");
        let refused = DisplayErrorContext(refused).to_string();
        assert!(refused.contains("ConnectionRefused"), "{refused}");
        let refused = clients.secrets().text("arn").await.expect_err("nobody listens there").to_string();
        assert!(refused.contains("Connection refused"), "{refused}");
        assert!(clients.is_played("Secrets Manager"));
    }

    /// A connection that was idle may have been closed by the time it is used.
    #[tokio::test]
    async fn what_is_asked_of_step_functions_is_asked_again_when_its_connection_breaks() {
        let calls = Arc::new(AtomicU64::default());
        let counted = Arc::clone(&calls);
        let credentials = SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "tests"));
        let clients = clients(credentials, move |_| match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Err(ConnectorError::io("the peer has closed the connection".into())),
            _ => answered(
                200,
                &[],
                r#"{"executionArn": "a", "startDate": 1, "status": "RUNNING", "stateMachineArn": "m"}"#,
            ),
        });
        let asked = clients.sfn().describe_execution().execution_arn("a").send().await;
        assert!(asked.is_ok(), "{asked:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    /// Each time others, which last as long as is said.
    #[derive(Debug)]
    struct Numbered(Arc<AtomicU64>, Duration);

    impl ProvideCredentials for Numbered {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let id = self.0.fetch_add(1, Ordering::Relaxed).to_string();
            let since_epoch = Duration::from_millis(clock::after(&SystemClock, self.1).as_millisecond() as u64);
            let expiry = Some(SystemTime::UNIX_EPOCH + since_epoch);
            future::ProvideCredentials::ready(Ok(Credentials::new(id, "secret", None, expiry, "tests")))
        }
    }

    /// Those of a role's are asked for over the network.
    #[tokio::test]
    async fn credentials_are_asked_for_when_they_expire_and_not_with_every_request() {
        for (lasting, expected) in [(Duration::from_secs(600), 1), (Duration::from_secs(1), 3)] {
            let asked = Arc::new(AtomicU64::default());
            let credentials = SharedCredentialsProvider::new(Numbered(Arc::clone(&asked), lasting));
            let clients = clients(credentials, |_| answered(200, &[], r#"{"TableNames": []}"#));
            let dynamodb = clients.dynamodb();
            for _ in 0..3 {
                dynamodb.list_tables().send().await.expect("it is answered");
            }
            assert_eq!(asked.load(Ordering::Relaxed), expected, "they last {lasting:?}");
        }
    }
}
