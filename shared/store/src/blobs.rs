//! Blobs: what is too large or too old for a database.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::StoreError;

/// A blob's contents in parts of any size, in order.
pub type BlobBody = BoxStream<'static, Result<Bytes, StoreError>>;

/// The part of a blob's name that stands before the files that an execution leaves: `<tenant>/results/<execution>/<file>`.
pub const RESULTS: &str = "results";

/// What the names of an export's packages begin with.
pub const EXPORT: &str = "export";

/// The folder of files that a job works with: `<tenant>/bulk/<execution>/<file>`. Nobody needs them once the execution cannot
/// be retried any more.
pub const JOBS: &str = "bulk";

/// The folder of files that a tenant uploaded: `<tenant>/uploads/<upload>`.
pub const UPLOADS: &str = "uploads";

/// The folder of backups: `<tenant>/backups/<backup>/<file>`.
pub const BACKUPS: &str = "backups";

/// Where a blob is: below its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobKey(String);

impl BlobKey {
    /// `<tenant>/<name>/...`, if every part is 1 to 128 of `[A-Za-z0-9_.-]` and begins with no dot.
    pub fn new(tenant_id: &str, names: &[&str]) -> Option<Self> {
        let parts: Vec<&str> = std::iter::once(tenant_id).chain(names.iter().copied()).collect();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_good =
            |part: &&str| (1..=128).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(is_plain);
        (!names.is_empty() && parts.iter().all(is_good)).then(|| Self(parts.join("/")))
    }

    /// Whether it is a package of an export that everybody opens who can read it:
    /// `<tenant>/results/<execution>/export....zip`.
    pub fn is_export(&self) -> bool {
        let parts: Vec<&str> = self.0.split('/').collect();
        matches!(parts[..], [_, RESULTS, _, name] if name.starts_with(EXPORT) && name.ends_with(".zip"))
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Blobs to read.
#[async_trait]
pub trait BlobReader: Send + Sync {
    /// The blob, if there is one.
    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError>;

    /// How many bytes the blob has, if there is one.
    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, StoreError>;

    /// How the store encrypts the blob that is there, if it says so: `sse-kms`, `sse-s3` or `installation_key`. Whoever may read it needs no key.
    async fn encryption(&self, _key: &BlobKey) -> Result<Option<&'static str>, StoreError> {
        Ok(None)
    }

    /// The `length` bytes of the blob that begin at `offset`, if there is one; fewer where it ends before.
    async fn get_part(&self, key: &BlobKey, offset: u64, length: u64) -> Result<Option<Bytes>, StoreError>;
}

/// The most names that a list has; one with fewer is the last one.
pub const LISTED: usize = 1_000;

/// Blobs to read and write.
#[async_trait]
pub trait Blobs: BlobReader {
    /// Stores a blob, whole or not at all, in place of the one that may be there. No more than a few MiB of it are in
    /// memory at a time. An error in the body is handed on.
    async fn put(&self, key: &BlobKey, body: BlobBody) -> Result<(), StoreError>;

    /// Removes those of these blobs that are there.
    async fn remove(&self, keys: &[BlobKey]) -> Result<(), StoreError>;

    /// The names of the blobs in this folder of the tenant, in their order: those behind `after`, [`LISTED`] of them at most.
    async fn list(&self, tenant_id: &str, folder: &[&str], after: Option<&str>) -> Result<Vec<String>, StoreError>;

    /// Removes every blob below this folder of the tenant. Nobody may be writing one there.
    async fn remove_folder(&self, tenant_id: &str, folder: &[&str]) -> Result<(), StoreError>;
}
