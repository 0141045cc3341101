//! Blobs in S3.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use clock::SystemClock;
use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, HttpResponse};
use object_store::path::Path;
use object_store::{ClientOptions, MultipartUpload, ObjectStoreExt as _, RetryConfig};
use store::{BlobBody, BlobKey, BlobReader, Blobs, StoreError};

/// Parts of an upload, one of which is in memory; S3 takes 10,000 of them, which are 80 GB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// All tries of a request: API Gateway gives 30 s in all.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RETRIES: usize = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Where S3 is, and whose requests it gets.
#[derive(Clone)]
#[expect(missing_docs, reason = "the names are AWS's own")]
pub struct S3Access {
    pub region: String,
    pub credentials: AwsCredentialProvider,
    /// What plays S3, if it is played: it has no host name for each bucket.
    pub endpoint: Option<String>,
    /// How requests are sent.
    pub http: Arc<dyn HttpConnector>,
}

impl fmt::Debug for S3Access {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, endpoint, .. } = self;
        f.debug_struct("S3Access").field("region", region).field("endpoint", endpoint).finish_non_exhaustive()
    }
}

impl S3Access {
    /// Where a bucket is, on AWS: in the domain of the region's partition.
    fn host(&self, bucket: &str) -> String {
        const DOMAINS: [(&str, &str); 6] = [
            ("cn-", "amazonaws.com.cn"),
            ("eusc-", "amazonaws.eu"),
            ("us-iso-", "c2s.ic.gov"),
            ("us-isob-", "sc2s.sgov.gov"),
            ("us-isof-", "csp.hci.ic.gov"),
            ("eu-isoe-", "cloud.adc-e.uk"),
        ];
        let domain = DOMAINS.iter().find(|(region, _)| self.region.starts_with(region));
        let domain = domain.map_or("amazonaws.com", |(_, domain)| domain);
        format!("https://{bucket}.s3.{}.{domain}", self.region)
    }
}

/// Blobs of one bucket, to read. One GET is all that it makes, and object_store's client of S3 a fifth of a function.
#[derive(Clone)]
pub struct S3Reader(Arc<Reader>);

struct Reader {
    access: S3Access,
    bucket: String,
    http: OnceLock<HttpClient>,
}

impl S3Reader {
    /// Blobs of this bucket, which must exist. The client is made with the first request.
    pub fn new(access: S3Access, bucket: impl Into<String>) -> Self {
        Self(Arc::new(Reader { access, bucket: bucket.into(), http: OnceLock::new() }))
    }
}

#[async_trait]
impl BlobReader for S3Reader {
    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError> {
        for tries in 0.. {
            let answer = self.0.get(key).await;
            let why = match answer {
                Ok(answer) if answer.status().is_success() => {
                    let parts = answer.into_body().bytes_stream().map_err(unavailable);
                    return Ok(Some(parts.boxed()));
                }
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return Ok(None),
                Ok(answer) => {
                    let may_pass =
                        answer.status().is_server_error() || answer.status() == StatusCode::TOO_MANY_REQUESTS;
                    let why = format!("S3 answered {}", answer.status());
                    if may_pass { why } else { return Err(unavailable(why)) }
                }
                Err(error) => error.to_string(),
            };
            if tries == MAX_RETRIES {
                return Err(unavailable(why));
            }
            clock::sleep(&SystemClock, FIRST_WAIT * (1 << tries)).await;
        }
        unreachable!("the last try returns")
    }
}

impl Reader {
    async fn get(&self, key: &BlobKey) -> Result<HttpResponse, object_store::Error> {
        let access = &self.access;
        // Of a key's characters none needs to be escaped.
        let url = match &access.endpoint {
            Some(endpoint) => format!("{endpoint}/{}/{key}", self.bucket),
            None => format!("{}/{key}", access.host(&self.bucket)),
        };
        let generic =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "S3", source };
        let mut request =
            http::Request::get(url).body(HttpRequestBody::empty()).map_err(|error| generic(error.into()))?;
        let credential = access.credentials.get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &access.region).try_authorize(&mut request, None)?;
        let http = match self.http.get() {
            Some(http) => http,
            None => {
                let made = access.http.connect(&ClientOptions::new())?;
                self.http.get_or_init(|| made)
            }
        };
        http.execute(request).await.map_err(|error| generic(error.into()))
    }
}

