//! `GET /health`: the process answers.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::Api;

/// The name in health answers.
pub(crate) const SERVICE: &str = "workflow-service";

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/health", get(handle))
}

async fn handle(State(api): State<Api>) -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "service": SERVICE,
        "timestamp": api.clock.now(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}
