//! What the clients send, and what they make of answers.

mod answers;
mod connections;
mod redirects;
mod requests;
mod shortages;
mod sockets;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::SystemClock;
use contracts::{ActivityError, ErrorName};
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::{self, NewAccount, NewSession};
use crate::notifications::{self, Notification};
use crate::tenant;
use crate::user::{self, ContextSwitch};
use crate::{Downstream, Endpoints, Service, Transport, TransportFault, effects, file};

const NOW: &str = "2026-03-01T08:00:00Z";

/// Gives every request the same answer, and remembers the requests.
struct Scripted {
    status: StatusCode,
    answer: Value,
    requests: Mutex<Vec<http::Request<Bytes>>>,
}

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        self.requests.lock().expect("no panic").push(request);
        let mut response = http::Response::new(Bytes::from(self.answer.to_string()));
        *response.status_mut() = self.status;
        Ok(response)
    }
}

fn scripted(status: u16, answer: Value) -> (Arc<Scripted>, Downstream) {
    let status = StatusCode::from_u16(status).expect("a status");
    let transport = Arc::new(Scripted { status, answer, requests: Mutex::default() });
    let downstream = client(transport.clone(), ["1", "2", "3", "4", "5"]);
    (transport, downstream)
}

/// A client of services on these ports.
fn client(transport: Arc<dyn Transport>, ports: [&str; 5]) -> Downstream {
    let urls = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let endpoints = Endpoints::new(urls.each_ref().map(String::as_str)).expect("loopback");
    Downstream::new(transport, endpoints, Arc::new(SystemClock), Duration::from_secs(10))
}

fn key() -> String {
    "key".to_owned()
}

fn account() -> NewAccount<'static> {
    NewAccount { tenant_id: "t", user_id: "u", email: "e@example.com", name: "n", role: "user" }
}

fn session() -> NewSession<'static> {
    NewSession { tenant_id: "t2", source_tenant_id: "t", user_id: "u", session_id: "s", preserve_data: true }
}

fn switch() -> ContextSwitch<'static> {
    ContextSwitch { user_id: "u", expected_tenant_id: "t", new_tenant_id: "t2", preserve_preferences: true }
}

/// Every call once, with its outcome.
async fn every_call(downstream: &Downstream) -> Vec<(&'static str, Result<(), ActivityError>)> {
    let notification = Notification {
        notification_type: "n",
        recipient: "r",
        message: "m",
        metadata: Default::default(),
        subject_id: None,
    };
    vec![
        ("auth::create_user", auth::create_user(downstream, &account(), key()).await.map(drop)),
        ("auth::validate", auth::validate(downstream, "t", "u").await.map(drop)),
        ("auth::put_session", auth::put_session(downstream, &session(), key()).await.map(drop)),
        ("auth::revoke_sessions", auth::revoke_sessions(downstream, "t", "u", key()).await.map(drop)),
        (
            "user::create_profile",
            user::create_profile(downstream, "t", "u", "p", &Default::default(), key()).await.map(drop),
        ),
        ("user::put_tenant_context", user::put_tenant_context(downstream, &switch(), key()).await.map(drop)),
        ("tenant::context", tenant::context(downstream, "t").await.map(drop)),
        ("tenant::access", tenant::access(downstream, "t", "u").await.map(drop)),
        ("tenant::put_member", tenant::put_member(downstream, "t", "u", "user", &["p"], key()).await.map(drop)),
        ("file::create_workspace", file::create_workspace(downstream, "t", "u", "w", key()).await.map(drop)),
        ("file::create_sample_data", file::create_sample_data(downstream, "t", "u", "w", key()).await.map(drop)),
        ("notifications::send", notifications::send(downstream, "t", &notification, key()).await.map(drop)),
        ("effects::undo", effects::undo(downstream, Service::File, "t", "effect", key()).await.map(drop)),
    ]
}

fn name_of<T>(outcome: Result<T, ActivityError>) -> Option<String> {
    outcome.err().map(|error| error.error)
}

fn named(name: ErrorName) -> Option<String> {
    Some(name.to_string())
}
