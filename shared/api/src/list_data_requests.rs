//! `GET /api/v1/compliance/requests`

use axum::extract::{Query as QueryString, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::Timestamp;
use contracts::data_requests::{Extension, RequestEnd, RequestState};
use contracts::responses::{DataRequestEntry, DataRequestsResponse};
use store::{KnownRequest, RequestFilter};

use crate::access::Caller;
use crate::list_workflows::MOMENT;
use crate::page::{self, Query};
use crate::{Compliance, Problem};

/// The route.
pub fn route() -> Router<Compliance> {
    Router::new().route("/api/v1/compliance/requests", get(handle))
}

async fn handle(
    State(compliance): State<Compliance>,
    caller: Caller,
    QueryString(parameters): QueryString<Vec<(String, String)>>,
) -> Result<Json<DataRequestsResponse>, Problem> {
    let mut query = Query::new(parameters);
    let page_size = query.page_size();
    let states = format!("one of {}", RequestState::ALL.map(RequestState::as_str).join(", "));
    let filter = RequestFilter {
        state: query.get("state", |name| name.parse().ok(), &states),
        due_before: query.get("due_before", |text| text.parse().ok(), &format!("{MOMENT}, with + as %2B")),
    };
    let scope = format!("{} requests {filter:?}", caller.tenant_id);
    let after = query.cursor(&scope);
    query.finish()?;

    let now = compliance.api.clock.now();
    let found = compliance.requests.requests(&caller.tenant_id, &filter, now, after.as_deref(), page_size).await?;
    Ok(Json(DataRequestsResponse {
        requests: found.requests.into_iter().map(|known| entry(known, now)).collect(),
        page_size,
        next_page_token: found.next.map(|next| page::token(&next, &scope)),
    }))
}

/// A request as it is answered.
pub(crate) fn entry(KnownRequest { request, subject_user_id }: KnownRequest, now: Timestamp) -> DataRequestEntry {
    let (state, days_left) = (request.state(now), request.days_left(now));
    let (extended_until, extension_reason) =
        request.extension.map(|Extension { until, reason, .. }| (until, reason)).unzip();
    let completed_at = request.ended.filter(|end| end.state() == RequestState::Completed);
    DataRequestEntry {
        compliance_id: request.compliance_id,
        compliance_type: request.compliance_type,
        workflow_id: request.workflow_id,
        subject_user_id,
        state,
        received_at: request.received_at,
        due_at: request.due_at,
        extended_until,
        extension_reason,
        completed_at: completed_at.map(|RequestEnd { at, .. }| at),
        days_left,
    }
}
