//! The record of attempts, for engines that keep their own journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::step::{StepKind, StepPath};
use contracts::{Status, Timestamp};
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use store::events::{self, AttemptEvents, TIMEOUT, status_message};
use store::{
    Admission, AttemptOutcome, BatchChange, Begin, BegunAttempt, Effects, ExecutionFlags, Finish, Inherited, NewEvent,
    Progress, Refusal, Reported, StepFlags, StepMoments, StepRecorder, StepRef, StoreError, admit, completed_steps,
};

use crate::SqlStore;
use crate::batches;
use crate::history::append_history;
use crate::journal::{NewStatus, execution_flags};
use crate::rows::{self, json_text, micros};
use crate::writer::{Fault, Operation};

#[async_trait]
impl StepRecorder for SqlStore {
    async fn begin_step(&self, step: &StepRef) -> Result<Begin, StoreError> {
        self.writer.write(BeginStep { step: step.clone(), now: self.clock.now() }).await
    }

    async fn finish_step(
        &self,
        step: &StepRef,
        attempt: &BegunAttempt,
        ended: &AttemptOutcome,
    ) -> Result<Finish, StoreError> {
        let (step, ended, now) = (step.clone(), ended.clone(), self.clock.now());
        self.writer.write(FinishStep { step, attempt: attempt.number, ended, now }).await
    }
}

/// What an attempt may change of an execution.
pub(crate) struct OpenRecord {
    tenant_id: String,
    id: String,
    pub(crate) flags: ExecutionFlags,
    pub(crate) window_open: bool,
    pub(crate) status: Status,
    stored_status: Status,
    pub(crate) progress: Progress,
    pub(crate) reported: Reported,
    history_len: u64,
    /// The history's length before the forward step that began last.
    forward_at: u64,
    /// What it took over from the execution that it retries.
    pub(crate) inherited: Inherited,
    pub(crate) steps: BTreeMap<StepPath, StepRow>,
}

/// A step of the execution.
#[derive(Default)]
pub(crate) struct StepRow {
    is_batch: bool,
    pub(crate) attempts: u32,
    pub(crate) open: Option<OpenAttempt>,
    done: Option<Value>,
    closed_at: Option<u64>,
    pub(crate) undone_at: Option<u64>,
    /// Of a batch: whether an attempt has failed, and none has done it since.
    has_failed: bool,
}

/// The attempt under way.
pub(crate) struct OpenAttempt {
    activity: String,
    kind: StepKind,
    /// The history's length before it.
    pub(crate) after: u64,
}

/// Which steps of an execution are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// All but batches, of which there may be ten thousand.
    Steps,
    /// Only these.
    Batch(&'a StepRef),
}

impl<'a> Scope<'a> {
    /// What an attempt of this step looks at.
    fn of(step: &'a StepRef) -> Self {
        if step.is_batch { Self::Batch(step) } else { Self::Steps }
    }
}

impl OpenRecord {
    pub(crate) async fn load(
        connection: &mut AnyConnection,
        tenant_id: &str,
        id: &str,
        scope: Scope<'_>,
    ) -> Result<Option<(Self, AnyRow)>, Fault> {
        let row = sqlx::query(
            "SELECT status, ended_at, deadline_at, cancel_requested_at, paused_at, cancel_window_open, pivot_begun, \
             progress, reported, request, effect_scope, inherited, history_len, forward_at FROM executions \
             WHERE id = $1 AND tenant_id = $2",
        )
        .bind(id)
        .bind(tenant_id)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let select = "SELECT path, is_batch, attempts, open_activity, open_kind, open_after, done, closed_at, undone_at, has_failed FROM steps WHERE execution_id = $1";
        let found = match scope {
            Scope::Steps => {
                let select = sqlx::AssertSqlSafe(format!("{select} AND is_batch = 0"));
                sqlx::query(select).bind(id).fetch_all(connection).await?
            }
            Scope::Batch(step) => {
                let select = sqlx::AssertSqlSafe(format!("{select} AND path IN ($2, $3)"));
                let paths = [&step.path, step.undoes.as_ref().unwrap_or(&step.path)];
                let query = sqlx::query(select).bind(id).bind(paths[0].to_string()).bind(paths[1].to_string());
                query.fetch_all(connection).await?
            }
        };
        let steps = found.iter().map(step_row).collect::<Result<_, StoreError>>().map_err(inconsistent)?;
        let status: Status = rows::name(&row, "status").map_err(inconsistent)?;
        let record = Self {
            tenant_id: tenant_id.to_owned(),
            id: id.to_owned(),
            flags: execution_flags(&row)?,
            window_open: row.try_get::<i64, _>("cancel_window_open")? == 1,
            status,
            stored_status: status,
            progress: rows::json(&row, "progress").map_err(inconsistent)?,
            reported: rows::optional_json(&row, "reported").map_err(inconsistent)?.unwrap_or_default(),
            history_len: rows::count(&row, "history_len").map_err(inconsistent)?,
            forward_at: rows::count(&row, "forward_at").map_err(inconsistent)?,
            inherited: rows::optional_json(&row, "inherited").map_err(inconsistent)?.unwrap_or_default(),
            steps,
        };
        Ok(Some((record, row)))
    }

