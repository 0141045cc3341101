//! What the API answers. Null is written, never left out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::{AuditAction, AuditOutcome};
use crate::backup::{BackupSummary, Drill};
use crate::compliance::ComplianceType;
use crate::data_requests::RequestState;
use crate::history::Event;
use crate::holds::{Hold, HoldState};
use crate::ids::WorkflowKind;
use crate::status::Status;
use crate::step::StepPath;

/// Why an execution did not end well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// The error's stable name.
    pub error: String,
    /// The step that failed first.
    pub step: Option<String>,
    /// The service that the step was calling.
    pub service: Option<String>,
    /// What happened.
    pub message: String,
    /// The service's HTTP status, where it answered.
    pub http_status: Option<u16>,
    /// How often the step was tried.
    pub attempts: u32,
    /// Steps whose effect was undone, in the order of undoing.
    pub undone: Vec<String>,
    /// Steps whose effect may still stand, because undoing them failed.
    pub residue: Vec<Residue>,
}

/// A step that could not be undone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Residue {
    /// The step whose effect may stand.
    pub step: String,
    /// Why undoing it failed.
    pub error: String,
}

impl Failure {
    /// The sentence that `error` in answers holds.
    pub fn summary(&self) -> String {
        let mut text = match &self.step {
            Some(step) => format!("{step}: {}", self.error),
            None => self.error.clone(),
        };
        if let Some(service) = &self.service {
            text.push_str(&format!(" from {service}"));
        }
        if !self.message.is_empty() {
            text.push_str(&format!(": {}", self.message));
        }
        if self.attempts > 1 {
            text.push_str(&format!(" ({} attempts)", self.attempts));
        }
        if !self.undone.is_empty() {
            text.push_str(&format!("; undone: {}", self.undone.join(", ")));
        }
        if !self.residue.is_empty() {
            let steps: Vec<&str> = self.residue.iter().map(|residue| residue.step.as_str()).collect();
            text.push_str(&format!("; could not be undone: {}", steps.join(", ")));
        }
        text
    }
}

/// Answer to a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct StartResponse {
    pub workflow_id: String,
    /// The same as `workflow_id`; existing clients look for either.
    pub operation_id: String,
    /// In snake_case: `running`, `completed`, ...
    pub status: String,
    pub result: Option<Value>,
    pub error: Option<String>,
    pub started_at: Timestamp,
    /// Where to ask for the status.
    pub status_url: String,
    /// Where to follow it.
    pub stream_url: String,
    /// The mean of this kind's completed executions, in whole seconds, rounded up; null before there are any.
    pub estimated_duration_seconds: Option<u64>,
    /// What is done in another way than asked for.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Answer to the wish to upload a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct UploadResponse {
    pub upload_id: String,
    /// Where the file goes: an absolute URL, or a path of this service. It needs nothing else to be used, and is used once.
    pub upload_url: String,
    pub method: String,
    /// Headers that the upload must have.
    pub headers: BTreeMap<String, String>,
    /// The file must have exactly so many bytes.
    pub size_bytes: u64,
    pub expires_at: Timestamp,
}

/// How far an execution is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct ProgressResponse {
    pub current_step: String,
    pub total_steps: u32,
    pub completed_steps: u32,
    /// 0 to 100; 100 only when the execution has completed.
    pub percentage: f32,
    /// From the mean of this tenant's past executions of this kind; null before there are any.
    pub estimated_completion: Option<Timestamp>,
    pub last_updated: Timestamp,
    pub status_message: Option<String>,
}

/// How far the batches of an execution's distributed Map are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// How many there are, as the Map says; as long as it says nothing, those that are over.
    pub total: u64,
    /// How many are done. One that is undone later stays among them.
    pub completed: u64,
    /// How many have failed, and were not done by a later attempt.
    pub failed: u64,
}

/// How far a job is, and how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PacedItems {
    /// How many items there are, or batches, if the job counts these.
    pub total: u64,
    /// How many are done.
    pub completed: u64,
    /// How many have failed.
    pub failed: u64,
    /// How many were done or failed in a second, on average; null before the first.
    pub per_second: Option<f64>,
}

