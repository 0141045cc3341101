//! What surrounds an endpoint in a Lambda function: its settings, its ports, and what API Gateway knows of the caller.

mod event;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{
    Access, Api, Check, Compliance, Files, KeptBackups, Operating, Readiness, Releasing, ServiceChecks, Starting,
    Streaming,
};
use async_trait::async_trait;
use aws_clients::Clients;
use aws_clients::gateway::TemporalGateway;
use axum::Router;
use clock::{SharedClock, SystemClock};
use contracts::{EngineKind, WorkflowKind};
use downstream::{Downstream, HttpTransport};
use engine::{Engine, Engines};
use engine_stepfunctions::StepFunctions;
use lambda_http::Adapter;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::tower::ServiceBuilder;
use lambda_http::tower::util::MapRequestLayer;
use settings::{Aws, FunctionSettings};
use store::Audit;
use store_aws::{DynamoStore, S3Blobs, S3Links};

use crate::event::{Event, from_gateway};

pub use aws_clients::Error;

/// API Gateway gives up after 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(28);

/// One call of a service's health endpoint takes less than this anyhow.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves an endpoint without store and engine.
pub async fn serve_alone(route: Router<SharedClock>) -> Result<(), Error> {
    aws_clients::log();
    let clock: SharedClock = Arc::new(SystemClock);
    run(route.with_state(Arc::clone(&clock)), clock, None).await
}

/// Serves an endpoint that reads and writes records.
pub async fn serve(route: Router<Api>) -> Result<(), Error> {
    aws_clients::log();
    let Common { aws, table, requests } = settings::of_function(Common::read)?;
    let store = store(&Clients::of_function(aws), table);
    serve_api(route, api(store, requests)).await
}

/// Serves an endpoint that also knows of executions that the table no longer has.
pub async fn serve_with_archive(route: Router<Api>) -> Result<(), Error> {
    aws_clients::log();
    let (common, bucket) = settings::of_function(|settings| (Common::read(settings), settings.bucket()))?;
    let Common { aws, table, requests } = common;
    let clients = Clients::of_function(aws);
    let archive = S3Blobs::new(clients.s3(), bucket);
    let store = store(&clients, table).with_blobs(Arc::new(archive));
    serve_api(route, api(store, requests)).await
}

async fn serve_api(route: Router<Api>, api: Api) -> Result<(), Error> {
    let (clock, audit) = (Arc::clone(&api.clock), Arc::clone(&api.audit));
    run(route.with_state(api), clock, Some(audit)).await
}

/// Serves an endpoint that starts executions.
pub async fn serve_starting(route: Router<Starting>) -> Result<(), Error> {
    aws_clients::log();
    let (starting, _) = settings::of_function(StartingSettings::read)?.open();
    let (clock, audit) = (Arc::clone(&starting.api.clock), Arc::clone(&starting.api.audit));
    run(route.with_state(starting), clock, Some(audit)).await
}

/// What a function is told that starts executions.
pub struct StartingSettings {
    common: Common,
    bucket: String,
    start: StartSettings,
    limits: Limits,
}

impl StartingSettings {
    /// Reads it.
    pub fn read(settings: &mut FunctionSettings) -> Self {
        Self {
            common: Common::read(settings),
            bucket: settings.bucket(),
            start: StartSettings::read(settings),
            limits: Limits::read(settings),
        }
    }

    /// What it starts executions with, and the store.
    pub fn open(self) -> (Starting, DynamoStore) {
        let Self { common: Common { aws, table, requests }, bucket, start, limits } = self;
        let clients = Clients::of_function(aws);
        let blobs = Arc::new(S3Blobs::new(clients.s3(), bucket));
        let store = store(&clients, table).with_blobs(blobs.clone()).with_limit(limits.open_executions);
        let mut api = api(store.clone(), requests);
        let engine: Arc<dyn Engine> = match start {
            StartSettings::Temporal { gateway } => {
                Arc::new(TemporalGateway::new(clients.functions(), gateway, Arc::clone(&api.clock)))
            }
            StartSettings::StepFunctions { machines } => {
                let sfn = clients.sfn();
                Arc::new(StepFunctions::new(|| sfn, machines))
            }
        };
        let kind = engine.kind();
        api.engines = Engines::new(vec![engine]);
        let Limits { default_timeout, .. } = limits;
        let records = Arc::new(store.clone());
        let (backups, erasures, durations) = (records.clone(), records, Arc::default());
        (Starting { api, engine: kind, blobs, default_timeout, durations, backups, erasures }, store)
    }
}

