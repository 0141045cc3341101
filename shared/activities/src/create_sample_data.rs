//! Puts sample files into a workspace.

use downstream::{Service, file};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `create_sample_data`: takes `{user_id, workspace_id?}`, answers `{files_created}`, or `{warning}` where there is no
/// workspace to put them into.
pub static CREATE_SAMPLE_DATA: Activity = Activity {
    name: "create_sample_data",
    forward: |context| Box::pin(create(context)),
    calls: &[Service::File],
    undone_at: Some(Service::File),
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    user_id: String,
    workspace_id: Option<String>,
}

async fn create(context: &Context<'_>) -> StepOutcome {
    let Input { user_id, workspace_id } = context.input()?;
    let Some(workspace_id) = workspace_id else {
        return Ok(json!({ "skipped": true, "warning": "sample data was not created: there is no workspace" }));
    };
    let key = context.effect().idempotency_key();
    let created =
        file::create_sample_data(context.downstream, context.tenant_id(), &user_id, &workspace_id, key).await?;
    Ok(json!({ "files_created": created.files_created }))
}
