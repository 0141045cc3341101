//! The record of attempts and ends, for engines that keep their own journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::step::StepKind;
use contracts::{ErrorName, Status, Timestamp};
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use store::events::{self, AttemptEvents, TIMEOUT, ending, final_progress, status_message};
use store::{
    ACCEPTED, Attempt, Begin, EndRecorder, EngineEnd, Finish, NewEvent, Progress, Refusal, StepOutcome, StepRecorder,
    StepRef, StoreError,
};
use workflows::Workflow;

use crate::SqlStore;
use crate::executions::json_text;
use crate::history::append_history;
use crate::journal::count_duration;
use crate::rows::{self, micros};
use crate::writer::{Fault, Operation};

#[async_trait]
impl StepRecorder for SqlStore {
    async fn begin_step(&self, step: &StepRef) -> Result<Begin, StoreError> {
        self.writer.write(BeginStep { step: step.clone(), now: self.clock.now() }).await
    }

    async fn finish_step(
        &self,
        step: &StepRef,
        attempt: &Attempt,
        outcome: &StepOutcome,
    ) -> Result<Finish, StoreError> {
        let (step, outcome, now) = (step.clone(), outcome.clone(), self.clock.now());
        self.writer.write(FinishStep { step, attempt: attempt.number, outcome, now }).await
    }
}

#[async_trait]
impl EndRecorder for SqlStore {
    async fn record_end(&self, tenant_id: &str, id: &str, end: &EngineEnd, at: Timestamp) -> Result<bool, StoreError> {
        let (tenant_id, id, end) = (tenant_id.to_owned(), id.to_owned(), end.clone());
        self.writer.write(RecordEnd { tenant_id, id, end, at }).await
    }
}

/// What an attempt may change of an execution.
struct Standing {
    tenant_id: String,
    id: String,
    has_ended: bool,
    deadline_at: Option<i64>,
    is_cancelled: bool,
    is_paused: bool,
    window_open: bool,
    pivot_begun: bool,
    status: Status,
    progress: Progress,
    history_len: i64,
    steps: BTreeMap<String, StepRow>,
}

/// A step of the execution.
#[derive(Default)]
struct StepRow {
    attempts: u32,
    open: Option<Open>,
    done: Option<Value>,
    is_closed: bool,
    undone_at: Option<i64>,
}

/// The attempt under way.
struct Open {
    activity: String,
    kind: StepKind,
    /// The history's length before it.
    after: i64,
}

impl Standing {
    async fn load(connection: &mut AnyConnection, tenant_id: &str, id: &str) -> Result<Option<(Self, AnyRow)>, Fault> {
        let row = sqlx::query(
            "SELECT status, ended_at, deadline_at, cancel_requested_at, paused_at, cancel_window_open, pivot_begun, \
             progress, request, effect_scope, history_len FROM executions WHERE id = $1 AND tenant_id = $2",
        )
        .bind(id)
        .bind(tenant_id)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let found = sqlx::query(
            "SELECT step, attempts, open_activity, open_kind, open_after, done, closed, undone_at FROM steps \
             WHERE execution_id = $1",
        )
        .bind(id)
        .fetch_all(connection)
        .await?;
        let steps = found.iter().map(step_row).collect::<Result<_, StoreError>>().map_err(inconsistent)?;
        let is_set = |column| row.try_get::<Option<i64>, _>(column).map(|at| at.is_some());
        let standing = Self {
            tenant_id: tenant_id.to_owned(),
            id: id.to_owned(),
            has_ended: is_set("ended_at")?,
            deadline_at: row.try_get("deadline_at")?,
            is_cancelled: is_set("cancel_requested_at")?,
            is_paused: is_set("paused_at")?,
            window_open: row.try_get::<i64, _>("cancel_window_open")? == 1,
            pivot_begun: row.try_get::<i64, _>("pivot_begun")? == 1,
            status: row.try_get::<String, _>("status")?.parse().map_err(|_| Fault::Inconsistent(id.to_owned()))?,
            progress: rows::json(&row, "progress").map_err(inconsistent)?,
            history_len: row.try_get("history_len")?,
            steps,
        };
        Ok(Some((standing, row)))
    }

