//! Reads a tenant, so that nothing is begun for one that does not exist.

use downstream::{Service, tenant};
use serde::Deserialize;
use serde_json::{Map, json};
use store::StepOutcome;

use crate::{Activity, Context};

/// `get_tenant_context`: takes `{tenant_id?, report?}`, the execution's own tenant if none is given; answers
/// `{tenant_id}`. With `report` the whole context becomes `tenant_context` in the execution's result, past the engine.
pub static GET_TENANT_CONTEXT: Activity = Activity {
    name: "get_tenant_context",
    forward: |context| Box::pin(get(context)),
    calls: &[Service::Tenant],
    ..Activity::NOTHING
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Input {
    tenant_id: Option<String>,
    report: bool,
}

async fn get(context: &Context<'_>) -> StepOutcome {
    let Input { tenant_id, report } = context.input::<Option<Input>>()?.unwrap_or_default();
    let tenant_id = tenant_id.as_deref().unwrap_or(context.tenant_id());
    let tenant = tenant::context(context.downstream, tenant_id).await?;
    if report {
        context.report(Map::from_iter([("tenant_context".to_owned(), json!(tenant))]))?;
    }
    Ok(json!({ "tenant_id": tenant.tenant_id }))
}
