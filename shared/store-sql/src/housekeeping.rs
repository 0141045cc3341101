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
            let is_last = due.len() < EXECUTIONS_AT_ONCE as usize;
            removed += due.len() as u64;
            self.remove_journals_of(due).await?;
            if is_last {
                return Ok(removed);
            }
            clock::sleep(&*self.clock, PAUSE).await;
        }
    }

    /// Removes the journals of executions that have ended, turn by turn.
    pub(crate) async fn remove_journals_of(&self, mut ids: Vec<String>) -> Result<(), StoreError> {
        while !ids.is_empty() {
            let done = self.writer.write(RemoveJournals { ids: ids.clone() }).await?;
            ids.drain(..done);
            if !ids.is_empty() {
                clock::sleep(&*self.clock, PAUSE).await;
            }
        }
        Ok(())
    }

    async fn with_journal(&self, ended_before: Timestamp) -> Result<Vec<String>, StoreError> {
        // A moment is a number: what is damaged has none, and stays as it is.
        let select = "SELECT id FROM executions WHERE ended_at IS NOT NULL AND ended_at < $1 AND journal_len > 0 \
                      ORDER BY ended_at LIMIT $2";
        let query = sqlx::query(select).bind(micros(ended_before)).bind(EXECUTIONS_AT_ONCE);
        let found = query.fetch_all(&mut *self.readers.of_engine().await?).await.map_err(read_error)?;
        Ok(found.iter().filter_map(|row| row.try_get("id").ok()).collect())
    }

    /// Gives pages that are not used any more back to the file system; how many. A database that was created without
    /// room for that, see [`SqlStore::open`], keeps them for what comes.
    pub async fn release_pages(&self) -> Result<u64, StoreError> {
        let mut released = 0;
        loop {
            let row = sqlx::query("PRAGMA freelist_count").fetch_one(self.readers.pool()).await.map_err(read_error)?;
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

/// Removes journals of executions that have ended, so many rows of them at most: how many are gone, the first ones.
struct RemoveJournals {
    ids: Vec<String>,
}

#[async_trait]
impl Operation for RemoveJournals {
    type Output = usize;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<usize, Fault> {
        let mut left = i64::from(ROWS_PER_TURN);
        for (done, id) in self.ids.iter().enumerate() {
            let delete = "DELETE FROM journal WHERE execution_id = $1 AND number IN \
                          (SELECT number FROM journal WHERE execution_id = $1 ORDER BY number LIMIT $2)";
            let deleted = sqlx::query(delete).bind(id).bind(left).execute(&mut *connection).await?;
            left -= deleted.rows_affected() as i64;
            if left <= 0 {
                return Ok(done);
            }
            let empty = "UPDATE executions SET journal_len = 0, journal_forgotten = 0 \
                         WHERE id = $1 AND ended_at IS NOT NULL";
            sqlx::query(empty).bind(id).execute(&mut *connection).await?;
        }
        Ok(self.ids.len())
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
