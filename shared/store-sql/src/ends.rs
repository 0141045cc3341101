//! The record of ends, for engines that keep their own journal.

use async_trait::async_trait;
use contracts::step::StepPath;
use contracts::{Status, Timestamp};
use sqlx::AnyConnection;
use store::events::{Ended, ending};
use store::{EndRecorder, EngineEnd, NewAuditRow, NewEvent, StoreError};

use crate::SqlStore;
use crate::audit::append_audit;
use crate::journal::count_duration;
use crate::rows::{json_text, micros};
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
        let (tenant_id, id, end) = (tenant_id.to_owned(), id.to_owned(), end.clone());
        self.writer.write(RecordEnd { tenant_id, id, end, at, audit }).await
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
        append_audit(connection, audit.as_ref()).await?;
        Ok(true)
    }
}
