//! The audit log: the rows of what callers change, and the only place where denials and refusals are recorded.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use clock::Clock;
use contracts::audit::{AuditAction, AuditOutcome};
use contracts::ids::is_plain_id;
use contracts::{Timestamp, WorkflowKind};
use serde_json::json;
use store::{Audit, NewAuditRow};

use crate::Problem;
use crate::access::Caller;

/// Who asked, for the log.
#[derive(Debug, Clone)]
pub(crate) struct KnownCaller {
    /// Whose log tells of it: never that of a tenant that is not the caller's.
    pub(crate) tenant_id: String,
    pub(crate) actor: Option<String>,
    pub(crate) is_admin: bool,
}

/// What the log tells of a request. Handlers find it among the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestFacts {
    pub(crate) id: String,
    method: Method,
    /// The path with its parameters in braces: those may hold anything.
    route: String,
    /// The execution that the path names.
    workflow_id: Option<String>,
    /// The request of a person, or the legal hold, that the path or the body names.
    about: Arc<OnceLock<(&'static str, String)>>,
    /// Set as soon as it is known, also when the request is denied later.
    caller: Arc<OnceLock<KnownCaller>>,
}

impl RequestFacts {
    pub(crate) fn of(request: &Request, id: String) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        let route = matched.map(|path| path.as_str().to_owned()).unwrap_or_default();
        let named = |parameter: &str| {
            let mut segments = route.split('/').zip(request.uri().path().split('/'));
            segments.find(|(name, _)| *name == parameter).map(|(_, id)| id.to_owned())
        };
        let (workflow_id, method, about) = (named("{workflow_id}"), request.method().clone(), Arc::default());
        let (request_id, hold_id) = (named("{compliance_id}"), named("{hold_id}"));
        let facts = Self { id, method, route, workflow_id, about, caller: Arc::default() };
        request_id.into_iter().for_each(|id| facts.know_about(COMPLIANCE_ID, &id));
        hold_id.into_iter().for_each(|id| facts.know_about("hold_id", &id));
        facts
    }

    /// What is done without a request.
    pub(crate) fn of_schedule() -> Self {
        Self {
            id: "schedule".to_owned(),
            method: Method::POST,
            route: "/api/v1/coordination/backup".to_owned(),
            workflow_id: None,
            about: Arc::default(),
            caller: Arc::default(),
        }
    }

    /// Notes which request of a person, or which legal hold, is meant, if this is an id: anything else may be personal.
    pub(crate) fn know_about(&self, what: &'static str, id: &str) {
        if is_plain_id(id) {
            // The first that is known is the path's.
            let _ = self.about.set((what, id.to_owned()));
        }
    }

    /// Notes who calls.
    pub(crate) fn know(&self, caller: KnownCaller) {
        // A request has one caller, whoever asks for it again.
        let _ = self.caller.set(caller);
    }

    fn row(&self, caller: &KnownCaller, action: AuditAction, at: Timestamp) -> NewAuditRow {
        NewAuditRow {
            tenant_id: caller.tenant_id.clone(),
            at,
            actor: caller.actor.clone(),
            is_admin: caller.is_admin,
            action,
            outcome: AuditOutcome::Accepted,
            workflow_id: None,
            workflow_kind: None,
            request_id: self.id.clone(),
            reason: None,
            details: json!({ "method": self.method.as_str(), "route": self.route }),
        }
    }

    /// What the log tells of a problem, if it does.
    fn outcome(&self, problem: &Problem) -> Option<AuditOutcome> {
        let status = problem.status();
        let is_mistake = (status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED)
            && status != StatusCode::TOO_MANY_REQUESTS;
        let is_told = self.method != Method::GET && (self.route == COMPLIANCE || self.route.starts_with(OF_COMPLIANCE));
        match problem.is_denial() {
            true => Some(AuditOutcome::Denied),
            false => (is_mistake && is_told).then_some(AuditOutcome::Refused),
        }
    }

    /// The row of what was not done.
    fn not_done(
        &self,
        caller: &KnownCaller,
        (outcome, problem): (AuditOutcome, &Problem),
        at: Timestamp,
    ) -> NewAuditRow {
        let mut row = self.row(caller, action(&self.method, &self.route), at);
        row.outcome = outcome;
        // What is no id may be anything, an e-mail address too.
        let id = problem.workflow_id().or(self.workflow_id.as_deref()).filter(|id| is_plain_id(id));
        row.workflow_id = id.map(str::to_owned);
        row.workflow_kind = id.map_or_else(|| started(&self.route), WorkflowKind::of_execution);
        row.details["status"] = problem.status().as_u16().into();
        row.details["code"] = problem.code().as_str().into();
        row.details["detail"] = problem.detail().into();
        if let Some((what, id)) = self.about.get() {
            row.details[*what] = json!(id);
        }
        row
    }
}

