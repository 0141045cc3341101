//! A service on Temporal: API and worker in this process, one real server for all. Everything takes real time here, so
//! the state machines have their waits cut down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use clock::{SharedClock, SystemClock};
use contracts::WorkflowKind;
use engine::ActivityRunner;
use engine_temporal::{Connector, Server, Temporal};
use engine_temporal_worker::{Ports, WorkerError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reference_services::{ServiceKind, Services};
use serde_json::Value;
use store_sql::Durability;
use temporalio_client::{Client, UntypedWorkflow, WorkflowFetchHistoryOptions, WorkflowHandle};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use workflow_service::{App, Settings, Surroundings, Worker};

use crate::aws::{cut_down, pace};
use crate::in_process::InProcess;
use crate::peers;
use crate::world::{Afterwards, Door, Script, Scripted, Site};

/// Runs a test on a runtime of several threads; nothing if there is no server to be had.
pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(&'static str) -> F) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
    if let Some(server) = peers::temporal() {
        runtime.block_on(test(server));
    }
}

/// Puts something around the activities.
pub(crate) type Around = Box<dyn FnOnce(Arc<dyn ActivityRunner>) -> Arc<dyn ActivityRunner> + Send>;

/// What differs between stacks.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) script: Script,
    /// Settings by their environment names, without the prefix.
    pub(crate) settings: BTreeMap<String, String>,
    /// Another state machine than the workflows' own.
    pub(crate) definition: Option<String>,
    pub(crate) around: Option<Around>,
    /// Another server.
    pub(crate) server: Option<String>,
}

/// One service: its data directory, its task queue, its worker.
pub(crate) struct Stack {
    pub(crate) site: Site,
    pub(crate) app: App,
    pub(crate) settings: Settings,
    activities: BTreeSet<String>,
    _directory: tempfile::TempDir,
}

/// A worker that works until it is stopped.
pub(crate) struct Working {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), WorkerError>>,
}

impl Working {
    pub(crate) fn of(worker: Worker) -> Self {
        let Worker { connector, options, ports } = worker;
        let (stop, stopped) = oneshot::channel();
        let until = async move { drop(stopped.await) };
        Self { stop, ended: tokio::spawn(engine_temporal_worker::run(connector, options, ports, || {}, until)) }
    }

    /// Waits until it gives up by itself.
    pub(crate) async fn ended(self) -> Result<(), WorkerError> {
        self.ended.await.unwrap()
    }

    /// As on SIGTERM: what is under way is finished or given back.
    pub(crate) fn stop(self) -> BoxFuture<'static, ()> {
        drop(self.stop);
        let ended = self.ended;
        async move { ended.await.unwrap().unwrap() }.boxed()
    }
}

