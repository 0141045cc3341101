//! The deployed shape: HTTP API -> endpoint functions -> Step Functions -> activity functions -> the services, with the
//! record in DynamoDB. The functions are the real binaries; Step Functions is moto's interpreter. Everything takes real
//! time here, so the state machines are deployed with their waits cut down.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sfn::config::{BehaviorVersion, Credentials, Region};
use clock::{Clock as _, SharedClock, SystemClock};
use engine::{ActivityCall, ActivityRunner};
use futures::FutureExt as _;
use futures::future::join;
use reference_services::{ServiceKind, Services};
use serde_json::{Value, json};
use store_aws::DynamoStore;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use vault::FileKeys;
use workflows::Workflow;

use crate::lambda::{self, Around, Deployment, Lambda, Reply};
use crate::peers;
use crate::process::{SERVICE_VARIABLES, pause};
use crate::proxy::Proxy;
use crate::world::{Control, Dispatch, Door, Script, Site};

/// A `TimeoutSeconds` that no honest attempt needs more than, and one for cases that wait for it.
const TIMEOUT_SECONDS: u64 = 45;
const SHORT_TIMEOUT_SECONDS: u64 = 3;

/// Seconds of a script's waits that last as long here; longer ones are cut to a twentieth.
const REAL_SECONDS: u64 = 5;

/// The begin of the ARNs of state machines.
const MACHINES: &str = "arn:aws:states:us-east-1:123456789012:stateMachine";

/// What all deployments share.
pub(crate) struct Aws {
    pub(crate) lambda: Lambda,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) s3: peers::S3,
    pub(crate) moto: String,
    dynamodb: &'static str,
}

/// Runs a test on the runtime that serves the functions; nothing if a peer is not installed.
pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(&'static Aws) -> F) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static AWS: OnceLock<Option<Aws>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
    if let Some(aws) = AWS.get_or_init(|| runtime.block_on(Aws::start())) {
        runtime.block_on(test(aws));
    }
}

/// One stack: table, state machine, functions, services.
pub(crate) struct Stack {
    pub(crate) site: Site,
    pub(crate) prefix: String,
    pub(crate) store: DynamoStore,
    pub(crate) machine_arn: String,
    pub(crate) proxies: Option<Proxies>,
    aws: &'static Aws,
    _keys: TempDir,
}

/// What stands before AWS.
pub(crate) struct Proxies {
    pub(crate) dynamodb: Proxy,
    pub(crate) sfn: Proxy,
    pub(crate) s3: Proxy,
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.aws.lambda.remove(&self.prefix);
    }
}

/// What differs between stacks.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) script: Script,
    /// Settings by their environment names, without the prefix.
    pub(crate) settings: BTreeMap<String, String>,
    /// What becomes of the events that say an execution has ended.
    pub(crate) status_events: StatusEvents,
    /// Variables of single functions that differ: function, name, value.
    pub(crate) overrides: Vec<(&'static str, &'static str, String)>,
    /// Whether requests to DynamoDB and Step Functions can be scripted and counted.
    pub(crate) proxied: bool,
    /// Where Temporal is, if that is the engine.
    pub(crate) temporal: Option<&'static str>,
    /// Another state machine, and what its functions do.
    pub(crate) given: Option<Given>,
}

/// A state machine of a test's own.
pub(crate) struct Given {
    pub(crate) definition: String,
    pub(crate) activities: Arc<dyn ActivityRunner>,
}

/// What becomes of a status event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum StatusEvents {
    #[default]
    Delivered,
    Lost,
    Doubled,
    /// The first one is lost, the others are doubled.
    FirstLost,
}

impl Aws {
    async fn start() -> Option<Self> {
        let dynamodb = peers::dynamodb()?;
        let lambda = Lambda::start(lambda::built().await).await;
        let moto = peers::moto(&lambda.endpoint())?;
        let config = aws_sdk_sfn::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .endpoint_url(&moto);
        let s3 = peers::S3::new(&moto);
        Some(Self { lambda, sfn: aws_sdk_sfn::Client::from_conf(config.build()), s3, moto, dynamodb })
    }