impl Caller {
    /// The row of what this caller changes; it is written with the change.
    pub(crate) fn audit_row(&self, action: AuditAction, workflow_id: &str, at: Timestamp) -> NewAuditRow {
        let known = self.known();
        let mut row = self.request.row(&known, action, at);
        row.workflow_id = Some(workflow_id.to_owned());
        row.workflow_kind = WorkflowKind::of_execution(workflow_id);
        if self.user_id != known.actor {
            row.details["acting_for"] = json!(self.user_id);
        }
        row
    }
}

impl Caller {
    /// The row of the removal of a backup.
    pub(crate) fn backup_row(&self, backup_id: &str, at: Timestamp) -> NewAuditRow {
        let mut row = self.request.row(&self.known(), AuditAction::DeleteBackup, at);
        row.details["backup_id"] = json!(backup_id);
        row
    }

    /// The row of what is done with a legal hold, and why.
    pub(crate) fn hold_row(&self, action: AuditAction, hold_id: &str, reason: &str, at: Timestamp) -> NewAuditRow {
        let mut row = self.request.row(&self.known(), action, at);
        row.details["hold_id"] = json!(hold_id);
        row.reason = Some(reason.to_owned());
        row
    }
}

impl Caller {
    /// The row of more time for a request of a person, and why.
    pub(crate) fn extension_row(&self, compliance_id: &str, reason: &str, at: Timestamp) -> NewAuditRow {
        let mut row = self.request.row(&self.known(), AuditAction::ExtendRequest, at);
        row.details["compliance_id"] = json!(compliance_id);
        row.reason = Some(reason.to_owned());
        row
    }
}

/// Records a problem if the log tells of such, and it is known who asked. It stays a problem, whether or not it can be recorded.
pub(crate) async fn record_problem(
    audit: Option<&dyn Audit>,
    facts: &RequestFacts,
    problem: &Problem,
    clock: &dyn Clock,
) {
    let Some(outcome) = facts.outcome(problem) else { return };
    let (request_id, route, code) = (&facts.id, &facts.route, problem.code());
    let (Some(audit), Some(caller)) = (audit, facts.caller.get()) else {
        if outcome == AuditOutcome::Denied {
            tracing::warn!(request_id, route, %code, "a caller who is not known was denied");
        }
        return;
    };
    let row = facts.not_done(caller, (outcome, problem), clock.now());
    let (tenant_id, actor, workflow_id) = (row.tenant_id.clone(), row.actor.clone(), row.workflow_id.clone());
    if let Err(error) = audit.record(row).await {
        tracing::error!(request_id, route, %code, tenant_id, actor, workflow_id, %error, "what was not done is not in the audit log");
    }
}

/// What a request asks for, by its method and route. Not by the list of endpoints, with which every function would hold
/// the handlers of all.
fn action(method: &Method, route: &str) -> AuditAction {
    if method == Method::DELETE && route == "/api/v1/coordination/backups/{backup_id}" {
        return AuditAction::DeleteBackup;
    }
    if method == Method::DELETE && route == "/api/v1/compliance/holds/{hold_id}" {
        return AuditAction::ReleaseHold;
    }
    if method != Method::POST {
        return AuditAction::Read;
    }
    match route {
        "/api/v1/compliance/holds" => return AuditAction::PlaceHold,
        "/api/v1/compliance/requests/{compliance_id}/extension" => return AuditAction::ExtendRequest,
        _ => {}
    }
    match route.strip_prefix(WORKFLOWS).unwrap_or_default() {
        "{workflow_id}/cancel" => AuditAction::CancelWorkflow,
        "{workflow_id}/pause" => AuditAction::PauseWorkflow,
        "{workflow_id}/resume" => AuditAction::ResumeWorkflow,
        "{workflow_id}/terminate" => AuditAction::TerminateWorkflow,
        "{workflow_id}/retry" => AuditAction::RetryWorkflow,
        "{workflow_id}/reverse" => AuditAction::ReverseWorkflow,
        "actions" => AuditAction::ActOnWorkflows,
        _ if started(route).is_some() => AuditAction::StartWorkflow,
        _ => AuditAction::Read,
    }
}

