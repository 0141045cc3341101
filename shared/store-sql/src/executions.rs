//! Execution records.

use async_trait::async_trait;
use contracts::responses::Items;
use contracts::{Timestamp, WorkflowKind};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Executor, Row};
use store::{
    Control, Controlled, Created, Decision, DueExecution, Estimated, ExecutionRecord, Executions, Full, IdempotencyKey,
    ListFilter, ListPage, NewAuditRow, NewEvent, NewExecution, OpenLimits, Reported, Retried, StoreError,
};

use crate::audit::append_audit;
use crate::batches::{self, ITEMS_COLUMNS, ITEMS_JOIN};
use crate::data_requests;
use crate::history::append_history;
use crate::journal::append_journal;
use crate::limits;
use crate::rows::{self, EXECUTION_COLUMNS, json_text, micros};
use crate::writer::{Fault, Operation};
use crate::{SqlStore, unavailable};

#[async_trait]
impl Executions for SqlStore {
    async fn full(&self, tenant_id: &str, key: Option<&IdempotencyKey>) -> Result<Option<Full>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let full = limits::refuse(&mut *reader, self.limits, tenant_id).await.map_err(Fault::of_a_read)?;
        let (Some(key), true) = (key, full.is_some()) else { return Ok(full) };
        let earlier = started_by(&mut *reader, tenant_id, key).await.map_err(unavailable)?;
        Ok(full.filter(|_| earlier.is_none()))
    }

    async fn has_started(&self, tenant_id: &str, key: &IdempotencyKey) -> Result<bool, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        Ok(started_by(&mut *reader, tenant_id, key).await.map_err(unavailable)?.is_some())
    }

    async fn used_by(&self, tenant_id: &str, upload_id: &str) -> Result<Option<String>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        claimed_by(&mut *reader, tenant_id, upload_id).await.map_err(unavailable)
    }

    async fn create(&self, new: NewExecution) -> Result<Created, StoreError> {
        let tenant_id = new.tenant_id.clone();
        self.writer.write_start(&tenant_id, Create { new, limits: self.limits }).await
    }

    async fn get(&self, tenant_id: &str, id: &str) -> Result<Option<ExecutionRecord>, StoreError> {
        let row = self
            .row(tenant_id, id, |columns| format!("SELECT {columns} FROM executions WHERE id = $1 AND tenant_id = $2"));
        match row.await? {
            Some(row) => Ok(Some(self.found(&row))),
            None => Ok(self.archived(tenant_id, id).await?.map(|(record, _)| record)),
        }
    }

    async fn retried(&self, tenant_id: &str, id: &str) -> Result<Option<Retried>, StoreError> {
        let row = self.row(tenant_id, id, |columns| {
            format!(
                "SELECT {columns}, request, effect_scope, inherited FROM executions WHERE id = $1 AND tenant_id = $2"
            )
        });
        let Some(row) = row.await? else { return Ok(None) };
        Ok(Some(Retried {
            record: self.found(&row),
            request: rows::json(&row, "request")?,
            effect_scope: rows::get(&row, "effect_scope")?,
            inherited: rows::optional_json(&row, "inherited")?.unwrap_or_default(),
        }))
    }

    async fn get_estimated(&self, tenant_id: &str, id: &str) -> Result<Option<Estimated>, StoreError> {
        let row = self.row(tenant_id, id, |columns| {
            format!(
                "SELECT {columns}, {ITEMS_COLUMNS}, reported, (SELECT d.total_ms / d.completed FROM tenant_durations d \
                 WHERE d.tenant_id = executions.tenant_id AND d.kind = executions.kind) \
                 AS mean FROM executions {ITEMS_JOIN} WHERE id = $1 AND tenant_id = $2"
            )
        });
        let Some(row) = row.await? else {
            let Some((record, items)) = self.archived(tenant_id, id).await? else { return Ok(None) };
            let mean_duration_ms = self.mean_duration_ms(tenant_id, record.kind).await?;
            return Ok(Some(Estimated { record, mean_duration_ms, items }));
        };
        // Estimates: without them a status is still one.
        let mean: Option<i64> = rows::get(&row, "mean").unwrap_or_default();
        Ok(Some(Estimated {
            record: self.found(&row),
            mean_duration_ms: mean.and_then(|ms| ms.try_into().ok()),
            items: batches::items(&row).unwrap_or_default().or_else(|| planned(&row)),
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
        let execution = ControlExecution { tenant_id: tenant_id.to_owned(), id: id.to_owned(), control, now, audit };
        match self.writer.write_first(execution).await? {
            Controlled::NotFound => {
                let archived = self.archived(tenant_id, id).await?;
                Ok(archived.map_or(Controlled::NotFound, |(record, _)| Controlled::Refused(record)))
            }
            controlled => Ok(controlled),
        }
    }

    async fn open_executions(
        &self,
        has_begun: bool,
        started_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueExecution>, StoreError> {
        // What runs here needs no looking after.
        let mut reader = self.readers.of_engine().await?;
        let found = rows::readable(&mut reader, &[("tenant_id", "tenant_id"), ("id", "id")], |columns| {
            let select = format!(
                "SELECT {columns}, $3 AS begun FROM executions \
                 WHERE ended_at IS NULL AND engine <> 'embedded' AND COALESCE(due_at, started_at) < $1 \
                 AND CASE WHEN has_begun = 1 OR EXISTS (SELECT 1 FROM steps WHERE execution_id = executions.id) \
                 THEN 1 ELSE 0 END = $3 \
                 ORDER BY COALESCE(due_at, started_at), seq LIMIT $2"
            );
            sqlx::query(AssertSqlSafe(select))
                .bind(micros(started_before))
                .bind(i64::from(limit))
                .bind(i64::from(has_begun))
        });
        Ok(rows::sound(&found.await?, rows::due_execution))
    }

    async fn put_off(&self, due: &DueExecution, at: Timestamp) -> Result<(), StoreError> {
        self.writer.write(PutOff { due: due.clone(), at }).await
    }

    fn found_damaged(&self) -> Vec<String> {
        self.damaged.ids()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.writer.check().await?;
        sqlx::query("SELECT 1").execute(self.readers.pool()).await.map_err(unavailable)?;
        Ok(())
    }
}

impl SqlStore {
    /// An execution that the database no longer has, and how far its batches were.
    async fn archived(
        &self,
        tenant_id: &str,
        id: &str,
    ) -> Result<Option<(ExecutionRecord, Option<Items>)>, StoreError> {
        store::archived_state(self.blobs.as_deref(), tenant_id, id).await
    }

    /// The row of an execution, if there is one, by a statement about its id and its tenant.
    async fn row(
        &self,
        tenant_id: &str,
        id: &str,
        select: impl Fn(&str) -> String,
    ) -> Result<Option<AnyRow>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let query = |columns: &str| sqlx::query(AssertSqlSafe(select(columns))).bind(id).bind(tenant_id);
        Ok(rows::readable(&mut reader, EXECUTION_COLUMNS, query).await?.pop())
    }

    /// An execution that was read, whatever of it could be.
    pub(crate) fn found(&self, row: &AnyRow) -> ExecutionRecord {
        let record = rows::execution(row);
        self.damaged.note(&record);
        record
    }
}

async fn load<'e>(
    executor: impl Executor<'e, Database = sqlx::Any>,
    tenant_id: &str,
    id: &str,
) -> Result<Option<AnyRow>, sqlx::Error> {
    let columns: Vec<&str> = EXECUTION_COLUMNS.iter().map(|(column, _)| *column).collect();
    let columns = columns.join(", ");
    let select = format!("SELECT {columns}, history_len FROM executions WHERE id = $1 AND tenant_id = $2");
    sqlx::query(AssertSqlSafe(select)).bind(id).bind(tenant_id).fetch_optional(executor).await
}

async fn reload(connection: &mut AnyConnection, tenant_id: &str, id: &str) -> Result<ExecutionRecord, Fault> {
    let row =
        load(connection, tenant_id, id).await?.ok_or_else(|| Fault::Inconsistent(format!("{id} is not stored")))?;
    Ok(rows::execution(&row))
}

/// What this key has started before, and the hash of the body that came with it.
async fn started_by<'e>(
    executor: impl Executor<'e, Database = sqlx::Any>,
    tenant_id: &str,
    key: &IdempotencyKey,
) -> Result<Option<sqlx::any::AnyRow>, sqlx::Error> {
    let select =
        "SELECT body_hash, execution_id FROM idempotency_keys WHERE tenant_id = $1 AND route = $2 AND key = $3";
    sqlx::query(select).bind(tenant_id).bind(&key.route).bind(&key.key).fetch_optional(executor).await
}

