//! `GET /api/v1/compliance/holds/{hold_id}`

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::is_plain_id;
use contracts::responses::HoldEntry;

use crate::access::Caller;
use crate::list_holds::entry;
use crate::{Compliance, Problem};

/// The route.
pub fn route() -> Router<Compliance> {
    Router::new().route("/api/v1/compliance/holds/{hold_id}", get(handle))
}

async fn handle(
    State(compliance): State<Compliance>,
    caller: Caller,
    Path(hold_id): Path<String>,
) -> Result<Json<HoldEntry>, Problem> {
    if !is_plain_id(&hold_id) {
        return Err(none());
    }
    let found = compliance.holds.hold(&caller.tenant_id, &hold_id).await?;
    found.map(|hold| entry(hold, compliance.api.clock.now())).map(Json).ok_or_else(none)
}

/// A missing hold and one of another tenant answer the same.
pub(crate) fn none() -> Problem {
    Problem::not_found("There is no such hold.").denying()
}
