//! The notification endpoint: an outbox of mail and other notices.

use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{Call, Definition, Done, Fields, Mutation, Problem, Query, Reader, Table, Tx, row};

pub(crate) static DEFINITION: Definition = Definition {
    schema: &["
        CREATE TABLE IF NOT EXISTS outbox (
            tenant_id TEXT NOT NULL,
            notification_id TEXT NOT NULL,
            notification_type TEXT NOT NULL,
            recipient TEXT NOT NULL,
            message TEXT NOT NULL,
            metadata TEXT NOT NULL,
            delivery_status TEXT NOT NULL,
            sent_at TEXT NOT NULL,
            PRIMARY KEY (tenant_id, notification_id)
        ) STRICT;
    "],
    tables: &[&OUTBOX],
    routes: |routes| routes.mutation::<SendNotification>().query::<ListNotifications>(),
    demo: |_| Vec::new(),
};

static OUTBOX: Table =
    Table { json: &["metadata"], ..Table::new("outbox", &["tenant_id", "notification_id"], "the notification exists") };

/// `POST /api/v1/notifications`
struct SendNotification {
    notification_type: String,
    recipient: String,
    message: String,
    metadata: Value,
}

impl Mutation for SendNotification {
    const METHOD: MethodFilter = MethodFilter::POST;
    const ROUTE: &'static str = "/api/v1/notifications";

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        Self {
            notification_type: body.text("notification_type"),
            recipient: body.text("recipient"),
            message: body.text("message"),
            metadata: body.text_map("metadata"),
        }
    }

    /// Nothing leaves the outbox, so an undo can still withdraw it.
    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let notification_id = tx.new_id();
        let sent_at = tx.now();
        let notification = json!({
            "notification_id": notification_id, "notification_type": self.notification_type,
            "recipient": self.recipient, "message": self.message, "metadata": self.metadata,
            "delivery_status": "queued", "sent_at": sent_at,
        });
        tx.create(&OUTBOX, row(notification)).await?;
        let body = json!({ "notification_id": notification_id, "sent_at": sent_at, "delivery_status": "queued" });
        Ok(Done::created("notification", &notification_id, body))
    }
}

/// `GET /api/v1/notifications`: the newest first.
struct ListNotifications;

impl Query for ListNotifications {
    const ROUTE: &'static str = "/api/v1/notifications";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let notifications = reader.list(&OUTBOX, &[]).await?;
        Ok(Json(json!({ "notifications": notifications })).into_response())
    }
}