    pub(crate) async fn stack(&'static self, options: Options) -> Stack {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let prefix = format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let clock: SharedClock = Arc::new(SystemClock);
        let services = Services::in_memory(Arc::clone(&clock)).await.unwrap();
        services.seed_demo().await.unwrap();
        let Options { script, settings, status_events, overrides, proxied, temporal, given } = options;
        let proxies = match proxied {
            true => Some(Proxies {
                dynamodb: Proxy::start(self.dynamodb).await,
                sfn: Proxy::start(&self.moto).await,
                s3: Proxy::start(&self.moto).await,
            }),
            false => None,
        };
        let endpoints = match &proxies {
            Some(proxies) => [&proxies.dynamodb, &proxies.sfn, &proxies.s3].map(Proxy::endpoint),
            None => [self.dynamodb.to_owned(), self.moto.clone(), self.moto.clone()],
        };
        let bucket = bucket(&prefix);
        self.s3.create_bucket(&bucket).await;
        let keys = tempfile::tempdir().unwrap();
        let key_file = keys.path().join("keys.json");
        FileKeys::init(&key_file, clock.now()).unwrap();
        let mut environment = vec![
            ("WORKFLOW__ENGINE__STATE_MACHINE_PREFIX".to_owned(), format!("{MACHINES}:{prefix}-")),
            ("WORKFLOW__STORE__KIND".to_owned(), "dynamodb".to_owned()),
            ("WORKFLOW__STORE__TABLE".to_owned(), format!("table-{prefix}")),
            ("WORKFLOW__STORE__BUCKET".to_owned(), bucket),
            // moto's KMS has no key that signs with Ed25519.
            ("WORKFLOW__KEYS__FILE".to_owned(), key_file.display().to_string()),
            // At once.
            ("WORKFLOW__STORE__RETENTION_DAYS".to_owned(), "0".to_owned()),
            ("AWS_ACCESS_KEY_ID".to_owned(), "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "test".to_owned()),
            ("AWS_REGION".to_owned(), "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), endpoints[0].clone()),
            ("AWS_ENDPOINT_URL_SFN".to_owned(), endpoints[1].clone()),
            ("AWS_ENDPOINT_URL_S3".to_owned(), endpoints[2].clone()),
            ("STAGE".to_owned(), "local".to_owned()),
            (
                "WORKFLOW__ENGINE__KIND".to_owned(),
                if temporal.is_some() { "temporal" } else { "stepfunctions" }.to_owned(),
            ),
            ("WORKFLOW__ENGINE__FUNCTION_PREFIX".to_owned(), format!("{prefix}--")),
            ("WORKFLOW__AUTH__MODE".to_owned(), "off".to_owned()),
            ("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT".to_owned(), "300".to_owned()),
            ("WORKFLOW__LIMITS__OPEN_EXECUTIONS_PER_TENANT".to_owned(), "5000".to_owned()),
            ("WORKFLOW__LIMITS__LONGEST_WAIT".to_owned(), "25".to_owned()),
        ];
        environment
            .extend(temporal.into_iter().flat_map(|server| on_temporal(server, &prefix, &self.lambda.endpoint())));
        for (kind, name) in ServiceKind::ALL.into_iter().zip(SERVICE_VARIABLES) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            environment.push((name.to_owned(), format!("http://{}", listener.local_addr().unwrap())));
            let router = services.router(kind);
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        // The retry policy is in the state machine.
        for (name, value) in settings.iter().filter(|(name, _)| !name.contains("RETRY_POLICY")) {
            environment.push((format!("WORKFLOW__{name}"), value.clone()));
        }
        // Only what is to run out of time: other steps may take as long as a busy machine lets them.
        let runs_out = script.dispatch.iter().filter(|dispatch| dispatch.error == "States.Timeout");
        let runs_out: BTreeSet<String> = runs_out.map(|dispatch| dispatch.step.clone()).collect();
        let attempts = settings.get("WORKFLOWS__RETRY_POLICY__MAXIMUM_ATTEMPTS").map(|text| text.parse().unwrap());
        for workflow in &workflows::ALL {
            let definition = match &given {
                Some(given) => bound(&given.definition, &prefix),
                None => definition(workflow, &prefix, &runs_out, attempts),
            };
            let name = format!("{prefix}-{}", workflow.kind.as_str().replace('_', "-"));
            let create = self.sfn.create_state_machine().name(name).definition(definition);
            create.role_arn("arn:aws:iam::123456789012:role/tests").send().await.unwrap();
        }
        let machine_arn = format!("{MACHINES}:{prefix}-user-onboarding");
        let client = peers::dynamodb_client(self.dynamodb);
        store_aws::create_table(&client, &format!("table-{prefix}")).await.unwrap();
        let store = DynamoStore::new(|| client, format!("table-{prefix}"), Arc::clone(&clock));
        let around: Arc<dyn Around> = match given {
            Some(Given { activities, .. }) => Arc::new(InPlace { activities, store: store.clone() }),
            None => Arc::new(Scripted {
                script: Mutex::new(script),
                store: store.clone(),
                status_events,
                events: AtomicU32::new(0),
            }),
        };
        let deployment = Deployment { environment, overrides, around: Some(around), claims: Mutex::default() };
        self.lambda.deploy(&prefix, deployment);
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(70)).build().unwrap();
        let door = Door::Http(http, self.lambda.front(&prefix));
        let settling_time = Duration::from_millis(500);
        let site = Site { door, services, clock, calls: Arc::default(), unreached: Arc::default(), settling_time };
        Stack { site, prefix, store, machine_arn, proxies, aws: self, _keys: keys }
    }
}

impl Stack {
    /// Invokes a function of this stack.
    pub(crate) async fn invoke(&self, function: &str, payload: Value) -> Reply {
        self.aws.lambda.invoke(&format!("{}--{function}", self.prefix), payload).await
    }

