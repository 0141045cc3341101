//! Signed requests to services of AWS that are asked for one thing only: a client of each would be the larger part of a
//! function.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::body::SdkBody;
use clock::{Clock as _, SystemClock};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unanswered(pub(crate) String);

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// One service.
#[derive(Clone)]
pub(crate) struct Signed {
    service: &'static str,
    region: String,
    credentials: SharedCredentialsProvider,
    endpoint: String,
    connector: Arc<LazyLock<Connector, Box<dyn FnOnce() -> Connector + Send>>>,
}

impl Signed {
    /// The connector is made with the first request.
    pub(crate) fn new(
        service: &'static str,
        region: String,
        credentials: SharedCredentialsProvider,
        endpoint: String,
        connector: impl FnOnce() -> Connector + Send + 'static,
    ) -> Self {
        let connector = Arc::new(LazyLock::new(Box::new(connector) as Box<dyn FnOnce() -> Connector + Send>));
        Self { service, region, credentials, endpoint, connector }
    }

    /// Posts this, once.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, Unanswered> {
        let identity = self.credentials.provide_credentials().await.map_err(unanswered)?.into();
        let request = self.request(path, headers, body, &identity).map_err(unanswered)?;
        let response = self.connector.call(request).await.map_err(unanswered)?;
        let (parts, body) = response.try_into_http1x().map_err(unanswered)?.into_parts();
        let body = body.collect().await.map_err(unanswered)?.to_bytes().to_vec();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    fn request(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        identity: &Identity,
    ) -> Result<HttpRequest, crate::Error> {
        let url = format!("{}{path}", self.endpoint.trim_end_matches('/'));
        let since_epoch = Duration::from_millis(SystemClock.now().as_millisecond().try_into()?);
        let parameters = v4::SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name(self.service)
            .time(SystemTime::UNIX_EPOCH + since_epoch)
            .settings(SigningSettings::default())
            .build()?;
        let signable = SignableRequest::new("POST", &url, headers.iter().copied(), SignableBody::Bytes(&body))?;
        let (instructions, _) = sign(signable, &parameters.into())?.into_parts();
        let mut request = http::Request::post(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(SdkBody::from(body))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(HttpRequest::try_from(request)?)
    }
}

fn unanswered(error: impl Into<crate::Error>) -> Unanswered {
    let error = error.into();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    Unanswered(text)
}
