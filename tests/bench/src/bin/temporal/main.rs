//! Temporal beside the embedded engine, and beside a workflow written by hand. `cargo xtask bench temporal`; writes
//! `target/bench/temporal.json` and fails when a goal is missed.
//!
//! All run the same steps, which do nothing. CPU is that of all processes together: this one, which starts and awaits
//! executions, the worker's, and Temporal's own. `temporal PROGRAM EMBEDDED` wants the path of Temporal's server and that of
//! the bench of the embedded engine, which measures that one.

mod native;

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use bench::{ACTIVITY, Measured, chain, cpu_seconds, execution, fresh, load_average, now, number, report_of};
use clock::{SharedClock, SystemClock};
use contracts::EngineKind;
use engine::{ActivityCall, ActivityRunner, Engine as _};
use engine_temporal::{Connector, Server, StateMachine, Temporal};
use engine_temporal_worker::{Options, Ports};
use futures::future::{Either, select};
use native::Native;
use serde_json::{Value, json};
use store::{Executions as _, StepOutcome, StepRecorder};
use store_sql::{Durability, FileBlobs, SqlStore};
use temporalio_client::{
    Client, WorkflowFetchHistoryOptions, WorkflowGetResultOptions, WorkflowHandle, WorkflowStartOptions,
};
use temporalio_sdk::{Runtime, Worker};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TENANT: &str = "tenant-a";
const TASK_QUEUE: &str = "bench";

/// Each part is measured so often, in turns with the others; medians count.
const ROUNDS: usize = 3;
/// How many at once; of how many executions here, and of how many on the embedded engine.
const LOADS: [(usize, usize, usize); 3] = [(1, 20, 300), (16, 160, 2_000), (200, 400, 4_000)];
/// No measure takes longer, unless the worker is gone.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the embedded engine, to Temporal: executions a second, by how many at once.
const MIN_TIMES_FASTER: [(usize, f64); 3] = [(1, 10.0), (16, 30.0), (200, 30.0)];
const MIN_TIMES_LESS_CPU: f64 = 20.0;
/// Of a worker, to a worker whose workflow is written by hand.
const MAX_WORKER_RATIO: f64 = 1.3;
/// The end is recorded within the workflow's last turn, which leaves a marker.
const MORE_EVENTS: i64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    StateMachine,
    Native,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::StateMachine => "state machine",
            Self::Native => "by hand",
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["work", server, directory] => work(server, Path::new(directory)).await.map(|()| ExitCode::SUCCESS),
        [program, embedded] => all(Path::new(program), Path::new(embedded)).await,
        _ => bail!("the paths of Temporal and of the embedded engine's bench are wanted"),
    }
}

async fn all(program: &Path, embedded: &Path) -> anyhow::Result<ExitCode> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    let scratch = home.join("temporal");
    let load_before = load_average();
    let mut measured = Measured::default();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}, load {}", load_average());
        let site = Site::start(program, &fresh(&scratch, "data")?).await?;
        // Whoever is first pays for what is made once.
        for kind in [Kind::StateMachine, Kind::Native] {
            site.measure(kind, 4, 20).await?;
        }
        for (at_once, executions, embedded_executions) in LOADS {
            let kinds = [Kind::StateMachine, Kind::Native];
            let order = if round % 2 == 0 { [kinds[1], kinds[0]] } else { kinds };
            for kind in order {
                let taken = site.measure(kind, at_once, executions).await?;
                let what = format!("{}, {at_once} at once", kind.name());
                measured.add(format!("executions/s, {what}"), executions as f64 / taken.seconds);
                measured.add(format!("ms CPU each, {what}"), taken.cpu_seconds * 1e3 / executions as f64);
                measured
                    .add(format!("ms CPU of the worker each, {what}"), taken.worker_seconds * 1e3 / executions as f64);
                measured.add(format!("events, {}", kind.name()), taken.events as f64);
            }
            let numbers = [at_once, embedded_executions].map(|number| number.to_string());
            let directory = fresh(&scratch, "embedded")?;
            let report = report_of(Command::new(embedded).arg("load").arg(directory).args(numbers))?;
            let (executions, what) = (embedded_executions as f64, format!("embedded, {at_once} at once"));
            measured.add(format!("executions/s, {what}"), executions / number(&report, "seconds"));
            measured.add(format!("ms CPU each, {what}"), number(&report, "cpu_seconds") * 1e3 / executions);
        }
    }
    let missed = judge(&measured);
    measured.report(&home.join("temporal.json"), ROUNDS, [load_before, load_average()], &missed)
}