    /// Invokes a function of this stack, whatever stands around it.
    pub(crate) async fn invoke_plainly(&self, function: &str, payload: Value) -> Reply {
        self.aws.lambda.invoke_plainly(&format!("{}--{function}", self.prefix), payload).await
    }

    /// The same, by a process that has answered before.
    pub(crate) async fn invoke_again(&self, function: &str, payload: Value) -> Reply {
        self.aws.lambda.until_polled(&format!("{}--{function}", self.prefix)).await;
        self.invoke_plainly(function, payload).await
    }

    /// A client of its DynamoDB, and the name of its table.
    pub(crate) fn table(&self) -> (aws_sdk_dynamodb::Client, String) {
        (peers::dynamodb_client(self.aws.dynamodb), format!("table-{}", self.prefix))
    }

    /// Lets API Gateway's authorizer say these claims.
    pub(crate) fn claim(&self, claims: Option<Value>) {
        *self.aws.lambda.deployment(&self.prefix).claims.lock().unwrap() = claims;
    }
}

/// What functions are told where Temporal is the engine.
fn on_temporal(server: &str, prefix: &str, lambda: &str) -> [(String, String); 5] {
    [
        ("WORKFLOW__ENGINE__KIND", "temporal".to_owned()),
        ("WORKFLOW__TEMPORAL__SERVER_URL", server.to_owned()),
        ("WORKFLOW__TEMPORAL__NAMESPACE", "default".to_owned()),
        ("WORKFLOW__TEMPORAL__TASK_QUEUE", format!("functions-{prefix}")),
        ("AWS_ENDPOINT_URL_LAMBDA", lambda.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// The name of an activity's function in a deployment.
fn function(prefix: &str, activity: &str) -> String {
    format!("{prefix}--{}", workflows::function_of(activity))
}

/// The state machine as it is deployed, with these functions and with its waits cut down.
fn definition(workflow: &Workflow, prefix: &str, runs_out: &BTreeSet<String>, attempts: Option<u64>) -> String {
    let bound = workflow.bound(&Default::default(), &bucket(prefix), |activity| function(prefix, activity));
    cut_down(&bound, runs_out, attempts)
}

/// The bucket of a deployment.
fn bucket(prefix: &str) -> String {
    format!("bucket-{prefix}")
}

/// A state machine with its waits cut down, for engines that take real time.
///
/// The Tasks that a test lets run out of time do so soon.
pub(crate) fn cut_down(definition: &str, runs_out: &BTreeSet<String>, attempts: Option<u64>) -> String {
    let mut machine: Value = serde_json::from_str(definition).unwrap();
    cut_down_within(&mut machine, runs_out, attempts);
    machine.to_string()
}

fn cut_down_within(machine: &mut Value, runs_out: &BTreeSet<String>, attempts: Option<u64>) {
    for (name, state) in machine["States"].as_object_mut().into_iter().flatten() {
        if state["Type"] == "Map" {
            cut_down_within(&mut state["ItemProcessor"], runs_out, attempts);
        }
        if state["Type"] != "Task" {
            continue;
        }
        let timeout = if runs_out.contains(name) { SHORT_TIMEOUT_SECONDS } else { TIMEOUT_SECONDS };
        state["TimeoutSeconds"] = timeout.into();
        for retrier in state["Retry"].as_array_mut().unwrap() {
            retrier["IntervalSeconds"] = 1.into();
            retrier["BackoffRate"] = json!(1.0);
            let is_standard = retrier["ErrorEquals"].as_array().unwrap().iter().any(|e| e == "ServiceUnavailable");
            if let (true, Some(attempts)) = (is_standard, attempts) {
                retrier["MaxAttempts"] = (attempts - 1).into();
            }
            for wait in ["MaxDelaySeconds", "JitterStrategy"] {
                retrier.as_object_mut().unwrap().remove(wait);
            }
        }
    }
}

/// A state machine that calls functions by name, with those of a deployment.
fn bound(definition: &str, prefix: &str) -> String {
    fn bind(value: &mut Value, prefix: &str) {
        match value {
            Value::Object(object) => object.iter_mut().for_each(|(name, value)| match value {
                Value::String(function) if name == "FunctionName" => *function = format!("{prefix}--{function}"),
                value => bind(value, prefix),
            }),
            Value::Array(items) => items.iter_mut().for_each(|item| bind(item, prefix)),
            _ => {}
        }
    }
    let mut machine = serde_json::from_str(definition).unwrap();
    bind(&mut machine, prefix);
    machine.to_string()
}

/// Runs a test's activities in place of functions; events go to the real one.
struct InPlace {
    activities: Arc<dyn ActivityRunner>,
    store: DynamoStore,
}

#[async_trait]
impl Around for InPlace {
    async fn invoke(&self, lambda: &Lambda, function: &str, payload: Value) -> Reply {
        let activity = function.split_once("--").map_or(function, |(_, activity)| activity).to_owned();
        if activity == "project-execution-status" {
            return lambda.invoke_plainly(function, payload).await;
        }
        let call = ActivityCall { activity, payload };
        // As in the functions: a panic is an error with a name.
        let run = AssertUnwindSafe(self.activities.run(call, Arc::new(self.store.clone()))).catch_unwind();
        let failed = |error: &str, cause: String| json!({ "errorType": error, "errorMessage": cause });
        match run.await {
            Ok(outcome) => outcome.map_err(|error| failed(&error.error, error.cause_text())),
            Err(_panic) => Err(failed("Internal", String::new())),
        }
    }
}

/// Carries a script out around the functions.
struct Scripted {
    script: Mutex<Script>,
    store: DynamoStore,
    status_events: StatusEvents,
    /// Status events so far.
    events: AtomicU32,
}

#[async_trait]
impl Around for Scripted {
    async fn invoke(&self, lambda: &Lambda, function: &str, payload: Value) -> Reply {
        if function.ends_with("--project-execution-status") {
            match self.status_events {
                StatusEvents::Lost => return Ok(Value::Null),
                StatusEvents::FirstLost if self.events.fetch_add(1, Ordering::Relaxed) == 0 => return Ok(Value::Null),
                StatusEvents::FirstLost | StatusEvents::Doubled => {
                    let deliver = || lambda.invoke_plainly(function, payload.clone());
                    let (first, second) = join(deliver(), deliver()).await;
                    return first.and(second);
                }
                StatusEvents::Delivered => {}
            };
        }
        let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (step, tenant_id, id) = (text("/step/name"), text("/workflow/tenant_id"), text("/workflow/id"));
        let dispatch = self.script.lock().unwrap().dispatch_of(&step);
        let outcome = match dispatch {
            None => lambda.invoke_plainly(function, payload).await,
            Some(Dispatch { error, after_effect, .. }) => {
                if after_effect {
                    let _ = lambda.invoke_plainly(function, payload).await;
                }
                if error == "States.Timeout" {
                    pause(Duration::from_secs(SHORT_TIMEOUT_SECONDS + 2)).await;
                }
                Err(json!({ "errorType": error, "errorMessage": "" }))
            }
        };
        let controls = self.script.lock().unwrap().controls_during(&step);
        for control in controls {
            self.control(control, tenant_id.clone(), id.clone()).await;
        }
        outcome
    }
}

impl Scripted {
    async fn control(&self, control: Control, tenant_id: String, id: String) {
        let store = self.store.clone();
        let after = pace(control.after_seconds);
        let act = async move {
            pause(after).await;
            control.what.carry_out(&store, &tenant_id, &id, SystemClock.now()).await;
        };
        if after.is_zero() {
            act.await;
        } else {
            tokio::spawn(act);
        }
    }
}

/// How long a script's seconds last where everything takes real time.
pub(crate) fn pace(seconds: u64) -> Duration {
    match seconds {
        seconds @ ..=REAL_SECONDS => Duration::from_secs(seconds),
        seconds => Duration::from_secs(seconds / 20).min(Duration::from_secs(REAL_SECONDS)),
    }
}

/// Where this package is.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
