//! Sends a notice.

use std::collections::BTreeMap;

use downstream::Service;
use downstream::notifications::{self, Notification};
use downstream::tenant;
use serde::Deserialize;
use serde_json::json;
use store::StepOutcome;

use crate::{Activity, Context};

/// `send_notification`: takes `{notification_type, recipient, message, metadata, with_tenant_name?, subject_id?}`, answers
/// `{notification_id}`. A notice that is out cannot be undone.
pub static SEND_NOTIFICATION: Activity = Activity {
    name: "send_notification",
    forward: |context| Box::pin(send(context)),
    calls: &[Service::Tenant, Service::Notifications],
    ..Activity::NOTHING
};

#[derive(Deserialize)]
struct Input {
    notification_type: String,
    recipient: String,
    message: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Adds `tenant_name` to the metadata. It is read here rather than handed over: names do not belong into an engine's
    /// records.
    #[serde(default)]
    with_tenant_name: bool,
    /// The user whom it is about.
    #[serde(default)]
    subject_id: Option<String>,
}

async fn send(context: &Context<'_>) -> StepOutcome {
    let Input { notification_type, recipient, message, mut metadata, with_tenant_name, subject_id } =
        context.input()?;
    if with_tenant_name {
        let tenant = tenant::context(context.downstream, context.tenant_id()).await?;
        metadata.insert("tenant_name".to_owned(), tenant.tenant_name);
    }
    let notification = Notification {
        notification_type: &notification_type,
        recipient: &recipient,
        message: &message,
        metadata: metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        subject_id: subject_id.as_deref(),
    };
    let key = context.effect().idempotency_key();
    let sent = notifications::send(context.downstream, context.tenant_id(), &notification, key).await?;
    Ok(json!({ "notification_id": sent.notification_id }))
}
