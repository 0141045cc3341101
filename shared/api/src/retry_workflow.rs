//! `POST /api/v1/workflows/{workflow_id}/retry`

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use contracts::WorkflowKind;
use contracts::document::Document;
use contracts::limits::MAX_REASON_CHARS;
use contracts::responses::RetryResponse;

use crate::access::Caller;
use crate::operate::Retrying;
use crate::start::idempotency_key;
use crate::{Problem, Starting, body, operate};

/// The route.
pub fn route() -> Router<Starting> {
    Router::new().route("/api/v1/workflows/{workflow_id}/retry", post(handle))
}

async fn handle(
    State(starting): State<Starting>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::optional_json(&headers, body).await?.unwrap_or_default();
    let (how, reason) = read(&body)?;
    let path = format!("/api/v1/workflows/{id}/retry");
    let idempotency = idempotency_key(&headers, &path, body.value())?;
    let retry = operate::retry(&starting, &caller, &id, how, reason, idempotency).await?;
    let status_url = format!("/api/v1/workflows/{}/status", retry.id);
    let message = match how {
        Retrying::Undo => "Accepted: a new execution undoes what may still stand.",
        Retrying::OnlyFailed => "Accepted: a new execution tries again what failed.",
        _ if retry.kind == WorkflowKind::BulkOperation => {
            "Accepted: a new execution tries what failed and what was not tried."
        }
        Retrying::Everything | Retrying::Reverse => {
            "Accepted: a new execution does again what was undone, and goes on from what still stands."
        }
    };
    let answer = RetryResponse {
        workflow_id: id,
        new_workflow_id: retry.id,
        retried: true,
        retried_at: retry.started_at,
        message: message.to_owned(),
        status_url: status_url.clone(),
    };
    Ok(accepted(Json(answer), &status_url))
}

/// The answer that a new execution was accepted, with where to ask for its status.
pub(crate) fn accepted(answer: impl IntoResponse, status_url: &str) -> Response {
    let mut response = (StatusCode::ACCEPTED, answer).into_response();
    if let Ok(url) = HeaderValue::from_str(status_url) {
        response.headers_mut().insert(header::LOCATION, url.clone());
        response.headers_mut().insert(HeaderName::from_static("operation-location"), url);
    }
    response
}

/// What the retry is to do, and why it is asked for.
fn read(body: &Document) -> Result<(Retrying, Option<String>), Problem> {
    let mut fields = body.fields();
    let undoes = fields.flag("undo");
    let only = fields.is_given("only").then(|| fields.one_of("only", &["failed"], |name| name)).flatten();
    if undoes && only.is_some() {
        fields.bad("only", "must not come with undo");
    }
    let how = match (undoes, only) {
        (true, _) => Retrying::Undo,
        (false, Some(_)) => Retrying::OnlyFailed,
        (false, None) => Retrying::Everything,
    };
    let reason = fields.optional_remark("reason", MAX_REASON_CHARS).map(str::to_owned);
    fields.finish().map_err(Problem::invalid)?;
    Ok((how, reason))
}
