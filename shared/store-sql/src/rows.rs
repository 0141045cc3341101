//! Between rows and the ports' types.

use std::fmt::Display;
use std::str::FromStr;

use contracts::{EngineKind, Timestamp, WorkflowKind};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};
use store::{Damage, DueExecution, ExecutionRecord, OpenExecution, Parts, Progress, RetryOf, StoreError};

use crate::unavailable;

/// Columns of a statement: expressions and the names that they are read by.
pub(crate) type Columns = [(&'static str, &'static str)];

/// The columns that [`execution`] reads.
pub(crate) const EXECUTION_COLUMNS: &Columns = &[
    ("seq", "seq"),
    ("id", "id"),
    ("tenant_id", "tenant_id"),
    ("kind", "kind"),
    ("engine", "engine"),
    ("user_id", "user_id"),
    ("status", "status"),
    ("started_at", "started_at"),
    ("updated_at", "updated_at"),
    ("ended_at", "ended_at"),
    ("cancel_requested_at", "cancel_requested_at"),
    ("paused_at", "paused_at"),
    ("paused_us", "paused_us"),
    ("cancel_window_open", "cancel_window_open"),
    ("result", "result"),
    ("failure", "failure"),
    ("progress", "progress"),
    ("input", "input"),
    ("retried_from", "retried_from"),
    ("retried_as", "retried_as"),
    ("only_undoes", "only_undoes"),
    ("version", "version"),
];

/// Reads rows by a statement with these columns. A text that is no UTF-8 would fail the rows of all others: where there is
/// one, texts are read as bytes.
pub(crate) async fn readable<'q>(
    connection: &mut AnyConnection,
    columns: &Columns,
    query: impl Fn(&str) -> Query<'q, Any, AnyArguments>,
) -> Result<Vec<AnyRow>, StoreError> {
    let plain: Vec<String> = columns.iter().map(|(column, name)| format!("{column} AS {name}")).collect();
    match query(&plain.join(", ")).fetch_all(&mut *connection).await {
        Err(error) if is_unreadable(&error) => {
            let as_bytes = |(column, name): &(&str, &str)| {
                format!("CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END AS {name}")
            };
            let as_bytes: Vec<String> = columns.iter().map(as_bytes).collect();
            query(&as_bytes.join(", ")).fetch_all(connection).await.map_err(read_error)
        }
        found => found.map_err(read_error),
    }
}

/// Whether the database gave something that is not of the type that it should be.
pub(crate) fn is_unreadable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
}

/// Why nothing was read.
pub(crate) fn read_error(error: sqlx::Error) -> StoreError {
    if is_unreadable(&error) { inconsistent(error) } else { unavailable(error) }
}

/// Rows that one statement is about at most: databases bound the values of a statement.
pub(crate) const MAX_ROWS: usize = 512;

/// Cuts rows into parts, each for one statement: each is a round trip. Their sizes are powers of two, as each size is a
/// statement that has to be prepared, once if it is among the few that a connection keeps.
pub(crate) fn parts<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (part, rest) = rows.split_at(1 << rows.len().min(MAX_ROWS).checked_ilog2()?);
        rows = rest;
        Some(part)
    })
}

/// Numbers as a list in a condition, whose first one is bound to the place `first`, and what to bind. It repeats the last
/// one up to a power of two, for the same reason; none are a zero, which numbers nothing.
pub(crate) fn list(first: usize, numbers: &[u64]) -> (String, Vec<i64>) {
    let mut bound: Vec<i64> = numbers.iter().map(|number| *number as i64).collect();
    bound.resize(numbers.len().next_power_of_two(), bound.last().copied().unwrap_or_default());
    let places: Vec<String> = (first..first + bound.len()).map(|place| format!("${place}")).collect();
    (format!("({})", places.join(", ")), bound)
}

