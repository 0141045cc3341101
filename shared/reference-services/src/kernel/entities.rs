//! The business data of a service: entities of some kinds, by tenant and id.

use contracts::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use super::Service;
use super::problem::Problem;
use super::request::Tenant;

/// The data within one transaction. Remembers what it changed, so that it can be undone.
pub(crate) struct Entities<'c> {
    connection: &'c mut SqliteConnection,
    pub(crate) tenant_id: String,
    pub(crate) now: Timestamp,
    pub(crate) changes: Vec<Change>,
}

/// One entity before and after; none is its absence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) kind: String,
    pub(crate) id: String,
    /// The before-image.
    pub(crate) before: Option<Value>,
    /// The version that the change made.
    pub(crate) version: i64,
}

impl<'c> Entities<'c> {
    pub(crate) fn new(connection: &'c mut SqliteConnection, tenant_id: String, now: Timestamp) -> Self {
        Self { connection, tenant_id, now, changes: Vec::new() }
    }

    pub(crate) async fn get(&mut self, kind: &str, id: &str) -> Result<Option<Value>, sqlx::Error> {
        Ok(self.load(kind, id).await?.map(|(_, body)| body))
    }

    /// All of a kind, by id.
    pub(crate) async fn list(&mut self, kind: &str) -> Result<Vec<Value>, sqlx::Error> {
        let rows = sqlx::query("SELECT body FROM entities WHERE kind = $1 AND tenant_id = $2 ORDER BY id")
            .bind(kind)
            .bind(&self.tenant_id)
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(|row| json(row, "body")).collect()
    }

    pub(crate) async fn bytes(&mut self, kind: &str, id: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
        let row = sqlx::query("SELECT bytes FROM entities WHERE kind = $1 AND tenant_id = $2 AND id = $3")
            .bind(kind)
            .bind(&self.tenant_id)
            .bind(id)
            .fetch_optional(&mut *self.connection)
            .await?;
        row.map(|row| row.try_get("bytes")).transpose()
    }

    /// Creates or replaces.
    pub(crate) async fn put(&mut self, kind: &str, id: &str, body: &Value) -> Result<(), sqlx::Error> {
        self.put_bytes(kind, id, body, None).await
    }

    pub(crate) async fn put_bytes(
        &mut self,
        kind: &str,
        id: &str,
        body: &Value,
        bytes: Option<&[u8]>,
    ) -> Result<(), sqlx::Error> {
        let before = self.load(kind, id).await?;
        let version = before.as_ref().map_or(0, |(version, _)| *version) + 1;
        self.write(kind, id, version, body, bytes).await?;
        let change = Change { kind: kind.to_owned(), id: id.to_owned(), before: before.map(|(_, body)| body), version };
        self.changes.push(change);
        Ok(())
    }

    /// Takes a change back, if nobody has changed the entity since; whether it did.
    pub(crate) async fn revert(&mut self, change: &Change) -> Result<bool, sqlx::Error> {
        let current = self.load(&change.kind, &change.id).await?;
        if current.is_none_or(|(version, _)| version != change.version) {
            return Ok(false);
        }
        match &change.before {
            Some(before) => self.write(&change.kind, &change.id, change.version + 1, before, None).await?,
            None => {
                sqlx::query("DELETE FROM entities WHERE kind = $1 AND tenant_id = $2 AND id = $3")
                    .bind(&change.kind)
                    .bind(&self.tenant_id)
                    .bind(&change.id)
                    .execute(&mut *self.connection)
                    .await?;
            }
        }
        Ok(true)
    }

    async fn load(&mut self, kind: &str, id: &str) -> Result<Option<(i64, Value)>, sqlx::Error> {
        let row = sqlx::query("SELECT version, body FROM entities WHERE kind = $1 AND tenant_id = $2 AND id = $3")
            .bind(kind)
            .bind(&self.tenant_id)
            .bind(id)
            .fetch_optional(&mut *self.connection)
            .await?;
        row.map(|row| Ok((row.try_get("version")?, json(&row, "body")?))).transpose()
    }

    async fn write(
        &mut self,
        kind: &str,
        id: &str,
        version: i64,
        body: &Value,
        bytes: Option<&[u8]>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO entities (kind, tenant_id, id, version, body, bytes) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (kind, tenant_id, id) DO UPDATE SET version = excluded.version, body = excluded.body",
        )
        .bind(kind)
        .bind(&self.tenant_id)
        .bind(id)
        .bind(version)
        .bind(body.to_string())
        .bind(bytes)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}

impl Service {
    /// Everything of one tenant or of all, in a stable order.
    pub(crate) async fn snapshot(&self, tenant_id: Option<&str>) -> Result<Value, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT kind, tenant_id, id, body, hex(bytes) AS bytes FROM entities \
             WHERE $1 IS NULL OR tenant_id = $1 ORDER BY kind, tenant_id, id",
        )
        .bind(tenant_id)
        .fetch_all(&self.database)
        .await?;
        let entity = |row: &sqlx::sqlite::SqliteRow| -> Result<Value, sqlx::Error> {
            Ok(serde_json::json!({
                "kind": row.try_get::<String, _>("kind")?,
                "tenant_id": row.try_get::<String, _>("tenant_id")?,
                "id": row.try_get::<String, _>("id")?,
                "body": json(row, "body")?,
                "bytes": row.try_get::<Option<String>, _>("bytes")?,
            }))
        };
        rows.iter().map(entity).collect()
    }
}

pub(crate) fn json(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<Value, sqlx::Error> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Reading and seeding, outside of any mutation.
impl Service {
    /// One entity; 404 if the tenant has no such thing.
    pub(crate) async fn read(&self, Tenant(tenant_id): Tenant, kind: &str, id: &str) -> Result<Value, Problem> {
        let mut connection = self.database.acquire().await?;
        let mut entities = Entities::new(&mut connection, tenant_id, self.clock.now());
        entities.get(kind, id).await?.ok_or_else(|| Problem::not_found("there is no such thing here"))
    }

    pub(crate) async fn read_all(&self, Tenant(tenant_id): Tenant, kind: &str) -> Result<Vec<Value>, Problem> {
        let mut connection = self.database.acquire().await?;
        Ok(Entities::new(&mut connection, tenant_id, self.clock.now()).list(kind).await?)
    }

    pub(crate) async fn read_bytes(&self, Tenant(tenant_id): Tenant, kind: &str, id: &str) -> Result<Vec<u8>, Problem> {
        let mut connection = self.database.acquire().await?;
        let mut entities = Entities::new(&mut connection, tenant_id, self.clock.now());
        entities.bytes(kind, id).await?.ok_or_else(|| Problem::not_found("there is no such thing here"))
    }

    /// Lets `fill` write a tenant's first data, in one transaction.
    pub(crate) async fn seed(
        &self,
        tenant_id: &str,
        fill: impl AsyncFnOnce(&mut Entities<'_>) -> Result<bool, sqlx::Error>,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.database.begin_with("BEGIN IMMEDIATE").await?;
        let filled = fill(&mut Entities::new(&mut transaction, tenant_id.to_owned(), self.clock.now())).await?;
        transaction.commit().await?;
        Ok(filled)
    }
}
