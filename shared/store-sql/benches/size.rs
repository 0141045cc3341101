//! Whether what a tenant reads takes longer in a store with many executions, and while another tenant lists as fast as it
//! can. `cargo xtask bench size`; writes `target/bench/size.json` and fails when a goal is missed.
//!
//! The stores are SQLite files with 100 and with 50,000 executions of one tenant, each with the history of an onboarding; in
//! both, the oldest ten have failed, which is the farthest from where a list begins, and every page is full. What is measured
//! of both is measured in turns, so that the machine's load is the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use clock::{Clock as _, SystemClock, Timestamp};
use contracts::audit::{AuditAction, AuditOutcome};
use contracts::{EngineKind, EventType, Status, WorkflowKind};
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use store::{
    Audit as _, AuditFilter, Executions as _, History as _, Inherited, ListFilter, NewAuditRow, NewEvent, NewExecution,
    Progress, StoreError, StoredRequest,
};
use store_sql::{Durability, SqlStore};

const FEW: usize = 100;
const MANY: usize = 50_000;
const PAGE: u32 = 10;
const FAILED: usize = PAGE as usize;
/// Times that each read is measured in each store.
const PAIRS: usize = 200;
/// Readers of the other tenant at once.
const LISTERS: usize = 16;
/// Times that a status is read beside them, and by itself.
const STATUSES: usize = 500;

/// Whose executions are many or few.
const TENANT: &str = "tenant-a";
/// Has a few in both stores.
const QUIET: &str = "tenant-b";
const USERS: usize = 10;

