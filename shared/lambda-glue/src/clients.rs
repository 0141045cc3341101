//! Clients of AWS, made from the environment that Lambda gives every function. There are no profiles, files or metadata
//! services to ask, so none of the SDK's configuration loading is linked: it would be the larger part of a cold start.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::HttpConnectorSettings;
use store_aws::S3Access;

use crate::Environment;
use crate::functions::Functions;
use crate::s3_http::S3Http;
use crate::secrets::Secrets;
use crate::signed::Signed;

/// One try of a request; all tries of it. API Gateway gives 30 s in all, and an activity's own limit is longer.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ATTEMPTS: u32 = 4;

/// An activity takes 40 s at most.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(60);

/// The roots that AWS's endpoints have certificates of, as <https://www.amazontrust.com/repository/> lists them. Reading
/// all of the machine's instead takes half of the time of a first request.
const AMAZON_ROOTS: &[u8] = include_bytes!("../amazon-roots.pem");

/// What all clients are made from.
pub struct Clients {
    region: String,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    endpoint: Option<String>,
    dynamodb_endpoint: Option<String>,
    lambda_endpoint: Option<String>,
    secrets_endpoint: Option<String>,
    sfn_endpoint: Option<String>,
    s3_endpoint: Option<String>,
    has_own_roots: bool,
    http: Http,
}

/// One pool of connections for all clients, made with the first request.
type Http = Arc<LazyLock<SharedHttpClient, Box<dyn FnOnce() -> SharedHttpClient + Send>>>;

impl Clients {
    /// From the variables that Lambda sets, and `AWS_ENDPOINT_URL_*` where AWS is played by something else.
    /// `SSL_CERT_FILE` names a file of roots to trust instead of Amazon's.
    pub fn new(environment: &mut Environment) -> Self {
        let optional = |environment: &Environment, name| environment.optional(name).map(str::to_owned);
        let has_own_roots = environment.optional("SSL_CERT_FILE").is_some();
        Self {
            region: environment.required("AWS_REGION"),
            // Fixed for the life of an execution environment; Lambda starts another one before they expire.
            access_key_id: environment.required("AWS_ACCESS_KEY_ID"),
            secret_access_key: environment.required("AWS_SECRET_ACCESS_KEY"),
            session_token: optional(environment, "AWS_SESSION_TOKEN"),
            endpoint: optional(environment, "AWS_ENDPOINT_URL"),
            dynamodb_endpoint: optional(environment, "AWS_ENDPOINT_URL_DYNAMODB"),
            lambda_endpoint: optional(environment, "AWS_ENDPOINT_URL_LAMBDA"),
            secrets_endpoint: optional(environment, "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            sfn_endpoint: optional(environment, "AWS_ENDPOINT_URL_SFN"),
            s3_endpoint: optional(environment, "AWS_ENDPOINT_URL_S3"),
            has_own_roots,
            http: Arc::new(LazyLock::new(Box::new(move || http(has_own_roots)))),
        }
    }

    fn credentials(&self) -> Credentials {
        let (id, secret) = (self.access_key_id.clone(), self.secret_access_key.clone());
        Credentials::new(id, secret, self.session_token.clone(), None, "environment")
    }

    fn endpoint(&self, of_service: &Option<String>) -> Option<String> {
        of_service.clone().or_else(|| self.endpoint.clone())
    }

    /// Makes a client of DynamoDB, when it is called for.
    pub fn dynamodb(&self) -> impl FnOnce() -> aws_sdk_dynamodb::Client + Send + 'static {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials())
            .retry_config(retries())
            .timeout_config(timeouts());
        config.set_endpoint_url(self.endpoint(&self.dynamodb_endpoint));
        let http = Arc::clone(&self.http);
        move || aws_sdk_dynamodb::Client::from_conf(config.http_client(SharedHttpClient::clone(&http)).build())
    }

    /// Makes a client of Step Functions, when it is called for.
    pub fn sfn(&self) -> impl FnOnce() -> aws_sdk_sfn::Client + Send + 'static {
        let mut config = aws_sdk_sfn::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials())
            .retry_config(retries())
            .timeout_config(timeouts());
        config.set_endpoint_url(self.endpoint(&self.sfn_endpoint));
        let http = Arc::clone(&self.http);
        move || aws_sdk_sfn::Client::from_conf(config.http_client(SharedHttpClient::clone(&http)).build())
    }

    /// Calls functions.
    pub fn functions(&self) -> Functions {
        Functions::new(self.signed("lambda", &self.lambda_endpoint, INVOCATION_TIMEOUT))
    }

    /// Reads secrets.
    pub fn secrets(&self) -> Secrets {
        Secrets::new(self.signed("secretsmanager", &self.secrets_endpoint, ATTEMPT_TIMEOUT))
    }

    fn signed(&self, service: &'static str, endpoint: &Option<String>, timeout: Duration) -> Signed {
        let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = self.endpoint(endpoint);
        let has_own_roots = self.has_own_roots;
        Signed::new(
            service,
            self.region.clone(),
            self.credentials(),
            endpoint.unwrap_or_else(|| format!("https://{service}.{}.{suffix}", self.region)),
            move || connector(has_own_roots, timeout),
        )
    }

    /// What a client of S3 is made with.
    pub fn s3(&self) -> S3Access {
        S3Access {
            region: self.region.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            session_token: self.session_token.clone(),
            endpoint: self.endpoint(&self.s3_endpoint),
            http: Arc::new(S3Http { has_own_roots: self.has_own_roots }),
        }
    }
}

fn http(has_own_roots: bool) -> SharedHttpClient {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    match amazons(has_own_roots) {
        Some(context) => https.tls_context(context).build_https(),
        None => https.build_https(),
    }
}

/// A single connector, for what is no client of the SDK.
pub(crate) fn connector(has_own_roots: bool, read_timeout: Duration) -> Connector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(read_timeout);
    let https = Connector::builder()
        .connector_settings(settings.build())
        .sleep_impl(TokioSleep::new())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    match amazons(has_own_roots) {
        Some(context) => https.tls_context(context).build(),
        None => https.build(),
    }
}

/// Trust in Amazon's roots; none where the machine's, which `SSL_CERT_FILE` replaces, are to be used.
fn amazons(has_own_roots: bool) -> Option<TlsContext> {
    let amazons = TrustStore::empty().with_pem_certificate(AMAZON_ROOTS);
    TlsContext::builder().with_trust_store(amazons).build().ok().filter(|_| !has_own_roots)
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root that cannot be read would end the first request.
    #[tokio::test]
    async fn amazons_roots_are_read() {
        let variables = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, "us-east-1"));
        let nowhere = [("AWS_ENDPOINT_URL", "https://127.0.0.1:1")];
        let variables = variables.into_iter().chain(nowhere).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let client = Clients::new(&mut Environment::new(variables)).dynamodb()();
        let refused = client.list_tables().send().await.expect_err("nobody listens there");
        assert!(format!("{refused:?}").contains("ConnectionRefused"), "{refused:?}");
    }
}
