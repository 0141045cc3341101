//! Lists of executions.

use contracts::WorkflowKind;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};
use store::{Counts, ListFilter, ListPage, StoreError};

use crate::rows::{self, EXECUTION_COLUMNS, micros};
use crate::{SqlStore, unavailable};

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
        let select = format!(
            "SELECT {EXECUTION_COLUMNS} FROM executions WHERE {} ORDER BY started_at DESC, seq DESC \
             LIMIT {limited} OFFSET {skipped}",
            condition.text
        );
        let query = condition.bind(sqlx::query(AssertSqlSafe(select)));
        let mut found = query.fetch_all(&self.readers).await.map_err(unavailable)?;
        // One row more than asked for tells whether there is a next page.
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(cursor).transpose()?;
        let executions = found.iter().map(rows::execution).collect::<Result<_, _>>()?;
        Ok(ListPage { executions, total: counts.total(filter), counts, next })
    }

    /// By the totals where these are enough; else rows are counted.
    async fn counts(&self, tenant_id: &str, filter: &ListFilter) -> Result<Counts, StoreError> {
        let mut condition = Condition::of(tenant_id, filter);
        let select = if filter.is_by_totals() {
            format!("SELECT status, executions FROM totals WHERE {}", condition.text)
        } else {
            let most = condition.place(Value::Number(MAX_COUNTED as i64 + 1));
            format!(
                "SELECT status, COUNT(*) AS executions FROM \
                 (SELECT status FROM executions WHERE {} LIMIT {most}) AS counted GROUP BY status",
                condition.text
            )
        };
        let query = condition.bind(sqlx::query(AssertSqlSafe(select)));
        let mut counts = Counts::default();
        for row in query.fetch_all(&self.readers).await.map_err(unavailable)? {
            let status = rows::get::<String>(&row, "status")?.parse().map_err(rows::inconsistent)?;
            counts.add(status, rows::count(&row, "executions")?);
        }
        counts.is_exact = filter.is_by_totals() || counts.by_status.values().sum::<u64>() <= MAX_COUNTED;
        Ok(counts)
    }
}

/// Where the page behind this row begins.
fn cursor(row: &AnyRow) -> Result<String, StoreError> {
    let (started_at, seq) = (rows::get::<i64>(row, "started_at")?, rows::get::<i64>(row, "seq")?);
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
            let statuses = filter.statuses.iter().map(|status| Value::Text(status.as_str().to_owned()));
            let places: Vec<String> = statuses.map(|status| self.place(status)).collect();
            self.text.push_str(&format!(" AND status IN ({})", places.join(", ")));
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
