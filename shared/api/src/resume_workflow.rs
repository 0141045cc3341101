//! `POST /api/v1/workflows/{workflow_id}/resume`

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use contracts::responses::ResumeResponse;
use store::Control;

use crate::access::Caller;
use crate::{Api, Problem, operate};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows/{workflow_id}/resume", post(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ResumeResponse>, Problem> {
    let now = api.clock.now();
    let record = operate::control(&api, &caller, &id, Control::Resume, None, now).await?;
    Ok(Json(ResumeResponse {
        workflow_id: record.id,
        resumed: true,
        resumed_at: now,
        estimated_completion: None,
        message: format!("Accepted: it goes on {}.", operate::acts_within(record.engine)),
    }))
}
