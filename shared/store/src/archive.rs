//! The archive: where executions go that ended long ago, as every store writes and reads it.
//!
//! An execution is one blob of JSON lines, `<tenant>/executions/<id>.jsonl`: the record, then its events. The request,
//! which is what holds personal data, is not among them.

use bytes::{Bytes, BytesMut};
use contracts::responses::Items;
use contracts::{Event, EventType};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::{BlobBody, BlobKey, BlobReader, Blobs, ExecutionRecord, HistoryPage, HistoryRow, Naming, StoreError};

/// The folder of a tenant's archived executions.
pub const ARCHIVE: &str = "executions";

/// The first line of a blob.
#[derive(Debug, Serialize, Deserialize)]
pub struct ArchiveHead {
    format: u32,
    /// Lines that follow.
    pub events: u64,
    /// The execution.
    pub record: ExecutionRecord,
    /// How far its batches were; none of archives from before they were counted.
    #[serde(default)]
    pub items: Option<Items>,
}

/// The format that is written.
const FORMAT: u32 = 1;

impl ArchiveHead {
    /// An execution with so many events.
    ///
    /// # Errors
    /// Its record is damaged: it stays where it can be repaired.
    pub fn new(record: ExecutionRecord, items: Option<Items>, events: u64) -> Result<Self, StoreError> {
        match &record.damage {
            None => Ok(Self { format: FORMAT, events, record, items }),
            Some(damage) => Err(StoreError::Inconsistent(format!("{} is damaged: {}", record.id, damage.why))),
        }
    }

    /// Where its blob is.
    ///
    /// # Errors
    /// Its tenant and id are no names of blobs.
    pub fn key(&self) -> Result<BlobKey, StoreError> {
        let (tenant_id, id) = (&self.record.tenant_id, &self.record.id);
        key(tenant_id, id)
            .ok_or_else(|| StoreError::Inconsistent(format!("'{tenant_id}', '{id}' are no names of blobs")))
    }

    /// The blob, of all events in their order, which come in parts. It fails where one is missing.
    ///
    /// # Errors
    /// The record cannot be written as JSON.
    pub fn blob(&self, parts: BoxStream<'static, Result<Vec<Event>, StoreError>>) -> Result<BlobBody, StoreError> {
        let (first, id, expected) = (line(self)?, self.record.id.clone(), self.events);
        let events = stream::try_unfold((parts, 0), move |(mut parts, mut last)| {
            let id = id.clone();
            async move {
                let Some(events) = parts.try_next().await? else {
                    return if last == expected { Ok(None) } else { Err(incomplete(&id)) };
                };
                let mut lines = BytesMut::new();
                for event in &events {
                    last += 1;
                    if event.event_id != last {
                        return Err(incomplete(&id));
                    }
                    lines.extend_from_slice(&line(event)?);
                }
                Ok(Some((lines.freeze(), (parts, last))))
            }
        });
        Ok(stream::iter([Ok(first)]).chain(events).boxed())
    }
}

/// The record of an execution that is archived, and how far its batches were.
///
/// # Errors
/// The blob cannot be read, or is damaged.
pub async fn archived_state(
    blobs: Option<&dyn BlobReader>,
    tenant_id: &str,
    id: &str,
) -> Result<Option<(ExecutionRecord, Option<Items>)>, StoreError> {
    let Some(mut lines) = archived(blobs, tenant_id, id).await? else { return Ok(None) };
    let ArchiveHead { record, items, .. } = head(&mut lines).await?;
    Ok(Some((record, items)))
}

/// A part of the history of an execution that is archived. Events of some types are only counted by reading all.
///
/// # Errors
/// The blob cannot be read, or is damaged.
pub async fn archived_events(
    blobs: Option<&dyn BlobReader>,
    tenant_id: &str,
    id: &str,
    types: &[EventType],
    after: u64,
    limit: u32,
) -> Result<Option<HistoryPage>, StoreError> {
    let Some(mut lines) = archived(blobs, tenant_id, id).await? else { return Ok(None) };
    let events = head(&mut lines).await?.events;
    let is_of = |kind: &str| types.is_empty() || types.iter().any(|wanted| wanted.as_str() == kind);
    let (mut of_types, mut rows, mut more) = (0, Vec::new(), false);
    while !(more && types.is_empty())
        && let Some(line) = lines.next().await?
    {
        let event: Event = parse(&line)?;
        if !is_of(&event.event_type) {
            continue;
        }
        of_types += 1;
        more |= rows.len() == limit as usize;
        if event.event_id > after && !more {
            rows.push(HistoryRow { execution_id: id.to_owned(), event, damage: None });
        }
    }
    let next = rows.last().filter(|_| more).map(|row| row.event.event_id.to_string());
    let total = if types.is_empty() { events } else { of_types };
    Ok(Some(HistoryPage { rows, total, total_is_exact: true, next }))
}

