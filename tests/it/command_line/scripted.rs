//! A server that answers as a test says, and keeps what it was asked.

use std::sync::{Arc, Mutex};

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::{Ended, command};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// `GET /api/v1/workflows?page_size=1`
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    /// Null if there was none.
    pub(crate) body: Value,
    /// How many requests with the same line came before.
    pub(crate) repetition: usize,
}

/// The server.
pub(crate) struct Scripted {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    pub(crate) async fn new(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        let handle = move |request: Request| async move {
            let (parts, body) = request.into_parts();
            let body: Bytes = to_bytes(body, usize::MAX).await.unwrap();
            let line = format!("{} {}", parts.method, parts.uri);
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let request = {
                let mut kept = kept.lock().unwrap();
                let repetition = kept.iter().filter(|seen| seen.line == line).count();
                let request = Seen { line, headers: parts.headers, body, repetition };
                kept.push(request.clone());
                request
            };
            answer(&request)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handle)).await });
        Self { url, seen }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    /// This command, which asks this server for the tenant `t`.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments).await;
        command.env("WORKFLOW_SERVICE_URL", &self.url).env("WORKFLOW_SERVICE_TENANT", "t");
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).await).await
    }
}

pub(crate) fn ok(body: Value) -> Response {
    Json(body).into_response()
}

pub(crate) fn refused(status: u16, detail: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, Json(serde_json::json!({ "detail": detail, "status": status.as_u16() }))).into_response()
}

/// A stream of server-sent events that says this and breaks off.
pub(crate) fn stream(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}
