//! Drills: a backup is restored into a tenant that nobody has, compared, and removed again.

use contracts::backup::Drill;
use contracts::effect::sha256_hex;
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{PageOf, page};
use serde_json::{Value, json};

use super::{Plan, files, is_same_type, undo};
use crate::Context;
use crate::backup::FILE_CONTENT;
use crate::files::lost;
use crate::harness::store_failed;

/// The tenant of a drill: nobody has one of this name.
pub(super) fn tenant_of(context: &Context<'_>) -> String {
    format!("drill-{}", &sha256_hex(context.execution_id().as_bytes())[..32])
}

/// Notes that all of the backup came back, and how long that took since the drill was asked for.
pub(super) async fn passed(context: &Context<'_>, plan: &Plan) -> Result<u64, ActivityError> {
    let took = context.clock.now().duration_since(context.call.workflow.started_at);
    let seconds = u64::try_from(took.as_secs()).unwrap_or_default();
    note(context, &plan.tenant_id, &plan.backup_id, None, Some(seconds)).await?;
    Ok(seconds)
}

/// Notes that it did not. What says nothing of the backup is not noted.
pub(super) async fn failed(
    context: &Context<'_>,
    tenant_id: &str,
    backup_id: &str,
    error: &str,
) -> Result<(), ActivityError> {
    let says_nothing = [ErrorName::WorkflowCancelled, ErrorName::WorkflowTimedOut, ErrorName::Conflict];
    match says_nothing.iter().any(|name| name.as_str() == error) {
        true => Ok(()),
        false => note(context, tenant_id, backup_id, Some(error), None).await,
    }
}

/// Notes what became of an interrupted restore, if it was a drill.
pub(super) async fn interrupted(context: &Context<'_>, error: &str) -> Result<(), ActivityError> {
    let plan: Option<Plan> = files(context).plan_if_written().await?;
    match plan.filter(|plan| plan.is_drill) {
        Some(plan) => failed(context, &plan.tenant_id, &plan.backup_id, error).await,
        None => Ok(()),
    }
}

async fn note(
    context: &Context<'_>,
    tenant_id: &str,
    backup_id: &str,
    error: Option<&str>,
    recovery_seconds: Option<u64>,
) -> Result<(), ActivityError> {
    let drill = Drill {
        workflow_id: context.execution_id().to_owned(),
        at: context.clock.now(),
        passed: error.is_none(),
        error: error.map(str::to_owned),
        recovery_seconds,
    };
    context.backups.note_drill(tenant_id, backup_id, &drill).await.map_err(store_failed)
}

/// Removes what a drill wrote, and looks whether anything is left.
pub(crate) async fn end(context: &Context<'_>) -> Result<Value, ActivityError> {
    let plan: Plan = files(context).read_plan().await?;
    let state = undo::undo_all(context, &plan).await?;
    if let Some(left) = state.left.first() {
        let message = format!("somebody has changed {left} of the drill's tenant {}", plan.target.tenant_id);
        return Err(ActivityError::new(ErrorName::Conflict, message));
    }
    for parts in plan.parts.chunk_by(is_same_type).filter(|parts| parts[0].entity_type != FILE_CONTENT) {
        let service = Service::named(&parts[0].service).ok_or_else(|| lost("the service of a part"))?;
        let entity_type = &parts[0].entity_type;
        let first = page(context.downstream, service, entity_type, &plan.target.tenant_id, PageOf::default()).await?;
        if !first.items.is_empty() {
            let message = format!("{}: the {entity_type} of the drill's tenant was not removed", service.as_str());
            return Err(ActivityError::new(ErrorName::IntegrityViolation, message));
        }
    }
    Ok(json!({ "removed": state.undone }))
}