/// Serves an endpoint that stops executions, or does anything to many of them, on whatever engine they run.
pub async fn serve_operating(route: Router<Operating>) -> Result<(), Error> {
    aws_clients::log();
    let (common, bucket, operate, limits) = settings::of_function(|settings| {
        (Common::read(settings), settings.bucket(), OperateSettings::read(settings), Limits::read(settings))
    })?;
    let Common { aws, table, requests } = common;
    let clients = Clients::of_function(aws);
    let blobs = Arc::new(S3Blobs::new(clients.s3(), bucket));
    let store = store(&clients, table).with_blobs(blobs.clone()).with_limit(limits.open_executions);
    let ends = Arc::new(store.clone());
    let audit: Arc<dyn Audit> = ends.clone();
    let mut api = api(store, requests);
    let OperateSettings { engine, machines, gateway } = operate;
    let sfn = clients.sfn();
    let mut engines: Vec<Arc<dyn Engine>> = vec![Arc::new(StepFunctions::new(|| sfn, machines))];
    if let Some(gateway) = gateway {
        engines.push(Arc::new(TemporalGateway::new(clients.functions(), gateway, Arc::clone(&api.clock))));
    }
    api.engines = Engines::new(engines);
    let clock = Arc::clone(&api.clock);
    let Limits { default_timeout, .. } = limits;
    let (backups, erasures, durations) = (ends.clone(), ends.clone(), Arc::default());
    let starting = Starting { api, engine, blobs, default_timeout, durations, backups, erasures };
    run(route.with_state(Operating { starting, ends }), clock, Some(audit)).await
}

/// Serves an endpoint that leads to files.
pub async fn serve_files(route: Router<Files>) -> Result<(), Error> {
    aws_clients::log();
    let (common, bucket) = settings::of_function(|settings| (Common::read(settings), settings.bucket()))?;
    let Common { aws, table, requests } = common;
    let clients = Clients::of_function(aws);
    let blobs = S3Blobs::new(clients.s3(), bucket);
    let store = store(&clients, table).with_blobs(Arc::new(blobs.clone()));
    let api = api(store, requests);
    let (clock, audit) = (Arc::clone(&api.clock), Arc::clone(&api.audit));
    let links = Arc::new(S3Links::new(blobs.clone(), Arc::clone(&clock)));
    run(route.with_state(Files { api, blobs: Arc::new(blobs), links }), clock, Some(audit)).await
}

/// Serves an endpoint about backups that were completed.
pub async fn serve_backups(route: Router<KeptBackups>) -> Result<(), Error> {
    aws_clients::log();
    let (common, bucket) = settings::of_function(|settings| (Common::read(settings), settings.bucket()))?;
    let Common { aws, table, requests } = common;
    let clients = Clients::of_function(aws);
    let blobs = Arc::new(S3Blobs::new(clients.s3(), bucket));
    let store = store(&clients, table);
    let records = Arc::new(store.clone());
    let api = api(store, requests);
    let (clock, audit) = (Arc::clone(&api.clock), Arc::clone(&api.audit));
    let kept = KeptBackups { api, backups: records.clone(), blobs, erasures: records };
    run(route.with_state(kept), clock, Some(audit)).await
}

/// Serves an endpoint about compliance.
pub async fn serve_compliance(route: Router<Compliance>) -> Result<(), Error> {
    aws_clients::log();
    let Common { aws, table, requests } = settings::of_function(Common::read)?;
    let dataset = Arc::new(settings::dataset(None)?);
    let store = store(&Clients::of_function(aws), table);
    let (holds, data_requests) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let api = api(store, requests);
    let (clock, audit) = (Arc::clone(&api.clock), Arc::clone(&api.audit));
    run(route.with_state(Compliance { api, holds, requests: data_requests, dataset }), clock, Some(audit)).await
}

