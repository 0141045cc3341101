//! Executions that ended long ago: their records and histories move to the archive, and out of the database.
//!
//! # Order
//! 1. The blob is stored.
//! 2. What nobody reads of an execution that has ended is removed in small turns: its journal, its steps.
//! 3. One transaction removes its record and its events, takes it out of lists and totals, and forgets its
//!    `Idempotency-Key`. From here on it is read from the blob. It takes place if the record is still as it was archived.
//! 4. The file of its request is removed, unless it is another execution's as well.
//!
//! Whatever is interrupted before the third is due again; [`SqlStore::remove_lost_requests`] finds what the fourth has left.

use async_trait::async_trait;
use clock::Busy;
use contracts::{Event, Timestamp};
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use store::{ArchiveHead, Blobs as _, Estimated, Executions as _, History as _, StoreError, StoredRequest};

use crate::housekeeping::{BEFORE_ALL, Ended, PAUSE, ROWS_PER_TURN};
use crate::rows::{self, json_text, read_error};
use crate::writer::{Fault, Operation};
use crate::{FileBlobs, SqlStore};

/// Executions that are archived at the same time.
const CONCURRENCY: usize = 8;

/// Files of requests that are looked at without a pause.
const FILES_AT_ONCE: usize = 100;

/// Events that are read at once.
const EVENTS_READ: u32 = 200;

/// What became of the executions that were due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Archived {
    /// Moved.
    pub executions: usize,
    /// Not moved for an error, which was logged; still due.
    pub failed: usize,
}

impl SqlStore {
    /// Moves executions that ended before `ended_before` to the archive, the oldest first. What fails holds nothing up that
    /// is due after it.
    pub async fn archive(&self, blobs: &FileBlobs, ended_before: Timestamp) -> Result<Archived, StoreError> {
        let (mut archived, mut after) = (Archived::default(), Some(BEFORE_ALL));
        while let Some(place) = after {
            let page = self.ended("", ended_before, place).await?;
            after = page.next;
            for turn in page.executions.chunks(CONCURRENCY) {
                let moves = turn.iter().map(|due| self.archive_one(blobs, due, self.clock.busy()));
                for moved in clock::park(&*self.clock, join_all(moves)).await {
                    archived.executions += usize::from(moved);
                    archived.failed += usize::from(!moved);
                }
                clock::sleep(&*self.clock, PAUSE).await;
            }
        }
        Ok(archived)
    }

    /// Moves one: whether that is done. Each is busy by itself, as one may wait while others work.
    async fn archive_one(&self, blobs: &FileBlobs, Ended { tenant_id, id }: &Ended, _busy: Busy) -> bool {
        let moved = self.move_one(blobs, tenant_id, id).await;
        if let Err(error) = &moved {
            tracing::error!(tenant_id, workflow_id = id, %error, "an execution is not archived");
        }
        moved.is_ok()
    }

    async fn move_one(&self, blobs: &FileBlobs, tenant_id: &str, id: &str) -> Result<(), StoreError> {
        let (Some(found), Some(page)) =
            (self.get_estimated(tenant_id, id).await?, self.events(tenant_id, id, &[], None, 1).await?)
        else {
            return Ok(());
        };
        let Estimated { record, items, .. } = found;
        let version = record.version;
        let head = ArchiveHead::new(record, items, page.total)?;
        blobs.put(&head.key()?, head.blob(self.clone().parts(tenant_id, id))?).await?;
        self.remove_journals_of(vec![id.to_owned()]).await?;
        while !self.writer.write(RemoveSteps { id: id.to_owned() }).await? {
            clock::sleep(&*self.clock, PAUSE).await;
        }
        blobs.remove_job(tenant_id, id).await?;
        let remove = RemoveArchived { tenant_id: tenant_id.to_owned(), id: id.to_owned(), version, events: page.total };
        match self.writer.write(remove).await? {
            Some(request) => self.remove_request(blobs, tenant_id, &request).await.map(drop),
            None => Ok(()),
        }
    }

