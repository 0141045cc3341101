//! `GET /api/v1/coordination/backups/{backup_id}`

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::is_plain_id;
use contracts::responses::BackupEntry;

use crate::access::Caller;
use crate::list_backups::entry;
use crate::{KeptBackups, Problem};

/// The route.
pub fn route() -> Router<KeptBackups> {
    Router::new().route("/api/v1/coordination/backups/{backup_id}", get(handle))
}

async fn handle(
    State(kept): State<KeptBackups>,
    caller: Caller,
    Path(backup_id): Path<String>,
) -> Result<Json<BackupEntry>, Problem> {
    if !is_plain_id(&backup_id) {
        return Err(none());
    }
    let found = kept.backups.backup(&caller.tenant_id, &backup_id).await?;
    found.map(entry).map(Json).ok_or_else(none)
}

/// A missing backup and one of another tenant answer the same.
pub(crate) fn none() -> Problem {
    Problem::not_found("There is no such backup.").denying()
}
