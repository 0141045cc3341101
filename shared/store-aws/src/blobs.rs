//! Blobs in S3.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{ClientOptions, MultipartUpload, ObjectStoreExt as _, RetryConfig};
use store::{BlobBody, BlobKey, Blobs, StoreError};

/// Parts of an upload, one of which is in memory; S3 takes 10,000 of them, which are 80 GB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// All tries of a request: API Gateway gives 30 s in all.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RETRIES: usize = 3;

/// Where S3 is, and whose requests it gets.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are AWS's own")]
pub struct S3Access {
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    /// What plays S3, if it is played: it has no host name for each bucket.
    pub endpoint: Option<String>,
    /// How requests are sent.
    pub http: Box<dyn HttpConnector>,
}

/// Blobs in one bucket, whose default encryption (SSE-KMS in the template) is theirs.
#[derive(Clone)]
pub struct S3Blobs(Arc<LazyLock<Made, Box<dyn FnOnce() -> Made + Send>>>);

/// The client, or why there is none.
type Made = Result<AmazonS3, StoreError>;

impl S3Blobs {
    /// Blobs in this bucket, which must exist. The client is made with the first request.
    pub fn new(access: S3Access, bucket: impl Into<String>) -> Self {
        let bucket = bucket.into();
        Self(Arc::new(LazyLock::new(Box::new(move || client(access, bucket)))))
    }

    fn client(&self) -> Result<&AmazonS3, StoreError> {
        (**self.0).as_ref().map_err(Clone::clone)
    }
}

fn client(access: S3Access, bucket: String) -> Made {
    let options = ClientOptions::new().with_allow_http(access.endpoint.is_some());
    let retry = RetryConfig { max_retries: MAX_RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let builder = AmazonS3Builder::new()
        .with_region(access.region)
        .with_access_key_id(access.access_key_id)
        .with_secret_access_key(access.secret_access_key)
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(access.endpoint.is_none())
        .with_client_options(options)
        .with_retry(retry)
        .with_http_connector(Boxed(access.http));
    let builder = match access.session_token {
        Some(token) => builder.with_token(token),
        None => builder,
    };
    let builder = match access.endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint),
        None => builder,
    };
    builder.build().map_err(|error| StoreError::Inconsistent(error.to_string()))
}

/// The builder takes no trait object.
#[derive(Debug)]
struct Boxed(Box<dyn HttpConnector>);

impl HttpConnector for Boxed {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        self.0.connect(options)
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put(&self, key: &BlobKey, body: BlobBody) -> Result<(), StoreError> {
        let client = self.client()?;
        let path = Path::from(key.to_string());
        let mut parts = Parts { body, rest: BytesMut::new() };
        let first = parts.next().await?.unwrap_or_default();
        if first.len() < PART_BYTES {
            return client.put(&path, first.into()).await.map(drop).map_err(fault);
        }
        let mut upload = client.put_multipart(&path).await.map_err(fault)?;
        let outcome = put_parts(&mut *upload, first, parts).await;
        if outcome.is_err() {
            // Should that fail too, the bucket's lifecycle removes the parts.
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an upload was not aborted");
            }
        }
        outcome
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError> {
        match self.client()?.get(&Path::from(key.to_string())).await {
            Ok(found) => Ok(Some(found.into_stream().map_err(fault).boxed())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fault(error)),
        }
    }
}

/// Uploads a first part and all that follows, for nobody to see before it is whole.
async fn put_parts(upload: &mut dyn MultipartUpload, first: Bytes, mut rest: Parts) -> Result<(), StoreError> {
    let mut next = Some(first);
    while let Some(part) = next {
        upload.put_part(part.into()).await.map_err(fault)?;
        next = rest.next().await?;
    }
    upload.complete().await.map(drop).map_err(fault)
}

/// To put a blob again is to put it, so whatever happened to the first try is of no interest.
fn fault(error: object_store::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// A body in parts of the size that S3 wants: all but the last of at least 5 MiB.
struct Parts {
    body: BlobBody,
    rest: BytesMut,
}

impl Parts {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while self.rest.len() < PART_BYTES {
            match self.body.next().await {
                Some(more) => self.rest.extend_from_slice(&more?),
                None => break,
            }
        }
        let part = self.rest.split_to(self.rest.len().min(PART_BYTES));
        Ok((!part.is_empty()).then(|| part.freeze()))
    }
}
