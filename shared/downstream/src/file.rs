//! The File service.

use contracts::{ActivityError, ErrorName, Timestamp};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure;
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
    let call = Call {
        service: Service::File,
        method: Method::POST,
        path: "/api/v1/workspaces".to_owned(),
        tenant_id,
        user_id: Some(user_id),
        idempotency_key: Some(idempotency_key),
        body: Some(json!({
            "workspace_id": workspace_id,
            "user_id": user_id,
            "workspace_config": { "type": "default", "quota_gb": "10" },
        })),
    };
    let created: Workspace = downstream.call(call).await?;
    if created.workspace_id != workspace_id {
        let message = "created the workspace under another id than the one asked for";
        return Err(failure(Service::File, ErrorName::IntegrityViolation, message));
    }
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
    let call = Call {
        service: Service::File,
        method: Method::POST,
        path: format!("/api/v1/workspaces/{workspace_id}/sample-data"),
        tenant_id,
        user_id: Some(user_id),
        idempotency_key: Some(idempotency_key),
        body: Some(json!({ "user_id": user_id })),
    };
    downstream.call(call).await
}
