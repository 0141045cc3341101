//! `GET /api/v1/workflows`

use std::collections::HashMap;

use axum::extract::{Query as QueryString, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::limits::MAX_PAGED_ROWS;
use contracts::responses::{ListResponse, WorkflowSummary};
use contracts::{Status, WorkflowKind};
use store::{ExecutionRecord, ListFilter};

use crate::access::Caller;
use crate::page::{self, Query};
use crate::{Api, Problem};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows", get(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    QueryString(parameters): QueryString<HashMap<String, String>>,
) -> Result<Json<ListResponse>, Problem> {
    let mut query = Query::new(parameters);
    let page_size = query.page_size();
    let page: u32 = query.get("page", |text| text.parse().ok().filter(|page| *page >= 1), "1 or more").unwrap_or(1);
    let statuses = query.get("status", statuses, &format!("one of {}", names(Status::ALL.map(Status::as_str))));
    let kinds = names(WorkflowKind::ALL.map(WorkflowKind::as_str));
    let kind = query.get("workflow_type", |name| name.parse().ok(), &format!("one of {kinds}"));
    let filter = ListFilter { statuses: statuses.unwrap_or_default(), kind };
    let scope = format!("{} {filter:?}", caller.tenant_id);
    let before = query.cursor(&scope);
    let skip = u64::from(page - 1) * u64::from(page_size);
    if before.is_none() && skip >= MAX_PAGED_ROWS {
        query.bad("page", format!("reaches {MAX_PAGED_ROWS} rows; go on with next_page_token from there"));
    }
    query.finish()?;

    // A token says where it goes on; `page` then only counts.
    let skip = if before.is_some() { 0 } else { skip };
    let found = api.executions.list(&caller.tenant_id, &filter, before.as_deref(), skip, page_size).await?;
    Ok(Json(ListResponse {
        workflows: found.executions.into_iter().map(summary).collect(),
        total_count: found.total,
        page,
        page_size,
        has_more: found.next.is_some(),
        next_page_token: found.next.map(|next| page::token(&next, &scope)),
    }))
}

/// A pending execution is reported as running, so it is found as running too.
fn statuses(name: &str) -> Option<Vec<Status>> {
    let status: Status = name.parse().ok()?;
    Some(if status == Status::Running { vec![Status::Pending, Status::Running] } else { vec![status] })
}

fn names<const N: usize>(names: [&str; N]) -> String {
    names.join(", ")
}

fn summary(record: ExecutionRecord) -> WorkflowSummary {
    WorkflowSummary {
        workflow_id: record.id,
        workflow_type: record.kind.to_string(),
        status: record.status.reported(),
        started_at: record.started_at,
        updated_at: record.updated_at,
        tenant_id: record.tenant_id,
        user_id: record.user_id,
    }
}
