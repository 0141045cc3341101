//! Lists of executions.

use std::fmt::Display;

use contracts::{Status, WorkflowKind};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};
use store::{Counts, Damage, ListFilter, ListPage, StoreError};

use crate::SqlStore;
use crate::rows::{self, EXECUTION_COLUMNS, has_more, micros, newest_first, place_in_time};

/// Executions of one kind and status that are counted at most where no total is kept: it bounds how long counting takes.
const MAX_COUNTED: u64 = 10_000;

/// Longer statements are prepared each time, which takes half a millisecond: kept, one of forty parts takes 120 KB in each
/// connection, and there are many of them, as each set of statuses is another statement.
const MAX_KEPT_BYTES: usize = 3_000;

/// Stands in a statement where its columns are to come.
const COLUMNS: &str = "{columns}";

impl SqlStore {
    pub(crate) async fn list_page(
        &self,
        tenant_id: &str,
        filter: &ListFilter,
        before: Option<&str>,
        skip: u64,
        limit: u32,
    ) -> Result<ListPage, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let totals = totals(&mut reader, tenant_id, filter).await?;
        let ranges: Vec<Range> = ranges(filter, &totals).collect();
        let counts = counts(&mut reader, tenant_id, filter, &totals, &ranges).await?;
        let end = match before.and_then(parse_cursor) {
            Some(cursor) => Some(place(&mut reader, tenant_id, cursor).await?),
            None => None,
        };
        // One row more than asked for tells whether there is a next page.
        let page = page(tenant_id, filter, &ranges, end, skip, i64::from(limit) + 1);
        let mut found = rows::readable(&mut reader, EXECUTION_COLUMNS, |columns| page.query(columns)).await?;
        drop(reader);
        newest_first(&mut found, "started_at");
        let more = has_more(&mut found, limit);
        let next = found.last().filter(|_| more).map(cursor);
        let executions = found.iter().map(|row| self.found(row)).collect();
        Ok(ListPage { executions, total: counts.total(filter), counts, next })
    }
}

/// A range of an index by kind and status, all of whose executions clients see in one status.
struct Range {
    status: Status,
    condition: String,
    /// Whether the totals tell how many executions it has.
    is_in_totals: bool,
}

impl Range {
    fn of(kind: WorkflowKind, status: Status) -> Self {
        let condition = format!(" AND kind = '{kind}' AND status = '{}'", status.as_str());
        Self { status, condition, is_in_totals: true }
    }

    /// Of a damaged kind or status, as the row of the totals with this number has it, whatever that is.
    fn damaged(number: i64, status: Option<Status>) -> Vec<Self> {
        let column = |name| format!(" AND {name} = (SELECT {name} FROM totals WHERE rowid = {number})");
        let condition = column("kind") + &column("status");
        match status {
            Some(status) => vec![Self { status, condition, is_in_totals: true }],
            None => [(false, "ended_at IS NULL"), (true, "ended_at IS NOT NULL")]
                .map(|(has_ended, ended)| Self {
                    status: Damage::status(has_ended),
                    condition: format!("{condition} AND {ended}"),
                    is_in_totals: false,
                })
                .into(),
        }
    }
}

/// A row of the totals.
struct Total {
    number: i64,
    /// None is known where it is damaged.
    status: Option<Status>,
    is_of_known_kind: bool,
    executions: u64,
}

/// The tenant's totals of the filter's kind.
async fn totals(
    connection: &mut AnyConnection,
    tenant_id: &str,
    filter: &ListFilter,
) -> Result<Vec<Total>, StoreError> {
    let query = sqlx::query(AssertSqlSafe(select_totals(filter))).bind(tenant_id.to_owned());
    let found = query.fetch_all(connection).await.map_err(rows::read_error)?;
    let total = |row: &AnyRow| {
        Ok(Total {
            number: rows::get(row, "number")?,
            status: rows::name(row, "status").ok(),
            is_of_known_kind: rows::get::<i64>(row, "is_of_known_kind")? == 1,
            executions: rows::count(row, "executions").unwrap_or_default(),
        })
    };
    found.iter().map(total).collect()
}

