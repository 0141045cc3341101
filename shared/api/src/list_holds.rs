//! `GET /api/v1/compliance/holds`

use axum::extract::{Query as QueryString, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::Timestamp;
use contracts::holds::{Hold, HoldState};
use contracts::ids::{SUBJECT, is_subject};
use contracts::responses::{HoldEntry, HoldsResponse, MAX_NAMED_HOLDS};
use store::{HoldFilter, StoreError};

use crate::access::Caller;
use crate::page::{self, Query};
use crate::{Compliance, Problem};

/// The route.
pub fn route() -> Router<Compliance> {
    Router::new().route("/api/v1/compliance/holds", get(handle))
}

async fn handle(
    State(compliance): State<Compliance>,
    caller: Caller,
    QueryString(parameters): QueryString<Vec<(String, String)>>,
) -> Result<Json<HoldsResponse>, Problem> {
    let mut query = Query::new(parameters);
    let page_size = query.page_size();
    let states = format!("one of {}", HoldState::ALL.map(HoldState::as_str).join(", "));
    let filter = HoldFilter {
        state: query.get("state", |name| name.parse().ok(), &states),
        subject_user_id: query.get("subject_user_id", |id| is_subject(id).then(|| id.to_owned()), SUBJECT),
    };
    let scope = format!("{} holds {filter:?}", caller.tenant_id);
    let before = query.cursor(&scope);
    query.finish()?;

    let now = compliance.api.clock.now();
    let found = compliance.holds.holds(&caller.tenant_id, &filter, now, before.as_deref(), page_size).await?;
    Ok(Json(HoldsResponse {
        holds: found.holds.into_iter().map(|hold| entry(hold, now)).collect(),
        page_size,
        next_page_token: found.next.map(|next| page::token(&next, &scope)),
    }))
}

/// A hold as it is answered.
pub(crate) fn entry(hold: Hold, now: Timestamp) -> HoldEntry {
    HoldEntry { state: hold.state(now), hold }
}

/// The other holds of the tenant that hold now and may hold some of the same data: the first names, and how many there are.
pub(crate) async fn overlapping(
    compliance: &Compliance,
    hold: &Hold,
    now: Timestamp,
) -> Result<(Vec<String>, usize), StoreError> {
    let active = compliance.holds.active(&hold.tenant_id, now).await?;
    let others = active.into_iter().filter(|other| other.hold_id != hold.hold_id);
    let overlapping = others.filter(|other| hold.overlaps(other, &compliance.dataset));
    let mut names: Vec<String> = overlapping.map(|other| other.hold_id).collect();
    let count = names.len();
    names.truncate(MAX_NAMED_HOLDS);
    Ok((names, count))
}
