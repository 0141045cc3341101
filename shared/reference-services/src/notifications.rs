//! Notifications: the outbox of mails and other notices.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kernel::{Answer, Body, Problem, Service, Tenant, mutation};

const OUTBOX: &str = "outbox";

pub(crate) fn routes() -> Router<Service> {
    Router::new().route("/api/v1/notifications", post(send).get(list))
}

#[derive(Deserialize)]
struct Notification {
    notification_type: String,
    recipient: String,
    message: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

async fn send(
    State(service): State<Service>,
    tenant: Tenant,
    headers: HeaderMap,
    body: Body<Notification>,
) -> Result<Response, Problem> {
    let notification = body.value;
    mutation(&service, &headers, tenant, "POST /api/v1/notifications", &body.raw, |entities| {
        Box::pin(async move {
            let id = contracts::ids::new_request_id(entities.now);
            let stored = json!({
                "notification_id": id, "notification_type": notification.notification_type,
                "recipient": notification.recipient, "message": notification.message,
                "metadata": notification.metadata, "sent_at": entities.now, "delivery_status": "queued",
            });
            entities.put(OUTBOX, &id, &stored).await?;
            Ok(Answer::created(json!({ "notification_id": id, "sent_at": entities.now, "delivery_status": "queued" })))
        })
    })
    .await
}

async fn list(State(service): State<Service>, tenant: Tenant) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "notifications": service.read_all(tenant, OUTBOX).await? })))
}
