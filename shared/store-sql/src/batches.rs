//! How far the batches of an execution are.

use contracts::responses::Items;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use store::{BatchChange, StoreError};

use crate::rows;
use crate::writer::Fault;

/// The columns that [`items`] reads, and the join that they need, of a statement about executions.
pub(crate) const ITEMS_COLUMNS: &str =
    "b.total AS items_total, b.completed AS items_completed, b.failed AS items_failed";
pub(crate) const ITEMS_JOIN: &str = "LEFT JOIN batches b ON b.execution_id = executions.id";

pub(crate) fn items(row: &AnyRow) -> Result<Option<Items>, StoreError> {
    let Some(completed) = rows::optional_count(row, "items_completed")? else { return Ok(None) };
    let failed = rows::count(row, "items_failed")?;
    let total = rows::optional_count(row, "items_total")?.unwrap_or_default().max(completed + failed);
    Ok(Some(Items { total, completed, failed }))
}

/// How many items have failed.
pub(crate) async fn failed(connection: &mut AnyConnection, execution_id: &str) -> Result<u64, Fault> {
    let failed: Option<i64> = sqlx::query_scalar("SELECT failed FROM batches WHERE execution_id = $1")
        .bind(execution_id)
        .fetch_optional(connection)
        .await?;
    Ok(failed.and_then(|failed| u64::try_from(failed).ok()).unwrap_or_default())
}

/// Counts a change; `total` is what the batch says of all.
pub(crate) async fn count(
    connection: &mut AnyConnection,
    execution_id: &str,
    total: Option<u64>,
    change: BatchChange,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO batches (execution_id, total, completed, failed) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (execution_id) DO UPDATE SET total = COALESCE(excluded.total, batches.total), \
         completed = batches.completed + excluded.completed, failed = batches.failed + excluded.failed",
    )
    .bind(execution_id)
    .bind(total.map(|total| total as i64))
    .bind(change.completed)
    .bind(change.failed)
    .execute(connection)
    .await?;
    Ok(())
}

/// Replaces what was counted.
pub(crate) async fn replace(connection: &mut AnyConnection, execution_id: &str, items: Items) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO batches (execution_id, total, completed, failed) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (execution_id) DO UPDATE SET total = excluded.total, completed = excluded.completed, \
         failed = excluded.failed",
    )
    .bind(execution_id)
    .bind(items.total as i64)
    .bind(items.completed as i64)
    .bind(items.failed as i64)
    .execute(connection)
    .await?;
    Ok(())
}
