//! `POST /api/v1/workflows/{workflow_id}/terminate`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use contracts::WorkflowKind;
use contracts::responses::TerminateResponse;

use crate::access::Caller;
use crate::{Operating, Problem, body, operate};

/// The route.
pub fn route() -> Router<Operating> {
    Router::new().route("/api/v1/workflows/{workflow_id}/terminate", post(handle))
}

/// What can be done about what batches did, if the workflow works in batches.
fn how_to_go_on(kind: WorkflowKind) -> Option<&'static str> {
    match kind {
        WorkflowKind::BulkOperation => Some("a retry does the rest"),
        WorkflowKind::DataMigration => Some("/reverse takes it back, and a retry does the rest"),
        WorkflowKind::CrossServiceRestore | WorkflowKind::Compliance => Some("a retry completes it"),
        WorkflowKind::CrossServiceBackup => Some("it is no backup, and a retry completes it"),
        WorkflowKind::UserOnboarding | WorkflowKind::TenantSwitching => None,
    }
}

async fn handle(
    State(operating): State<Operating>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TerminateResponse>, Problem> {
    let reason = body::reason(&headers, body).await?;
    let operate::Terminated { record, standing, unknown } =
        operate::terminate(&operating, &caller, &id, reason).await?;
    let message = match (standing.is_empty(), unknown) {
        (_, Some(unknown)) => {
            format!(
                "Stopped: nothing begins any more, and nothing was undone. More may stand than is listed: {unknown}."
            )
        }
        (true, None) => "Stopped: nothing begins any more, and nothing of it is known to stand.".to_owned(),
        (false, None) if let Some(how) = how_to_go_on(record.kind) => {
            format!("Stopped: nothing begins any more, and nothing was undone. What batches did stays; {how}.")
        }
        (false, None) => {
            "Stopped: nothing begins any more, and nothing was undone. Retry it with {\"undo\": true} to undo what may \
                  still stand."
                .to_owned()
        }
    };
    Ok(Json(TerminateResponse {
        terminated_at: record.ended_at.unwrap_or(record.updated_at),
        workflow_id: record.id,
        terminated: true,
        may_still_stand: standing,
        message,
    }))
}
