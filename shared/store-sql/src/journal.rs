//! The embedded engine's journal.

use async_trait::async_trait;
use contracts::data_requests::RequestEnd;
use contracts::step::StepKind;
use contracts::{Status, Timestamp};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Row};
use store::{
    Admission, Commit, CommitOutcome, End, ExecutionFlags, Gate, Journal, JournalRecord, JournalledExecution,
    MAX_RECORDS_READ, NewAuditRow, OpenExecution, RecordSelection, StepFlags, StoreError, admit,
};

use crate::SqlStore;
use crate::audit::append_audit;
use crate::batches::{self, ITEMS_COLUMNS};
use crate::data_requests;
use crate::history::append_history;
use crate::rows::{self, MAX_ROWS, insert, json_text, list, micros, parts};
use crate::writer::{Fault, Operation};

#[async_trait]
impl Journal for SqlStore {
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StoreError> {
        self.writer.write(CommitTurn(commit)).await
    }

    async fn close_damaged(
        &self,
        tenant_id: &str,
        id: &str,
        at: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<bool, StoreError> {
        self.close(tenant_id, id, at, audit).await
    }

    async fn journalled(&self) -> Result<Vec<OpenExecution>, StoreError> {
        let mut reader = self.readers.of_engine().await?;
        let found = rows::readable(&mut reader, &[("tenant_id", "tenant_id"), ("id", "id")], |columns| {
            let select = format!(
                "SELECT {columns} FROM executions WHERE ended_at IS NULL AND journal_len > 0 ORDER BY executions.seq"
            );
            sqlx::query(sqlx::AssertSqlSafe(select))
        });
        Ok(rows::sound(&found.await?, rows::open_execution))
    }

    async fn load(&self, tenant_id: &str, id: &str) -> Result<Option<JournalledExecution>, StoreError> {
        let select = format!(
            "SELECT e.kind AS kind, d.text AS definition, e.input AS input, \
             e.request AS request, e.effect_scope AS effect_scope, e.inherited AS inherited, \
             e.cancel_requested_at AS cancel_requested_at, e.deadline_at AS deadline_at, \
             e.paused_at AS paused_at, e.cancel_window_open AS cancel_window_open, e.pivot_begun AS pivot_begun, e.progress AS progress, \
             e.reported AS reported, e.journal_len AS journal_len, e.journal_forgotten AS journal_forgotten, e.ended_at AS ended_at, {ITEMS_COLUMNS} \
             FROM executions e LEFT JOIN definitions d ON d.hash = e.definition_hash \
             LEFT JOIN batches b ON b.execution_id = e.id WHERE e.id = $1 AND e.tenant_id = $2"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(select)).bind(id).bind(tenant_id);
        let row = query.fetch_optional(&mut *self.readers.of_engine().await?).await.map_err(rows::read_error)?;
        let Some(row) = row else { return Ok(None) };
        let journal_len = rows::count(&row, "journal_len")?;
        Ok(Some(JournalledExecution {
            tenant_id: tenant_id.to_owned(),
            id: id.to_owned(),
            kind: rows::kind(&row)?,
            definition: rows::text(&row, "definition")?,
            input: rows::json(&row, "input")?,
            request: rows::json(&row, "request")?,
            effect_scope: rows::text(&row, "effect_scope")?,
            inherited: rows::optional_json(&row, "inherited")?.unwrap_or_default(),
            is_interrupted: self.is_interrupted(&row)?,
            progress: rows::json(&row, "progress")?,
            reported: rows::optional_json(&row, "reported")?.unwrap_or_default(),
            items: batches::items(&row)?,
            ended_at: rows::optional_timestamp(&row, "ended_at")?,
            journal_len,
            journal_kept: journal_len.saturating_sub(rows::count(&row, "journal_forgotten")?),
        }))
    }

    async fn records(
        &self,
        tenant_id: &str,
        id: &str,
        selection: RecordSelection,
    ) -> Result<Vec<(u64, JournalRecord)>, StoreError> {
        let (condition, numbers) = match selection {
            RecordSelection::After(number) => ("j.number > $3".to_owned(), vec![number as i64]),
            RecordSelection::Numbered(numbers) => {
                let (places, numbers) = list(3, &numbers);
                (format!("j.number IN {places}"), numbers)
            }
        };
        let select = sqlx::AssertSqlSafe(format!(
            "SELECT j.number AS number, j.record AS record FROM journal j JOIN executions e ON e.id = j.execution_id \
             WHERE j.execution_id = $1 AND e.tenant_id = $2 AND {condition} ORDER BY j.number LIMIT {MAX_RECORDS_READ}"
        ));
        let query = sqlx::query(select).bind(id).bind(tenant_id);
        let query = numbers.into_iter().fold(query, Query::bind);
        let found = query.fetch_all(&mut *self.readers.of_engine().await?).await.map_err(rows::read_error)?;
        found.iter().map(|row| Ok((rows::count(row, "number")?, record(row)?))).collect()
    }
}

impl SqlStore {
    fn is_interrupted(&self, row: &AnyRow) -> Result<bool, StoreError> {
        let deadline = rows::optional_timestamp(row, "deadline_at")?;
        // While it is paused, its deadline stands still.
        let now = rows::optional_timestamp(row, "paused_at")?.unwrap_or_else(|| self.clock.now());
        let is_late = deadline.is_some_and(|deadline| deadline < now);
        let is_cancelled = rows::optional_timestamp(row, "cancel_requested_at")?.is_some();
        // Nobody may terminate, pause or cancel by what cannot be read, so an execution does not go on by it.
        rows::get::<i64>(row, "cancel_window_open")?;
        Ok(rows::get::<i64>(row, "pivot_begun")? == 0 && (is_cancelled || is_late))
    }
}

/// A record, whose number says which one is damaged.
fn record(row: &AnyRow) -> Result<JournalRecord, StoreError> {
    let number = rows::count(row, "number")?;
    let damaged =
        |error: StoreError| rows::inconsistent(format!("record {number} of its journal: {}", error.problem()));
    rows::json(row, "record").map_err(damaged)
}

/// What the gate needs of an execution's row.
pub(crate) fn execution_flags(row: &AnyRow) -> Result<ExecutionFlags, Fault> {
    let is_set = |column| row.try_get::<Option<i64>, _>(column).map(|at| at.is_some());
    let inconsistent = |error: StoreError| Fault::Inconsistent(error.to_string());
    Ok(ExecutionFlags {
        has_ended: is_set("ended_at")?,
        is_cancelled: is_set("cancel_requested_at")?,
        is_paused: is_set("paused_at")?,
        deadline_at: rows::optional_timestamp(row, "deadline_at").map_err(inconsistent)?,
        pivot_begun: row.try_get::<i64, _>("pivot_begun")? == 1,
    })
}

/// The status that a write gives an execution, if that is another one than it has: whoever writes the column writes the
/// indices by status too.
pub(crate) struct NewStatus(Option<Status>);

impl NewStatus {
    /// None is stored where it cannot be read.
    pub(crate) fn instead_of(stored: Option<Status>, status: Status) -> Self {
        Self((stored != Some(status)).then_some(status))
    }

