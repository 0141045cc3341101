//! Sends the welcome mail.

use std::collections::BTreeMap;

use contracts::user_onboarding::UserOnboardingRequest;
use downstream::notifications::{self, Notification};
use downstream::tenant;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `send_notification`: answers `{notification_id}`. A mail that is out cannot be undone.
pub static SEND_NOTIFICATION: Activity =
    Activity { name: "send_notification", forward: |context| Box::pin(send(context)), undone_at: None };

async fn send(context: &Context<'_>) -> StepOutcome {
    let request: UserOnboardingRequest = context.request()?;
    // Read again rather than handed over: names do not belong into an engine's records.
    let tenant = tenant::context(context.downstream, context.tenant_id()).await?;
    let notification = Notification {
        notification_type: "welcome_email",
        recipient: &request.user_email,
        message: "Welcome to ADX Core!",
        metadata: BTreeMap::from([
            ("user_name", request.user_name.as_str()),
            ("tenant_name", tenant.tenant_name.as_str()),
        ]),
    };
    let key = context.effect().idempotency_key();
    let sent = notifications::send(context.downstream, context.tenant_id(), &notification, key).await?;
    Ok(json!({ "notification_id": sent.notification_id }))
}
