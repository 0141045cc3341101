//! Request and result of the user onboarding workflow.

use serde::{Deserialize, Serialize};

/// A new user of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserOnboardingRequest {
    /// The address that signs in and gets the welcome mail.
    pub user_email: String,
    /// The display name.
    pub user_name: String,
    /// The tenant that the user joins; equal to the `X-Tenant-ID` header.
    pub tenant_id: String,
    /// `admin`, `user`, or any other role of the tenant.
    pub role: String,
    /// Send the welcome mail.
    #[serde(default)]
    pub send_welcome_email: bool,
    /// Create a workspace in the File service.
    #[serde(default)]
    pub setup_default_workspace: bool,
    /// Give the membership the role's default permissions.
    #[serde(default)]
    pub assign_default_permissions: bool,
    /// Put sample files into the workspace.
    #[serde(default)]
    pub create_sample_data: bool,
}