    /// What stands against a forward step, if it can still be interrupted.
    fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        let is_late = self.deadline_at.is_some_and(|deadline| deadline < micros(now));
        match self.pivot_begun {
            true => None,
            false if self.is_cancelled => Some(Refusal::Cancelled),
            false if self.is_paused => Some(Refusal::Paused),
            false => is_late.then_some(Refusal::TimedOut),
        }
    }

    /// Closes the attempt of a step that never said how it ended; whatever it says later counts for nothing.
    fn close_lost(&mut self, step: &str, now: Timestamp) -> Option<NewEvent> {
        let row = self.steps.get_mut(step)?;
        let Open { activity, kind, .. } = row.open.take()?;
        let attempt = AttemptEvents { activity, step: step.to_owned(), kind, number: row.attempts };
        Some(attempt.failed(TIMEOUT, "", now))
    }

    /// The step is where the execution stands: all steps before it are over.
    fn stand_at(&mut self, workflow: Option<&Workflow>, step: &str) {
        self.progress.current_step = step.to_owned();
        self.progress.completed_steps = self.progress.completed_steps.max(steps_before(workflow, step).unwrap_or(0));
    }

    /// Writes events, the execution's state, and the steps that changed.
    async fn write(
        &mut self,
        connection: &mut AnyConnection,
        now: Timestamp,
        events: &[NewEvent],
        changed: &[&str],
    ) -> Result<(), Fault> {
        append_history(connection, &self.tenant_id, &self.id, self.history_len, events).await?;
        self.history_len += events.len() as i64;
        for name in changed {
            if let Some(step) = self.steps.get(*name) {
                step.write(connection, &self.id, name).await?;
            }
        }
        sqlx::query(
            "UPDATE executions SET updated_at = $2, progress = $3, cancel_window_open = $4, pivot_begun = $5, \
             status = $6, history_len = $7, deadline_at = $8, version = version + 1 WHERE id = $1",
        )
        .bind(&self.id)
        .bind(micros(now))
        .bind(json_text(&self.progress))
        .bind(i64::from(self.window_open))
        .bind(i64::from(self.pivot_begun))
        .bind(self.status.as_str())
        .bind(self.history_len)
        .bind(self.deadline_at)
        .execute(connection)
        .await?;
        Ok(())
    }
}

impl StepRow {
    async fn write(&self, connection: &mut AnyConnection, execution_id: &str, step: &str) -> Result<(), Fault> {
        let open = self.open.as_ref();
        sqlx::query(
            "INSERT INTO steps (execution_id, step, attempts, open_activity, open_kind, open_after, done, closed, \
             undone_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (execution_id, step) DO UPDATE SET \
             attempts = excluded.attempts, open_activity = excluded.open_activity, open_kind = excluded.open_kind, \
             open_after = excluded.open_after, done = excluded.done, closed = excluded.closed, \
             undone_at = excluded.undone_at",
        )
        .bind(execution_id)
        .bind(step)
        .bind(i64::from(self.attempts))
        .bind(open.map(|open| open.activity.as_str()))
        .bind(open.map(|open| json_text(&open.kind)))
        .bind(open.map(|open| open.after))
        .bind(self.done.as_ref().map(ToString::to_string))
        .bind(i64::from(self.is_closed))
        .bind(self.undone_at)
        .execute(connection)
        .await?;
        Ok(())
    }
}

fn step_row(row: &AnyRow) -> Result<(String, StepRow), StoreError> {
    let open = match rows::get::<Option<String>>(row, "open_activity")? {
        None => None,
        Some(activity) => {
            Some(Open { activity, kind: rows::json(row, "open_kind")?, after: rows::get(row, "open_after")? })
        }
    };
    let step = StepRow {
        attempts: u32::try_from(rows::count(row, "attempts")?).map_err(rows::inconsistent)?,
        open,
        done: rows::optional_json(row, "done")?,
        is_closed: rows::get::<i64>(row, "closed")? == 1,
        undone_at: rows::get(row, "undone_at")?,
    };
    Ok((rows::get(row, "step")?, step))
}

