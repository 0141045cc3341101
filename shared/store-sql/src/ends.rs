//! The record of ends, for engines that keep their own journal.

use async_trait::async_trait;
use contracts::data_requests::RequestEnd;
use contracts::step::StepPath;
use contracts::{Status, Timestamp};
use sqlx::{AnyConnection, Row as _};
use store::events::{Ended, ending, ending_of_damaged};
use store::{EndRecorder, EngineEnd, NewAuditRow, NewEvent, Progress, StoreError};

use crate::SqlStore;
use crate::audit::append_audit;
use crate::data_requests;
use crate::history::append_history;
use crate::journal::count_duration;
use crate::rows::{self, json_text, micros};
use crate::steps::{OpenRecord, Scope};
use crate::writer::{Fault, Operation};

#[async_trait]
impl EndRecorder for SqlStore {
    async fn record_end(
        &self,
        tenant_id: &str,
        id: &str,
        end: &EngineEnd,
        at: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<bool, StoreError> {
        let recorded = RecordEnd {
            tenant_id: tenant_id.to_owned(),
            id: id.to_owned(),
            end: end.clone(),
            at,
            audit: audit.clone(),
        };
        match self.writer.write(recorded).await {
            // What an operator ends is ended, whatever of it can be read.
            Err(StoreError::Inconsistent(_)) if *end == EngineEnd::Terminated => {
                self.close(tenant_id, id, at, audit).await
            }
            recorded => recorded,
        }
    }
}

impl SqlStore {
    /// Ends an execution as terminated, whatever of it can be read.
    pub(crate) async fn close(
        &self,
        tenant_id: &str,
        id: &str,
        at: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<bool, StoreError> {
        let (tenant_id, id) = (tenant_id.to_owned(), id.to_owned());
        self.writer.write_first(CloseDamaged { tenant_id, id, at, audit }).await
    }
}

/// Ends an execution of which not everything can be read.
struct CloseDamaged {
    tenant_id: String,
    id: String,
    at: Timestamp,
    audit: Option<NewAuditRow>,
}

#[async_trait]
impl Operation for CloseDamaged {
    type Output = bool;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<bool, Fault> {
        let Self { tenant_id, id, at, audit } = self;
        let row = sqlx::query(
            "SELECT CAST(ended_at AS BIGINT) AS ended_at, CAST(progress AS BLOB) AS progress, \
             (SELECT COALESCE(MAX(CAST(event_id AS BIGINT)), 0) FROM history WHERE execution_id = $1) AS events \
             FROM executions WHERE id = $1 AND tenant_id = $2",
        );
        let Some(row) = row.bind(id).bind(tenant_id).fetch_optional(&mut *connection).await? else { return Ok(false) };
        // Text that is no moment counts as none.
        if row.try_get::<Option<i64>, _>("ended_at")?.is_some_and(|ended_at| ended_at > 0) {
            return Ok(false);
        }
        let (end, last) = ending_of_damaged(*at);
        let progress: Progress = rows::json(&row, "progress").unwrap_or_default();
        let events: i64 = row.try_get("events")?;
        append_history(connection, tenant_id, id, events, &[last]).await?;
        sqlx::query(
            "UPDATE executions SET status = $2, ended_at = $3, updated_at = $3, cancel_window_open = 0, result = NULL, \
             failure = $4, progress = $5, history_len = $6, version = CAST(version AS BIGINT) + 1 WHERE id = $1",
        )
        .bind(id)
        .bind(end.status.as_str())
        .bind(micros(*at))
        .bind(end.failure.as_ref().map(json_text))
        .bind(json_text(&progress.at_the_end(&end)))
        .bind(events + 1)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "UPDATE steps SET open_activity = NULL, open_kind = NULL, open_after = NULL WHERE execution_id = $1",
        )
        .bind(id)
        .execute(&mut *connection)
        .await?;
        data_requests::end(connection, id, RequestEnd::of(end.status, end.result.as_ref(), *at)).await?;
        append_audit(connection, audit.as_ref()).await?;
        Ok(true)
    }
}

struct RecordEnd {
    tenant_id: String,
    id: String,
    end: EngineEnd,
    at: Timestamp,
    audit: Option<NewAuditRow>,
}

#[async_trait]
impl Operation for RecordEnd {
    type Output = bool;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<bool, Fault> {
        let Self { tenant_id, id, end, at, audit } = self;
        let loaded = OpenRecord::load(connection, tenant_id, id, Scope::Steps).await?;
        let Some((mut record, _)) = loaded.filter(|(record, _)| !record.flags.has_ended) else {
            return Ok(false);
        };
        // Its engine has given up what is open, so nobody waits for what that might still say.
        let mut open: Vec<(u64, StepPath)> =
            record.steps.iter().filter_map(|(path, step)| Some((step.open.as_ref()?.after, path.clone()))).collect();
        open.sort_unstable();
        let mut happened: Vec<NewEvent> = open.iter().filter_map(|(_, path)| record.close_lost(path, *at)).collect();
        let mut undone: Vec<(u64, &StepPath)> =
            record.steps.iter().filter_map(|(path, step)| Some((step.undone_at?, path))).collect();
        undone.sort_unstable();
        let undone = undone.into_iter().map(|(_, path)| path.to_string()).collect();
        let attempts_of = |name: &str| {
            let found = record.steps.iter().find(|(path, _)| path.to_string() == name);
            found.map_or(0, |(_, step)| step.attempts)
        };
        let left = record.inherited.left(|path| record.steps.contains_key(path));
        let (end, last) = ending(end, &record.reported, Ended { undone, left }, attempts_of, *at);
        happened.push(last);
        record.status = end.status;
        record.window_open = false;
        let closed: Vec<&StepPath> = open.iter().map(|(_, path)| path).collect();
        record.write(connection, *at, &happened, &closed).await?;
        let progress = record.progress.clone().at_the_end(&end);
        sqlx::query("UPDATE executions SET ended_at = $2, result = $3, failure = $4, progress = $5 WHERE id = $1")
            .bind(id)
            .bind(micros(*at))
            .bind(end.result.as_ref().map(ToString::to_string))
            .bind(end.failure.as_ref().map(json_text))
            .bind(json_text(&progress))
            .execute(&mut *connection)
            .await?;
        if end.status == Status::Completed {
            count_duration(connection, id).await?;
        }
        data_requests::end(connection, id, RequestEnd::of(end.status, end.result.as_ref(), *at)).await?;
        append_audit(connection, audit.as_ref()).await?;
        Ok(true)
    }
}
