//! HTTP and credentials for the client of S3: those of the other clients. Their HTTP trusts the same roots and is linked
//! anyhow.

use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::http::HttpRequest as Request;
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use object_store::aws::AwsCredential;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, CredentialProvider};

/// Whose requests they are.
#[derive(Debug)]
pub(crate) struct S3Credentials(pub(crate) SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for S3Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let provided = self.0.provide_credentials().await;
        let credentials =
            provided.map_err(|error| object_store::Error::Generic { store: "S3", source: error.into() })?;
        Ok(Arc::new(AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        }))
    }
}

/// Makes the client.
#[derive(Debug)]
pub(crate) struct S3Http {
    pub(crate) has_own_roots: bool,
}

impl HttpConnector for S3Http {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(super::clients::connector(self.has_own_roots, super::clients::ATTEMPT_TIMEOUT))))
    }
}

#[derive(Debug)]
struct Service(Connector);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = SdkBody::from(body.collect().await?.to_bytes());
        let request = Request::try_from(http::Request::from_parts(parts, body)).map_err(unknown)?;
        let response = self.0.call(request).await.map_err(|error| {
            let kind = match (error.is_timeout(), error.is_io()) {
                (true, _) => HttpErrorKind::Timeout,
                (_, true) => HttpErrorKind::Request,
                _ => HttpErrorKind::Unknown,
            };
            HttpError::new(kind, error)
        })?;
        let (parts, body) = response.try_into_http1x().map_err(unknown)?.into_parts();
        let interrupted = |error: BoxError| HttpError::new_boxed(HttpErrorKind::Interrupted, error);
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(interrupted))))
    }
}

fn unknown(error: impl std::error::Error + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}