fn inconsistent(error: StoreError) -> Fault {
    Fault::Inconsistent(error.to_string())
}

fn steps_before(workflow: Option<&Workflow>, step: &str) -> Option<u32> {
    workflow?.steps.iter().position(|known| known.state == step)?.try_into().ok()
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
        let Some((mut standing, row)) = Standing::load(connection, &step.tenant_id, &step.execution_id).await? else {
            return Ok(Begin::Closed);
        };
        if standing.has_ended {
            return Ok(Begin::Closed);
        }
        if let (Some(waited), true) = (step.waited(*now), standing.history_len == ACCEPTED as i64) {
            standing.deadline_at = standing.deadline_at.map(|deadline| deadline + waited.as_micros() as i64);
        }
        let before = standing.steps.entry(step.step.clone()).or_default();
        if step.kind == StepKind::Forward {
            if let Some(result) = &before.done {
                return Ok(Begin::AlreadyDone(result.clone()));
            }
            if before.is_closed {
                return Ok(Begin::Closed);
            }
        }
        let workflow = workflows::workflow(step.workflow);
        let mut changed = vec![step.step.as_str()];
        changed.extend(step.undoes.as_deref());
        let mut happened: Vec<NewEvent> = changed.iter().filter_map(|step| standing.close_lost(step, *now)).collect();
        let refusal = standing.refusal(*now).filter(|_| step.kind == StepKind::Forward);
        if refusal == Some(Refusal::Paused) {
            if !happened.is_empty() {
                standing.write(connection, *now, &happened, &changed).await?;
            }
            return Ok(Begin::Paused);
        }
        let attempts = &mut standing.steps.entry(step.step.clone()).or_default().attempts;
        *attempts += 1;
        let number = *attempts;
        let attempt = AttemptEvents::of(step, number);
        if step.kind == StepKind::Forward {
            standing.stand_at(workflow, &step.step);
        }
        if let Some(refusal) = refusal {
            let (name, begin) = match refusal {
                Refusal::Cancelled => (ErrorName::WorkflowCancelled, Begin::Cancelled),
                Refusal::Paused => (ErrorName::WorkflowPaused, Begin::Paused),
                Refusal::TimedOut => (ErrorName::WorkflowTimedOut, Begin::TimedOut),
            };
            happened.extend(events::refused(&attempt, name, refusal.message(), *now));
            standing.write(connection, *now, &happened, &changed).await?;
            return Ok(begin);
        }
        let after = standing.history_len + happened.len() as i64;
        happened.push(attempt.scheduled(*now));
        happened.extend(attempt.started(*now));
        match step.kind {
            StepKind::Forward => {
                standing.status = Status::Running;
                if workflow.is_some_and(|workflow| workflow.is_pivot_or_last(&step.step)) {
                    standing.pivot_begun = true;
                    standing.window_open = false;
                }
            }
            StepKind::Compensation => {
                standing.window_open = false;
                if let Some(undoes) = &step.undoes {
                    standing.steps.entry(undoes.clone()).or_default().is_closed = true;
                }
            }
        }
        standing.progress.status_message = Some(status_message(workflow, &step.step, step.kind));
        if let Some(row) = standing.steps.get_mut(&step.step) {
            row.open = Some(Open { activity: step.activity.clone(), kind: step.kind, after });
        }
        let request = Arc::new(rows::json(&row, "request").map_err(inconsistent)?);
        let effect_scope = row.try_get::<String, _>("effect_scope")?.into();
        standing.write(connection, *now, &happened, &changed).await?;
        let history_len = u64::try_from(standing.history_len).unwrap_or_default();
        Ok(Begin::Proceed { attempt: Attempt { number, began_at: *now, history_len }, request, effect_scope })
    }
}