/// Serves the endpoint that releases legal holds.
pub async fn serve_releasing(route: Router<Releasing>) -> Result<(), Error> {
    aws_clients::log();
    let (starting, store) = settings::of_function(StartingSettings::read)?.open();
    let dataset = Arc::new(settings::dataset(None)?);
    let records = Arc::new(store);
    let api = starting.api.clone();
    let (clock, audit) = (Arc::clone(&api.clock), Arc::clone(&api.audit));
    let compliance = Compliance { api, holds: records.clone(), requests: records.clone(), dataset };
    run(route.with_state(Releasing { compliance, starting }), clock, Some(audit)).await
}

/// Serves an endpoint that tells whether everything works.
pub async fn serve_readiness(route: Router<Readiness>) -> Result<(), Error> {
    aws_clients::log();
    let (common, endpoints) = settings::of_function(|settings| (Common::read(settings), settings.endpoints()))?;
    let Common { aws, table, requests } = common;
    let api = api(store(&Clients::of_function(aws), table), requests);
    let (clock, audit) = (Arc::clone(&api.clock), Arc::clone(&api.audit));
    let transport = Arc::new(HttpTransport::default());
    let downstream = Downstream::new(transport, endpoints, Arc::clone(&clock), CALL_TIMEOUT);
    let services = ServiceChecks::new(downstream, Arc::clone(&clock));
    run(route.with_state(Readiness { api, engine: Arc::new(Managed), services }), clock, Some(audit)).await
}

/// Step Functions has nothing to ask: its control plane is called when something is started.
struct Managed;

#[async_trait]
impl Check for Managed {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What every endpoint with records is told.
struct Common {
    aws: Aws,
    table: String,
    requests: Requests,
}

/// Who may call, and how long a request may wait.
struct Requests {
    access: Access,
    longest_wait: Duration,
}

impl Common {
    fn read(settings: &mut FunctionSettings) -> Self {
        let requests = Requests { access: settings.access(), longest_wait: settings.longest_wait() };
        Self { aws: settings.aws(), table: settings.table(), requests }
    }
}

/// What new executions may take.
struct Limits {
    default_timeout: Duration,
    /// Of a tenant at once.
    open_executions: u64,
}

impl Limits {
    fn read(settings: &mut FunctionSettings) -> Self {
        Self { default_timeout: settings.default_timeout(), open_executions: settings.open_executions_per_tenant() }
    }
}

/// What new executions run on.
enum StartSettings {
    StepFunctions { machines: BTreeMap<WorkflowKind, String> },
    Temporal { gateway: String },
}

impl StartSettings {
    fn read(settings: &mut FunctionSettings) -> Self {
        match settings.engine() {
            EngineKind::Temporal => Self::Temporal { gateway: settings.temporal_gateway() },
            EngineKind::StepFunctions | EngineKind::Embedded => {
                Self::StepFunctions { machines: settings.state_machines() }
            }
        }
    }
}

/// What executions run on, new ones and those of before.
struct OperateSettings {
    /// What new ones run on.
    engine: EngineKind,
    machines: BTreeMap<WorkflowKind, String>,
    /// Where there is a Temporal server.
    gateway: Option<String>,
}

impl OperateSettings {
    fn read(settings: &mut FunctionSettings) -> Self {
        Self {
            engine: settings.engine(),
            machines: settings.state_machines(),
            gateway: settings.has_temporal().then(|| settings.temporal_gateway()),
        }
    }
}

fn store(clients: &Clients, table: String) -> DynamoStore {
    let dynamodb = clients.dynamodb();
    DynamoStore::new(|| dynamodb, table, Arc::new(SystemClock))
}

fn api(store: DynamoStore, Requests { access, longest_wait }: Requests) -> Api {
    let store = Arc::new(store);
    Api {
        executions: store.clone(),
        history: store.clone(),
        audit: store,
        engines: Engines::default(),
        clock: Arc::new(SystemClock),
        access,
        request_timeout: REQUEST_TIMEOUT,
        longest_wait,
        streaming: Streaming::Unsupported,
    }
}

async fn run(routes: Router, clock: SharedClock, audit: Option<Arc<dyn Audit>>) -> Result<(), Error> {
    let routes = api::complete(routes, clock, REQUEST_TIMEOUT, audit);
    let service = ServiceBuilder::new().layer(MapRequestLayer::new(from_gateway)).service(routes);
    let whole = |LambdaEvent { payload: Event(payload), context }| LambdaEvent { payload, context };
    let adapter = Adapter::from(service);
    lambda_runtime::run(ServiceBuilder::new().layer(MapRequestLayer::new(whole)).service(adapter)).await
}
