//! Which endpoints exist. The server's router follows from this list, and so does what `cargo xtask generate` writes: each
//! endpoint's function, its route at API Gateway, and what the function's role allows.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use clock::SharedClock;
use contracts::WorkflowKind;

use crate::{Api, Compliance, Files, KeptBackups, Operating, Readiness, Releasing, Starting};

/// One endpoint, which the server and a Lambda function of its own both serve.
#[derive(Debug)]
pub struct Endpoint {
    /// The name of its function, e.g. `get-workflow-status`; in snake_case its module here.
    pub name: &'static str,
    /// The method it answers to.
    pub method: Method,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// What its handler asks for.
    pub ports: &'static [Port],
    /// Its route, by what the handler works with.
    pub route: Route,
}

/// A group of operations that a handler asks for; the role of its function allows what they need and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Creates records: `Executions::full`, `Executions::create`.
    Create,
    /// Keeps a request that is too large for a record as a blob of its own: `StoredRequest::keep`. A retry shares the one
    /// of what it retries.
    Keep,
    /// Starts executions of these workflows on the engine.
    Start(&'static [WorkflowKind]),
    /// Reads one record: `Executions::get_estimated`.
    Read,
    /// Lists records: `Executions::list`.
    List,
    /// Reads events: all of `History`. The first one shows the request: see [`Port::Request`].
    History,
    /// Sets the control flags of a record: `Executions::control`.
    Control,
    /// Reads an execution with its history: `Executions::retried`, `History::events`. The first event shows the request: see
    /// [`Port::Request`].
    Retried,
    /// Reads a request that is too large for a record: `StoredRequest::load`, `StoredRequest::shown`.
    Request,
    /// Stops executions on the engine, and records their ends: `EndRecorder`.
    Terminate,
    /// Whether the table answers: `Executions::check`.
    Check,
    /// Finds executions that the table no longer has.
    Archive,
    /// Signs links that store a file: `BlobLinks::upload`.
    Upload,
    /// Whether a file was uploaded: `BlobReader::size`.
    Uploaded,
    /// Signs links that read the files an execution left: `BlobLinks::download`.
    Results,
    /// Reads what is known of a backup: `Backups::backup`.
    Backup,
    /// Lists backups: `Backups::backups`.
    Backups,
    /// Removes a backup: `Backups::begin_removal`, `store::remove_backup`.
    RemoveBackup,
    /// Places a legal hold, and reads those that hold: `Holds::place`, `Holds::active`.
    PlaceHold,
    /// Reads a legal hold: `Holds::hold`.
    Hold,
    /// Lists legal holds: `Holds::holds`.
    Holds,
    /// Releases a legal hold, and reads those that hold: `Holds::release`, `Holds::active`.
    ReleaseHold,
    /// Looks for an erasure in the ledger: `Erasures::erasure`.
    Erasure,
    /// Lists the ledger of erasures: `Erasures::erasures`.
    Erasures,
    /// Reads a request of a person: `DataRequests::request`.
    DataRequest,
    /// Lists requests of persons: `DataRequests::requests`.
    DataRequests,
    /// Gives more time to a request of a person, and reads it: `DataRequests::extend`, `DataRequests::request`.
    ExtendRequest,
    /// Reads the audit log: `Audit::rows`. Every endpoint that asks who calls also adds to it what it denies.
    Audit,
}

/// A route, by the state of its handler. `functions/endpoint-lambdas` has a function for each that serves it.
#[derive(Debug, Clone, Copy)]
pub enum Route {
    /// Works without store and engine.
    Alone(fn() -> Router<SharedClock>),
    /// Works with records and histories.
    Records(fn() -> Router<Api>),
    /// Starts executions.
    Starting(fn() -> Router<Starting>),
    /// Stops executions, or does anything to many of them.
    Operating(fn() -> Router<Operating>),
    /// Leads to files.
    Files(fn() -> Router<Files>),
    /// Works with backups that were completed.
    Backups(fn() -> Router<KeptBackups>),
    /// Works with legal holds, and with requests of persons.
    Compliance(fn() -> Router<Compliance>),
    /// Releases legal holds.
    Releasing(fn() -> Router<Releasing>),
    /// Asks everything else whether it works.
    Readiness(fn() -> Router<Readiness>),
}

