//! `DELETE /api/v1/compliance/holds/{hold_id}`: the hold holds no more. It is still known, with how it was released.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::delete;
use axum::{Json, Router};
use contracts::audit::AuditAction;
use contracts::holds::Release;
use contracts::ids::is_plain_id;
use contracts::responses::ReleaseHoldResponse;
use store::Released;

use crate::access::Caller;
use crate::get_hold::{PATH, none};
use crate::list_holds::{entry, overlapping};
use crate::{Compliance, Problem, body};

/// The route.
pub fn route() -> Router<Compliance> {
    Router::new().route(PATH, delete(handle))
}

async fn handle(
    State(compliance): State<Compliance>,
    caller: Caller,
    Path(hold_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReleaseHoldResponse>, Problem> {
    let reason = body::required_reason(&headers, body).await?;
    if !is_plain_id(&hold_id) {
        return Err(none());
    }
    let now = compliance.api.clock.now();
    let row = caller.hold_row(AuditAction::ReleaseHold, &hold_id, &reason, now);
    let release = Release { at: now, by: caller.known().actor, reason };
    let hold = match compliance.holds.release(&hold_id, &release, row).await? {
        // What was not erased because of this hold may be erased from here on.
        Released::Now(hold) | Released::Before(hold) => hold,
        Released::Expired(hold) => {
            let until = hold.until.unwrap_or(now);
            let detail =
                format!("The hold {hold_id} has expired: it held before {until}. There is nothing to release.");
            return Err(Problem::not_now(detail));
        }
        Released::Missing => return Err(none()),
    };
    let (still_held_by, still_held_count) = overlapping(&compliance, &hold, now).await?;
    Ok(Json(ReleaseHoldResponse { hold: entry(hold, now), still_held_by, still_held_count }))
}
