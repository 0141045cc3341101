//! Writes an erasure down, before the first thing goes.

use std::collections::BTreeSet;

use contracts::{ActivityError, ErrorName};
use serde_json::{Value, json};
use store::Erasure;

use super::{Plan, files};
use crate::Context;
use crate::harness::store_failed;

/// Begins an erasure: answers `{}`.
pub(crate) async fn begin(context: &Context<'_>) -> Result<Value, ActivityError> {
    let plan: Plan = files(context).read_plan().await?;
    let tenant_id = context.tenant_id();
    let backup = context.backups.backup(tenant_id, &plan.backup_id).await.map_err(store_failed)?;
    let earlier = context.erasures.erasure(tenant_id, &plan.compliance_id).await.map_err(store_failed)?;
    if earlier.as_ref().is_some_and(|earlier| earlier.subject != plan.subject_hash) {
        let message = format!("{} is the erasure of another person: choose another compliance_id", plan.compliance_id);
        return Err(ActivityError::new(ErrorName::Conflict, message));
    }
    let erasure = Erasure {
        tenant_id: tenant_id.to_owned(),
        subject: plan.subject_hash.clone(),
        execution_id: context.execution_id().to_owned(),
        backup_until: backup.as_ref().and_then(|backup| backup.keep_until),
        backup_id: backup.map(|_| plan.backup_id.clone()),
        // Whatever an earlier execution of it has begun counts from there.
        began_at: earlier.map_or_else(|| context.clock.now(), |earlier| earlier.began_at),
        compliance_id: plan.compliance_id,
        ended_at: None,
        is_complete: false,
        held_by: BTreeSet::new(),
        held_marks: BTreeSet::new(),
        kept_request: None,
    };
    context.erasures.note_erasure(&erasure).await.map_err(store_failed)?;
    Ok(json!({}))
}