    /// Closes the attempt of a step that never said how it ended; whatever it says later counts for nothing.
    pub(crate) fn close_lost(&mut self, path: &StepPath, now: Timestamp) -> Option<NewEvent> {
        let row = self.steps.get_mut(path)?;
        let OpenAttempt { activity, kind, .. } = row.open.take()?;
        let attempt = AttemptEvents { activity, path: path.clone(), kind, undoes: None, number: row.attempts };
        Some(attempt.failed(TIMEOUT, "", now)).filter(|_| !row.is_batch)
    }

    /// A forward step is where the execution stands.
    fn stand_at(&mut self, step: &StepRef, after: u64) {
        self.progress.current_step = step.path.name.clone();
        self.forward_at = after;
    }

    fn count_completed(&mut self) {
        let moments =
            self.steps.values().map(|row| StepMoments { is_done: row.done.is_some(), closed_at: row.closed_at });
        self.progress.completed_steps = completed_steps(moments, self.forward_at);
    }

    /// Writes events, the execution's state, and the steps that changed.
    pub(crate) async fn write(
        &mut self,
        connection: &mut AnyConnection,
        now: Timestamp,
        events: &[NewEvent],
        changed: &[&StepPath],
    ) -> Result<(), Fault> {
        append_history(connection, &self.tenant_id, &self.id, self.history_len as i64, events).await?;
        self.history_len += events.len() as u64;
        self.write_steps(connection, changed).await?;
        self.count_completed();
        let status = NewStatus::instead_of(Some(self.stored_status), self.status);
        let update = format!(
            "UPDATE executions SET updated_at = $2, progress = $3, cancel_window_open = $4, pivot_begun = $5, \
             history_len = $6, deadline_at = $7, forward_at = $8, reported = $9, version = version + 1{} WHERE id = $1",
            status.assignment(10)
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(update))
            .bind(&self.id)
            .bind(micros(now))
            .bind(json_text(&self.progress))
            .bind(i64::from(self.window_open))
            .bind(i64::from(self.flags.pivot_begun))
            .bind(self.history_len as i64)
            .bind(self.flags.deadline_at.map(micros))
            .bind(self.forward_at as i64)
            .bind((!self.reported.is_empty()).then(|| json_text(&self.reported)));
        status.bind(query).execute(connection).await?;
        self.stored_status = self.status;
        Ok(())
    }

    async fn write_steps(&self, connection: &mut AnyConnection, changed: &[&StepPath]) -> Result<(), Fault> {
        for path in changed {
            if let Some(step) = self.steps.get(*path) {
                step.write(connection, &self.id, path).await?;
            }
        }
        Ok(())
    }
}

impl StepRow {
    /// Of a step that nothing is known of yet.
    fn new(step: &StepRef) -> Self {
        Self { is_batch: step.is_batch, ..Self::default() }
    }

    /// What the end of an attempt changes in the count of batches.
    fn count_batch(&mut self, step: &StepRef, ended: &AttemptOutcome) -> Option<BatchChange> {
        if !step.is_batch || step.kind != StepKind::Forward {
            return None;
        }
        let AttemptOutcome { outcome, report } = ended;
        let change = BatchChange::of(step.reports, outcome.is_ok(), report.as_ref(), self.has_failed);
        self.has_failed = change.has_failed;
        Some(change)
    }

