//! Puts the parts together. The only place that names a concrete store and engine.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use activities::{Activities, DatasetSource};
use anyhow::{Context as _, anyhow, bail};
use api::{
    Api, Check, Compliance, Files, KeptBackups, KeptHouse, Notified, Operating, Readiness, Releasing, ServiceChecks,
    SignedLinks, Starting, Streaming,
};
use async_trait::async_trait;
use aws_clients::InvokedActivities;
use axum::Router;
use clock::{SharedClock, SystemClock};
use contracts::backup::BackupSchedule;
use contracts::limits::MAX_WAIT_SECONDS;
use contracts::{EngineKind, Timestamp};
use downstream::{Downstream, HttpTransport, Transport};
use engine::{ActivityRunner, DefinitionOf, Engine, Engines, Reconciled};
use engine_embedded::{DirectoryLock, EmbeddedEngine, Limits};
use engine_temporal::{Connector, Server, Temporal as TemporalEngine};
use engine_temporal_worker::Ports;
use settings::{ActivityPlace, Settings, StoreKind, Temporal, TemporalServer};
use store::{BlobKey, OpenLimits, Removed, StoreError};
use store_aws::{DynamoStore, S3Blobs};
use store_sql::{Archived, Durability, FileBlobs, SealedBlobs, SqlStore};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use vault::KeyFilePath;
use workflows::RetryPolicies;

use crate::{aws, link_key};

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
    /// Other state machines than the catalogue's, if any.
    pub definition_of: Option<DefinitionOf>,
}

