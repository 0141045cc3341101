//! `GET /api/v1/workflows/{workflow_id}/status`

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use contracts::responses::{Failure, ProgressResponse, StatusResponse};
use contracts::{Status, Timestamp};
use store::{Estimated, ExecutionRecord};

use crate::access::Caller;
use crate::{Api, Problem};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows/{workflow_id}/status", get(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = api.executions.get_estimated(&caller.tenant_id, &id).await?.ok_or_else(|| Problem::no_workflow(&id))?;
    let Estimated { record, mean_duration_ms } = found;
    let etag = format!("\"{}\"", record.version);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let estimate = mean_duration_ms.filter(|_| record.status.is_open()).map(|mean| estimate(&api, &record, mean));
        Json(body(record, estimate)).into_response()
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// When it should be done, going by the mean of this kind's completed executions; never in the past.
fn estimate(api: &Api, record: &ExecutionRecord, mean_duration_ms: u64) -> Timestamp {
    let end = record.started_at.checked_add(Duration::from_millis(mean_duration_ms)).unwrap_or(Timestamp::MAX);
    end.max(api.clock.now())
}

fn body(record: ExecutionRecord, estimated_completion: Option<Timestamp>) -> StatusResponse {
    let progress = &record.progress;
    let status_message = match record.cancel_requested_at {
        Some(_) if record.status.is_open() => Some("Cancelling: what was done is being undone".to_owned()),
        _ => progress.status_message.clone(),
    };
    // All steps can be over before the end is: only completion is 100.
    let share = 100.0 * progress.completed_steps as f32 / progress.total_steps.max(1) as f32;
    let percentage = if record.status == Status::Completed { 100.0 } else { share.min(99.0) };
    StatusResponse {
        workflow_id: record.id,
        workflow_type: record.kind.to_string(),
        status: record.status.reported(),
        progress: Some(ProgressResponse {
            current_step: progress.current_step.clone(),
            total_steps: progress.total_steps,
            completed_steps: progress.completed_steps,
            percentage,
            estimated_completion,
            last_updated: record.updated_at,
            status_message,
        }),
        result: record.result,
        error: record.failure.as_ref().map(Failure::summary),
        failure: record.failure,
        started_at: record.started_at,
        updated_at: record.updated_at,
        cancelled_at: record.cancel_requested_at,
        retried_from: record.retry_of.map(|retry| retry.id),
        retried_as: record.retried_as,
    }
}
