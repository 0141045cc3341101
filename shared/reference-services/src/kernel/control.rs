//! The control surface: faults on demand, the ledger and snapshots. No tenant, no fault touches it.

use std::net::IpAddr;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;

use super::{OpenError, Problem, Service, request};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/_control/faults", get(list_faults).put(replace_faults).delete(clear_faults))
        .route("/_control/ledger", get(ledger))
        .route("/_control/snapshot", get(snapshot))
        .route_layer(from_fn(refuse_other_hosts))
}

/// A page of another site must not reach the switches by a name that resolves to this machine: a browser sends that name.
async fn refuse_other_hosts(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter();
    let mut others = hosts.filter(|host| !host.to_str().is_ok_and(is_of_this_machine));
    match others.next() {
        None => next.run(request).await,
        Some(_) => {
            let detail = "send localhost or a loopback address as Host";
            Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
        }
    }
}

fn is_of_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let address = authority.host().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    authority.host().eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

async fn list_faults(State(service): State<Service>) -> Response {
    Json(service.faults().list()).into_response()
}

async fn replace_faults(State(service): State<Service>, request: Request) -> Result<Response, Problem> {
    let body = request::read_body(&**service.clock(), request.into_body(), request::MAX_BODY_BYTES).await?;
    let body = request::parse(&body)?;
    // The rules hold nobody's data: here the parser may say what it misses.
    let rules = serde_json::from_value(body).map_err(|error| Problem::unprocessable(error.to_string()))?;
    service.faults().replace(rules);
    Ok(Json(service.faults().list()).into_response())
}

async fn clear_faults(State(service): State<Service>) -> StatusCode {
    service.faults().replace(Vec::new());
    StatusCode::NO_CONTENT
}

async fn ledger(State(service): State<Service>) -> Result<Response, Problem> {
    let entries = service.ledger().await.map_err(unreadable)?;
    Ok(Json(entries).into_response())
}

#[derive(Deserialize)]
struct SnapshotOf {
    tenant: Option<String>,
}

async fn snapshot(State(service): State<Service>, Query(of): Query<SnapshotOf>) -> Result<Response, Problem> {
    let snapshot = service.snapshot(of.tenant.as_deref()).await.map_err(unreadable)?;
    Ok(Json(snapshot).into_response())
}

fn unreadable(error: OpenError) -> Problem {
    tracing::error!(error = &error as &dyn std::error::Error, "the control surface cannot read");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the service cannot use its data")
}
