//! `GET /api/v1/coordination/backups`

use axum::extract::{Query as QueryString, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::responses::{BackupEntry, BackupsResponse};
use store::Backup;

use crate::access::Caller;
use crate::page::{self, Query};
use crate::{KeptBackups, Problem};

/// The route.
pub fn route() -> Router<KeptBackups> {
    Router::new().route("/api/v1/coordination/backups", get(handle))
}

async fn handle(
    State(kept): State<KeptBackups>,
    caller: Caller,
    QueryString(parameters): QueryString<Vec<(String, String)>>,
) -> Result<Json<BackupsResponse>, Problem> {
    let mut query = Query::new(parameters);
    let page_size = query.page_size();
    let scope = format!("{} backups", caller.tenant_id);
    let before = query.cursor(&scope);
    query.finish()?;

    let found = kept.backups.backups(&caller.tenant_id, before.as_deref(), page_size).await?;
    Ok(Json(BackupsResponse {
        backups: found.backups.into_iter().map(entry).collect(),
        page_size,
        next_page_token: found.next.map(|next| page::token(&next, &scope)),
    }))
}

/// A backup as it is answered.
pub(crate) fn entry(backup: Backup) -> BackupEntry {
    let Backup { tenant_id, summary, keep_until, removing_since, last_drill } = backup;
    BackupEntry { tenant_id, summary, keep_until, removing_since, last_drill }
}
