//! Blobs in memory, for tests of what stands on the port.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{BlobBody, BlobKey, BlobReader, Blobs, LISTED, StoreError};

/// Blobs that go with it.
#[derive(Debug, Default)]
pub struct MemoryBlobs(Mutex<BTreeMap<String, Bytes>>);

impl MemoryBlobs {
    /// What there is, by key.
    pub fn all(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlobReader for MemoryBlobs {
    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError> {
        let found = self.all().get(&key.to_string()).cloned();
        Ok(found.map(|bytes| stream::iter([Ok(bytes)]).boxed()))
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        Ok(self.all().get(&key.to_string()).map(|bytes| bytes.len() as u64))
    }

    async fn get_part(&self, key: &BlobKey, offset: u64, length: u64) -> Result<Option<Bytes>, StoreError> {
        let found = self.all().get(&key.to_string()).cloned();
        Ok(found.map(|bytes| {
            let end = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
            bytes.slice(end(offset)..end(offset.saturating_add(length)))
        }))
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, key: &BlobKey, body: BlobBody) -> Result<(), StoreError> {
        let parts: Vec<Bytes> = body.try_collect().await?;
        self.all().insert(key.to_string(), parts.concat().into());
        Ok(())
    }

    async fn remove(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        self.all().retain(|known, _| keys.iter().all(|key| key.to_string() != *known));
        Ok(())
    }

    async fn list(&self, tenant_id: &str, folder: &[&str], after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let Some(folder) = BlobKey::new(tenant_id, folder).map(|key| format!("{key}/")) else { return Ok(Vec::new()) };
        let all = self.all();
        let names = all.keys().filter_map(|key| key.strip_prefix(&folder)).filter(|name| !name.contains('/'));
        let names = names.filter(|name| after.is_none_or(|after| *name > after));
        Ok(names.take(LISTED).map(str::to_owned).collect())
    }

    async fn remove_folder(&self, tenant_id: &str, folder: &[&str]) -> Result<(), StoreError> {
        let folder = BlobKey::new(tenant_id, folder).map(|key| format!("{key}/")).unwrap_or_else(|| "/".to_owned());
        self.all().retain(|known, _| !known.starts_with(&folder));
        Ok(())
    }
}
