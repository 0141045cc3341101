//! Removing what nobody needs any more, in small turns: each is one transaction of few rows among those of everybody
//! else.

use std::time::Duration;

use async_trait::async_trait;
use contracts::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use store::StoreError;

use crate::SqlStore;
use crate::rows::{self, Columns, micros, read_error};
use crate::writer::{Fault, Operation};

/// Rows that one turn removes.
pub(crate) const ROWS_PER_TURN: u32 = 200;

/// Executions that are looked for at once.
pub(crate) const EXECUTIONS_AT_ONCE: usize = 100;

/// The place before all executions.
pub(crate) const BEFORE_ALL: (i64, i64) = (i64::MIN, i64::MIN);

const WITH_JOURNAL: &str = " AND journal_len > 0";

const ENDED_COLUMNS: &Columns = &[("tenant_id", "tenant_id"), ("id", "id"), ("ended_at", "ended_at"), ("seq", "seq")];

/// An execution that has ended.
pub(crate) struct Ended {
    pub(crate) tenant_id: String,
    pub(crate) id: String,
}

/// Some executions that have ended, and where the next ones begin, if there are more.
pub(crate) struct EndedPage {
    pub(crate) executions: Vec<Ended>,
    pub(crate) next: Option<(i64, i64)>,
}

/// A moment is a number: what is damaged has none, and stays as it is.
fn select_ended(columns: &str, condition: &str) -> String {
    format!(
        "SELECT {columns} FROM executions WHERE ended_at IS NOT NULL AND ended_at < $1 AND (ended_at, seq) > ($2, $3){condition} \
         ORDER BY executions.ended_at, executions.seq LIMIT {EXECUTIONS_AT_ONCE}"
    )
}

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
        let (mut removed, mut after) = (0, Some(BEFORE_ALL));
        while let Some(place) = after {
            let page = self.ended(WITH_JOURNAL, ended_before, place).await?;
            after = page.next;
            removed += page.executions.len() as u64;
            self.remove_journals_of(page.executions.into_iter().map(|execution| execution.id).collect()).await?;
            clock::sleep(&*self.clock, PAUSE).await;
        }
        Ok(removed)
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

    /// Executions that have ended before a moment, the first ones behind a place, which also meet a condition. One whose names
    /// cannot be read is left out, and keeps the others from nothing.
    pub(crate) async fn ended(
        &self,
        condition: &str,
        before: Timestamp,
        (ended_at, seq): (i64, i64),
    ) -> Result<EndedPage, StoreError> {
        let mut reader = self.readers.of_engine().await?;
        let found = rows::readable(&mut reader, ENDED_COLUMNS, |columns| {
            let query = sqlx::query(AssertSqlSafe(select_ended(columns, condition)));
            query.bind(micros(before)).bind(ended_at).bind(seq)
        });
        let found = found.await?;
        let place = |row: &AnyRow| Ok::<_, StoreError>((rows::get(row, "ended_at")?, rows::get(row, "seq")?));
        let next = found.get(EXECUTIONS_AT_ONCE - 1).map(place).transpose()?;
        let execution =
            |row: &AnyRow| Ok(Ended { tenant_id: rows::text(row, "tenant_id")?, id: rows::text(row, "id")? });
        Ok(EndedPage { executions: rows::sound(&found, execution), next })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;

    /// With the number of executions that have ended, a wrong index would take ever longer.
    #[tokio::test]
    async fn what_is_due_is_a_range_of_its_own_index() {
        for (condition, index) in [(WITH_JOURNAL, "executions_ended_with_journal"), ("", "executions_ended")] {
            let steps = plan(&select_ended("id", condition)).await;
            assert_eq!(steps.len(), 1, "nothing is sorted: {steps:?}");
            assert!(steps[0].starts_with(&format!("SEARCH executions USING INDEX {index} (")), "{steps:?}");
        }
    }
}