impl Surroundings {
    /// The machine's clock, the network and the disk.
    pub fn real() -> anyhow::Result<Self> {
        Ok(Self {
            clock: Arc::new(SystemClock),
            transport: Arc::new(HttpTransport::default()),
            durability: Durability::Full,
            around_activities: None,
            definition_of: None,
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
    foundation: Foundation,
    reconciling: Option<AbortHandle>,
    housekeeping: AbortHandle,
    backups: AbortHandle,
    notices: AbortHandle,
    stop: watch::Sender<bool>,
    _locks: Vec<DirectoryLock>,
}

/// What an engine stands on: the data directory, the way to the services. A server and workers have it in common.
struct Foundation {
    store: SqlStore,
    files: Arc<FileBlobs>,
    /// The same, with exports encrypted.
    blobs: Arc<SealedBlobs>,
    downstream: Downstream,
    runner: Arc<dyn ActivityRunner>,
    clock: SharedClock,
}

impl Foundation {
    async fn open(settings: &Settings, surroundings: Surroundings) -> anyhow::Result<Self> {
        let Surroundings { clock, transport, durability, around_activities, definition_of: _ } = surroundings;
        let directory = &settings.data_dir;
        let files = Arc::new(FileBlobs::open(&directory.join("blobs")).await?);
        let store = SqlStore::open(&directory.join(DATABASE), durability, Arc::clone(&clock)).await?;
        let settings::Limits { open_executions, open_executions_per_tenant } = settings.limits;
        let limits = OpenLimits { of_tenant: open_executions_per_tenant.into(), in_all: open_executions.into() };
        let store = store.with_blobs(files.clone()).with_limits(limits);
        let downstream = Downstream::new(transport, settings.endpoints.clone(), Arc::clone(&clock), CALL_TIMEOUT);
        let records = Arc::new(store.clone());
        let keys = Arc::new(KeyFilePath::new(settings.key_file.clone()));
        let blobs = Arc::new(SealedBlobs::new(files.clone(), keys.clone(), BlobKey::is_export));
        let (services, time, blobs_of_activities) = (downstream.clone(), Arc::clone(&clock), blobs.clone());
        let activities = Activities::new(services, blobs_of_activities, records, keys, dataset(settings)?, time);
        let runner = around(around_activities, activities);
        Ok(Self { store, files, blobs, downstream, runner, clock })
    }

    fn worker(&self, settings: &Settings) -> anyhow::Result<Worker> {
        let store = Arc::new(self.store.clone());
        let ports = Ports {
            runner: Arc::clone(&self.runner),
            recorder: store.clone(),
            executions: store.clone(),
            ends: store,
            blobs: self.blobs.clone(),
            clock: Arc::clone(&self.clock),
        };
        Worker::new(settings, ports)
    }
}

/// The dataset map that the settings name, read once: one that cannot be used is told now.
fn dataset(settings: &Settings) -> anyhow::Result<DatasetSource> {
    let dataset = Arc::new(settings::dataset(settings.dataset_file.as_deref())?);
    Ok(Arc::new(move || Ok(Arc::clone(&dataset))))
}

fn around(around: Option<AroundActivities>, activities: impl ActivityRunner + 'static) -> Arc<dyn ActivityRunner> {
    let activities = Arc::new(activities);
    match around {
        Some(around) => around(activities),
        None => activities,
    }
}

/// What a worker beside the deployment on AWS works with: its table, its bucket, and its functions if activities run there.
async fn ports_on_aws(
    settings: &Settings,
    table: &str,
    bucket: &str,
    surroundings: Surroundings,
) -> anyhow::Result<Ports> {
    let Surroundings { clock, transport, around_activities, .. } = surroundings;
    let clients = aws::clients(settings.has_own_roots).await?;
    let dynamodb = clients.dynamodb();
    let blobs = Arc::new(S3Blobs::new(clients.s3(), bucket));
    let store = DynamoStore::new(|| dynamodb, table, Arc::clone(&clock)).with_blobs(blobs.clone());
    let store = Arc::new(store);
    let runner = match &settings.temporal.activities {
        ActivityPlace::InProcess => {
            let downstream = Downstream::new(transport, settings.endpoints.clone(), Arc::clone(&clock), CALL_TIMEOUT);
            let keys = Arc::new(KeyFilePath::new(settings.key_file.clone()));
            let clock = Arc::clone(&clock);
            let dataset = dataset(settings)?;
            around(around_activities, Activities::new(downstream, blobs.clone(), store.clone(), keys, dataset, clock))
        }
        ActivityPlace::InFunctions { prefix } => {
            around(around_activities, InvokedActivities::new(clients.functions(), prefix))
        }
    };
    Ok(Ports { runner, recorder: store.clone(), executions: store.clone(), ends: store, blobs, clock })
}

/// The way to the Temporal server. The key that lets us in is in Temporal's own variables.
pub fn temporal_connector(settings: &Settings, clock: &SharedClock) -> anyhow::Result<Connector> {
    let TemporalServer { url, namespace, identity, .. } = settings.temporal.server.clone();
    let server = Server { url, namespace, identity, api_key: None };
    Connector::new(&server, Arc::clone(clock)).map_err(|problem| anyhow!("temporal: {problem}"))
}

/// A worker of the Temporal engine, on a data directory that it shares with a server, or beside the deployment on AWS.
pub struct Worker {
    /// The way to the server.
    pub connector: Connector,
    /// How it works.
    pub options: engine_temporal_worker::Options,
    /// What it works with.
    pub ports: Ports,
}

impl Worker {
    /// Opens the data directory, or makes the clients of AWS.
    pub async fn open(settings: &Settings, surroundings: Surroundings) -> anyhow::Result<Self> {
        match &settings.store {
            StoreKind::Sqlite => {
                create_private(&settings.data_dir)?;
                Foundation::open(settings, surroundings).await?.worker(settings)
            }
            StoreKind::Dynamodb { table, bucket } => {
                Self::new(settings, ports_on_aws(settings, table, bucket, surroundings).await?)
            }
        }
    }

    fn new(settings: &Settings, ports: Ports) -> anyhow::Result<Self> {
        let Temporal { task_queue, max_concurrent_activities, max_concurrent_workflows, .. } = &settings.temporal;
        let options = engine_temporal_worker::Options {
            max_concurrent_activities: *max_concurrent_activities,
            max_concurrent_workflows: *max_concurrent_workflows,
            ..engine_temporal_worker::Options::new(task_queue)
        };
        Ok(Self { connector: temporal_connector(settings, &ports.clock)?, options, ports })
    }
}

impl App {
    /// Opens the data directory and goes on with what was under way.
    pub async fn open(settings: &Settings, surroundings: Surroundings) -> anyhow::Result<Self> {
        if settings.store != StoreKind::Sqlite {
            bail!("store.kind: 'dynamodb' is for `worker`; the API of that table are the deployment's functions");
        }
        check_definitions(&settings.retry_policies)?;
        create_private(&settings.data_dir)?;
        let locks = lock(&settings.data_dir)?;
        let given = surroundings.definition_of.clone();
        let link_key = link_key::of(&settings.data_dir).context("the key of links cannot be made or read")?;
        let foundation = Foundation::open(settings, surroundings).await?;
        let Foundation { store, files: kept_files, blobs, downstream, runner, clock } = &foundation;
        let policies = settings.retry_policies;
        let of_catalogue = move |kind| workflows::workflow(kind).map(|workflow| workflow.definition(&policies));
        let definition_of: DefinitionOf = given.unwrap_or_else(|| Arc::new(of_catalogue));
        // Whatever new executions run on: those that it has begun stay with it.
        let journal = Arc::new(store.clone());
        let limits = Limits { max_concurrent_activities: settings.max_concurrent_activities };
        let definitions = Arc::clone(&definition_of);
        let engine =
            EmbeddedEngine::new(journal, blobs.clone(), Arc::clone(runner), Arc::clone(clock), limits, definitions);
        let temporal = match settings.engine {
            EngineKind::Temporal => {
                let connector = Arc::new(temporal_connector(settings, clock)?);
                Some(TemporalEngine::new(connector, &settings.temporal.task_queue, definition_of))
            }
            EngineKind::Embedded | EngineKind::StepFunctions => None,
        };
        let services = ServiceChecks::new(downstream.clone(), Arc::clone(clock));
        let mut engines: Vec<Arc<dyn Engine>> = vec![Arc::new(engine.clone())];
        if let Some(temporal) = &temporal {
            engines.push(Arc::new(temporal.clone()));
        }
        let engines = Engines::new(engines);
        let (stop, stopping) = watch::channel(false);
        let api = Api {
            executions: Arc::new(store.clone()),
            history: Arc::new(store.clone()),
            audit: Arc::new(store.clone()),
            engines: engines.clone(),
            clock: Arc::clone(clock),
            access: settings.access.clone(),
            request_timeout: settings.request_timeout,
            longest_wait: Duration::from_secs(MAX_WAIT_SECONDS),
            streaming: Streaming::Until(stopping),
        };
        let starting = Starting {
            api: api.clone(),
            engine: settings.engine,
            blobs: blobs.clone(),
            default_timeout: settings.default_timeout,
            durations: Arc::default(),
            backups: Arc::new(store.clone()),
            erasures: Arc::new(store.clone()),
        };
        let links = SignedLinks::new(link_key, blobs.clone(), Arc::clone(clock), Arc::new(store.clone()));
        let files = Files { api: api.clone(), blobs: blobs.clone(), links: Arc::new(links.clone()) };
        let records = Arc::new(store.clone());
        let (backups, erasures) = (records.clone(), records.clone());
        let kept = KeptBackups { api: api.clone(), backups, blobs: blobs.clone(), erasures };
        let dataset = Arc::new(settings::dataset(settings.dataset_file.as_deref())?);
        let compliance = Compliance { api: api.clone(), holds: records.clone(), requests: records, dataset };
        let releasing = Releasing { compliance, starting: starting.clone() };
        let readiness = Readiness { api, engine: Arc::new(AllEngines(engines.clone())), services };
        let recovered = engine.recover().await?;
        let housekeeping = keep_house(store.clone(), kept_files.clone(), settings.retention, Arc::clone(clock));
        let backups = keep_backups(starting.clone(), store.clone(), settings.backups.clone());
        let notices = notify(store.clone(), downstream.clone(), settings.notify.clone(), Arc::clone(clock));
        let reconciling = temporal.map(|_| reconcile(store.clone(), engines, Arc::clone(clock)));
        let store = store.clone();
        let operating = Operating { starting, ends: Arc::new(store.clone()) };
        Ok(Self {
            router: api::router(operating, readiness, files, kept, releasing).merge(links.routes()),
            store,
            engine,
            recovered,
            foundation,
            reconciling,
            housekeeping,
            backups,
            notices,
            stop,
            _locks: locks,
        })
    }

    /// Ends the engine, and what looks after executions elsewhere: nothing begins any more, and what is under way has `grace`
    /// to end.
    pub async fn stop_engine(&self, grace: Duration) {
        if let Some(reconciling) = &self.reconciling {
            reconciling.abort();
        }
        self.engine.stop(grace).await;
    }

    /// Ends answers that would stay open: streams, and requests that wait for news.
    pub fn end_waiting(&self) {
        self.stop.send_replace(true);
    }

    /// A worker of the Temporal engine beside the server, in the same process.
    pub fn worker(&self, settings: &Settings) -> anyhow::Result<Worker> {
        self.foundation.worker(settings)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(reconciling) = &self.reconciling {
            reconciling.abort();
        }
        self.housekeeping.abort();
        self.backups.abort();
        self.notices.abort();
    }
}

/// How often starts that never arrived and ends that nobody recorded are looked for.
const RECONCILING_INTERVAL: Duration = Duration::from_secs(20);

fn reconcile(store: SqlStore, engines: Engines, clock: SharedClock) -> AbortHandle {
    let time = Arc::clone(&clock);
    let reconciling = async move {
        loop {
            clock::sleep(&*clock, RECONCILING_INTERVAL).await;
            match engine::reconcile(&store, &store, &engines, &*clock).await {
                Ok(reconciled) if reconciled == Reconciled::default() => {}
                Ok(reconciled) => tracing::warn!(?reconciled, "executions were not as recorded"),
                Err(error) => tracing::error!(%error, "not reconciled"),
            }
        }
    };
    clock::spawn(&time, reconciling).abort_handle()
}

/// How often what nobody needs any more is removed, in turns that hold nobody up.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(600);

/// How often the files of requests are searched for those that belong to no execution.
const SEARCH_INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// How long the journal of an execution stays after its end, for who looks into what has just happened.
const JOURNALS_STAY: Duration = Duration::from_secs(2 * 3_600);

fn keep_house(store: SqlStore, blobs: Arc<FileBlobs>, retention: Duration, clock: SharedClock) -> AbortHandle {
    let time = Arc::clone(&clock);
    let keeping = async move {
        let mut next_search = clock.instant();
        loop {
            clock::sleep(&*clock, HOUSEKEEPING_INTERVAL).await;
            let before = |stay| clock.now().checked_sub(stay).unwrap_or(Timestamp::MIN);
            // What fails is due again, and keeps the others from nothing.
            let failed = |error: &StoreError| tracing::error!(%error, "not everything old is removed");
            let journals = store.remove_journals(before(JOURNALS_STAY)).await.inspect_err(failed).unwrap_or_default();
            let archived = store.archive(&blobs, before(retention)).await.inspect_err(failed).unwrap_or_default();
            let mut requests = 0;
            if clock.instant() >= next_search {
                next_search = clock.instant() + SEARCH_INTERVAL;
                requests = store.remove_lost_requests(&blobs).await.inspect_err(failed).unwrap_or_default();
                requests += blobs.remove_old_uploads().await.inspect_err(failed).unwrap_or_default();
            }
            let pages = store.release_pages().await.inspect_err(failed).unwrap_or_default();
            let Archived { executions, failed } = archived;
            if (journals, executions, failed, requests, pages) != (0, 0, 0, 0, 0) {
                tracing::info!(journals, executions, failed, requests, pages, "what is old was removed or archived");
            }
        }
    };
    clock::spawn(&time, keeping).abort_handle()
}

/// How often backups are looked for that are to be begun, where there is a schedule.
const SCHEDULE_INTERVAL: Duration = Duration::from_secs(60);

fn keep_backups(starting: Starting, store: SqlStore, schedule: Option<BackupSchedule>) -> AbortHandle {
    let time = Arc::clone(&starting.api.clock);
    let interval = if schedule.is_some() { SCHEDULE_INTERVAL } else { HOUSEKEEPING_INTERVAL };
    let keeping = async move {
        loop {
            clock::sleep(&*starting.api.clock, interval).await;
            match api::keep_backups(&starting, &store, schedule.as_ref()).await {
                Ok(KeptHouse { removed: Removed { backups: 0, left: 0 }, .. }) => {}
                Ok(KeptHouse { removed: Removed { backups, left }, .. }) => {
                    tracing::info!(removed = backups, left, "backups whose time is up");
                }
                Err(error) => tracing::error!(%error, "backups whose time is up are not removed"),
            }
        }
    };
    clock::spawn(&time, keeping).abort_handle()
}

fn notify(store: SqlStore, downstream: Downstream, to: Option<String>, clock: SharedClock) -> AbortHandle {
    let time = Arc::clone(&clock);
    let notifying = async move {
        loop {
            clock::sleep(&*clock, HOUSEKEEPING_INTERVAL).await;
            match api::notify_due_requests(&store, &downstream, to.as_deref(), &*clock).await {
                Ok(notified) if notified == Notified::default() => {}
                Ok(notified) => tracing::info!(?notified, "requests of persons are due"),
                Err(error) => tracing::error!(%error, "it is not known which requests of persons are due"),
            }
        }
    };
    clock::spawn(&time, notifying).abort_handle()
}

/// The name of the database in its directory.
const DATABASE: &str = "workflow-service.db";

/// Takes the directory, and the one that its database is in where that is a link: the lock is on what is written.
fn lock(directory: &Path) -> anyhow::Result<Vec<DirectoryLock>> {
    let cannot = || format!("cannot use {}", directory.display());
    let mut locks = vec![DirectoryLock::acquire(directory)?];
    let place = store_sql::place_of(&directory.join(DATABASE)).with_context(cannot)?;
    let (real, directory) = (place.parent().unwrap_or(directory), directory.canonicalize().with_context(cannot)?);
    if real != directory {
        locks.push(DirectoryLock::acquire(real)?);
    }
    Ok(locks)
}

/// Creates a directory that only this user can look into: requests are kept in it. One that is there stays as it is.
pub fn create_private(directory: &Path) -> anyhow::Result<()> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    created.with_context(|| format!("cannot create {}", directory.display()))?;
    let mode = directory.metadata().map_or(0, |metadata| metadata.mode() & 0o7777);
    if mode & 0o077 != 0 {
        let directory = directory.display();
        tracing::warn!(
            "others can look into {directory} (mode {mode:04o}): its files are private, their names are not; `chmod 700 \
             {directory}` closes it"
        );
    }
    Ok(())
}

/// A retry policy that no state machine can hold would otherwise fail every start.
pub(crate) fn check_definitions(policies: &RetryPolicies) -> anyhow::Result<()> {
    for workflow in &workflows::ALL {
        let loaded = asl::Definition::load(&workflow.definition(policies));
        let settings = "workflows.retry_policy or workflows.unreachable";
        loaded.with_context(|| format!("{settings} makes {} invalid", workflow.name))?;
    }
    Ok(())
}

/// Whether executions make progress, and new ones are taken.
struct AllEngines(Engines);

#[async_trait]
impl Check for AllEngines {
    async fn check(&self) -> Result<(), String> {
        self.0.check().await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_lock_is_on_the_database_that_is_opened() {
        let base = tempfile::tempdir().expect("a directory");
        let directories = ["real", "linked", "link"].map(|name| base.path().join(name));
        let [real, linked, link] = &directories;
        [real, linked].into_iter().for_each(|directory| create_private(directory).expect("a new directory"));
        symlink(real, link).expect("a link");
        drop(lock(real).expect("nobody has it"));
        symlink(real.join(DATABASE), linked.join(DATABASE)).expect("a link");
        let held = lock(linked).expect("nobody has it");
        for directory in &directories {
            let refused = lock(directory).expect_err("it is in use").to_string();
            assert!(refused.contains("is in use by another"), "{refused}");
        }
        drop(held);
        lock(link).expect("nobody has it");
    }
}
