//! Removing what nobody needs any more, in small turns: each is one transaction of few rows among those of everybody
//! else.

use std::time::Duration;

use async_trait::async_trait;
use contracts::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use store::StoreError;

use crate::SqlStore;
use crate::rows::{micros, read_error};
use crate::writer::{Fault, Operation};

/// Rows that one turn removes.
pub(crate) const ROWS_PER_TURN: u32 = 200;

/// Executions that are looked for at once.
const EXECUTIONS_AT_ONCE: i64 = 100;

/// Pages that one turn gives back: a third of a megabyte, which is read and written within a few milliseconds.
const PAGES_PER_TURN: u32 = 80;

/// Pages that stay for what comes next.
const SPARE_PAGES: i64 = 256;

/// Between turns, so that there are always more of everybody else's.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

impl SqlStore {
    /// Removes the journals of executions that ended before this moment; how many. A journal is what an engine goes on
    /// by: of what has ended nothing asks for it.
    pub async fn remove_journals(&self, ended_before: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let due = self.with_journal(ended_before).await?;
            for id in &due {
                while !self.writer.write(RemoveJournal { id: id.clone() }).await? {
                    clock::sleep(&*self.clock, PAUSE).await;
                }
                removed += 1;
            }
            if due.len() < EXECUTIONS_AT_ONCE as usize {
                return Ok(removed);
            }
            clock::sleep(&*self.clock, PAUSE).await;
        }
    }

    async fn with_journal(&self, ended_before: Timestamp) -> Result<Vec<String>, StoreError> {
        // A moment is a number: what is damaged has none, and stays as it is.
        let select = "SELECT id FROM executions WHERE ended_at IS NOT NULL AND ended_at < $1 AND journal_len > 0 \
                      ORDER BY ended_at LIMIT $2";
        let query = sqlx::query(select).bind(micros(ended_before)).bind(EXECUTIONS_AT_ONCE);
        let found = query.fetch_all(&self.readers).await.map_err(read_error)?;
        Ok(found.iter().filter_map(|row| row.try_get("id").ok()).collect())
    }

    /// Gives pages that are not used any more back to the file system; how many. A database that was created without
    /// room for that, see [`SqlStore::open`], keeps them for what comes.
    pub async fn release_pages(&self) -> Result<u64, StoreError> {
        let mut released = 0;
        loop {
            let row = sqlx::query("PRAGMA freelist_count").fetch_one(&self.readers).await.map_err(read_error)?;
            let free: i64 = row.try_get(0).map_err(read_error)?;
            if free <= SPARE_PAGES || !self.releases_pages {
                return Ok(released);
            }
            self.writer.write(ReleasePages).await?;
            released += u64::from(PAGES_PER_TURN);
            clock::sleep(&*self.clock, PAUSE).await;
        }
    }
}

/// Removes a part of the journal of an execution that has ended: whether that was the rest of it.
pub(crate) struct RemoveJournal {
    pub(crate) id: String,
}

#[async_trait]
impl Operation for RemoveJournal {
    type Output = bool;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<bool, Fault> {
        let delete = format!(
            "DELETE FROM journal WHERE execution_id = $1 AND number IN \
             (SELECT number FROM journal WHERE execution_id = $1 ORDER BY number LIMIT {ROWS_PER_TURN})"
        );
        let deleted = sqlx::query(AssertSqlSafe(delete)).bind(&self.id).execute(&mut *connection).await?;
        if deleted.rows_affected() == u64::from(ROWS_PER_TURN) {
            return Ok(false);
        }
        let empty =
            "UPDATE executions SET journal_len = 0, journal_forgotten = 0 WHERE id = $1 AND ended_at IS NOT NULL";
        sqlx::query(empty).bind(&self.id).execute(connection).await?;
        Ok(true)
    }

    fn rows(&self) -> usize {
        ROWS_PER_TURN as usize
    }
}

struct ReleasePages;

#[async_trait]
impl Operation for ReleasePages {
    type Output = ();

    async fn apply(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        let release = format!("PRAGMA incremental_vacuum({PAGES_PER_TURN})");
        sqlx::query(AssertSqlSafe(release)).execute(connection).await?;
        Ok(())
    }

    fn rows(&self) -> usize {
        ROWS_PER_TURN as usize
    }
}
