//! Execution records.

use async_trait::async_trait;
use contracts::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe, Executor, Row};
use store::{
    Control, Controlled, Created, DueExecution, Estimated, ExecutionRecord, Executions, ListFilter, ListPage,
    NewExecution, StoreError,
};

use crate::batches::{self, ITEMS_COLUMNS, ITEMS_JOIN};
use crate::history::append_history;
use crate::journal::append_journal;
use crate::rows::{self, EXECUTION_COLUMNS, json_text, micros};
use crate::writer::{Fault, Operation};
use crate::{SqlStore, unavailable};

#[async_trait]
impl Executions for SqlStore {
    async fn create(&self, new: NewExecution) -> Result<Created, StoreError> {
        self.writer.write_first(Create(new)).await
    }

    async fn get(&self, tenant_id: &str, id: &str) -> Result<Option<ExecutionRecord>, StoreError> {
        load(&self.readers, tenant_id, id).await.map_err(unavailable)?.map(|row| rows::execution(&row)).transpose()
    }

    async fn get_estimated(&self, tenant_id: &str, id: &str) -> Result<Option<Estimated>, StoreError> {
        let select = format!(
            "SELECT {EXECUTION_COLUMNS}, {ITEMS_COLUMNS}, (SELECT d.total_ms / d.completed FROM tenant_durations d \
             WHERE d.tenant_id = executions.tenant_id AND d.kind = executions.kind) \
             AS mean FROM executions {ITEMS_JOIN} WHERE id = $1 AND tenant_id = $2"
        );
        let row = sqlx::query(AssertSqlSafe(select)).bind(id).bind(tenant_id).fetch_optional(&self.readers).await;
        let Some(row) = row.map_err(unavailable)? else { return Ok(None) };
        let mean: Option<i64> = rows::get(&row, "mean")?;
        Ok(Some(Estimated {
            record: rows::execution(&row)?,
            mean_duration_ms: mean.and_then(|ms| ms.try_into().ok()),
            items: batches::items(&row)?,
        }))
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
    ) -> Result<Controlled, StoreError> {
        self.writer
            .write_first(ControlExecution { tenant_id: tenant_id.to_owned(), id: id.to_owned(), control, now })
            .await
    }

    async fn open_executions(
        &self,
        has_begun: bool,
        started_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueExecution>, StoreError> {
        // The first event is the acceptance. What runs here needs no looking after.
        let found = sqlx::query(
            "SELECT tenant_id, id, $3 AS begun FROM executions \
             WHERE ended_at IS NULL AND engine <> 'embedded' AND COALESCE(due_at, started_at) < $1 \
             AND CASE WHEN history_len > 1 OR has_begun = 1 THEN 1 ELSE 0 END = $3 \
             ORDER BY COALESCE(due_at, started_at), seq LIMIT $2",
        )
        .bind(micros(started_before))
        .bind(i64::from(limit))
        .bind(i64::from(has_begun))
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        found.iter().map(rows::due_execution).collect()
    }

    async fn put_off(&self, due: &DueExecution, at: Timestamp) -> Result<(), StoreError> {
        self.writer.write(PutOff { due: due.clone(), at }).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.writer.check()?;
        sqlx::query("SELECT 1").execute(&self.readers).await.map_err(unavailable)?;
        Ok(())
    }
}

async fn load<'e>(
    executor: impl Executor<'e, Database = sqlx::Any>,
    tenant_id: &str,
    id: &str,
) -> Result<Option<sqlx::any::AnyRow>, sqlx::Error> {
    let select = format!("SELECT {EXECUTION_COLUMNS} FROM executions WHERE id = $1 AND tenant_id = $2");
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
        let definition_hash = match &new.journal {
            Some(start) => Some(keep_definition(connection, &start.definition).await?),
            None => None,
        };
        let records = new.journal.as_ref().map_or(&[][..], |start| &start.records);
        sqlx::query(
            "INSERT INTO executions (id, tenant_id, kind, engine, user_id, status, started_at, updated_at, deadline_at, \
             cancel_window_open, pivot_begun, effect_scope, definition_hash, input, request, progress, version, \
             journal_len, history_len) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1, $16, $17)",
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
        .execute(&mut *connection)
        .await?;
        append_history(connection, &new.tenant_id, &new.id, 0, &new.history).await?;
        append_journal(connection, &new.id, 0, records).await?;
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
}

#[async_trait]
impl Operation for ControlExecution {
    type Output = Controlled;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Controlled, Fault> {
        let Self { tenant_id, id, control, now } = self;
        if load(&mut *connection, tenant_id, id).await?.is_none() {
            return Ok(Controlled::NotFound);
        }
        let update = match control {
            Control::Cancel => {
                "UPDATE executions SET cancel_requested_at = $3, updated_at = $3, version = version + 1 \
                 WHERE id = $1 AND tenant_id = $2 AND ended_at IS NULL AND cancel_window_open = 1 \
                 AND cancel_requested_at IS NULL"
            }
            Control::Pause => {
                "UPDATE executions SET paused_at = $3, status = 'Paused', updated_at = $3, version = version + 1 \
                 WHERE id = $1 AND tenant_id = $2 AND ended_at IS NULL AND pivot_begun = 0 AND paused_at IS NULL"
            }
            // Until another engine has begun its first step, nothing counts.
            Control::Resume => {
                "UPDATE executions SET paused_at = NULL, status = 'Running', updated_at = $3, version = version + 1, \
                 deadline_at = CASE WHEN history_len > 1 OR engine = 'embedded' \
                 THEN deadline_at + ($3 - paused_at) ELSE deadline_at END \
                 WHERE id = $1 AND tenant_id = $2 AND ended_at IS NULL AND paused_at IS NOT NULL"
            }
        };
        let query = sqlx::query(update).bind(id).bind(tenant_id).bind(micros(*now));
        let changed = query.execute(&mut *connection).await?.rows_affected();
        let record = reload(connection, tenant_id, id).await?;
        let is_accepted = changed > 0 || control.holds(&record);
        Ok(if is_accepted { Controlled::Accepted(record) } else { Controlled::Refused(record) })
    }
}
