//! Routes that change one thing.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::MethodFilter;
use serde_json::Value;

use super::attempt::{Keyed, Work};
use super::ledger::Outcome;
use super::{Call, Doc, Fields, Problem, Service, Tx, request};

/// A route that changes something; the type is its request.
pub(crate) trait Mutation: Sized + Send + 'static {
    /// The method.
    const METHOD: MethodFilter;
    /// The route's template.
    const ROUTE: &'static str;
    /// What it takes and answers.
    const DOC: Doc;

    /// Reads the request; what is wrong with the body `body` remembers.
    fn read(call: &Call, body: &mut Fields<'_>) -> Self;

    /// Does it. A problem takes everything back.
    fn apply(self, tx: &mut Tx<'_>) -> impl Future<Output = Result<Done, Problem>> + Send;

    /// Whether the bytes of what it deletes must be gone when it answers, those in the journal too.
    const LEAVES_NO_BYTES: bool = false;

    /// The key that ledger and logs list it under, if that is not its own.
    fn listed_key(&self) -> Option<&str> {
        None
    }
}

/// What a mutation has done.
pub(crate) struct Done {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    pub(super) entity: String,
    pub(super) entity_id: String,
    pub(super) outcome: Outcome,
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
    let body = request::parse(&request::read_body(&**service.clock(), body, request::MAX_BODY_BYTES).await?)?;
    let mut fields = Fields::new(&body);
    let mutation = M::read(&call, &mut fields);
    fields.finish()?;

    let hash = call.hash(parts.method.as_str(), &body);
    let action = format!("{} {}", parts.method, M::ROUTE);
    let request = Keyed {
        service: &service,
        call: &call,
        key: &key,
        listed_key: mutation.listed_key().unwrap_or(&key).to_owned(),
        hash,
        method: parts.method.as_str(),
        route: M::ROUTE,
        action: &action,
    };
    let attempt = request.alone(Whole(mutation)).await?;
    if M::LEAVES_NO_BYTES {
        service.empty_journal().await?;
    }
    attempt.answer()
}

/// A mutation as the work of one key.
struct Whole<M>(M);

impl<M: Mutation> Work for Whole<M> {
    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        self.0.apply(tx).await
    }
}
