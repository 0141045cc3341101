//! `POST /api/v1/workflows/{workflow_id}/cancel`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use contracts::responses::CancelResponse;
use store::Control;

use crate::access::Caller;
use crate::{Api, Problem, body, operate};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows/{workflow_id}/cancel", post(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CancelResponse>, Problem> {
    let reason = body::reason(&headers, body).await?;
    let now = api.clock.now();
    let record = operate::control(&api, &caller, &id, Control::Cancel, reason, now).await?;
    Ok(Json(CancelResponse {
        workflow_id: record.id,
        cancelled: true,
        cancelled_at: record.cancel_requested_at.unwrap_or(now),
        message: "Accepted: no further step begins, and what was done is undone.".to_owned(),
    }))
}
