//! Backups, each a row.

use async_trait::async_trait;
use contracts::Timestamp;
use contracts::backup::Drill;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use store::{Backup, BackupPage, Backups, DueBackup, NewAuditRow, Removal, StoreError, lease_of_backup};

use crate::audit::append_audit;
use crate::leases::holder_of;
use crate::rows::{self, get, has_more, inconsistent, json_text, micros, read_error, sound};
use crate::writer::{Fault, Operation};
use crate::{SqlStore, unavailable};

const COLUMNS: &str = "tenant_id, backup_id, created_at, keep_until, removing_since, summary, last_drill";

#[async_trait]
impl Backups for SqlStore {
    async fn keep_backup(&self, backup: &Backup) -> Result<(), StoreError> {
        self.writer.write(Keep(backup.clone())).await
    }

    async fn backup(&self, tenant_id: &str, backup_id: &str) -> Result<Option<Backup>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let query = format!("SELECT {COLUMNS} FROM backups WHERE tenant_id = $1 AND backup_id = $2");
        let query = sqlx::query(AssertSqlSafe(query)).bind(tenant_id).bind(backup_id);
        let found = query.fetch_optional(&mut *reader).await.map_err(read_error)?;
        found.as_ref().map(backup).transpose()
    }

    async fn backups(&self, tenant_id: &str, before: Option<&str>, limit: u32) -> Result<BackupPage, StoreError> {
        let (created_at, backup_id) = place(before)?;
        let query = format!(
            "SELECT {COLUMNS} FROM backups WHERE tenant_id = $1 AND (created_at, backup_id) < ($2, $3) \
             ORDER BY created_at DESC, backup_id DESC LIMIT $4"
        );
        let mut reader = self.readers.of(tenant_id).await?;
        let query = sqlx::query(AssertSqlSafe(query)).bind(tenant_id).bind(created_at).bind(backup_id);
        let mut found = query.bind(i64::from(limit) + 1).fetch_all(&mut *reader).await.map_err(read_error)?;
        let next = match has_more(&mut found, limit) {
            true => found.last().map(next_of).transpose()?,
            false => None,
        };
        Ok(BackupPage { backups: sound(&found, backup), next })
    }

    async fn keep_until(&self, tenant_id: &str, backup_id: &str, until: Timestamp) -> Result<(), StoreError> {
        let change = Change::KeepUntil(until);
        self.writer.write(Update { tenant_id: tenant_id.to_owned(), backup_id: backup_id.to_owned(), change }).await
    }

    async fn note_drill(&self, tenant_id: &str, backup_id: &str, drill: &Drill) -> Result<(), StoreError> {
        let change = Change::Drill(drill.clone());
        self.writer.write(Update { tenant_id: tenant_id.to_owned(), backup_id: backup_id.to_owned(), change }).await
    }

    async fn begin_removal(&self, backup_id: &str, audit: NewAuditRow) -> Result<Removal, StoreError> {
        self.writer.write(Begin { backup_id: backup_id.to_owned(), audit }).await
    }

    async fn end_removal(&self, tenant_id: &str, backup_id: &str) -> Result<(), StoreError> {
        let change = Change::Forget;
        self.writer.write(Update { tenant_id: tenant_id.to_owned(), backup_id: backup_id.to_owned(), change }).await
    }

    async fn due_backups(&self, now: Timestamp, limit: u32) -> Result<Vec<DueBackup>, StoreError> {
        let mut reader = self.readers.of_engine().await?;
        let query = "SELECT tenant_id, backup_id FROM backups WHERE keep_until <= $1 ORDER BY keep_until LIMIT $2";
        let query = sqlx::query(query).bind(micros(now)).bind(i64::from(limit));
        let found = query.fetch_all(&mut *reader).await.map_err(unavailable)?;
        Ok(sound(&found, |row| {
            Ok(DueBackup { tenant_id: rows::text(row, "tenant_id")?, backup_id: rows::text(row, "backup_id")? })
        }))
    }
}

