//! Every setting there is: its path, its default, how it is read, and what is expected of it.

use contracts::{EngineKind, redacted};
use toml::Value;

use crate::host::Host;
use crate::values::{
    address, boolean, choice, coefficient, days, hours, integer, kms_key, mail_address, seconds, state_machine_prefix,
    tenants, text, url,
};

/// A setting.
pub(crate) struct Setting<T> {
    pub(crate) path: &'static str,
    /// As a variable has it. A server's settings have one if they always have a value; a function has no defaults.
    default: Option<&'static str>,
    shape: Shape,
    pub(crate) read: fn(&Value) -> Option<T>,
    /// In words, for who set something else.
    pub(crate) expected: &'static str,
}

/// What a value is in a file; in a variable everything is text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Url,
    /// A number, or text that means one.
    Number,
    Boolean,
}

impl<T> Setting<T> {
    const fn new(path: &'static str, shape: Shape, read: fn(&Value) -> Option<T>, expected: &'static str) -> Self {
        Self { path, default: None, shape, read, expected }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

/// A setting of whatever type.
pub(crate) trait Declared {
    fn path(&self) -> &'static str;
    /// The default, as a file has it.
    fn default(&self) -> Option<Value>;
    /// A value as a file has it, without what is secret in a URL.
    fn shown(&self, value: &Value) -> Value;
}

impl<T> Declared for Setting<T> {
    fn path(&self) -> &'static str {
        self.path
    }

    fn default(&self) -> Option<Value> {
        self.default.map(|default| self.shown(&default.into()))
    }

    fn shown(&self, value: &Value) -> Value {
        let Some(text) = value.as_str() else { return value.clone() };
        let number = || text.parse().map(Value::Integer).or_else(|_| text.parse().map(Value::Float)).ok();
        let meant = match self.shape {
            Shape::Number => number(),
            Shape::Boolean => text.parse().map(Value::Boolean).ok(),
            Shape::Url => return redacted(text).into(),
            Shape::Text => None,
        };
        // A URL may be here by mistake.
        meant.unwrap_or_else(|| if text.contains("://") { redacted(text).into() } else { value.clone() })
    }
}

const POSITIVE: &str = "1 or more";
const DURATION: &str = "whole seconds (300) or a duration of whole seconds (\"5m\")";

const fn name(path: &'static str) -> Setting<String> {
    Setting::new(path, Shape::Text, text, "a name")
}

const fn count(path: &'static str) -> Setting<u32> {
    Setting::new(path, Shape::Number, integer, POSITIVE)
}

const fn duration(path: &'static str) -> Setting<u64> {
    Setting::new(path, Shape::Number, seconds, DURATION)
}

const fn rate(path: &'static str) -> Setting<f64> {
    Setting::new(path, Shape::Number, coefficient, "1.0 or more")
}

const fn service(path: &'static str, default: &'static str) -> Setting<String> {
    Setting::new(path, Shape::Url, text, "a URL").or(default)
}

pub(crate) const HOST: Setting<Host> =
    Setting::new("server.host", Shape::Text, |value| Host::parse(value.as_str()?), "an IP address or a host name")
        .or("127.0.0.1");
pub(crate) const PORT: Setting<u16> = Setting::new("server.port", Shape::Number, integer, "1 to 65535").or("8084");
pub(crate) const REQUEST_TIMEOUT: Setting<u64> = duration("server.timeout_seconds").or("30");
pub(crate) const MAX_CONNECTIONS: Setting<u32> = count("server.max_connections").or("1000");

/// The five base URLs, in the order of [`downstream::Service::ALL`]; `dev` serves the services at the defaults.
pub(crate) const SERVICES: [Setting<String>; 5] = [
    service("services.auth_service", "http://127.0.0.1:8081"),
    service("services.user_service", "http://127.0.0.1:8082"),
    service("services.tenant_service", "http://127.0.0.1:8085"),
    service("services.file_service", "http://127.0.0.1:8083"),
    service("services.api_gateway", "http://127.0.0.1:8080"),
];

pub(crate) const DEFAULT_TIMEOUT: Setting<u64> = duration("workflows.default_timeout").or("300");
pub(crate) const BATCH_SIZE: Setting<u32> = count("workflows.batch_size").or("100");
/// The settings of a retry policy.
pub(crate) struct RetrySettings {
    pub(crate) initial_interval: Setting<u64>,
    pub(crate) backoff_coefficient: Setting<f64>,
    pub(crate) maximum_interval: Setting<u64>,
    pub(crate) maximum_attempts: Setting<u32>,
}

/// Of calls that a service answered, or did not answer in time.
pub(crate) const ANSWERED: RetrySettings = RetrySettings {
    initial_interval: duration("workflows.retry_policy.initial_interval").or("1"),
    backoff_coefficient: rate("workflows.retry_policy.backoff_coefficient").or("2.0"),
    maximum_interval: duration("workflows.retry_policy.maximum_interval").or("60"),
    maximum_attempts: count("workflows.retry_policy.maximum_attempts").or("3"),
};
/// Of calls that did not reach a service.
pub(crate) const UNREACHABLE: RetrySettings = RetrySettings {
    initial_interval: duration("workflows.unreachable.initial_interval").or("1"),
    backoff_coefficient: rate("workflows.unreachable.backoff_coefficient").or("1.5"),
    maximum_interval: duration("workflows.unreachable.maximum_interval").or("10"),
    maximum_attempts: count("workflows.unreachable.maximum_attempts").or("17"),
};

/// Step Functions calls functions, so a server has no use for it.
pub(crate) const SERVER_ENGINE: Setting<EngineKind> = Setting::new(
    ENGINE,
    Shape::Text,
    |value| choice(value, &[("embedded", EngineKind::Embedded), ("temporal", EngineKind::Temporal)]),
    "'embedded' or 'temporal'",
)
.or("embedded");
/// A function has no disk to keep a journal on.
pub(crate) const FUNCTION_ENGINE: Setting<EngineKind> = Setting::new(
    ENGINE,
    Shape::Text,
    |value| choice(value, &[("stepfunctions", EngineKind::StepFunctions), ("temporal", EngineKind::Temporal)]),
    "'stepfunctions' or 'temporal'",
);
const ENGINE: &str = "engine.kind";
pub(crate) const MAX_CONCURRENT_ACTIVITIES: Setting<u32> = count("engine.max_concurrent_activities").or("100");
pub(crate) const STATE_MACHINE_PREFIX: Setting<String> = Setting::new(
    "engine.state_machine_prefix",
    Shape::Text,
    state_machine_prefix,
    "what the ARNs of the state machines begin with (arn:...:stateMachine:...)",
);
pub(crate) const FUNCTION_PREFIX: Setting<String> =
    Setting::new("engine.function_prefix", Shape::Text, text, "what the functions' names begin with");

pub(crate) const TEMPORAL_ADDRESS: Setting<String> = Setting::new(
    TEMPORAL_SERVER,
    Shape::Url,
    address,
    "the address of a server (host:port, http://host:port or https://host:port), without user information, query and \
     fragment",
);
/// Temporal's own variables do not reach a function, so it is told in full.
pub(crate) const TEMPORAL_URL: Setting<String> =
    Setting::new(TEMPORAL_SERVER, Shape::Url, url, "the URL of a server, without user information, query and fragment");
const TEMPORAL_SERVER: &str = "temporal.server_url";
pub(crate) const NAMESPACE: Setting<String> = name("temporal.namespace");
pub(crate) const TASK_QUEUE: Setting<String> = name("temporal.task_queue").or("workflow-service-queue");
pub(crate) const WORKER_IDENTITY: Setting<String> = name("temporal.worker_identity");
pub(crate) const API_KEY_SECRET: Setting<String> =
    Setting::new("temporal.api_key_secret", Shape::Text, text, "the ARN of a secret");
pub(crate) const WORKER_ACTIVITIES: Setting<u32> = count("temporal.max_concurrent_activities").or("100");
pub(crate) const WORKER_WORKFLOWS: Setting<u32> = count("temporal.max_concurrent_workflows").or("50");
pub(crate) const HAS_ACTIVITIES_IN_FUNCTIONS: Setting<bool> = Setting::new(
    "temporal.activities",
    Shape::Text,
    |value| choice(value, &[("process", false), ("lambda", true)]),
    "'process' or 'lambda'",
)
.or("process");

pub(crate) const IS_DYNAMODB: Setting<bool> = Setting::new(
    STORE,
    Shape::Text,
    |value| choice(value, &[("sqlite", false), ("dynamodb", true)]),
    "'sqlite' or 'dynamodb'",
)
.or("sqlite");
/// What a function writes to its disk is lost with it.
pub(crate) const FUNCTION_STORE: Setting<bool> =
    Setting::new(STORE, Shape::Text, |value| choice(value, &[("dynamodb", true)]), "'dynamodb'");
const STORE: &str = "store.kind";
pub(crate) const DATA_DIR: Setting<String> =
    Setting::new("store.data_dir", Shape::Text, text, "a path").or(".workflow-service");
pub(crate) const KEY_FILE: Setting<String> = Setting::new("store.key_file", Shape::Text, text, "a path");
const fn key(path: &'static str) -> Setting<String> {
    Setting::new(path, Shape::Text, kms_key, "the ARN of a key (arn:...:kms:...:key/...)")
}

/// What wraps the keys of backups, and what signs them.
pub(crate) const KMS_KEY: Setting<String> = key("keys.kms_key");
pub(crate) const SIGNING_KEY: Setting<String> = key("keys.signing_key");
/// In their place where AWS is played by something else, which has no such key.
pub(crate) const LOCAL_KEY_FILE: Setting<String> = Setting::new("keys.file", Shape::Text, text, "a path");
pub(crate) const TABLE: Setting<String> = Setting::new("store.table", Shape::Text, text, "a table's name");
pub(crate) const BUCKET: Setting<String> = Setting::new("store.bucket", Shape::Text, text, "a bucket's name");
pub(crate) const RETENTION_DAYS: Setting<u32> =
    Setting::new("store.retention_days", Shape::Number, days, "days").or("90");

/// Backups that are made on their own, if there are such tenants.
pub(crate) const BACKUP_TENANTS: Setting<Vec<String>> =
    Setting::new("backups.tenants", Shape::Text, tenants, "ids of tenants, each once, with commas between them");
pub(crate) const BACKUPS_EVERY: Setting<u64> =
    Setting::new("backups.every", Shape::Number, hours, "a duration of an hour or more (\"24h\")").or("24h");
pub(crate) const BACKUPS_KEEP_DAYS: Setting<u32> = count("backups.keep_days");
pub(crate) const BACKUPS_KEEP_COUNT: Setting<u32> = count("backups.keep_count");

/// The dataset map, if it is not the one that comes along.
pub(crate) const DATASET: Setting<String> = Setting::new("compliance.dataset", Shape::Text, text, "a path");

/// Who is told that the time for an answer to a person is nearly over.
pub(crate) const NOTIFY: Setting<String> =
    Setting::new("compliance.notify", Shape::Text, mail_address, "an e-mail address");

/// What the engine finishes within the default time limit, see the server's README.
pub(crate) const OPEN_EXECUTIONS: Setting<u32> = count("limits.open_executions").or("2000");
pub(crate) const OPEN_EXECUTIONS_PER_TENANT: Setting<u32> = count("limits.open_executions_per_tenant").or("500");

/// A server waits as long as API Gateway would; a function is billed, and counted, for as long as it waits.
pub(crate) const LONGEST_WAIT: Setting<u64> = duration("limits.longest_wait");

pub(crate) const AUTH_MODE: Setting<String> = Setting::new("auth.mode", Shape::Text, text, "a mode");
pub(crate) const ALLOW_OPEN: Setting<bool> =
    Setting::new("auth.allow_open", Shape::Boolean, boolean, "true or false").or("false");
pub(crate) const TENANTS_CLAIM: Setting<String> =
    Setting::new("auth.tenants_claim", Shape::Text, text, "a claim's name");
pub(crate) const ROLES_CLAIM: Setting<String> = Setting::new("auth.roles_claim", Shape::Text, text, "a claim's name");

/// The settings of a server or a worker, in the order in which they are shown: section by section.
pub(crate) const OF_SERVER: [&dyn Declared; 45] = [
    &HOST,
    &PORT,
    &REQUEST_TIMEOUT,
    &MAX_CONNECTIONS,
    &SERVICES[0],
    &SERVICES[1],
    &SERVICES[2],
    &SERVICES[3],
    &SERVICES[4],
    &DEFAULT_TIMEOUT,
    &BATCH_SIZE,
    &ANSWERED.initial_interval,
    &ANSWERED.backoff_coefficient,
    &ANSWERED.maximum_interval,
    &ANSWERED.maximum_attempts,
    &UNREACHABLE.initial_interval,
    &UNREACHABLE.backoff_coefficient,
    &UNREACHABLE.maximum_interval,
    &UNREACHABLE.maximum_attempts,
    &SERVER_ENGINE,
    &MAX_CONCURRENT_ACTIVITIES,
    &FUNCTION_PREFIX,
    &TEMPORAL_ADDRESS,
    &NAMESPACE,
    &TASK_QUEUE,
    &WORKER_IDENTITY,
    &WORKER_ACTIVITIES,
    &WORKER_WORKFLOWS,
    &HAS_ACTIVITIES_IN_FUNCTIONS,
    &IS_DYNAMODB,
    &DATA_DIR,
    &KEY_FILE,
    &TABLE,
    &BUCKET,
    &RETENTION_DAYS,
    &BACKUP_TENANTS,
    &BACKUPS_EVERY,
    &BACKUPS_KEEP_DAYS,
    &BACKUPS_KEEP_COUNT,
    &DATASET,
    &NOTIFY,
    &OPEN_EXECUTIONS,
    &OPEN_EXECUTIONS_PER_TENANT,
    &AUTH_MODE,
    &ALLOW_OPEN,
];

/// Settings that only functions read.
pub(crate) const OF_FUNCTIONS: [&str; 8] = [
    STATE_MACHINE_PREFIX.path,
    API_KEY_SECRET.path,
    KMS_KEY.path,
    SIGNING_KEY.path,
    LOCAL_KEY_FILE.path,
    LONGEST_WAIT.path,
    TENANTS_CLAIM.path,
    ROLES_CLAIM.path,
];
