//! Creates the profile in User.

use std::collections::BTreeMap;

use contracts::user_onboarding::UserOnboardingRequest;
use downstream::{Service, user};
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `create_user_profile`: takes `{user_id}`, answers `{profile_id}`.
pub static CREATE_USER_PROFILE: Activity = Activity {
    name: "create_user_profile",
    forward: |context| Box::pin(create(context)),
    undone_at: Some(Service::User),
};

async fn create(context: &Context<'_>) -> StepOutcome {
    let request: UserOnboardingRequest = context.request()?;
    let user_id = context.input("user_id")?;
    let profile_id = context.effect().chosen_id().to_string();
    let profile_data = BTreeMap::from([
        ("name", request.user_name.as_str()),
        ("email", request.user_email.as_str()),
        ("role", request.role.as_str()),
    ]);
    let key = context.effect().idempotency_key();
    let created =
        user::create_profile(context.downstream, context.tenant_id(), user_id, &profile_id, &profile_data, key).await?;
    Ok(json!({ "profile_id": created.profile_id }))
}
