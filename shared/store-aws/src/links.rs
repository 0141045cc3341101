//! Presigned links to objects.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use clock::SharedClock;
use store::{BlobKey, BlobLinks, Link, StoreError};

use crate::S3Blobs;
use crate::upload::failed;

/// Links to the objects of a bucket. They are valid no longer than the credentials that sign them.
pub struct S3Links {
    blobs: S3Blobs,
    clock: SharedClock,
}

impl S3Links {
    /// Links to these blobs.
    pub fn new(blobs: S3Blobs, clock: SharedClock) -> Self {
        Self { blobs, clock }
    }

    fn config(&self, valid_for: Duration) -> Result<PresigningConfig, StoreError> {
        PresigningConfig::expires_in(valid_for).map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    fn link(&self, signed: &PresignedRequest, valid_for: Duration) -> Link {
        let headers = signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Link { url: signed.uri().to_owned(), headers, expires_at: clock::after(&*self.clock, valid_for) }
    }
}

#[async_trait]
impl BlobLinks for S3Links {
    async fn download(&self, key: &BlobKey, file_name: &str, valid_for: Duration) -> Result<Link, StoreError> {
        let config = self.config(valid_for)?;
        let get = self.blobs.client().get_object().bucket(self.blobs.bucket()).key(key.to_string());
        let get = get.response_content_disposition(format!("attachment; filename=\"{file_name}\""));
        Ok(self.link(&get.presigned(config).await.map_err(failed)?, valid_for))
    }

    async fn upload(&self, key: &BlobKey, bytes: u64, valid_for: Duration) -> Result<Link, StoreError> {
        let config = self.config(valid_for)?;
        let put = self.blobs.client().put_object().bucket(self.blobs.bucket()).key(key.to_string());
        // S3 compares what it signed: another length, or a second upload, is refused.
        let put = put.content_length(bytes.try_into().unwrap_or(i64::MAX)).if_none_match("*");
        Ok(self.link(&put.presigned(config).await.map_err(failed)?, valid_for))
    }
}
