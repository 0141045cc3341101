//! Makes the user a member of the tenant.

use contracts::user_onboarding::UserOnboardingRequest;
use downstream::{Service, tenant};
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `update_tenant_user_membership`: takes `{user_id}`, answers `{permissions}`. The membership is written whether or
/// not default permissions are asked for.
pub static UPDATE_TENANT_USER_MEMBERSHIP: Activity = Activity {
    name: "update_tenant_user_membership",
    forward: |context| Box::pin(update(context)),
    undone_at: Some(Service::Tenant),
};

async fn update(context: &Context<'_>) -> StepOutcome {
    let request: UserOnboardingRequest = context.request()?;
    let user_id = context.input("user_id")?;
    let permissions =
        if request.assign_default_permissions { default_permissions(&request.role) } else { Default::default() };
    let key = context.effect().idempotency_key();
    tenant::put_member(context.downstream, context.tenant_id(), user_id, &request.role, permissions, key).await?;
    Ok(json!({ "permissions": permissions }))
}

/// What a role may do unless somebody says otherwise; existing consumers know these strings.
fn default_permissions(role: &str) -> &'static [&'static str] {
    match role {
        "admin" => &["tenant:read", "tenant:write", "user:read", "user:write", "file:read", "file:write"],
        "user" => &["tenant:read", "user:read", "file:read", "file:write"],
        _ => &["tenant:read"],
    }
}
