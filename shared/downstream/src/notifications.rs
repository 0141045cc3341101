//! The notification endpoint behind the API gateway. The outbox is the receiver's; we keep none.

use std::collections::BTreeMap;

use contracts::{ActivityError, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::{Call, Downstream, Service};

/// A notice to send.
#[derive(Debug, Clone)]
pub struct Notification<'a> {
    /// E.g. `welcome_email`.
    pub notification_type: &'a str,
    /// The address.
    pub recipient: &'a str,
    /// The text.
    pub message: &'a str,
    /// What the receiver's template needs.
    pub metadata: BTreeMap<&'a str, &'a str>,
    /// The user whom it is about: by it, it is exported and erased.
    pub subject_id: Option<&'a str>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sent {
    /// Its id in the outbox.
    pub notification_id: String,
    /// When.
    pub sent_at: Timestamp,
    /// In the receiver's words.
    pub delivery_status: String,
}

/// Sends a notice.
pub async fn send(
    downstream: &Downstream,
    tenant_id: &str,
    notification: &Notification<'_>,
    idempotency_key: String,
) -> Result<Sent, ActivityError> {
    let mut body = json!({
        "notification_type": notification.notification_type,
        "recipient": notification.recipient,
        "message": notification.message,
        "metadata": notification.metadata,
    });
    if let Some(subject_id) = notification.subject_id {
        body["subject_id"] = json!(subject_id);
    }
    let call = Call::post(Service::Notifications, &["notifications"], tenant_id, idempotency_key);
    downstream.call(call.with_body(body)).await
}