/// Lets the archived executions of a tenant that name a person name a pseudonym instead; how many of them did. `names` are
/// those of blobs in [`ARCHIVE`].
///
/// # Errors
/// A blob cannot be read or written. It may be done again.
pub async fn forget_archived(
    blobs: &dyn Blobs,
    tenant_id: &str,
    names: Vec<String>,
    (person, pseudonym): (&str, &str),
) -> Result<u64, StoreError> {
    /// Blobs at a time.
    const CONCURRENCY: usize = 16;
    let naming = [person, pseudonym].map(Naming::of);
    let forgotten = stream::iter(names).map(|name| {
        let naming = naming.clone();
        async move {
            let Some(key) = BlobKey::new(tenant_id, &[ARCHIVE, &name]) else { return Ok(false) };
            let Some(mut lines) = lines_of(blobs, &key).await? else { return Ok(false) };
            while let Some(line) = lines.next().await? {
                if naming[0].is_in(&String::from_utf8_lossy(&line)) {
                    rename(blobs, &key, naming).await?;
                    return Ok(true);
                }
            }
            Ok(false)
        }
    });
    let forgotten: Vec<bool> = forgotten.buffer_unordered(CONCURRENCY).try_collect().await?;
    Ok(forgotten.into_iter().filter(|is_renamed| *is_renamed).count() as u64)
}

/// Writes a blob anew with other names.
async fn rename(blobs: &dyn Blobs, key: &BlobKey, naming: [Naming; 2]) -> Result<(), StoreError> {
    let Some(lines) = lines_of(blobs, key).await? else { return Ok(()) };
    let renamed = stream::try_unfold((lines, naming), async |(mut lines, naming)| {
        let Some(line) = lines.next().await? else { return Ok(None) };
        let line = std::str::from_utf8(&line).map_err(|error| StoreError::Inconsistent(error.to_string()))?;
        let line = naming[0].replaced(line, &naming[1]);
        Ok(Some((Bytes::from(line), (lines, naming))))
    });
    blobs.put(key, renamed.boxed()).await
}

async fn lines_of(blobs: &dyn BlobReader, key: &BlobKey) -> Result<Option<Lines>, StoreError> {
    Ok(blobs.get(key).await?.map(|body| Lines { body, rest: BytesMut::new() }))
}

async fn archived(blobs: Option<&dyn BlobReader>, tenant_id: &str, id: &str) -> Result<Option<Lines>, StoreError> {
    let (Some(blobs), Some(key)) = (blobs, key(tenant_id, id)) else { return Ok(None) };
    lines_of(blobs, &key).await
}

fn key(tenant_id: &str, id: &str) -> Option<BlobKey> {
    BlobKey::new(tenant_id, &[ARCHIVE, &format!("{id}.jsonl")])
}

fn incomplete(id: &str) -> StoreError {
    StoreError::Inconsistent(format!("the history of {id} has gaps"))
}

fn line(value: &impl Serialize) -> Result<Bytes, StoreError> {
    let mut line = serde_json::to_vec(value).map_err(|error| StoreError::Inconsistent(error.to_string()))?;
    line.push(b'\n');
    Ok(line.into())
}

fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(line).map_err(|error| StoreError::Inconsistent(format!("a line of the archive: {error}")))
}

async fn head(lines: &mut Lines) -> Result<ArchiveHead, StoreError> {
    let line = lines.next().await?.ok_or_else(|| StoreError::Inconsistent("an archive is empty".to_owned()))?;
    let head: ArchiveHead = parse(&line)?;
    match head.format {
        FORMAT => Ok(head),
        other => Err(StoreError::Inconsistent(format!("the archive is of format {other}, which is not known"))),
    }
}

/// A blob line by line.
struct Lines {
    body: BlobBody,
    rest: BytesMut,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<BytesMut>, StoreError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.rest.split_to(searched + end + 1)));
            }
            searched = self.rest.len();
            match self.body.next().await {
                Some(more) => self.rest.extend_from_slice(&more?),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(StoreError::Inconsistent("an archive breaks off".to_owned())),
            }
        }
    }
}
