//! Temporal as an engine, the worker's half: executions of state machines are workflows whose code is the interpreter.
//! Each attempt of a Task is an activity, each Wait and each delay of a retry a timer, the children of a distributed Map
//! are run by at most a hundred child workflows. The last thing that an execution does is to have its end recorded.
//!
//! A workflow is replayed from its history by whatever worker goes on with it, so nothing in it looks at a clock, at
//! random numbers or at the order of a hash map; the state machine comes with the workflow's input. Anything wrong inside
//! is an error with which the execution fails: what the SDK does not understand it would try again for ever.

mod activity;
mod chores;
mod drive;
mod failure;
mod flow;
mod machine;
mod range;
mod stray;
mod types;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use engine::ActivityRunner;
use engine_temporal::Connector;
use store::{Blobs, EndRecorder, Executions, StepRecorder};
use temporalio_client::WorkflowHistory;
use temporalio_common::worker::WorkerDeploymentOptions;
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use tokio::sync::oneshot;

use activity::Handler;
use chores::{Chore, Chores};
use types::{ActivityNamed, Flow, named};

/// Nexus operations, of which there are none.
const UNUSED_SLOTS: usize = 1;

/// How long a workflow waits for the worker that has it in memory before any other may have it: so long a killed worker
/// holds up what it worked on.
const STICKY_TIMEOUT: Duration = Duration::from_secs(3);

/// What a worker works with.
#[derive(Clone)]
pub struct Ports {
    /// Runs activities.
    pub runner: Arc<dyn ActivityRunner>,
    /// The record of their attempts.
    pub recorder: Arc<dyn StepRecorder>,
    /// The records of executions, for cancels.
    pub executions: Arc<dyn Executions>,
    /// The record of ends.
    pub ends: Arc<dyn EndRecorder>,
    /// Where Maps read items and write results.
    pub blobs: Arc<dyn Blobs>,
    /// Time, for activities only.
    pub clock: SharedClock,
}

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it looks for work.
    pub task_queue: String,
    /// The workflows that it knows, by the names of their state machines.
    pub workflows: BTreeSet<String>,
    /// The activities that it knows.
    pub activities: BTreeSet<String>,
    /// Activities under way at once.
    pub max_concurrent_activities: usize,
    /// Turns of workflows under way at once.
    pub max_concurrent_workflows: usize,
    /// How long activities that are under way may go on once it is to stop; then they are given to another worker.
    pub grace_period: Duration,
}

impl Options {
    /// All workflows of the catalogue and their activities.
    pub fn new(task_queue: impl Into<String>) -> Self {
        let known = workflows::ALL.iter();
        Self {
            task_queue: task_queue.into(),
            workflows: known.map(|workflow| workflow.name.to_owned()).collect(),
            activities: workflows::activities(),
            max_concurrent_activities: 100,
            max_concurrent_workflows: 100,
            grace_period: Duration::from_secs(20),
        }
    }
}

/// Why a worker does not work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WorkerError {
    /// There is no server, no namespace, or it does not let us in.
    #[error("{0}")]
    Unavailable(String),
    /// It cannot be made, or broke.
    #[error("the worker stopped: {0}")]
    Failed(String),
}

/// Works until `stop`, then finishes what is under way, within its grace period. `working` is called as soon as the server
/// has let it in.
///
/// # Errors
/// Why it does not work, or not any more.
pub async fn run(
    connector: Connector,
    options: Options,
    ports: Ports,
    working: impl FnOnce() + Send + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WorkerError> {
    let (report, ended) = oneshot::channel();
    // Workflows stay on their thread; their activities, and what speaks with the server, have others.
    let thread = std::thread::Builder::new().name("temporal-worker".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(work(connector, options, ports, working, stop)),
            Err(error) => Err(WorkerError::Failed(error.to_string())),
        };
        let _ = report.send(outcome);
    });
    thread.map_err(|error| WorkerError::Failed(error.to_string()))?;
    ended.await.unwrap_or_else(|_| Err(WorkerError::Failed("it panicked".to_owned())))
}

