//! `POST /api/v1/compliance/requests/{compliance_id}/extension`: more time for the answer, once (GDPR, article 12 (3)).

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use contracts::data_requests::{Extension, extended_due_at};
use contracts::ids::is_plain_id;
use contracts::responses::DataRequestEntry;
use store::Extended;

use crate::access::Caller;
use crate::get_data_request::{none, read};
use crate::{Compliance, Problem, body};

/// The route.
pub fn route() -> Router<Compliance> {
    Router::new().route("/api/v1/compliance/requests/{compliance_id}/extension", post(handle))
}

async fn handle(
    State(compliance): State<Compliance>,
    caller: Caller,
    Path(compliance_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DataRequestEntry>, Problem> {
    let reason = body::required_reason(&headers, body).await?;
    if !is_plain_id(&compliance_id) {
        return Err(none());
    }
    let now = compliance.api.clock.now();
    let found = compliance.requests.request(&caller.tenant_id, &compliance_id).await?.ok_or_else(none)?;
    let row = caller.extension_row(&compliance_id, &reason, now);
    let until = extended_due_at(found.request.received_at);
    let extension = Extension { until, reason, at: now, by: caller.known().actor };
    match compliance.requests.extend(&compliance_id, &extension, row).await? {
        Extended::Now | Extended::Before => read(&compliance, &caller, &compliance_id).await.map(Json),
        Extended::Missing => Err(none()),
        Extended::Again => Err(Problem::not_now(format!(
            "The request {compliance_id} was extended before, for another reason, and a request is extended once."
        ))),
        Extended::Over(_) if found.request.is_waited_for() => Err(Problem::not_now(format!(
            "The answer to the request {compliance_id} was due at {}: only before that it can be extended.",
            found.request.due()
        ))),
        Extended::Over(state) => Err(Problem::not_now(format!(
            "The request {compliance_id} is {state}: nobody waits for an answer any more."
        ))),
    }
}
