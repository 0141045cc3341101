//! Puts sample files into the new workspace.

use downstream::{Service, file};
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `create_sample_data`: takes `{user_id, workspace_id?}`, answers `{files_created}`, or `{warning}` where there is no
/// workspace to put them into.
pub static CREATE_SAMPLE_DATA: Activity = Activity {
    name: "create_sample_data",
    forward: |context| Box::pin(create(context)),
    undone_at: Some(Service::File),
};

async fn create(context: &Context<'_>) -> StepOutcome {
    if context.call.input["workspace_id"].is_null() {
        return Ok(json!({ "skipped": true, "warning": "sample data was not created: there is no workspace" }));
    }
    let (user_id, workspace_id) = (context.input("user_id")?, context.input("workspace_id")?);
    let key = context.effect().idempotency_key();
    let created = file::create_sample_data(context.downstream, context.tenant_id(), user_id, workspace_id, key).await?;
    Ok(json!({ "files_created": created.files_created }))
}
