//! Execution records.

use async_trait::async_trait;
use contracts::{Timestamp, WorkflowKind};
use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Executor, Row};
use store::{
    Control, Controlled, Created, Decision, DueExecution, Estimated, ExecutionRecord, Executions, ListFilter, ListPage,
    NewAuditRow, NewEvent, NewExecution, Retried, StoreError,
};

use crate::audit::append_audit;
use crate::batches::{self, ITEMS_COLUMNS, ITEMS_JOIN};
use crate::history::append_history;
use crate::journal::append_journal;
use crate::rows::{self, EXECUTION_COLUMNS, json_text, micros};
use crate::steps::inconsistent;
use crate::writer::{Fault, Operation};
use crate::{SqlStore, unavailable};

#[async_trait]
impl Executions for SqlStore {
    async fn create(&self, new: NewExecution) -> Result<Created, StoreError> {
        self.writer.write_first(Create(new)).await
    }

    async fn get(&self, tenant_id: &str, id: &str) -> Result<Option<ExecutionRecord>, StoreError> {
        load(&mut *self.readers.of(tenant_id).await?, tenant_id, id)
            .await
            .map_err(unavailable)?
            .map(|row| rows::execution(&row))
            .transpose()
    }

    async fn retried(&self, tenant_id: &str, id: &str) -> Result<Option<Retried>, StoreError> {
        let select = format!(
            "SELECT {EXECUTION_COLUMNS}, request, effect_scope, inherited FROM executions \
             WHERE id = $1 AND tenant_id = $2"
        );
        let mut reader = self.readers.of(tenant_id).await?;
        let row = sqlx::query(AssertSqlSafe(select)).bind(id).bind(tenant_id).fetch_optional(&mut *reader).await;
        let Some(row) = row.map_err(unavailable)? else { return Ok(None) };
        Ok(Some(Retried {
            record: rows::execution(&row)?,
            request: rows::json(&row, "request")?,
            effect_scope: rows::get(&row, "effect_scope")?,
            inherited: rows::optional_json(&row, "inherited")?.unwrap_or_default(),
        }))
    }

    async fn get_estimated(&self, tenant_id: &str, id: &str) -> Result<Option<Estimated>, StoreError> {
        let select = format!(
            "SELECT {EXECUTION_COLUMNS}, {ITEMS_COLUMNS}, (SELECT d.total_ms / d.completed FROM tenant_durations d \
             WHERE d.tenant_id = executions.tenant_id AND d.kind = executions.kind) \
             AS mean FROM executions {ITEMS_JOIN} WHERE id = $1 AND tenant_id = $2"
        );
        let mut reader = self.readers.of(tenant_id).await?;
        let row = sqlx::query(AssertSqlSafe(select)).bind(id).bind(tenant_id).fetch_optional(&mut *reader).await;
        let Some(row) = row.map_err(unavailable)? else { return Ok(None) };
        let mean: Option<i64> = rows::get(&row, "mean")?;
        Ok(Some(Estimated {
            record: rows::execution(&row)?,
            mean_duration_ms: mean.and_then(|ms| ms.try_into().ok()),
            items: batches::items(&row)?,
        }))
    }

    async fn mean_duration_ms(&self, tenant_id: &str, kind: WorkflowKind) -> Result<Option<u64>, StoreError> {
        let select = "SELECT total_ms / completed AS mean FROM tenant_durations WHERE tenant_id = $1 AND kind = $2";
        let mut reader = self.readers.of(tenant_id).await?;
        let row = sqlx::query(select).bind(tenant_id).bind(kind.as_str()).fetch_optional(&mut *reader).await;
        let Some(row) = row.map_err(unavailable)? else { return Ok(None) };
        Ok(rows::get::<i64>(&row, "mean")?.try_into().ok())
    }

    async fn list(
        &self,
        tenant_id: &str,
        filter: &ListFilter,
        before: Option<&str>,
        skip: u64,
        limit: u32,
    ) -> Result<ListPage, StoreError> {
        self.list_page(tenant_id, filter, before, skip, limit).await
    }

