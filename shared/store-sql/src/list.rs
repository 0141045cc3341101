//! Lists of executions.

use contracts::{Status, WorkflowKind};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};
use store::{Counts, Damage, ListFilter, ListPage, StoreError};

use crate::SqlStore;
use crate::rows::{self, EXECUTION_COLUMNS, micros};

/// Rows that are counted at most where no total is kept: it bounds how long counting takes.
const MAX_COUNTED: u64 = 10_000;

impl SqlStore {
    pub(crate) async fn list_page(
        &self,
        tenant_id: &str,
        filter: &ListFilter,
        before: Option<&str>,
        skip: u64,
        limit: u32,
    ) -> Result<ListPage, StoreError> {
        let counts = self.counts(tenant_id, filter).await?;
        let mut condition = Condition::of(tenant_id, filter);
        condition.and_statuses(filter);
        if let Some((started_at, seq)) = before.and_then(parse_cursor) {
            condition.and_before(started_at, seq);
        }
        let limited = condition.place(Value::Number(i64::from(limit) + 1));
        let skipped = condition.place(Value::Number(i64::try_from(skip).unwrap_or(i64::MAX)));
        let found = rows::readable(EXECUTION_COLUMNS, |columns| {
            let select = format!(
                "SELECT {columns} FROM executions WHERE {} ORDER BY executions.started_at DESC, executions.seq DESC \
                 LIMIT {limited} OFFSET {skipped}",
                condition.text
            );
            condition.bind(sqlx::query(AssertSqlSafe(select))).fetch_all(&self.readers)
        });
        let mut found = found.await?;
        // One row more than asked for tells whether there is a next page.
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(cursor).transpose()?;
        let executions = found.iter().map(|row| self.found(row)).collect();
        Ok(ListPage { executions, total: counts.total(filter), counts, next })
    }

    /// By the totals where these are enough; else rows are counted.
    async fn counts(&self, tenant_id: &str, filter: &ListFilter) -> Result<Counts, StoreError> {
        let mut condition = Condition::of(tenant_id, filter);
        let most = condition.place(Value::Number(MAX_COUNTED as i64 + 1));
        let found = rows::readable(&[("status", "status"), ("executions", "executions")], |columns| {
            let select = if filter.is_by_totals() {
                format!("SELECT {columns} FROM totals WHERE {} LIMIT {most}", condition.text)
            } else {
                format!(
                    "SELECT {columns} FROM (SELECT status, COUNT(*) AS executions FROM \
                     (SELECT status FROM executions WHERE {} LIMIT {most}) AS counted GROUP BY status) AS grouped",
                    condition.text
                )
            };
            condition.bind(sqlx::query(AssertSqlSafe(select))).fetch_all(&self.readers)
        });
        let mut counts = Counts::default();
        let mut unknown = 0;
        for row in found.await? {
            let executions = rows::count(&row, "executions").unwrap_or_default();
            match rows::name(&row, "status") {
                Ok(status) => counts.add(status, executions),
                Err(_) => unknown += executions,
            }
        }
        if unknown > 0 {
            self.count_unknown(tenant_id, filter, &mut counts).await?;
        }
        counts.is_exact = filter.is_by_totals() || counts.by_status.values().sum::<u64>() <= MAX_COUNTED;
        Ok(counts)
    }

    /// Counts executions whose status is none that is known.
    async fn count_unknown(&self, tenant_id: &str, filter: &ListFilter, counts: &mut Counts) -> Result<(), StoreError> {
        let condition = Condition::of(tenant_id, filter);
        let select = format!(
            "SELECT COUNT(*) AS executions, COUNT(ended_at) AS ended FROM executions WHERE {} AND status NOT IN {}",
            condition.text,
            known_statuses()
        );
        let query = condition.bind(sqlx::query(AssertSqlSafe(select)));
        let row = query.fetch_one(&self.readers).await.map_err(rows::read_error)?;
        let ended = rows::count(&row, "ended")?;
        counts.add(Damage::status(true), ended);
        counts.add(Damage::status(false), rows::count(&row, "executions")?.saturating_sub(ended));
        Ok(())
    }
}

/// The statuses that are known, as a list in a condition.
fn known_statuses() -> String {
    format!("({})", Status::ALL.map(|status| format!("'{status}'")).join(", "))
}

/// Where the page behind this row begins.
fn cursor(row: &AnyRow) -> Result<String, StoreError> {
    // What is no moment sorts before all that are.
    let (started_at, seq) = (rows::get(row, "started_at").unwrap_or(i64::MAX), rows::get::<i64>(row, "seq")?);
    Ok(format!("{started_at}.{seq}"))
}

fn parse_cursor(cursor: &str) -> Option<(i64, i64)> {
    let (started_at, seq) = cursor.split_once('.')?;
    Some((started_at.parse().ok()?, seq.parse().ok()?))
}

/// What is bound to a place of a statement.
enum Value {
    Text(String),
    Number(i64),
}

