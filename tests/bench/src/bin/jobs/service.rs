//! A service that does whatever it is asked for at once: what is measured is then all ours.

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Serves all services on one port, which it answers.
///
/// # Errors
/// There is no port.
pub(crate) async fn serve() -> anyhow::Result<u16> {
    let router = Router::new()
        .route("/health", get(|| async { Json(json!({ "status": "healthy" })) }))
        .route("/api/v1/operations/{operation}", post(operate))
        .fallback(|| async { Json(json!({})) })
        .layer(axum::extract::DefaultBodyLimit::disable());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(port)
}

async fn operate(Path(_operation): Path<String>, Json(body): Json<Value>) -> Json<Value> {
    let items = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let result = |item: &Value| json!({ "key": item["key"], "entity_id": item["entity_id"], "status": "succeeded", "outcome": "created" });
    Json(json!({ "results": items.iter().map(result).collect::<Vec<_>>() }))
}