/// Prints medians and ratios; the goals that are missed.
fn judge(measured: &Measured) -> Vec<String> {
    measured.print();
    let mut missed = Vec::new();
    let mut check = |what: String, value: f64, is_met: bool| {
        println!("{value:>10.3} {what}");
        if !is_met {
            missed.push(format!("{what}: {value:.3}"));
        }
    };
    let median =
        |what: &str, kind: &str, at_once: usize| measured.median(&format!("{what}, {kind}, {at_once} at once"));
    let (ours, by_hand) = (Kind::StateMachine.name(), Kind::Native.name());
    for (at_once, faster) in MIN_TIMES_FASTER {
        let ratio = median("executions/s", "embedded", at_once) / median("executions/s", ours, at_once);
        check(format!("times as many executions/s embedded, {at_once} at once"), ratio, ratio >= faster);
        let ratio = median("ms CPU each", ours, at_once) / median("ms CPU each", "embedded", at_once);
        check(format!("times the CPU of embedded, {at_once} at once"), ratio, ratio >= MIN_TIMES_LESS_CPU);
        let what = "ms CPU of the worker each";
        let ratio = median(what, ours, at_once) / median(what, by_hand, at_once);
        check(format!("times a worker's CPU of one by hand, {at_once} at once"), ratio, ratio <= MAX_WORKER_RATIO);
    }
    let more = measured.median(&format!("events, {ours}")) - measured.median(&format!("events, {by_hand}"));
    check("more events than by hand".to_owned(), more, more as i64 == MORE_EVENTS);
    missed
}

/// What some executions took.
struct Taken {
    seconds: f64,
    cpu_seconds: f64,
    worker_seconds: f64,
    /// Of the last one's history at the server.
    events: usize,
}

/// Temporal, a worker, and the store that both workers and starts use.
struct Site {
    server: Process,
    worker: Process,
    client: Client,
    engine: Temporal,
    store: SqlStore,
}

/// Killed when this is dropped.
struct Process(Child);

