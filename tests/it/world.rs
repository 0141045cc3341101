//! A whole service in one process: API, engine, SQLite, reference services; on a virtual clock, without sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use clock::{Clock as _, Instant, SharedClock, VirtualClock};
use contracts::responses::{CancelResponse, HistoryResponse, StartResponse, StatusResponse};
use contracts::{ActivityError, Cause, EngineKind, EventType, Status, Timestamp, WorkflowKind};
use downstream::{Transport, TransportFault};
use engine::{ActivityCall, ActivityRunner};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use reference_services::{FaultRule, LedgerEntry, ServiceKind, Services};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{
    Control as StoreControl, ExecutionRecord, Executions, Inherited, NewEvent, NewExecution, Progress, StepOutcome,
    StepRecorder, StoredRequest,
};
use store_sql::{Durability, SqlStore};
use tower::ServiceExt as _;
use workflow_service::{App, Settings, Surroundings};

use crate::in_process::InProcess;
use crate::subjects::{Subject, USER_ONBOARDING};

pub(crate) const TENANT: &str = "tenant-123";

/// When worlds begin.
pub(crate) const BEGINNING: &str = "2026-01-01T00:00:00Z";

/// What a start writes, for executions that no API has started.
pub(crate) fn new_execution(id: &str, engine: EngineKind, at: Timestamp) -> NewExecution {
    NewExecution {
        tenant_id: TENANT.to_owned(),
        effect_scope: id.to_owned(),
        id: id.to_owned(),
        kind: WorkflowKind::UserOnboarding,
        engine,
        user_id: None,
        started_at: at,
        deadline_at: None,
        status: Status::Pending,
        input: json!({}),
        request: StoredRequest::Inline(json!({})),
        idempotency: None,
        progress: Progress { current_step: String::new(), total_steps: 7, completed_steps: 0, status_message: None },
        history: vec![NewEvent { event_type: EventType::WorkflowExecutionStarted, at, details: json!({}) }],
        journal: None,
        begins_pivot: false,
        upload_id: None,
        retry_of: None,
        inherited: Inherited::default(),
        cancel_requested_at: None,
        audit: None,
    }
}

/// A record of which only the id counts, for engines that are asked about it.
pub(crate) fn record_of(id: &str, engine: EngineKind) -> ExecutionRecord {
    let NewExecution { tenant_id, id, kind, started_at, input, progress, .. } =
        new_execution(id, engine, Timestamp::UNIX_EPOCH);
    ExecutionRecord {
        tenant_id,
        id,
        kind,
        engine,
        user_id: None,
        status: Status::Running,
        started_at,
        updated_at: started_at,
        ended_at: None,
        cancel_requested_at: None,
        paused_at: None,
        paused_us: 0,
        window_open: true,
        result: None,
        failure: None,
        progress,
        input,
        retry_of: None,
        retried_as: None,
        version: 1,
        damage: None,
    }
}

/// Everything on the embedded engine, and a directory that goes with it.
pub(crate) struct World {
    pub(crate) app: App,
    /// What is done to executions from inside.
    pub(crate) script: Arc<Mutex<Script>>,
    /// The same clock as the site's, which can be set.
    pub(crate) virtual_clock: VirtualClock,
    afterwards: Afterwards,
    /// Until when nobody listens at an authority.
    absent: Arc<Mutex<BTreeMap<String, Instant>>>,
    site: Site,
    directory: PathBuf,
    /// One that goes with it.
    _directory: Option<tempfile::TempDir>,
}

impl std::ops::Deref for World {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

/// A deployment as its users see it, on whatever engine: the API, and the services that it works on.
pub(crate) struct Site {
    pub(crate) door: Door,
    pub(crate) services: Services,
    pub(crate) clock: SharedClock,
    /// Calls on the way to a service, by method, path and key; empty where nobody counts them.
    pub(crate) calls: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Those that did not reach it, or whose connection broke before an answer. They are no `calls`.
    pub(crate) unreached: Arc<Mutex<BTreeMap<String, u32>>>,
    /// After this, nothing that was late is still to come.
    pub(crate) settling_time: Duration,
}

/// The way to the API.
pub(crate) enum Door {
    /// In this process.
    Router(Router),
    /// Over the network, at this base URL.
    Http(reqwest::Client, String),
}

/// What a test does to an execution from inside.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Script {
    /// Flags set while a step is under way.
    pub(crate) control: Vec<Control>,
    /// Attempts that end in a way of the engine's own.
    pub(crate) dispatch: Vec<Dispatch>,
}

