//! Routes that read.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use sqlx::Connection as _;

use super::{Call, Doc, Problem, Reader, Service};

/// A route that reads.
pub(crate) trait Query: 'static {
    /// The route's template.
    const ROUTE: &'static str;
    /// What it takes and answers.
    const DOC: Doc;

    /// Whether the answer is itself written down.
    fn is_logged(_: &Call) -> bool {
        false
    }

    /// The answer.
    fn answer(reader: Reader<'_>) -> impl Future<Output = Result<Response, Problem>> + Send;
}

pub(super) async fn handle<Q: Query>(
    State(service): State<Service>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let call = Call::new(&parts, params)?;
    let mut connection = service.connection().await;
    // All that an answer consists of is read at the same moment.
    let mut transaction =
        if Q::is_logged(&call) { service.begin(&mut connection).await? } else { connection.begin().await? };
    let response = Q::answer(service.reader(&mut transaction, &call)).await?;
    transaction.commit().await?;
    Ok(response)
}
