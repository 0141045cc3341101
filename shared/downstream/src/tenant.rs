//! The Tenant service.

use std::collections::BTreeMap;

use contracts::{ActivityError, ErrorName, Timestamp};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure;
use crate::{Call, Downstream, Service};

/// What a tenant is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
    let call = Call {
        service: Service::Tenant,
        method: Method::GET,
        path: format!("/api/v1/tenants/{tenant_id}/context"),
        tenant_id,
        user_id: None,
        idempotency_key: None,
        body: None,
    };
    let context = downstream.call::<Answer>(call).await?.tenant_context;
    if context.tenant_id != tenant_id {
        let message = "answered with another tenant than the one asked for";
        return Err(failure(Service::Tenant, ErrorName::IntegrityViolation, message));
    }
    Ok(context)
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
    permissions: &[&str],
    idempotency_key: String,
) -> Result<Membership, ActivityError> {
    let call = Call {
        service: Service::Tenant,
        method: Method::PUT,
        path: format!("/api/v1/tenants/{tenant_id}/users/{user_id}"),
        tenant_id,
        user_id: Some(user_id),
        idempotency_key: Some(idempotency_key),
        body: Some(json!({ "role": role, "permissions": permissions, "active": true })),
    };
    downstream.call(call).await
}
