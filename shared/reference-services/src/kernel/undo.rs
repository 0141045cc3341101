//! Undo by key: reverts what a key did, and refuses the key from then on.

use axum::routing::MethodFilter;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::attempt::Answer;
use super::log::LogKind;
use super::table::decode;
use super::transaction::collision;
use super::{Call, Doc, Done, Fields, Member, Mutation, Outcome, Problem, Row, Shape, Table, Tx};

/// `DELETE /api/v1/effects/{idempotency_key}`. It takes no body.
pub(super) struct Undo {
    key: String,
}

impl Mutation for Undo {
    const METHOD: MethodFilter = MethodFilter::DELETE;
    const ROUTE: &'static str = "/api/v1/effects/{idempotency_key}";
    const DOC: Doc = Doc {
        refuses: &[(409, "somebody has changed the same thing since")],
        ..Doc::new(
            "Undoes what a key did, and refuses the key from then on.",
            "The compensation of every step of every workflow: a key that has done nothing yet is refused with 410 \
             when it comes (a tombstone). Items of batches are undone by their own keys (complete_restore, end_drill, \
             complete_migration). A repeated undo gives the first answer.",
            Shape::Object(&[
                Member::required("undone", Shape::Flag, "whether there was anything to undo"),
                Member::required("undone_at", Shape::Time, ""),
            ]),
        )
    };

    fn read(call: &Call, _: &mut Fields<'_>) -> Self {
        Self { key: call.param("idempotency_key").to_owned() }
    }

    fn listed_key(&self) -> Option<&str> {
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
    // The last row that the key deleted is the one that the others went with.
    let mut is_last_deleted = !is_root_undone(tx.connection, tenant_id, key).await?;
    for row in rows {
        let effect = Effect::new(&row, tx.service.definition().tables)?;
        let kind: &str = row.try_get("kind")?;
        changed |= match kind {
            "create" => effect.revert_create(tx).await?,
            _ if effect.is_overtaken(tx.connection).await? => {
                return Err(Problem::conflict("what the key changed has been changed again since"));
            }
            "put" => effect.revert_put(tx).await?,
            _ => effect.revert_delete(tx, std::mem::take(&mut is_last_deleted)).await?,
        };
        sqlx::query("UPDATE effects SET undone = 1 WHERE seq = ?")
            .bind(effect.seq)
            .execute(&mut *tx.connection)
            .await?;
    }
    Ok(changed)
}

/// Whether the last row that the key deleted has been dealt with, by the undo of what had created it.
async fn is_root_undone(connection: &mut SqliteConnection, tenant_id: &str, key: &str) -> sqlx::Result<bool> {
    let select =
        "SELECT undone FROM effects WHERE tenant_id = ? AND key = ? AND kind = 'delete' ORDER BY seq DESC LIMIT 1";
    let last = sqlx::query_scalar(select).bind(tenant_id).bind(key).fetch_optional(connection).await?;
    Ok(last.unwrap_or_default())
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
    async fn revert_create(&self, tx: &mut Tx<'_>) -> Result<bool, Problem> {
        sqlx::query("UPDATE effects SET undone = 1 WHERE table_name = ? AND row_key = ? AND seq > ?")
            .bind(self.table.name)
            .bind(&self.row_key)
            .bind(self.seq)
            .execute(&mut *tx.connection)
            .await?;
        self.take_away(tx).await
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
    async fn revert_put(&self, tx: &mut Tx<'_>) -> Result<bool, Problem> {
        if self.before_image.is_none() {
            return self.take_away_alone(tx).await;
        }
        if self.table.find(tx.connection, &self.key()?).await?.is_none() {
            return Ok(false);
        }
        let row = self.image()?;
        self.check_parents(tx, &row).await?;
        self.table.upsert(tx.connection, &row).await.map_err(|error| collision(self.table, error))?;
        tx.log_change(LogKind::Modification, self.table, &row).await?;
        Ok(true)
    }

    /// Deletes the row, if it is there and nothing belongs to it: what somebody has put there since stays with it.
    async fn take_away_alone(&self, tx: &mut Tx<'_>) -> Result<bool, Problem> {
        let Some(row) = self.table.find(tx.connection, &self.key()?).await? else { return Ok(false) };
        let definition = tx.service.definition();
        let is_part = |table: &Table| definition.entity_types.iter().all(|of| of.table.name != table.name);
        let others = tx.with_dependents(self.table, row).await?;
        if others.iter().skip(1).any(|(table, _)| !is_part(table)) {
            return Err(Problem::conflict("something belongs to what the key created"));
        }
        self.take_away(tx).await
    }

    /// Deletes the row, if it is there.
    async fn take_away(&self, tx: &mut Tx<'_>) -> Result<bool, Problem> {
        let key = self.key()?;
        let Some(row) = self.table.find(tx.connection, &key).await? else { return Ok(false) };
        let doomed = tx.with_dependents(self.table, row).await?;
        for (table, row) in doomed.iter().skip(1) {
            if !self.was_created_since(tx.connection, table, row).await? {
                return Err(Problem::conflict("what was there before belongs to what the key created"));
            }
        }
        self.table.delete(tx.connection, &key).await?;
        for (table, row) in doomed.iter().rev() {
            tx.log_change(LogKind::Deletion, table, row).await?;
        }
        Ok(true)
    }

    /// Whether a row has been created since.
    async fn was_created_since(
        &self,
        connection: &mut SqliteConnection,
        table: &Table,
        row: &Row,
    ) -> sqlx::Result<bool> {
        let created = sqlx::query(
            "SELECT 1 FROM effects WHERE table_name = ? AND row_key = ? AND seq > ? AND undone = 0 \
             AND kind <> 'delete' AND before_image IS NULL",
        )
        .bind(table.name)
        .bind(Value::from(table.key_of(row)).to_string())
        .bind(self.seq)
        .fetch_optional(connection)
        .await?;
        Ok(created.is_some())
    }

    /// Brings the row back. What went with something that stays away stays away too.
    async fn revert_delete(&self, tx: &mut Tx<'_>, by_itself: bool) -> Result<bool, Problem> {
        let row = self.image()?;
        if by_itself {
            self.check_parents(tx, &row).await?;
        }
        match self.table.insert(tx.connection, &row).await {
            Ok(()) => {
                tx.log_change(LogKind::Modification, self.table, &row).await?;
                Ok(true)
            }
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() && !by_itself => Ok(false),
            Err(error) => Err(collision(self.table, error)),
        }
    }

    /// Refuses if what the row belonged to has been deleted since: another one of the same id is not what it belonged to.
    async fn check_parents(&self, tx: &mut Tx<'_>, row: &Row) -> Result<(), Problem> {
        for parent in tx.service.definition().tables {
            let Some(key) = self.table.parent_key(parent, row) else { continue };
            let deleted = sqlx::query(
                "SELECT 1 FROM effects WHERE table_name = ? AND row_key = ? AND seq > ? AND undone = 0 AND kind = \
                 'delete'",
            )
            .bind(parent.name)
            .bind(Value::from(key).to_string())
            .bind(self.seq)
            .fetch_optional(&mut *tx.connection)
            .await?;
            if deleted.is_some() {
                return Err(Problem::conflict("what it belonged to has been deleted since"));
            }
        }
        Ok(())
    }

    /// The row as it was.
    fn image(&self) -> sqlx::Result<Row> {
        serde_json::from_str(self.before_image.as_deref().unwrap_or_default()).map_err(decode)
    }

    fn key(&self) -> sqlx::Result<Vec<String>> {
        serde_json::from_str(&self.row_key).map_err(decode)
    }
}
