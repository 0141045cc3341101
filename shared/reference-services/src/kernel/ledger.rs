//! The effects ledger: one line for each mutation that did something, or was refused because of what had been done.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::table::decode;
use super::{OpenError, Service};

/// What became of a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Applied,
    /// It had been done before: the first answer was given again.
    Replayed,
    /// An undo reverted something.
    Undone,
    /// An undo had nothing to revert.
    UndoFoundNothing,
    /// Its key had been undone.
    RefusedTombstone,
    /// It collided with what exists, or its key had been used for another request.
    RefusedConflict,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Replayed => "replayed",
            Self::Undone => "undone",
            Self::UndoFoundNothing => "undo_found_nothing",
            Self::RefusedTombstone => "refused_tombstone",
            Self::RefusedConflict => "refused_conflict",
        }
    }
}

/// One line of the effects ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The service's name.
    pub service: Cow<'static, str>,
    /// From 1, in order, per service.
    pub seq: i64,
    /// The `Idempotency-Key`; of an undo the key that it undoes.
    pub key: String,
    /// The tenant.
    pub tenant: String,
    /// The method.
    pub method: String,
    /// The route's template.
    pub route: String,
    /// What kind of thing it is about; absent when nothing was done.
    pub entity: Option<String>,
    /// Which one.
    pub entity_id: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}

/// The part of a line that is known before the outcome.
pub(super) struct Line<'l> {
    pub(super) key: &'l str,
    pub(super) tenant_id: &'l str,
    pub(super) method: &'l str,
    pub(super) route: &'l str,
    pub(super) at: Timestamp,
}

impl Line<'_> {
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        outcome: Outcome,
        entity: Option<(&str, &str)>,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO ledger (key, tenant_id, method, route, entity, entity_id, outcome, at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.key)
        .bind(self.tenant_id)
        .bind(self.method)
        .bind(self.route)
        .bind(entity.map(|(entity, _)| entity))
        .bind(entity.map(|(_, id)| id))
        .bind(outcome.as_str())
        .bind(self.at.to_string())
        .execute(connection)
        .await?;
        Ok(())
    }
}

impl Service {
    /// The ledger, in order.
    pub(crate) async fn ledger(&self) -> Result<Vec<LedgerEntry>, OpenError> {
        let mut connection = self.connection().await;
        let rows = sqlx::query("SELECT * FROM ledger ORDER BY seq").fetch_all(&mut *connection).await;
        let rows = rows.map_err(|source| self.storage(source))?;
        let entries = rows.iter().map(|row| entry(self.kind().name(), row));
        entries.collect::<sqlx::Result<_>>().map_err(|source| self.storage(source))
    }
}

fn entry(service: &'static str, row: &SqliteRow) -> sqlx::Result<LedgerEntry> {
    let outcome: StrDeserializer<'_, ValueError> = row.try_get::<&str, _>("outcome")?.into_deserializer();
    Ok(LedgerEntry {
        service: Cow::Borrowed(service),
        seq: row.try_get("seq")?,
        key: row.try_get("key")?,
        tenant: row.try_get("tenant_id")?,
        method: row.try_get("method")?,
        route: row.try_get("route")?,
        entity: row.try_get("entity")?,
        entity_id: row.try_get("entity_id")?,
        outcome: Outcome::deserialize(outcome).map_err(decode)?,
        at: row.try_get::<&str, _>("at")?.parse().map_err(decode)?,
    })
}