/// A kind or status that is not known may be none that can be read, so neither is.
fn select_totals(filter: &ListFilter) -> String {
    let of_kind = filter.kind.map_or_else(String::new, |kind| format!(" AND kind = '{kind}'"));
    format!(
        "SELECT rowid AS number, CASE WHEN status IN ({}) THEN status END AS status, \
         CASE WHEN kind IN ({}) THEN 1 ELSE 0 END AS is_of_known_kind, executions \
         FROM totals WHERE tenant_id = $1{of_kind}",
        names(&Status::ALL.map(Status::as_str)),
        names(&WorkflowKind::ALL)
    )
}

fn names(names: &[impl Display]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// The ranges that hold the tenant's executions of the filter's kind. The totals know which there are beside those that
/// there should be.
fn ranges(filter: &ListFilter, totals: &[Total]) -> impl Iterator<Item = Range> {
    let is_damaged = |total: &&Total| total.executions > 0 && (total.status.is_none() || !total.is_of_known_kind);
    let damaged = totals.iter().filter(is_damaged).flat_map(|total| Range::damaged(total.number, total.status));
    known_ranges(filter).chain(damaged)
}

fn known_ranges(filter: &ListFilter) -> impl Iterator<Item = Range> {
    let kinds = WorkflowKind::ALL.into_iter().filter(|kind| filter.kind.is_none_or(|wanted| wanted == *kind));
    kinds.flat_map(|kind| Status::ALL.map(|status| Range::of(kind, status)))
}

/// By the totals where these are enough; else entries of an index are counted.
async fn counts(
    connection: &mut AnyConnection,
    tenant_id: &str,
    filter: &ListFilter,
    totals: &[Total],
    ranges: &[Range],
) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    if filter.is_by_totals() {
        let known = totals.iter().filter_map(|total| Some((total.status?, total.executions)));
        known.for_each(|(status, executions)| counts.add(status, executions));
    }
    let to_count: Vec<&Range> = ranges.iter().filter(|range| !(filter.is_by_totals() && range.is_in_totals)).collect();
    if !to_count.is_empty() {
        let counted = counted(tenant_id, filter, &to_count);
        for row in counted.query("").fetch_all(connection).await.map_err(rows::read_error)? {
            let executions = rows::count(&row, "executions")?;
            counts.add(rows::name(&row, "status")?, executions);
            counts.is_exact &= executions <= MAX_COUNTED;
        }
    }
    Ok(counts)
}

fn counted(tenant_id: &str, filter: &ListFilter, ranges: &[&Range]) -> Statement {
    let mut statement = Statement::of(tenant_id);
    let condition = statement.condition(filter, None);
    let most = MAX_COUNTED + 1;
    let part = |range: &&Range| {
        format!(
            "SELECT '{}' AS status, COUNT(*) AS executions FROM \
             (SELECT 1 FROM executions WHERE {condition}{} LIMIT {most}) AS counted",
            range.status.as_str(),
            range.condition
        )
    };
    statement.text = ranges.iter().map(part).collect::<Vec<_>>().join(" UNION ALL ");
    statement
}

/// The rows of a page, in no order. They are found by merging those parts of an index that hold the list: each is in the
/// list's order, so none is sorted, and only as much is read of each as the page takes. Where [`COLUMNS`] stands come the
/// columns.
fn page(
    tenant_id: &str,
    filter: &ListFilter,
    ranges: &[Range],
    end: Option<(i64, i64)>,
    skip: u64,
    limit: i64,
) -> Statement {
    let mut statement = Statement::of(tenant_id);
    let condition = statement.condition(filter, end);
    let part = |of_range: &str| format!("SELECT started_at, seq FROM executions WHERE {condition}{of_range}");
    let is_whole = filter.user_id.is_none() && filter.kind.is_none() && filter.statuses.is_empty();
    let parts: Vec<String> = match is_whole {
        true => vec![part("")],
        // Statuses are as clients see them, so that the rows are those that are counted.
        false => {
            ranges.iter().filter(|range| filter.includes(range.status)).map(|range| part(&range.condition)).collect()
        }
    };
    let limit = statement.place(Value::Number(limit));
    let skip = statement.place(Value::Number(i64::try_from(skip).unwrap_or(i64::MAX)));
    statement.text = format!(
        "SELECT {COLUMNS} FROM executions WHERE seq IN (SELECT seq FROM ({} \
         ORDER BY started_at DESC, seq DESC LIMIT {limit} OFFSET {skip}) AS page)",
        parts.join(" UNION ALL ")
    );
    statement
}