/// The WHERE clause of a list and what is bound to its places, in order.
struct Condition {
    text: String,
    values: Vec<Value>,
}

impl Condition {
    /// Everything of the filter but its statuses.
    fn of(tenant_id: &str, filter: &ListFilter) -> Self {
        let mut condition = Self { text: String::new(), values: Vec::new() };
        let tenant = condition.place(Value::Text(tenant_id.to_owned()));
        condition.text = format!("tenant_id = {tenant}");
        let text = |value: &str| Value::Text(value.to_owned());
        let parts = [
            ("kind =", filter.kind.map(WorkflowKind::as_str).map(text)),
            ("user_id =", filter.user_id.as_deref().map(text)),
            ("started_at >=", filter.started_after.map(|at| Value::Number(micros(at)))),
            ("started_at <", filter.started_before.map(|at| Value::Number(micros(at)))),
        ];
        for (comparison, value) in parts {
            if let Some(value) = value {
                let place = condition.place(value);
                condition.text.push_str(&format!(" AND {comparison} {place}"));
            }
        }
        condition
    }

    fn and_statuses(&mut self, filter: &ListFilter) {
        if !filter.statuses.is_empty() {
            // As clients see them, so that the rows are those that the totals count.
            let statuses = Status::ALL.into_iter().filter(|status| filter.includes(*status));
            let places: Vec<String> =
                statuses.map(|status| self.place(Value::Text(status.as_str().to_owned()))).collect();
            let mut condition = format!("status IN ({})", places.join(", "));
            for (has_ended, ended) in [(false, "ended_at IS NULL"), (true, "ended_at IS NOT NULL")] {
                if filter.includes(Damage::status(has_ended)) {
                    condition.push_str(&format!(" OR status NOT IN {} AND {ended}", known_statuses()));
                }
            }
            self.text.push_str(&format!(" AND ({condition})"));
        }
    }

    /// Only what comes behind this row.
    fn and_before(&mut self, started_at: i64, seq: i64) {
        let (started_at, seq) = (self.place(Value::Number(started_at)), self.place(Value::Number(seq)));
        self.text.push_str(&format!(" AND (started_at, seq) < ({started_at}, {seq})"));
    }

    /// Binds a value: its place.
    fn place(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn bind<'q>(&self, query: Query<'q, Any, AnyArguments>) -> Query<'q, Any, AnyArguments> {
        self.values.iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text.clone()),
            Value::Number(number) => query.bind(*number),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::SystemClock;
    use sqlx::migrate::Migrator;
    use sqlx::{AnyConnection, Connection as _};
    use store::Executions as _;

    use super::*;
    use crate::{Durability, FORMAT, sqlite_migrations};

    /// Totals and durations are kept with each change; those from before come from the rows.
    #[tokio::test]
    async fn what_an_earlier_program_wrote_is_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("earlier.db");
        sqlx::any::install_default_drivers();
        let url = format!("sqlite://{}?mode=rwc", file.display());
        let mut connection = AnyConnection::connect(&url).await.expect("it opens");
        let first = sqlite_migrations().iter().filter(|migration| migration.version == 1).cloned().collect();
        Migrator::with_migrations(first).run(&mut connection).await.expect("the first schema");
        let mut run = async |statement: String| {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.expect("it is written");
        };
        run(format!("PRAGMA user_version = {FORMAT}")).await;
        let rows = [
            ("e-1", "a", "user_onboarding", "Completed", "7000000"),
            ("e-2", "a", "user_onboarding", "Completed", "9000000"),
            ("e-3", "a", "user_onboarding", "Pending", "NULL"),
            ("e-4", "b", "user_onboarding", "Running", "NULL"),
        ];
        for (id, tenant, kind, status, ended_at) in rows {
            run(format!(
                "INSERT INTO executions (id, tenant_id, kind, engine, status, started_at, updated_at, ended_at, \
                 cancel_window_open, pivot_begun, effect_scope, input, request, progress, version, journal_len, \
                 history_len) VALUES ('{id}', '{tenant}', '{kind}', 'temporal', '{status}', 5000000, 5000000, \
                 {ended_at}, 0, 0, '{id}', 'null', 'null', \
                 '{{\"current_step\":\"\",\"total_steps\":1,\"completed_steps\":0,\"status_message\":null}}', 1, 0, 1)"
            ))
            .await;
        }
        connection.close().await.expect("it closes");

        let store = SqlStore::open(&file, Durability::Process, Arc::new(SystemClock)).await.expect("it opens");
        let page = store.list("a", &ListFilter::default(), None, 0, 9).await.expect("it is read");
        assert_eq!((page.total, page.executions.len(), page.counts.is_exact), (3, 3, true));
        assert_eq!((page.counts.by_status[&Status::Completed], page.counts.by_status[&Status::Running]), (2, 1));
        let mean = async |tenant, id| {
            store.get_estimated(tenant, id).await.expect("it is read").expect("it is there").mean_duration_ms
        };
        assert_eq!((mean("a", "e-3").await, mean("b", "e-4").await), (Some(3_000), None));
    }
}
