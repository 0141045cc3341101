//! Every setting there is: its path, how it is read, and what is expected of it.

use std::net::IpAddr;

use contracts::EngineKind;
use toml::Value;

use crate::values::{boolean, choice, coefficient, days, integer, parsed, seconds, state_machine_prefix, text, url};

/// A setting.
pub(crate) struct Setting<T> {
    pub(crate) path: &'static str,
    pub(crate) read: fn(&Value) -> Option<T>,
    /// In words, for who set something else.
    pub(crate) expected: &'static str,
}

const fn setting<T>(path: &'static str, read: fn(&Value) -> Option<T>, expected: &'static str) -> Setting<T> {
    Setting { path, read, expected }
}

const NAME: &str = "a name";
const POSITIVE: &str = "1 or more";
const DURATION: &str = "seconds (300) or a duration (\"5m\")";

pub(crate) const HOST: Setting<IpAddr> = setting("server.host", parsed, "an IP address");
pub(crate) const PORT: Setting<u16> = setting("server.port", integer, "1 to 65535");
pub(crate) const REQUEST_TIMEOUT: Setting<u64> = setting("server.timeout_seconds", seconds, "seconds");

/// The five base URLs, in the order of [`downstream::Service::ALL`].
pub(crate) const SERVICES: [Setting<String>; 5] = [
    setting("services.auth_service", text, "a URL"),
    setting("services.user_service", text, "a URL"),
    setting("services.tenant_service", text, "a URL"),
    setting("services.file_service", text, "a URL"),
    setting("services.api_gateway", text, "a URL"),
];

pub(crate) const DEFAULT_TIMEOUT: Setting<u64> = setting("workflows.default_timeout", seconds, DURATION);
pub(crate) const INITIAL_INTERVAL: Setting<u64> = setting("workflows.retry_policy.initial_interval", seconds, DURATION);
pub(crate) const BACKOFF_COEFFICIENT: Setting<f64> =
    setting("workflows.retry_policy.backoff_coefficient", coefficient, "1.0 or more");
pub(crate) const MAXIMUM_INTERVAL: Setting<u64> = setting("workflows.retry_policy.maximum_interval", seconds, DURATION);
pub(crate) const MAXIMUM_ATTEMPTS: Setting<u32> = setting("workflows.retry_policy.maximum_attempts", integer, POSITIVE);

/// Step Functions calls functions, so a server has no use for it.
pub(crate) const SERVER_ENGINE: Setting<EngineKind> = setting(
    ENGINE,
    |value| choice(value, &[("embedded", EngineKind::Embedded), ("temporal", EngineKind::Temporal)]),
    "'embedded' or 'temporal'",
);
/// A function has no disk to keep a journal on.
pub(crate) const FUNCTION_ENGINE: Setting<EngineKind> = setting(
    ENGINE,
    |value| choice(value, &[("stepfunctions", EngineKind::StepFunctions), ("temporal", EngineKind::Temporal)]),
    "'stepfunctions' or 'temporal'",
);
const ENGINE: &str = "engine.kind";
pub(crate) const MAX_CONCURRENT_ACTIVITIES: Setting<u32> =
    setting("engine.max_concurrent_activities", integer, POSITIVE);
pub(crate) const STATE_MACHINE_PREFIX: Setting<String> = setting(
    "engine.state_machine_prefix",
    state_machine_prefix,
    "what the ARNs of the state machines begin with (arn:...:stateMachine:...)",
);
pub(crate) const FUNCTION_PREFIX: Setting<String> =
    setting("engine.function_prefix", text, "what the functions' names begin with");

pub(crate) const TEMPORAL_ADDRESS: Setting<String> = setting(TEMPORAL_SERVER, text, "an address");
/// Temporal's own variables do not reach a function, so it is told in full.
pub(crate) const TEMPORAL_URL: Setting<String> = setting(TEMPORAL_SERVER, url, "the URL of a server");
const TEMPORAL_SERVER: &str = "temporal.server_url";
pub(crate) const NAMESPACE: Setting<String> = setting("temporal.namespace", text, NAME);
pub(crate) const TASK_QUEUE: Setting<String> = setting("temporal.task_queue", text, NAME);
pub(crate) const WORKER_IDENTITY: Setting<String> = setting("temporal.worker_identity", text, NAME);
pub(crate) const API_KEY_SECRET: Setting<String> = setting("temporal.api_key_secret", text, "the ARN of a secret");
pub(crate) const WORKER_ACTIVITIES: Setting<u32> = setting("temporal.max_concurrent_activities", integer, POSITIVE);
pub(crate) const WORKER_WORKFLOWS: Setting<u32> = setting("temporal.max_concurrent_workflows", integer, POSITIVE);
pub(crate) const HAS_ACTIVITIES_IN_FUNCTIONS: Setting<bool> = setting(
    "temporal.activities",
    |value| choice(value, &[("process", false), ("lambda", true)]),
    "'process' or 'lambda'",
);

pub(crate) const IS_DYNAMODB: Setting<bool> =
    setting(STORE, |value| choice(value, &[("sqlite", false), ("dynamodb", true)]), "'sqlite' or 'dynamodb'");
/// What a function writes to its disk is lost with it.
pub(crate) const FUNCTION_STORE: Setting<bool> =
    setting(STORE, |value| choice(value, &[("dynamodb", true)]), "'dynamodb'");
const STORE: &str = "store.kind";
pub(crate) const DATA_DIR: Setting<String> = setting("store.data_dir", text, "a path");
pub(crate) const TABLE: Setting<String> = setting("store.table", text, "a table's name");
pub(crate) const BUCKET: Setting<String> = setting("store.bucket", text, "a bucket's name");
pub(crate) const RETENTION_DAYS: Setting<u32> = setting("store.retention_days", days, "days");

pub(crate) const AUTH_MODE: Setting<String> = setting("auth.mode", text, "a mode");
pub(crate) const ALLOW_OPEN: Setting<bool> = setting("auth.allow_open", boolean, "true or false");
pub(crate) const TENANTS_CLAIM: Setting<String> = setting("auth.tenants_claim", text, "a claim's name");
pub(crate) const ROLES_CLAIM: Setting<String> = setting("auth.roles_claim", text, "a claim's name");

/// Settings that only functions read.
pub(crate) const OF_FUNCTIONS: [&str; 5] =
    [STATE_MACHINE_PREFIX.path, API_KEY_SECRET.path, RETENTION_DAYS.path, TENANTS_CLAIM.path, ROLES_CLAIM.path];