/// Every endpoint.
pub static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: "start-user-onboarding",
        method: Method::POST,
        path: "/api/v1/workflows/user-onboarding",
        ports: &[Port::Create, Port::Keep, Port::Start(&[WorkflowKind::UserOnboarding])],
        route: Route::Starting(crate::start_user_onboarding::route),
    },
    Endpoint {
        name: "start-tenant-switching",
        method: Method::POST,
        path: "/api/v1/workflows/tenant-switching",
        ports: &[Port::Create, Port::Keep, Port::Start(&[WorkflowKind::TenantSwitching])],
        route: Route::Starting(crate::start_tenant_switching::route),
    },
    Endpoint {
        name: "start-data-migration",
        method: Method::POST,
        path: "/api/v1/workflows/data-migration",
        ports: &[Port::Create, Port::Keep, Port::Backup, Port::Erasure, Port::Start(&[WorkflowKind::DataMigration])],
        route: Route::Starting(crate::start_data_migration::route),
    },
    Endpoint {
        name: "start-compliance",
        method: Method::POST,
        path: "/api/v1/workflows/compliance",
        ports: &[Port::Create, Port::Keep, Port::Start(&[WorkflowKind::Compliance])],
        route: Route::Starting(crate::start_compliance::route),
    },
    Endpoint {
        name: "start-bulk-operation",
        method: Method::POST,
        path: "/api/v1/workflows/bulk-operation",
        ports: &[Port::Create, Port::Keep, Port::Uploaded, Port::Start(&[WorkflowKind::BulkOperation])],
        route: Route::Starting(crate::start_bulk_operation::route),
    },
    Endpoint {
        name: "create-bulk-upload",
        method: Method::POST,
        path: "/api/v1/workflows/bulk-operation/uploads",
        ports: &[Port::Upload],
        route: Route::Files(crate::create_bulk_upload::route),
    },
    Endpoint {
        name: "get-workflow-results",
        method: Method::GET,
        path: "/api/v1/workflows/{workflow_id}/results/{name}",
        ports: &[Port::Read, Port::Results, Port::Archive],
        route: Route::Files(crate::get_workflow_results::route),
    },
    Endpoint {
        name: "get-workflow-status",
        method: Method::GET,
        path: "/api/v1/workflows/{workflow_id}/status",
        ports: &[Port::Read, Port::Archive],
        route: Route::Records(crate::get_workflow_status::route),
    },
    Endpoint {
        name: "list-workflows",
        method: Method::GET,
        path: "/api/v1/workflows",
        ports: &[Port::List],
        route: Route::Records(crate::list_workflows::route),
    },
    Endpoint {
        name: "get-workflow-history",
        method: Method::GET,
        path: "/api/v1/workflows/history",
        ports: &[Port::History, Port::Request, Port::Archive],
        route: Route::Records(crate::get_workflow_history::route),
    },
    Endpoint {
        name: "stream-workflow",
        method: Method::GET,
        path: "/api/v1/workflows/{workflow_id}/stream",
        // What a server has anyway. Its function answers that it cannot stream, and reads nothing.
        ports: &[],
        route: Route::Records(crate::stream_workflow::route),
    },
    Endpoint {
        name: "cancel-workflow",
        method: Method::POST,
        path: "/api/v1/workflows/{workflow_id}/cancel",
        ports: &[Port::Control, Port::Archive],
        route: Route::Records(crate::cancel_workflow::route),
    },
    Endpoint {
        name: "pause-workflow",
        method: Method::POST,
        path: "/api/v1/workflows/{workflow_id}/pause",
        ports: &[Port::Control, Port::Archive],
        route: Route::Records(crate::pause_workflow::route),
    },
    Endpoint {
        name: "resume-workflow",
        method: Method::POST,
        path: "/api/v1/workflows/{workflow_id}/resume",
        ports: &[Port::Control, Port::Read, Port::Archive],
        route: Route::Records(crate::resume_workflow::route),
    },
    Endpoint {
        name: "terminate-workflow",
        method: Method::POST,
        path: "/api/v1/workflows/{workflow_id}/terminate",
        ports: &[Port::Retried, Port::Request, Port::Terminate, Port::Read, Port::Archive],
        route: Route::Operating(crate::terminate_workflow::route),
    },
    Endpoint {
        name: "retry-workflow",
        method: Method::POST,
        path: "/api/v1/workflows/{workflow_id}/retry",
        ports: &[Port::Retried, Port::Request, Port::Create, Port::Start(&WorkflowKind::ALL), Port::Archive],
        route: Route::Starting(crate::retry_workflow::route),
    },
    Endpoint {
        name: "reverse-workflow",
        method: Method::POST,
        path: "/api/v1/workflows/{workflow_id}/reverse",
        ports: &[
            Port::Retried,
            Port::Request,
            Port::Create,
            Port::Start(&[WorkflowKind::DataMigration]),
            Port::Archive,
        ],
        route: Route::Starting(crate::reverse_workflow::route),
    },
    Endpoint {
        name: "act-on-workflows",
        method: Method::POST,
        path: "/api/v1/workflows/actions",
        ports: &[
            Port::List,
            Port::Control,
            Port::Retried,
            Port::Request,
            Port::Create,
            Port::Start(&WorkflowKind::ALL),
            Port::Terminate,
            Port::Read,
            Port::Archive,
        ],
        route: Route::Operating(crate::act_on_workflows::route),
    },
    Endpoint {
        name: "list-audit-rows",
        method: Method::GET,
        path: "/api/v1/audit",
        ports: &[Port::Audit],
        route: Route::Records(crate::list_audit_rows::route),
    },
    Endpoint {
        name: "check-services-health",
        method: Method::POST,
        path: "/api/v1/coordination/health-check",
        ports: &[Port::Check],
        route: Route::Readiness(crate::check_services_health::route),
    },
    Endpoint {
        name: "start-backup",
        method: Method::POST,
        path: "/api/v1/coordination/backup",
        ports: &[Port::Create, Port::Keep, Port::Backup, Port::Start(&[WorkflowKind::CrossServiceBackup])],
        route: Route::Starting(crate::start_backup::route),
    },
    Endpoint {
        name: "start-restore",
        method: Method::POST,
        path: "/api/v1/coordination/restore",
        ports: &[
            Port::Create,
            Port::Keep,
            Port::Backup,
            Port::Erasure,
            Port::Start(&[WorkflowKind::CrossServiceRestore]),
        ],
        route: Route::Starting(crate::start_restore::route),
    },
    Endpoint {
        name: "list-backups",
        method: Method::GET,
        path: "/api/v1/coordination/backups",
        ports: &[Port::Backups],
        route: Route::Backups(crate::list_backups::route),
    },
    Endpoint {
        name: "get-backup",
        method: Method::GET,
        path: "/api/v1/coordination/backups/{backup_id}",
        ports: &[Port::Backup, Port::Erasure],
        route: Route::Backups(crate::get_backup::route),
    },
    Endpoint {
        name: "delete-backup",
        method: Method::DELETE,
        path: "/api/v1/coordination/backups/{backup_id}",
        ports: &[Port::RemoveBackup],
        route: Route::Backups(crate::delete_backup::route),
    },
    Endpoint {
        name: "place-hold",
        method: Method::POST,
        path: "/api/v1/compliance/holds",
        ports: &[Port::PlaceHold],
        route: Route::Compliance(crate::place_hold::route),
    },
    Endpoint {
        name: "list-holds",
        method: Method::GET,
        path: "/api/v1/compliance/holds",
        ports: &[Port::Holds],
        route: Route::Compliance(crate::list_holds::route),
    },
    Endpoint {
        name: "get-hold",
        method: Method::GET,
        path: "/api/v1/compliance/holds/{hold_id}",
        ports: &[Port::Hold],
        route: Route::Compliance(crate::get_hold::route),
    },
    Endpoint {
        name: "release-hold",
        method: Method::DELETE,
        path: "/api/v1/compliance/holds/{hold_id}",
        ports: &[Port::ReleaseHold, Port::Erasures, Port::Create, Port::Keep, Port::Start(&[WorkflowKind::Compliance])],
        route: Route::Releasing(crate::release_hold::route),
    },
    Endpoint {
        name: "list-data-requests",
        method: Method::GET,
        path: "/api/v1/compliance/requests",
        ports: &[Port::DataRequests],
        route: Route::Compliance(crate::list_data_requests::route),
    },
    Endpoint {
        name: "get-data-request",
        method: Method::GET,
        path: "/api/v1/compliance/requests/{compliance_id}",
        ports: &[Port::DataRequest],
        route: Route::Compliance(crate::get_data_request::route),
    },
    Endpoint {
        name: "get-certificate",
        method: Method::GET,
        path: "/api/v1/compliance/requests/{compliance_id}/certificate",
        ports: &[Port::DataRequest, Port::Read],
        route: Route::Compliance(crate::get_certificate::route),
    },
    Endpoint {
        name: "extend-data-request",
        method: Method::POST,
        path: "/api/v1/compliance/requests/{compliance_id}/extension",
        ports: &[Port::ExtendRequest],
        route: Route::Compliance(crate::extend_data_request::route),
    },
    Endpoint {
        name: "health",
        method: Method::GET,
        path: "/health",
        ports: &[],
        route: Route::Alone(crate::health::route),
    },
    Endpoint {
        name: "ready",
        method: Method::GET,
        path: "/ready",
        ports: &[Port::Check],
        route: Route::Readiness(crate::ready::route),
    },
];

