//! Histories.

use async_trait::async_trait;
use contracts::{Event, EventType, Timestamp};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use store::{History, HistoryPage, HistoryRow, NewEvent, StoreError, StoredRequest};

use crate::SqlStore;
use crate::rows::{self, Columns, has_more, insert, micros, newest_first, parts, place_in_time};
use crate::writer::Fault;

/// The request is kept once, with its execution: the event that shows it borrows it when it is read.
const COLUMNS: &Columns = &[
    ("h.seq", "seq"),
    ("h.execution_id", "execution_id"),
    ("h.event_id", "event_id"),
    ("h.event_type", "event_type"),
    ("h.at", "at"),
    ("h.details", "details"),
    (
        "CASE WHEN h.event_type = 'WorkflowExecutionStarted' \
         THEN (SELECT e.request FROM executions e WHERE e.id = h.execution_id) END",
        "request",
    ),
];

/// Events of one type that are counted at most where a feed is narrowed by types: it bounds how long counting takes.
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
        let mut reader = self.readers.of(tenant_id).await?;
        let total = sqlx::query(AssertSqlSafe(select))
            .bind(id)
            .bind(tenant_id)
            .fetch_optional(&mut *reader)
            .await
            .map_err(rows::read_error)?;
        let after = after.and_then(|after| after.parse().ok()).unwrap_or(0_i64);
        let Some(total) = total else {
            drop(reader);
            let after = u64::try_from(after).unwrap_or_default();
            return store::archived_events(self.blobs.as_deref(), tenant_id, id, types, after, limit).await;
        };
        let found = rows::readable(&mut reader, COLUMNS, |columns| {
            let select = format!(
                "SELECT {columns} FROM history h WHERE h.execution_id = $1 AND h.event_id > $2 AND {of_types} \
                 ORDER BY h.event_id LIMIT $3"
            );
            sqlx::query(AssertSqlSafe(select)).bind(id).bind(after).bind(i64::from(limit) + 1)
        });
        let mut found = found.await?;
        // The blobs are somewhere else.
        drop(reader);
        if found.is_empty()
            && let Some(archived) = self.archived_meanwhile(tenant_id, id, types, after, limit).await?
        {
            return Ok(Some(archived));
        }
        let more = has_more(&mut found, limit);
        let mut rows: Vec<HistoryRow> = found.iter().map(history_row).collect();
        let next = rows.last().filter(|_| more).map(|last| last.event.event_id.to_string());
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
        let mut reader = self.readers.of(tenant_id).await?;
        let (total, total_is_exact) = count(&mut reader, tenant_id, types).await?;
        let end = match before.and_then(parse_cursor) {
            Some(cursor) => Some(place(&mut reader, tenant_id, cursor).await?),
            None => None,
        };
        let found = rows::readable(&mut reader, COLUMNS, |columns| {
            let query = sqlx::query(AssertSqlSafe(feed(columns, types, end.is_some())));
            let query = query.bind(tenant_id).bind(i64::from(limit) + 1);
            match end {
                Some((at, seq)) => query.bind(at).bind(seq),
                None => query,
            }
        });
        let mut found = found.await?;
        drop(reader);
        newest_first(&mut found, "at");
        let more = has_more(&mut found, limit);
        let next = found.last().filter(|_| more).map(cursor);
        let rows = found.iter().map(history_row).collect();
        Ok(HistoryPage { rows, total, total_is_exact, next })
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
        let found =
            sqlx::query(select).bind(id).bind(tenant_id).fetch_optional(&mut *self.readers.of(tenant_id).await?).await;
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

/// A part of the tenant's feed: the newest rows of each type, merged. The rows come in no order.
fn feed(columns: &str, types: &[EventType], has_end: bool) -> String {
    let types = if types.is_empty() { EventType::ALL.as_slice() } else { types };
    // What is no moment comes before no end, so it is on the first page.
    let before = if has_end { " AND (at, seq) < ($3, $4)" } else { "" };
    let part = |kind: &EventType| format!("SELECT at, seq FROM history WHERE {}{before}", of_tenant_and_type(*kind));
    let parts: Vec<String> = types.iter().map(part).collect();
    let page = format!("{} ORDER BY at DESC, seq DESC LIMIT $2", parts.join(" UNION ALL "));
    format!("SELECT {columns} FROM history h WHERE h.seq IN (SELECT seq FROM ({page}) AS page)")
}