    async fn control(
        &self,
        tenant_id: &str,
        id: &str,
        control: Control,
        now: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<Controlled, StoreError> {
        let (tenant_id, id) = (tenant_id.to_owned(), id.to_owned());
        self.writer.write_first(ControlExecution { tenant_id, id, control, now, audit }).await
    }

    async fn open_executions(
        &self,
        has_begun: bool,
        started_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueExecution>, StoreError> {
        // What runs here needs no looking after.
        let found = sqlx::query(
            "SELECT tenant_id, id, $3 AS begun FROM executions \
             WHERE ended_at IS NULL AND engine <> 'embedded' AND COALESCE(due_at, started_at) < $1 \
             AND CASE WHEN has_begun = 1 OR EXISTS (SELECT 1 FROM steps WHERE execution_id = executions.id) \
             THEN 1 ELSE 0 END = $3 \
             ORDER BY COALESCE(due_at, started_at), seq LIMIT $2",
        )
        .bind(micros(started_before))
        .bind(i64::from(limit))
        .bind(i64::from(has_begun))
        .fetch_all(&mut *self.readers.of_engine().await?)
        .await
        .map_err(unavailable)?;
        found.iter().map(rows::due_execution).collect()
    }

    async fn put_off(&self, due: &DueExecution, at: Timestamp) -> Result<(), StoreError> {
        self.writer.write(PutOff { due: due.clone(), at }).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.writer.check()?;
        sqlx::query("SELECT 1").execute(self.readers.pool()).await.map_err(unavailable)?;
        Ok(())
    }
}

async fn load<'e>(
    executor: impl Executor<'e, Database = sqlx::Any>,
    tenant_id: &str,
    id: &str,
) -> Result<Option<sqlx::any::AnyRow>, sqlx::Error> {
    let select = format!("SELECT {EXECUTION_COLUMNS}, history_len FROM executions WHERE id = $1 AND tenant_id = $2");
    sqlx::query(AssertSqlSafe(select)).bind(id).bind(tenant_id).fetch_optional(executor).await
}

async fn reload(connection: &mut AnyConnection, tenant_id: &str, id: &str) -> Result<ExecutionRecord, Fault> {
    let row = load(connection, tenant_id, id).await?.ok_or(sqlx::Error::RowNotFound)?;
    // Not `Inconsistent`: the operation may have written already.
    rows::execution(&row).map_err(|error| Fault::Database(sqlx::Error::Decode(error.into())))
}

struct Create(NewExecution);

#[async_trait]
impl Operation for Create {
    type Output = Created;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Created, Fault> {
        let new = &self.0;
        if let Some(earlier) = self.earlier(connection).await? {
            return Ok(earlier);
        }
        if let Some(existing) = self.retried_before(connection).await? {
            return Ok(existing);
        }
        let definition_hash = match &new.journal {
            Some(start) => Some(keep_definition(connection, &start.definition).await?),
            None => None,
        };
        let records = new.journal.as_ref().map_or(&[][..], |start| &start.records);
        sqlx::query(
            "INSERT INTO executions (id, tenant_id, kind, engine, user_id, status, started_at, updated_at, deadline_at, \
             cancel_window_open, pivot_begun, effect_scope, definition_hash, input, request, progress, version, \
             journal_len, history_len, cancel_requested_at, retried_from, only_undoes, inherited) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1, $16, $17, $18, $19, $20, $21)",
        )
        .bind(&new.id)
        .bind(&new.tenant_id)
        .bind(new.kind.as_str())
        .bind(new.engine.as_str())
        .bind(new.user_id.as_deref())
        .bind(new.status.as_str())
        .bind(micros(new.started_at))
        .bind(new.deadline_at.map(micros))
        .bind(i64::from(!new.begins_pivot))
        .bind(i64::from(new.begins_pivot))
        .bind(&new.effect_scope)
        .bind(definition_hash)
        .bind(new.input.to_string())
        .bind(json_text(&new.request))
        .bind(json_text(&new.progress))
        .bind(records.len() as i64)
        .bind(new.history.len() as i64)
        .bind(new.cancel_requested_at.map(micros))
        .bind(new.retry_of.as_ref().map(|retry| retry.id.as_str()))
        .bind(i64::from(new.retry_of.as_ref().is_some_and(|retry| retry.undoes)))
        .bind((!new.inherited.is_empty()).then(|| json_text(&new.inherited)))
        .execute(&mut *connection)
        .await?;
        append_history(connection, &new.tenant_id, &new.id, 0, &new.history).await?;
        append_journal(connection, &new.id, 0, records).await?;
        append_audit(connection, new.audit.as_ref()).await?;
        if let Some(idempotency) = &new.idempotency {
            sqlx::query(
                "INSERT INTO idempotency_keys (tenant_id, route, key, body_hash, execution_id) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(&new.tenant_id)
            .bind(&idempotency.route)
            .bind(&idempotency.key)
            .bind(&idempotency.body_hash)
            .bind(&new.id)
            .execute(&mut *connection)
            .await?;
        }
        Ok(Created::New(reload(connection, &new.tenant_id, &new.id).await?))
    }
}

impl Create {
    /// Links what is retried to its retry; the earlier retry if it has one.
    async fn retried_before(&self, connection: &mut AnyConnection) -> Result<Option<Created>, Fault> {
        let Some(retry) = &self.0.retry_of else { return Ok(None) };
        let Some(row) = load(&mut *connection, &self.0.tenant_id, &retry.id).await? else {
            return Err(Fault::Inconsistent(format!("{} is not stored", retry.id)));
        };
        let retried = rows::execution(&row).map_err(inconsistent)?;
        if retried.status.is_open() {
            return Err(Fault::Inconsistent(format!("{} has not ended", retry.id)));
        }
        if let Some(id) = retried.retried_as {
            return Ok(Some(Created::Existing(reload(connection, &self.0.tenant_id, &id).await?)));
        }
        sqlx::query("UPDATE executions SET retried_as = $2, version = version + 1 WHERE id = $1")
            .bind(&retry.id)
            .bind(&self.0.id)
            .execute(connection)
            .await?;
        Ok(None)
    }

