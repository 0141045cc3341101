//! `GET /ready`: work is accepted and done.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::Api;
use crate::health::SERVICE;

/// The route.
pub(crate) fn route() -> Router<Api> {
    Router::new().route("/ready", get(handle))
}

async fn handle(State(api): State<Api>) -> Response {
    let engine = api.orchestrator.check().await;
    let store = api.executions.check().await;
    let services = api.services.are_healthy().await;
    let is_ready = engine.is_ok() && store.is_ok() && services;
    for (part, reason) in [
        ("engine", engine.as_ref().err().map(ToString::to_string)),
        ("store", store.as_ref().err().map(ToString::to_string)),
    ] {
        if let Some(reason) = reason {
            tracing::warn!(part, reason, "not ready");
        }
    }
    let body = json!({
        "status": if is_ready { "ready" } else { "not_ready" },
        "service": SERVICE,
        "timestamp": api.clock.now(),
        "checks": { "engine": engine.is_ok(), "store": store.is_ok(), "services": services },
    });
    (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}
