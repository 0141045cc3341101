//! The audit log.

use async_trait::async_trait;
use contracts::ids::new_audit_id;
use contracts::{Timestamp, WorkflowKind};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};
use store::{Audit, AuditFilter, AuditPage, AuditRow, NewAuditRow, StoreError};

use crate::rows::{self, Columns, get, has_more, inconsistent, micros};
use crate::writer::{Fault, Operation};
use crate::{SqlStore, unavailable};

/// Rows that are looked at for a page at most: where few of them fit, looking at all would take as long as the log is.
const MAX_ROWS_READ: u64 = 1_000;

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
        let end = end(filter.to, before)?;
        let mut beginning = (filter.from.map_or(i64::MIN, micros), String::new());
        let mut reader = self.readers.of(tenant_id).await?;
        // Where few rows fit, the page ends before it is full.
        let looked_at = match texts.is_empty() {
            true => None,
            false => looked_at(&mut reader, tenant_id, (beginning.0, ""), end).await?,
        };
        beginning = looked_at.clone().unwrap_or(beginning);
        let found = rows::readable(&mut reader, COLUMNS, |columns| {
            let query = sqlx::query(AssertSqlSafe(select(columns, &texts)));
            let query = within(query, tenant_id, (beginning.0, &beginning.1), end);
            // One row more than asked for tells whether there is a next page.
            let query = query.bind(i64::from(limit) + 1);
            texts.iter().fold(query, |query, (_, value)| query.bind(*value))
        });
        let mut found = found.await?;
        drop(reader);
        let next = match has_more(&mut found, limit) {
            true => found.last().map(place).transpose()?,
            false => looked_at,
        };
        // One that is damaged keeps nobody from the others.
        let rows = rows::sound(&found, audit_row);
        Ok(AuditPage { rows, next: next.map(|(at, id)| format!("{at}#{id}")) })
    }
}

/// The rows of a tenant's log between two places in it.
const ROWS: &str = "FROM audit WHERE tenant_id = $1 AND (at, id) >= ($2, $3) AND (at, id) < ($4, $5)";
const NEWEST_FIRST: &str = "ORDER BY at DESC, id DESC";

const COLUMNS: &Columns = &[
    ("id", "id"),
    ("tenant_id", "tenant_id"),
    ("at", "at"),
    ("actor", "actor"),
    ("is_admin", "is_admin"),
    ("action", "action"),
    ("outcome", "outcome"),
    ("workflow_id", "workflow_id"),
    ("workflow_kind", "workflow_kind"),
    ("request_id", "request_id"),
    ("reason", "reason"),
    ("details", "details"),
];

fn select(columns: &str, texts: &[(&'static str, &str)]) -> String {
    let conditions: String = (7..).zip(texts).map(|(place, (column, _))| format!(" AND {column} = ${place}")).collect();
    format!("SELECT {columns} {ROWS}{conditions} {NEWEST_FIRST} LIMIT $6")
}

fn within<'q>(
    query: Query<'q, Any, AnyArguments>,
    tenant_id: &'q str,
    beginning: (i64, &'q str),
    end: (i64, &'q str),
) -> Query<'q, Any, AnyArguments> {
    query.bind(tenant_id).bind(beginning.0).bind(beginning.1).bind(end.0).bind(end.1)
}

/// The last of the rows that are looked at for one page, if there are more.
async fn looked_at(
    connection: &mut AnyConnection,
    tenant_id: &str,
    beginning: (i64, &str),
    end: (i64, &str),
) -> Result<Option<(i64, String)>, StoreError> {
    let query = sqlx::query(AssertSqlSafe(last_looked_at()));
    let last = within(query, tenant_id, beginning, end).fetch_optional(connection).await.map_err(unavailable)?;
    last.as_ref().map(place).transpose()
}

/// Where a row stands in its tenant's log.
fn place(row: &AnyRow) -> Result<(i64, String), StoreError> {
    Ok((get(row, "at")?, rows::text(row, "id")?))
}

fn last_looked_at() -> String {
    format!("SELECT at, id {ROWS} {NEWEST_FIRST} LIMIT 1 OFFSET {}", MAX_ROWS_READ - 1)
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
    let kind = rows::optional_text(row, "workflow_kind")?.map(|kind| kind.parse().map_err(inconsistent));
    Ok(AuditRow {
        id: rows::text(row, "id")?,
        row: NewAuditRow {
            tenant_id: rows::text(row, "tenant_id")?,
            at: rows::moment(row, "at")?,
            actor: rows::optional_text(row, "actor")?,
            is_admin: get::<i64>(row, "is_admin")? == 1,
            action: rows::name(row, "action")?,
            outcome: rows::name(row, "outcome")?,
            workflow_id: rows::optional_text(row, "workflow_id")?,
            workflow_kind: kind.transpose()?,
            request_id: rows::text(row, "request_id")?,
            reason: rows::optional_text(row, "reason")?,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::SystemClock;

    use super::*;
    use crate::Durability;
    use crate::plan::plan;

    #[tokio::test]
    async fn a_page_is_read_from_a_range_of_an_index() {
        for statement in [select("id", &[]), select("id", &[("actor", "ann"), ("action", "read")]), last_looked_at()] {
            let steps = plan(&statement).await;
            assert_eq!(steps.len(), 1, "{statement}: {steps:?}");
            assert!(
                steps[0].ends_with("audit_of_tenant (tenant_id=? AND (at,id)>(?,?) AND (at,id)<(?,?))"),
                "{steps:?}"
            );
        }
    }

    /// A page of what is rare is short, and the next one goes on behind what was looked at.
    #[tokio::test]
    async fn a_page_looks_at_so_many_rows() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("x.db");
        let store = SqlStore::open(&file, Durability::Process, Arc::new(SystemClock)).await.expect("it opens");
        let row = |number: u64| NewAuditRow {
            tenant_id: "a".to_owned(),
            at: Timestamp::from_second(number as i64).expect("a moment"),
            actor: Some(if number == 1 { "ann" } else { "bob" }.to_owned()),
            is_admin: false,
            action: contracts::audit::AuditAction::StartWorkflow,
            outcome: contracts::audit::AuditOutcome::Accepted,
            workflow_id: None,
            workflow_kind: None,
            request_id: String::new(),
            reason: None,
            details: serde_json::Value::Null,
        };
        let rows = futures::future::join_all((0..2 * MAX_ROWS_READ).map(|number| store.record(row(number)))).await;
        rows.into_iter().for_each(|recorded| recorded.expect("it is written"));
        let of_ann = AuditFilter { actor: Some("ann".to_owned()), ..AuditFilter::default() };
        let first = store.rows("a", &of_ann, None, 9).await.expect("it is read");
        assert_eq!(first.rows, []);
        let second = store.rows("a", &of_ann, first.next.as_deref(), 9).await.expect("it is read");
        assert_eq!((second.rows.len(), second.rows[0].row.at.as_second()), (1, 1));
        let last = store.rows("a", &of_ann, second.next.as_deref(), 9).await.expect("it is read");
        assert_eq!((last.rows, last.next), (vec![], None));
        let since = AuditFilter { from: Some(row(1).at), ..of_ann };
        assert_eq!(store.rows("a", &since, first.next.as_deref(), 9).await.expect("it is read").next, None);
    }
}
