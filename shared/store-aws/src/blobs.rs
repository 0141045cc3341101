//! Blobs in S3.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use store::{BlobBody, BlobKey, Blobs, StoreError};

use crate::fault;

/// Parts of an upload, one of which is in memory; S3 takes 10,000 of them, which are 80 GB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Blobs in one bucket, whose default encryption (SSE-KMS in the template) is theirs.
#[derive(Clone)]
pub struct S3Blobs {
    client: Arc<LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>>,
    bucket: String,
}

impl S3Blobs {
    /// Blobs in this bucket, which must exist. The client is made with the first request.
    pub fn new(client: impl FnOnce() -> Client + Send + 'static, bucket: impl Into<String>) -> Self {
        Self { client: Arc::new(LazyLock::new(Box::new(client))), bucket: bucket.into() }
    }

    /// Stores a first part and all that follows, for nobody to see before it is whole.
    async fn put_in_parts(&self, key: &str, first: Bytes, rest: Parts) -> Result<(), StoreError> {
        let created = self.client.create_multipart_upload().bucket(&self.bucket).key(key).send().await;
        let upload = created.map_err(fault::write)?.upload_id.unwrap_or_default();
        let outcome = self.upload(key, &upload, first, rest).await;
        if outcome.is_err() {
            let aborted = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(&upload);
            // Should that fail too, the bucket's lifecycle removes the parts.
            if let Err(error) = aborted.send().await {
                tracing::warn!(error = %fault::write(error), "an upload was not aborted");
            }
        }
        outcome
    }

    async fn upload(&self, key: &str, upload: &str, first: Bytes, mut rest: Parts) -> Result<(), StoreError> {
        let mut completed = CompletedMultipartUpload::builder();
        let mut next = Some(first);
        for number in 1.. {
            let Some(part) = next else { break };
            let sent = self.client.upload_part().bucket(&self.bucket).key(key).upload_id(upload).part_number(number);
            let part = sent.body(ByteStream::from(part)).send().await.map_err(fault::write)?;
            let part = CompletedPart::builder()
                .part_number(number)
                .set_e_tag(part.e_tag)
                .set_checksum_crc32(part.checksum_crc32)
                .build();
            completed = completed.parts(part);
            next = rest.next().await?;
        }
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        complete.multipart_upload(completed.build()).send().await.map_err(fault::write).map(drop)
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put(&self, key: &BlobKey, body: BlobBody) -> Result<(), StoreError> {
        let key = key.to_string();
        let mut parts = Parts { body, rest: BytesMut::new() };
        let first = parts.next().await?.unwrap_or_default();
        if first.len() >= PART_BYTES {
            return self.put_in_parts(&key, first, parts).await;
        }
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(first));
        put.send().await.map_err(fault::write).map(drop)
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError> {
        let body = match self.client.get_object().bucket(&self.bucket).key(key.to_string()).send().await {
            Ok(found) => found.body,
            Err(error) => match error.as_service_error() {
                Some(GetObjectError::NoSuchKey(_)) => return Ok(None),
                _ => return Err(fault::read(error)),
            },
        };
        let parts = stream::unfold(body, async |mut body| {
            let part = body.next().await?;
            Some((part.map_err(|error| StoreError::Unavailable(error.to_string())), body))
        });
        Ok(Some(parts.boxed()))
    }
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