/// Answer to a status request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct StatusResponse {
    pub workflow_id: String,
    /// The same id, under the name that gateways know.
    pub operation_id: String,
    pub workflow_type: String,
    pub status: Status,
    pub progress: Option<ProgressResponse>,
    /// Null for an execution none of whose batches is over.
    pub items: Option<PacedItems>,
    /// The one in `progress`, for clients that look for it here.
    pub estimated_completion: Option<Timestamp>,
    pub result: Option<Value>,
    pub error: Option<String>,
    /// `error` taken apart.
    pub failure: Option<Failure>,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    /// When a cancel was accepted.
    pub cancelled_at: Option<Timestamp>,
    /// The execution that this one retries.
    #[serde(default)]
    pub retried_from: Option<String>,
    /// The execution that retries this one.
    #[serde(default)]
    pub retried_as: Option<String>,
    /// Why nothing of the execution goes on, if its record or its journal is damaged; `error` says it too.
    #[serde(default)]
    pub damaged: Option<String>,
}

/// One row of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct WorkflowSummary {
    pub workflow_id: String,
    pub workflow_type: String,
    pub status: Status,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    pub tenant_id: String,
    pub user_id: Option<String>,
    #[serde(default)]
    pub retried_from: Option<String>,
    #[serde(default)]
    pub retried_as: Option<String>,
    /// As in the answer to a status request.
    #[serde(default)]
    pub damaged: Option<String>,
}

/// A page of executions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct ListResponse {
    pub workflows: Vec<WorkflowSummary>,
    /// How many match.
    pub total_count: u64,
    /// Whether `total_count` and `counts` are exact. If not, there are at least so many.
    pub total_is_exact: bool,
    /// How many match the filters but `status`, by status as it is reported.
    pub counts: BTreeMap<Status, u64>,
    pub page: u32,
    pub page_size: u32,
    pub has_more: bool,
    pub next_page_token: Option<String>,
}

/// A page of history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct HistoryResponse {
    /// `unknown` when the request named none.
    pub workflow_id: String,
    pub events: Vec<HistoryEvent>,
    /// How many match.
    pub total_events: u64,
    /// Whether `total_events` is exact. If not, there are at least so many.
    pub total_is_exact: bool,
    pub next_page_token: Option<String>,
}

/// An event and the execution it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct HistoryEvent {
    #[serde(flatten)]
    pub event: Event,
    pub workflow_id: String,
}

/// Answer to a pause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct PauseResponse {
    pub workflow_id: String,
    pub paused: bool,
    pub paused_at: Timestamp,
    pub can_resume: bool,
    pub message: String,
}

/// Answer to a resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct ResumeResponse {
    pub workflow_id: String,
    pub resumed: bool,
    pub resumed_at: Timestamp,
    /// From the mean of this kind's past executions; null before there are any.
    pub estimated_completion: Option<Timestamp>,
    pub message: String,
}

/// Answer to a termination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct TerminateResponse {
    pub workflow_id: String,
    pub terminated: bool,
    pub terminated_at: Timestamp,
    /// Steps whose effects may still stand, in the order in which they began.
    pub may_still_stand: Vec<StepPath>,
    pub message: String,
}

/// Answer to a retry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct RetryResponse {
    pub workflow_id: String,
    pub new_workflow_id: String,
    pub retried: bool,
    pub retried_at: Timestamp,
    pub message: String,
    /// Where to ask for the status of the new execution.
    pub status_url: String,
}

/// Answer to a reversal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct ReverseResponse {
    pub workflow_id: String,
    /// The execution that takes the other one back.
    pub new_workflow_id: String,
    pub reversed: bool,
    pub reversed_at: Timestamp,
    pub message: String,
    /// Where to ask for the status of the new execution.
    pub status_url: String,
}

/// What became of an action on one of several executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionOutcome {
    /// It holds.
    Done,
    /// It would be done: this was a dry run.
    Would,
    /// The execution is in no state for it.
    Refused,
    /// There is no such execution.
    NotFound,
    /// It was not done now, or that is not known: repeat it.
    Failed,
}

/// The same for one execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct ActionResult {
    pub workflow_id: String,
    pub outcome: ActionOutcome,
    /// The execution's status; null where it is not known.
    pub status: Option<Status>,
    /// Why not, or what a termination leaves.
    pub detail: Option<String>,
    /// Of a retry: the new execution.
    pub new_workflow_id: Option<String>,
}

/// Answer to an action on several executions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct ActionsResponse {
    pub action: String,
    pub dry_run: bool,
    pub results: Vec<ActionResult>,
    pub next_page_token: Option<String>,
}

/// Answer to a cancel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct CancelResponse {
    pub workflow_id: String,
    pub cancelled: bool,
    pub cancelled_at: Timestamp,
    pub message: String,
}