    async fn write(&self, connection: &mut AnyConnection, execution_id: &str, path: &StepPath) -> Result<(), Fault> {
        let open = self.open.as_ref();
        sqlx::query(
            "INSERT INTO steps (execution_id, path, is_batch, attempts, open_activity, open_kind, open_after, done, \
             closed_at, undone_at, has_failed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (execution_id, path) DO UPDATE SET attempts = excluded.attempts, \
             open_activity = excluded.open_activity, open_kind = excluded.open_kind, open_after = excluded.open_after, \
             done = excluded.done, closed_at = excluded.closed_at, \
             undone_at = excluded.undone_at, has_failed = excluded.has_failed",
        )
        .bind(execution_id)
        .bind(path.to_string())
        .bind(i64::from(self.is_batch))
        .bind(i64::from(self.attempts))
        .bind(open.map(|open| open.activity.as_str()))
        .bind(open.map(|open| json_text(&open.kind)))
        .bind(open.map(|open| open.after as i64))
        .bind(self.done.as_ref().map(ToString::to_string))
        .bind(self.closed_at.map(|at| at as i64))
        .bind(self.undone_at.map(|at| at as i64))
        .bind(i64::from(self.has_failed))
        .execute(connection)
        .await?;
        Ok(())
    }
}

fn step_row(row: &AnyRow) -> Result<(StepPath, StepRow), StoreError> {
    let open = match rows::get::<Option<String>>(row, "open_activity")? {
        None => None,
        Some(activity) => {
            let (kind, after) = (rows::json(row, "open_kind")?, rows::count(row, "open_after")?);
            Some(OpenAttempt { activity, kind, after })
        }
    };
    let step = StepRow {
        is_batch: rows::get::<i64>(row, "is_batch")? == 1,
        attempts: u32::try_from(rows::count(row, "attempts")?).map_err(rows::inconsistent)?,
        open,
        done: rows::optional_json(row, "done")?,
        closed_at: rows::optional_count(row, "closed_at")?,
        undone_at: rows::optional_count(row, "undone_at")?,
        has_failed: rows::get::<i64>(row, "has_failed")? == 1,
    };
    Ok((rows::get::<String>(row, "path")?.parse().map_err(rows::inconsistent)?, step))
}

pub(crate) fn inconsistent(error: StoreError) -> Fault {
    Fault::Inconsistent(error.to_string())
}

struct BeginStep {
    step: StepRef,
    now: Timestamp,
}

#[async_trait]
impl Operation for BeginStep {
    type Output = Begin;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Begin, Fault> {
        let Self { step, now } = self;
        let loaded = OpenRecord::load(connection, &step.tenant_id, &step.execution_id, Scope::of(step)).await?;
        let Some((mut record, row)) = loaded else { return Ok(Begin::Closed) };
        // Of a batch, the other steps are not loaded, and it is not the first that happens to an execution.
        let is_first = !step.is_batch && record.steps.is_empty();
        if let (Some(waited), true) = (step.waited(*now), is_first) {
            record.flags.deadline_at =
                record.flags.deadline_at.map(|at| at.checked_add(waited).unwrap_or(Timestamp::MAX));
        }
        let passes = record.inherited.passes(&step.path, step.closes);
        let is_stopped = match step.stops_at {
            Some(_) => step.is_stopped(batches::failed(connection, &step.execution_id).await?),
            None => false,
        };
        let own = record.steps.entry(step.path.clone()).or_insert_with(|| StepRow::new(step));
        let flags = StepFlags { done: own.done.as_ref(), is_closed: own.closed_at.is_some(), passes, is_stopped };
        let admission = admit(&record.flags, flags, step.kind, *now);
        let passed = admission == Admission::Pass;
        let refusal = match admission {
            Admission::Proceed | Admission::Pass => None,
            Admission::AlreadyDone(result) => return Ok(Begin::AlreadyDone(result.clone())),
            Admission::Closed => return Ok(Begin::Closed),
            Admission::Refused(refusal) if step.is_batch => return Ok(Begin::Refused(refusal)),
            Admission::Refused(refusal) => Some(refusal),
        };
        let mut changed = vec![&step.path];
        changed.extend(&step.undoes);
        let mut happened: Vec<NewEvent> = changed.iter().filter_map(|path| record.close_lost(path, *now)).collect();
        match refusal {
            None => {}
            Some(Refusal::Paused) => {
                if !happened.is_empty() {
                    record.write(connection, *now, &happened, &changed).await?;
                }
                return Ok(Begin::Refused(Refusal::Paused));
            }
            Some(refusal) => {
                let number = record.next_attempt(step);
                record.stand_at(step, record.history_len);
                happened.extend(events::refused(&AttemptEvents::of(step, number), refusal, *now));
                record.write(connection, *now, &happened, &changed).await?;
                return Ok(Begin::Refused(refusal));
            }
        }
        let number = record.next_attempt(step);
        let after = record.history_len + happened.len() as u64;
        let effect_scope: String = row.try_get("effect_scope")?;
        let effects = record.open_attempt(step, after, &effect_scope, passed);
        let request = Arc::new(rows::json(&row, "request").map_err(inconsistent)?);
        match step.is_batch {
            true => record.write_steps(connection, &changed).await?,
            false => {
                let attempt = AttemptEvents::of(step, number);
                happened.push(attempt.scheduled(*now));
                happened.extend(attempt.started(*now));
                record.begin(step, after, passed);
                record.write(connection, *now, &happened, &changed).await?;
            }
        }
        let attempt = BegunAttempt { number, began_at: *now, history_len: record.history_len };
        Ok(Begin::Proceed { attempt, request, effect_scope: effect_scope.into(), effects })
    }
}

