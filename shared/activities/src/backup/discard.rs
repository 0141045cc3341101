//! Discards what a backup has written that was not completed.

use contracts::{ActivityError, ErrorName};
use serde_json::{Value, json};
use vault::MANIFEST_FILE;

use super::{Plan, SetState, changed_part_name_of, part_name_of, place};
use crate::Context;
use crate::files::Files;
use crate::harness::store_failed;

/// Removes the parts: without a manifest they are no backup.
pub(crate) async fn discard(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files: Files<'_> = context.files();
    let plan: Plan = match files.read_plan().await {
        // It was not even planned.
        Err(error) if error.error == ErrorName::IntegrityViolation.as_str() => return Ok(json!({ "removed": 0 })),
        plan => plan?,
    };
    let tenant_id = context.tenant_id();
    let mut blobs = vec![place(tenant_id, &plan.backup_id, MANIFEST_FILE)?];
    for (number, set) in plan.sets.iter().enumerate() {
        let state: SetState = files.read(&files.state(number as u64)?).await?.unwrap_or_default();
        // One more than is noted may have been written.
        for part in 1..=state.parts.len() + 1 {
            for name in [part_name_of(set, part), changed_part_name_of(set, part)] {
                blobs.push(place(tenant_id, &plan.backup_id, &name)?);
            }
        }
    }
    context.blobs.remove(&blobs).await.map_err(store_failed)?;
    Ok(json!({ "removed": blobs.len() }))
}
