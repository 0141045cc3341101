//! The embedded engine's durable record.

use async_trait::async_trait;
use contracts::responses::{Failure, Items};
use contracts::{Status, Timestamp, WorkflowKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Inherited, NewAuditRow, NewEvent, OpenExecution, Progress, Refusal, Reported, StoreError, StoredRequest};

/// One thing that the interpreter was told, and when. The engine decides what is inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalRecord(pub Value);

/// What a start puts into the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalStart {
    /// The state machine, pinned for the whole execution.
    pub definition: String,
    /// The first records.
    pub records: Vec<JournalRecord>,
}

/// The condition under which a commit takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// None: the commit begins no step.
    Open,
    /// It begins a forward step: refused when the execution is cancelled, paused or past its deadline. Once a pivot
    /// has begun, nothing refuses any more.
    Forward {
        /// Whether this step is the pivot or the last step. From its begin on no cancel is accepted.
        is_pivot: bool,
        /// Whether every step that begins passes a cancel and the deadline, see [`Inherited::passes`].
        passes: bool,
    },
    /// It begins undoing: never refused, and from its begin on no cancel is accepted. Forward steps may follow where
    /// a failure is tolerated; a cancel accepted before, a pause and the deadline still hold them.
    Compensation,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// A terminal status.
    pub status: Status,
    /// The result: if it completed, or if its last step reported one.
    pub result: Option<Value>,
    /// Why it did not complete.
    pub failure: Option<Failure>,
}

/// All that one turn of an execution writes, in one transaction.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The owner.
    pub tenant_id: String,
    /// The execution.
    pub execution_id: String,
    /// When it happens, as the execution counts time: never before what its history says already.
    pub at: Timestamp,
    /// What the clock says; the deadline is compared with this.
    pub now: Timestamp,
    /// How many records the journal of this execution has had: the writer and the store both count.
    pub expected_records: u64,
    /// What the interpreter was told.
    pub records: Vec<JournalRecord>,
    /// The numbers of earlier records that these stand for: they are deleted.
    pub forgotten: Vec<u64>,
    /// What users read of it.
    pub history: Vec<NewEvent>,
    /// How far the execution is now.
    pub progress: Progress,
    /// What its steps have reported of its result so far, if that has changed.
    pub reported: Option<Reported>,
    /// How far its batches are, if that has changed.
    pub items: Option<Items>,
    /// The condition.
    pub gate: Gate,
    /// Set on the last commit.
    pub end: Option<End>,
    /// Who asked for it, if it ends the execution because somebody did; a refused commit adds no row.
    pub audit: Option<NewAuditRow>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is durable.
    Committed,
    /// It is durable, and its forward steps only passed: they must be answered from the record of an earlier execution.
    Passed,
    /// Nothing was written.
    Refused(Refusal),
}

/// What an engine needs to go on with an execution.
#[derive(Debug, Clone)]
pub struct JournalledExecution {
    /// The owner.
    pub tenant_id: String,
    /// The execution.
    pub id: String,
    /// Which workflow.
    pub kind: WorkflowKind,
    /// The state machine that it is pinned to.
    pub definition: String,
    /// The execution's input.
    pub input: Value,
    /// The request.
    pub request: StoredRequest,
    /// What keys and chosen ids are derived from.
    pub effect_scope: String,
    /// What it took over from the execution that it retries.
    pub inherited: Inherited,
    /// Whether a cancel or the deadline holds its steps back: those under way only passed.
    pub is_interrupted: bool,
    /// How far it is.
    pub progress: Progress,
    /// What its steps have reported of its result.
    pub reported: Reported,
    /// How far its batches are.
    pub items: Option<Items>,
    /// When it ended, if its end is stored.
    pub ended_at: Option<Timestamp>,
    /// How many records the journal has had.
    pub journal_len: u64,
    /// How many of them were not forgotten.
    pub journal_kept: u64,
}

/// Records that one call reads at most: of a journal of any length only so much is in memory at a time.
pub const MAX_RECORDS_READ: usize = 100;

/// Which records to read; they are numbered from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordSelection {
    /// The first ones behind this number.
    After(u64),
    /// Those with these numbers.
    Numbered(Vec<u64>),
}

/// The journal of the embedded engine.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes one turn, whole or not at all.
    ///
    /// # Errors
    /// After `InDoubt` the caller must not go on from memory.
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StoreError>;

    /// Ends an execution whose record or journal is damaged, as an operator wants it ended, whatever of it can be read:
    /// nothing is undone. False if it has ended, or there is none.
    ///
    /// # Errors
    /// `Inconsistent` if its row cannot be written either.
    async fn close_damaged(
        &self,
        tenant_id: &str,
        id: &str,
        at: Timestamp,
        audit: Option<NewAuditRow>,
    ) -> Result<bool, StoreError>;

    /// The executions with a journal that have not ended, oldest first.
    async fn journalled(&self) -> Result<Vec<OpenExecution>, StoreError>;

    /// One execution, without the records of its journal.
    async fn load(&self, tenant_id: &str, id: &str) -> Result<Option<JournalledExecution>, StoreError>;

    /// Records that were not forgotten, in the order of their numbers, [`MAX_RECORDS_READ`] at most.
    async fn records(
        &self,
        tenant_id: &str,
        id: &str,
        selection: RecordSelection,
    ) -> Result<Vec<(u64, JournalRecord)>, StoreError>;
}
