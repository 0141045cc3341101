//! Execution records: what was asked for, where it stands, how it ended.

use async_trait::async_trait;
use contracts::responses::{Failure, Items};
use contracts::{EngineKind, Status, Timestamp, WorkflowKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Control, Controlled, Full, Inherited, JournalStart, ListFilter, ListPage, NewAuditRow, NewEvent, Progress,
    StoreError, StoredRequest,
};

/// One execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionRecord {
    /// The owner; every load is by (tenant, id), so a foreign record cannot even be read.
    pub tenant_id: String,
    /// Unique over all tenants.
    pub id: String,
    /// Which workflow.
    pub kind: WorkflowKind,
    /// What runs it; it stays there, whatever new executions run on.
    pub engine: EngineKind,
    /// Who asked for it, where known.
    pub user_id: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When a cancel was accepted.
    pub cancel_requested_at: Option<Timestamp>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// How long it was paused before, in microseconds.
    #[serde(default)]
    pub paused_us: u64,
    /// Whether it may still be cancelled and paused: nothing has begun that nothing may interrupt.
    #[serde(default)]
    pub window_open: bool,
    /// The workflow's result: once completed, or reported by its last step.
    pub result: Option<Value>,
    /// Why it did not complete.
    pub failure: Option<Failure>,
    /// How far it is.
    pub progress: Progress,
    /// The execution's input: ids and flags only; what the engine is started with.
    pub input: Value,
    /// What it retries, if it is a retry.
    #[serde(default)]
    pub retry_of: Option<RetryOf>,
    /// The execution that retries it.
    #[serde(default)]
    pub retried_as: Option<String>,
    /// Changes with every write; the ETag.
    pub version: u64,
    /// What of it cannot be read, if anything. The fields of that hold something neutral then, and nothing but an end can
    /// be done to the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
}

impl ExecutionRecord {
    /// The workflow type for people: as it is stored, even if nobody knows it.
    pub fn workflow_type(&self) -> &str {
        let unknown = self.damage.as_ref().and_then(|damage| damage.unknown_kind.as_deref());
        unknown.unwrap_or(self.kind.as_str())
    }
}

/// What of a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// In words, e.g. `'progress' is no JSON that is understood: ...`.
    pub why: String,
    /// The workflow type, if it is none that this program knows: [`ExecutionRecord::kind`] says nothing then.
    pub unknown_kind: Option<String>,
}

/// Reads a record part by part, whatever of it can be read.
#[derive(Debug, Default)]
pub struct Parts {
    problems: Vec<String>,
}

impl Parts {
    /// What was read, or else something neutral.
    pub fn or<T>(&mut self, read: Result<T, StoreError>, neutral: impl FnOnce() -> T) -> T {
        read.unwrap_or_else(|error| {
            self.problems.push(error.problem().to_owned());
            neutral()
        })
    }

    /// What is wrong with the parts that could not be read; none without any.
    pub fn damage(self, unknown_kind: Option<String>) -> Option<Damage> {
        (!self.problems.is_empty()).then(|| Damage { why: self.problems.join("; "), unknown_kind })
    }
}

impl Damage {
    /// What an execution whose status cannot be read counts as.
    pub fn status(has_ended: bool) -> Status {
        if has_ended { Status::Failed } else { Status::Running }
    }
}

/// What a retry retries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryOf {
    /// The execution, which has ended.
    pub id: String,
    /// Whether it only undoes what of that one may still stand.
    pub undoes: bool,
}

/// What a retry needs of the execution that it retries, beside its history.
#[derive(Debug, Clone, PartialEq)]
pub struct Retried {
    /// The execution.
    pub record: ExecutionRecord,
    /// What it was asked for.
    pub request: StoredRequest,
    /// What its own effects' keys and ids are derived from.
    pub effect_scope: String,
    /// What it took over itself.
    pub inherited: Inherited,
}

/// An execution, and what the past of its tenant and kind says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimated {
    /// The execution.
    pub record: ExecutionRecord,
    /// Mean duration of the tenant's completed executions of this kind, in milliseconds; none before the first.
    pub mean_duration_ms: Option<u64>,
    /// How far its batches are; none before its plan says how many items there are, or before the first batch is over.
    pub items: Option<Items>,
}

/// The key under which a client may repeat a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Method and route, e.g. `POST /api/v1/workflows/user-onboarding`.
    pub route: String,
    /// The client's key.
    pub key: String,
    /// Hash of the canonical JSON of the body, in hex.
    pub body_hash: String,
}

