//! An embedded engine on a directory, whose state machine and activities the bench decides.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bench::{LAST_STEP, chain, execution};
use clock::{SharedClock, SystemClock};
use contracts::{EngineKind, Status, WorkflowKind};
use engine::{ActivityCall, ActivityRunner, Engine as _};
use engine_embedded::{EmbeddedEngine, Limits};
use serde_json::{Value, json};
use store::{Created, Executions as _, StepOutcome, StepRecorder};
use store_sql::{Durability, FileBlobs, SqlStore};
use tokio::sync::oneshot;

/// What activities do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing.
    Nothing,
    /// Take so long.
    Take(Duration),
    /// Never end.
    Hang,
}

/// Counts calls.
pub(crate) struct Activities {
    work: Work,
    pub(crate) calls: AtomicU64,
    pub(crate) first: Mutex<Option<Instant>>,
    /// Who waits for the last step of an execution.
    waiting: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

#[async_trait]
impl ActivityRunner for Activities {
    #[expect(clippy::disallowed_methods, reason = "it measures real time")]
    async fn run(&self, call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        self.calls.fetch_add(1, Ordering::Relaxed);
        match self.work {
            Work::Nothing => {}
            Work::Take(time) => clock::sleep(&SystemClock, time).await,
            Work::Hang => std::future::pending().await,
        }
        if call.payload["step"]["name"] == LAST_STEP {
            let id = call.payload["workflow"]["id"].as_str().unwrap_or_default();
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
            let _ = waiting.map(|waiting| waiting.send(()));
        }
        Ok(json!({ "id": "01890000-0000-7000-8000-000000000000" }))
    }
}

/// The engine and what it works with.
pub(crate) struct Subject {
    pub(crate) engine: EmbeddedEngine,
    pub(crate) store: SqlStore,
    pub(crate) blobs: FileBlobs,
    pub(crate) activities: Arc<Activities>,
    definition: Arc<Mutex<String>>,
}

impl Subject {
    pub(crate) async fn open(directory: &Path, work: Work, max_concurrent_activities: usize) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let clock: SharedClock = Arc::new(SystemClock);
        let store =
            SqlStore::open(&directory.join("workflow-service.db"), Durability::Full, Arc::clone(&clock)).await?;
        let blobs = FileBlobs::open(&directory.join("blobs")).await?;
        let activities =
            Arc::new(Activities { work, calls: AtomicU64::new(0), first: Mutex::default(), waiting: Mutex::default() });
        let definition = Arc::new(Mutex::new(chain().to_string()));
        let current = Arc::clone(&definition);
        let definition_of =
            Arc::new(move |_: WorkflowKind| Some(current.lock().unwrap_or_else(PoisonError::into_inner).clone()));
        let engine = EmbeddedEngine::new(
            Arc::new(store.clone()),
            Arc::new(blobs.clone()),
            activities.clone(),
            clock,
            Limits { max_concurrent_activities },
            definition_of,
        );
        Ok(Self { engine, store, blobs, activities, definition })
    }

    /// New executions run this from now on.
    pub(crate) fn use_definition(&self, definition: &Value) {
        *self.definition.lock().unwrap_or_else(PoisonError::into_inner) = definition.to_string();
    }

    /// Starts an execution, and returns once that is durable.
    pub(crate) async fn start(&self, tenant: &str) -> anyhow::Result<String> {
        self.start_waited_for(tenant, None).await
    }

    async fn start_waited_for(&self, tenant: &str, last: Option<oneshot::Sender<()>>) -> anyhow::Result<String> {
        let mut new = execution(tenant, EngineKind::Embedded);
        let id = new.id.clone();
        if let Some(last) = last {
            self.activities.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), last);
        }
        self.engine.admit(&mut new).await?;
        let Created::New(record) = self.store.create(new).await? else { anyhow::bail!("{id} is there already") };
        self.engine.start(&record).await?;
        Ok(id)
    }

    /// Starts an execution of steps and waits for its end.
    pub(crate) async fn run(&self, tenant: &str) -> anyhow::Result<()> {
        let (last, done) = oneshot::channel();
        let id = self.start_waited_for(tenant, Some(last)).await?;
        // The end is committed right behind the last step: no need to ask for it before.
        done.await?;
        self.ended(tenant, &id).await.map(drop)
    }

    /// Waits for the end of an execution; its result.
    pub(crate) async fn ended(&self, tenant: &str, id: &str) -> anyhow::Result<Value> {
        loop {
            let record = self.store.get(tenant, id).await?;
            match record {
                Some(record) if record.status == Status::Completed => return Ok(record.result.unwrap_or_default()),
                Some(record) if !record.status.is_open() => anyhow::bail!("{id}: {:?}", record.failure),
                _ => clock::sleep(&SystemClock, Duration::from_millis(2)).await,
            }
        }
    }
}

/// A distributed Map over a file of batches, a hundred ids each, so many at once; its results are counted, or written.
pub(crate) fn bulk(tenant: &str, at_once: usize, has_writer: bool) -> Value {
    let child = json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 45, "End": true,
        "Arguments": { "FunctionName": "batch", "Payload": { "batch": "{% $states.input %}" } }, "Output": 1,
    });
    let mut each = json!({
        "Type": "Map", "End": true, "MaxConcurrency": at_once,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "JSON" },
            "Arguments": { "Bucket": "any", "Key": format!("{tenant}/batches.json") },
        },
        "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
            "StartAt": "Batch", "States": { "Batch": child },
        },
        "Output": "{% $count($states.result) %}",
    });
    if has_writer {
        each["Output"] = json!("{% $states.result.ResultWriterDetails.Key %}");
        each["ResultWriter"] = json!({
            "Resource": "arn:aws:states:::s3:putObject",
            "Arguments": { "Bucket": "any", "Prefix": format!("{tenant}/results") },
        });
    }
    json!({ "QueryLanguage": "JSONata", "StartAt": "Each", "States": { "Each": each } })
}
