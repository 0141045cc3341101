//! The files of distributed Maps: items to read, results to write, all of them blobs of the execution's tenant. There is
//! one store of blobs here, so the name of the bucket makes no difference.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asl::{ChildPath, ItemDecoder, ItemSource, ItemsError, MapRunId, ResultFiles, ResultTarget, Told, WantedItem};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::Value;
use store::{BlobBody, BlobKey, Blobs, JournalRecord, MAX_RECORDS_READ, RecordSelection, StoreError};

use crate::answers;
use crate::reading::Reading;
use crate::records::{Entry, Record};

/// The files of one execution's Maps.
pub(crate) struct MapFiles {
    blobs: Arc<dyn Blobs>,
    /// Where the ends of children are.
    reading: Reading,
    tenant_id: String,
    execution_id: String,
    /// Where reading has come to.
    open: HashMap<(ChildPath, MapRunId), Items>,
}

/// Where the journal tells the end of a child.
#[derive(Debug, Clone, Copy)]
struct End {
    /// Its item's index.
    index: u64,
    /// The record's number.
    number: u64,
}

struct Items {
    decoder: ItemDecoder,
    /// None once it has been read to its end.
    body: Option<BlobBody>,
    /// The next item's index.
    next: u64,
}

impl MapFiles {
    pub(crate) fn new(blobs: Arc<dyn Blobs>, reading: Reading, tenant_id: &str, execution_id: &str) -> Self {
        let (tenant_id, execution_id) = (tenant_id.to_owned(), execution_id.to_owned());
        Self { blobs, reading, tenant_id, execution_id, open: HashMap::new() }
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
                if answers::is_too_deep(&item) {
                    return Err(unreadable(wanted.map_run, format!("The item {} nests too deeply.", wanted.index)));
                }
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

    /// Writes what became of the children of a Map, which the journal knows: an event for it.
    pub(crate) async fn write(
        &mut self,
        path: &ChildPath,
        map_run: MapRunId,
        map_run_arn: &str,
        target: &ResultTarget,
    ) -> Result<asl::Event, StoreError> {
        let files = match ResultFiles::new(map_run_arn, target) {
            Ok(files) => files,
            Err(cause) => return Ok(unwritable(map_run, cause)),
        };
        let ends = self.ends(path, map_run).await?;
        Ok(match self.try_write(&files, ends).await {
            Ok(()) => asl::Event::ResultsWritten { map_run, result: files.result() },
            Err(cause) => unwritable(map_run, cause),
        })
    }

    /// The ends of the children that succeeded, and of those that failed. All that is kept of an end is its place in the
    /// journal: there may be many, and results may be large.
    async fn ends(&mut self, path: &ChildPath, map_run: MapRunId) -> Result<[Vec<End>; 2], StoreError> {
        let mut ends = [Vec::new(), Vec::new()];
        let mut records = self.reading.records(&self.tenant_id, &self.execution_id);
        while let Some(part) = records.next().await? {
            for (number, record) in part {
                let record = Record::from_journal(record)?;
                if let Entry::Told(Told::End { map_run: of, index, has_failed, .. }) = record.what
                    && (&record.path, of) == (path, map_run)
                {
                    ends[usize::from(has_failed)].push(End { index, number });
                }
            }
        }
        ends.iter_mut().for_each(|ends| ends.sort_by_key(|end| end.index));
        Ok(ends)
    }

    async fn try_write(&mut self, files: &ResultFiles, ends: [Vec<End>; 2]) -> Result<(), String> {
        let mut sizes = [None, None];
        for ((size, has_failed), ends) in sizes.iter_mut().zip([false, true]).zip(ends) {
            if !ends.is_empty() {
                let written = Arc::new(AtomicU64::new(0));
                let results = self.results(ends, Arc::clone(&written));
                self.put(&files.key(has_failed), results).await?;
                *size = Some(written.load(Ordering::Relaxed));
            }
        }
        let manifest = Bytes::from(files.manifest(sizes[0], sizes[1]).to_string());
        self.put(&files.manifest_key(), stream::iter([Ok(manifest)]).boxed()).await
    }

    /// A JSON array of what these ends say, read while it is written; counts its bytes.
    fn results(&self, ends: Vec<End>, written: Arc<AtomicU64>) -> BlobBody {
        let (reading, tenant_id, id) = (self.reading.clone(), self.tenant_id.clone(), self.execution_id.clone());
        let parts: Vec<Vec<End>> = ends.chunks(MAX_RECORDS_READ).map(<[End]>::to_vec).collect();
        let parts = stream::iter(parts.into_iter().enumerate()).then(move |(part, ends)| {
            let (reading, tenant_id, id) = (reading.clone(), tenant_id.clone(), id.clone());
            async move {
                let numbers = ends.iter().map(|end| end.number).collect();
                let records = reading.some(&tenant_id, &id, RecordSelection::Numbered(numbers)).await?;
                text_of(&ends, records.into_iter().collect(), part == 0)
            }
        });
        let end = stream::iter([Ok(Bytes::from_static(b"]"))]);
        let count = move |bytes: &Result<Bytes, StoreError>| {
            let bytes = bytes.as_ref().map_or(0, Bytes::len);
            written.fetch_add(bytes as u64, Ordering::Relaxed);
        };
        parts.chain(end).inspect(count).boxed()
    }

    async fn put(&mut self, key: &str, body: BlobBody) -> Result<(), String> {
        self.blobs.put(&self.key(key)?, body).await.map_err(|error| error.to_string())
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

/// The results of these ends, in their order, each behind a comma or, the first one of all, a bracket.
fn text_of(ends: &[End], mut records: HashMap<u64, JournalRecord>, is_first: bool) -> Result<Bytes, StoreError> {
    let mut text = String::new();
    for End { number, .. } in ends {
        let record = records.remove(number).map(Record::from_journal).transpose()?;
        let Some(Record { what: Entry::Told(Told::End { result, .. }), .. }) = record else {
            return Err(StoreError::Inconsistent(format!("the record {number} is not there any more")));
        };
        text.push(if is_first && text.is_empty() { '[' } else { ',' });
        text.push_str(&result.to_string());
    }
    Ok(text.into())
}

fn unwritable(map_run: MapRunId, cause: String) -> asl::Event {
    asl::Event::MapRunFailed { map_run, error: ResultFiles::ERROR.to_owned(), cause }
}

fn unreadable(map_run: MapRunId, cause: String) -> asl::Event {
    asl::Event::MapRunFailed { map_run, error: ItemsError::NAME.to_owned(), cause }
}