/// The execution that uses an upload.
async fn claimed_by<'e>(
    executor: impl Executor<'e, Database = sqlx::Any>,
    tenant_id: &str,
    upload_id: &str,
) -> Result<Option<String>, sqlx::Error> {
    let select = "SELECT execution_id FROM upload_claims WHERE tenant_id = $1 AND upload_id = $2";
    sqlx::query_scalar(select).bind(tenant_id).bind(upload_id).fetch_optional(executor).await
}

/// How many items a job will have, as long as none of its batches is over.
fn planned(row: &AnyRow) -> Option<Items> {
    rows::optional_json::<Reported>(row, "reported").ok().flatten()?.planned()
}

struct Create {
    new: NewExecution,
    limits: OpenLimits,
}

#[async_trait]
impl Operation for Create {
    type Output = Created;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Created, Fault> {
        let Self { new, limits } = self;
        if let Some(earlier) = self.earlier(connection).await? {
            return Ok(earlier);
        }
        if let Some(existing) = self.retried_before(connection).await? {
            return Ok(existing);
        }
        if let Some(used) = self.upload_used(connection).await? {
            return Ok(used);
        }
        if let Some(by) = data_requests::named_before(connection, new).await? {
            return Ok(Created::NameUsed { by });
        }
        if new.is_limited()
            && let Some(full) = limits::refuse(&mut *connection, *limits, &new.tenant_id).await?
        {
            return Ok(Created::Full(full));
        }
        self.link(connection).await?;
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
        data_requests::remember(connection, new).await?;
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
        self.claim_upload(connection).await?;
        Ok(Created::New(reload(connection, &new.tenant_id, &new.id).await?))
    }

