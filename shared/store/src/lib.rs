//! The ports through which the service remembers, and the conformance suite every store passes.
//!
//! A port is a group of operations that belong together; a handler asks only for the ports it touches. All of them
//! are the single read side: no endpoint ever asks an engine what is going on.
//!
//! Every write is atomic and durable when it returns `Ok`: nothing is acknowledged before.

mod archive;
mod audit;
mod backups;
mod batches;
mod blobs;
pub mod conformance;
mod control;
mod data_requests;
mod erasures;
pub mod events;
mod executions;
mod gate;
mod history;
mod holds;
mod inherited;
mod journal;
mod leases;
mod limits;
mod links;
mod list;
mod progress;
mod recorder;
mod reported;
mod request;
mod turns;

pub use archive::{ARCHIVE, ArchiveHead, archived_events, archived_state, forget_archived};
pub use audit::{Audit, AuditFilter, AuditPage, AuditRow, NewAuditRow};
pub use backups::{
    Backup, BackupPage, Backups, DueBackup, Removal, Removed, lease_of_backup, remove_backup, remove_due_backups,
};
pub use batches::BatchChange;
pub use blobs::{BACKUPS, BlobBody, BlobKey, BlobReader, Blobs, EXPORT, JOBS, LISTED, RESULTS, UPLOADS};
pub use control::{Control, Controlled, Decision};
pub use data_requests::{
    ClaimedNotice, DataRequests, DueNotice, Extended, KnownRequest, RequestFilter, RequestPage, RequestParts,
    data_request_of, extending, subject_of,
};
pub use erasures::{Erasure, Erasures, Forgotten, Named, NamedPage, Naming, ended_backup, leaves_files};
pub use executions::{
    Created, Damage, DueExecution, Estimated, ExecutionRecord, Executions, IdempotencyKey, NewExecution, OpenExecution,
    Parts, Retried, RetryOf,
};
pub use gate::{Admission, ExecutionFlags, Refusal, StepFlags, admit};
pub use history::{History, HistoryPage, HistoryRow, NewEvent};
pub use holds::{HoldFilter, HoldPage, Holds, MAX_ACTIVE_HOLDS, Placed, Released, placed_again};
pub use inherited::{Effects, Inherited, InheritedStep, Standing, inherit, is_answered};
pub use journal::{
    Commit, CommitOutcome, End, Gate, Journal, JournalRecord, JournalStart, JournalledExecution, MAX_RECORDS_READ,
    RecordSelection,
};
pub use leases::{Holder, Leased, Leases};
pub use limits::{Full, OpenCounts, OpenLimits};
pub use links::{BlobLinks, Link};
pub use list::{Counts, ListFilter, ListPage};
pub use progress::{Progress, StepMoments, completed_steps};
pub use recorder::{
    ACCEPTED, AttemptOutcome, Begin, BegunAttempt, EndRecorder, EngineEnd, Finish, StepOutcome, StepRecorder, StepRef,
};
pub use reported::Reported;
pub use request::{REQUESTS, RequestError, StoredRequest};
pub use turns::Turns;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be written or read now; nothing of the operation happened.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The write may have taken place or not: whoever asked must read, or repeat what can be repeated.
    #[error("it is not known whether the write took place: {0}")]
    InDoubt(String),
    /// What is stored contradicts what the caller knows; a fault in this program or in the files.
    #[error("the store is inconsistent: {0}")]
    Inconsistent(String),
}

impl StoreError {
    /// What is wrong, without what that means.
    pub fn problem(&self) -> &str {
        let (Self::Unavailable(problem) | Self::InDoubt(problem) | Self::Inconsistent(problem)) = self;
        problem
    }
}
