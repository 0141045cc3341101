//! Moves a user from the tenant that they work in to another one.

use contracts::{ActivityError, ErrorName};
use downstream::{Service, user};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `update_user_tenant_context`: takes `{user_id, expected_tenant_id, new_tenant_id, preserve_preferences}`, answers
/// `{updated}`; `Conflict` when the user does not work in the expected tenant.
pub static UPDATE_USER_TENANT_CONTEXT: Activity = Activity {
    name: "update_user_tenant_context",
    forward: |context| Box::pin(update(context)),
    calls: &[Service::User],
    undone_at: Some(Service::User),
    tenant_field: Some("new_tenant_id"),
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    user_id: String,
    expected_tenant_id: String,
    new_tenant_id: String,
    preserve_preferences: bool,
}

async fn update(context: &Context<'_>) -> StepOutcome {
    let input: Input = context.input()?;
    let switch = user::ContextSwitch {
        user_id: &input.user_id,
        expected_tenant_id: &input.expected_tenant_id,
        new_tenant_id: &input.new_tenant_id,
        preserve_preferences: input.preserve_preferences,
    };
    let key = context.effect().idempotency_key();
    let switched = user::put_tenant_context(context.downstream, &switch, key).await;
    switched.map(|_| json!({ "updated": true })).map_err(|error| explained(error, &input))
}

fn explained(mut error: ActivityError, input: &Input) -> ActivityError {
    if error.error == ErrorName::Conflict.as_str() {
        error.cause.message = format!("the user does not work in the tenant {}", input.expected_tenant_id);
    } else if error.error == ErrorName::NotFound.as_str() {
        error.cause.message = format!("there is no such user, or none that the tenant {} knows", input.new_tenant_id);
    }
    error
}
