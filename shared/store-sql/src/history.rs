//! Histories.

use async_trait::async_trait;
use contracts::Event;
use serde_json::Value;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use store::{History, HistoryPage, HistoryRow, NewEvent, StoreError, StoredRequest};

use crate::rows::{self, insert, micros, parts};
use crate::writer::Fault;
use crate::{SqlStore, unavailable};

/// The request is kept once, with its execution: the event that shows it borrows it when it is read.
const SELECT: &str = "SELECT h.seq AS seq, h.execution_id AS execution_id, h.event_id AS event_id, \
    h.event_type AS event_type, h.at AS at, h.details AS details, \
    CASE WHEN h.event_type = 'WorkflowExecutionStarted' THEN e.request END AS request \
    FROM history h JOIN executions e ON e.id = h.execution_id";

#[async_trait]
impl History for SqlStore {
    async fn events(
        &self,
        tenant_id: &str,
        id: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let total = sqlx::query("SELECT history_len FROM executions WHERE id = $1 AND tenant_id = $2")
            .bind(id)
            .bind(tenant_id)
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        let Some(total) = total else { return Ok(None) };
        let total = rows::count(&total, "history_len")?;
        let after = after.and_then(|after| after.parse().ok()).unwrap_or(0_i64);
        let select = format!("{SELECT} WHERE h.execution_id = $1 AND h.event_id > $2 ORDER BY h.event_id LIMIT $3");
        let found = sqlx::query(sqlx::AssertSqlSafe(select))
            .bind(id)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        let mut rows = found.iter().map(history_row).collect::<Result<Vec<_>, _>>()?;
        if let (Some(first), Some(row)) = (rows.first_mut(), found.first())
            && let Some(request) = rows::optional_json::<StoredRequest>(row, "request")?
        {
            first.event.details["input"] = request.shown(tenant_id, self.blobs.as_deref()).await?;
        }
        let next = rows.last().map(|row| row.event.event_id).filter(|last| *last < total);
        Ok(Some(HistoryPage { rows, total, next: next.map(|last| last.to_string()) }))
    }

    async fn tenant_events(
        &self,
        tenant_id: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<HistoryPage, StoreError> {
        let total = sqlx::query("SELECT COUNT(*) AS total FROM history WHERE tenant_id = $1")
            .bind(tenant_id)
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable)?;
        let select = format!("{SELECT} WHERE h.tenant_id = $1 AND h.seq < $2 ORDER BY h.seq DESC LIMIT $3");
        let mut found = sqlx::query(sqlx::AssertSqlSafe(select))
            .bind(tenant_id)
            .bind(before.and_then(|seq| seq.parse().ok()).unwrap_or(i64::MAX))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = if more {
            found.last().map(|row| rows::count(row, "seq").map(|seq| seq.to_string())).transpose()?
        } else {
            None
        };
        let rows = found.iter().map(history_row).collect::<Result<_, _>>()?;
        Ok(HistoryPage { rows, total: rows::count(&total, "total")?, next })
    }
}

fn history_row(row: &AnyRow) -> Result<HistoryRow, StoreError> {
    let mut details: Value = rows::json(row, "details")?;
    if let Some(request) = rows::optional_json::<StoredRequest>(row, "request")? {
        details["input"] = request.shown_inline();
    }
    Ok(HistoryRow {
        execution_id: rows::get(row, "execution_id")?,
        event: Event {
            event_id: rows::count(row, "event_id")?,
            event_type: rows::get(row, "event_type")?,
            timestamp: rows::timestamp(rows::get(row, "at")?)?,
            details,
        },
    })
}

/// Appends events behind the `len` there are.
pub(crate) async fn append_history(
    connection: &mut AnyConnection,
    tenant_id: &str,
    execution_id: &str,
    len: i64,
    events: &[NewEvent],
) -> Result<(), Fault> {
    let mut event_ids = len + 1..;
    for events in parts(events) {
        let insert = insert("history (tenant_id, execution_id, event_id, event_type, at, details)", 6, events.len());
        let mut query = sqlx::query(insert);
        for (event, event_id) in events.iter().zip(&mut event_ids) {
            query = query
                .bind(tenant_id)
                .bind(execution_id)
                .bind(event_id)
                .bind(event.event_type.as_str())
                .bind(micros(event.at))
                .bind(event.details.to_string());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
