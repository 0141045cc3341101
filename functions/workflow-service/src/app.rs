//! Puts the parts together. The only place that names a concrete store and engine.

use std::sync::Arc;
use std::time::Duration;

use activities::Activities;
use anyhow::Context as _;
use api::{Api, ServicesCheck};
use async_trait::async_trait;
use axum::Router;
use clock::{SharedClock, SystemClock};
use downstream::{Downstream, HttpTransport, Service, Transport};
use engine::ActivityRunner;
use engine_embedded::{DirectoryLock, EmbeddedEngine};
use futures::future::join_all;
use store_sql::{Durability, SqlStore};

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
            transport: Arc::new(HttpTransport::new()?),
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
        std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let lock = DirectoryLock::acquire(directory)?;
        let store = SqlStore::open(&directory.join("workflow-service.db"), durability).await?;
        let downstream = Downstream::new(transport, settings.endpoints.clone(), Arc::clone(&clock), CALL_TIMEOUT);
        let activities: Arc<dyn ActivityRunner> = Arc::new(Activities::new(downstream.clone(), Arc::clone(&clock)));
        let runner = match around_activities {
            Some(around) => around(activities),
            None => activities,
        };
        let engine = EmbeddedEngine::new(Arc::new(store.clone()), runner, Arc::clone(&clock), settings.limits);
        let api = Api {
            executions: Arc::new(store.clone()),
            history: Arc::new(store.clone()),
            orchestrator: Arc::new(engine.clone()),
            services: Arc::new(Health(downstream)),
            clock,
            access: settings.access.clone(),
            retry_policy: settings.retry_policy,
            default_timeout: settings.default_timeout,
            request_timeout: settings.request_timeout,
        };
        let recovered = engine.recover().await?;
        Ok(Self { router: api::router(api), store, engine, recovered, _lock: lock })
    }
}

/// Asks every service how it is.
struct Health(Downstream);

#[async_trait]
impl ServicesCheck for Health {
    async fn are_healthy(&self) -> bool {
        let answers = join_all(Service::ALL.map(|service| self.0.is_healthy(service))).await;
        answers.into_iter().all(|healthy| healthy)
    }
}
