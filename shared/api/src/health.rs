//! `GET /health`: the process answers.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use clock::SharedClock;
use serde_json::{Value, json};

/// The name in health answers.
pub(crate) const SERVICE: &str = "workflow-service";

/// The route.
pub fn route() -> Router<SharedClock> {
    Router::new().route("/health", get(handle))
}

async fn handle(State(clock): State<SharedClock>) -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "service": SERVICE,
        "timestamp": clock.now(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}