impl OpenRecord {
    fn next_attempt(&mut self, step: &StepRef) -> u32 {
        let row = self.steps.entry(step.path.clone()).or_default();
        row.attempts += 1;
        row.attempts
    }

    /// Opens an attempt, and closes the step that it undoes: how the attempt goes about what an earlier execution left.
    /// `passed` if only an answer let it pass.
    fn open_attempt(&mut self, step: &StepRef, after: u64, own_scope: &str, passed: bool) -> Effects {
        let effects = match &step.undoes {
            Some(undoes) => {
                let row = self.steps.entry(undoes.clone()).or_insert_with(|| StepRow::new(step));
                row.closed_at.get_or_insert(after);
                let is_answered = row.done.as_ref().is_some_and(store::is_answered);
                self.inherited.undoing(undoes, own_scope, is_answered)
            }
            None => {
                let is_first = self.steps.get(&step.path).is_some_and(|row| row.attempts == 1);
                self.inherited.effects(&step.path, passed, is_first)
            }
        };
        let row = self.steps.entry(step.path.clone()).or_default();
        row.open = Some(OpenAttempt { activity: step.activity.clone(), kind: step.kind, after });
        effects
    }

    /// What the begin of a step changes of its execution. One that only passed is not done here, so it is no pivot.
    fn begin(&mut self, step: &StepRef, after: u64, passed: bool) {
        match step.kind {
            StepKind::Forward => {
                self.status = Status::Running;
                self.stand_at(step, after);
                if step.is_final && !passed {
                    self.flags.pivot_begun = true;
                    self.window_open = false;
                }
            }
            StepKind::Compensation => self.window_open = false,
        }
        self.progress.status_message = Some(status_message(step.title.as_deref(), step.kind));
    }
}

struct FinishStep {
    step: StepRef,
    attempt: u32,
    ended: AttemptOutcome,
    now: Timestamp,
}

#[async_trait]
impl Operation for FinishStep {
    type Output = Finish;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Finish, Fault> {
        let Self { step, attempt, ended, now } = self;
        let AttemptOutcome { outcome, report } = ended;
        let loaded = OpenRecord::load(connection, &step.tenant_id, &step.execution_id, Scope::of(step)).await?;
        let Some((mut record, _)) = loaded.filter(|(record, _)| !record.flags.has_ended) else {
            return Ok(Finish::Closed);
        };
        let event_id = record.history_len + 1;
        let Some(row) = record.steps.get_mut(&step.path).filter(|row| row.closed_at.is_none()) else {
            return Ok(Finish::Closed);
        };
        if row.attempts != *attempt || row.open.take().is_none() {
            return Ok(Finish::Superseded);
        }
        let batch = row.count_batch(step, ended);
        let mut changed = vec![&step.path];
        match (outcome, step.kind) {
            (Ok(result), StepKind::Forward) => row.done = Some(result.clone()),
            (Ok(result), StepKind::Compensation) if result["undone"] == true => {
                let undone = step.undoes.as_ref().unwrap_or(&step.path);
                record.steps.entry(undone.clone()).or_default().undone_at.get_or_insert(event_id);
                changed.push(undone);
            }
            (Ok(_) | Err(_), _) => {}
        }
        if step.is_batch {
            record.write_steps(connection, &changed).await?;
            if let Some(batch) = batch {
                batches::count(connection, &step.execution_id, step.batches, batch).await?;
            }
            return Ok(Finish::Recorded);
        }
        if let Some(report) = report {
            record.reported.add(report.clone(), step.closes);
        }
        let events = AttemptEvents::of(step, *attempt);
        let happened = match outcome {
            Ok(result) => events.succeeded(result, *now),
            Err(error) => events.failed(&error.error, &error.cause_text(), *now),
        };
        record.write(connection, *now, &[happened], &changed).await?;
        Ok(Finish::Recorded)
    }
}
