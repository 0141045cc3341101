//! Mutations: done once per `Idempotency-Key`, undone by it, and written into the ledger.
//!
//! Effect, stored answer and ledger entry are one transaction.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use contracts::Timestamp;
use contracts::effect::sha256_hex;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row, SqliteConnection};

use super::Service;
use super::entities::{self, Change, Entities};
use super::problem::Problem;
use super::request::Tenant;

/// What became of a call that would change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It changed something.
    Applied,
    /// It had been done before; the first answer was given again.
    Replayed,
    /// What the key had done was undone.
    Undone,
    /// An undo found nothing to undo, or somebody had changed it since.
    UndoFoundNothing,
    /// The call came after its undo.
    RefusedTombstone,
    /// The state of things forbade it.
    RefusedConflict,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Which service.
    pub service: String,
    /// The tenant.
    pub tenant_id: String,
    /// The `Idempotency-Key` of the doing, for undos too.
    pub key: String,
    /// Method and route.
    pub operation: String,
    /// What became of it.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}

/// A successful mutation.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn created(body: Value) -> Self {
        Self { status: StatusCode::CREATED, body }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body }
    }
}

/// Runs a mutation: `change` does it within the transaction.
pub(crate) async fn mutation(
    service: &Service,
    headers: &HeaderMap,
    Tenant(tenant_id): Tenant,
    operation: &str,
    body: &Value,
    change: impl for<'a> FnOnce(&'a mut Entities<'_>) -> BoxFuture<'a, Result<Answer, Problem>> + Send,
) -> Result<Response, Problem> {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "send an Idempotency-Key header"))?;
    let fingerprint = sha256_hex(format!("{operation}\n{}", canonical(body)).as_bytes());
    let now = service.clock.now();
    let entry = |outcome| LedgerEntry {
        service: service.name.to_owned(),
        tenant_id: tenant_id.clone(),
        key: key.to_owned(),
        operation: operation.to_owned(),
        outcome,
        at: now,
    };
    let mut connection = service.database.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(known) = find(&mut transaction, &tenant_id, key).await? {
        let (outcome, answer) = known.answer(&fingerprint);
        if let Some(outcome) = outcome {
            write_ledger(&mut transaction, &entry(outcome)).await?;
        }
        transaction.commit().await?;
        return answer;
    }
    let mut entities = Entities::new(&mut transaction, tenant_id.clone(), now);
    match change(&mut entities).await {
        Ok(answer) => {
            let changes = std::mem::take(&mut entities.changes);
            let effect = Effect { fingerprint: Some(fingerprint), answer: Some(answer), changes };
            effect.write(&mut transaction, &tenant_id, key, false).await?;
            write_ledger(&mut transaction, &entry(Outcome::Applied)).await?;
            transaction.commit().await?;
            let Some(Answer { status, body }) = effect.answer else {
                return Err(sqlx::Error::RowNotFound.into());
            };
            Ok((status, Json(body)).into_response())
        }
        Err(problem) => {
            transaction.rollback().await?;
            if problem.status == StatusCode::CONFLICT {
                write_ledger(&mut connection, &entry(Outcome::RefusedConflict)).await?;
            }
            Err(problem)
        }
    }
}

/// `DELETE /api/v1/effects/{key}`: undoes what the call with this key did, and refuses that call from now on.
pub(crate) async fn undo(
    State(service): State<Service>,
    Tenant(tenant_id): Tenant,
    Path(key): Path<String>,
) -> Result<Json<Value>, Problem> {
    let now = service.clock.now();
    let mut connection = service.database.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let known = find(&mut transaction, &tenant_id, &key).await?;
    if let Some(Known { undone: Some(undone), .. }) = &known {
        // Repeated: the answer is what the first undo found.
        return Ok(Json(json!({ "undone": undone, "undone_at": now })));
    }
    let mut undone = false;
    let mut entities = Entities::new(&mut transaction, tenant_id.clone(), now);
    for change in known.iter().flat_map(|known| known.changes.iter().rev()) {
        undone |= entities.revert(change).await?;
    }
    let tombstone = Effect { fingerprint: None, answer: None, changes: Vec::new() };
    tombstone.write(&mut transaction, &tenant_id, &key, true).await?;
    sqlx::query("UPDATE effects SET answer = $3 WHERE tenant_id = $1 AND key = $2")
        .bind(&tenant_id)
        .bind(&key)
        .bind(undone.to_string())
        .execute(&mut *transaction)
        .await?;
    let entry = LedgerEntry {
        service: service.name.to_owned(),
        tenant_id,
        key,
        operation: "DELETE /api/v1/effects/{key}".to_owned(),
        outcome: if undone { Outcome::Undone } else { Outcome::UndoFoundNothing },
        at: now,
    };
    write_ledger(&mut transaction, &entry).await?;
    transaction.commit().await?;
    Ok(Json(json!({ "undone": undone, "undone_at": now })))
}

