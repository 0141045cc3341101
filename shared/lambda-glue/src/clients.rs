//! Clients of AWS. A function makes them from the environment that Lambda gives it: there are no profiles, files or metadata
//! services to ask, so none of the SDK's configuration loading is linked, which would be the larger part of a cold start.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::HttpConnectorSettings;
use store_aws::S3Access;

use crate::Environment;
use crate::functions::Functions;
use crate::s3_http::{S3Credentials, S3Http};
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
    credentials: SharedCredentialsProvider,
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
    /// From the variables that Lambda sets. They are fixed for the life of an execution environment; Lambda starts another
    /// one before they expire.
    pub fn new(environment: &mut Environment) -> Self {
        let region = environment.required("AWS_REGION");
        let (id, secret) = (environment.required("AWS_ACCESS_KEY_ID"), environment.required("AWS_SECRET_ACCESS_KEY"));
        let token = environment.optional("AWS_SESSION_TOKEN").map(str::to_owned);
        let credentials = SharedCredentialsProvider::new(Credentials::new(id, secret, token, None, "environment"));
        Self::with(environment, region, credentials)
    }

    /// With these credentials. `AWS_ENDPOINT_URL_*` say where AWS is played by something else, and `SSL_CERT_FILE` names a
    /// file of roots to trust instead of Amazon's.
    pub fn with(environment: &Environment, region: String, credentials: SharedCredentialsProvider) -> Self {
        let optional = |name| environment.optional(name).map(str::to_owned);
        let has_own_roots = has_own_roots(environment);
        Self {
            region,
            credentials,
            endpoint: optional("AWS_ENDPOINT_URL"),
            dynamodb_endpoint: optional("AWS_ENDPOINT_URL_DYNAMODB"),
            lambda_endpoint: optional("AWS_ENDPOINT_URL_LAMBDA"),
            secrets_endpoint: optional("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            sfn_endpoint: optional("AWS_ENDPOINT_URL_SFN"),
            s3_endpoint: optional("AWS_ENDPOINT_URL_S3"),
            has_own_roots,
            http: Arc::new(LazyLock::new(Box::new(move || http(has_own_roots)))),
        }
    }

    fn endpoint(&self, of_service: &Option<String>) -> Option<String> {
        of_service.clone().or_else(|| self.endpoint.clone())
    }

    /// Makes a client of DynamoDB, when it is called for.
    pub fn dynamodb(&self) -> impl FnOnce() -> aws_sdk_dynamodb::Client + Send + 'static {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials.clone())
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
            .credentials_provider(self.credentials.clone())
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
            self.credentials.clone(),
            endpoint.unwrap_or_else(|| format!("https://{service}.{}.{suffix}", self.region)),
            move || connector(has_own_roots, timeout),
        )
    }

    /// What a client of S3 is made with.
    pub fn s3(&self) -> S3Access {
        S3Access {
            region: self.region.clone(),
            credentials: Arc::new(S3Credentials(self.credentials.clone())),
            endpoint: self.endpoint(&self.s3_endpoint),
            http: Arc::new(S3Http { has_own_roots: self.has_own_roots }),
        }
    }
}

fn has_own_roots(environment: &Environment) -> bool {
    environment.optional("SSL_CERT_FILE").is_some()
}

/// What all clients send their requests with.
pub fn http_client(environment: &Environment) -> SharedHttpClient {
    http(has_own_roots(environment))
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
