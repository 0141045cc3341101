//! Puts the parts together. The only place that names a concrete store and engine.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use activities::Activities;
use anyhow::Context as _;
use api::{Api, Check, Readiness, Starting};
use async_trait::async_trait;
use axum::Router;
use clock::{SharedClock, SystemClock, Timestamp};
use contracts::WorkflowKind;
use downstream::{Downstream, HttpTransport, Transport};
use engine::ActivityRunner;
use engine_embedded::{DirectoryLock, EmbeddedEngine};
use store_sql::{Durability, FileBlobs, SqlStore};
use tokio::sync::Mutex;
use workflows::RetryPolicy;

use crate::Settings;

/// The longest that one call to a service may take. Below the state machines' TimeoutSeconds by more than the longest
/// `Retry-After` that an attempt grants.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Puts something around the activities.
pub type AroundActivities = Box<dyn FnOnce(Arc<dyn ActivityRunner>) -> Arc<dyn ActivityRunner> + Send>;

/// What the service stands on; tests stand it on something else.
pub struct Surroundings {
    /// Time.
    pub clock: SharedClock,
    /// The way to the services.
    pub transport: Arc<dyn Transport>,
    /// How hard commits try.
    pub durability: Durability,
    /// What stands between engine and activities, if anything does.
    pub around_activities: Option<AroundActivities>,
}

impl Surroundings {
    /// The machine's clock, the network and the disk.
    pub fn real() -> anyhow::Result<Self> {
        Ok(Self {
            clock: Arc::new(SystemClock),
            transport: Arc::new(HttpTransport::default()),
            durability: Durability::Full,
            around_activities: None,
        })
    }
}

/// The running service.
pub struct App {
    /// The API.
    pub router: Router,
    /// The store, e.g. to hear of its failure.
    pub store: SqlStore,
    /// The engine.
    pub engine: EmbeddedEngine,
    /// How many executions it went on with.
    pub recovered: usize,
    _lock: DirectoryLock,
}

impl App {
    /// Opens the data directory and goes on with what was under way.
    pub async fn open(settings: &Settings, surroundings: Surroundings) -> anyhow::Result<Self> {
        let Surroundings { clock, transport, durability, around_activities } = surroundings;
        let directory = &settings.data_dir;
        check_definitions(&settings.retry_policy)?;
        create_private(directory)?;
        let lock = DirectoryLock::acquire(directory)?;
        let store = SqlStore::open(&directory.join("workflow-service.db"), durability, Arc::clone(&clock)).await?;
        let downstream = Downstream::new(transport, settings.endpoints.clone(), Arc::clone(&clock), CALL_TIMEOUT);
        let activities: Arc<dyn ActivityRunner> = Arc::new(Activities::new(downstream.clone(), Arc::clone(&clock)));
        let runner = match around_activities {
            Some(around) => around(activities),
            None => activities,
        };
        let policy = settings.retry_policy;
        let definition_of = move |kind| workflows::workflow(kind).map(|workflow| workflow.definition(&policy));
        let journal = Arc::new(store.clone());
        let blobs = Arc::new(FileBlobs::open(&directory.join("blobs")).await?);
        let (limits, definition_of) = (settings.limits, Arc::new(definition_of));
        let engine = EmbeddedEngine::new(journal, blobs, runner, Arc::clone(&clock), limits, definition_of);
        let services = Health { downstream, clock: Arc::clone(&clock), last: Mutex::default() };
        let api = Api {
            executions: Arc::new(store.clone()),
            history: Arc::new(store.clone()),
            clock,
            access: settings.access.clone(),
            request_timeout: settings.request_timeout,
        };
        let starting = Starting {
            api: api.clone(),
            orchestrator: Arc::new(engine.clone()),
            default_timeout: settings.default_timeout,
        };
        let readiness = Readiness { api, engine: Arc::new(Progress(engine.clone())), services: Arc::new(services) };
        let recovered = engine.recover().await?;
        Ok(Self { router: api::router(starting, readiness), store, engine, recovered, _lock: lock })
    }
}

/// Creates a directory that only this user can look into: requests are kept in it. One that is there stays as it is.
pub fn create_private(directory: &Path) -> anyhow::Result<()> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    created.with_context(|| format!("cannot create {}", directory.display()))
}

/// A retry policy that no state machine can hold would otherwise fail every start.
fn check_definitions(policy: &RetryPolicy) -> anyhow::Result<()> {
    for workflow in WorkflowKind::ALL.into_iter().filter_map(workflows::workflow) {
        let loaded = asl::Definition::load(&workflow.definition(policy));
        loaded.with_context(|| format!("workflows.retry_policy makes {} invalid", workflow.name))?;
    }
    Ok(())
}

/// How long an answer about the services counts: asking is five calls, and `/ready` is open to anybody.
const HEALTH_COUNTS: Duration = Duration::from_secs(2);

/// Asks every service how it is.
struct Health {
    downstream: Downstream,
    clock: SharedClock,
    /// Until when the last answer counts, and what it was.
    last: Mutex<Option<(Timestamp, Result<(), String>)>>,
}

#[async_trait]
impl Check for Health {
    async fn check(&self) -> Result<(), String> {
        let mut last = clock::park(&*self.clock, self.last.lock()).await;
        match &*last {
            Some((until, answer)) if self.clock.now() < *until => answer.clone(),
            _ => {
                let answer = self.downstream.check().await;
                *last = Some((clock::after(&*self.clock, HEALTH_COUNTS), answer.clone()));
                answer
            }
        }
    }
}

/// Whether the engine's executions make progress.
struct Progress(EmbeddedEngine);

#[async_trait]
impl Check for Progress {
    async fn check(&self) -> Result<(), String> {
        self.0.check().map_err(|error| error.to_string())
    }
}