fn of_tenant_and_type(kind: EventType) -> String {
    format!("tenant_id = $1 AND event_type = '{}'", kind.as_str())
}

/// How many events of these types the tenant has, and whether that is all of them. How many there are in all is kept.
async fn count(
    connection: &mut AnyConnection,
    tenant_id: &str,
    types: &[EventType],
) -> Result<(u64, bool), StoreError> {
    let query = sqlx::query(AssertSqlSafe(counted(types))).bind(tenant_id);
    let counts = query.fetch_all(connection).await.map_err(rows::read_error)?;
    let counts = counts.iter().map(|row| rows::count(row, "events")).collect::<Result<Vec<_>, _>>()?;
    Ok((counts.iter().sum(), types.is_empty() || counts.iter().all(|events| *events <= MAX_COUNTED)))
}

fn counted(types: &[EventType]) -> String {
    if types.is_empty() {
        // Where the length of a history is damaged, it may have been counted wrongly.
        return "SELECT CASE WHEN events > 0 THEN events ELSE 0 END AS events FROM event_totals WHERE tenant_id = $1"
            .to_owned();
    }
    let part = |kind: &EventType| {
        let of_type = of_tenant_and_type(*kind);
        let most = MAX_COUNTED + 1;
        format!("SELECT COUNT(*) AS events FROM (SELECT 1 FROM history WHERE {of_type} LIMIT {most}) AS counted")
    };
    types.iter().map(part).collect::<Vec<_>>().join(" UNION ALL ")
}

/// Where the part of a feed behind this row begins: the number of a row would tell how many events other tenants have.
fn cursor(row: &AnyRow) -> String {
    let (event_id, execution_id) = (rows::count(row, "event_id"), rows::text(row, "execution_id"));
    format!("{}.{}.{}", place_in_time(row, "at"), event_id.unwrap_or_default(), execution_id.unwrap_or_default())
}

fn parse_cursor(cursor: &str) -> Option<(i64, i64, &str)> {
    let mut parts = cursor.splitn(3, '.');
    let (at, event_id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((at, event_id, parts.next()?))
}

/// The moment and number of the tenant's row that a cursor names. One that is gone comes before all others of its moment.
async fn place(
    connection: &mut AnyConnection,
    tenant_id: &str,
    (at, event_id, execution_id): (i64, i64, &str),
) -> Result<(i64, i64), StoreError> {
    let select = "SELECT seq FROM history WHERE execution_id = $1 AND event_id = $2 AND tenant_id = $3";
    let query = sqlx::query(select).bind(execution_id).bind(event_id).bind(tenant_id);
    let row = query.fetch_optional(connection).await.map_err(rows::read_error)?;
    let seq = row.map(|row| rows::get(&row, "seq")).transpose()?;
    Ok((at, seq.unwrap_or_default()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{assert_reads_ranges, plan};

    #[tokio::test]
    async fn a_feed_is_read_from_ranges_of_an_index() {
        let two = [EventType::CompensationFailed, EventType::ActivityTaskFailed];
        for types in [&[][..], &two[..1], &two] {
            let parts = if types.is_empty() { EventType::ALL.len() } else { types.len() };
            for (has_end, end) in [(false, ")"), (true, " AND at<?)")] {
                let range = format!("history_by_type (tenant_id=? AND event_type=?{end}");
                assert_reads_ranges(&feed("h.seq AS seq", types, has_end), "history", &range, parts).await;
            }
        }
        assert_reads_ranges(&counted(&two), "history", "history_by_type (tenant_id=? AND event_type=?)", 2).await;
        let total = plan(&counted(&[])).await;
        assert!(total[0].starts_with("SEARCH event_totals"), "{total:?}");
    }
}
