//! Between rows and the ports' types.

use contracts::{Status, Timestamp, WorkflowKind};
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};
use store::{DueExecution, ExecutionRecord, OpenExecution, RetryOf, StoreError};

/// The columns that [`execution`] reads.
pub(crate) const EXECUTION_COLUMNS: &str = "seq, id, tenant_id, kind, engine, user_id, status, started_at, updated_at, \
    ended_at, cancel_requested_at, paused_at, cancel_window_open, result, failure, progress, input, retried_from, retried_as, only_undoes, version";

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
pub(crate) fn newest_first(found: &mut [AnyRow], moment: &str) -> Result<(), StoreError> {
    let place = |row: &AnyRow| -> Result<(i64, i64), StoreError> { Ok((get(row, moment)?, get(row, "seq")?)) };
    // A row without these columns is none of ours.
    found.iter().try_for_each(|row| place(row).map(drop))?;
    found.sort_by_cached_key(|row| std::cmp::Reverse(place(row).unwrap_or_default()));
    Ok(())
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
    row.try_get(column).map_err(inconsistent)
}

pub(crate) fn count(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    u64::try_from(get::<i64>(row, column)?).map_err(inconsistent)
}

pub(crate) fn optional_count(row: &AnyRow, column: &str) -> Result<Option<u64>, StoreError> {
    get::<Option<i64>>(row, column)?.map(|count| u64::try_from(count).map_err(inconsistent)).transpose()
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    serde_json::from_str(&get::<String>(row, column)?).map_err(inconsistent)
}

pub(crate) fn optional_json<T: serde::de::DeserializeOwned>(
    row: &AnyRow,
    column: &str,
) -> Result<Option<T>, StoreError> {
    get::<Option<String>>(row, column)?.map(|text| serde_json::from_str(&text).map_err(inconsistent)).transpose()
}

pub(crate) fn optional_timestamp(row: &AnyRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    get::<Option<i64>>(row, column)?.map(timestamp).transpose()
}

/// The JSON text of one of our own types, all of which have string keys.
pub(crate) fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(crate) fn kind(row: &AnyRow) -> Result<WorkflowKind, StoreError> {
    get::<String>(row, "kind")?.parse().map_err(inconsistent)
}

pub(crate) fn status(row: &AnyRow) -> Result<Status, StoreError> {
    get::<String>(row, "status")?.parse().map_err(inconsistent)
}

pub(crate) fn execution(row: &AnyRow) -> Result<ExecutionRecord, StoreError> {
    Ok(ExecutionRecord {
        tenant_id: get(row, "tenant_id")?,
        id: get(row, "id")?,
        kind: kind(row)?,
        engine: get::<String>(row, "engine")?.parse().map_err(inconsistent)?,
        user_id: get(row, "user_id")?,
        status: status(row)?,
        started_at: timestamp(get(row, "started_at")?)?,
        updated_at: timestamp(get(row, "updated_at")?)?,
        ended_at: optional_timestamp(row, "ended_at")?,
        cancel_requested_at: optional_timestamp(row, "cancel_requested_at")?,
        paused_at: optional_timestamp(row, "paused_at")?,
        window_open: get::<i64>(row, "cancel_window_open")? == 1,
        result: optional_json::<Value>(row, "result")?,
        failure: optional_json(row, "failure")?,
        progress: json(row, "progress")?,
        input: json(row, "input")?,
        retry_of: retry_of(row)?,
        retried_as: get(row, "retried_as")?,
        version: count(row, "version")?,
    })
}

fn retry_of(row: &AnyRow) -> Result<Option<RetryOf>, StoreError> {
    let undoes = get::<i64>(row, "only_undoes")? == 1;
    Ok(get::<Option<String>>(row, "retried_from")?.map(|id| RetryOf { id, undoes }))
}

pub(crate) fn due_execution(row: &AnyRow) -> Result<DueExecution, StoreError> {
    let has_begun = get::<i64>(row, "begun")? == 1;
    Ok(DueExecution { tenant_id: get(row, "tenant_id")?, id: get(row, "id")?, has_begun })
}

pub(crate) fn open_execution(row: &AnyRow) -> Result<OpenExecution, StoreError> {
    Ok(OpenExecution { tenant_id: get(row, "tenant_id")?, id: get(row, "id")? })
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
