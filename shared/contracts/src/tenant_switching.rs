//! The request of the tenant switching workflow.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fields::Fields;
use crate::ids::{SUBJECT, WorkflowKind, is_subject};
use crate::limits::{MAX_SUBJECT_CHARS, MAX_TENANT_CHARS};
use crate::request::Request;

/// A user moves from the tenant that they work in to another one of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantSwitchingRequest {
    /// Who moves.
    pub user_id: String,
    /// Where they are: the switch fails if they are elsewhere.
    pub current_tenant_id: String,
    /// Where they go.
    pub target_tenant_id: String,
    /// The new session has the data of the old one.
    pub preserve_session_data: bool,
    /// The user's preferences become the defaults of the new tenant; otherwise they stay as they are.
    pub update_user_preferences: bool,
}

impl Request for TenantSwitchingRequest {
    const KIND: WorkflowKind = WorkflowKind::TenantSwitching;

    fn read(fields: &mut Fields<'_>) -> Self {
        let mut tenant = |name: &str| fields.plain_id(name, MAX_TENANT_CHARS);
        let (current_tenant_id, target_tenant_id) = (tenant("current_tenant_id"), tenant("target_tenant_id"));
        if !target_tenant_id.is_empty() && target_tenant_id == current_tenant_id {
            fields.bad("target_tenant_id", "must be another tenant than current_tenant_id");
        }
        Self {
            user_id: fields.text_like("user_id", 1..=MAX_SUBJECT_CHARS, is_subject, SUBJECT).to_owned(),
            current_tenant_id,
            target_tenant_id,
            preserve_session_data: fields.flag("preserve_session_data"),
            update_user_preferences: fields.flag("update_user_preferences"),
        }
    }

    /// All of it: ids and flags are what the machine hands on.
    fn options(&self) -> Value {
        json!({
            "user_id": self.user_id,
            "current_tenant_id": self.current_tenant_id,
            "target_tenant_id": self.target_tenant_id,
            "preserve_session_data": self.preserve_session_data,
            "update_user_preferences": self.update_user_preferences,
        })
    }

    fn tenants(&self) -> Vec<(&'static str, &str)> {
        vec![("current_tenant_id", &self.current_tenant_id), ("target_tenant_id", &self.target_tenant_id)]
    }

    fn acts_for(&self) -> Option<&str> {
        Some(&self.user_id)
    }
}