fn backup(row: &AnyRow) -> Result<Backup, StoreError> {
    Ok(Backup {
        tenant_id: rows::text(row, "tenant_id")?,
        summary: rows::json(row, "summary")?,
        keep_until: rows::optional_timestamp(row, "keep_until")?,
        removing_since: rows::optional_timestamp(row, "removing_since")?,
        last_drill: rows::optional_json(row, "last_drill")?,
    })
}

/// Where a page ends, for the next one.
fn next_of(row: &AnyRow) -> Result<String, StoreError> {
    Ok(format!("{}#{}", get::<i64>(row, "created_at")?, rows::text(row, "backup_id")?))
}

/// What comes before which a page begins.
fn place(before: Option<&str>) -> Result<(i64, &str), StoreError> {
    let Some(before) = before else { return Ok((i64::MAX, "")) };
    let (created_at, backup_id) = before.split_once('#').ok_or_else(|| inconsistent("no place among backups"))?;
    Ok((created_at.parse().map_err(inconsistent)?, backup_id))
}

struct Keep(Backup);

#[async_trait]
impl Operation for Keep {
    type Output = ();

    async fn apply(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        let Backup { tenant_id, summary, keep_until, .. } = &self.0;
        sqlx::query(
            "INSERT INTO backups (tenant_id, backup_id, created_at, keep_until, summary) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant_id, backup_id) \
             DO UPDATE SET summary = excluded.summary, created_at = excluded.created_at",
        )
        .bind(tenant_id)
        .bind(&summary.backup_id)
        .bind(micros(summary.created_at))
        .bind(keep_until.map(micros))
        .bind(json_text(summary))
        .execute(connection)
        .await?;
        Ok(())
    }

    fn rows(&self) -> usize {
        1
    }
}

struct Update {
    tenant_id: String,
    backup_id: String,
    change: Change,
}

enum Change {
    KeepUntil(Timestamp),
    Drill(Drill),
    Forget,
}

#[async_trait]
impl Operation for Update {
    type Output = ();

    async fn apply(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        let query = match &self.change {
            Change::KeepUntil(until) => sqlx::query(
                "UPDATE backups SET keep_until = MIN(COALESCE(keep_until, $3), $3) WHERE tenant_id = $1 AND backup_id = $2",
            )
            .bind(&self.tenant_id)
            .bind(&self.backup_id)
            .bind(micros(*until)),
            Change::Drill(drill) => {
                sqlx::query("UPDATE backups SET last_drill = $3 WHERE tenant_id = $1 AND backup_id = $2")
                    .bind(&self.tenant_id)
                    .bind(&self.backup_id)
                    .bind(json_text(drill))
            }
            Change::Forget => sqlx::query("DELETE FROM backups WHERE tenant_id = $1 AND backup_id = $2")
                .bind(&self.tenant_id)
                .bind(&self.backup_id),
        };
        query.execute(connection).await?;
        Ok(())
    }

    fn rows(&self) -> usize {
        1
    }
}

struct Begin {
    backup_id: String,
    audit: NewAuditRow,
}

#[async_trait]
impl Operation for Begin {
    type Output = Removal;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Removal, Fault> {
        let tenant_id = &self.audit.tenant_id;
        let since = sqlx::query("SELECT removing_since FROM backups WHERE tenant_id = $1 AND backup_id = $2");
        let found = since.bind(tenant_id).bind(&self.backup_id).fetch_optional(&mut *connection).await?;
        let Some(found) = found else { return Ok(Removal::Missing) };
        let since = rows::optional_timestamp(&found, "removing_since");
        if since.map_err(|error| Fault::Inconsistent(error.to_string()))?.is_some() {
            return Ok(Removal::Begun);
        }
        if let Some(by) = holder_of(connection, tenant_id, &lease_of_backup(&self.backup_id)).await? {
            return Ok(Removal::InUse { by });
        }
        // From now on it is due, so that what is interrupted goes on.
        let begin = "UPDATE backups SET removing_since = $3, keep_until = $3 WHERE tenant_id = $1 AND backup_id = $2";
        let begin = sqlx::query(begin).bind(tenant_id).bind(&self.backup_id).bind(micros(self.audit.at));
        begin.execute(&mut *connection).await?;
        append_audit(connection, Some(&self.audit)).await?;
        Ok(Removal::Begun)
    }

    fn rows(&self) -> usize {
        2
    }
}
