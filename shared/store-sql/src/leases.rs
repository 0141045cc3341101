//! Leases, each a row that the executions' own rows outlive.

use async_trait::async_trait;
use contracts::Timestamp;
use sqlx::{AnyConnection, Row as _};
use store::{Holder, Leased, Leases, StoreError};

use crate::SqlStore;
use crate::writer::{Fault, Operation};

#[async_trait]
impl Leases for SqlStore {
    async fn lease(&self, tenant_id: &str, data_sets: &[String], holder: Holder<'_>) -> Result<Leased, StoreError> {
        let (tenant_id, execution_id) = (tenant_id.to_owned(), holder.execution_id.to_owned());
        let now = self.clock.now();
        self.writer.write(Lease { tenant_id, data_sets: data_sets.to_vec(), execution_id, now }).await
    }
}

struct Lease {
    tenant_id: String,
    data_sets: Vec<String>,
    execution_id: String,
    now: Timestamp,
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
        let (mut free, mut fence) = (Vec::new(), 0);
        for data_set in &self.data_sets {
            match self.own_fence(connection, data_set).await? {
                Some(own) => fence = fence.max(own),
                None => free.push(data_set),
            }
        }
        if !free.is_empty() {
            fence = self.next_fence(connection).await?;
        }
        for data_set in free {
            sqlx::query(
                "INSERT INTO leases (tenant_id, data_set, execution_id, fence) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (tenant_id, data_set) \
                 DO UPDATE SET execution_id = excluded.execution_id, fence = excluded.fence",
            )
            .bind(&self.tenant_id)
            .bind(data_set)
            .bind(&self.execution_id)
            .bind(fence)
            .execute(&mut *connection)
            .await?;
        }
        Ok(Leased::Granted { fence: fence.try_into().unwrap_or_default() })
    }

    fn rows(&self) -> usize {
        self.data_sets.len()
    }
}

impl Lease {
    /// The number of a lease that the execution has already.
    async fn own_fence(&self, connection: &mut AnyConnection, data_set: &str) -> Result<Option<i64>, Fault> {
        let own = "SELECT fence FROM leases WHERE tenant_id = $1 AND data_set = $2 AND execution_id = $3";
        let own = sqlx::query(own).bind(&self.tenant_id).bind(data_set).bind(&self.execution_id);
        Ok(own.fetch_optional(connection).await?.map(|row| row.try_get("fence")).transpose()?)
    }

    /// The number of the tenant's next lease.
    async fn next_fence(&self, connection: &mut AnyConnection) -> Result<i64, Fault> {
        let last = "SELECT fence FROM leases WHERE tenant_id = $1 ORDER BY fence DESC LIMIT 1";
        let last = sqlx::query(last).bind(&self.tenant_id).fetch_optional(connection).await?;
        let last: i64 = last.map(|row| row.try_get("fence")).transpose()?.unwrap_or_default();
        Ok(self.now.as_millisecond().max(last + 1))
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