/// What a key did, about to be stored.
struct Effect {
    fingerprint: Option<String>,
    answer: Option<Answer>,
    changes: Vec<Change>,
}

impl Effect {
    async fn write(
        &self,
        connection: &mut SqliteConnection,
        tenant_id: &str,
        key: &str,
        is_undone: bool,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO effects (tenant_id, key, fingerprint, is_undone, status, answer, changes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, key) DO UPDATE SET \
             is_undone = excluded.is_undone",
        )
        .bind(tenant_id)
        .bind(key)
        .bind(&self.fingerprint)
        .bind(is_undone)
        .bind(self.answer.as_ref().map(|answer| i64::from(answer.status.as_u16())))
        .bind(self.answer.as_ref().map(|answer| answer.body.to_string()))
        .bind(serde_json::to_string(&self.changes).unwrap_or_default())
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// What is known of a key.
struct Known {
    fingerprint: String,
    status: StatusCode,
    answer: Value,
    changes: Vec<Change>,
    /// Whether an undo undid something; none if there was no undo.
    undone: Option<bool>,
}

impl Known {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let decode = |error| sqlx::Error::Decode(Box::new(error));
        let answer = entities::json(row, "answer")?;
        let status = row.try_get::<Option<u16>, _>("status")?.and_then(|status| StatusCode::from_u16(status).ok());
        Ok(Self {
            fingerprint: row.try_get::<Option<String>, _>("fingerprint")?.unwrap_or_default(),
            status: status.unwrap_or(StatusCode::OK),
            changes: serde_json::from_str(row.try_get("changes")?).map_err(decode)?,
            undone: row.try_get::<bool, _>("is_undone")?.then_some(answer == true),
            answer,
        })
    }

    fn answer(self, fingerprint: &str) -> (Option<Outcome>, Result<Response, Problem>) {
        if self.undone.is_some() {
            let problem = Problem::new(StatusCode::GONE, "this call was undone before it arrived");
            return (Some(Outcome::RefusedTombstone), Err(problem));
        }
        if self.fingerprint != fingerprint {
            let detail = "this Idempotency-Key came with another request before";
            return (None, Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)));
        }
        (Some(Outcome::Replayed), Ok((self.status, Json(self.answer)).into_response()))
    }
}

async fn find(connection: &mut SqliteConnection, tenant_id: &str, key: &str) -> Result<Option<Known>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM effects WHERE tenant_id = $1 AND key = $2")
        .bind(tenant_id)
        .bind(key)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(Known::read).transpose()
}

async fn write_ledger(connection: &mut SqliteConnection, entry: &LedgerEntry) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO ledger (entry) VALUES ($1)")
        .bind(serde_json::to_string(entry).unwrap_or_default())
        .execute(connection)
        .await?;
    Ok(())
}

impl Service {
    pub(crate) async fn ledger(&self) -> Result<Vec<LedgerEntry>, sqlx::Error> {
        let rows = sqlx::query("SELECT entry FROM ledger ORDER BY seq").fetch_all(&self.database).await?;
        let entry = |row: &SqliteRow| {
            serde_json::from_str(row.try_get("entry")?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
        };
        rows.iter().map(entry).collect()
    }
}

/// The same text for the same JSON, whatever the order of its keys.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let sorted: std::collections::BTreeMap<_, _> =
                object.iter().map(|(name, value)| (name.clone(), canonical(value))).collect();
            sorted.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}
