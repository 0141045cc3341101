//! What the engine itself wants done outside of a workflow: the end recorded, a cancel made known, items of a Map read,
//! results of a Map written. They are repeated until they are done.

use std::sync::Arc;

use asl::{ItemDecoder, ItemSource, ItemsError, ResultFiles, ResultTarget};
use bytes::Bytes;
use contracts::Timestamp;
use engine_temporal::StateMachineFailure;
use futures::{StreamExt as _, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{BlobBody, BlobKey, Blobs, Control, Controlled, EndRecorder, EngineEnd, Executions, StoreError};
use temporalio_common::ActivityError;
use temporalio_common::error::ApplicationFailure;

use crate::failure::failure;

/// Items in one answer, and their bytes: what goes through a server's history is to be small.
const MAX_ITEMS: usize = 500;
const MAX_ITEM_BYTES: usize = 512 * 1024;

/// The chores, by the name of their activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chore {
    RecordEnd,
    RequestCancel,
    CountItems,
    ReadItems,
    WriteResults,
}

impl Chore {
    pub(crate) const ALL: [Self; 5] =
        [Self::RecordEnd, Self::RequestCancel, Self::CountItems, Self::ReadItems, Self::WriteResults];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RecordEnd => "record_end",
            Self::RequestCancel => "request_cancel",
            Self::CountItems => "count_map_items",
            Self::ReadItems => "read_map_items",
            Self::WriteResults => "write_map_results",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chore| chore.name() == name)
    }
}

/// Which execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExecutionRef {
    pub(crate) tenant_id: String,
    pub(crate) id: String,
}

/// The input of `record_end`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordEnd {
    pub(crate) execution: ExecutionRef,
    pub(crate) end: Result<Value, StateMachineFailure>,
    pub(crate) at: Timestamp,
}

/// The input of `count_map_items`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CountItems {
    pub(crate) tenant_id: String,
    pub(crate) source: ItemSource,
}

/// The input of `read_map_items`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadItems {
    pub(crate) tenant_id: String,
    pub(crate) source: ItemSource,
    /// The first item's index.
    pub(crate) from: u64,
    /// The index of the first one that is not wanted.
    pub(crate) to: u64,
}

/// The input of `write_map_results`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WriteResults {
    pub(crate) tenant_id: String,
    pub(crate) map_run_arn: String,
    pub(crate) target: ResultTarget,
    /// What the children came to, in order.
    pub(crate) succeeded: Vec<Value>,
    pub(crate) failed: Vec<Value>,
}

/// Does chores.
pub(crate) struct Chores {
    pub(crate) executions: Arc<dyn Executions>,
    pub(crate) ends: Arc<dyn EndRecorder>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) clock: clock::SharedClock,
}

impl Chores {
    pub(crate) async fn run(&self, chore: Chore, input: Value) -> Result<Value, ActivityError> {
        match chore {
            Chore::RecordEnd => self.record_end(read(input)?).await,
            Chore::RequestCancel => self.request_cancel(read(input)?).await,
            Chore::CountItems => self.count_items(read(input)?).await.map(|count| json!(count)),
            Chore::ReadItems => self.read_items(read(input)?).await.map(Value::Array),
            Chore::WriteResults => self.write_results(read(input)?).await,
        }
    }

    async fn record_end(&self, wanted: RecordEnd) -> Result<Value, ActivityError> {
        let RecordEnd { execution: ExecutionRef { tenant_id, id }, end, at } = wanted;
        let end = match end {
            Ok(output) => EngineEnd::Succeeded(output),
            Err(StateMachineFailure { error, cause }) => EngineEnd::Failed { error, cause },
        };
        let recorded = self.ends.record_end(&tenant_id, &id, &end, at, None).await.map_err(again)?;
        Ok(json!({ "recorded": recorded }))
    }

    async fn request_cancel(&self, execution: ExecutionRef) -> Result<Value, ActivityError> {
        let ExecutionRef { tenant_id, id } = execution;
        let now = self.clock.now();
        let controlled = self.executions.control(&tenant_id, &id, Control::Cancel, now, None).await.map_err(again)?;
        Ok(json!({ "accepted": matches!(controlled, Controlled::Accepted(_)) }))
    }