    /// What comes behind other assignments. The value has the last place.
    pub(crate) fn assignment(&self, place: usize) -> String {
        self.0.map_or_else(String::new, |_| format!(", status = ${place}"))
    }

    pub(crate) fn bind<'q>(&self, query: Query<'q, Any, AnyArguments>) -> Query<'q, Any, AnyArguments> {
        match self.0 {
            Some(status) => query.bind(status.as_str()),
            None => query,
        }
    }
}

/// What may still interrupt an execution, after a turn.
struct Interruptible {
    is_paused: bool,
    window_open: bool,
    pivot_begun: bool,
}

/// One turn of an execution.
struct CommitTurn(Commit);

#[async_trait]
impl Operation for CommitTurn {
    type Output = CommitOutcome;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<CommitOutcome, Fault> {
        let commit = &self.0;
        let row = sqlx::query(
            "SELECT status, ended_at, deadline_at, cancel_requested_at, paused_at, cancel_window_open, pivot_begun, \
             journal_len, history_len FROM executions WHERE id = $1 AND tenant_id = $2",
        )
        .bind(&commit.execution_id)
        .bind(&commit.tenant_id)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| Fault::Inconsistent(format!("{} is not stored", commit.execution_id)))?;
        let journal_len: i64 = row.try_get("journal_len")?;
        if row.try_get::<Option<i64>, _>("ended_at")?.is_some() {
            return Err(Fault::Inconsistent(format!("{} has ended", commit.execution_id)));
        }
        if journal_len != commit.expected_records as i64 {
            return Err(Fault::Inconsistent(format!(
                "{}: the engine knows {} records, the journal has {journal_len}",
                commit.execution_id, commit.expected_records
            )));
        }
        check_forgotten(connection, &commit.execution_id, &commit.forgotten).await?;
        let flags = execution_flags(&row)?;
        let begins = match commit.gate {
            Gate::Open => None,
            Gate::Forward { .. } => Some(StepKind::Forward),
            Gate::Compensation => Some(StepKind::Compensation),
        };
        // The engine's own journal knows what is done and what is closed.
        let passes = matches!(commit.gate, Gate::Forward { passes: true, .. });
        let step = StepFlags { passes, ..StepFlags::default() };
        let admission = begins.map(|kind| admit(&flags, step, kind, commit.now));
        if let Some(Admission::Refused(refusal)) = admission {
            return Ok(CommitOutcome::Refused(refusal));
        }
        let window_open = row.try_get::<i64, _>("cancel_window_open")? == 1;
        let passed = admission == Some(Admission::Pass);
        let begins_pivot = !passed && matches!(commit.gate, Gate::Forward { is_pivot: true, .. });
        let interruptible = Interruptible {
            is_paused: flags.is_paused,
            window_open: window_open && !begins_pivot && commit.gate != Gate::Compensation,
            pivot_begun: flags.pivot_begun || begins_pivot,
        };
        self.write(connection, &row, interruptible).await?;
        Ok(if passed { CommitOutcome::Passed } else { CommitOutcome::Committed })
    }

    fn rows(&self) -> usize {
        let Commit { records, forgotten, history, .. } = &self.0;
        1 + records.len() + forgotten.len() + history.len()
    }
}

