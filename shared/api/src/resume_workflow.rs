//! `POST /api/v1/workflows/{workflow_id}/resume`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use contracts::responses::ResumeResponse;
use store::Control;

use crate::access::Caller;
use crate::{Api, Problem, body, durations, operate};

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
    let mean = api.executions.mean_duration_ms(&caller.tenant_id, record.kind).await.ok().flatten();
    let estimated_completion = mean.map(|mean| durations::estimate(&api, &record, mean));
    Ok(Json(ResumeResponse {
        workflow_id: record.id,
        resumed: true,
        resumed_at: now,
        estimated_completion,
        message: format!("Accepted: it goes on {}.", operate::acts_within(record.engine)),
    }))
}
