//! Executions that ended long ago: their records and histories move to S3, and out of the table.
//!
//! In S3 an execution is one blob, see [`store::ArchiveHead`]. The request, which is what holds personal data, is not in it.
//!
//! # Order
//! 1. The blob is stored.
//! 2. One transaction marks the execution as archived, takes it out of lists and totals, and forgets its
//!    `Idempotency-Key`. From here on its history is read from the blob.
//! 3. Its events get their time to live, then the execution itself, which is no longer due.
//!
//! Whatever is interrupted is due again: up to the mark from the beginning, after it from there. So an event is never
//! removed before its blob is durable, and a blob is never written from a history that has begun to go.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem};
use contracts::responses::Items;
use contracts::{Event, EventType, Timestamp};
use futures::future::try_join_all;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use store::{ArchiveHead, Blobs, ExecutionRecord, HistoryPage, StoreError, archived_events, archived_state};

use crate::blobs::PART_BYTES;
use crate::change::Change;
use crate::executions::{Due, counter};
use crate::history::event;
use crate::item::{Attributes, Item, moment, number, record, text};
use crate::keys::{self, ALONE};
use crate::table::TIME_TO_LIVE;
use crate::transaction::Transacted;
use crate::{DynamoStore, batch};

/// How long items stay after they were archived.
const STAY: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Executions that are archived at the same time.
const CONCURRENCY: usize = 16;

/// The most that is in memory of histories that are archived at the same time: of each a part that is under way, and one
/// that is being read.
pub const MAX_ARCHIVING_BYTES: usize = CONCURRENCY * 2 * PART_BYTES;

/// What became of the executions that were due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    /// Moved.
    pub executions: usize,
    /// Not moved for an error, which was logged; still due.
    pub failed: usize,
    /// The last one that was due, where the next call goes on; none if nothing was due.
    pub last: Option<String>,
}

impl DynamoStore {
    /// Moves executions that ended before `ended_before` to the archive, the oldest first, `limit` of them at most, after
    /// the `last` one of an earlier call.
    pub async fn archive(
        &self,
        blobs: &dyn Blobs,
        ended_before: Timestamp,
        last: Option<&str>,
        limit: u32,
    ) -> Result<Archived, StoreError> {
        let due = self.due(keys::ended, last, ended_before, limit).await?;
        let last = due.last().map(|due| due.key.clone());
        let moved = stream::iter(due.into_iter().map(|Due { tenant_id, id, .. }| async move {
            let moved = self.archive_one(blobs, &tenant_id, &id).await;
            if let Err(error) = &moved {
                tracing::error!(tenant_id, workflow_id = id, %error, "an execution is not archived");
            }
            moved.is_ok()
        }));
        let moved: Vec<bool> = moved.buffer_unordered(CONCURRENCY).collect().await;
        let executions = moved.iter().filter(|is_moved| **is_moved).count();
        Ok(Archived { executions, failed: moved.len() - executions, last })
    }

    async fn archive_one(&self, blobs: &dyn Blobs, tenant_id: &str, id: &str) -> Result<(), StoreError> {
        // It may be gone: an index is behind its table.
        let Some(item) = self.execution(tenant_id, id).await? else { return Ok(()) };
        if !item.has("archived_at") {
            let record = record(&item);
            let items = if item.flag("has_batches") { self.items(tenant_id, id).await? } else { None };
            let head = ArchiveHead::new(record, items, item.number("history_len")?)?;
            blobs.put(&head.key()?, head.blob(self.clone().parts(&head))?).await?;
            self.mark_archived(&item, &head).await?;
        }
        self.expire(tenant_id, id, &item).await
    }