    /// The events of an execution, in parts, without the request.
    fn parts(self, tenant_id: &str, id: &str) -> BoxStream<'static, Result<Vec<Event>, StoreError>> {
        let (tenant_id, id) = (tenant_id.to_owned(), id.to_owned());
        let parts = stream::try_unfold(Some(None::<String>), move |after| {
            let (store, tenant_id, id) = (self.clone(), tenant_id.clone(), id.clone());
            async move {
                let Some(after) = after else { return Ok(None) };
                let page = store.events(&tenant_id, &id, &[], after.as_deref(), EVENTS_READ).await?;
                let Some(page) = page else { return Ok(None) };
                let mut events = Vec::new();
                for mut row in page.rows {
                    if let Some(why) = row.damage {
                        return Err(StoreError::Inconsistent(format!("event {} of {id}: {why}", row.event.event_id)));
                    }
                    if row.event.event_type == contracts::EventType::WorkflowExecutionStarted.as_str() {
                        row.event.details["input"] = serde_json::Value::Null;
                    }
                    events.push(row.event);
                }
                Ok(Some((events, page.next.map(Some))))
            }
        });
        parts.boxed()
    }

    /// Removes the files of requests that no execution has: of starts that were refused, and of executions that a process
    /// archived that ended before it got here. How many there were.
    pub async fn remove_lost_requests(&self, blobs: &FileBlobs) -> Result<u64, StoreError> {
        let mut removed = 0;
        for tenant_id in blobs.tenants().await? {
            let requests: Vec<String> = blobs.old_requests(&tenant_id).await?;
            for some in requests.chunks(FILES_AT_ONCE) {
                for hash in some {
                    let request = json_text(&StoredRequest::Blob(hash.clone()));
                    removed += u64::from(self.remove_request(blobs, &tenant_id, &request).await?);
                }
                clock::sleep(&*self.clock, PAUSE).await;
            }
        }
        Ok(removed)
    }

    /// Removes the file of a request that no execution has any more: whether it has.
    async fn remove_request(&self, blobs: &FileBlobs, tenant_id: &str, request: &str) -> Result<bool, StoreError> {
        let Ok(stored @ StoredRequest::Blob(_)) = serde_json::from_str(request) else { return Ok(false) };
        let select = "SELECT COUNT(*) AS others FROM executions \
                      WHERE tenant_id = $1 AND request = $2 AND request LIKE '{\"blob\":%'";
        let mut reader = self.readers.of_engine().await?;
        let others = sqlx::query(select).bind(tenant_id).bind(request).fetch_one(&mut *reader).await;
        drop(reader);
        match stored.key(tenant_id)? {
            Some(key) if rows::count(&others.map_err(read_error)?, "others")? == 0 => blobs.remove_old(&key).await,
            _ => Ok(false),
        }
    }
}

/// Removes some of the steps of an execution that has ended: whether these were the last ones.
struct RemoveSteps {
    id: String,
}

#[async_trait]
impl Operation for RemoveSteps {
    type Output = bool;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<bool, Fault> {
        let delete = format!(
            "DELETE FROM steps WHERE execution_id = $1 AND path IN \
             (SELECT path FROM steps WHERE execution_id = $1 LIMIT {ROWS_PER_TURN})"
        );
        let deleted = sqlx::query(AssertSqlSafe(delete)).bind(&self.id).execute(connection).await?;
        Ok(deleted.rows_affected() < u64::from(ROWS_PER_TURN))
    }

    fn rows(&self) -> usize {
        ROWS_PER_TURN as usize
    }
}

/// Removes an execution that is archived: its request, as it was stored; none if somebody else has removed it.
struct RemoveArchived {
    tenant_id: String,
    id: String,
    /// The version that is archived.
    version: u64,
    events: u64,
}

#[async_trait]
impl Operation for RemoveArchived {
    type Output = Option<String>;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Option<String>, Fault> {
        let Self { tenant_id, id, version, .. } = self;
        let row = sqlx::query("SELECT version, request FROM executions WHERE id = $1 AND tenant_id = $2");
        let Some(row) = row.bind(id).bind(tenant_id).fetch_optional(&mut *connection).await? else { return Ok(None) };
        if row.try_get::<i64, _>("version")? != *version as i64 {
            return Err(Fault::Inconsistent(format!("{id} has changed since it was archived")));
        }
        let request = row.try_get("request")?;
        for table in ["idempotency_keys", "upload_claims", "journal", "history", "batches"] {
            let delete = format!("DELETE FROM {table} WHERE execution_id = $1");
            sqlx::query(AssertSqlSafe(delete)).bind(id).execute(&mut *connection).await?;
        }
        sqlx::query("DELETE FROM executions WHERE id = $1").bind(id).execute(connection).await?;
        Ok(Some(request))
    }

    fn rows(&self) -> usize {
        self.events as usize + 6
    }
}
