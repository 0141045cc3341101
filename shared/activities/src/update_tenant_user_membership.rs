//! Makes a user a member of a tenant.

use downstream::{Service, tenant};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `update_tenant_user_membership`: takes `{user_id, role, tenant_id?, permissions?, default_permissions?}`, answers
/// `{permissions}`. The tenant is the execution's own if none is given. The membership is written whether or not it has
/// permissions.
pub static UPDATE_TENANT_USER_MEMBERSHIP: Activity = Activity {
    name: "update_tenant_user_membership",
    forward: |context| Box::pin(update(context)),
    calls: &[Service::Tenant],
    undone_at: Some(Service::Tenant),
    tenant_field: Some("tenant_id"),
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    user_id: String,
    role: String,
    tenant_id: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
    /// The role's usual permissions instead of a list.
    #[serde(default)]
    default_permissions: bool,
}

async fn update(context: &Context<'_>) -> StepOutcome {
    let Input { user_id, role, tenant_id, mut permissions, default_permissions } = context.input()?;
    let tenant_id = tenant_id.as_deref().unwrap_or(context.tenant_id());
    if default_permissions {
        permissions = permissions_of(&role).iter().map(|permission| (*permission).to_owned()).collect();
    }
    let key = context.effect().idempotency_key();
    tenant::put_member(context.downstream, tenant_id, &user_id, &role, &permissions, key).await?;
    Ok(json!({ "permissions": permissions }))
}

/// What a role may do unless somebody says otherwise; existing consumers know these strings.
fn permissions_of(role: &str) -> &'static [&'static str] {
    match role {
        "admin" => &["tenant:read", "tenant:write", "user:read", "user:write", "file:read", "file:write"],
        "user" => &["tenant:read", "user:read", "file:read", "file:write"],
        _ => &["tenant:read"],
    }
}
