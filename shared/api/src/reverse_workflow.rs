//! `POST /api/v1/workflows/{workflow_id}/reverse`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use contracts::limits::MAX_REASON_CHARS;
use contracts::responses::ReverseResponse;

use crate::access::Caller;
use crate::operate::Retrying;
use crate::retry_workflow::accepted;
use crate::start::idempotency_key;
use crate::{Problem, Starting, body, operate};

/// The route.
pub fn route() -> Router<Starting> {
    Router::new().route("/api/v1/workflows/{workflow_id}/reverse", post(handle))
}

async fn handle(
    State(starting): State<Starting>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::optional_json(&headers, body).await?.unwrap_or_default();
    let mut fields = body.fields();
    let reason = fields.optional_remark("reason", MAX_REASON_CHARS).map(str::to_owned);
    fields.finish().map_err(Problem::invalid)?;
    let path = format!("/api/v1/workflows/{id}/reverse");
    let idempotency = idempotency_key(&headers, &path, body.value())?;
    let reversal = operate::retry(&starting, &caller, &id, Retrying::Reverse, reason, idempotency).await?;
    let status_url = format!("/api/v1/workflows/{}/status", reversal.id);
    let answer = ReverseResponse {
        workflow_id: id,
        new_workflow_id: reversal.id,
        reversed: true,
        reversed_at: reversal.started_at,
        message: "Accepted: a new execution takes back what was migrated.".to_owned(),
        status_url: status_url.clone(),
    };
    Ok(accepted(Json(answer), &status_url))
}
