//! The REST API: one file per endpoint, each with a route of its own that the local server and the endpoint's Lambda
//! both serve.
//!
//! Every answer that is not a success is an RFC 9457 problem document naming every bad field. Nothing is written
//! before the whole request has been checked.

mod access;
mod body;
pub mod cancel_workflow;
pub mod get_workflow_history;
pub mod get_workflow_status;
pub mod health;
pub mod list_workflows;
mod page;
mod problem;
pub mod ready;
mod serve;
mod start;
pub mod start_user_onboarding;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::FromRef;
use clock::SharedClock;
use engine::Orchestrator;
use store::{Executions, History};

pub use access::GatewayClaims;
pub use contracts::access::Access;
pub use problem::Problem;
pub use serve::complete;

/// Whether something works that the service stands on.
#[async_trait]
pub trait Check: Send + Sync {
    /// Ok, or why not.
    async fn check(&self) -> Result<(), String>;
}

/// What the endpoints work with.
#[derive(Clone)]
pub struct Api {
    /// Records.
    pub executions: Arc<dyn Executions>,
    /// Histories.
    pub history: Arc<dyn History>,
    /// Time.
    pub clock: SharedClock,
    /// Who may call.
    pub access: Access,
    /// How long a request may take.
    pub request_timeout: Duration,
}

/// What the endpoints that start executions work with.
#[derive(Clone)]
pub struct Starting {
    /// What all endpoints work with.
    pub api: Api,
    /// The engine that new executions run on.
    pub orchestrator: Arc<dyn Orchestrator>,
    /// How long an execution may take, pauses excluded.
    pub default_timeout: Duration,
}

impl FromRef<Starting> for Api {
    fn from_ref(starting: &Starting) -> Self {
        starting.api.clone()
    }
}

/// What `/ready` asks.
#[derive(Clone)]
pub struct Readiness {
    /// What all endpoints work with.
    pub api: Api,
    /// The engine.
    pub engine: Arc<dyn Check>,
    /// The four services and the notification endpoint.
    pub services: Arc<dyn Check>,
}

/// The whole API, for a server.
pub fn router(starting: Starting, readiness: Readiness) -> Router {
    let api = starting.api.clone();
    let starts = Router::new().merge(start_user_onboarding::route()).with_state(starting);
    let others = Router::new()
        .merge(list_workflows::route())
        .merge(get_workflow_history::route())
        .merge(get_workflow_status::route())
        .merge(cancel_workflow::route())
        .with_state(api.clone());
    let health = health::route().with_state(Arc::clone(&api.clock));
    let ready = ready::route().with_state(readiness);
    complete(starts.merge(others).merge(health).merge(ready), api.clock, api.request_timeout)
}