/// Inserts so many rows; `into` names the table and its columns.
pub(crate) fn insert(into: &'static str, columns: usize, rows: usize) -> AssertSqlSafe<String> {
    let row = |row: usize| {
        let values: Vec<String> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    AssertSqlSafe(format!("INSERT INTO {into} VALUES {}", rows.join(", ")))
}

/// Sorts rows by their moment, in this column, and those of one moment by when they were written; the newest are first.
pub(crate) fn newest_first(found: &mut [AnyRow], moment: &str) {
    found.sort_by_cached_key(|row| std::cmp::Reverse((place_in_time(row, moment), get(row, "seq").unwrap_or(0_i64))));
}

/// Where a row stands by the moment in this column. What is no moment sorts behind all that are, as in the database.
pub(crate) fn place_in_time(row: &AnyRow, moment: &str) -> i64 {
    get(row, moment).unwrap_or(i64::MAX)
}

/// Takes the row that is one more than asked for: whether there is one, and so a next page.
pub(crate) fn has_more(found: &mut Vec<AnyRow>, limit: u32) -> bool {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    more
}

pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(crate) fn timestamp(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(inconsistent)
}

pub(crate) fn inconsistent(error: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent(error.to_string())
}

/// A column as the type it is stored as.
pub(crate) fn get<'r, T>(row: &'r AnyRow, column: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    row.try_get(column).map_err(|_| inconsistent(format!("'{column}' is not of its type")))
}

/// A text, also where it was read as bytes.
pub(crate) fn optional_text(row: &AnyRow, column: &str) -> Result<Option<String>, StoreError> {
    if let Ok(text) = row.try_get::<Option<String>, _>(column) {
        return Ok(text);
    }
    let bytes = row.try_get::<Option<Vec<u8>>, _>(column).ok().map(|bytes| bytes.map(String::from_utf8).transpose());
    let Some(Ok(text)) = bytes else { return Err(inconsistent(format!("'{column}' is no text"))) };
    Ok(text)
}

pub(crate) fn text(row: &AnyRow, column: &str) -> Result<String, StoreError> {
    optional_text(row, column)?.ok_or_else(|| inconsistent(format!("'{column}' is missing")))
}

/// A text that names one of an enum.
pub(crate) fn name<T: FromStr<Err: Display>>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    text(row, column)?.parse().map_err(|error| inconsistent(format!("'{column}' is an {error}")))
}

fn number(row: &AnyRow, column: &str) -> Result<i64, StoreError> {
    row.try_get(column).map_err(|_| inconsistent(format!("'{column}' is no number")))
}

pub(crate) fn count(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    optional_count(row, column)?.ok_or_else(|| inconsistent(format!("'{column}' is missing")))
}

pub(crate) fn optional_count(row: &AnyRow, column: &str) -> Result<Option<u64>, StoreError> {
    let count = row.try_get::<Option<i64>, _>(column).ok().map(|count| count.map(u64::try_from).transpose());
    let Some(Ok(count)) = count else { return Err(inconsistent(format!("'{column}' is no count"))) };
    Ok(count)
}

pub(crate) fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    optional_json(row, column)?.ok_or_else(|| inconsistent(format!("'{column}' is missing")))
}

pub(crate) fn optional_json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<Option<T>, StoreError> {
    let parse = |text: String| serde_json::from_str(&text);
    let parsed = optional_text(row, column)?.map(parse).transpose();
    parsed.map_err(|error| inconsistent(format!("'{column}' is no JSON that is understood ({error})")))
}

pub(crate) fn moment(row: &AnyRow, column: &str) -> Result<Timestamp, StoreError> {
    optional_timestamp(row, column)?.ok_or_else(|| inconsistent(format!("'{column}' is missing")))
}

pub(crate) fn optional_timestamp(row: &AnyRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    let at = row.try_get::<Option<i64>, _>(column).ok().map(|at| at.map(timestamp).transpose());
    let Some(Ok(at)) = at else { return Err(inconsistent(format!("'{column}' is no moment"))) };
    Ok(at)
}