impl CommitTurn {
    async fn write(
        &self,
        connection: &mut AnyConnection,
        before: &AnyRow,
        interruptible: Interruptible,
    ) -> Result<(), Fault> {
        let commit = &self.0;
        let (journal_len, history_len): (i64, i64) = (before.try_get("journal_len")?, before.try_get("history_len")?);
        let stored = rows::name(before, "status").ok();
        forget(connection, &commit.execution_id, &commit.forgotten).await?;
        append_journal(connection, &commit.execution_id, journal_len, &commit.records).await?;
        append_history(connection, &commit.tenant_id, &commit.execution_id, history_len, &commit.history).await?;
        append_audit(connection, commit.audit.as_ref()).await?;
        let end = commit.end.as_ref();
        let open = if interruptible.is_paused { Status::Paused } else { Status::Running };
        let status = NewStatus::instead_of(stored, end.map_or(open, |end| end.status));
        let update = format!(
            "UPDATE executions SET updated_at = CASE WHEN updated_at > $2 THEN updated_at ELSE $2 END, progress = $3, cancel_window_open = $4, pivot_begun = $5, \
             ended_at = $6, result = $7, failure = $8, version = version + 1, journal_len = $9, \
             journal_forgotten = journal_forgotten + $10, history_len = $11, reported = COALESCE($12, reported){} \
             WHERE id = $1",
            status.assignment(13)
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(update))
            .bind(&commit.execution_id)
            .bind(micros(commit.at))
            .bind(json_text(&commit.progress))
            .bind(i64::from(interruptible.window_open && end.is_none()))
            .bind(i64::from(interruptible.pivot_begun))
            .bind(end.map(|_| micros(commit.at)))
            .bind(end.and_then(|end| end.result.as_ref()).map(ToString::to_string))
            .bind(end.and_then(|end| end.failure.as_ref()).map(json_text))
            .bind(journal_len + commit.records.len() as i64)
            .bind(commit.forgotten.len() as i64)
            .bind(history_len + commit.history.len() as i64)
            .bind(commit.reported.as_ref().map(json_text));
        status.bind(query).execute(&mut *connection).await?;
        if let Some(items) = commit.items {
            batches::replace(connection, &commit.execution_id, items).await?;
        }
        if let Some(end) = end {
            let of_request = RequestEnd::of(end.status, end.result.as_ref(), commit.at);
            data_requests::end(connection, &commit.execution_id, of_request).await?;
        }
        if let Some(End { status: Status::Completed, .. }) = end {
            count_duration(connection, &commit.execution_id).await?;
        }
        Ok(())
    }
}

pub(crate) async fn count_duration(connection: &mut AnyConnection, execution_id: &str) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO tenant_durations (tenant_id, kind, completed, total_ms) \
         SELECT tenant_id, kind, 1, CASE WHEN ended_at > started_at THEN (ended_at - started_at) / 1000 ELSE 0 END \
         FROM executions WHERE id = $1 \
         ON CONFLICT (tenant_id, kind) DO UPDATE SET completed = tenant_durations.completed + 1, \
         total_ms = tenant_durations.total_ms + excluded.total_ms",
    )
    .bind(execution_id)
    .execute(connection)
    .await?;
    Ok(())
}

