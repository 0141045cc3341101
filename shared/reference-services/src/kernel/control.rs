//! `/_control`: faults, ledger and snapshot, for tests and curious people.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Body, FaultRule, LedgerEntry, Problem, Service};

pub(crate) fn routes() -> Router<Service> {
    Router::new()
        .route("/_control/faults", get(faults).put(put_faults).delete(clear_faults))
        .route("/_control/ledger", get(ledger))
        .route("/_control/snapshot", get(snapshot))
}

async fn faults(State(service): State<Service>) -> Json<Value> {
    Json(json!(*service.faults()))
}

async fn put_faults(State(service): State<Service>, body: Body<Vec<FaultRule>>) -> StatusCode {
    service.set_faults(body.value);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(service): State<Service>) -> StatusCode {
    service.set_faults(Vec::new());
    StatusCode::NO_CONTENT
}

async fn ledger(State(service): State<Service>) -> Result<Json<Vec<LedgerEntry>>, Problem> {
    Ok(Json(service.ledger().await?))
}

#[derive(Deserialize)]
struct Of {
    tenant: Option<String>,
}

async fn snapshot(State(service): State<Service>, Query(of): Query<Of>) -> Result<Json<Value>, Problem> {
    Ok(Json(service.snapshot(of.tenant.as_deref()).await?))
}
