//! The ledger of erasures, each a row; and what records of executions forget.

use async_trait::async_trait;
use contracts::WorkflowKind;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use store::{Erasure, Erasures, Forgotten, Named, NamedPage, Naming, StoreError, StoredRequest, leaves_files};

use crate::SqlStore;
use crate::rows::{self, inconsistent, json_text, read_error};
use crate::writer::{Fault, Operation};

#[async_trait]
impl Erasures for SqlStore {
    async fn erasure_key(&self, tenant_id: &str) -> Result<Option<String>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let query = sqlx::query("SELECT wrapped FROM erasure_keys WHERE tenant_id = $1").bind(tenant_id);
        let found = query.fetch_optional(&mut *reader).await.map_err(read_error)?;
        found.map(|row| rows::text(&row, "wrapped")).transpose()
    }

    async fn keep_erasure_key(&self, tenant_id: &str, wrapped: &str) -> Result<String, StoreError> {
        self.writer.write(KeepKey { tenant_id: tenant_id.to_owned(), wrapped: wrapped.to_owned() }).await
    }

    async fn note_erasure(&self, erasure: &Erasure) -> Result<(), StoreError> {
        self.writer.write(Note(erasure.clone())).await
    }

    async fn erasure(&self, tenant_id: &str, compliance_id: &str) -> Result<Option<Erasure>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let query = "SELECT erasure FROM erasures WHERE tenant_id = $1 AND compliance_id = $2";
        let query = sqlx::query(query).bind(tenant_id).bind(compliance_id);
        let found = query.fetch_optional(&mut *reader).await.map_err(read_error)?;
        found.map(|row| rows::json(&row, "erasure")).transpose()
    }

    async fn erasures(&self, tenant_id: &str, after: Option<&str>, limit: u32) -> Result<Vec<Erasure>, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let query = "SELECT erasure FROM erasures WHERE tenant_id = $1 AND compliance_id > $2 \
                     ORDER BY compliance_id LIMIT $3";
        let query = sqlx::query(query).bind(tenant_id).bind(after.unwrap_or_default()).bind(i64::from(limit));
        let found = query.fetch_all(&mut *reader).await.map_err(read_error)?;
        // A restore must leave out all of them: one that cannot be read is an error.
        found.iter().map(|row| rows::json(row, "erasure")).collect()
    }

    async fn naming(
        &self,
        tenant_id: &str,
        person: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<NamedPage, StoreError> {
        let mut reader = self.readers.of(tenant_id).await?;
        let kinds = WorkflowKind::ALL.into_iter().filter(|kind| leaves_files(*kind));
        let kinds: Vec<String> = kinds.map(|kind| format!("'{kind}'")).collect();
        let naming = Naming::of(person);
        // An address is the same in capital letters; the database knows those of ASCII.
        let (lower, quoted) = match naming.is_address() {
            true => ("lower", naming.quoted.to_ascii_lowercase()),
            false => ("", naming.quoted),
        };
        let query = format!(
            "SELECT id, kind, ended_at, request, is_sure FROM (\
                SELECT id, kind, ended_at, request, \
                (request LIKE '{{\"blob\":%' OR kind IN ({})) AS may_be, \
                (user_id = $3 OR instr({lower}(request), $4) > 0 OR instr({lower}(COALESCE(result, '')), $4) > 0 \
                 OR instr({lower}(COALESCE(reported, '')), $4) > 0) AS is_sure \
                FROM executions WHERE tenant_id = $1 AND id > $2\
             ) WHERE is_sure OR may_be ORDER BY id LIMIT $5",
            kinds.join(", ")
        );
        let query = sqlx::query(AssertSqlSafe(query)).bind(tenant_id).bind(after.unwrap_or_default()).bind(person);
        let query = query.bind(quoted);
        let found = query.bind(i64::from(limit)).fetch_all(&mut *reader).await.map_err(read_error)?;
        let named = |row: &AnyRow| {
            Ok(Named {
                id: rows::text(row, "id")?,
                kind: rows::text(row, "kind")?.parse().map_err(inconsistent)?,
                has_ended: rows::optional_timestamp(row, "ended_at")?.is_some(),
                request: rows::json(row, "request")?,
                is_sure: rows::get::<Option<i64>>(row, "is_sure")?.unwrap_or_default() != 0,
            })
        };
        // Whoever is erased must be found everywhere: one that cannot be read is an error.
        let named: Vec<Named> = found.iter().map(named).collect::<Result<_, StoreError>>()?;
        let next = named.last().filter(|_| named.len() == limit as usize).map(|last| last.id.clone());
        Ok(NamedPage { named, next })
    }

    async fn forget(&self, tenant_id: &str, id: &str, who: Forgotten<'_>) -> Result<(), StoreError> {
        let [tenant_id, id, person, pseudonym] = [tenant_id, id, who.person, who.pseudonym].map(str::to_owned);
        let forget = Forget { tenant_id, id, person, pseudonym, keeps_key: who.keeps_key };
        self.writer.write(forget).await?;
        // What was deleted is overwritten in the file, and must not be found in the log either.
        let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(self.readers.pool()).await;
        let is_busy: i64 = row.map_err(read_error)?.try_get(0).map_err(read_error)?;
        match is_busy {
            0 => Ok(()),
            _ => Err(StoreError::Unavailable("the log of the database cannot be emptied now".to_owned())),
        }
    }

    fn recoverable_days(&self) -> u32 {
        0
    }
}