impl Process {
    fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.0.id().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    async fn start(program: &Path, directory: &Path) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let mut server = Command::new(program);
        server.args(["server", "start-dev", "--headless", "--log-level", "error", "--port", &port, "--db-filename"]);
        let server = server.arg(directory.join("temporal.db")).stdout(Stdio::null()).spawn()?;
        let (server, address) = (Process(server), format!("http://127.0.0.1:{port}"));
        let connector = connector(&address)?;
        let client = until_up(&connector).await?;
        let worker = Command::new(std::env::current_exe()?).args(["work", &address]).arg(directory).spawn()?;
        let store = open(directory).await?;
        let engine = Temporal::new(connector, TASK_QUEUE, Arc::new(|_| Some(chain().to_string())));
        Ok(Self { server, worker: Process(worker), client, engine, store })
    }

    /// So many executions, so many of them at once.
    async fn measure(&self, kind: Kind, at_once: usize, executions: usize) -> anyhow::Result<Taken> {
        let cpu = || [cpu_seconds("self"), self.server.cpu_seconds(), self.worker.cpu_seconds()];
        let (began, before) = (now(), cpu());
        let left = AtomicUsize::new(executions);
        let one_after_the_other = async |_| {
            let mut last = None;
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                last = Some(self.run(kind).await?);
            }
            anyhow::Ok(last)
        };
        let all = futures::future::try_join_all((0..at_once).map(one_after_the_other));
        let too_long = clock::sleep(&SystemClock, PATIENCE);
        let ends = match select(std::pin::pin!(all), std::pin::pin!(too_long)).await {
            Either::Left((ends, _)) => ends?,
            Either::Right(_) => bail!("{executions} executions, {}, are not over after {PATIENCE:?}", kind.name()),
        };
        let (seconds, after) = (began.elapsed().as_secs_f64(), cpu());
        let last = ends.into_iter().flatten().next().context("none ran")?;
        let history = self.handle(&last).fetch_history(WorkflowFetchHistoryOptions::default());
        let history: Value = serde_json::from_slice(&history.to_json().await?)?;
        let took = |which: usize| after[which] - before[which];
        Ok(Taken {
            seconds,
            cpu_seconds: (0..3).map(took).sum(),
            worker_seconds: took(2),
            events: history["events"].as_array().context("a history has events")?.len(),
        })
    }

    /// Starts an execution and waits for its end; its id.
    async fn run(&self, kind: Kind) -> anyhow::Result<String> {
        let mut new = execution(TENANT, EngineKind::Temporal);
        self.engine.admit(&mut new).await?;
        let (id, input) = (new.id.clone(), new.input["workflow"].clone());
        let store::Created::New(record) = self.store.create(new).await? else { bail!("{id} is there already") };
        match kind {
            Kind::StateMachine => drop(self.engine.start(&record).await?),
            Kind::Native => {
                let options = WorkflowStartOptions::new(TASK_QUEUE.to_owned(), id.clone()).build();
                self.client.start_workflow(Native::run, input, options).await?;
            }
        }
        self.handle(&id).get_result(WorkflowGetResultOptions::default()).await?;
        Ok(id)
    }

    fn handle(&self, id: &str) -> WorkflowHandle<Client, StateMachine> {
        self.client.get_workflow_handle(id)
    }
}

fn connector(server: &str) -> anyhow::Result<Arc<Connector>> {
    let server = Server { url: Some(server.to_owned()), namespace: Some("default".to_owned()), ..Server::default() };
    Ok(Arc::new(Connector::new(&server, Arc::new(SystemClock)).map_err(|error| anyhow!(error))?))
}

async fn until_up(connector: &Connector) -> anyhow::Result<Client> {
    for _ in 0..300 {
        if connector.check().await.is_ok() {
            return connector.client().await.map_err(|error| anyhow!(error));
        }
        clock::sleep(&SystemClock, Duration::from_millis(100)).await;
    }
    bail!("Temporal does not come up")
}

async fn open(directory: &Path) -> anyhow::Result<SqlStore> {
    let clock: SharedClock = Arc::new(SystemClock);
    Ok(SqlStore::open(&directory.join("workflow-service.db"), Durability::Full, clock).await?)
}

/// A worker with both kinds of workflows; only their code differs.
async fn work(server: &str, directory: &Path) -> anyhow::Result<()> {
    let connector = connector(server)?;
    let store = Arc::new(open(directory).await?);
    let ports = Ports {
        runner: Arc::new(Nothing),
        recorder: store.clone(),
        executions: store.clone(),
        ends: store,
        blobs: Arc::new(FileBlobs::open(&directory.join("blobs")).await?),
        clock: Arc::new(SystemClock),
    };
    let mut options = Options::new(TASK_QUEUE);
    options.activities = [ACTIVITY.to_owned()].into();
    let client = until_up(&connector).await?;
    let work = move || -> anyhow::Result<()> {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        tokio.block_on(async {
            let mut configured =
                engine_temporal_worker::worker_options(&options, ports).map_err(|error| anyhow!(error))?;
            configured.register_workflow::<Native>()?;
            let options = engine_temporal_worker::runtime_options().map_err(|error| anyhow!(error))?;
            let runtime = Runtime::from_current_tokio(options)?;
            Worker::new(&runtime, client, configured)?.run().await?;
            Ok(())
        })
    };
    // Workflows stay on their thread.
    tokio::task::spawn_blocking(work).await?
}

/// An activity that does nothing.
struct Nothing;

#[async_trait]
impl ActivityRunner for Nothing {
    async fn run(&self, _call: ActivityCall, _recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        Ok(json!({ "id": "01890000-0000-7000-8000-000000000000" }))
    }
}
