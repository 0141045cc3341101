//! `POST /api/v1/workflows/user-onboarding`

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use contracts::user_onboarding::UserOnboardingRequest;

use crate::access::Caller;
use crate::start::start;
use crate::{Problem, Starting};

const PATH: &str = "/api/v1/workflows/user-onboarding";

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
    start::<UserOnboardingRequest>(&starting, PATH, caller, &headers, body).await
}
