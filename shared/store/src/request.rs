//! Where the request of an execution is kept.

use bytes::Bytes;
use contracts::effect::sha256_hex;
use contracts::limits::MAX_INLINE_REQUEST_BYTES;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{BlobKey, BlobReader, Blobs, StoreError};

/// The request of an execution, as its record has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredRequest {
    /// The request itself.
    Inline(Value),
    /// Too large for a record: the name of a blob of the tenant, which is the SHA-256 of its contents.
    Blob(String),
}

/// Why a request cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// Its blob is not there, or not as it was stored.
    #[error("the stored request {0} is missing or damaged")]
    Lost(String),
    /// Not now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoredRequest {
    /// Keeps a request of a tenant: beside the record if it is large. The blob is durable before the record is written; two
    /// requests of the same contents share one.
    ///
    /// # Errors
    /// The blob cannot be stored.
    pub async fn keep(tenant_id: &str, request: Value, blobs: &dyn Blobs) -> Result<Self, StoreError> {
        let text = request.to_string();
        if text.len() <= MAX_INLINE_REQUEST_BYTES {
            return Ok(Self::Inline(request));
        }
        let hash = sha256_hex(text.as_bytes());
        blobs.put(&key(tenant_id, &hash)?, stream::iter([Ok(Bytes::from(text))]).boxed()).await?;
        Ok(Self::Blob(hash))
    }

    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read now, or its blob is lost.
    pub async fn load(&self, tenant_id: &str, blobs: &dyn BlobReader) -> Result<Value, RequestError> {
        let hash = match self {
            Self::Inline(request) => return Ok(request.clone()),
            Self::Blob(hash) => hash,
        };
        let lost = || RequestError::Lost(hash.clone());
        let body = blobs.get(&key(tenant_id, hash)?).await?.ok_or_else(lost)?;
        let parts: Vec<Bytes> = body.try_collect().await?;
        let text = parts.concat();
        if sha256_hex(&text) != *hash {
            return Err(lost());
        }
        serde_json::from_slice(&text).map_err(|_| lost())
    }

    /// Where it is, if it is beside its record.
    ///
    /// # Errors
    /// The tenant's name is none of a blob.
    pub fn key(&self, tenant_id: &str) -> Result<Option<BlobKey>, StoreError> {
        match self {
            Self::Inline(_) => Ok(None),
            Self::Blob(hash) => key(tenant_id, hash).map(Some),
        }
    }

    /// As a history shows it: null when its blob is lost, or when nobody can read it here.
    ///
    /// # Errors
    /// It cannot be read now.
    pub async fn shown(&self, tenant_id: &str, blobs: Option<&dyn BlobReader>) -> Result<Value, StoreError> {
        let Some(blobs) = blobs else { return Ok(self.shown_inline()) };
        match self.load(tenant_id, blobs).await {
            Ok(request) => Ok(request),
            Err(RequestError::Store(error)) => Err(error),
            Err(RequestError::Lost(hash)) => {
                tracing::error!(tenant_id, hash, "a stored request is lost");
                Ok(Value::Null)
            }
        }
    }

    /// As a list of many events shows it: a large one is left out, as there may be many.
    pub fn shown_inline(&self) -> Value {
        match self {
            Self::Inline(request) => request.clone(),
            Self::Blob(_) => Value::Null,
        }
    }
}

/// The part of a blob's name that stands before all requests of a tenant.
pub const REQUESTS: &str = "requests";

fn key(tenant_id: &str, hash: &str) -> Result<BlobKey, StoreError> {
    BlobKey::new(tenant_id, &[REQUESTS, &format!("{hash}.json")])
        .ok_or_else(|| StoreError::Inconsistent(format!("'{tenant_id}' is no name of a tenant")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conformance::MemoryBlobs;

    /// JSON text of this many bytes.
    fn request(bytes: usize) -> Value {
        json!("x".repeat(bytes - 2))
    }

    #[test]
    fn a_large_request_is_a_blob_and_a_lost_one_is_named() {
        futures::executor::block_on(async {
            let blobs = MemoryBlobs::default();
            let small = request(MAX_INLINE_REQUEST_BYTES);
            let kept = StoredRequest::keep("t", small.clone(), &blobs).await.expect("it is kept");
            assert_eq!(kept, StoredRequest::Inline(small));
            assert!(blobs.all().is_empty());

            let large = request(MAX_INLINE_REQUEST_BYTES + 1);
            let kept = StoredRequest::keep("t", large.clone(), &blobs).await.expect("it is kept");
            assert!(matches!(kept, StoredRequest::Blob(_)), "{kept:?}");
            assert_eq!(kept.load("t", &blobs).await.expect("it is there"), large);
            assert_eq!(kept.shown("t", Some(&blobs)).await.expect("it is there"), large);
            assert_eq!((kept.shown("t", None).await.ok(), kept.shown_inline()), (Some(Value::Null), Value::Null));
            let foreign = kept.load("another-tenant", &blobs).await;
            assert!(matches!(foreign, Err(RequestError::Lost(_))), "{foreign:?}");

            for (_, blob) in blobs.all().iter_mut() {
                *blob = Bytes::from_static(b"{}");
            }
            let damaged = kept.load("t", &blobs).await.expect_err("its contents are others").to_string();
            assert!(damaged.contains("is missing or damaged"), "{damaged}");
            blobs.all().clear();
            assert!(matches!(kept.load("t", &blobs).await, Err(RequestError::Lost(_))));
            assert_eq!(kept.shown("t", Some(&blobs)).await.expect("a history is shown all the same"), Value::Null);
        });
    }
}
