//! What an operator asks of a running execution.

use contracts::Timestamp;
use contracts::audit::AuditAction;
use store::{Control, Controlled, NewAuditRow};

use crate::access::Caller;
use crate::{Api, Problem};

/// Asks it by the record, then tells the engine that runs the execution, where that is reached from here: an execution
/// that a pause holds is to look at once. The record is what counts, so an engine that is not reached changes nothing.
pub(crate) async fn control(
    api: &Api,
    caller: &Caller,
    id: &str,
    control: Control,
    reason: Option<String>,
    now: Timestamp,
) -> Result<Controlled, Problem> {
    let action = match control {
        Control::Cancel => AuditAction::CancelWorkflow,
        Control::Pause => AuditAction::PauseWorkflow,
        Control::Resume => AuditAction::ResumeWorkflow,
    };
    let tenant_id = caller.tenant_id.as_str();
    let audit = NewAuditRow { reason, ..caller.audit_row(action, id, now) };
    let controlled = api.executions.control(tenant_id, id, control, now, Some(audit)).await?;
    if let Controlled::Accepted(record) = &controlled
        && let Some(engine) = api.engines.of(record.engine)
        && let Err(error) = engine.wake(record).await
    {
        tracing::warn!(workflow_id = id, tenant_id, %error, "the engine was not told; it looks by itself");
    }
    Ok(controlled)
}
