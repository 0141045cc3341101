//! `POST /api/v1/workflows/tenant-switching`

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use contracts::tenant_switching::TenantSwitchingRequest;

use crate::access::Caller;
use crate::start::start;
use crate::{Problem, Starting};

const PATH: &str = "/api/v1/workflows/tenant-switching";

/// The route.
pub fn route() -> Router<Starting> {
    Router::new().route(PATH, post(handle))
}

async fn handle(
    State(starting): State<Starting>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    start::<TenantSwitchingRequest>(&starting, PATH, caller, &headers, body).await
}