async fn work(
    connector: Connector,
    options: Options,
    ports: Ports,
    working: impl FnOnce() + Send + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WorkerError> {
    connector.check().await.map_err(WorkerError::Unavailable)?;
    let client = connector.client().await.map_err(WorkerError::Unavailable)?;
    let failed = |error: &dyn std::fmt::Display| WorkerError::Failed(error.to_string());
    let runtime = Runtime::from_current_tokio(runtime_options().map_err(|error| failed(&error))?)
        .map_err(|error| failed(&error))?;
    let clock = Arc::clone(&ports.clock);
    let configured = worker_options(&options, ports).map_err(|error| failed(&error))?;
    let mut worker = Worker::new(&runtime, client.clone(), configured).map_err(|error| failed(&error))?;
    let shut_down = worker.shutdown_handle();
    let stopping = tokio::spawn(async move {
        stop.await;
        shut_down();
    });
    working();
    let strays = tokio::spawn(stray::end_strays(client, options, clock));
    let outcome = worker.run().await.map_err(|error| failed(&error));
    strays.abort();
    stopping.abort();
    outcome
}

/// What the SDK's runtime is made with.
///
/// # Errors
/// The SDK does not like it.
pub fn runtime_options() -> Result<RuntimeOptions, String> {
    RuntimeOptions::builder().heartbeat_interval(None).build().map_err(|error| error.to_string())
}

/// What a worker of the SDK's is made with: for one that knows workflows besides ours.
///
/// # Errors
/// A name that cannot be registered.
pub fn worker_options(options: &Options, ports: Ports) -> Result<WorkerOptions, String> {
    let Ports { runner, recorder, executions, ends, blobs, clock } = ports;
    let chores = Chores { executions, ends, blobs, clock: Arc::clone(&clock) };
    let handler = Arc::new(Handler { runner, recorder, chores, clock });
    let tuner = TunerHolder::builder()
        // Two at least, or none could poll while another is worked on.
        .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(options.max_concurrent_workflows.max(2)))
        .activity_task_slot_supplier(FixedSizeSlotSupplier::new(options.max_concurrent_activities.max(1)))
        // Each is part of a turn: no end waits for another one.
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(options.max_concurrent_workflows.max(2)))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(UNUSED_SLOTS))
        .build();
    let mut configured = WorkerOptions::new(options.task_queue.clone())
        .deployment_options(WorkerDeploymentOptions::from_build_id(env!("CARGO_PKG_VERSION").to_owned()))
        .tuner(tuner)
        .sticky_queue_schedule_to_start_timeout(STICKY_TIMEOUT)
        .graceful_shutdown_period(options.grace_period)
        .build();
    for name in options.workflows.iter().map(String::as_str).chain([range::RANGE_TYPE]) {
        named(name, || configured.register_workflow::<Flow>().map(drop)).map_err(|error| error.to_string())?;
    }
    for name in options.activities.iter().map(String::as_str).chain(Chore::ALL.map(Chore::name)) {
        named(name, || {
            configured.register_activity::<ActivityNamed>(Arc::clone(&handler));
        });
    }
    Ok(configured)
}

/// Replays a workflow's history (the JSON of `WorkflowHistory`): whether this code still does what it did.
///
/// # Errors
/// What is different, or why it cannot be replayed.
pub async fn replay(history: &[u8], workflows: &BTreeSet<String>) -> Result<(), String> {
    let mut options = WorkflowReplayerOptions::new().build();
    for name in workflows.iter().map(String::as_str).chain([range::RANGE_TYPE]) {
        named(name, || options.register_workflow::<Flow>().map(drop)).map_err(|error| error.to_string())?;
    }
    let history = WorkflowHistory::from_json(history).map_err(|error| error.to_string())?;
    let replayer = WorkflowReplayer::new(options).map_err(|error| error.to_string())?;
    replayer.replay_workflow(history).await.map(drop).map_err(|error| error.to_string())
}
