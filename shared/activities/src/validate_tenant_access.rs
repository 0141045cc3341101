//! Asks whether a user may work in a tenant.

use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::tenant::{self, NoAccess};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `validate_tenant_access`: takes `{user_id, tenant_id}`, answers `{role, permissions}`; `AccessDenied` with the reason when
/// the user may not work there, `NotFound` when there is no such tenant.
pub static VALIDATE_TENANT_ACCESS: Activity = Activity {
    name: "validate_tenant_access",
    forward: |context| Box::pin(validate(context)),
    calls: &[Service::Tenant],
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    user_id: String,
    tenant_id: String,
}

/// The role of a member of whom the service names none.
const PLAIN_ROLE: &str = "user";

async fn validate(context: &Context<'_>) -> StepOutcome {
    let Input { user_id, tenant_id } = context.input()?;
    let access =
        tenant::access(context.downstream, &tenant_id, &user_id).await.map_err(|error| explained(error, &tenant_id))?;
    if !access.has_access {
        let reason = access.reason.unwrap_or(NoAccess::Other);
        return Err(ActivityError::new(ErrorName::AccessDenied, refusal(reason, &tenant_id)));
    }
    Ok(json!({ "role": access.role.as_deref().unwrap_or(PLAIN_ROLE), "permissions": access.permissions }))
}

fn refusal(reason: NoAccess, tenant_id: &str) -> String {
    match reason {
        NoAccess::TenantSuspended => format!("the tenant {tenant_id} is suspended"),
        NoAccess::NotAMember => format!("the user is no member of the tenant {tenant_id}"),
        NoAccess::MembershipInactive => format!("the user's membership of the tenant {tenant_id} is not active"),
        NoAccess::Other => format!("the user may not work in the tenant {tenant_id}"),
    }
}

fn explained(mut error: ActivityError, tenant_id: &str) -> ActivityError {
    if error.error == ErrorName::NotFound.as_str() {
        error.cause.message = format!("there is no tenant {tenant_id}");
    }
    error
}
