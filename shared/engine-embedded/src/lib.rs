//! The embedded engine: the interpreter over a durable journal.
//!
//! One task drives one execution. Each turn feeds the interpreter one thing that happened, writes everything that
//! follows from it (journal, history, progress, the begin of the next step) in one commit, and only then acts on
//! it. So an execution of n steps costs n + 1 commits, and a kill at any moment loses nothing that was
//! acknowledged: after a restart the journal is replayed, and an activity that was under way is delivered again with
//! the same `Idempotency-Key`.

mod answers;
mod attempt;
mod bookkeeping;
mod definitions;
mod drive;
mod fair_queue;
mod lock;
mod map_files;
mod reading;
mod records;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clock::{Busy, SharedClock};
use contracts::EngineKind;
use engine::{ActivityRunner, DefinitionOf, Engine, EngineError, Standing, StartOutcome};
use futures::FutureExt as _;
use store::{Blobs, ExecutionRecord, Journal, NewAuditRow, NewExecution, StoreError};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

pub use drive::edges_taken;
pub use lock::DirectoryLock;

use definitions::Compiled;
use drive::Driven;
use fair_queue::FairQueue;
use reading::Reading;

/// How much the engine does at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Activities under way at once; tenants take turns.
    pub max_concurrent_activities: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_concurrent_activities: 100 }
    }
}

/// The engine.
#[derive(Clone)]
pub struct EmbeddedEngine(Arc<Shared>);

/// The task that drives an execution.
struct Driver {
    task: AbortHandle,
    /// Lets it look at what was asked of its execution.
    /// Each word keeps virtual time still until it has been heard.
    wake: mpsc::UnboundedSender<Busy>,
}

/// What all executions share.
struct Shared {
    journal: Arc<dyn Journal>,
    /// Where Maps read items and write results.
    blobs: Arc<dyn Blobs>,
    runner: Arc<dyn ActivityRunner>,
    clock: SharedClock,
    queue: FairQueue,
    reading: Reading,
    /// Executions with a task of their own.
    driven: Mutex<HashMap<String, Driver>>,
    /// Whether no execution gets a task any more.
    is_stopped: AtomicBool,
    /// Executions that stand still because the store failed.
    stalled: Mutex<HashSet<String>>,
    /// Executions that stand still for a reason of their own, which is in words.
    quarantine: Mutex<BTreeMap<String, String>>,
    definition_of: DefinitionOf,
    compiled: Compiled,
    /// Who is told of the edges that executions take, if anybody.
    edges: OnceLock<EdgeObserver>,
}

/// Is told of an edge of a state machine that an execution took, of children too.
type EdgeObserver = Box<dyn Fn(&str, &asl::Edge) + Send + Sync>;

impl EmbeddedEngine {
    /// Makes an engine; nothing runs before [`EmbeddedEngine::recover`] or a start.
    pub fn new(
        journal: Arc<dyn Journal>,
        blobs: Arc<dyn Blobs>,
        runner: Arc<dyn ActivityRunner>,
        clock: SharedClock,
        limits: Limits,
        definition_of: DefinitionOf,
    ) -> Self {
        let queue = FairQueue::new(limits.max_concurrent_activities, Arc::clone(&clock));
        let reading = Reading::new(Arc::clone(&journal), Arc::clone(&clock));
        Self(Arc::new(Shared {
            journal,
            blobs,
            runner,
            clock,
            queue,
            reading,
            driven: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            stalled: Mutex::default(),
            quarantine: Mutex::default(),
            definition_of,
            compiled: Compiled::default(),
            edges: OnceLock::new(),
        }))
    }

    /// Tells `observer` of every edge of a state machine that an execution takes from now on, once it is durable, by the
    /// execution's id; those of children too, which the journal forgets when they end. What a recovery replays is told again.
    pub fn observe_edges(&self, observer: impl Fn(&str, &asl::Edge) + Send + Sync + 'static) {
        // The first one stays.
        let _ = self.0.edges.set(Box::new(observer));
    }

    /// Goes on with every execution that has not ended; how many there are.
    pub async fn recover(&self) -> Result<usize, EngineError> {
        let open = self.0.journal.journalled().await?;
        let count = open.len();
        for execution in open {
            self.drive(execution.tenant_id, execution.id);
        }
        Ok(count)
    }

    /// Stops for good. No activity begins any more; those under way have `grace` to end, and what is not over then is
    /// given up without being recorded, as in a crash: the next process delivers it again.
    pub async fn stop(&self, grace: Duration) {
        self.0.queue.close();
        let ended = clock::timeout(&*self.0.clock, grace, self.0.queue.until_returned()).await;
        if ended.is_none() {
            tracing::info!("activities under way are given up; a restart delivers them again");
        }
        let mut driven = lock(&self.0.driven);
        self.0.is_stopped.store(true, Ordering::Relaxed);
        driven.drain().for_each(|(_, driver)| driver.task.abort());
    }

