//! `GET /api/v1/coordination/backups/{backup_id}`

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::Timestamp;
use contracts::compliance::ERASURE_BACKUP;
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
    match kept.backups.backup(&caller.tenant_id, &backup_id).await? {
        Some(found) => Ok(Json(entry(found))),
        None => Err(missing(&kept, &caller, &backup_id).await?),
    }
}

/// Of a backup that an erasure has made it is known that there was one, and when it went.
async fn missing(kept: &KeptBackups, caller: &Caller, backup_id: &str) -> Result<Problem, Problem> {
    let Some(compliance_id) = backup_id.strip_prefix(ERASURE_BACKUP) else { return Ok(none()) };
    let erasure = kept.erasures.erasure(&caller.tenant_id, compliance_id).await?;
    let is_over = |until: &Timestamp| *until <= kept.api.clock.now();
    Ok(erasure.and_then(|erasure| erasure.backup_until).filter(is_over).map_or_else(none, |until| {
        Problem::gone(format!("The backup of the erasure {compliance_id} was kept until {until}: it is destroyed."))
    }))
}

/// A missing backup and one of another tenant answer the same.
pub(crate) fn none() -> Problem {
    Problem::not_found("There is no such backup.").denying()
}
