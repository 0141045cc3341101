//! `GET /api/v1/coordination/backups/{backup_id}`

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::Timestamp;
use contracts::ids::is_plain_id;
use contracts::responses::BackupEntry;
use store::{Erasures, ended_backup};

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
    match kept.backups.backup(&caller.tenant_id, &backup_id).await? {
        Some(found) => Ok(Json(entry(found))),
        None => {
            let now = kept.api.clock.now();
            Err(destroyed(&*kept.erasures, &caller.tenant_id, &backup_id, now).await?.unwrap_or_else(none))
        }
    }
}

/// Of a backup that an erasure had made it is known that there was one, and when it went.
pub(crate) async fn destroyed(
    erasures: &dyn Erasures,
    tenant_id: &str,
    backup_id: &str,
    now: Timestamp,
) -> Result<Option<Problem>, Problem> {
    let until = ended_backup(erasures, tenant_id, backup_id, now).await?;
    Ok(until.map(|until| Problem::gone(format!("The backup {backup_id} was kept until {until}: it is destroyed."))))
}

/// A missing backup and one of another tenant answer the same.
pub(crate) fn none() -> Problem {
    Problem::not_found("There is no such backup.").denying()
}
