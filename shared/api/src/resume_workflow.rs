//! `POST /api/v1/workflows/{workflow_id}/resume`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use contracts::responses::ResumeResponse;
use store::Control;

use crate::access::Caller;
use crate::{Api, Problem, body, get_workflow_status, operate};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows/{workflow_id}/resume", post(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ResumeResponse>, Problem> {
    let reason = body::reason(&headers, body).await?;
    let now = api.clock.now();
    let record = operate::control(&api, &caller, &id, Control::Resume, reason, now).await?;
    // It is resumed, whether or not it is known how long it will take.
    let read = get_workflow_status::read(&api, &caller.tenant_id, &id).await;
    let estimated_completion =
        read.ok().and_then(|found| get_workflow_status::answer(&api, found).estimated_completion);
    Ok(Json(ResumeResponse {
        workflow_id: record.id,
        resumed: true,
        resumed_at: now,
        estimated_completion,
        message: format!("Accepted: it goes on {}.", operate::acts_within(record.engine)),
    }))
}
