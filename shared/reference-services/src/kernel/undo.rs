//! Undo by key: reverts what a key did, and refuses the key from then on.

use axum::routing::MethodFilter;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::mutation::Answer;
use super::{Call, Done, Fields, Mutation, Outcome, Problem, Row, Table, Tx};

/// `DELETE /api/v1/effects/{idempotency_key}`. It takes no body.
pub(super) struct Undo {
    key: String,
}

impl Mutation for Undo {
    const METHOD: MethodFilter = MethodFilter::DELETE;
    const ROUTE: &'static str = "/api/v1/effects/{idempotency_key}";

    fn read(call: &Call, _: &mut Fields<'_>) -> Self {
        Self { key: call.param("idempotency_key").to_owned() }
    }

    fn ledger_key(&self) -> Option<&str> {
        Some(&self.key)
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let tenant_id = tx.call.tenant_id.clone();
        let (entity, entity_id) = match Answer::find(tx.connection, &tenant_id, &self.key).await? {
            Some(answer) => (answer.entity, answer.entity_id),
            None => ("effect".to_owned(), self.key.clone()),
        };
        if let Some(first) = earlier(tx.connection, &tenant_id, &self.key).await? {
            return Ok(Done::ok(&entity, &entity_id, first).listed_as(Outcome::Replayed));
        }
        let undone = revert_all(tx, &tenant_id, &self.key).await?;
        let undone_at = tx.now();
        sqlx::query("INSERT INTO tombstones (tenant_id, key, undone, undone_at) VALUES (?, ?, ?, ?)")
            .bind(&tenant_id)
            .bind(&self.key)
            .bind(undone)
            .bind(&undone_at)
            .execute(&mut *tx.connection)
            .await?;
        let outcome = if undone { Outcome::Undone } else { Outcome::UndoFoundNothing };
        let body = json!({ "undone": undone, "undone_at": undone_at });
        Ok(Done::ok(&entity, &entity_id, body).listed_as(outcome))
    }
}

/// The answer of the undo that left the tombstone.
async fn earlier(connection: &mut SqliteConnection, tenant_id: &str, key: &str) -> sqlx::Result<Option<Value>> {
    let found = sqlx::query("SELECT undone, undone_at FROM tombstones WHERE tenant_id = ? AND key = ?")
        .bind(tenant_id)
        .bind(key)
        .fetch_optional(connection)
        .await?;
    let Some(row) = found else { return Ok(None) };
    let (undone, undone_at): (bool, String) = (row.try_get("undone")?, row.try_get("undone_at")?);
    Ok(Some(json!({ "undone": undone, "undone_at": undone_at })))
}

/// Reverts the rows of a key, the last one first: all of them or, with a problem, none. Whether anything changed.
async fn revert_all(tx: &mut Tx<'_>, tenant_id: &str, key: &str) -> Result<bool, Problem> {
    let rows = sqlx::query(
        "SELECT seq, table_name, row_key, kind, before_image FROM effects \
         WHERE tenant_id = ? AND key = ? AND undone = 0 ORDER BY seq DESC",
    )
    .bind(tenant_id)
    .bind(key)
    .fetch_all(&mut *tx.connection)
    .await?;
    let mut changed = false;
    for row in rows {
        let effect = Effect::new(&row, tx.tables)?;
        changed |= match row.try_get("kind")? {
            "create" => effect.revert_create(tx.connection).await?,
            _ if effect.is_overtaken(tx.connection).await? => {
                return Err(Problem::conflict("what the key changed has been changed again since"));
            }
            _ => effect.revert_put(tx.connection).await?,
        };
        sqlx::query("UPDATE effects SET undone = 1 WHERE seq = ?")
            .bind(effect.seq)
            .execute(&mut *tx.connection)
            .await?;
    }
    Ok(changed)
}

/// What a key did to one row.
struct Effect {
    seq: i64,
    table: &'static Table,
    row_key: String,
    before_image: Option<String>,
}

impl Effect {
    fn new(row: &SqliteRow, tables: &'static [&'static Table]) -> sqlx::Result<Self> {
        let name: &str = row.try_get("table_name")?;
        let table = tables.iter().find(|table| table.name == name);
        Ok(Self {
            seq: row.try_get("seq")?,
            table: table.ok_or(sqlx::Error::RowNotFound)?,
            row_key: row.try_get("row_key")?,
            before_image: row.try_get("before_image")?,
        })
    }

    /// Deletes the row, and with it what others did to it: undoing those must not bring it back.
    async fn revert_create(&self, connection: &mut SqliteConnection) -> sqlx::Result<bool> {
        sqlx::query("UPDATE effects SET undone = 1 WHERE table_name = ? AND row_key = ? AND seq > ?")
            .bind(self.table.name)
            .bind(&self.row_key)
            .bind(self.seq)
            .execute(&mut *connection)
            .await?;
        self.table.delete(connection, &self.key()?).await
    }

    /// Whether somebody has changed the row since, be it to the same values, and that has not been undone.
    async fn is_overtaken(&self, connection: &mut SqliteConnection) -> sqlx::Result<bool> {
        let later =
            sqlx::query("SELECT 1 FROM effects WHERE table_name = ? AND row_key = ? AND seq > ? AND undone = 0")
                .bind(self.table.name)
                .bind(&self.row_key)
                .bind(self.seq)
                .fetch_optional(connection)
                .await?;
        Ok(later.is_some())
    }

    /// Restores the before-image. A row that went with what it belonged to does not come back.
    async fn revert_put(&self, connection: &mut SqliteConnection) -> sqlx::Result<bool> {
        let key = self.key()?;
        let Some(image) = &self.before_image else {
            return self.table.delete(connection, &key).await;
        };
        if self.table.find(connection, &key).await?.is_none() {
            return Ok(false);
        }
        let row: Row = serde_json::from_str(image).map_err(super::table::decode)?;
        self.table.upsert(connection, &row).await?;
        Ok(true)
    }

    fn key(&self) -> sqlx::Result<Vec<String>> {
        serde_json::from_str(&self.row_key).map_err(super::table::decode)
    }
}
