//! `POST /api/v1/workflows/{workflow_id}/pause`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use contracts::responses::PauseResponse;
use store::Control;

use crate::access::Caller;
use crate::{Api, Problem, body, operate};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows/{workflow_id}/pause", post(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PauseResponse>, Problem> {
    let reason = body::reason(&headers, body).await?;
    let now = api.clock.now();
    let record = operate::control(&api, &caller, &id, Control::Pause, reason, now).await?;
    Ok(Json(PauseResponse {
        workflow_id: record.id,
        paused: true,
        paused_at: record.paused_at.unwrap_or(now),
        can_resume: true,
        message: "Accepted: what is under way ends, no further step begins, and the deadline stands still.".to_owned(),
    }))
}
