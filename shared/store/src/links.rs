//! Links to blobs, for who has no other way to them.

use std::time::Duration;

use async_trait::async_trait;
use contracts::Timestamp;

use crate::{BlobKey, StoreError};

/// A link that does one thing with one blob until it expires. Whoever has it may use it: it stands for the permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// An absolute URL, or a path of this service.
    pub url: String,
    /// Headers that a request by the link must have, by name.
    pub headers: Vec<(String, String)>,
    /// From then on it does nothing.
    pub expires_at: Timestamp,
}

/// Makes links.
#[async_trait]
pub trait BlobLinks: Send + Sync {
    /// A link to read the blob, which is saved under this name.
    async fn download(&self, key: &BlobKey, file_name: &str, valid_for: Duration) -> Result<Link, StoreError>;

    /// A link to store the blob, of exactly so many bytes, once: not where there is one.
    async fn upload(&self, key: &BlobKey, bytes: u64, valid_for: Duration) -> Result<Link, StoreError>;
}
