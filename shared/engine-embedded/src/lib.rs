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

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use clock::SharedClock;
use contracts::EngineKind;
use engine::{ActivityRunner, DefinitionOf, EngineError, Orchestrator, Start};
use futures::FutureExt as _;
use store::{Blobs, ExecutionRecord, Journal, NewExecution};

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
    driven: Mutex<HashSet<String>>,
    /// Executions that stand still because of an error.
    stalled: Mutex<HashSet<String>>,
    definition_of: DefinitionOf,
    compiled: Compiled,
}

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
            stalled: Mutex::default(),
            definition_of,
            compiled: Compiled::default(),
        }))
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

    /// Whether all executions make progress.
    pub fn check(&self) -> Result<(), EngineError> {
        match lock(&self.0.stalled).len() {
            0 => Ok(()),
            stalled => Err(EngineError::Unavailable(format!("{stalled} executions stand still; the log says why"))),
        }
    }

    /// Attempts that are under way or wait for their turn.
    pub fn attempts(&self) -> usize {
        self.0.queue.len()
    }

    /// Gives the execution a task, unless it has one.
    fn drive(&self, tenant_id: String, id: String) {
        if !lock(&self.0.driven).insert(id.clone()) {
            return;
        }
        let shared = Arc::clone(&self.0);
        clock::spawn(&self.0.clock, async move {
            let failure = match AssertUnwindSafe(drive::run(&shared, &tenant_id, &id)).catch_unwind().await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_panic) => Some("its driver panicked".to_owned()),
            };
            let mut stalled = lock(&shared.stalled);
            stalled.remove(&id);
            if let Some(reason) = failure {
                tracing::error!(workflow_id = id, tenant_id, reason, "the execution stands still until a restart");
                stalled.insert(id.clone());
            }
            drop(stalled);
            lock(&shared.driven).remove(&id);
        });
    }
}

fn lock(ids: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Orchestrator for EmbeddedEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Embedded
    }

    async fn prepare_start(&self, new: &mut NewExecution) -> Result<(), EngineError> {
        let definition = (self.0.definition_of)(new.kind)
            .ok_or_else(|| EngineError::Definition(format!("there is no workflow {}", new.kind)))?;
        Driven::prepare_start(new, definition, &self.0.compiled)
    }

    async fn start(&self, record: &ExecutionRecord) -> Result<Start, EngineError> {
        self.drive(record.tenant_id.clone(), record.id.clone());
        Ok(Start::Begun)
    }
}
