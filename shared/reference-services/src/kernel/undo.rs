//! Undo by key: reverts what a key did, and refuses the key from then on.

use axum::routing::MethodFilter;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

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

/// Reverts the rows of a key, the last one first. Whether anything changed.
async fn revert_all(tx: &mut Tx<'_>, tenant_id: &str, key: &str) -> sqlx::Result<bool> {
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
        let name: &str = row.try_get("table_name")?;
        let table = tx.tables.iter().find(|table| table.name == name);
        let effect = Effect {
            seq: row.try_get("seq")?,
            table: table.ok_or(sqlx::Error::RowNotFound)?,
            row_key: row.try_get("row_key")?,
            before_image: row.try_get("before_image")?,
        };
        changed |= match row.try_get("kind")? {
            "create" => effect.revert_create(tx.connection).await?,
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

    /// Restores the before-image if the row is still as this effect left it. Otherwise the row is somebody else's by
    /// now, and it is *their* before-image that must no longer hold what is undone here.
    async fn revert_put(&self, connection: &mut SqliteConnection) -> sqlx::Result<bool> {
        let overtaken = sqlx::query(
            "UPDATE effects SET before_image = ?1 WHERE seq = (SELECT MIN(seq) FROM effects \
             WHERE table_name = ?2 AND row_key = ?3 AND seq > ?4 AND undone = 0)",
        )
        .bind(&self.before_image)
        .bind(self.table.name)
        .bind(&self.row_key)
        .bind(self.seq)
        .execute(&mut *connection)
        .await?;
        if overtaken.rows_affected() > 0 {
            return Ok(false);
        }
        match &self.before_image {
            None => self.table.delete(connection, &self.key()?).await,
            Some(image) => {
                let row: Row = serde_json::from_str(image).map_err(super::table::decode)?;
                self.table.upsert(connection, &row).await?;
                Ok(true)
            }
        }
    }

    fn key(&self) -> sqlx::Result<Vec<String>> {
        serde_json::from_str(&self.row_key).map_err(super::table::decode)
    }
}