/// A name that no other test uses.
pub(crate) fn fresh(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A way to the server.
pub(crate) fn connector(server: &str) -> Connector {
    let server = Server { url: Some(server.to_owned()), namespace: Some("default".to_owned()), ..Server::default() };
    Connector::new(&server, Arc::new(SystemClock)).unwrap()
}

/// The functions that a state machine calls.
pub(crate) fn functions(definition: &Value) -> BTreeSet<String> {
    match definition {
        Value::Object(object) => {
            let own = object.get("FunctionName").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(object.values().flat_map(functions)).collect()
        }
        Value::Array(items) => items.iter().flat_map(functions).collect(),
        _ => BTreeSet::new(),
    }
}

impl Stack {
    /// Boxed, as are the others below: the compiler cannot see through so many futures at once.
    pub(crate) fn start(server: &str, options: Options) -> BoxFuture<'static, Self> {
        let server = server.to_owned();
        let start = move || Handle::current().block_on(Self::start_on(&server, options));
        async move { tokio::task::spawn_blocking(start).await.unwrap() }.boxed()
    }

    async fn start_on(server: &str, options: Options) -> Self {
        let Options { script, settings, definition, around, server: other } = options;
        let directory = tempfile::tempdir().unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let services = Services::in_memory(Arc::clone(&clock)).await.unwrap();
        services.seed_demo().await.unwrap();
        let transport = ServiceKind::ALL.into_iter().fold(InProcess::default(), |transport, kind| {
            transport.with(&format!("127.0.0.1:{}", kind.default_port()), services.router(kind))
        });
        let attempts = settings.get("WORKFLOWS__RETRY_POLICY__MAXIMUM_ATTEMPTS").map(|text| text.parse().unwrap());
        let own = settings.iter().map(|(name, value)| (format!("WORKFLOW__{name}"), value.clone()));
        let more = [
            ("WORKFLOW__ENGINE__KIND", "temporal".to_owned()),
            ("WORKFLOW__TEMPORAL__SERVER_URL", other.unwrap_or_else(|| server.to_owned())),
            ("WORKFLOW__TEMPORAL__TASK_QUEUE", fresh("queue")),
        ];
        let more = more.into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut settings = Settings::load(None, more.chain(own)).unwrap();
        settings.data_dir = directory.path().to_owned();
        settings.key_file = directory.path().join("keys.json");
        vault::FileKeys::init(&settings.key_file, clock.now()).unwrap();
        let own = definition.as_deref().map(|definition| serde_json::from_str(definition).unwrap_or_default());
        let activities = own.as_ref().map(functions).unwrap_or_default();
        let definition_of = move |kind: WorkflowKind| {
            let workflow = workflows::workflow(kind)?;
            let shipped = || cut_down(&workflow.definition(&Default::default()), &BTreeSet::new(), attempts);
            Some(definition.clone().unwrap_or_else(shipped))
        };
        let store = Arc::new(Mutex::new(None));
        let (scripted_store, scripted_clock) = (Arc::clone(&store), Arc::clone(&clock));
        let surroundings = Surroundings {
            clock: Arc::clone(&clock),
            transport: Arc::new(transport),
            durability: Durability::Process,
            around_activities: Some(Box::new(move |inner| {
                let script = Arc::new(Mutex::new(script));
                let scripted = Scripted {
                    inner,
                    script,
                    store: scripted_store,
                    clock: scripted_clock,
                    pace,
                    afterwards: Afterwards::default(),
                };
                let scripted: Arc<dyn ActivityRunner> = Arc::new(scripted);
                match around {
                    Some(around) => around(scripted),
                    None => scripted,
                }
            })),
            definition_of: Some(Arc::new(definition_of)),
        };
        let app = App::open(&settings, surroundings).await.unwrap();
        *store.lock().unwrap() = Some(app.store.clone());
        let door = Door::Router(app.router.clone());
        let site = Site {
            door,
            services,
            clock,
            calls: Arc::default(),
            unreached: Arc::default(),
            settling_time: Duration::from_millis(500),
        };
        Self { site, app, settings, activities, _directory: directory }
    }

    /// A worker of this service.
    pub(crate) fn worker(&self) -> Worker {
        let mut worker = self.app.worker(&self.settings).unwrap();
        worker.options.activities.extend(self.activities.iter().cloned());
        worker
    }

    /// Works on it.
    pub(crate) fn work(&self) -> Working {
        Working::of(self.worker())
    }

    pub(crate) fn ports(&self) -> Ports {
        self.worker().ports
    }

    /// The engine's client half.
    pub(crate) fn engine(&self, definition: &str) -> Temporal {
        let url = self.settings.temporal.server.url.clone().unwrap();
        let definition = definition.to_owned();
        let definition_of = Arc::new(move |_| Some(definition.clone()));
        Temporal::new(Arc::new(connector(&url)), &self.settings.temporal.task_queue, definition_of)
    }

    /// A workflow's whole history, as the server has it.
    pub(crate) fn server_history(&self, id: &str) -> BoxFuture<'static, Vec<u8>> {
        let (url, id) = (self.settings.temporal.server.url.clone().unwrap(), id.to_owned());
        let history = async move {
            let client = connector(&url).client().await.unwrap();
            let handle: WorkflowHandle<Client, UntypedWorkflow> = client.get_workflow_handle(id);
            handle.fetch_history(WorkflowFetchHistoryOptions::default()).to_json().await.unwrap()
        };
        history.boxed()
    }
}