/// A flag set through the store while a step is under way.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Control {
    /// The step or, of the items of a batch, one: `Name[item]`.
    pub(crate) during: String,
    #[serde(rename = "do")]
    pub(crate) what: ControlAction,
    /// How long after the step; virtual seconds.
    #[serde(default)]
    pub(crate) after_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlAction {
    Cancel,
    Pause,
    Resume,
}

impl Script {
    /// What an attempt of this step ends in, if in a way of the engine's own.
    pub(crate) fn dispatch_of(&mut self, step: &str) -> Option<Dispatch> {
        let found = self.dispatch.iter_mut().find(|dispatch| dispatch.step == step && dispatch.times > 0)?;
        found.times -= 1;
        Some(found.clone())
    }

    /// What is done during this step; once.
    pub(crate) fn controls_during(&mut self, step: &str) -> Vec<Control> {
        let (now, later) = self.control.drain(..).partition(|control| control.during == step);
        self.control = later;
        now
    }
}

impl ControlAction {
    pub(crate) async fn carry_out(self, executions: &dyn Executions, tenant_id: &str, id: &str, now: Timestamp) {
        let control = match self {
            Self::Cancel => StoreControl::Cancel,
            Self::Pause => StoreControl::Pause,
            Self::Resume => StoreControl::Resume,
        };
        executions.control(tenant_id, id, control, now, None).await.unwrap();
    }
}

/// An attempt that ends with an error of the engine's own, before or after its effect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dispatch {
    pub(crate) step: String,
    pub(crate) error: String,
    /// How many attempts.
    pub(crate) times: u32,
    #[serde(default)]
    pub(crate) after_effect: bool,
}

/// Carries the script out around the activities.
pub(crate) struct Scripted {
    pub(crate) inner: Arc<dyn ActivityRunner>,
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) store: Arc<Mutex<Option<SqlStore>>>,
    pub(crate) clock: SharedClock,
    /// How long a script's seconds last.
    pub(crate) pace: fn(u64) -> Duration,
    /// What is done once after an attempt of a step.
    pub(crate) afterwards: Afterwards,
}

/// Something to do once, after an attempt of this step.
pub(crate) type Afterwards = Arc<Mutex<Option<(String, Box<dyn FnOnce() + Send>)>>>;

#[async_trait]
impl ActivityRunner for Scripted {
    async fn run(&self, call: ActivityCall, recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        let text = |pointer: &str| call.payload.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (step, tenant_id, id) = (text("/step/name"), text("/workflow/tenant_id"), text("/workflow/id"));
        let item = call.payload.pointer("/step/item").map(Value::to_string);
        let dispatch = self.script.lock().unwrap().dispatch_of(&step);
        let failed = |error: String| Err(ActivityError { error, cause: Box::new(Cause::default()) });
        let outcome = match dispatch {
            Some(Dispatch { error, after_effect: false, .. }) => failed(error),
            Some(Dispatch { error, after_effect: true, .. }) => {
                let _ = self.inner.run(call, recorder).await;
                failed(error)
            }
            None => self.inner.run(call, recorder).await,
        };
        let is_due = |due: &mut (String, Box<dyn FnOnce() + Send>)| due.0 == step;
        let afterwards = self.afterwards.lock().unwrap().take_if(is_due);
        if let Some((_, work)) = afterwards {
            work();
        }
        let mut controls = self.script.lock().unwrap().controls_during(&step);
        if let Some(item) = item {
            controls.extend(self.script.lock().unwrap().controls_during(&format!("{step}[{item}]")));
        }
        for control in controls {
            self.control(control, tenant_id.clone(), id.clone()).await;
        }
        outcome
    }
}

