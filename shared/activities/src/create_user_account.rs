//! Creates the account in Auth, under an id that we choose.

use downstream::{Service, auth};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `create_user_account`: takes `{email, name, role}`, answers `{user_id}`; `Conflict` when the address already has an
/// account.
pub static CREATE_USER_ACCOUNT: Activity = Activity {
    name: "create_user_account",
    forward: |context| Box::pin(create(context)),
    calls: &[Service::Auth],
    undone_at: Some(Service::Auth),
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    email: String,
    name: String,
    role: String,
}

async fn create(context: &Context<'_>) -> StepOutcome {
    let Input { email, name, role } = context.input()?;
    let user_id = context.effect().chosen_id().to_string();
    let account =
        auth::NewAccount { tenant_id: context.tenant_id(), user_id: &user_id, email: &email, name: &name, role: &role };
    let created = auth::create_user(context.downstream, &account, context.effect().idempotency_key()).await?;
    Ok(json!({ "user_id": created.user_id }))
}
