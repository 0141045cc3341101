//! The REST API: one file per endpoint, each with a route of its own that the local server and the endpoint's Lambda
//! both serve.
//!
//! Every answer that is not a success is an RFC 9457 problem document naming every bad field. Nothing is written
//! before the whole request has been checked.

mod access;
pub mod act_on_workflows;
mod arriving;
mod audit;
mod body;
pub mod cancel_workflow;
pub mod check_services_health;
mod conditional;
pub mod create_bulk_upload;
mod damage;
pub mod delete_backup;
mod due_requests;
mod durations;
mod endpoints;
pub mod extend_data_request;
pub mod get_backup;
pub mod get_certificate;
pub mod get_data_request;
pub mod get_hold;
pub mod get_workflow_history;
pub mod get_workflow_results;
pub mod get_workflow_status;
mod headers;
pub mod health;
pub mod list_audit_rows;
pub mod list_backups;
pub mod list_data_requests;
pub mod list_holds;
pub mod list_workflows;
mod operate;
mod page;
pub mod pause_workflow;
mod pauses;
pub mod place_hold;
mod problem;
pub mod ready;
pub mod release_hold;
pub mod resume_workflow;
pub mod retry_workflow;
pub mod reverse_workflow;
mod scheduled_backups;
mod serve;
mod service_checks;
mod signed_links;
mod start;
pub mod start_backup;
pub mod start_bulk_operation;
pub mod start_compliance;
pub mod start_data_migration;
pub mod start_restore;
pub mod start_tenant_switching;
pub mod start_user_onboarding;
pub mod stream_workflow;
mod streaming;
pub mod terminate_workflow;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::FromRef;
use clock::SharedClock;
use contracts::EngineKind;
use contracts::dataset::Dataset;
use contracts::limits::MAX_WAIT_SECONDS;
use engine::Engines;
use store::{
    Audit, Backups, BlobLinks, BlobReader, Blobs, DataRequests, EndRecorder, Erasures, Executions, History, Holds,
};

pub use access::GatewayClaims;
pub use contracts::access::Access;
pub use due_requests::{Notified, notify_due_requests};
pub use durations::Durations;
pub use endpoints::{ENDPOINTS, Endpoint, Port, Route};
pub use problem::Problem;
pub use scheduled_backups::{KeptHouse, keep_backups};
pub use serve::{complete, refuse};
pub use service_checks::ServiceChecks;
pub use signed_links::SignedLinks;
pub use streaming::Streaming;

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
    /// The audit log.
    pub audit: Arc<dyn Audit>,
    /// The engines that are reached from here; none where endpoints do without.
    pub engines: Engines,
    /// Time.
    pub clock: SharedClock,
    /// Who may call.
    pub access: Access,
    /// How long a request may take until its answer begins.
    pub request_timeout: Duration,
    /// How long a request may wait for an end or for news, at most [`MAX_WAIT_SECONDS`].
    pub longest_wait: Duration,
    /// Whether answers can be streamed.
    pub streaming: Streaming,
}

impl Api {
    /// How long a request may take until its answer is made.
    fn working_time(&self) -> Duration {
        self.request_timeout.saturating_sub(start::ANSWERING_TIME)
    }

    /// How long a request waits that asks for this.
    fn granted(&self, wait: Duration) -> Duration {
        wait.min(self.longest_wait).min(self.working_time()).min(Duration::from_secs(MAX_WAIT_SECONDS))
    }
}

/// What the endpoints that start executions work with.
#[derive(Clone)]
pub struct Starting {
    /// What all endpoints work with.
    pub api: Api,
    /// What new executions run on.
    pub engine: EngineKind,
    /// Where large requests go.
    pub blobs: Arc<dyn Blobs>,
    /// How long an execution may take, pauses excluded.
    pub default_timeout: Duration,
    /// How long executions take.
    pub durations: Arc<Durations>,
    /// What backups there are.
    pub backups: Arc<dyn Backups>,
    /// The ledger of erasures, whose backups are destroyed in time.
    pub erasures: Arc<dyn Erasures>,
}

/// What the endpoints that stop executions, or do anything to many of them, work with.
#[derive(Clone)]
pub struct Operating {
    /// What it takes to start one.
    pub starting: Starting,
    /// Records the end of an execution that another engine stopped.
    pub ends: Arc<dyn EndRecorder>,
}

impl FromRef<Operating> for Api {
    fn from_ref(operating: &Operating) -> Self {
        operating.starting.api.clone()
    }
}

impl FromRef<Starting> for Api {
    fn from_ref(starting: &Starting) -> Self {
        starting.api.clone()
    }
}

/// What the endpoints that lead to files work with.
#[derive(Clone)]
pub struct Files {
    /// What all endpoints work with.
    pub api: Api,
    /// The files.
    pub blobs: Arc<dyn BlobReader>,
    /// Links to them.
    pub links: Arc<dyn BlobLinks>,
}

impl FromRef<Files> for Api {
    fn from_ref(files: &Files) -> Self {
        files.api.clone()
    }
}

/// What the endpoints about backups that were completed work with.
#[derive(Clone)]
pub struct KeptBackups {
    /// What all endpoints work with.
    pub api: Api,
    /// The backups.
    pub backups: Arc<dyn Backups>,
    /// Their files.
    pub blobs: Arc<dyn Blobs>,
    /// Erasures, which have backups of their own.
    pub erasures: Arc<dyn Erasures>,
}

impl FromRef<KeptBackups> for Api {
    fn from_ref(kept: &KeptBackups) -> Self {
        kept.api.clone()
    }
}

/// What the endpoints about compliance work with.
#[derive(Clone)]
pub struct Compliance {
    /// What all endpoints work with.
    pub api: Api,
    /// Legal holds.
    pub holds: Arc<dyn Holds>,
    /// Requests of persons.
    pub requests: Arc<dyn DataRequests>,
    /// What types of things hold of persons.
    pub dataset: Arc<Dataset>,
}

impl FromRef<Compliance> for Api {
    fn from_ref(compliance: &Compliance) -> Self {
        compliance.api.clone()
    }
}

/// What the release of a legal hold works with: what was kept because of it is erased from then on.
#[derive(Clone)]
pub struct Releasing {
    /// Legal holds.
    pub compliance: Compliance,
    /// Starts executions.
    pub starting: Starting,
}

impl FromRef<Releasing> for Api {
    fn from_ref(releasing: &Releasing) -> Self {
        releasing.compliance.api.clone()
    }
}

/// What the endpoints that tell whether everything works ask.
#[derive(Clone)]
pub struct Readiness {
    /// What all endpoints work with.
    pub api: Api,
    /// The engine.
    pub engine: Arc<dyn Check>,
    /// The four services and the notification endpoint.
    pub services: ServiceChecks,
}

impl FromRef<Readiness> for Api {
    fn from_ref(readiness: &Readiness) -> Self {
        readiness.api.clone()
    }
}

/// The whole API, for a server.
pub fn router(
    operating: Operating,
    readiness: Readiness,
    files: Files,
    kept: KeptBackups,
    releasing: Releasing,
) -> Router {
    let routes = endpoints::routes(&operating, &readiness, &files, &kept, &releasing);
    let Api { clock, request_timeout, audit, .. } = operating.starting.api;
    complete(routes, clock, request_timeout, Some(audit))
}