/// What a request of a person is called by.
pub(crate) const COMPLIANCE_ID: &str = "compliance_id";

const WORKFLOWS: &str = "/api/v1/workflows/";
const COMPLIANCE: &str = "/api/v1/workflows/compliance";
const OF_COMPLIANCE: &str = "/api/v1/compliance/";

/// The workflow that a route starts.
fn started(route: &str) -> Option<WorkflowKind> {
    match route {
        "/api/v1/coordination/backup" => return Some(WorkflowKind::CrossServiceBackup),
        "/api/v1/coordination/restore" => return Some(WorkflowKind::CrossServiceRestore),
        _ => {}
    }
    route.strip_prefix(WORKFLOWS)?.replace('-', "_").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ENDPOINTS, Port};

    /// What an endpoint changes, as its ports say; a port without a rule does not compile.
    fn changes(port: &Port) -> bool {
        match port {
            Port::Create | Port::Keep | Port::Start(_) | Port::Control | Port::Terminate => true,
            Port::RemoveBackup => true,
            Port::PlaceHold | Port::ReleaseHold | Port::ExtendRequest => true,
            Port::Backup | Port::Backups | Port::Hold | Port::Holds => false,
            Port::DataRequest | Port::DataRequests | Port::Erasure | Port::Erasures => false,
            Port::Read | Port::List | Port::History | Port::Retried | Port::Request => false,
            Port::Check | Port::Archive | Port::Audit => false,
            // A link changes nothing yet: the start that uses what was uploaded has its row.
            Port::Upload | Port::Uploaded | Port::Results => false,
        }
    }

    #[test]
    fn what_changes_something_has_an_action_of_its_own() {
        for endpoint in ENDPOINTS {
            let action = action(&endpoint.method, endpoint.path);
            assert_eq!(action != AuditAction::Read, endpoint.ports.iter().any(changes), "{}", endpoint.name);
            // The name of an endpoint that changes something begins as its action's does, or is its action's.
            let word = endpoint.name.split('-').next();
            let is_its_own = action == AuditAction::Read || action.as_str().split('_').next() == word;
            assert!(is_its_own, "{} is told as {action}", endpoint.name);
        }
    }

    #[test]
    fn each_route_has_its_action() {
        let routes = [
            ("/api/v1/workflows/user-onboarding", AuditAction::StartWorkflow),
            ("/api/v1/workflows/tenant-switching", AuditAction::StartWorkflow),
            ("/api/v1/workflows/data-migration", AuditAction::StartWorkflow),
            ("/api/v1/workflows/compliance", AuditAction::StartWorkflow),
            ("/api/v1/workflows/bulk-operation", AuditAction::StartWorkflow),
            ("/api/v1/workflows/bulk-operation/uploads", AuditAction::Read),
            ("/api/v1/coordination/backup", AuditAction::StartWorkflow),
            ("/api/v1/coordination/restore", AuditAction::StartWorkflow),
            ("/api/v1/workflows/{workflow_id}/cancel", AuditAction::CancelWorkflow),
            ("/api/v1/workflows/{workflow_id}/pause", AuditAction::PauseWorkflow),
            ("/api/v1/workflows/{workflow_id}/resume", AuditAction::ResumeWorkflow),
            ("/api/v1/workflows/{workflow_id}/terminate", AuditAction::TerminateWorkflow),
            ("/api/v1/workflows/{workflow_id}/retry", AuditAction::RetryWorkflow),
            ("/api/v1/workflows/{workflow_id}/reverse", AuditAction::ReverseWorkflow),
            ("/api/v1/workflows/actions", AuditAction::ActOnWorkflows),
            ("/api/v1/coordination/health-check", AuditAction::Read),
            ("/api/v1/compliance/holds", AuditAction::PlaceHold),
            ("/api/v1/compliance/requests/{compliance_id}/extension", AuditAction::ExtendRequest),
        ];
        for (path, expected) in routes {
            assert_eq!(action(&Method::POST, path), expected, "{path}");
            assert_eq!(action(&Method::GET, path), AuditAction::Read, "{path}");
        }
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.method == Method::POST) {
            assert!(routes.iter().any(|(path, _)| *path == endpoint.path), "{} has no rule: add one", endpoint.name);
        }
    }
}