struct Forget {
    tenant_id: String,
    id: String,
    person: String,
    pseudonym: String,
    keeps_key: bool,
}

/// What may name a person, by table: `id` is the column with the execution.
const NAMING: [(&str, &str, &str); 6] = [
    ("executions", "id", "input"),
    ("executions", "id", "result"),
    ("executions", "id", "reported"),
    ("history", "execution_id", "details"),
    ("steps", "execution_id", "done"),
    ("journal", "execution_id", "record"),
];

#[async_trait]
impl Operation for Forget {
    type Output = ();

    async fn apply(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        let nothing = json_text(&StoredRequest::Inline(Value::Null));
        let own = "UPDATE executions SET request = $3, version = version + 1, \
                   user_id = CASE WHEN user_id = $4 THEN $5 ELSE user_id END WHERE tenant_id = $1 AND id = $2";
        let own = sqlx::query(own).bind(&self.tenant_id).bind(&self.id).bind(nothing);
        let changed = own.bind(&self.person).bind(&self.pseudonym).execute(&mut *connection).await?;
        if changed.rows_affected() == 0 {
            return Ok(());
        }
        if !self.keeps_key {
            let forget = sqlx::query("DELETE FROM idempotency_keys WHERE tenant_id = $1 AND execution_id = $2");
            forget.bind(&self.tenant_id).bind(&self.id).execute(&mut *connection).await?;
        }
        let (person, pseudonym) = (Naming::of(&self.person), Naming::of(&self.pseudonym));
        for (table, id, column) in NAMING {
            let update = format!(
                "UPDATE {table} SET {column} = REPLACE(REPLACE({column}, $2, $3), $4, $5) \
                 WHERE {id} = $1 AND (instr({column}, $2) > 0 OR instr({column}, $4) > 0)"
            );
            let update = sqlx::query(AssertSqlSafe(update)).bind(&self.id);
            let update = update.bind(&person.quoted).bind(&pseudonym.quoted);
            update.bind(&person.escaped).bind(&pseudonym.escaped).execute(&mut *connection).await?;
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        ROWS
    }
}

/// Rows that one execution has, about.
const ROWS: usize = 50;

struct KeepKey {
    tenant_id: String,
    wrapped: String,
}

#[async_trait]
impl Operation for KeepKey {
    type Output = String;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<String, Fault> {
        sqlx::query("INSERT INTO erasure_keys (tenant_id, wrapped) VALUES ($1, $2) ON CONFLICT (tenant_id) DO NOTHING")
            .bind(&self.tenant_id)
            .bind(&self.wrapped)
            .execute(&mut *connection)
            .await?;
        let kept = sqlx::query("SELECT wrapped FROM erasure_keys WHERE tenant_id = $1").bind(&self.tenant_id);
        Ok(kept.fetch_one(connection).await?.try_get("wrapped")?)
    }

    fn rows(&self) -> usize {
        1
    }
}

struct Note(Erasure);

#[async_trait]
impl Operation for Note {
    type Output = ();

    async fn apply(&self, connection: &mut AnyConnection) -> Result<(), Fault> {
        sqlx::query(
            "INSERT INTO erasures (tenant_id, compliance_id, erasure) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant_id, compliance_id) DO UPDATE SET erasure = excluded.erasure",
        )
        .bind(&self.0.tenant_id)
        .bind(&self.0.compliance_id)
        .bind(json_text(&self.0))
        .execute(connection)
        .await?;
        Ok(())
    }

    fn rows(&self) -> usize {
        1
    }
}
