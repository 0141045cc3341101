//! Clients whose requests a test answers.

use std::fmt;

use aws_sdk_dynamodb::config::{BehaviorVersion, SharedCredentialsProvider};
use aws_sdk_lambda::config::http::{HttpRequest, HttpResponse};
use aws_sdk_lambda::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::Clients;

/// What a request is answered with.
pub(crate) type Answer = Result<HttpResponse, ConnectorError>;

struct Scripted<F>(F);

impl<F> fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl<F: Fn(HttpRequest) -> Answer + Send + Sync> HttpConnector for Scripted<F> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready((self.0)(request))
    }
}

/// Clients with these credentials, whose requests are answered by `answer`.
pub(crate) fn clients(
    credentials: SharedCredentialsProvider,
    answer: impl Fn(HttpRequest) -> Answer + Send + Sync + 'static,
) -> Clients {
    let connector = SharedHttpConnector::new(Scripted(answer));
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .http_client(http_client_fn(move |_, _| connector.clone()));
    Clients::new(sdk.build())
}

/// An answer of AWS.
pub(crate) fn answered(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
    let status = StatusCode::try_from(status).expect("it is a status");
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in headers {
        response.headers_mut().insert(*name, *value);
    }
    Ok(response)
}
