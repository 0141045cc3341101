//! `GET /api/v1/audit`

use axum::extract::{Query as QueryString, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::audit::{AuditAction, AuditOutcome};
use contracts::ids::{PLAIN_ID, SUBJECT, is_plain_id, is_subject};
use contracts::responses::{AuditEntry, AuditResponse};
use store::{AuditFilter, AuditRow};

use crate::access::Caller;
use crate::page::{self, Query};
use crate::{Api, Problem};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/audit", get(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    QueryString(parameters): QueryString<Vec<(String, String)>>,
) -> Result<Json<AuditResponse>, Problem> {
    let mut query = Query::new(parameters);
    let page_size = query.page_size();
    let filter = filter(&mut query);
    let scope = format!("{} audit {filter:?}", caller.tenant_id);
    let before = query.cursor(&scope);
    query.finish()?;

    let found = api.audit.rows(&caller.tenant_id, &filter, before.as_deref(), page_size).await?;
    Ok(Json(AuditResponse {
        entries: found.rows.into_iter().map(entry).collect(),
        page_size,
        next_page_token: found.next.map(|next| page::token(&next, &scope)),
    }))
}

fn filter(query: &mut Query) -> AuditFilter {
    let one_of = |names: &[&str]| format!("one of {}", names.join(", "));
    let actions = one_of(&AuditAction::ALL.map(AuditAction::as_str));
    let outcomes = one_of(&AuditOutcome::ALL.map(AuditOutcome::as_str));
    let moment = "a moment such as 2026-01-31T12:00:00Z";
    let filter = AuditFilter {
        action: query.get("action", |name| name.parse().ok(), &actions),
        outcome: query.get("outcome", |name| name.parse().ok(), &outcomes),
        actor: query.get("user_id", |id| is_subject(id).then(|| id.to_owned()), SUBJECT),
        workflow_id: query.get("workflow_id", |id| is_plain_id(id).then(|| id.to_owned()), PLAIN_ID),
        from: query.get("from", |text| text.parse().ok(), moment),
        to: query.get("to", |text| text.parse().ok(), moment),
    };
    if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
        query.bad("to", "must be after from");
    }
    filter
}

fn entry(AuditRow { id, row }: AuditRow) -> AuditEntry {
    AuditEntry {
        entry_id: id,
        timestamp: row.at,
        tenant_id: row.tenant_id,
        actor: row.actor,
        is_admin: row.is_admin,
        action: row.action,
        outcome: row.outcome,
        workflow_id: row.workflow_id,
        workflow_type: row.workflow_kind,
        request_id: row.request_id,
        reason: row.reason,
        details: row.details,
    }
}
