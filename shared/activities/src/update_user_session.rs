//! Opens a user's session in a tenant, under an id that we choose.

use downstream::{Service, auth};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `update_user_session`: takes `{user_id, tenant_id, source_tenant_id, preserve_data}`, answers `{session_id}`. With
/// `preserve_data` the new session has the data of the user's newest one in the source tenant.
pub static UPDATE_USER_SESSION: Activity = Activity {
    name: "update_user_session",
    forward: |context| Box::pin(update(context)),
    calls: &[Service::Auth],
    undone_at: Some(Service::Auth),
    tenant_field: Some("tenant_id"),
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    user_id: String,
    tenant_id: String,
    source_tenant_id: String,
    preserve_data: bool,
}

async fn update(context: &Context<'_>) -> StepOutcome {
    let Input { user_id, tenant_id, source_tenant_id, preserve_data } = context.input()?;
    let session_id = context.effect().chosen_id().to_string();
    let session = auth::NewSession {
        tenant_id: &tenant_id,
        source_tenant_id: &source_tenant_id,
        user_id: &user_id,
        session_id: &session_id,
        preserve_data,
    };
    let created = auth::put_session(context.downstream, &session, context.effect().idempotency_key()).await?;
    Ok(json!({ "session_id": created.session_id }))
}
