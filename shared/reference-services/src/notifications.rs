//! The notification endpoint: an outbox of mail and other notices.

use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{
    Call, Definition, Doc, Done, EntityType, Field, Fields, Item, ItemDone, ItemOutcome, Kind, Member, Mutation,
    Operation, OperationOf, Problem, Query, Reader, Reference, Rows, Shape, Table, Tx, row,
};

pub(crate) static DEFINITION: Definition = Definition {
    schema: &[
        "
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
        ",
        "
        ALTER TABLE outbox ADD COLUMN subject_id TEXT;
        CREATE INDEX outbox_by_subject ON outbox (tenant_id, subject_id);
        ",
    ],
    tables: &[&OUTBOX],
    entity_types: &[&NOTIFICATION],
    routes: |routes| routes.mutation::<SendNotification>().query::<ListNotifications>(),
    demo: [|_| Vec::new(), demo],
};

static OUTBOX: Table =
    Table { json: &["metadata"], ..Table::new("outbox", &["tenant_id", "notification_id"], "the notification exists") };

static NOTIFICATION: EntityType = EntityType {
    subject_field: Some("subject_id"),
    personal: &[("recipient", "contact"), ("message", "content"), ("metadata", "content")],
    references: &[Reference::new("subject_id", "auth", "account")],
    retention_days: Some(365),
    operations: &[OperationOf::new::<NotificationSend>()],
    ..EntityType::new(
        "notification",
        &OUTBOX,
        "notification_id",
        &[
            Field::new("notification_id", Kind::Id),
            Field::new("notification_type", Kind::Text),
            Field::new("recipient", Kind::Text),
            Field::new("message", Kind::Text),
            Field::new("metadata", Kind::TextMap),
            Field::new("delivery_status", Kind::Text),
            Field::new("subject_id", Kind::NullableText),
            Field::new("sent_at", Kind::Time),
        ],
    )
};

/// `POST /api/v1/notifications`
struct SendNotification {
    notification_type: String,
    recipient: String,
    message: String,
    metadata: Value,
    subject_id: Option<String>,
}

impl Mutation for SendNotification {
    const METHOD: MethodFilter = MethodFilter::POST;
    const ROUTE: &'static str = "/api/v1/notifications";
    const DOC: Doc = Doc {
        takes: &[
            Member::required("notification_type", Shape::Text, "e.g. welcome_email"),
            Member::required("recipient", Shape::Text, "an address"),
            Member::required("message", Shape::Text, ""),
            Member::required("metadata", Shape::TextMap, "for the template"),
            Member::optional("subject_id", Shape::Text, "the user whom it is about: by it, it is exported and erased"),
        ],
        ..Doc::created(
            "Sends a mail or another notice.",
            "send_notification (user onboarding: the welcome mail; retention: the notice before deletion). The \
             service keeps the outbox; ids are its own.",
            Shape::Object(&[
                Member::required("notification_id", Shape::Id, ""),
                Member::required("sent_at", Shape::Time, ""),
                Member::required("delivery_status", Shape::Text, "in the service's words, e.g. queued"),
            ]),
        )
    };

    fn read(_: &Call, body: &mut Fields<'_>) -> Self {
        Self {
            notification_type: body.text("notification_type"),
            recipient: body.text("recipient"),
            message: body.text("message"),
            metadata: body.text_map("metadata"),
            subject_id: body.optional_text("subject_id"),
        }
    }

    /// Nothing leaves the outbox, so an undo can still withdraw it.
    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        let (notification_id, body) = self.send(tx).await?;
        Ok(Done::created("notification", &notification_id, body))
    }
}

impl SendNotification {
    /// Puts it into the outbox. Its id, and the answer.
    async fn send(self, tx: &mut Tx<'_>) -> Result<(String, Value), Problem> {
        let notification_id = tx.new_id();
        let sent_at = tx.now();
        let notification = json!({
            "notification_id": notification_id, "notification_type": self.notification_type,
            "recipient": self.recipient, "message": self.message, "metadata": self.metadata,
            "delivery_status": "queued", "subject_id": self.subject_id, "sent_at": sent_at,
        });
        tx.create(&OUTBOX, row(notification)).await?;
        let body = json!({ "notification_id": notification_id, "sent_at": sent_at, "delivery_status": "queued" });
        Ok((notification_id, body))
    }
}

/// A notification for whom the item names.
struct NotificationSend(SendNotification);

impl Operation for NotificationSend {
    const NAME: &'static str = "NotificationSend";
    const ABOUT: &'static str = "Sends a notice to the user whose id the item has.";
    const TAKES: &'static [Member] = &[
        Member::required("notification_type", Shape::Text, "e.g. welcome_email"),
        Member::required("recipient", Shape::Text, "an address"),
        Member::required("message", Shape::Text, ""),
        Member::optional("metadata", Shape::TextMap, "for the template"),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        Self(SendNotification {
            notification_type: data.text("notification_type"),
            recipient: data.text("recipient"),
            message: data.text("message"),
            metadata: data.optional_text_map("metadata"),
            subject_id: None,
        })
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let (_, answer) = SendNotification { subject_id: Some(item.id.clone()), ..self.0 }.send(tx).await?;
        Ok(ItemDone::new(ItemOutcome::Sent).with(answer))
    }
}

fn demo(at: &str) -> Rows {
    let notification = json!({
        "tenant_id": "tenant-123", "notification_id": "notification-123", "notification_type": "welcome_email",
        "recipient": "demo.user@example.com", "message": "Welcome to ADX Core!",
        "metadata": { "user_name": "Demo User" }, "delivery_status": "queued", "subject_id": "user-123",
        "sent_at": at,
    });
    vec![(&OUTBOX, row(notification))]
}

/// `GET /api/v1/notifications`: the newest first.
struct ListNotifications;

impl Query for ListNotifications {
    const ROUTE: &'static str = "/api/v1/notifications";
    const DOC: Doc = Doc::new(
        "The outbox, the newest first.",
        "No workflow. It is what people look at.",
        Shape::Object(&[Member::required(
            "notifications",
            Shape::List(&[
                Member::required("tenant_id", Shape::Text, ""),
                Member::required("notification_id", Shape::Text, ""),
                Member::required("notification_type", Shape::Text, ""),
                Member::required("recipient", Shape::Text, ""),
                Member::required("message", Shape::Text, ""),
                Member::required("metadata", Shape::TextMap, ""),
                Member::required("delivery_status", Shape::Text, ""),
                Member::required("sent_at", Shape::Time, ""),
            ]),
            "at most 1,000",
        )]),
    );

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let mut notifications = reader.list(&OUTBOX, &[]).await?;
        for notification in &mut notifications {
            notification.remove("subject_id");
        }
        Ok(Json(json!({ "notifications": notifications })).into_response())
    }
}
