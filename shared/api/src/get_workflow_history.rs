//! `GET /api/v1/workflows/history`

use std::collections::HashMap;

use axum::extract::{Query as QueryString, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::responses::{HistoryEvent, HistoryResponse};

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
    QueryString(parameters): QueryString<HashMap<String, String>>,
) -> Result<Json<HistoryResponse>, Problem> {
    let mut query = Query::new(parameters);
    let id = query.get("workflow_id", |id| Some(id.to_owned()), "an id");
    let page_size = query.page_size();
    let scope = format!("{} history {id:?}", caller.tenant_id);
    let cursor = query.cursor(&scope);
    query.finish()?;

    let found = match &id {
        Some(id) => {
            let events = api.history.events(&caller.tenant_id, id, cursor.as_deref(), page_size).await?;
            events.ok_or_else(|| Problem::no_workflow(id))?
        }
        None => api.history.tenant_events(&caller.tenant_id, cursor.as_deref(), page_size).await?,
    };
    let events = found.rows.into_iter().map(|row| HistoryEvent { event: row.event, workflow_id: row.execution_id });
    Ok(Json(HistoryResponse {
        workflow_id: id.unwrap_or_else(|| "unknown".to_owned()),
        events: events.collect(),
        total_events: found.total,
        next_page_token: found.next.map(|next| page::token(&next, &scope)),
    }))
}
