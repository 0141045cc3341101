//! `GET /ready`: work is accepted and done.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, json};

use crate::Readiness;
use crate::health::SERVICE;

/// The route.
pub fn route() -> Router<Readiness> {
    Router::new().route("/ready", get(handle))
}

async fn handle(State(ready): State<Readiness>) -> Response {
    let store = async { ready.api.executions.check().await.map_err(|error| error.to_string()) };
    let (engine, store, services) = futures::join!(ready.engine.check(), store, ready.services.check());
    // Of an engine elsewhere, as a rule settings are wrong; the others' reasons are for the log alone.
    let reason = engine.clone().err();
    let checks = [("engine", engine), ("store", store), ("services", services)];
    for (part, answer) in &checks {
        if let Err(reason) = answer {
            tracing::warn!(part, reason, "not ready");
        }
    }
    let mut quarantine: BTreeSet<String> = ready.api.engines.quarantine().into_iter().collect();
    quarantine.extend(ready.api.executions.found_damaged());
    let is_ready = checks.iter().all(|(_, answer)| answer.is_ok());
    let mut body = json!({
        "status": if is_ready { "ready" } else { "not_ready" },
        "service": SERVICE,
        "timestamp": ready.api.clock.now(),
        // Known to this process: they hold nothing else up.
        "quarantined": quarantine.len(),
        "checks": checks.iter().map(|(part, answer)| ((*part).to_owned(), answer.is_ok().into())).collect::<Map<_, _>>(),
    });
    if let Some(reason) = reason {
        body["reason"] = json!(reason);
    }
    (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}
