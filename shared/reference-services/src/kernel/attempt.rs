//! What a key does, at most once: the effect, its before-image, the entries of the logs, the answer and the
//! ledger's row in one transaction.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::ledger::{Line, Outcome};
use super::{Call, Done, Problem, Service, Tx};

pub(super) const KEY_REUSED: &str = "the key has been used for another request";
pub(super) const KEY_UNDONE: &str = "the key has been undone";

/// What is done under a key.
pub(crate) trait Work: Sized + Send {
    /// Does it. A problem takes everything back.
    fn apply(self, tx: &mut Tx<'_>) -> impl Future<Output = Result<Done, Problem>> + Send;
}

/// What became of a request with a key.
pub(super) enum Attempt {
    /// It is done.
    Done(Answer),
    /// It had been done before; the first answer.
    Repeated(Answer),
    /// The key has been used for another request.
    KeyReused,
    /// The key has been undone.
    KeyUndone,
    /// It is refused, and everything taken back.
    Refused(Problem),
}

/// A request with its key.
pub(super) struct Keyed<'r> {
    pub(super) service: &'r Service,
    pub(super) call: &'r Call,
    pub(super) key: &'r str,
    /// The key that ledger and logs list it under.
    pub(super) listed_key: String,
    /// What distinguishes it from others under the same key.
    pub(super) hash: String,
    pub(super) method: &'r str,
    pub(super) route: &'r str,
    /// What the logs call it.
    pub(super) action: &'r str,
}

impl Attempt {
    /// What a request about one thing answers.
    pub(super) fn answer(self) -> Result<Response, Problem> {
        match self {
            Self::Done(answer) | Self::Repeated(answer) => Ok(answer.into_response()),
            Self::KeyReused => Err(Problem::unprocessable(KEY_REUSED)),
            Self::KeyUndone => Err(Problem::new(StatusCode::GONE, KEY_UNDONE)),
            Self::Refused(problem) => Err(problem),
        }
    }
}

impl Keyed<'_> {
    /// Does the work in a transaction of its own, unless the key says otherwise.
    pub(super) async fn alone(&self, work: impl Work) -> Result<Attempt, Problem> {
        let mut connection = self.service.connection().await;
        let mut transaction = self.service.begin(&mut connection).await?;
        let attempt = self.attempt(&mut transaction, work).await?;
        transaction.commit().await?;
        Ok(attempt)
    }

    /// Does the work in a savepoint of the transaction that the connection is in, unless the key says otherwise.
    pub(super) async fn attempt(&self, connection: &mut SqliteConnection, work: impl Work) -> sqlx::Result<Attempt> {
        let tenant_id = &self.call.tenant_id;
        let line = Line {
            key: &self.listed_key,
            tenant_id,
            method: self.method,
            route: self.route,
            at: self.service.clock().now(),
        };
        if is_tombstoned(connection, tenant_id, self.key).await? {
            line.write(connection, Outcome::RefusedTombstone, None).await?;
            return Ok(Attempt::KeyUndone);
        }
        if let Some(answer) = Answer::find(connection, tenant_id, self.key).await? {
            let is_same = answer.request_hash == self.hash;
            let outcome = if is_same { Outcome::Replayed } else { Outcome::RefusedConflict };
            line.write(connection, outcome, Some((&answer.entity, &answer.entity_id))).await?;
            return Ok(if is_same { Attempt::Repeated(answer) } else { Attempt::KeyReused });
        }
        let mut savepoint = connection.begin().await?;
        let mut tx = Tx {
            reader: self.service.reader(&mut savepoint, self.call),
            key: self.key,
            listed_key: &self.listed_key,
            action: self.action,
        };
        match work.apply(&mut tx).await {
            Ok(done) => {
                savepoint.commit().await?;
                let outcome = done.outcome;
                let answer = Answer::new(done, self.hash.clone());
                answer.keep(connection, tenant_id, self.key).await?;
                line.write(connection, outcome, Some((&answer.entity, &answer.entity_id))).await?;
                Ok(Attempt::Done(answer))
            }
            Err(problem) => {
                // Only what happened is remembered under the key: a refused request may be repeated with it.
                savepoint.rollback().await?;
                if problem.status() == StatusCode::CONFLICT {
                    line.write(connection, Outcome::RefusedConflict, None).await?;
                }
                Ok(Attempt::Refused(problem))
            }
        }
    }
}

async fn is_tombstoned(connection: &mut SqliteConnection, tenant_id: &str, key: &str) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM tombstones WHERE tenant_id = ? AND key = ?")
        .bind(tenant_id)
        .bind(key)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// The first answer to a key.
pub(super) struct Answer {
    request_hash: String,
    status: StatusCode,
    pub(super) body: String,
    pub(super) entity: String,
    pub(super) entity_id: String,
}

impl Answer {
    fn new(done: Done, request_hash: String) -> Self {
        Self {
            request_hash,
            status: done.status,
            body: done.body.to_string(),
            entity: done.entity,
            entity_id: done.entity_id,
        }
    }

    pub(super) async fn find(
        connection: &mut SqliteConnection,
        tenant_id: &str,
        key: &str,
    ) -> sqlx::Result<Option<Self>> {
        let select =
            "SELECT request_hash, status, body, entity, entity_id FROM answers WHERE tenant_id = ? AND key = ?";
        let found = sqlx::query(select).bind(tenant_id).bind(key).fetch_optional(connection).await?;
        let Some(row) = found else { return Ok(None) };
        Ok(Some(Self {
            request_hash: row.try_get("request_hash")?,
            status: StatusCode::from_u16(row.try_get("status")?).map_err(super::table::decode)?,
            body: row.try_get("body")?,
            entity: row.try_get("entity")?,
            entity_id: row.try_get("entity_id")?,
        }))
    }

    async fn keep(&self, connection: &mut SqliteConnection, tenant_id: &str, key: &str) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO answers (tenant_id, key, request_hash, status, body, entity, entity_id) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(tenant_id)
        .bind(key)
        .bind(&self.request_hash)
        .bind(self.status.as_u16())
        .bind(&self.body)
        .bind(&self.entity)
        .bind(&self.entity_id)
        .execute(connection)
        .await?;
        Ok(())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, "application/json")], self.body).into_response()
    }
}
