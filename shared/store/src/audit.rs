//! The audit log: one row for each change that somebody made through the API, and one for each denial of a caller who is
//! known.
//!
//! Rows are only ever added. The row of a change is written in the transaction of the change: there is never one without
//! the other. A row's moment is that of the request, so a row may come to stand behind younger ones for as long as a request
//! takes: whoever goes through a log in order stays that far behind. Rows hold ids only, no bodies of requests and no e-mail
//! addresses.

use async_trait::async_trait;
use contracts::audit::{AuditAction, AuditOutcome};
use contracts::{Timestamp, WorkflowKind};
use serde_json::Value;

use crate::StoreError;

/// A row to add; the store gives it its id.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAuditRow {
    /// Whose log it belongs to.
    pub tenant_id: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked: the subject of the token, or who the caller says it is where callers are not authenticated.
    pub actor: Option<String>,
    /// Whether an administrator asked.
    pub is_admin: bool,
    /// What was asked for.
    pub action: AuditAction,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// The execution that it is about.
    pub workflow_id: Option<String>,
    /// The workflow of that execution, where known.
    pub workflow_kind: Option<WorkflowKind>,
    /// The request's `X-Request-ID`.
    pub request_id: String,
    /// Why, in the caller's words: at most [`contracts::limits::MAX_REASON_CHARS`].
    pub reason: Option<String>,
    /// An object: method and route, and what a denial said.
    pub details: Value,
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// A UUID, version 7.
    pub id: String,
    /// What it tells.
    pub row: NewAuditRow,
}

/// Which rows to read; those that fit all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What was asked for.
    pub action: Option<AuditAction>,
    /// What became of it.
    pub outcome: Option<AuditOutcome>,
    /// Who asked.
    pub actor: Option<String>,
    /// The execution.
    pub workflow_id: Option<String>,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub to: Option<Timestamp>,
}

/// A part of a log, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// The rows. There may be fewer than asked for, even none, before the end: a store reads only so many for a page.
    pub rows: Vec<AuditRow>,
    /// Where the next part begins, as only the store understands it; none at the end.
    pub next: Option<String>,
}

/// The audit log. The rows of changes are written by what changes: [`Executions::create`](crate::Executions::create),
/// [`Executions::control`](crate::Executions::control), [`Journal::commit`](crate::Journal::commit),
/// [`EndRecorder::record_end`](crate::EndRecorder::record_end).
#[async_trait]
pub trait Audit: Send + Sync {
    /// Adds a row by itself: of a denial, which changes nothing else.
    async fn record(&self, row: NewAuditRow) -> Result<(), StoreError>;

    /// The tenant's rows, newest first: `limit` of them at most, those older than `before` (an [`AuditPage::next`]).
    async fn rows(
        &self,
        tenant_id: &str,
        filter: &AuditFilter,
        before: Option<&str>,
        limit: u32,
    ) -> Result<AuditPage, StoreError>;
}