impl Scripted {
    async fn control(&self, control: Control, tenant_id: String, id: String) {
        let store = self.store.lock().unwrap().clone().expect("the store is open");
        let task_clock = Arc::clone(&self.clock);
        let after = (self.pace)(control.after_seconds);
        let act = async move {
            clock::sleep(&*task_clock, after).await;
            control.what.carry_out(&store, &tenant_id, &id, task_clock.now()).await;
        };
        if control.after_seconds == 0 {
            act.await;
        } else {
            clock::spawn(&self.clock, act);
        }
    }
}

/// Counts calls on their way.
struct Counting {
    inner: InProcess,
    calls: Arc<Mutex<BTreeMap<String, u32>>>,
    unreached: Arc<Mutex<BTreeMap<String, u32>>>,
    absent: Arc<Mutex<BTreeMap<String, Instant>>>,
    clock: VirtualClock,
}

impl Counting {
    async fn pass_on(&self, request: Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let authority = request.uri().authority().unwrap().as_str();
        let is_absent = self.absent.lock().unwrap().get(authority).is_some_and(|until| *until > self.clock.instant());
        if is_absent { Err(TransportFault::Unreachable) } else { self.inner.send(request).await }
    }
}

#[async_trait]
impl Transport for Counting {
    async fn send(&self, request: Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
        let mut name = format!("{} {}", request.method(), request.uri());
        name.extend(key.into_iter().flat_map(|key| [" ", key]));
        // At once, as the caller may go before there is an answer.
        *self.calls.lock().unwrap().entry(name.clone()).or_default() += 1;
        let answer = self.pass_on(request).await;
        if let Err(TransportFault::Unreachable | TransportFault::Unanswered) = answer {
            let mut calls = self.calls.lock().unwrap();
            let count = calls.get_mut(&name).unwrap();
            *count -= 1;
            if *count == 0 {
                calls.remove(&name);
            }
            *self.unreached.lock().unwrap().entry(name).or_default() += 1;
        }
        answer
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Script::default(), &[]).await
    }

    /// With a script, and settings by their environment names without the prefix.
    pub(crate) async fn with(script: Script, settings: &[(&str, String)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let world = Self::open(directory.path(), BEGINNING.parse().unwrap(), script, settings).await;
        Self { _directory: Some(directory), ..world }
    }

    /// On a directory that may have been used before, by a clock that shows `now`.
    pub(crate) async fn open(directory: &Path, now: Timestamp, script: Script, settings: &[(&str, String)]) -> Self {
        let virtual_clock = VirtualClock::new(now);
        let clock: SharedClock = Arc::new(virtual_clock.clone());
        let services = Services::in_memory(Arc::clone(&clock)).await.unwrap();
        services.seed_demo().await.unwrap();
        let transport = ServiceKind::ALL.into_iter().fold(InProcess::default(), |transport, kind| {
            transport.with(&format!("127.0.0.1:{}", kind.default_port()), services.router(kind))
        });
        let (calls, unreached, absent) = (Arc::default(), Arc::default(), Arc::default());
        let transport = Counting {
            inner: transport,
            calls: Arc::clone(&calls),
            unreached: Arc::clone(&unreached),
            absent: Arc::clone(&absent),
            clock: virtual_clock.clone(),
        };
        let environment = settings.iter().map(|(name, value)| (format!("WORKFLOW__{name}"), value.clone()));
        let mut settings = Settings::load(None, environment).unwrap();
        settings.data_dir = directory.to_owned();
        settings.key_file = directory.join("keys.json");
        if !settings.key_file.exists() {
            vault::FileKeys::init(&settings.key_file, now).unwrap();
        }
        let store = Arc::new(Mutex::new(None));
        let script = Arc::new(Mutex::new(script));
        let (scripted_store, scripted_clock, scripted) = (Arc::clone(&store), Arc::clone(&clock), Arc::clone(&script));
        let afterwards = Afterwards::default();
        let scripted_afterwards = Arc::clone(&afterwards);
        let surroundings = Surroundings {
            clock: Arc::clone(&clock),
            transport: Arc::new(transport),
            durability: Durability::Process,
            around_activities: Some(Box::new(move |inner| {
                let pace = Duration::from_secs;
                Arc::new(Scripted {
                    inner,
                    script: scripted,
                    store: scripted_store,
                    clock: scripted_clock,
                    pace,
                    afterwards: scripted_afterwards,
                })
            })),
            definition_of: None,
        };
        let app = App::open(&settings, surroundings).await.unwrap();
        *store.lock().unwrap() = Some(app.store.clone());
        let door = Door::Router(app.router.clone());
        let settling_time = Duration::from_secs(3_600);
        let site = Site { door, services, clock, calls, unreached, settling_time };
        Self { app, script, virtual_clock, afterwards, absent, site, directory: directory.to_owned(), _directory: None }
    }

    /// Takes a service away for so long: connections to it are refused.
    pub(crate) fn take_away(&self, kind: ServiceKind, how_long: Duration) {
        let until = self.virtual_clock.instant() + how_long;
        self.absent.lock().unwrap().insert(format!("127.0.0.1:{}", kind.default_port()), until);
    }

    /// Forgets the calls so far.
    pub(crate) fn forget_calls(&self) {
        self.calls.lock().unwrap().clear();
        self.unreached.lock().unwrap().clear();
    }

    /// Where its blobs are.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.directory.join("blobs")
    }

    /// Does this once, after an attempt of a step.
    pub(crate) fn after_step(&self, step: &str, work: impl FnOnce() + Send + 'static) {
        *self.afterwards.lock().unwrap() = Some((step.to_owned(), Box::new(work)));
    }

    /// The file that its store is in.
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join("workflow-service.db")
    }

    /// The edges of the state machine that executions take from now on, of children too, in no order.
    pub(crate) fn watched_edges(&self) -> Arc<Mutex<BTreeSet<asl::Edge>>> {
        let edges = Arc::<Mutex<BTreeSet<asl::Edge>>>::default();
        let seen = Arc::clone(&edges);
        self.app.engine.observe_edges(move |_, edge| {
            seen.lock().unwrap().insert(edge.clone());
        });
        edges
    }

    /// The edges of the state machine that an execution took, in order; of children that have ended, none.
    pub(crate) async fn edges(&self, id: &str) -> Vec<asl::Edge> {
        let journal = Arc::new(self.app.store.clone());
        engine_embedded::edges_taken(journal, Arc::clone(&self.clock), TENANT, id).await.unwrap()
    }
}

