//! Leases, each a row that the executions' own rows outlive.

use async_trait::async_trait;
use sqlx::{AnyConnection, Row as _};
use store::{Holder, Leased, Leases, StoreError};

use crate::SqlStore;
use crate::writer::{Fault, Operation};

#[async_trait]
impl Leases for SqlStore {
    async fn lease(&self, tenant_id: &str, data_sets: &[String], holder: Holder<'_>) -> Result<Leased, StoreError> {
        let (tenant_id, execution_id) = (tenant_id.to_owned(), holder.execution_id.to_owned());
        self.writer.write(Lease { tenant_id, data_sets: data_sets.to_vec(), execution_id }).await
    }
}

struct Lease {
    tenant_id: String,
    data_sets: Vec<String>,
    execution_id: String,
}

#[async_trait]
impl Operation for Lease {
    type Output = Leased;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Leased, Fault> {
        for data_set in &self.data_sets {
            if let Some(by) = holder_of(connection, &self.tenant_id, data_set).await?
                && by != self.execution_id
            {
                return Ok(Leased::Held { data_set: data_set.clone(), by });
            }
        }
        for data_set in &self.data_sets {
            sqlx::query(
                "INSERT INTO leases (tenant_id, data_set, execution_id) VALUES ($1, $2, $3) \
                 ON CONFLICT (tenant_id, data_set) DO UPDATE SET execution_id = excluded.execution_id",
            )
            .bind(&self.tenant_id)
            .bind(data_set)
            .bind(&self.execution_id)
            .execute(&mut *connection)
            .await?;
        }
        Ok(Leased::Granted)
    }

    fn rows(&self) -> usize {
        self.data_sets.len()
    }
}

/// The execution that holds a lease. One that nobody knows, or that has ended, holds nothing.
pub(crate) async fn holder_of(
    connection: &mut AnyConnection,
    tenant_id: &str,
    data_set: &str,
) -> Result<Option<String>, Fault> {
    let held = "SELECT l.execution_id FROM leases l JOIN executions e ON e.id = l.execution_id \
                WHERE l.tenant_id = $1 AND l.data_set = $2 AND e.ended_at IS NULL";
    let held = sqlx::query(held).bind(tenant_id).bind(data_set).fetch_optional(connection).await?;
    Ok(held.map(|row| row.try_get("execution_id")).transpose()?)
}
