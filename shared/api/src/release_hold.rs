//! `DELETE /api/v1/compliance/holds/{hold_id}`: the hold holds no more. It is still known, with how it was released. What was not
//! erased because of it is erased from then on.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::delete;
use axum::{Json, Router};
use contracts::audit::AuditAction;
use contracts::compliance::{ComplianceWorkflowRequest, MAX_COMPLIANCE_ID_CHARS};
use contracts::effect::sha256_hex;
use contracts::holds::Release;
use contracts::ids::is_plain_id;
use contracts::responses::ReleaseHoldResponse;
use serde_json::json;
use store::Released;

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
    let (tenant_id, mut kept, mut after) = (&caller.tenant_id, BTreeMap::<String, Kept>::new(), None::<String>);
    loop {
        let page = releasing.starting.erasures.erasures(tenant_id, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.compliance_id.clone());
        for erasure in page.into_iter().filter(|erasure| erasure.held_by.contains(hold_id)) {
            // None once a later erasure of the person has gone through.
            let Some(request) = erasure.kept_request else { continue };
            let request: ComplianceWorkflowRequest =
                serde_json::from_value(request).map_err(|_| Problem::internal())?;
            // Two at once would be in each other's way: one does what all of them left.
            match kept.entry(erasure.subject) {
                Entry::Vacant(vacant) => drop(vacant.insert(Kept { compliance_id: erasure.compliance_id, request })),
                Entry::Occupied(mut first) => first.get_mut().request.data_categories.extend(request.data_categories),
            }
        }
    }
    let mut begun = Vec::new();
    for kept in kept.into_values() {
        begun.push(go_on(releasing, caller, kept, hold_id).await?);
    }
    Ok(begun)
}

/// What is to be done for a person, and the erasure that it goes on with.
struct Kept {
    compliance_id: String,
    request: ComplianceWorkflowRequest,
}

/// Goes on with an erasure: by another one, whose name begins like its own.
async fn go_on(releasing: &Releasing, caller: &Caller, kept: Kept, hold_id: &str) -> Result<String, Problem> {
    let Kept { compliance_id, mut request } = kept;
    request.compliance_id = linked_id(&compliance_id, hold_id);
    request.received_at = None;
    // Of several persons one goes first.
    request.waits_for_others = true;
    request.data_categories.sort_unstable();
    request.data_categories.dedup();
    let only = json!({ "compliance_id": request.compliance_id });
    let key = start::key_of_own_id(start_compliance::PATH, "compliance_id", &request.compliance_id, &only);
    match start::begin(&releasing.starting, &request, caller.clone(), Some(key)).await {
        Ok(record) => Ok(record.id),
        // It was begun long ago: its execution is archived, and its key gone.
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            problem.workflow_id().map(str::to_owned).ok_or(problem)
        }
        Err(problem) => Err(problem),
    }
}

/// What the erasure of the rest is called: it begins with the first one's name as far as there is room.
fn linked_id(compliance_id: &str, hold_id: &str) -> String {
    let mark = sha256_hex(format!("{compliance_id}\n{hold_id}").as_bytes());
    let first: String = compliance_id.chars().take(MAX_COMPLIANCE_ID_CHARS - 10).collect();
    format!("{first}-{}", &mark[..9])
}
