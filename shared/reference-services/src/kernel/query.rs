//! Routes that read.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;

use super::{Call, Problem, Reader, Service};

/// A route that reads.
pub(crate) trait Query: 'static {
    /// The route's template.
    const ROUTE: &'static str;

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
    Q::answer(Reader { connection: &mut connection, call: &call, tenants: service.tenants() }).await
}
