//! The REST API: one file per endpoint, each with a route of its own that the local server and the endpoint's Lambda
//! both serve.
//!
//! Every answer that is not a success is an RFC 9457 problem document naming every bad field. Nothing is written
//! before the whole request has been checked.

mod access;
mod body;
mod cancel_workflow;
mod get_workflow_history;
mod get_workflow_status;
mod health;
mod list_workflows;
mod page;
mod problem;
mod ready;
mod serve;
mod start;
mod start_user_onboarding;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use clock::SharedClock;
use engine::Orchestrator;
use store::{Executions, History};
use workflows::RetryPolicy;

pub use access::Access;
pub use problem::Problem;

/// Whether the four services and the notification endpoint answer.
#[async_trait]
pub trait ServicesCheck: Send + Sync {
    /// True when all of them do.
    async fn are_healthy(&self) -> bool;
}

/// What the endpoints work with.
#[derive(Clone)]
pub struct Api {
    /// Records.
    pub executions: Arc<dyn Executions>,
    /// Histories.
    pub history: Arc<dyn History>,
    /// The engine that new executions run on.
    pub orchestrator: Arc<dyn Orchestrator>,
    /// For `/ready`.
    pub services: Arc<dyn ServicesCheck>,
    /// Time.
    pub clock: SharedClock,
    /// Who may call.
    pub access: Access,
    /// How often steps are repeated.
    pub retry_policy: RetryPolicy,
    /// How long an execution may take, pauses excluded.
    pub default_timeout: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
}

/// The whole API, for a server.
pub fn router(api: Api) -> Router {
    let routes = Router::new()
        .merge(start_user_onboarding::route())
        .merge(list_workflows::route())
        .merge(get_workflow_history::route())
        .merge(get_workflow_status::route())
        .merge(cancel_workflow::route())
        .merge(health::route())
        .merge(ready::route());
    serve::complete(routes, api)
}
