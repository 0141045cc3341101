//! The suites that stores pass. They panic where a store breaks a promise, saying which.
//!
//! What every store promises is checked through a [`Driver`], as stores hear of what an execution does in one of two
//! ways: the embedded engine's by its journal ([`journal_store`]), those of other engines by the record of attempts and
//! ends ([`step_store`]).

mod audit;
mod backups;
mod blobs;
mod control;
mod data_requests;
mod driver;
mod erasures;
mod holds;
mod isolation;
mod journal;
mod leases;
mod limits;
mod memory_blobs;
mod records;
mod retries;
mod steps;

use std::future::Future;

use contracts::{EngineKind, EventType, Status, Timestamp, WorkflowKind};
use serde_json::json;

use crate::{
    Audit, Control, Controlled, DueExecution, EndRecorder, Executions, History, IdempotencyKey, Inherited, Journal,
    JournalRecord, JournalStart, NewEvent, NewExecution, OpenLimits, Progress, StepRecorder, StoreError, StoredRequest,
};

pub use backups::backups;
pub use blobs::blobs;
pub use data_requests::data_requests;
use driver::{ByJournal, BySteps};
pub use erasures::erasures;
pub use holds::{legal_holds, limit_of_holds};
pub use leases::leases;
pub use memory_blobs::MemoryBlobs;

const TENANT: &str = "tenant-a";
const KIND: WorkflowKind = WorkflowKind::UserOnboarding;

/// The suite of a store with a journal; `open` gives an empty store each time.
pub async fn journal_store<S: Audit + Executions + History + Journal>(open: impl AsyncFn() -> S) {
    audit::run(&open, &ByJournal).await;
    records::run(&open, &ByJournal).await;
    isolation::run(&open, &ByJournal).await;
    journal::run(&open).await;
    control::table(&open().await, &ByJournal).await;
    retries::run(&open, &ByJournal).await;
    retries::by_journal(&open).await;
}

/// The states of executions in a store with a journal, as random sequences: so many `rounds`, each in a store of its own.
pub async fn journal_store_control<S: Executions + History + Journal>(open: impl AsyncFn() -> S, rounds: u64) {
    control::sequences(&open, &ByJournal, rounds).await;
}

/// The suite of a store with a record of attempts and ends. `open` gives an empty store each time, whose clock stands at
/// [`epoch`]; `wait` lets that clock reach a moment.
pub async fn step_store<S, W>(open: impl AsyncFn() -> S, wait: impl Fn(Timestamp) -> W + Sync)
where
    S: Audit + Executions + History + StepRecorder + EndRecorder,
    W: Future<Output = ()> + Send,
{
    audit::run(&open, &BySteps { wait: &wait }).await;
    records::run(&open, &BySteps { wait: &wait }).await;
    isolation::run(&open, &BySteps { wait: &wait }).await;
    steps::run(&open, &wait).await;
    control::table(&open().await, &BySteps { wait: &wait }).await;
    retries::run(&open, &BySteps { wait: &wait }).await;
    retries::by_steps(&open, &wait).await;
}

/// The same as [`journal_store_control`], of a store with a record of attempts and ends.
pub async fn step_store_control<S, W>(open: impl AsyncFn() -> S, wait: impl Fn(Timestamp) -> W + Sync, rounds: u64)
where
    S: Executions + History + StepRecorder + EndRecorder,
    W: Future<Output = ()> + Send,
{
    control::sequences(&open, &BySteps { wait: &wait }, rounds).await;
}

/// How many executions may be open in a store with a journal, which counts them in the transaction of a start; `open` gives
/// an empty store with these limits each time.
pub async fn journal_store_limits<S: Audit + Executions + History + Journal>(open: impl AsyncFn(OpenLimits) -> S) {
    limits::run(&open, &ByJournal, &|_| std::future::ready(())).await;
    limits::exactly(&open).await;
}

/// The same of a store with a record of attempts and ends, which may learn of ends within seconds only: `wait` lets its
/// clock reach a moment.
pub async fn step_store_limits<S, W>(open: impl AsyncFn(OpenLimits) -> S, wait: impl Fn(Timestamp) -> W + Sync)
where
    S: Audit + Executions + History + StepRecorder + EndRecorder,
    W: Future<Output = ()> + Send,
{
    limits::run(&open, &BySteps { wait: &wait }, &wait).await;
}

/// The moment at which everything begins.
pub fn epoch() -> Timestamp {
    at(0)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap_or_default()
}

fn ok<T>(result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| panic!("the store failed: {error}"))
}

fn progress(step: &str) -> Progress {
    Progress { current_step: step.to_owned(), total_steps: 7, completed_steps: 0, status_message: None }
}

fn event(event_type: EventType, second: i64) -> NewEvent {
    NewEvent { event_type, at: at(second), details: json!({ "second": second }) }
}

fn request() -> StoredRequest {
    StoredRequest::Inline(json!({ "secret": "of the request" }))
}

/// Whether something asked of the execution holds.
async fn holds<S: Executions>(store: &S, id: &str, control: Control, second: i64) -> bool {
    matches!(ok(store.control(TENANT, id, control, at(second), None).await), Controlled::Accepted(_))
}

fn new(id: &str) -> NewExecution {
    NewExecution {
        tenant_id: TENANT.to_owned(),
        id: id.to_owned(),
        kind: KIND,
        engine: EngineKind::Temporal,
        user_id: None,
        started_at: at(0),
        deadline_at: Some(at(1_000)),
        effect_scope: id.to_owned(),
        retry_of: None,
        inherited: Inherited::default(),
        cancel_requested_at: None,
        status: Status::Running,
        input: json!({ "workflow": id }),
        request: request(),
        idempotency: None,
        progress: progress("GetTenantContext"),
        history: vec![event(EventType::WorkflowExecutionStarted, 0)],
        journal: Some(JournalStart { definition: "{}".to_owned(), records: vec![JournalRecord(json!("start"))] }),
        begins_pivot: false,
        upload_id: None,
        audit: None,
    }
}

fn with_key(id: &str, body_hash: &str) -> NewExecution {
    let key = IdempotencyKey { route: "POST /x".to_owned(), key: "key".to_owned(), body_hash: body_hash.to_owned() };
    NewExecution { idempotency: Some(key), ..new(id) }
}

/// All that are open: first those that have not begun.
async fn all_open<S: Executions>(store: &S, started_before: Timestamp) -> Vec<DueExecution> {
    let part = async |has_begun| ok(store.open_executions(has_begun, started_before, 9).await);
    [part(false).await, part(true).await].concat()
}

async fn create<S: Executions>(store: &S, id: &str) {
    let created = ok(store.create(new(id)).await);
    assert!(matches!(created, crate::Created::New(_)), "a fresh id is new");
}