impl Endpoint {
    /// Whether callers must say who they are: everywhere but at what tells whether the service works.
    pub fn needs_token(&self) -> bool {
        self.path.starts_with("/api/")
    }

    /// The function of `functions/endpoint-lambdas` that serves its route.
    pub fn served_by(&self) -> &'static str {
        match self.route {
            Route::Alone(_) => "serve_alone",
            Route::Records(_) if self.ports.contains(&Port::Archive) => "serve_with_archive",
            Route::Records(_) => "serve",
            Route::Starting(_) => "serve_starting",
            Route::Operating(_) => "serve_operating",
            Route::Files(_) => "serve_files",
            Route::Backups(_) => "serve_backups",
            Route::Compliance(_) => "serve_compliance",
            Route::Releasing(_) => "serve_releasing",
            Route::Readiness(_) => "serve_readiness",
        }
    }
}

/// The routes of all endpoints.
pub(crate) fn routes(
    operating: &Operating,
    readiness: &Readiness,
    files: &Files,
    kept: &KeptBackups,
    releasing: &Releasing,
) -> Router {
    let starting = &operating.starting;
    let routes = ENDPOINTS.iter().map(|endpoint| match endpoint.route {
        Route::Alone(route) => route().with_state(Arc::clone(&starting.api.clock)),
        Route::Records(route) => route().with_state(starting.api.clone()),
        Route::Starting(route) => route().with_state(starting.clone()),
        Route::Operating(route) => route().with_state(operating.clone()),
        Route::Files(route) => route().with_state(files.clone()),
        Route::Backups(route) => route().with_state(kept.clone()),
        Route::Compliance(route) => route().with_state(releasing.compliance.clone()),
        Route::Releasing(route) => route().with_state(releasing.clone()),
        Route::Readiness(route) => route().with_state(readiness.clone()),
    });
    routes.fold(Router::new(), Router::merge)
}
