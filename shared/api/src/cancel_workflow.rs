//! `POST /api/v1/workflows/{workflow_id}/cancel`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use contracts::WorkflowKind;
use contracts::responses::CancelResponse;
use store::{Control, ExecutionRecord};

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
    let message = format!("Accepted: {}.", consequence(&record));
    Ok(Json(CancelResponse {
        workflow_id: record.id,
        cancelled: true,
        cancelled_at: record.cancel_requested_at.unwrap_or(now),
        message,
    }))
}

/// What a cancel does to what an execution did.
fn consequence(record: &ExecutionRecord) -> &'static str {
    let options = &record.input["options"];
    match record.kind {
        WorkflowKind::BulkOperation => {
            "no further batch begins, what was done stays, and the results list what was not done"
        }
        WorkflowKind::DataMigration if !options["reverses"].is_null() => {
            "no further batch begins, and what was taken back stays"
        }
        WorkflowKind::DataMigration if options["rollback_on_error"] == false => {
            "no further batch begins, and what was written stays"
        }
        _ => "no further step begins, and what was done is undone",
    }
}
