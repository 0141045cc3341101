//! Creates the profile in User.

use std::collections::BTreeMap;

use downstream::{Service, user};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `create_user_profile`: takes `{user_id, profile_data: {name, email, role}}`, answers `{profile_id}`.
pub static CREATE_USER_PROFILE: Activity = Activity {
    name: "create_user_profile",
    forward: |context| Box::pin(create(context)),
    calls: &[Service::User],
    undone_at: Some(Service::User),
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    user_id: String,
    profile_data: BTreeMap<String, String>,
}

async fn create(context: &Context<'_>) -> StepOutcome {
    let Input { user_id, profile_data } = context.input()?;
    let profile_data = profile_data.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let profile_id = context.effect().chosen_id().to_string();
    let key = context.effect().idempotency_key();
    let created =
        user::create_profile(context.downstream, context.tenant_id(), &user_id, &profile_id, &profile_data, key)
            .await?;
    Ok(json!({ "profile_id": created.profile_id }))
}