/// Blobs of one bucket, whose default encryption (SSE-KMS in the template) is theirs.
pub struct S3Blobs {
    reader: S3Reader,
    client: LazyLock<Made, Box<dyn FnOnce() -> Made + Send>>,
}

/// The client, or why there is none.
type Made = Result<AmazonS3, StoreError>;

impl S3Blobs {
    /// Blobs of this bucket, which must exist. The client is made with the first request.
    pub fn new(access: S3Access, bucket: impl Into<String>) -> Self {
        let bucket = bucket.into();
        let reader = S3Reader::new(access.clone(), bucket.clone());
        Self { reader, client: LazyLock::new(Box::new(move || client(access, bucket))) }
    }
}

fn client(access: S3Access, bucket: String) -> Made {
    let options = ClientOptions::new().with_allow_http(access.endpoint.is_some());
    let retry = RetryConfig { max_retries: MAX_RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let endpoint = access.endpoint.clone().unwrap_or_else(|| access.host(&bucket));
    let builder = AmazonS3Builder::new()
        .with_region(access.region)
        .with_credentials(access.credentials)
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(access.endpoint.is_none())
        .with_client_options(options)
        .with_retry(retry)
        .with_endpoint(endpoint)
        .with_http_connector(Shared(access.http));
    builder.build().map_err(|error| StoreError::Inconsistent(error.to_string()))
}

/// The builder takes no trait object.
#[derive(Debug)]
struct Shared(Arc<dyn HttpConnector>);

impl HttpConnector for Shared {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        self.0.connect(options)
    }
}

#[async_trait]
impl BlobReader for S3Blobs {
    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError> {
        self.reader.get(key).await
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put(&self, key: &BlobKey, body: BlobBody) -> Result<(), StoreError> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let path = Path::from(key.to_string());
        let mut parts = Parts { body, rest: BytesMut::new() };
        let first = parts.next().await?.unwrap_or_default();
        if first.len() < PART_BYTES {
            return client.put(&path, first.into()).await.map(drop).map_err(unavailable);
        }
        let mut upload = client.put_multipart(&path).await.map_err(unavailable)?;
        let outcome = put_parts(&mut *upload, first, parts).await;
        if outcome.is_err() {
            // Should that fail too, the bucket's lifecycle removes the parts.
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an upload was not aborted");
            }
        }
        outcome
    }
}

/// Uploads a first part and all that follows, for nobody to see before it is whole.
async fn put_parts(upload: &mut dyn MultipartUpload, first: Bytes, mut rest: Parts) -> Result<(), StoreError> {
    let mut next = Some(first);
    while let Some(part) = next {
        upload.put_part(part.into()).await.map_err(unavailable)?;
        next = rest.next().await?;
    }
    upload.complete().await.map(drop).map_err(unavailable)
}

/// To put a blob again is to put it, so whatever happened to the first try is of no interest.
fn unavailable(error: impl std::fmt::Display) -> StoreError {
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

#[cfg(test)]
mod tests {
    use object_store::StaticCredentialProvider;
    use object_store::aws::AwsCredential;

    use super::*;

    #[derive(Debug)]
    struct Nowhere;

    impl HttpConnector for Nowhere {
        fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
            Err(object_store::Error::NotImplemented { operation: String::new(), implementer: String::new() })
        }
    }

    fn access(region: &str) -> S3Access {
        S3Access {
            region: region.to_owned(),
            credentials: Arc::new(StaticCredentialProvider::new(AwsCredential {
                key_id: "canary-1".to_owned(),
                secret_key: "canary-2".to_owned(),
                token: Some("canary-3".to_owned()),
            })),
            endpoint: None,
            http: Arc::new(Nowhere),
        }
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let printed = format!("{:?}", access("eu-central-1"));
        assert!(printed.contains("eu-central-1") && !printed.contains("canary"), "{printed}");
    }

    #[test]
    fn a_bucket_is_in_the_domain_of_its_partition() {
        for (region, host) in [
            ("eu-central-1", "https://b.s3.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "https://b.s3.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://b.s3.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://b.s3.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(access(region).host("b"), host);
        }
    }
}