struct FinishStep {
    step: StepRef,
    attempt: u32,
    outcome: StepOutcome,
    now: Timestamp,
}

#[async_trait]
impl Operation for FinishStep {
    type Output = Finish;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Finish, Fault> {
        let Self { step, attempt, outcome, now } = self;
        let loaded = Standing::load(connection, &step.tenant_id, &step.execution_id).await?;
        let Some((mut standing, _)) = loaded.filter(|(standing, _)| !standing.has_ended) else {
            return Ok(Finish::Closed);
        };
        let event_id = standing.history_len + 1;
        let Some(row) = standing.steps.get_mut(&step.step).filter(|row| !row.is_closed) else {
            return Ok(Finish::Closed);
        };
        if row.attempts != *attempt || row.open.take().is_none() {
            return Ok(Finish::Superseded);
        }
        let events = AttemptEvents::of(step, *attempt);
        let ended = match outcome {
            Ok(result) => events.succeeded(result, *now),
            Err(error) => events.failed(&error.error, &error.cause_text(), *now),
        };
        let mut changed = vec![step.step.as_str()];
        match (outcome, step.kind) {
            (Ok(result), StepKind::Forward) => {
                row.done = Some(result.clone());
                let over = steps_before(workflows::workflow(step.workflow), &step.step).map_or(0, |before| before + 1);
                standing.progress.completed_steps = standing.progress.completed_steps.max(over);
            }
            (Ok(result), StepKind::Compensation) if result["undone"] == true => {
                let undone = step.undoes.as_ref().unwrap_or(&step.step);
                standing.steps.entry(undone.clone()).or_default().undone_at.get_or_insert(event_id);
                changed.push(undone);
            }
            (Ok(_) | Err(_), _) => {}
        }
        standing.write(connection, *now, &[ended], &changed).await?;
        Ok(Finish::Recorded)
    }
}

struct RecordEnd {
    tenant_id: String,
    id: String,
    end: EngineEnd,
    at: Timestamp,
}

#[async_trait]
impl Operation for RecordEnd {
    type Output = bool;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<bool, Fault> {
        let Self { tenant_id, id, end, at } = self;
        let loaded = Standing::load(connection, tenant_id, id).await?;
        let Some((mut standing, _)) = loaded.filter(|(standing, _)| !standing.has_ended) else {
            return Ok(false);
        };
        // Its engine has given up what is open, so nobody waits for what that might still say.
        let mut open: Vec<(i64, String)> =
            standing.steps.iter().filter_map(|(name, step)| Some((step.open.as_ref()?.after, name.clone()))).collect();
        open.sort_unstable();
        let mut happened: Vec<NewEvent> = open.iter().filter_map(|(_, step)| standing.close_lost(step, *at)).collect();
        let mut undone: Vec<(i64, &String)> =
            standing.steps.iter().filter_map(|(name, step)| Some((step.undone_at?, name))).collect();
        undone.sort_unstable();
        let undone = undone.into_iter().map(|(_, step)| step.clone()).collect();
        let attempts_of = |step: &str| standing.steps.get(step).map_or(0, |step| step.attempts);
        let (end, last) = ending(end, undone, attempts_of, *at);
        happened.push(last);
        standing.status = end.status;
        standing.window_open = false;
        standing.progress = final_progress(standing.progress.clone(), &end);
        let closed: Vec<&str> = open.iter().map(|(_, step)| step.as_str()).collect();
        standing.write(connection, *at, &happened, &closed).await?;
        sqlx::query("UPDATE executions SET ended_at = $2, result = $3, failure = $4 WHERE id = $1")
            .bind(id)
            .bind(micros(*at))
            .bind(end.result.as_ref().map(ToString::to_string))
            .bind(end.failure.as_ref().map(json_text))
            .execute(&mut *connection)
            .await?;
        if end.status == Status::Completed {
            count_duration(connection, id).await?;
        }
        Ok(true)
    }
}