    async fn earlier(&self, connection: &mut AnyConnection) -> Result<Option<Created>, Fault> {
        let Some(idempotency) = &self.0.idempotency else {
            return Ok(None);
        };
        let row = sqlx::query(
            "SELECT body_hash, execution_id FROM idempotency_keys WHERE tenant_id = $1 AND route = $2 AND key = $3",
        )
        .bind(&self.0.tenant_id)
        .bind(&idempotency.route)
        .bind(&idempotency.key)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if row.try_get::<String, _>("body_hash")? != idempotency.body_hash {
            return Ok(Some(Created::KeyReused));
        }
        let id: String = row.try_get("execution_id")?;
        Ok(Some(Created::Existing(reload(connection, &self.0.tenant_id, &id).await?)))
    }
}

async fn keep_definition(connection: &mut AnyConnection, definition: &str) -> Result<String, Fault> {
    let hash = contracts::effect::sha256_hex(definition.as_bytes());
    sqlx::query("INSERT INTO definitions (hash, text) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING")
        .bind(&hash)
        .bind(definition)
        .execute(connection)
        .await?;
    Ok(hash)
}

struct PutOff {
    due: DueExecution,
    at: Timestamp,
}

#[async_trait]
impl Operation for PutOff {
    type Output = ();

    async fn apply(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        sqlx::query("UPDATE executions SET due_at = $3, has_begun = $4 WHERE id = $1 AND tenant_id = $2")
            .bind(&self.due.id)
            .bind(&self.due.tenant_id)
            .bind(micros(self.at))
            .bind(i64::from(self.due.has_begun))
            .execute(connection)
            .await?;
        Ok(())
    }
}

struct ControlExecution {
    tenant_id: String,
    id: String,
    control: Control,
    now: Timestamp,
    audit: Option<NewAuditRow>,
}

#[async_trait]
impl Operation for ControlExecution {
    type Output = Controlled;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Controlled, Fault> {
        let Self { tenant_id, id, control, now, audit } = self;
        let Some(row) = load(&mut *connection, tenant_id, id).await? else { return Ok(Controlled::NotFound) };
        let before = rows::execution(&row).map_err(inconsistent)?;
        let is_paused = before.paused_at.is_some();
        match control.decide(&before) {
            Decision::Holds => return Ok(Controlled::Accepted(before)),
            Decision::Refused => return Ok(Controlled::Refused(before)),
            Decision::Changes => {}
        }
        let event = control.event(is_paused);
        let happened: Vec<NewEvent> =
            event.into_iter().map(|event_type| NewEvent { event_type, at: *now, details: json!({}) }).collect();
        append_history(connection, tenant_id, id, row.try_get("history_len")?, &happened).await?;
        sqlx::query(AssertSqlSafe(format!(
            "UPDATE executions SET {}, updated_at = $2, version = version + 1, history_len = history_len + $3 \
             WHERE id = $1",
            assignments(*control, is_paused)
        )))
        .bind(id)
        .bind(micros(*now))
        .bind(happened.len() as i64)
        .execute(&mut *connection)
        .await?;
        append_audit(connection, audit.as_ref()).await?;
        Ok(Controlled::Accepted(reload(connection, tenant_id, id).await?))
    }
}

/// What a control sets; `$2` is now.
fn assignments(control: Control, is_paused: bool) -> String {
    // Until another engine has begun its first step, nothing counts.
    let release = "paused_at = NULL, status = 'Running', deadline_at = CASE WHEN engine = 'embedded' \
         OR EXISTS (SELECT 1 FROM steps WHERE execution_id = executions.id) \
         THEN deadline_at + ($2 - paused_at) ELSE deadline_at END";
    match control {
        Control::Cancel if is_paused => format!("cancel_requested_at = $2, {release}"),
        Control::Cancel => "cancel_requested_at = $2".to_owned(),
        Control::Pause => "paused_at = $2, status = 'Paused'".to_owned(),
        Control::Resume => release.to_owned(),
    }
}
