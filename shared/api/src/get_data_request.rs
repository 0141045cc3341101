//! `GET /api/v1/compliance/requests/{compliance_id}`

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::is_plain_id;
use contracts::responses::DataRequestEntry;

use crate::access::Caller;
use crate::list_data_requests::entry;
use crate::{Compliance, Problem};

/// The route.
pub fn route() -> Router<Compliance> {
    Router::new().route("/api/v1/compliance/requests/{compliance_id}", get(handle))
}

async fn handle(
    State(compliance): State<Compliance>,
    caller: Caller,
    Path(compliance_id): Path<String>,
) -> Result<Json<DataRequestEntry>, Problem> {
    read(&compliance, &caller, &compliance_id).await.map(Json)
}

/// The request as it is now.
pub(crate) async fn read(
    compliance: &Compliance,
    caller: &Caller,
    compliance_id: &str,
) -> Result<DataRequestEntry, Problem> {
    if !is_plain_id(compliance_id) {
        return Err(none());
    }
    let found = compliance.requests.request(&caller.tenant_id, compliance_id).await?;
    found.map(|known| entry(known, compliance.api.clock.now())).ok_or_else(none)
}

/// A missing request and one of another tenant answer the same.
pub(crate) fn none() -> Problem {
    Problem::not_found("There is no such request.").denying()
}
