//! Histories.

use async_trait::async_trait;
use contracts::{Event, EventType};
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use store::{History, HistoryPage, HistoryRow, NewEvent, StoreError, StoredRequest};

use crate::rows::{self, insert, micros, parts};
use crate::writer::Fault;
use crate::{SqlStore, unavailable};

/// The request is kept once, with its execution: the event that shows it borrows it when it is read.
const SELECT: &str = "SELECT h.seq AS seq, h.execution_id AS execution_id, h.event_id AS event_id, \
    h.event_type AS event_type, h.at AS at, h.details AS details, \
    CASE WHEN h.event_type = 'WorkflowExecutionStarted' THEN e.request END AS request \
    FROM history h JOIN executions e ON e.id = h.execution_id";

/// Events that are looked at when those of some types are counted: it bounds how long counting takes.
const MAX_COUNTED: u64 = 10_000;

#[async_trait]
impl History for SqlStore {
    async fn events(
        &self,
        tenant_id: &str,
        id: &str,
        types: &[EventType],
        after: Option<&str>,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let of_types = of_types(types);
        let count = match types {
            [] => "history_len".to_owned(),
            _ => format!("(SELECT COUNT(*) FROM history h WHERE h.execution_id = executions.id AND {of_types})"),
        };
        let select = format!("SELECT {count} AS total FROM executions WHERE id = $1 AND tenant_id = $2");
        let total = sqlx::query(AssertSqlSafe(select))
            .bind(id)
            .bind(tenant_id)
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        let Some(total) = total else { return Ok(None) };
        let after = after.and_then(|after| after.parse().ok()).unwrap_or(0_i64);
        let select = format!(
            "{SELECT} WHERE h.execution_id = $1 AND h.event_id > $2 AND {of_types} ORDER BY h.event_id LIMIT $3"
        );
        let mut found = sqlx::query(AssertSqlSafe(select))
            .bind(id)
            .bind(after)
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        let next = next(&mut found, limit, "event_id")?;
        let mut rows = found.iter().map(history_row).collect::<Result<Vec<_>, _>>()?;
        if let (Some(first), Some(row)) = (rows.first_mut(), found.first())
            && let Some(request) = rows::optional_json::<StoredRequest>(row, "request")?
        {
            first.event.details["input"] = request.shown(tenant_id, self.blobs.as_deref()).await?;
        }
        Ok(Some(HistoryPage { rows, total: rows::count(&total, "total")?, total_is_exact: true, next }))
    }

    async fn tenant_events(
        &self,
        tenant_id: &str,
        types: &[EventType],
        before: Option<&str>,
        limit: u32,
    ) -> Result<HistoryPage, StoreError> {
        let of_types = of_types(types);
        let counted = match types {
            [] => "history h WHERE h.tenant_id = $1".to_owned(),
            _ => format!(
                "(SELECT event_type FROM history WHERE tenant_id = $1 ORDER BY seq DESC LIMIT {}) AS h",
                MAX_COUNTED + 1
            ),
        };
        let count = format!("SELECT COUNT(*) AS seen, COUNT(CASE WHEN {of_types} THEN 1 END) AS total FROM {counted}");
        let total =
            sqlx::query(AssertSqlSafe(count)).bind(tenant_id).fetch_one(&self.readers).await.map_err(unavailable)?;
        let select =
            format!("{SELECT} WHERE h.tenant_id = $1 AND h.seq < $2 AND {of_types} ORDER BY h.seq DESC LIMIT $3");
        let mut found = sqlx::query(AssertSqlSafe(select))
            .bind(tenant_id)
            .bind(before.and_then(|seq| seq.parse().ok()).unwrap_or(i64::MAX))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        let next = next(&mut found, limit, "seq")?;
        Ok(HistoryPage {
            rows: found.iter().map(history_row).collect::<Result<_, _>>()?,
            total: rows::count(&total, "total")?,
            total_is_exact: types.is_empty() || rows::count(&total, "seen")? <= MAX_COUNTED,
            next,
        })
    }
}

/// The condition that an event is of one of these types; always true if there are none of them.
fn of_types(types: &[EventType]) -> String {
    let names: Vec<String> = types.iter().map(|kind| format!("'{}'", kind.as_str())).collect();
    if names.is_empty() { "1 = 1".to_owned() } else { format!("h.event_type IN ({})", names.join(", ")) }
}

/// Takes the row that is one more than asked for, which tells that there is a next page: where that one begins.
fn next(found: &mut Vec<AnyRow>, limit: u32, column: &str) -> Result<Option<String>, StoreError> {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    found.last().filter(|_| more).map(|row| rows::count(row, column).map(|last| last.to_string())).transpose()
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
