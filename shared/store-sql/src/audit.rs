//! The audit log.

use async_trait::async_trait;
use contracts::ids::new_audit_id;
use contracts::{Timestamp, WorkflowKind};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use store::{Audit, AuditFilter, AuditPage, AuditRow, NewAuditRow, StoreError};

use crate::rows::{self, get, inconsistent, micros};
use crate::writer::{Fault, Operation};
use crate::{SqlStore, unavailable};

#[async_trait]
impl Audit for SqlStore {
    async fn record(&self, row: NewAuditRow) -> Result<(), StoreError> {
        self.writer.write_first(Record(row)).await
    }

    async fn rows(
        &self,
        tenant_id: &str,
        filter: &AuditFilter,
        before: Option<&str>,
        limit: u32,
    ) -> Result<AuditPage, StoreError> {
        let texts = texts(filter);
        let conditions: String =
            (6..).zip(&texts).map(|(place, (column, _))| format!(" AND {column} = ${place}")).collect();
        let select = format!(
            "SELECT * FROM audit WHERE tenant_id = $1 AND (at, id) < ($2, $3) AND at >= $4{conditions} \
             ORDER BY at DESC, id DESC LIMIT $5"
        );
        let (at, id) = end(filter.to, before)?;
        let mut query = sqlx::query(AssertSqlSafe(select))
            .bind(tenant_id)
            .bind(at)
            .bind(id)
            .bind(filter.from.map_or(i64::MIN, micros))
            // One row more than asked for tells whether there is a next page.
            .bind(i64::from(limit) + 1);
        for (_, value) in texts {
            query = query.bind(value);
        }
        let found = query.fetch_all(&self.readers).await.map_err(unavailable)?;
        let mut rows = found.iter().map(audit_row).collect::<Result<Vec<_>, _>>()?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|last| format!("{}#{}", micros(last.row.at), last.id));
        Ok(AuditPage { rows, next })
    }
}

/// Before which moment and id rows are read: no row of this very moment comes before an empty id.
fn end(to: Option<Timestamp>, before: Option<&str>) -> Result<(i64, &str), StoreError> {
    let to = (to.map_or(i64::MAX, micros), "");
    let Some(before) = before else { return Ok(to) };
    let (at, id) = before.split_once('#').ok_or_else(|| inconsistent("no place in an audit log"))?;
    Ok((at.parse().map_err(inconsistent)?, id).min(to))
}

/// The columns that are to hold these texts.
fn texts(filter: &AuditFilter) -> Vec<(&'static str, &str)> {
    let columns = [
        ("action", filter.action.map(|action| action.as_str())),
        ("outcome", filter.outcome.map(|outcome| outcome.as_str())),
        ("actor", filter.actor.as_deref()),
        ("workflow_id", filter.workflow_id.as_deref()),
    ];
    columns.into_iter().filter_map(|(column, value)| Some((column, value?))).collect()
}

fn audit_row(row: &AnyRow) -> Result<AuditRow, StoreError> {
    let kind = get::<Option<String>>(row, "workflow_kind")?.map(|kind| kind.parse().map_err(inconsistent));
    Ok(AuditRow {
        id: get(row, "id")?,
        row: NewAuditRow {
            tenant_id: get(row, "tenant_id")?,
            at: rows::timestamp(get(row, "at")?)?,
            actor: get(row, "actor")?,
            is_admin: get::<i64>(row, "is_admin")? == 1,
            action: get::<String>(row, "action")?.parse().map_err(inconsistent)?,
            outcome: get::<String>(row, "outcome")?.parse().map_err(inconsistent)?,
            workflow_id: get(row, "workflow_id")?,
            workflow_kind: kind.transpose()?,
            request_id: get(row, "request_id")?,
            reason: get(row, "reason")?,
            details: rows::json(row, "details")?,
        },
    })
}

struct Record(NewAuditRow);

#[async_trait]
impl Operation for Record {
    type Output = ();

    async fn apply(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        append_audit(connection, Some(&self.0)).await
    }

    fn rows(&self) -> usize {
        1
    }
}

/// Adds the row, if there is one, to the transaction.
pub(crate) async fn append_audit(connection: &mut AnyConnection, row: Option<&NewAuditRow>) -> Result<(), Fault> {
    let Some(row) = row else { return Ok(()) };
    sqlx::query(
        "INSERT INTO audit (id, tenant_id, at, actor, is_admin, action, outcome, workflow_id, workflow_kind, \
         request_id, reason, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(new_audit_id(row.at))
    .bind(&row.tenant_id)
    .bind(micros(row.at))
    .bind(row.actor.as_deref())
    .bind(i64::from(row.is_admin))
    .bind(row.action.as_str())
    .bind(row.outcome.as_str())
    .bind(row.workflow_id.as_deref())
    .bind(row.workflow_kind.map(WorkflowKind::as_str))
    .bind(&row.request_id)
    .bind(row.reason.as_deref())
    .bind(row.details.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
