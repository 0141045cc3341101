//! `DELETE /api/v1/compliance/holds/{hold_id}`: the hold holds no more. It is still known, with how it was released. What was not
//! erased because of it is erased from then on.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::delete;
use axum::{Json, Router};
use contracts::audit::AuditAction;
use contracts::compliance::{ComplianceWorkflowRequest, MAX_COMPLIANCE_ID_CHARS};
use contracts::effect::sha256_hex;
use contracts::holds::Release;
use contracts::ids::is_plain_id;
use contracts::responses::ReleaseHoldResponse;
use serde_json::json;
use store::{Erasure, Released};

use crate::access::Caller;
use crate::get_hold::none;
use crate::list_holds::{entry, overlapping};
use crate::{Problem, Releasing, body, start, start_compliance};

/// The route.
pub fn route() -> Router<Releasing> {
    Router::new().route("/api/v1/compliance/holds/{hold_id}", delete(handle))
}

async fn handle(
    State(releasing): State<Releasing>,
    caller: Caller,
    Path(hold_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReleaseHoldResponse>, Problem> {
    let reason = body::required_reason(&headers, body).await?;
    if !is_plain_id(&hold_id) {
        return Err(none());
    }
    let compliance = &releasing.compliance;
    let now = compliance.api.clock.now();
    let row = caller.hold_row(AuditAction::ReleaseHold, &hold_id, &reason, now);
    let release = Release { at: now, by: caller.known().actor, reason };
    let hold = match compliance.holds.release(&hold_id, &release, row).await? {
        Released::Now(hold) | Released::Before(hold) => hold,
        Released::Expired(hold) => {
            let until = hold.until.unwrap_or(now);
            let detail =
                format!("The hold {hold_id} has expired: it held before {until}. There is nothing to release.");
            return Err(Problem::not_now(detail));
        }
        Released::Missing => return Err(none()),
    };
    let (still_held_by, still_held_count) = overlapping(compliance, &hold, now).await?;
    // A client that gets an error repeats the release: what was begun stays begun.
    let deferred = erase_what_was_kept(&releasing, &caller, &hold_id).await?;
    Ok(Json(ReleaseHoldResponse { hold: entry(hold, now), still_held_by, still_held_count, deferred }))
}

/// Erasures that are read at once.
const PAGE: u32 = 200;

/// Begins the erasure of what earlier ones kept because of the hold, each once: the executions.
async fn erase_what_was_kept(releasing: &Releasing, caller: &Caller, hold_id: &str) -> Result<Vec<String>, Problem> {
    let (tenant_id, mut begun, mut after) = (&caller.tenant_id, Vec::new(), None::<String>);
    loop {
        let page = releasing.starting.erasures.erasures(tenant_id, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(begun) };
        after = Some(last.compliance_id.clone());
        for erasure in page.iter().filter(|erasure| erasure.held_by.contains(hold_id)) {
            begun.extend(go_on(releasing, caller, erasure, hold_id).await?);
        }
    }
}

/// Goes on with an erasure: by another one, whose name begins like its own.
async fn go_on(
    releasing: &Releasing,
    caller: &Caller,
    erasure: &Erasure,
    hold_id: &str,
) -> Result<Option<String>, Problem> {
    // None once a later erasure of the person has gone through.
    let Some(request) = erasure.kept_request.clone() else { return Ok(None) };
    let mut request: ComplianceWorkflowRequest = serde_json::from_value(request).map_err(|_| Problem::internal())?;
    request.compliance_id = linked_id(&erasure.compliance_id, hold_id);
    request.received_at = None;
    let only = json!({ "compliance_id": request.compliance_id });
    let key = start::key_of_own_id(start_compliance::PATH, "compliance_id", &request.compliance_id, &only);
    let record = start::begin(&releasing.starting, &request, caller.clone(), Some(key)).await?;
    Ok(Some(record.id))
}

/// What the erasure of the rest is called: it begins with the first one's name as far as there is room.
fn linked_id(compliance_id: &str, hold_id: &str) -> String {
    let mark = sha256_hex(format!("{compliance_id}\n{hold_id}").as_bytes());
    let first: String = compliance_id.chars().take(MAX_COMPLIANCE_ID_CHARS - 10).collect();
    format!("{first}-{}", &mark[..9])
}
