//! Reads the tenant, so that nothing is begun for one that does not exist.

use downstream::tenant;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `get_tenant_context`: answers `{tenant_id}`.
pub static GET_TENANT_CONTEXT: Activity =
    Activity { name: "get_tenant_context", forward: |context| Box::pin(get(context)), undone_at: None };

async fn get(context: &Context<'_>) -> StepOutcome {
    let tenant = tenant::context(context.downstream, context.tenant_id()).await?;
    Ok(json!({ "tenant_id": tenant.tenant_id }))
}
