//! The request of the user onboarding workflow.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::email::is_email;
use crate::fields::Fields;
use crate::ids::WorkflowKind;
use crate::limits::{MAX_EMAIL_CHARS, MAX_NAME_CHARS, MAX_ROLE_CHARS, MAX_TENANT_CHARS};
use crate::request::Request;

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
    pub send_welcome_email: bool,
    /// Create a workspace in the File service.
    pub setup_default_workspace: bool,
    /// Give the membership the role's default permissions.
    pub assign_default_permissions: bool,
    /// Put sample files into the workspace.
    pub create_sample_data: bool,
}

impl Request for UserOnboardingRequest {
    const KIND: WorkflowKind = WorkflowKind::UserOnboarding;

    fn read(fields: &mut Fields<'_>) -> Self {
        let address = "an e-mail address, like user@example.com";
        Self {
            user_email: fields.text_like("user_email", 1..=MAX_EMAIL_CHARS, is_email, address).to_owned(),
            user_name: fields.text("user_name", 1..=MAX_NAME_CHARS).to_owned(),
            tenant_id: fields.plain_id("tenant_id", MAX_TENANT_CHARS),
            role: fields.text("role", 1..=MAX_ROLE_CHARS).to_owned(),
            send_welcome_email: fields.flag("send_welcome_email"),
            setup_default_workspace: fields.flag("setup_default_workspace"),
            assign_default_permissions: fields.flag("assign_default_permissions"),
            create_sample_data: fields.flag("create_sample_data"),
        }
    }

    fn options(&self) -> Value {
        json!({
            "send_welcome_email": self.send_welcome_email,
            "setup_default_workspace": self.setup_default_workspace,
            "assign_default_permissions": self.assign_default_permissions,
            "create_sample_data": self.create_sample_data,
        })
    }

    fn tenants(&self) -> Vec<(&'static str, &str)> {
        vec![("tenant_id", &self.tenant_id)]
    }
}
