//! The Tenant service.

use std::collections::BTreeMap;

use contracts::{ActivityError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::expect_same;
use crate::{Call, Downstream, Service};

/// What a tenant is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantContext {
    /// The tenant.
    pub tenant_id: String,
    /// Its name.
    pub tenant_name: String,
    /// What it pays for.
    pub subscription_tier: String,
    /// What it may use.
    pub features: Vec<String>,
    /// How much of it.
    pub quotas: BTreeMap<String, u64>,
    /// Its settings.
    pub settings: BTreeMap<String, String>,
}

/// Reads the tenant. `NotFound` when there is none.
pub async fn context(downstream: &Downstream, tenant_id: &str) -> Result<TenantContext, ActivityError> {
    #[derive(Deserialize)]
    struct Answer {
        tenant_context: TenantContext,
    }
    let call = Call::get(Service::Tenant, &["tenants", tenant_id, "context"], tenant_id);
    let context = downstream.call::<Answer>(call).await?.tenant_context;
    let message = "answered with another tenant than the one asked for";
    expect_same(Service::Tenant, tenant_id, &context.tenant_id, message)?;
    Ok(context)
}

/// Whether a user may work in a tenant, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Access {
    /// Whether they may.
    pub has_access: bool,
    /// As what.
    pub role: Option<String>,
    /// What they may do.
    pub permissions: Vec<String>,
    /// Why they may not, if the service says.
    pub reason: Option<NoAccess>,
}

/// Why a user may not work in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoAccess {
    /// Nobody may at present.
    TenantSuspended,
    /// They do not belong to it.
    NotAMember,
    /// They do not belong to it any more.
    MembershipInactive,
    /// A reason that only the service knows.
    #[serde(other)]
    Other,
}

impl NoAccess {
    /// The name in the service's answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenantSuspended => "tenant_suspended",
            Self::NotAMember => "not_a_member",
            Self::MembershipInactive => "membership_inactive",
            Self::Other => "other",
        }
    }
}

/// Asks whether the user may work in the tenant. `NotFound` when there is no such tenant.
pub async fn access(downstream: &Downstream, tenant_id: &str, user_id: &str) -> Result<Access, ActivityError> {
    let path = ["tenants", tenant_id, "access", user_id];
    downstream.call(Call::get(Service::Tenant, &path, tenant_id).of_user(user_id)).await
}

/// The answer to a membership.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// When.
    pub updated_at: Timestamp,
}

/// Makes the user an active member of the tenant with this role and these permissions.
pub async fn put_member(
    downstream: &Downstream,
    tenant_id: &str,
    user_id: &str,
    role: &str,
    permissions: &[impl AsRef<str>],
    idempotency_key: String,
) -> Result<Membership, ActivityError> {
    let permissions: Vec<&str> = permissions.iter().map(AsRef::as_ref).collect();
    let body = json!({ "role": role, "permissions": permissions, "active": true });
    let call = Call::put(Service::Tenant, &["tenants", tenant_id, "users", user_id], tenant_id, idempotency_key);
    downstream.call(call.of_user(user_id).with_body(body)).await
}
