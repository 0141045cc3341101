//! `POST /api/v1/workflows/{workflow_id}/cancel`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use contracts::responses::CancelResponse;
use store::{Control, Controlled};

use crate::access::Caller;
use crate::{Api, Problem, body, control};

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
    // Nothing changes if it cannot be used.
    body::reason(&headers, body).await?;
    let now = api.clock.now();
    let record = match control::control(&api, &caller.tenant_id, &id, Control::Cancel, now).await? {
        Controlled::Accepted(record) => record,
        Controlled::NotFound => return Err(Problem::no_workflow(&id)),
        Controlled::Refused(record) if record.status.is_open() => {
            let detail = "It is Running, and in a step or an undoing that nothing may interrupt any more.";
            return Err(Problem::conflict(&id, detail));
        }
        Controlled::Refused(record) => {
            return Err(Problem::conflict(&id, format!("It has ended: {}.", record.status)));
        }
    };
    Ok(Json(CancelResponse {
        workflow_id: record.id,
        cancelled: true,
        cancelled_at: record.cancel_requested_at.unwrap_or(now),
        message: "Accepted: no further step begins, and what was done is undone.".to_owned(),
    }))
}
