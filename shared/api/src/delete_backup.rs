//! `DELETE /api/v1/coordination/backups/{backup_id}`

use axum::extract::{Path, State};
use axum::routing::delete;
use axum::{Json, Router};
use contracts::ids::is_plain_id;
use contracts::responses::DeleteBackupResponse;
use store::{Removal, remove_backup};

use crate::access::Caller;
use crate::get_backup::none;
use crate::{KeptBackups, Problem, start};

/// The route.
pub fn route() -> Router<KeptBackups> {
    Router::new().route("/api/v1/coordination/backups/{backup_id}", delete(handle))
}

async fn handle(
    State(kept): State<KeptBackups>,
    caller: Caller,
    Path(backup_id): Path<String>,
) -> Result<Json<DeleteBackupResponse>, Problem> {
    if !is_plain_id(&backup_id) {
        return Err(none());
    }
    let now = kept.api.clock.now();
    match kept.backups.begin_removal(&backup_id, caller.backup_row(&backup_id, now)).await? {
        Removal::Begun => {}
        Removal::Missing => return Err(none()),
        Removal::InUse { by } => {
            let detail = format!("The backup {backup_id} is in use by {by}: delete it when that has ended.");
            return Err(Problem::conflict(&by, detail));
        }
    }
    let (api, id, tenant_id) = (kept.api.clone(), backup_id.clone(), caller.tenant_id.clone());
    // Also when the client hangs up. What is interrupted is due, and goes on with the next removal of what is due.
    let removed =
        start::to_the_end(&api, async move { Ok(remove_backup(&*kept.backups, &*kept.blobs, &tenant_id, &id).await?) });
    let is_removed = removed.await.is_ok();
    let message = match is_removed {
        true => "Its files are removed.",
        false => "It can be restored no more. Its files could not be removed now; that is tried again within an hour.",
    };
    Ok(Json(DeleteBackupResponse { backup_id, deleted: true, deleted_at: now, message: message.to_owned() }))
}