/// Where the page behind this row begins: the number of a row would tell how many executions other tenants have.
fn cursor(row: &AnyRow) -> String {
    format!("{}.{}", place_in_time(row, "started_at"), rows::text(row, "id").unwrap_or_default())
}

fn parse_cursor(cursor: &str) -> Option<(i64, &str)> {
    let (started_at, id) = cursor.split_once('.')?;
    Some((started_at.parse().ok()?, id))
}

/// The start and number of the tenant's row that a cursor names. One that is gone comes before all others of its moment.
async fn place(
    connection: &mut AnyConnection,
    tenant_id: &str,
    (started_at, id): (i64, &str),
) -> Result<(i64, i64), StoreError> {
    let select = "SELECT seq FROM executions WHERE id = $1 AND tenant_id = $2";
    let row =
        sqlx::query(select).bind(id).bind(tenant_id).fetch_optional(connection).await.map_err(rows::read_error)?;
    let seq = row.map(|row| rows::get(&row, "seq")).transpose()?;
    Ok((started_at, seq.unwrap_or_default()))
}

/// What is bound to a place of a statement.
enum Value {
    Text(String),
    Number(i64),
}

/// A statement and what is bound to its places, in order.
struct Statement {
    text: String,
    values: Vec<Value>,
}

impl Statement {
    /// One whose first place is the tenant's.
    fn of(tenant_id: &str) -> Self {
        Self { text: String::new(), values: vec![Value::Text(tenant_id.to_owned())] }
    }

    /// Everything of the filter but kind and statuses; only what comes before `end`, if there is one.
    fn condition(&mut self, filter: &ListFilter, end: Option<(i64, i64)>) -> String {
        let mut condition = "tenant_id = $1".to_owned();
        if let Some(user_id) = &filter.user_id {
            let user_id = self.place(Value::Text(user_id.clone()));
            condition.push_str(&format!(" AND user_id = {user_id}"));
        }
        if let Some(after) = filter.started_after {
            let after = self.place(Value::Number(micros(after)));
            condition.push_str(&format!(" AND started_at >= {after}"));
        }
        // An index has one end: whichever comes first. All rows of the filter's moment come behind its number 0.
        let before = filter.started_before.map(|before| (micros(before), 0));
        if let Some((started_at, seq)) = before.into_iter().chain(end).min() {
            let (started_at, seq) = (self.place(Value::Number(started_at)), self.place(Value::Number(seq)));
            condition.push_str(&format!(" AND (started_at, seq) < ({started_at}, {seq})"));
        }
        condition
    }

    /// Binds a value: its place.
    fn place(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// With these columns, if any are to be chosen.
    fn query(&self, columns: &str) -> Query<'static, Any, AnyArguments> {
        let text = self.text.replacen(COLUMNS, columns, 1);
        let persistent = text.len() <= MAX_KEPT_BYTES;
        let query = sqlx::query(AssertSqlSafe(text)).persistent(persistent);
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
    use store::{Executions as _, History as _};

    use super::*;
    use crate::plan::{assert_reads_ranges, plan};
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
        let events = async |tenant| store.tenant_events(tenant, &[], None, 9).await.expect("it is read").total;
        assert_eq!((events("a").await, events("b").await, events("c").await), (3, 1, 0));
    }