/// A page of a tenant's backups, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct BackupsResponse {
    pub backups: Vec<BackupEntry>,
    pub page_size: u32,
    pub next_page_token: Option<String>,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct BackupEntry {
    pub tenant_id: String,
    #[serde(flatten)]
    pub summary: BackupSummary,
    pub keep_until: Option<Timestamp>,
    pub removing_since: Option<Timestamp>,
    pub last_drill: Option<Drill>,
}

/// The answer to the removal of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct DeleteBackupResponse {
    pub backup_id: String,
    pub deleted: bool,
    pub deleted_at: Timestamp,
    pub message: String,
}

/// A page of a tenant's legal holds, newest first. With filters it may hold fewer than `page_size`, even none, and still go
/// on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct HoldsResponse {
    pub holds: Vec<HoldEntry>,
    pub page_size: u32,
    pub next_page_token: Option<String>,
}

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct HoldEntry {
    #[serde(flatten)]
    pub hold: Hold,
    pub state: HoldState,
}

/// The answer to the placing of a legal hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaceHoldResponse {
    /// The hold.
    #[serde(flatten)]
    pub hold: HoldEntry,
    /// Other active holds that may hold some of the same data, by name; the first [`MAX_NAMED_HOLDS`].
    pub overlaps: Vec<String>,
    /// How many there are.
    pub overlap_count: usize,
}

/// The answer to the release of a legal hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseHoldResponse {
    /// The hold.
    #[serde(flatten)]
    pub hold: HoldEntry,
    /// Active holds that may still hold some of what it held, by name; the first [`MAX_NAMED_HOLDS`].
    pub still_held_by: Vec<String>,
    /// How many there are.
    pub still_held_count: usize,
    /// Compliance workflows that erase from now on what was kept because of it.
    pub deferred: Vec<String>,
}

/// A page of the requests of a tenant's persons: what is due first comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct DataRequestsResponse {
    pub requests: Vec<DataRequestEntry>,
    pub page_size: u32,
    pub next_page_token: Option<String>,
}

/// The request of a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct DataRequestEntry {
    pub compliance_id: String,
    pub compliance_type: ComplianceType,
    /// The execution that answers it; of one and its retries the newest.
    pub workflow_id: String,
    /// Whom it is about; null once the request of the execution is kept no more.
    pub subject_user_id: Option<String>,
    pub state: RequestState,
    pub received_at: Timestamp,
    /// One month after it was received.
    pub due_at: Timestamp,
    /// Three months after it was received, if it was extended.
    pub extended_until: Option<Timestamp>,
    pub extension_reason: Option<String>,
    pub completed_at: Option<Timestamp>,
    /// Whole days until it must be answered, less than none if that was before; null if its execution has ended.
    pub days_left: Option<i64>,
}

/// Holds that an answer names beside its own at most.
pub const MAX_NAMED_HOLDS: usize = 100;

/// A page of the audit log, newest first. It may hold fewer entries than `page_size`, even none, and still go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct AuditResponse {
    pub entries: Vec<AuditEntry>,
    pub page_size: u32,
    pub next_page_token: Option<String>,
}

/// What somebody asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct AuditEntry {
    pub entry_id: String,
    pub timestamp: Timestamp,
    pub tenant_id: String,
    pub actor: Option<String>,
    pub is_admin: bool,
    pub action: AuditAction,
    pub outcome: AuditOutcome,
    pub workflow_id: Option<String>,
    pub workflow_type: Option<WorkflowKind>,
    pub request_id: String,
    pub reason: Option<String>,
    pub details: Value,
}

/// Answer to a health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthCheckResponse {
    /// Whether everything that was asked about is healthy.
    pub overall_healthy: bool,
    /// By the names of the request.
    pub service_results: BTreeMap<String, bool>,
    /// When the oldest of the answers came.
    pub checked_at: Timestamp,
    /// The workflows that call what is not healthy, or what depends on it.
    pub affected_workflows: Vec<WorkflowKind>,
    /// In the order of dependency: what others depend on comes first.
    pub details: Vec<ServiceHealth>,
}

/// What is known of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct ServiceHealth {
    /// The name in the request.
    pub service: String,
    pub healthy: bool,
    pub latency_ms: u64,
    /// Why it is not healthy; null if it is.
    pub reason: Option<String>,
    /// The services that it calls itself.
    pub depends_on: Vec<String>,
    /// Of what was asked about and is not healthy, what it depends on, also through others.
    pub affected_by: Vec<String>,
    /// The workflows that call it.
    pub workflows: Vec<WorkflowKind>,
}