    fn rows(&self) -> usize {
        let NewExecution { journal, history, audit, idempotency, upload_id, retry_of, .. } = &self.new;
        let optional = [audit.is_some(), idempotency.is_some(), upload_id.is_some(), retry_of.is_some()];
        let records = journal.as_ref().map_or(0, |start| start.records.len());
        // The record, and two counts.
        3 + history.len() + records + optional.into_iter().filter(|is_some| *is_some).count()
    }
}

impl Create {
    /// The earlier retry of what is to be retried, if it has one.
    async fn retried_before(&self, connection: &mut AnyConnection) -> Result<Option<Created>, Fault> {
        let Some(retry) = &self.new.retry_of else { return Ok(None) };
        let Some(row) = load(&mut *connection, &self.new.tenant_id, &retry.id).await? else {
            return Err(Fault::Inconsistent(format!("{} is not stored", retry.id)));
        };
        let retried = rows::execution(&row);
        if let Some(damage) = retried.damage {
            return Err(Fault::Inconsistent(format!("{} is damaged: {}", retry.id, damage.why)));
        }
        if retried.status.is_open() {
            return Err(Fault::Inconsistent(format!("{} has not ended", retry.id)));
        }
        match retried.retried_as {
            Some(id) => Ok(Some(Created::Existing(reload(connection, &self.new.tenant_id, &id).await?))),
            None => Ok(None),
        }
    }