    /// The events of an execution, in parts.
    fn parts(self, head: &ArchiveHead) -> BoxStream<'static, Result<Vec<Event>, StoreError>> {
        let (tenant_id, id) = (head.record.tenant_id.clone(), head.record.id.clone());
        let parts = stream::try_unfold(0, move |after: u64| {
            let (store, tenant_id, id) = (self.clone(), tenant_id.clone(), id.clone());
            async move {
                let rows = store.partition(&tenant_id, &id, &keys::event(after + 1), u32::MAX).await?;
                let events = rows.iter().map(event).collect::<Result<Vec<_>, _>>()?;
                let read = events.len() as u64;
                Ok((read > 0).then_some((events, after + read)))
            }
        });
        parts.boxed()
    }

    async fn mark_archived(&self, item: &Item, head: &ArchiveHead) -> Result<(), StoreError> {
        let record = &head.record;
        let mut change = Change::default();
        change.set("archived_at", moment(self.clock.now()));
        for listed_by in ["tenant_pk", "kind_pk", "status_pk", "user_pk", "list_sk"] {
            change.remove(listed_by);
        }
        change.only_if_present("ended_at");
        change.only_if_absent("archived_at");
        let mut totals = Change::default();
        totals.add(&counter(record, record.status), -1);
        totals.add("events", -i64::try_from(head.events).unwrap_or(i64::MAX));
        let (tenant_id, id) = (&record.tenant_id, &record.id);
        let mut writes = vec![
            change.into_write(&self.table, &keys::execution(tenant_id, id), ALONE),
            totals.into_write(&self.table, &keys::totals(tenant_id), &keys::totals_shard(id)),
        ];
        for pk in ["idempotency_pk", "upload_pk"].into_iter().filter_map(|name| item.optional_text(name)) {
            let forget = Delete::builder().table_name(&self.table).key("pk", text(pk)).key("sk", text(ALONE)).build();
            writes.push(TransactWriteItem::builder().set_delete(forget.ok()).build());
        }
        match self.transact(writes).await? {
            Transacted::Done => Ok(()),
            // Somebody else is at it.
            Transacted::Refused(_) => Err(StoreError::Unavailable(format!("{id} is being archived already"))),
        }
    }

    /// Lets DynamoDB remove everything of an execution.
    async fn expire(&self, tenant_id: &str, id: &str, item: &Item) -> Result<(), StoreError> {
        let expires_at = number((self.clock.now() + STAY).as_second());
        let events: u64 = item.number("history_len")?;
        let mut after = 0;
        while after < events {
            let rows = self.partition(tenant_id, id, &keys::event(after + 1), u32::MAX).await?;
            let Some(last) = rows.last() else { break };
            after = last.number("event_id")?;
            let rows = rows.into_iter().filter(|row| !row.has(TIME_TO_LIVE)).map(|row| {
                let mut row = row.0;
                row.retain(|name, _| !name.starts_with("feed_"));
                row.insert(TIME_TO_LIVE.to_owned(), expires_at.clone());
                row
            });
            let rows: Vec<Attributes> = rows.collect();
            try_join_all(rows.chunks(batch::WRITES).map(|rows| self.replace(rows))).await?;
        }
        self.expire_batches(tenant_id, id, &expires_at).await?;
        let mut change = Change::default();
        change.set(TIME_TO_LIVE, expires_at);
        change.remove("due_pk");
        change.remove("due_sk");
        change.only_if_present("archived_at");
        // Refused: it is gone already.
        self.update(&keys::execution(tenant_id, id), change).await.map(drop)
    }

    /// The same of its batches.
    async fn expire_batches(&self, tenant_id: &str, id: &str, expires_at: &AttributeValue) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let rows = self.batch_rows(tenant_id, id, after.as_deref()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.text("sk")?.to_owned());
            let rows = rows.into_iter().map(|row| {
                let mut row = row.0;
                row.insert(TIME_TO_LIVE.to_owned(), expires_at.clone());
                row
            });
            let rows: Vec<Attributes> = rows.collect();
            try_join_all(rows.chunks(batch::WRITES).map(|rows| self.replace(rows))).await?;
        }
    }

    /// The record of an execution that the table no longer has.
    pub(crate) async fn archived_record(
        &self,
        tenant_id: &str,
        id: &str,
    ) -> Result<Option<ExecutionRecord>, StoreError> {
        Ok(self.archived_state(tenant_id, id).await?.map(|(record, _)| record))
    }

    /// The same, and how far its batches were.
    pub(crate) async fn archived_state(
        &self,
        tenant_id: &str,
        id: &str,
    ) -> Result<Option<(ExecutionRecord, Option<Items>)>, StoreError> {
        archived_state(self.blobs.as_deref(), tenant_id, id).await
    }

    /// A part of the history of an execution that is archived. Events of some types are only counted by reading all.
    pub(crate) async fn archived_events(
        &self,
        tenant_id: &str,
        id: &str,
        types: &[EventType],
        after: u64,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError> {
        archived_events(self.blobs.as_deref(), tenant_id, id, types, after, limit).await
    }
}
