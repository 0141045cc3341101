//! An upload to S3 in parts, which nobody sees before it is complete.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use store::StoreError;

/// An upload under way.
pub(crate) struct Upload<'a> {
    client: &'a Client,
    bucket: &'a str,
    key: String,
    id: String,
    parts: Vec<CompletedPart>,
}

impl<'a> Upload<'a> {
    pub(crate) async fn begin(client: &'a Client, bucket: &'a str, key: String) -> Result<Self, StoreError> {
        let begin = client.create_multipart_upload().bucket(bucket).key(&key);
        let begun = begin.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.map_err(failed)?;
        let nameless = || StoreError::Unavailable("S3 began an upload without an id".to_owned());
        let id = begun.upload_id.ok_or_else(nameless)?;
        Ok(Self { client, bucket, key, id, parts: Vec::new() })
    }

    /// Uploads the next part, the checksum of which S3 compares.
    pub(crate) async fn put_part(&mut self, part: Bytes) -> Result<(), StoreError> {
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let put = self.client.upload_part().bucket(self.bucket).key(&self.key).upload_id(&self.id);
        let put = put.part_number(number).checksum_algorithm(ChecksumAlgorithm::Crc32).body(part.into());
        let done = put.send().await.map_err(failed)?;
        let part = CompletedPart::builder().part_number(number);
        self.parts.push(part.set_e_tag(done.e_tag).set_checksum_crc32(done.checksum_crc32).build());
        Ok(())
    }

    /// Makes a blob of the parts. An upload that cannot be completed is aborted.
    pub(crate) async fn complete(mut self) -> Result<(), StoreError> {
        let parts = std::mem::take(&mut self.parts);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(self.bucket).key(&self.key).upload_id(&self.id);
        match complete.multipart_upload(parts).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.abort().await;
                Err(failed(error))
            }
        }
    }

    /// Removes the parts. Should that fail too, the bucket's lifecycle removes them.
    pub(crate) async fn abort(self) {
        let abort = self.client.abort_multipart_upload().bucket(self.bucket).key(&self.key).upload_id(&self.id);
        if let Err(error) = abort.send().await {
            tracing::warn!(error = %DisplayErrorContext(error), "an upload was not aborted");
        }
    }
}

/// Why a request came to nothing. To put a blob again is to put it, so whatever happened to the first try is of no
/// interest.
pub(crate) fn failed<E>(error: SdkError<E>) -> StoreError
where
    E: std::error::Error + 'static,
{
    StoreError::Unavailable(DisplayErrorContext(error).to_string())
}
