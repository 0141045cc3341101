//! Creates a user's default workspace in File.

use downstream::{Service, file};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `setup_user_file_workspace`: takes `{user_id}`, answers `{workspace_id}`.
pub static SETUP_USER_FILE_WORKSPACE: Activity = Activity {
    name: "setup_user_file_workspace",
    forward: |context| Box::pin(set_up(context)),
    calls: &[Service::File],
    undone_at: Some(Service::File),
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    user_id: String,
}

async fn set_up(context: &Context<'_>) -> StepOutcome {
    let Input { user_id } = context.input()?;
    let workspace_id = context.effect().chosen_id().to_string();
    let key = context.effect().idempotency_key();
    let created = file::create_workspace(context.downstream, context.tenant_id(), &user_id, &workspace_id, key).await?;
    Ok(json!({ "workspace_id": created.workspace_id }))
}