/// What a start writes, in one transaction: the record is the outbox.
#[derive(Debug, Clone)]
pub struct NewExecution {
    /// The owner.
    pub tenant_id: String,
    /// The new id.
    pub id: String,
    /// Which workflow.
    pub kind: WorkflowKind,
    /// What is to run it.
    pub engine: EngineKind,
    /// Who asks.
    pub user_id: Option<String>,
    /// Now.
    pub started_at: Timestamp,
    /// When it times out; pauses do not count, nor does waiting for an engine of its own until the first step begins.
    pub deadline_at: Option<Timestamp>,
    /// What keys and chosen ids are derived from.
    pub effect_scope: String,
    /// What it retries. That execution must have ended, and must not have been retried before.
    pub retry_of: Option<RetryOf>,
    /// What it takes over from the execution that it retries.
    pub inherited: Inherited,
    /// `Pending`, unless the engine's own start is part of this one.
    pub status: Status,
    /// The execution's input: ids and flags only.
    pub input: Value,
    /// The request itself; the only place of it.
    pub request: StoredRequest,
    /// The client's key, if it sent one.
    pub idempotency: Option<IdempotencyKey>,
    /// The upload that it works with, which no other start may use. A retry goes on with what the first one made of it.
    pub upload_id: Option<String>,
    /// How far it is at the start.
    pub progress: Progress,
    /// The first events, `WorkflowExecutionStarted` before all.
    pub history: Vec<NewEvent>,
    /// What the embedded engine wants to find; none for engines that keep their own journal.
    pub journal: Option<JournalStart>,
    /// When a cancel was accepted: a retry that only undoes is born cancelled.
    pub cancel_requested_at: Option<Timestamp>,
    /// Whether the first step is the pivot or the last one, see [`Gate::Forward`](crate::Gate).
    pub begins_pivot: bool,
    /// Who started it, for the audit log; a start that repeats an earlier one adds no row. None where no API started it.
    pub audit: Option<NewAuditRow>,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It is stored.
    New(ExecutionRecord),
    /// The same key came with the same body before: this is what it started. Or what is to be retried has been retried
    /// before, as this.
    Existing(ExecutionRecord),
    /// The same key came with another body before; nothing is stored.
    KeyReused,
    /// Another start uses the upload; nothing is stored.
    UploadUsed {
        /// What that one started.
        by: String,
    },
    /// The request of a person has a name that stands for an earlier one, which is never forgotten; nothing is stored.
    NameUsed {
        /// The last execution of that one.
        by: String,
    },
    /// Too many executions are open; nothing is stored. A start that repeats an earlier one is never answered so, nor is a
    /// retry that only undoes.
    Full(Full),
}

impl NewExecution {
    /// Whether it may be refused because too many executions are open: what only undoes never is.
    pub fn is_limited(&self) -> bool {
        !self.retry_of.as_ref().is_some_and(|retry| retry.undoes)
    }
}

/// An execution that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenExecution {
    /// The owner.
    pub tenant_id: String,
    /// The execution.
    pub id: String,
}

/// An open execution that its engine is to be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueExecution {
    /// The owner.
    pub tenant_id: String,
    /// The execution.
    pub id: String,
    /// Whether its engine has been heard of: a step has begun, or [`Executions::put_off`] said so.
    pub has_begun: bool,
}

/// Records of executions.
#[async_trait]
pub trait Executions: Send + Sync {
    /// Whether a start of this tenant would be refused now because too many executions are open: asked before anything is
    /// prepared for it. One whose key has come before is not refused. [`Executions::create`] decides again.
    async fn full(&self, tenant_id: &str, key: Option<&IdempotencyKey>) -> Result<Option<Full>, StoreError>;

    /// Whether this key has started something before, with whatever body.
    async fn has_started(&self, tenant_id: &str, key: &IdempotencyKey) -> Result<bool, StoreError>;

    /// The execution that uses this upload, as long as it is not archived.
    async fn used_by(&self, tenant_id: &str, upload_id: &str) -> Result<Option<String>, StoreError>;

    /// Stores a start, whole or not at all. Of starts that use the same upload one wins, however many there are at once.
    async fn create(&self, new: NewExecution) -> Result<Created, StoreError>;

    /// The record, if this tenant has it.
    async fn get(&self, tenant_id: &str, id: &str) -> Result<Option<ExecutionRecord>, StoreError>;

    /// What a retry needs of an execution; none if this tenant has none of this id, or its request is kept no more.
    async fn retried(&self, tenant_id: &str, id: &str) -> Result<Option<Retried>, StoreError>;

    /// The record with the mean duration of its tenant and kind, in one request to the database; how far its batches are may
    /// take another one, if it has any.
    async fn get_estimated(&self, tenant_id: &str, id: &str) -> Result<Option<Estimated>, StoreError>;

    /// The mean duration that [`Executions::get_estimated`] tells of a kind, in milliseconds.
    async fn mean_duration_ms(&self, tenant_id: &str, kind: WorkflowKind) -> Result<Option<u64>, StoreError>;

    /// The tenant's executions, newest first: `limit` of them after skipping `skip`, those older than `before` (a
    /// [`ListPage::next`]).
    async fn list(
        &self,
        tenant_id: &str,
        filter: &ListFilter,
        before: Option<&str>,
        skip: u64,
        limit: u32,
    ) -> Result<ListPage, StoreError>;

    /// Asks something of an execution: a change of its record, which the next step that wants to begin sees. With the
    /// change goes its audit row; what holds already, or is refused, adds none.
    async fn control(
        &self,
        tenant_id: &str,
        id: &str,
        control: Control,
        now: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<Controlled, StoreError>;

    /// Executions accepted before `started_before` that have not ended, and have begun or have not; the oldest first,
    /// `limit` of them at most.
    async fn open_executions(
        &self,
        has_begun: bool,
        started_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueExecution>, StoreError>;

    /// Lets an open execution count in [`Executions::open_executions`] as one accepted at `at`, so that others have
    /// their turn; `has_begun` is remembered.
    async fn put_off(&self, due: &DueExecution, at: Timestamp) -> Result<(), StoreError>;

    /// The executions whose records were found damaged when they were last read by this process. It remembers a bounded
    /// number of them.
    fn found_damaged(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the store can be read and written.
    async fn check(&self) -> Result<(), StoreError>;
}
