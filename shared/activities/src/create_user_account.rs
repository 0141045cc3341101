//! Creates the account in Auth, under an id that we choose.

use contracts::user_onboarding::UserOnboardingRequest;
use downstream::{Service, auth};
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `create_user_account`: answers `{user_id}`; `Conflict` when the address already has an account.
pub static CREATE_USER_ACCOUNT: Activity = Activity {
    name: "create_user_account",
    forward: |context| Box::pin(create(context)),
    undone_at: Some(Service::Auth),
};

async fn create(context: &Context<'_>) -> StepOutcome {
    let request: UserOnboardingRequest = context.request()?;
    let user_id = context.effect().chosen_id().to_string();
    let account = auth::NewAccount {
        tenant_id: context.tenant_id(),
        user_id: &user_id,
        email: &request.user_email,
        name: &request.user_name,
        role: &request.role,
    };
    let created = auth::create_user(context.downstream, &account, context.effect().idempotency_key()).await?;
    Ok(json!({ "user_id": created.user_id }))
}