    async fn count_items(&self, wanted: CountItems) -> Result<u64, ActivityError> {
        let mut items = self.items(&wanted.tenant_id, &wanted.source).await?;
        let mut count = 0;
        while items.next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    async fn read_items(&self, wanted: ReadItems) -> Result<Vec<Value>, ActivityError> {
        let mut items = self.items(&wanted.tenant_id, &wanted.source).await?;
        for _ in 0..wanted.from {
            items.next().await?;
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        for _ in wanted.from..wanted.to {
            let item = items.next().await?.ok_or_else(|| unreadable("The file became shorter."))?;
            bytes += item.to_string().len();
            // One at least, so that it goes on.
            if !found.is_empty() && (bytes > MAX_ITEM_BYTES || found.len() == MAX_ITEMS) {
                break;
            }
            found.push(item);
        }
        Ok(found)
    }

    async fn write_results(&self, wanted: WriteResults) -> Result<Value, ActivityError> {
        let unwritable = |cause: String| failure(ResultFiles::ERROR, &cause);
        let files = ResultFiles::new(&wanted.map_run_arn, &wanted.target).map_err(unwritable)?;
        let mut sizes = [None, None];
        for (size, (has_failed, results)) in sizes.iter_mut().zip([(false, wanted.succeeded), (true, wanted.failed)]) {
            if results.is_empty() {
                continue;
            }
            let body = Value::Array(results).to_string();
            *size = Some(body.len() as u64);
            self.put(&wanted.tenant_id, &files.key(has_failed), body).await?;
        }
        let manifest = files.manifest(sizes[0], sizes[1]).to_string();
        self.put(&wanted.tenant_id, &files.manifest_key(), manifest).await?;
        Ok(files.result())
    }

    async fn put(&self, tenant_id: &str, key: &str, body: String) -> Result<(), ActivityError> {
        let key = blob_key(tenant_id, key).map_err(|cause| failure(ResultFiles::ERROR, &cause))?;
        let body = stream::iter([Ok(Bytes::from(body))]).boxed();
        self.blobs.put(&key, body).await.map_err(again)
    }

    async fn items(&self, tenant_id: &str, source: &ItemSource) -> Result<Items, ActivityError> {
        let key = source.arguments["Key"].as_str().ok_or("The ItemReader's 'Key' must be a string.".to_owned());
        let key = key.and_then(|key| Ok((key, blob_key(tenant_id, key)?))).map_err(|cause| unreadable(&cause))?;
        let decoder = ItemDecoder::new(source).map_err(|error| unreadable(&error.to_string()))?;
        let body = self.blobs.get(&key.1).await.map_err(again)?;
        let body = body.ok_or_else(|| unreadable(&format!("There is no object with the key '{}'.", key.0)))?;
        Ok(Items { decoder, body: Some(body) })
    }
}

/// A file of items, as it is read.
struct Items {
    decoder: ItemDecoder,
    /// None once it has been read to its end.
    body: Option<BlobBody>,
}

impl Items {
    async fn next(&mut self) -> Result<Option<Value>, ActivityError> {
        loop {
            if let Some(item) = self.decoder.poll_item() {
                return Ok(Some(item));
            }
            let Some(body) = self.body.as_mut().filter(|_| !self.decoder.is_done()) else { return Ok(None) };
            let decoded = match body.next().await {
                Some(bytes) => self.decoder.push(&bytes.map_err(again)?),
                None => {
                    self.body = None;
                    self.decoder.finish()
                }
            };
            decoded.map_err(|error| unreadable(&error.to_string()))?;
        }
    }
}

/// A key begins with the tenant: nobody reads or writes another's. There is one store of blobs here, so the name of the
/// bucket makes no difference.
fn blob_key(tenant_id: &str, key: &str) -> Result<BlobKey, String> {
    let names = key.strip_prefix(tenant_id).and_then(|rest| rest.strip_prefix('/'));
    let names: Vec<&str> = names.into_iter().flat_map(|names| names.split('/')).collect();
    BlobKey::new(tenant_id, &names).ok_or_else(|| format!("The key '{key}' is no key of the tenant '{tenant_id}'."))
}

fn unreadable(cause: &str) -> ActivityError {
    failure(ItemsError::NAME, cause)
}

fn read<T: DeserializeOwned>(input: Value) -> Result<T, ActivityError> {
    serde_json::from_value(input)
        .map_err(|error| failure(contracts::ErrorName::Internal.as_str(), &format!("malformed input: {error}")))
}

/// It is repeated.
fn again(error: StoreError) -> ActivityError {
    let failure = ApplicationFailure::builder(error).type_name(contracts::ErrorName::ServiceUnavailable.to_string());
    ActivityError::application(failure.build())
}
