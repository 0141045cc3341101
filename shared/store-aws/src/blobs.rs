//! Blobs in S3.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ServerSideEncryption};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use store::{BlobBody, BlobKey, BlobReader, Blobs, LISTED, StoreError};

use crate::upload::{Upload, failed};

/// Parts of an upload, one of which is in memory; S3 takes 10,000 of them, which are 80 GB.
pub(crate) const PART_BYTES: usize = 8 * 1024 * 1024;

/// Blobs of one bucket, whose default encryption (SSE-KMS in the template) is theirs.
#[derive(Debug, Clone)]
pub struct S3Blobs {
    client: Client,
    bucket: String,
}

impl S3Blobs {
    /// Blobs of this bucket, which must exist.
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }
}

#[async_trait]
impl BlobReader for S3Blobs {
    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError> {
        match self.client.get_object().bucket(&self.bucket).key(key.to_string()).send().await {
            Ok(found) => Ok(Some(parts(found.body))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        match self.client.head_object().bucket(&self.bucket).key(key.to_string()).send().await {
            Ok(found) => Ok(found.content_length.and_then(|length| length.try_into().ok())),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn encryption(&self, key: &BlobKey) -> Result<Option<&'static str>, StoreError> {
        let head = self.client.head_object().bucket(&self.bucket).key(key.to_string()).send().await;
        Ok(match head.map_err(failed)?.server_side_encryption {
            Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse) => Some("sse-kms"),
            Some(ServerSideEncryption::Aes256) => Some("sse-s3"),
            _ => None,
        })
    }

    async fn get_part(&self, key: &BlobKey, offset: u64, length: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(last) = length.checked_sub(1) else { return Ok(Some(Bytes::new())) };
        let get = self.client.get_object().bucket(&self.bucket).key(key.to_string());
        match get.range(format!("bytes={offset}-{}", offset + last)).send().await {
            Ok(found) => Ok(Some(found.body.collect().await.map_err(unavailable)?.into_bytes())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) if error.code() == Some("InvalidRange") => Ok(Some(Bytes::new())),
            Err(error) => Err(failed(error)),
        }
    }
}

fn is_missing(error: &SdkError<GetObjectError>) -> bool {
    error.as_service_error().is_some_and(GetObjectError::is_no_such_key)
}

fn parts(body: ByteStream) -> BlobBody {
    let next = async |mut body: ByteStream| match body.next().await {
        Some(part) => Ok(Some((part.map_err(unavailable)?, body))),
        None => Ok(None),
    };
    stream::try_unfold(body, next).boxed()
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put(&self, key: &BlobKey, body: BlobBody) -> Result<(), StoreError> {
        let key = key.to_string();
        let mut parts = Parts { body, rest: BytesMut::new() };
        let first = parts.next().await?.unwrap_or_default();
        if first.len() < PART_BYTES {
            let put = self.client.put_object().bucket(&self.bucket).key(key).body(first.into());
            return put.send().await.map(drop).map_err(failed);
        }
        let mut upload = Upload::begin(&self.client, &self.bucket, key).await?;
        match put_parts(&mut upload, first, parts).await {
            Ok(()) => upload.complete().await,
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    async fn remove(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        let keys: Vec<String> = keys.iter().map(BlobKey::to_string).collect();
        for keys in keys.chunks(MAX_KEYS) {
            self.remove_objects(keys).await?;
        }
        Ok(())
    }

    async fn list(&self, tenant_id: &str, folder: &[&str], after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let Some(folder) = BlobKey::new(tenant_id, folder) else { return Ok(Vec::new()) };
        let prefix = format!("{folder}/");
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix).delimiter("/");
        let list = list.set_start_after(after.map(|after| format!("{prefix}{after}"))).max_keys(LISTED as i32);
        let found = list.send().await.map_err(failed)?.contents.unwrap_or_default();
        let name = |key: String| key.strip_prefix(&prefix).map(str::to_owned);
        Ok(found.into_iter().filter_map(|object| object.key).filter_map(name).collect())
    }

    async fn remove_folder(&self, tenant_id: &str, folder: &[&str]) -> Result<(), StoreError> {
        let Some(folder) = BlobKey::new(tenant_id, folder) else { return Ok(()) };
        // What is removed is not listed any more, so each list begins anew.
        loop {
            let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(format!("{folder}/"));
            let found = list.send().await.map_err(failed)?.contents.unwrap_or_default();
            let keys: Vec<String> = found.into_iter().filter_map(|object| object.key).collect();
            if keys.is_empty() {
                return Ok(());
            }
            self.remove_objects(&keys).await?;
        }
    }
}

/// Keys that S3 lists, and removes, in one request.
const MAX_KEYS: usize = 1_000;

impl S3Blobs {
    async fn remove_objects(&self, keys: &[String]) -> Result<(), StoreError> {
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let objects = objects.collect::<Result<Vec<_>, _>>().map_err(unavailable)?;
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(unavailable)?;
        let removed = self.client.delete_objects().bucket(&self.bucket).delete(delete).send().await;
        match removed.map_err(failed)?.errors().first() {
            Some(error) => Err(unavailable(error.message().unwrap_or("an object cannot be removed"))),
            None => Ok(()),
        }
    }
}

async fn put_parts(upload: &mut Upload<'_>, first: Bytes, mut rest: Parts) -> Result<(), StoreError> {
    let mut next = Some(first);
    while let Some(part) = next {
        upload.put_part(part).await?;
        next = rest.next().await?;
    }
    Ok(())
}

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