impl Site {
    /// Any request to the API.
    pub(crate) async fn call(&self, request: Request<Body>) -> (StatusCode, http::HeaderMap, Value) {
        let (status, headers, bytes) = match &self.door {
            Door::Router(router) => {
                let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
                (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
            }
            Door::Http(client, base) => {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let call = client.request(parts.method, format!("{base}{}", parts.uri)).headers(parts.headers);
                let answer = call.body(body).send().await.unwrap();
                (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap())
            }
        };
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        (status, headers, body)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut request = Request::builder().method(Method::POST).uri(path).header("x-tenant-id", TENANT);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
        let (status, _, body) = self.call(request).await;
        (status, body)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::builder().uri(path).header("x-tenant-id", TENANT).body(Body::empty()).unwrap();
        let (status, _, body) = self.call(request).await;
        (status, body)
    }

    /// Starts an onboarding; its id.
    pub(crate) async fn start(&self, request: &Value) -> String {
        self.start_of(&USER_ONBOARDING, request).await
    }

    /// Starts an execution of this workflow, and does not wait for it; its id.
    pub(crate) async fn start_of(&self, subject: &Subject, request: &Value) -> String {
        let (status, body) = self.post(subject.path, request, &[("prefer", "wait=0")]).await;
        assert!(status.is_success(), "{body}");
        let id = serde_json::from_value::<StartResponse>(body).unwrap().workflow_id;
        subject.note(&id);
        id
    }

    pub(crate) async fn status(&self, id: &str) -> StatusResponse {
        let (status, body) = self.get(&format!("/api/v1/workflows/{id}/status")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_value(body).unwrap()
    }

    /// The whole history, of however many pages.
    pub(crate) async fn history(&self, id: &str) -> HistoryResponse {
        let path = format!("/api/v1/workflows/history?workflow_id={id}&page_size=200");
        let mut whole = self.history_page(&path).await;
        while let Some(token) = whole.next_page_token.take() {
            let page = self.history_page(&format!("{path}&page_token={token}")).await;
            whole.events.extend(page.events);
            whole.next_page_token = page.next_page_token;
        }
        whole
    }

    async fn history_page(&self, path: &str) -> HistoryResponse {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_value(body).unwrap()
    }

    pub(crate) async fn cancel(&self, id: &str) -> Result<CancelResponse, Value> {
        let (status, body) = self.post(&format!("/api/v1/workflows/{id}/cancel"), &Value::Null, &[]).await;
        match status {
            StatusCode::OK => Ok(serde_json::from_value(body).unwrap()),
            StatusCode::CONFLICT => Err(body),
            other => panic!("{other}: {body}"),
        }
    }

    /// Waits in virtual time, checking that the history only ever grows and that progress never falls.
    pub(crate) async fn until_ended(&self, id: &str) -> StatusResponse {
        let (mut pause, mut seen, mut percentage) = (Duration::from_millis(50), Vec::new(), 0.0_f32);
        // In virtual time a long pause costs nothing, and short ones many reads.
        let longest = Duration::from_secs(if matches!(self.door, Door::Router(_)) { 60 } else { 2 });
        loop {
            let status = self.status(id).await;
            let mut events: Vec<_> = self.history(id).await.events.into_iter().map(|event| event.event).collect();
            // A request may be forgotten meanwhile; nothing else of a history changes.
            events[0].details["input"].take();
            assert!(events.starts_with(&seen), "an earlier read is no prefix of a later one");
            let progress = status.progress.as_ref().unwrap();
            assert!(progress.percentage >= percentage, "progress fell from {percentage} to {}", progress.percentage);
            percentage = progress.percentage;
            if !status.status.is_open() {
                return status;
            }
            seen = events;
            clock::sleep(&*self.clock, pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Creates in the services what the request with this number presupposes; the request.
    pub(crate) async fn prepare(&self, subject: &Subject, number: usize) -> Value {
        (subject.prepare)(self.services.clone(), number).await;
        if let Some(presupposed) = subject.presupposes {
            presupposed(self, number).await;
        }
        (subject.request)(number)
    }

    pub(crate) async fn snapshot(&self) -> Value {
        self.services.snapshot(None).await.unwrap()
    }

    pub(crate) async fn ledger(&self) -> Vec<LedgerEntry> {
        self.services.ledger().await.unwrap()
    }

    pub(crate) fn faults(&self, faults: &BTreeMap<String, Vec<FaultRule>>) {
        for kind in ServiceKind::ALL {
            self.services.set_faults(kind, faults.get(kind.name()).cloned().unwrap_or_default());
        }
    }
}

/// A request that asks for everything.
pub(crate) fn full_request() -> Value {
    json!({
        "user_email": "new@example.com", "user_name": "Nina New", "tenant_id": TENANT, "role": "user",
        "send_welcome_email": true, "setup_default_workspace": true, "assign_default_permissions": true,
        "create_sample_data": true,
    })
}

/// The same for another person.
pub(crate) fn full_request_of(number: usize) -> Value {
    let mut request = full_request();
    request["user_email"] = json!(format!("new-{number}@example.com"));
    request
}

/// Runs a test on the current thread, which virtual time needs.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Does this for all numbers below `count`, on all cores. What happens in one world stays on one core: a world's threads,
/// SQLite's among them, mostly wait for each other, and waking up another core for that takes longer than what is done.
pub(crate) fn in_parallel(count: usize, work: impl Fn(usize) + Sync) {
    let cores = sched_getaffinity(None).unwrap();
    let cores = (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core));
    let next = AtomicUsize::new(0);
    let (next, work) = (&next, &work);
    std::thread::scope(|scope| {
        for core in cores {
            scope.spawn(move || {
                let mut own = CpuSet::new();
                own.set(core);
                // Where that is not allowed it is only slower.
                let _ = sched_setaffinity(None, &own);
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count) {
                    work(number);
                }
            });
        }
    });
}
