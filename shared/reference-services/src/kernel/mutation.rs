//! Routes that change something: at most once per key, with the effect, its before-image, the answer and the ledger's
//! row in one transaction.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::ledger::{Line, Outcome};
use super::{Call, Fields, Problem, Reader, Service, Tx, request};

/// A route that changes something; the type is its request.
pub(crate) trait Mutation: Sized + Send + 'static {
    /// The method.
    const METHOD: MethodFilter;
    /// The route's template.
    const ROUTE: &'static str;

    /// Reads the request; what is wrong with the body `body` remembers.
    fn read(call: &Call, body: &mut Fields<'_>) -> Self;

    /// Does it. A problem takes everything back.
    fn apply(self, tx: &mut Tx<'_>) -> impl Future<Output = Result<Done, Problem>> + Send;

    /// The key that the ledger lists it under, if that is not its own.
    fn ledger_key(&self) -> Option<&str> {
        None
    }
}

/// What a mutation has done.
pub(crate) struct Done {
    status: StatusCode,
    body: Value,
    entity: String,
    entity_id: String,
    outcome: Outcome,
}

impl Done {
    /// Something new, answered with 201.
    pub(crate) fn created(entity: &str, entity_id: &str, body: Value) -> Self {
        Self { status: StatusCode::CREATED, ..Self::ok(entity, entity_id, body) }
    }

    /// A change, answered with 200.
    pub(crate) fn ok(entity: &str, entity_id: &str, body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body,
            entity: entity.to_owned(),
            entity_id: entity_id.to_owned(),
            outcome: Outcome::Applied,
        }
    }

    /// The same under another heading in the ledger.
    pub(super) fn listed_as(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }
}

pub(super) async fn handle<M: Mutation>(
    State(service): State<Service>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let call = Call::new(&parts, params)?;
    let key = request::idempotency_key(&parts.headers)?;
    let body = request::parse(&request::read_body(&**service.clock(), body).await?)?;
    let mut fields = Fields::new(&body);
    let mutation = M::read(&call, &mut fields);
    fields.finish()?;

    let ledger_key = mutation.ledger_key().unwrap_or(&key).to_owned();
    let method = parts.method.as_str();
    let hash = call.hash(method, &body);
    let line =
        Line { key: &ledger_key, tenant_id: &call.tenant_id, method, route: M::ROUTE, at: service.clock().now() };

    let mut connection = service.connection().await;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if is_tombstoned(&mut transaction, &call.tenant_id, &key).await? {
        line.write(&mut transaction, Outcome::RefusedTombstone, None).await?;
        transaction.commit().await?;
        return Err(Problem::new(StatusCode::GONE, "the key has been undone"));
    }
    if let Some(answer) = Answer::find(&mut transaction, &call.tenant_id, &key).await? {
        let is_same = answer.request_hash == hash;
        let outcome = if is_same { Outcome::Replayed } else { Outcome::RefusedConflict };
        line.write(&mut transaction, outcome, Some((&answer.entity, &answer.entity_id))).await?;
        transaction.commit().await?;
        return if is_same {
            Ok(answer.into_response())
        } else {
            Err(Problem::unprocessable("the key has been used for another request"))
        };
    }

    let mut attempt = transaction.begin().await?;
    let mut tx = Tx {
        reader: Reader { connection: &mut attempt, call: &call, tenants: service.tenants() },
        clock: service.clock(),
        key: &key,
        tables: service.definition().tables,
    };
    match mutation.apply(&mut tx).await {
        Ok(done) => {
            attempt.commit().await?;
            let outcome = done.outcome;
            let answer = Answer::new(done, hash);
            answer.keep(&mut transaction, &call.tenant_id, &key).await?;
            line.write(&mut transaction, outcome, Some((&answer.entity, &answer.entity_id))).await?;
            transaction.commit().await?;
            Ok(answer.into_response())
        }
        Err(problem) => {
            // Only what happened is remembered under the key: a refused request may be repeated with it.
            attempt.rollback().await?;
            if problem.status() == StatusCode::CONFLICT {
                line.write(&mut transaction, Outcome::RefusedConflict, None).await?;
                transaction.commit().await?;
            }
            Err(problem)
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
    body: String,
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