    /// Filters of every shape, with the range of an index that each of so many parts of their lists is.
    fn shapes() -> Vec<(ListFilter, &'static str, usize)> {
        let all = ListFilter::default();
        let (by_status, of_user) = (
            "executions_by_status (tenant_id=? AND kind=? AND status=?",
            "executions_of_user_by_status (tenant_id=? AND user_id=? AND kind=? AND status=?",
        );
        let failed = ListFilter { statuses: vec![Status::Failed], ..all.clone() };
        let open = ListFilter { statuses: vec![Status::Pending, Status::Running, Status::Paused], ..all.clone() };
        let of_kind = ListFilter { kind: Some(WorkflowKind::UserOnboarding), ..all.clone() };
        let user_id = Some("ann".to_owned());
        let kinds = WorkflowKind::ALL.len();
        vec![
            (all.clone(), "executions_of_tenant_by_start (tenant_id=?", 1),
            (failed.clone(), by_status, kinds),
            (open.clone(), by_status, 3 * kinds),
            (of_kind.clone(), by_status, Status::ALL.len()),
            (ListFilter { statuses: open.statuses, ..of_kind.clone() }, by_status, 3),
            (ListFilter { user_id: user_id.clone(), ..all }, of_user, Status::ALL.len() * kinds),
            (ListFilter { user_id: user_id.clone(), ..failed }, of_user, kinds),
            (ListFilter { user_id, ..of_kind }, of_user, Status::ALL.len()),
        ]
    }

    /// With a window, a page's end, both and neither.
    fn windows(filter: &ListFilter) -> Vec<(ListFilter, Option<(i64, i64)>)> {
        let moment = |second| Some(contracts::Timestamp::from_second(second).expect("a moment"));
        let ends = [None, moment(20)].into_iter().flat_map(|before| [None, Some((15, 7))].map(|end| (before, end)));
        let windows = ends.flat_map(|(before, end)| [None, moment(10)].map(|after| (after, before, end)));
        let of = |(started_after, started_before, end)| {
            (ListFilter { started_after, started_before, ..filter.clone() }, end)
        };
        windows.map(of).collect()
    }

    #[tokio::test]
    async fn a_page_is_read_from_ranges_of_an_index() {
        for (filter, range, parts) in shapes() {
            for (filter, end) in windows(&filter) {
                let has_end = filter.started_before.is_some() || end.is_some();
                let range = match (filter.started_after.is_some(), has_end) {
                    (false, false) => format!("{range})"),
                    (false, true) => format!("{range} AND started_at<?)"),
                    (true, false) => format!("{range} AND started_at>?)"),
                    (true, true) => format!("{range} AND started_at>? AND started_at<?)"),
                };
                let page = page("a", &filter, &known_ranges(&filter).collect::<Vec<_>>(), end, 0, 51);
                assert_reads_ranges(&page.text.replace(COLUMNS, "seq, id"), "executions", &range, parts).await;
            }
        }
    }

    #[tokio::test]
    async fn what_is_counted_are_ranges_of_an_index() {
        for (filter, ..) in shapes() {
            for (filter, _) in windows(&filter).into_iter().filter(|(filter, _)| !filter.is_by_totals()) {
                let range = match &filter.user_id {
                    Some(_) => "executions_of_user_by_status (tenant_id=? AND user_id=? AND kind=? AND status=?",
                    None => "executions_by_status (tenant_id=? AND kind=? AND status=?",
                };
                let kinds = if filter.kind.is_some() { 1 } else { WorkflowKind::ALL.len() };
                let ranges: Vec<Range> = known_ranges(&filter).collect();
                let counted = counted("a", &filter, &ranges.iter().collect::<Vec<_>>());
                assert_reads_ranges(&counted.text, "executions", range, kinds * Status::ALL.len()).await;
            }
        }
        let of_kind = ListFilter { kind: Some(WorkflowKind::UserOnboarding), ..ListFilter::default() };
        for filter in [ListFilter::default(), of_kind] {
            let steps = plan(&select_totals(&filter)).await;
            assert!(steps[0].starts_with("SEARCH totals"), "{steps:?}");
        }
    }
}