/// The JSON text of one of our own types, all of which have string keys.
pub(crate) fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(crate) fn kind(row: &AnyRow) -> Result<WorkflowKind, StoreError> {
    name(row, "kind")
}

/// An execution, whatever of it can be read.
pub(crate) fn execution(row: &AnyRow) -> ExecutionRecord {
    let mut parts = Parts::default();
    let id = parts.or(text(row, "id"), String::new);
    let of_id = WorkflowKind::of_execution(&id).unwrap_or(WorkflowKind::UserOnboarding);
    let kind = kind(row);
    let unknown_kind = kind.is_err().then(|| optional_text(row, "kind").ok().flatten().unwrap_or_default());
    let ended_at = parts.or(optional_timestamp(row, "ended_at"), || None);
    let mut record = ExecutionRecord {
        tenant_id: parts.or(text(row, "tenant_id"), String::new),
        kind: parts.or(kind, || of_id),
        engine: parts.or(name(row, "engine"), || EngineKind::Embedded),
        user_id: parts.or(optional_text(row, "user_id"), || None),
        status: parts.or(name(row, "status"), || Damage::status(ended_at.is_some())),
        started_at: parts.or(moment(row, "started_at"), || Timestamp::UNIX_EPOCH),
        updated_at: parts.or(moment(row, "updated_at"), || Timestamp::UNIX_EPOCH),
        ended_at,
        cancel_requested_at: parts.or(optional_timestamp(row, "cancel_requested_at"), || None),
        paused_at: parts.or(optional_timestamp(row, "paused_at"), || None),
        paused_us: parts.or(count(row, "paused_us"), || 0),
        window_open: parts.or(number(row, "cancel_window_open"), || 0) == 1,
        result: parts.or(optional_json(row, "result"), || None),
        failure: parts.or(optional_json(row, "failure"), || None),
        progress: parts.or(json(row, "progress"), Progress::default),
        input: parts.or(json(row, "input"), || Value::Null),
        retry_of: parts.or(retry_of(row), || None),
        retried_as: parts.or(optional_text(row, "retried_as"), || None),
        version: parts.or(count(row, "version"), || 0),
        damage: None,
        id,
    };
    record.damage = parts.damage(unknown_kind);
    record
}

fn retry_of(row: &AnyRow) -> Result<Option<RetryOf>, StoreError> {
    let undoes = number(row, "only_undoes")? == 1;
    Ok(optional_text(row, "retried_from")?.map(|id| RetryOf { id, undoes }))
}

pub(crate) fn due_execution(row: &AnyRow) -> Result<DueExecution, StoreError> {
    let has_begun = number(row, "begun")? == 1;
    Ok(DueExecution { tenant_id: text(row, "tenant_id")?, id: text(row, "id")?, has_begun })
}

pub(crate) fn open_execution(row: &AnyRow) -> Result<OpenExecution, StoreError> {
    Ok(OpenExecution { tenant_id: text(row, "tenant_id")?, id: text(row, "id")? })
}

/// Those rows that can be read: one whose names cannot is reached by nobody.
pub(crate) fn sound<T>(rows: &[AnyRow], read: fn(&AnyRow) -> Result<T, StoreError>) -> Vec<T> {
    let read = rows.iter().map(|row| read(row).inspect_err(|error| tracing::error!(%error, "a row is left out")));
    read.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_few_sizes() {
        let sizes = |rows: usize| parts(&vec![0; rows]).map(<[i32]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(0), [0; 0]);
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(98), [64, 32, 2]);
        assert_eq!(sizes(1_100), [512, 512, 64, 8, 4]);
        assert_eq!(list(3, &[7, 9, 12]), ("($3, $4, $5, $6)".to_owned(), vec![7, 9, 12, 12]));
        assert_eq!(list(1, &[7]), ("($1)".to_owned(), vec![7]));
        assert_eq!(list(1, &[]), ("($1)".to_owned(), vec![0]));
    }
}
