//! The files of distributed Maps: items to read, results to write, all of them blobs of the execution's tenant. There is
//! one store of blobs here, so the name of the bucket makes no difference.

use std::collections::HashMap;
use std::sync::Arc;

use asl::{ChildEnd, ChildPath, ItemDecoder, ItemSource, ItemsError, MapRunId, ResultFiles, ResultTarget, WantedItem};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::Value;
use store::{BlobBody, BlobKey, Blobs, StoreError};

/// The files of one execution's Maps.
pub(crate) struct MapFiles {
    blobs: Arc<dyn Blobs>,
    tenant_id: String,
    /// Where reading has come to.
    open: HashMap<(ChildPath, MapRunId), Items>,
}

struct Items {
    decoder: ItemDecoder,
    /// None once it has been read to its end.
    body: Option<BlobBody>,
    /// The next item's index.
    next: u64,
}

impl MapFiles {
    pub(crate) fn new(blobs: Arc<dyn Blobs>, tenant_id: &str) -> Self {
        Self { blobs, tenant_id: tenant_id.to_owned(), open: HashMap::new() }
    }

    /// Counts the items of a source: an event for the Map that wants them.
    pub(crate) async fn count(&mut self, map_run: MapRunId, source: &ItemSource) -> asl::Event {
        match self.read_to_end(source).await {
            Ok(count) => asl::Event::ItemsRead { map_run, count },
            Err(cause) => unreadable(map_run, cause),
        }
    }

    /// The item that is wanted, or an event for the Map that wants it.
    pub(crate) async fn item(&mut self, wanted: &WantedItem) -> Result<Value, asl::Event> {
        let key = (wanted.path.clone(), wanted.map_run);
        let mut items = match self.open.remove(&key) {
            Some(items) if items.next <= wanted.index => items,
            _ => self.begin(&wanted.source).await.map_err(|cause| unreadable(wanted.map_run, cause))?,
        };
        loop {
            let item = match items.read().await {
                Ok(Some(item)) => item,
                Ok(None) => return Err(unreadable(wanted.map_run, "The file became shorter.".to_owned())),
                Err(cause) => return Err(unreadable(wanted.map_run, cause)),
            };
            if items.next > wanted.index {
                if items.next < wanted.items {
                    self.open.insert(key, items);
                }
                return Ok(item);
            }
        }
    }

    /// Nothing more is read for a Map.
    pub(crate) fn close(&mut self, key: &(ChildPath, MapRunId)) {
        self.open.remove(key);
    }

    /// Writes what became of the children: an event for the Map that wants that.
    pub(crate) async fn write(
        &mut self,
        map_run: MapRunId,
        map_run_arn: &str,
        target: &ResultTarget,
        ends: Vec<ChildEnd>,
    ) -> asl::Event {
        match self.try_write(map_run_arn, target, ends).await {
            Ok(result) => asl::Event::ResultsWritten { map_run, result },
            Err(cause) => asl::Event::MapRunFailed { map_run, error: ResultFiles::ERROR.to_owned(), cause },
        }
    }

    async fn try_write(&mut self, arn: &str, target: &ResultTarget, mut ends: Vec<ChildEnd>) -> Result<Value, String> {
        let files = ResultFiles::new(arn, target)?;
        ends.sort_by_key(|end| end.index);
        let (failed, succeeded): (Vec<_>, Vec<_>) = ends.into_iter().partition(|end| end.has_failed);
        let mut sizes = [None, None];
        for (size, (has_failed, ends)) in sizes.iter_mut().zip([(false, succeeded), (true, failed)]) {
            if ends.is_empty() {
                continue;
            }
            let results = ends.iter().enumerate().map(|(number, end)| {
                let before = if number == 0 { "[" } else { "," };
                Bytes::from(format!("{before}{}", end.result))
            });
            let parts: Vec<Bytes> = results.chain([Bytes::from_static(b"]")]).collect();
            *size = Some(parts.iter().map(|part| part.len() as u64).sum());
            self.put(&files.key(has_failed), parts).await?;
        }
        let manifest = files.manifest(sizes[0], sizes[1]).to_string();
        self.put(&files.manifest_key(), vec![manifest.into()]).await?;
        Ok(files.result())
    }

    async fn put(&mut self, key: &str, parts: Vec<Bytes>) -> Result<(), String> {
        let key = self.key(key)?;
        self.blobs.put(&key, stream::iter(parts).map(Ok).boxed()).await.map_err(|error| error.to_string())
    }

    async fn read_to_end(&mut self, source: &ItemSource) -> Result<u64, String> {
        let mut items = self.begin(source).await?;
        while items.read().await?.is_some() {}
        Ok(items.next)
    }

    async fn begin(&mut self, source: &ItemSource) -> Result<Items, String> {
        let key = source.arguments["Key"].as_str().ok_or("The ItemReader's 'Key' must be a string.")?;
        let decoder = ItemDecoder::new(source).map_err(|error| error.to_string())?;
        let body = self.blobs.get(&self.key(key)?).await.map_err(|error| error.to_string())?;
        let body = body.ok_or_else(|| format!("There is no object with the key '{key}'."))?;
        Ok(Items { decoder, body: Some(body), next: 0 })
    }

    /// A key begins with the tenant: nobody reads or writes another's.
    fn key(&self, key: &str) -> Result<BlobKey, String> {
        let names = key.strip_prefix(&self.tenant_id).and_then(|rest| rest.strip_prefix('/'));
        let names: Vec<&str> = names.into_iter().flat_map(|names| names.split('/')).collect();
        BlobKey::new(&self.tenant_id, &names)
            .ok_or_else(|| format!("The key '{key}' is no key of the tenant '{}'.", self.tenant_id))
    }
}

impl Items {
    async fn read(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(item) = self.decoder.poll_item() {
                self.next += 1;
                return Ok(Some(item));
            }
            let Some(body) = self.body.as_mut().filter(|_| !self.decoder.is_done()) else { return Ok(None) };
            let decoded = match body.next().await {
                Some(Ok(bytes)) => self.decoder.push(&bytes),
                Some(Err(error)) => return Err(StoreError::to_string(&error)),
                None => {
                    self.body = None;
                    self.decoder.finish()
                }
            };
            decoded.map_err(|error| error.to_string())?;
        }
    }
}

fn unreadable(map_run: MapRunId, cause: String) -> asl::Event {
    asl::Event::MapRunFailed { map_run, error: ItemsError::NAME.to_owned(), cause }
}
