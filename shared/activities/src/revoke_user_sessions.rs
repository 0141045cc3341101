//! Revokes a user's sessions in one tenant.

use downstream::{Service, auth};
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `revoke_user_sessions`: takes `{user_id, tenant_id}`, answers `{sessions_revoked}`. Undoing makes exactly those valid
/// again that it revoked.
pub static REVOKE_USER_SESSIONS: Activity = Activity {
    name: "revoke_user_sessions",
    forward: |context| Box::pin(revoke(context)),
    calls: &[Service::Auth],
    undone_at: Some(Service::Auth),
    tenant_field: Some("tenant_id"),
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    user_id: String,
    tenant_id: String,
}

async fn revoke(context: &Context<'_>) -> StepOutcome {
    let Input { user_id, tenant_id } = context.input()?;
    let key = context.effect().idempotency_key();
    let revoked = auth::revoke_sessions(context.downstream, &tenant_id, &user_id, key).await?;
    Ok(json!({ "sessions_revoked": revoked.sessions_revoked }))
}
