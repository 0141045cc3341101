//! Histories.

use async_trait::async_trait;
use contracts::{Event, EventType, Timestamp};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use store::{History, HistoryPage, HistoryRow, NewEvent, StoreError, StoredRequest};

use crate::rows::{self, Columns, insert, micros, parts};
use crate::writer::Fault;
use crate::{SqlStore, unavailable};

/// The request is kept once, with its execution: the event that shows it borrows it when it is read.
const COLUMNS: &Columns = &[
    ("h.seq", "seq"),
    ("h.execution_id", "execution_id"),
    ("h.event_id", "event_id"),
    ("h.event_type", "event_type"),
    ("h.at", "at"),
    ("h.details", "details"),
    ("CASE WHEN h.event_type = 'WorkflowExecutionStarted' THEN e.request END", "request"),
];
const FROM: &str = "FROM history h JOIN executions e ON e.id = h.execution_id";

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
            // Whatever stands there.
            [] => "CAST(history_len AS BIGINT)".to_owned(),
            _ => format!("(SELECT COUNT(*) FROM history h WHERE h.execution_id = executions.id AND {of_types})"),
        };
        let select = format!("SELECT {count} AS total FROM executions WHERE id = $1 AND tenant_id = $2");
        let total = sqlx::query(AssertSqlSafe(select))
            .bind(id)
            .bind(tenant_id)
            .fetch_optional(&self.readers)
            .await
            .map_err(rows::read_error)?;
        let after = after.and_then(|after| after.parse().ok()).unwrap_or(0_i64);
        let Some(total) = total else {
            let after = u64::try_from(after).unwrap_or_default();
            return store::archived_events(self.blobs.as_deref(), tenant_id, id, types, after, limit).await;
        };
        let found = rows::readable(COLUMNS, |columns| {
            let select = format!(
                "SELECT {columns} {FROM} WHERE h.execution_id = $1 AND h.event_id > $2 AND {of_types} \
                 ORDER BY h.event_id LIMIT $3"
            );
            sqlx::query(AssertSqlSafe(select)).bind(id).bind(after).bind(i64::from(limit) + 1).fetch_all(&self.readers)
        });
        let mut found = found.await?;
        if found.is_empty()
            && let Some(archived) = self.archived_meanwhile(tenant_id, id, types, after, limit).await?
        {
            return Ok(Some(archived));
        }
        let next = next(&mut found, limit, "event_id")?;
        let mut rows: Vec<HistoryRow> = found.iter().map(history_row).collect();
        if let (Some(first), Some(row)) = (rows.first_mut(), found.first())
            && let Ok(Some(request)) = rows::optional_json::<StoredRequest>(row, "request")
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
        let before = before.and_then(|seq| seq.parse().ok()).unwrap_or(i64::MAX);
        let found = rows::readable(COLUMNS, |columns| {
            let select = format!(
                "SELECT {columns} {FROM} WHERE h.tenant_id = $1 AND h.seq < $2 AND {of_types} ORDER BY h.seq DESC LIMIT $3"
            );
            let query = sqlx::query(AssertSqlSafe(select)).bind(tenant_id).bind(before);
            query.bind(i64::from(limit) + 1).fetch_all(&self.readers)
        });
        let mut found = found.await?;
        let next = next(&mut found, limit, "seq")?;
        Ok(HistoryPage {
            rows: found.iter().map(history_row).collect(),
            total: rows::count(&total, "total")?,
            total_is_exact: types.is_empty() || rows::count(&total, "seen")? <= MAX_COUNTED,
            next,
        })
    }
}

impl SqlStore {
    /// The history of an execution, if it has been archived since its record was read.
    async fn archived_meanwhile(
        &self,
        tenant_id: &str,
        id: &str,
        types: &[EventType],
        after: i64,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let select = "SELECT 1 FROM executions WHERE id = $1 AND tenant_id = $2";
        let found = sqlx::query(select).bind(id).bind(tenant_id).fetch_optional(&self.readers).await;
        if found.map_err(rows::read_error)?.is_some() {
            return Ok(None);
        }
        let after = u64::try_from(after).unwrap_or_default();
        store::archived_events(self.blobs.as_deref(), tenant_id, id, types, after, limit).await
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

/// An event, whatever of it can be read.
fn history_row(row: &AnyRow) -> HistoryRow {
    let (details, request) =
        (rows::json::<Value>(row, "details"), rows::optional_json::<StoredRequest>(row, "request"));
    let (event_type, at) = (rows::text(row, "event_type"), rows::moment(row, "at"));
    let problems = [details.as_ref().err(), request.as_ref().err(), event_type.as_ref().err(), at.as_ref().err()];
    let problems: Vec<&str> = problems.into_iter().flatten().map(StoreError::problem).collect();
    let damage = (!problems.is_empty()).then(|| problems.join("; "));
    let mut details = details.ok().filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Ok(Some(request)) = &request {
        details["input"] = request.shown_inline();
    }
    if let Some(damage) = &damage {
        details["damaged"] = json!(damage);
    }
    HistoryRow {
        execution_id: rows::text(row, "execution_id").unwrap_or_default(),
        event: Event {
            event_id: rows::count(row, "event_id").unwrap_or_default(),
            event_type: event_type.unwrap_or_default(),
            timestamp: at.unwrap_or(Timestamp::UNIX_EPOCH),
            details,
        },
        damage,
    }
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