    /// Attempts that are under way or wait for their turn.
    pub fn attempts(&self) -> usize {
        self.0.queue.len()
    }

    /// Gives the execution a task, unless it has one.
    fn drive(&self, tenant_id: String, id: String) {
        let mut driven = lock(&self.0.driven);
        if driven.contains_key(&id) || self.0.is_stopped.load(Ordering::Relaxed) {
            return;
        }
        let (wake, wakes) = mpsc::unbounded_channel();
        let (shared, driven_id) = (Arc::clone(&self.0), id.clone());
        let task = clock::spawn(&self.0.clock, async move {
            let failure = match AssertUnwindSafe(drive::run(&shared, &tenant_id, &id, wakes)).catch_unwind().await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error),
                Err(_panic) => Some(EngineError::Unavailable("its driver panicked".to_owned())),
            };
            lock(&shared.stalled).remove(&id);
            lock(&shared.quarantine).remove(&id);
            if let Some(error) = failure {
                tracing::error!(workflow_id = id, tenant_id, %error, "the execution stands still until a restart");
                match standstill(&error) {
                    Some(reason) => drop(lock(&shared.quarantine).insert(id.clone(), reason)),
                    None => drop(lock(&shared.stalled).insert(id.clone())),
                }
            }
            lock(&shared.driven).remove(&id);
        });
        driven.insert(driven_id, Driver { task: task.abort_handle(), wake });
    }
}

/// Why an execution stands still, if that is its own affair.
fn standstill(error: &EngineError) -> Option<String> {
    match error {
        EngineError::Store(StoreError::Unavailable(_) | StoreError::InDoubt(_)) => None,
        EngineError::Store(StoreError::Inconsistent(problem)) => Some(problem.clone()),
        EngineError::Unavailable(problem) => Some(format!("{problem}; a restart of the server may help")),
        EngineError::Definition(_) => Some(error.to_string()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Engine for EmbeddedEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Embedded
    }

    async fn admit(&self, new: &mut NewExecution) -> Result<(), EngineError> {
        let definition = (self.0.definition_of)(new.kind)
            .ok_or_else(|| EngineError::Definition(format!("there is no workflow {}", new.kind)))?;
        Driven::admit(new, definition, &self.0.compiled, &*self.0.clock)
    }

    async fn start(&self, record: &ExecutionRecord) -> Result<StartOutcome, EngineError> {
        self.drive(record.tenant_id.clone(), record.id.clone());
        Ok(StartOutcome::Begun)
    }

    async fn check(&self) -> Result<(), String> {
        match lock(&self.0.stalled).len() {
            0 => Ok(()),
            stalled => Err(format!("{stalled} executions stand still; the log says why")),
        }
    }

    fn quarantined(&self, id: &str) -> Option<String> {
        lock(&self.0.quarantine).get(id).cloned()
    }

    fn quarantine(&self) -> Vec<String> {
        lock(&self.0.quarantine).keys().cloned().collect()
    }

    async fn describe(&self, record: &ExecutionRecord) -> Result<Standing, EngineError> {
        let Some(stored) = self.0.journal.load(&record.tenant_id, &record.id).await? else {
            return Ok(Standing::Unknown);
        };
        match stored.ended_at {
            None => Ok(Standing::Running),
            Some(at) => Ok(Standing::Ended { end: drive::end_of(&self.0, stored).await?, at }),
        }
    }

    async fn terminate(
        &self,
        record: &ExecutionRecord,
        reason: &str,
        audit: Option<NewAuditRow>,
    ) -> Result<(), EngineError> {
        if let Some(driver) = lock(&self.0.driven).remove(&record.id) {
            driver.task.abort();
        }
        let (tenant_id, id) = (&record.tenant_id, &record.id);
        let mut terminated = drive::terminate(&self.0, tenant_id, id, reason, audit.clone()).await;
        if let Err(EngineError::Store(StoreError::Inconsistent(_)) | EngineError::Definition(_)) = &terminated {
            // Its journal does not tell how far it is, so it is closed without asking the journal.
            let closed = self.0.journal.close_damaged(tenant_id, id, self.0.clock.now(), audit).await;
            tracing::warn!(tenant_id, workflow_id = id, reason, ?closed, "a damaged execution is to be closed");
            terminated = closed.map(drop).map_err(EngineError::from);
        }
        match &terminated {
            Ok(()) => {
                lock(&self.0.stalled).remove(id);
                lock(&self.0.quarantine).remove(id);
            }
            // It goes on as before.
            Err(_) => self.drive(tenant_id.clone(), id.clone()),
        }
        terminated
    }

    async fn wake(&self, record: &ExecutionRecord) -> Result<(), EngineError> {
        if let Some(driver) = lock(&self.0.driven).get(&record.id) {
            // One that has just ended does not listen any more.
            let _ = driver.wake.send(self.0.clock.busy());
        }
        Ok(())
    }
}
