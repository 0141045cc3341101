//! Routes that take in bytes.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::MethodFilter;
use serde_json::json;

use super::attempt::{Attempt, Keyed, Work};
use super::blob::Stored;
use super::{Call, Doc, Problem, Service, request};

/// A route whose body is bytes; the type is its request.
pub(crate) trait Upload: Work + 'static {
    /// The method.
    const METHOD: MethodFilter;
    /// The route's template.
    const ROUTE: &'static str;
    /// What it answers.
    const DOC: Doc;

    /// The request. Its work must keep the bytes.
    fn new(call: &Call, bytes: Stored) -> Self;
}

pub(super) async fn handle<U: Upload>(
    State(service): State<Service>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let call = Call::new(&parts, params)?;
    let key = request::idempotency_key(&parts.headers)?;
    let bytes = service.store(body).await?;
    let blob_id = bytes.blob_id.clone();
    let method = parts.method.as_str();
    let request = Keyed {
        service: &service,
        call: &call,
        key: &key,
        listed_key: key.clone(),
        hash: call.hash(method, &json!(bytes.sha256)),
        method,
        route: U::ROUTE,
        action: &format!("{method} {}", U::ROUTE),
    };
    let attempt = request.alone(U::new(&call, bytes)).await;
    let is_done = matches!(attempt, Ok(Attempt::Done(_)));
    if let Some(blob_id) = blob_id.filter(|_| !is_done) {
        service.discard(&blob_id).await?;
    }
    attempt?.answer()
}
