//! Numbers of leases: who has lost a lease writes no more.
//!
//! A caller that must be the only one to change things of a type sends the number of its lease, and every later holder of
//! that lease has a higher one. A write with a lower number than an earlier one comes from somebody who has lost the lease.

use sqlx::sqlite::SqliteConnection;

use super::{Call, Problem};

/// Lets the call write things of this type, and remembers its number.
///
/// # Errors
/// A call with a higher number has written such things of the tenant.
pub(super) async fn pass(connection: &mut SqliteConnection, call: &Call, entity_type: &str) -> Result<(), Problem> {
    let Some(number) = call.fence else { return Ok(()) };
    let passed = sqlx::query(
        "INSERT INTO fences (tenant_id, entity_type, number) VALUES (?, ?, ?) \
         ON CONFLICT (tenant_id, entity_type) DO UPDATE SET number = excluded.number WHERE number <= excluded.number",
    )
    .bind(&call.tenant_id)
    .bind(entity_type)
    .bind(number)
    .execute(connection)
    .await?;
    if passed.rows_affected() == 0 { Err(Problem::fenced()) } else { Ok(()) }
}
