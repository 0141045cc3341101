//! What a `ResultWriter` writes: the results of a Map run by status, and a manifest that says where.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html>

use serde_json::{Value, json};

use crate::states::ResultTarget;

/// Where the results of one Map run go: `<Prefix>/<run>/manifest.json`, and beside it a JSON array of the children that
/// succeeded and one of those that failed, if there are any. Children that were given up when the Map failed, or never
/// began, are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFiles {
    map_run_arn: String,
    bucket: String,
    folder: String,
}

impl ResultFiles {
    /// The name of the error when results cannot be written.
    pub const ERROR: &'static str = "States.ResultWriterFailed";

    /// Reads a writer's `Arguments`.
    ///
    /// # Errors
    /// The cause that the Map fails with, as `States.ResultWriterFailed`.
    pub fn new(map_run_arn: &str, target: &ResultTarget) -> Result<Self, String> {
        let text = |name: &str| target.arguments[name].as_str();
        let bucket = text("Bucket").ok_or("The ResultWriter's 'Bucket' must be a string.")?;
        let prefix = match target.arguments.get("Prefix") {
            None => "",
            Some(prefix) => prefix.as_str().ok_or("The ResultWriter's 'Prefix' must be a string.")?,
        };
        let run = map_run_arn.rsplit(':').next().unwrap_or(map_run_arn);
        let separator = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
        let folder = format!("{prefix}{separator}{run}");
        Ok(Self { map_run_arn: map_run_arn.to_owned(), bucket: bucket.to_owned(), folder })
    }

    /// The bucket of all files.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key of the manifest.
    pub fn manifest_key(&self) -> String {
        format!("{}/manifest.json", self.folder)
    }

    /// The key of the children that failed, or of those that did not.
    pub fn key(&self, has_failed: bool) -> String {
        format!("{}/{}_0.json", self.folder, if has_failed { "FAILED" } else { "SUCCEEDED" })
    }

    /// The manifest: of files that were written, with their bytes.
    pub fn manifest(&self, succeeded: Option<u64>, failed: Option<u64>) -> Value {
        let file = |has_failed: bool, size: Option<u64>| match size {
            Some(size) => json!([{"Key": self.key(has_failed), "Size": size}]),
            None => json!([]),
        };
        json!({
            "DestinationBucket": self.bucket,
            "MapRunArn": self.map_run_arn,
            "ResultFiles": {"FAILED": file(true, failed), "PENDING": [], "SUCCEEDED": file(false, succeeded)},
        })
    }

    /// What the Map comes to.
    pub fn result(&self) -> Value {
        json!({
            "MapRunArn": self.map_run_arn,
            "ResultWriterDetails": {"Bucket": self.bucket, "Key": self.manifest_key()},
        })
    }
}