/// A statement about those of these records that there are.
fn about<'a>(what: &str, execution_id: &'a str, numbers: &[u64]) -> Query<'a, Any, AnyArguments> {
    let (places, numbers) = list(2, numbers);
    let text = format!("{what} FROM journal WHERE execution_id = $1 AND number IN {places}");
    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(execution_id);
    numbers.into_iter().fold(query, Query::bind)
}

/// Before anything is written: whether there is what is to be forgotten.
async fn check_forgotten(connection: &mut AnyConnection, execution_id: &str, numbers: &[u64]) -> Result<(), Fault> {
    let mut found = 0;
    for numbers in numbers.chunks(MAX_ROWS) {
        let count = about("SELECT COUNT(*) AS found", execution_id, numbers);
        found += count.fetch_one(&mut *connection).await?.try_get::<i64, _>("found")?;
    }
    if found == numbers.len() as i64 {
        return Ok(());
    }
    Err(Fault::Inconsistent(format!("{execution_id}: there are {found} of the {} records to forget", numbers.len())))
}

async fn forget(connection: &mut AnyConnection, execution_id: &str, numbers: &[u64]) -> Result<(), Fault> {
    for numbers in numbers.chunks(MAX_ROWS) {
        about("DELETE", execution_id, numbers).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Appends records behind the `len` there are.
pub(crate) async fn append_journal(
    connection: &mut AnyConnection,
    execution_id: &str,
    len: i64,
    records: &[JournalRecord],
) -> Result<(), Fault> {
    let mut numbers = len + 1..;
    for records in parts(records) {
        let mut query = sqlx::query(insert("journal (execution_id, number, record)", 3, records.len()));
        for (record, number) in records.iter().zip(&mut numbers) {
            query = query.bind(execution_id).bind(number).bind(json_text(record));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::SystemClock;
    use contracts::{EngineKind, Timestamp, WorkflowKind};
    use serde_json::json;
    use sqlx::Connection as _;
    use store::{Executions as _, Inherited, JournalStart, NewExecution, Progress, StoredRequest};

    use super::*;
    use crate::Durability;

    fn new(id: &str) -> NewExecution {
        NewExecution {
            tenant_id: "a".to_owned(),
            id: id.to_owned(),
            kind: WorkflowKind::UserOnboarding,
            engine: EngineKind::Embedded,
            user_id: None,
            started_at: Timestamp::UNIX_EPOCH,
            deadline_at: None,
            effect_scope: id.to_owned(),
            retry_of: None,
            inherited: Inherited::default(),
            status: Status::Running,
            input: json!({}),
            request: StoredRequest::Inline(json!({})),
            idempotency: None,
            progress: progress(),
            history: vec![],
            journal: Some(JournalStart { definition: "{}".to_owned(), records: vec![] }),
            cancel_requested_at: None,
            begins_pivot: false,
            upload_id: None,
            audit: None,
        }
    }

    fn progress() -> Progress {
        Progress { current_step: "S".to_owned(), total_steps: 1, completed_steps: 0, status_message: None }
    }

    /// Whoever writes the status writes the indices by status.
    #[tokio::test]
    async fn a_turn_writes_the_status_only_if_it_changes() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("x.db");
        let store = SqlStore::open(&file, Durability::Process, Arc::new(SystemClock)).await.expect("it opens");
        let url = format!("sqlite://{}", file.display());
        let mut connection = AnyConnection::connect(&url).await.expect("it opens");
        for statement in [
            "CREATE TABLE written (status TEXT NOT NULL)",
            "CREATE TRIGGER status_written AFTER UPDATE OF status ON executions \
             BEGIN INSERT INTO written (status) VALUES (NEW.status); END",
        ] {
            sqlx::query(statement).execute(&mut connection).await.expect("it is written");
        }
        store.create(new("e-1")).await.expect("it is created");
        let ends = [None, None, Some(End { status: Status::Completed, result: None, failure: None })];
        for end in ends {
            let turn = Commit {
                tenant_id: "a".to_owned(),
                execution_id: "e-1".to_owned(),
                at: Timestamp::UNIX_EPOCH,
                now: Timestamp::UNIX_EPOCH,
                expected_records: 0,
                records: vec![],
                forgotten: vec![],
                history: vec![],
                progress: progress(),
                reported: None,
                items: None,
                gate: Gate::Open,
                end,
                audit: None,
            };
            assert_eq!(store.commit(turn).await.expect("it is written"), CommitOutcome::Committed);
        }
        let written = sqlx::query("SELECT status FROM written").fetch_all(&mut connection).await.expect("it is read");
        let written: Vec<Status> = written.iter().map(|row| rows::name(row, "status").expect("a status")).collect();
        assert_eq!(written, [Status::Completed]);
    }
}