const MAX_RATIO: f64 = 1.5;
const MAX_RATIO_BESIDE_LISTERS: f64 = 3.0;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let directory = tempfile::tempdir().expect("a directory");
    let (few, many) = (Filled::new(directory.path(), FEW).await, Filled::new(directory.path(), MANY).await);
    let mut report = BTreeMap::new();
    let mut missed = Vec::new();
    for read in Read::ALL {
        let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            of_few.push(few.microseconds(TENANT, read).await);
            of_many.push(many.microseconds(TENANT, read).await);
        }
        let (of_few, of_many) = (median(of_few), median(of_many));
        let ratio = of_many / of_few;
        println!("{of_few:>8.0} us of {FEW}, {of_many:>8.0} us of {MANY}, ratio {ratio:>6.2}: {read:?}");
        report.insert(format!("{read:?}"), json!({ "few_us": of_few, "many_us": of_many, "ratio": ratio }));
        if ratio > MAX_RATIO {
            missed.push(format!("{read:?}: {ratio:.2}"));
        }
    }
    let many = Arc::new(many);
    let mut alone = Vec::new();
    for _ in 0..STATUSES {
        alone.push(many.microseconds(QUIET, Read::Status).await);
    }
    let (beside, lists_per_second) = beside_listers(&many).await;
    let (alone, beside) = (median(alone), median(beside));
    let ratio = beside / alone;
    println!(
        "{alone:>8.0} us alone, {beside:>8.0} us beside {LISTERS} listers ({lists_per_second:.0} lists/s), ratio {ratio:>6.2}: another tenant's Status"
    );
    if ratio > MAX_RATIO_BESIDE_LISTERS {
        missed.push(format!("beside listers: {ratio:.2}"));
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("medians of {PAIRS} and {STATUSES}, load {}", load.trim());
    missed.iter().for_each(|missed| println!("missed: {missed}"));
    let beside =
        json!({ "alone_us": alone, "beside_us": beside, "ratio": ratio, "lists_per_second": lists_per_second });
    let report = json!({
        "few": FEW, "many": MANY, "page": PAGE, "n": PAIRS, "reads": report, "listers": LISTERS,
        "status_beside_listers": beside, "load": load.trim(), "missed": missed,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).expect("a folder for the report");
    std::fs::write(folder.join("size.json"), format!("{report:#}\n")).expect("the report is written");
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How long the quiet tenant's status takes while the other one lists, and how many lists a second that one gets.
async fn beside_listers(many: &Arc<Filled>) -> (Vec<f64>, f64) {
    let (stop, lists) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let listers: Vec<_> = (0..LISTERS)
        .map(|number| {
            let (many, stop, lists) = (Arc::clone(many), Arc::clone(&stop), Arc::clone(&lists));
            tokio::spawn(async move {
                let reads = [Read::OfStatus, Read::Feed, Read::OfUser, Read::List];
                while !stop.load(Ordering::Relaxed) {
                    many.microseconds(TENANT, reads[number % reads.len()]).await;
                    lists.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let began = now();
    let mut taken = Vec::new();
    for _ in 0..STATUSES {
        taken.push(many.microseconds(QUIET, Read::Status).await);
    }
    let lists_per_second = lists.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for lister in listers {
        lister.await.expect("a lister lists");
    }
    (taken, lists_per_second)
}

/// What is read.
#[derive(Debug, Clone, Copy)]
enum Read {
    Status,
    List,
    OfStatus,
    OfRareStatus,
    OfStatuses,
    OfKind,
    OfUser,
    OfUserAndRareStatus,
    OfWindow,
    Feed,
    FeedOfTypes,
    Audit,
    AuditOfActor,
}

impl Read {
    const ALL: [Self; 13] = [
        Self::Status,
        Self::List,
        Self::OfStatus,
        Self::OfRareStatus,
        Self::OfStatuses,
        Self::OfKind,
        Self::OfUser,
        Self::OfUserAndRareStatus,
        Self::OfWindow,
        Self::Feed,
        Self::FeedOfTypes,
        Self::Audit,
        Self::AuditOfActor,
    ];
}

/// A store with executions in it.
struct Filled {
    store: SqlStore,
    began: Timestamp,
}

impl Filled {
    async fn new(directory: &Path, executions: usize) -> Self {
        let file = directory.join(format!("{executions}.db"));
        let store = SqlStore::open(&file, Durability::Process, Arc::new(SystemClock)).await.expect("it opens");
        let began = SystemClock.now();
        let of = |tenant| (0..executions.min(FEW)).map(move |number| new(tenant, began, number));
        let all = (0..executions).map(|number| new(TENANT, began, number)).chain(of(QUIET));
        let created: Vec<Result<_, StoreError>> =
            stream::iter(all).map(|new| store.create(new)).buffer_unordered(256).collect().await;
        created.into_iter().for_each(|created| drop(created.expect("it is created")));
        Self { store, began }
    }

    /// How long a read takes.
    async fn microseconds(&self, tenant_id: &str, read: Read) -> f64 {
        let began = now();
        self.read(tenant_id, read).await.expect("it is read");
        began.elapsed().as_secs_f64() * 1e6
    }

    async fn read(&self, tenant_id: &str, read: Read) -> Result<(), StoreError> {
        let all = ListFilter::default();
        let user_id = Some("user-3".to_owned());
        let filter = match read {
            Read::Status => return self.store.get_estimated(tenant_id, &id(tenant_id, 42)).await.map(drop),
            Read::Feed => return self.store.tenant_events(tenant_id, &[], None, PAGE).await.map(drop),
            Read::FeedOfTypes => {
                let types = [EventType::WorkflowExecutionFailed, EventType::ActivityTaskFailed];
                return self.store.tenant_events(tenant_id, &types, None, PAGE).await.map(drop);
            }
            Read::Audit => return self.store.rows(tenant_id, &AuditFilter::default(), None, PAGE).await.map(drop),
            Read::AuditOfActor => {
                let of_actor = AuditFilter { actor: user_id, ..AuditFilter::default() };
                return self.store.rows(tenant_id, &of_actor, None, PAGE).await.map(drop);
            }
            Read::List => all,
            Read::OfStatus => ListFilter { statuses: vec![Status::Completed], ..all },
            Read::OfRareStatus => ListFilter { statuses: vec![Status::Failed], ..all },
            Read::OfStatuses => {
                let statuses = vec![Status::Failed, Status::Completed, Status::Paused, Status::TimedOut];
                ListFilter { statuses, ..all }
            }
            Read::OfKind => ListFilter { kind: Some(WorkflowKind::UserOnboarding), ..all },
            Read::OfUser => ListFilter { user_id, ..all },
            Read::OfUserAndRareStatus => ListFilter { user_id, statuses: vec![Status::Failed], ..all },
            Read::OfWindow => {
                ListFilter { started_after: Some(self.began), started_before: Some(at(self.began, FEW)), ..all }
            }
        };
        self.store.list(tenant_id, &filter, None, 0, PAGE).await.map(drop)
    }
}

/// So many seconds later.
fn at(began: Timestamp, second: usize) -> Timestamp {
    Timestamp::from_microsecond(began.as_microsecond() + second as i64 * 1_000_000).expect("a moment")
}

fn id(tenant_id: &str, number: usize) -> String {
    format!("user_onboarding_{tenant_id}_{number:036}")
}

/// One that was started a second after the one before it.
fn new(tenant_id: &str, began: Timestamp, number: usize) -> NewExecution {
    let (id, now, kind) = (id(tenant_id, number), at(began, number), WorkflowKind::UserOnboarding);
    let user_id = Some(format!("user-{}", number % USERS));
    let status = if number < FAILED { Status::Failed } else { Status::Completed };
    NewExecution {
        tenant_id: tenant_id.to_owned(),
        effect_scope: id.clone(),
        kind,
        engine: EngineKind::Embedded,
        started_at: now,
        deadline_at: None,
        status,
        input: json!({ "workflow": { "id": id, "tenant_id": tenant_id }, "options": { "send_welcome_email": true } }),
        request: StoredRequest::Inline(
            json!({ "user_email": "user@example.com", "user_name": "John Doe", "tenant_id": tenant_id, "role": "user" }),
        ),
        idempotency: None,
        progress: Progress {
            current_step: "SendNotification".to_owned(),
            total_steps: 7,
            completed_steps: 7,
            status_message: Some("Done".to_owned()),
        },
        history: history(now, status),
        journal: None,
        begins_pivot: false,
        upload_id: None,
        retry_of: None,
        inherited: Inherited::default(),
        cancel_requested_at: None,
        audit: Some(NewAuditRow {
            tenant_id: tenant_id.to_owned(),
            at: now,
            actor: user_id.clone(),
            is_admin: false,
            action: AuditAction::StartWorkflow,
            outcome: AuditOutcome::Accepted,
            workflow_id: Some(id.clone()),
            workflow_kind: Some(kind),
            request_id: "request".to_owned(),
            reason: None,
            details: json!({ "method": "POST", "route": "/api/v1/workflows/user-onboarding" }),
        }),
        user_id,
        id,
    }
}

/// Seven steps between start and end.
fn history(at: Timestamp, status: Status) -> Vec<NewEvent> {
    let event = |event_type| NewEvent {
        event_type,
        at,
        details: json!({ "activity_type": "create_user_account", "activity_id": "CreateUserAccount", "attempt": 1 }),
    };
    let step = [EventType::ActivityTaskScheduled, EventType::ActivityTaskStarted, EventType::ActivityTaskCompleted];
    let end = match status {
        Status::Failed => EventType::WorkflowExecutionFailed,
        _ => EventType::WorkflowExecutionCompleted,
    };
    let start =
        NewEvent { details: Value::Object(serde_json::Map::new()), ..event(EventType::WorkflowExecutionStarted) };
    std::iter::once(start).chain((0..7).flat_map(|_| step).map(event)).chain([event(end)]).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::disallowed_methods, reason = "what is measured is the machine's own time")]
fn now() -> Instant {
    Instant::now()
}
