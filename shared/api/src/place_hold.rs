//! `POST /api/v1/compliance/holds`: from now on this data must not be erased.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use contracts::audit::AuditAction;
use contracts::holds::NewHold;
use contracts::responses::PlaceHoldResponse;
use store::{MAX_ACTIVE_HOLDS, Placed};

use crate::access::Caller;
use crate::list_holds::{entry, overlapping};
use crate::{Compliance, Problem, body};

/// The route.
pub fn route() -> Router<Compliance> {
    Router::new().route("/api/v1/compliance/holds", post(handle))
}

async fn handle(
    State(compliance): State<Compliance>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::json(&headers, body).await?;
    let now = compliance.api.clock.now();
    let mut fields = body.fields();
    let hold = NewHold::read(&mut fields, &compliance.dataset, now);
    fields.finish().map_err(Problem::invalid)?;
    let hold = hold.placed(caller.tenant_id.clone(), caller.known().actor, now);
    let row = caller.hold_row(AuditAction::PlaceHold, &hold.hold_id, &hold.reason, now);
    let (status, hold) = match compliance.holds.place(&hold, row).await? {
        Placed::New => (StatusCode::CREATED, hold),
        Placed::Before(hold) => (StatusCode::OK, *hold),
        Placed::Taken => return Err(Problem::taken(format!("There is another hold called {}.", hold.hold_id))),
        Placed::Full => {
            let detail = format!("The tenant has {MAX_ACTIVE_HOLDS} active holds, which is the most: release some.");
            return Err(Problem::not_now(detail));
        }
    };
    let (overlaps, overlap_count) = overlapping(&compliance, &hold, now).await?;
    let location = [(header::LOCATION, format!("/api/v1/compliance/holds/{}", hold.hold_id))];
    let answer = PlaceHoldResponse { hold: entry(hold, now), overlaps, overlap_count };
    Ok((status, location, Json(answer)).into_response())
}