    /// Links what is retried to its retry.
    async fn link(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        let Some(retry) = &self.new.retry_of else { return Ok(()) };
        sqlx::query("UPDATE executions SET retried_as = $2, version = version + 1 WHERE id = $1")
            .bind(&retry.id)
            .bind(&self.new.id)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// The start that uses the upload of this one, if there is one.
    async fn upload_used(&self, connection: &mut AnyConnection) -> Result<Option<Created>, Fault> {
        let Some(upload_id) = &self.new.upload_id else { return Ok(None) };
        let used = claimed_by(connection, &self.new.tenant_id, upload_id).await?;
        Ok(used.map(|by| Created::UploadUsed { by }))
    }

    async fn claim_upload(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        let Some(upload_id) = &self.new.upload_id else { return Ok(()) };
        sqlx::query("INSERT INTO upload_claims (tenant_id, upload_id, execution_id) VALUES ($1, $2, $3)")
            .bind(&self.new.tenant_id)
            .bind(upload_id)
            .bind(&self.new.id)
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn earlier(&self, connection: &mut AnyConnection) -> Result<Option<Created>, Fault> {
        let NewExecution { tenant_id, idempotency, .. } = &self.new;
        let Some(idempotency) = idempotency else { return Ok(None) };
        let Some(row) = started_by(&mut *connection, tenant_id, idempotency).await? else { return Ok(None) };
        if row.try_get::<String, _>("body_hash")? != idempotency.body_hash {
            return Ok(Some(Created::KeyReused));
        }
        let id: String = row.try_get("execution_id")?;
        Ok(Some(Created::Existing(reload(connection, tenant_id, &id).await?)))
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
        let before = rows::execution(&row);
        let is_paused = before.paused_at.is_some();
        match control.decide(&before) {
            Decision::Holds => return Ok(Controlled::Accepted(before)),
            Decision::Refused => return Ok(Controlled::Refused(before)),
            Decision::Changes => {}
        }
        let event = control.event(is_paused);
        // Time that readers see does not go back, whatever the clock does.
        let at = before.updated_at.max(*now);
        let happened: Vec<NewEvent> =
            event.into_iter().map(|event_type| NewEvent { event_type, at, details: json!({}) }).collect();
        append_history(connection, tenant_id, id, row.try_get("history_len")?, &happened).await?;
        sqlx::query(AssertSqlSafe(format!(
            "UPDATE executions SET {}, updated_at = $4, version = version + 1, history_len = history_len + $3 \
             WHERE id = $1",
            assignments(*control, is_paused)
        )))
        .bind(id)
        .bind(micros(*now))
        .bind(happened.len() as i64)
        .bind(micros(at))
        .execute(&mut *connection)
        .await?;
        append_audit(connection, audit.as_ref()).await?;
        Ok(Controlled::Accepted(reload(connection, tenant_id, id).await?))
    }
}

/// What a control sets; `$2` is now.
fn assignments(control: Control, is_paused: bool) -> String {
    // Until another engine has begun its first step, nothing counts.
    let release = "paused_at = NULL, paused_us = paused_us + MAX($2 - paused_at, 0), status = 'Running', \
         deadline_at = CASE WHEN engine = 'embedded' \
         OR EXISTS (SELECT 1 FROM steps WHERE execution_id = executions.id) \
         THEN deadline_at + ($2 - paused_at) ELSE deadline_at END";
    match control {
        Control::Cancel if is_paused => format!("cancel_requested_at = $2, {release}"),
        Control::Cancel => "cancel_requested_at = $2".to_owned(),
        Control::Pause => "paused_at = $2, status = 'Paused'".to_owned(),
        Control::Resume => release.to_owned(),
    }
}
