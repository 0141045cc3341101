//! `GET /api/v1/workflows/history`

use axum::extract::{Query as QueryString, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::EventType;
use contracts::responses::{HistoryEvent, HistoryResponse};
use store::HistoryRow;

use crate::access::Caller;
use crate::page::{self, Query};
use crate::{Api, Problem};

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows/history", get(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    QueryString(parameters): QueryString<Vec<(String, String)>>,
) -> Result<Json<HistoryResponse>, Problem> {
    let mut query = Query::new(parameters);
    let id = query.get("workflow_id", |id| Some(id.to_owned()), "the id of a workflow");
    let page_size = query.page_size();
    let types = types(&mut query);
    let scope = format!("{} history {id:?} {types:?}", caller.tenant_id);
    let cursor = query.cursor(&scope);
    query.finish()?;

    let found = match &id {
        Some(id) => {
            let events = api.history.events(&caller.tenant_id, id, &types, cursor.as_deref(), page_size).await?;
            events.ok_or_else(|| Problem::no_workflow(id))?
        }
        None => api.history.tenant_events(&caller.tenant_id, &types, cursor.as_deref(), page_size).await?,
    };
    Ok(Json(HistoryResponse {
        workflow_id: id.unwrap_or_else(|| "unknown".to_owned()),
        events: found.rows.into_iter().map(event).collect(),
        total_events: found.total,
        total_is_exact: found.total_is_exact,
        next_page_token: found.next.map(|next| page::token(&next, &scope)),
    }))
}

/// The types asked for, in the order of their list, so that a page token fits however they were asked for.
fn types(query: &mut Query) -> Vec<EventType> {
    let expected = format!("one of {}", EventType::ALL.map(EventType::as_str).join(", "));
    let wanted = query.list("event_type", |name| name.parse().ok(), &expected);
    EventType::ALL.into_iter().filter(|kind| wanted.contains(kind)).collect()
}

/// An event as it is shown.
pub(crate) fn event(row: HistoryRow) -> HistoryEvent {
    HistoryEvent { event: row.event, workflow_id: row.execution_id }
}
