//! Discards what a backup has written that was not completed.

use contracts::ActivityError;
use serde_json::{Value, json};
use store::remove_backup;

use super::{Plan, files};
use crate::Context;
use crate::harness::store_failed;

/// Removes whatever is there of it.
pub(crate) async fn discard(context: &Context<'_>) -> Result<Value, ActivityError> {
    let plan: Option<Plan> = files(context).plan_if_written().await?;
    let Some(plan) = plan.filter(|plan| plan.is_wanted) else { return Ok(json!({ "removed": false })) };
    remove_backup(context.backups, context.blobs, context.tenant_id(), &plan.backup_id).await.map_err(store_failed)?;
    Ok(json!({ "removed": true }))
}
