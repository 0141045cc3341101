//! The File service.

use contracts::{ActivityError, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::client::expect_same;
use crate::{Call, Downstream, Service};

/// The answer to a new workspace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Workspace {
    /// The id we chose.
    pub workspace_id: String,
    /// When.
    pub created_at: Timestamp,
}

/// Creates a user's default workspace of 10 GB.
pub async fn create_workspace(
    downstream: &Downstream,
    tenant_id: &str,
    user_id: &str,
    workspace_id: &str,
    idempotency_key: String,
) -> Result<Workspace, ActivityError> {
    let body = json!({
        "workspace_id": workspace_id,
        "user_id": user_id,
        "workspace_config": { "type": "default", "quota_gb": "10" },
    });
    let call = Call::post(Service::File, &["workspaces"], tenant_id, idempotency_key);
    let created: Workspace = downstream.call(call.of_user(user_id).with_body(body)).await?;
    let message = "created the workspace under another id than the one asked for";
    expect_same(Service::File, workspace_id, &created.workspace_id, message)?;
    Ok(created)
}

/// The answer to sample data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SampleData {
    /// How many files.
    pub files_created: u64,
    /// When.
    pub created_at: Timestamp,
}

/// Puts sample files into a workspace.
pub async fn create_sample_data(
    downstream: &Downstream,
    tenant_id: &str,
    user_id: &str,
    workspace_id: &str,
    idempotency_key: String,
) -> Result<SampleData, ActivityError> {
    let path = ["workspaces", workspace_id, "sample-data"];
    let call = Call::post(Service::File, &path, tenant_id, idempotency_key);
    downstream.call(call.of_user(user_id).with_body(json!({ "user_id": user_id }))).await
}
