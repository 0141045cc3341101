//! Settings: defaults, then a TOML file, then the environment. Every unknown key and every bad value is reported, all
//! at once, by the key's path.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::Access;
use contracts::EngineKind;
use downstream::{Endpoints, Service};
use engine_embedded::Limits;
use engine_temporal::Server;
use toml::Value;
use workflows::RetryPolicy;

/// Environment variables that begin so override keys: `WORKFLOW__SERVER__PORT` is `server.port`.
pub const ENVIRONMENT_PREFIX: &str = "WORKFLOW__";

/// The settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `server.host`
    pub host: IpAddr,
    /// `server.port`
    pub port: u16,
    /// `server.timeout_seconds`: the longest that a request may take.
    pub request_timeout: Duration,
    /// `services.*`
    pub endpoints: Endpoints,
    /// `services.*` as they were given, in the order of [`Service::ALL`].
    pub service_urls: [String; 5],
    /// `workflows.default_timeout`
    pub default_timeout: Duration,
    /// `workflows.retry_policy.*`
    pub retry_policy: RetryPolicy,
    /// `engine.kind`: what new executions run on.
    pub engine: EngineKind,
    /// `engine.max_concurrent_activities`
    pub limits: Limits,
    /// `temporal.*`
    pub temporal: Temporal,
    /// `store.kind`, and what it needs
    pub store: StoreKind,
    /// `store.data_dir`
    pub data_dir: PathBuf,
    /// From `auth.*` and the address.
    pub access: Access,
}

/// What Temporal is to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temporal {
    /// `temporal.server_url`, `temporal.namespace`, `temporal.worker_identity`
    pub server: Server,
    /// `temporal.task_queue`
    pub task_queue: String,
    /// `temporal.max_concurrent_activities`
    pub max_concurrent_activities: usize,
    /// `temporal.max_concurrent_workflows`
    pub max_concurrent_workflows: usize,
    /// `temporal.activities`, and what it needs
    pub activities: ActivitiesRun,
}

/// Where records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// In the data directory.
    Sqlite,
    /// On AWS, by the deployment.
    Dynamodb {
        /// `store.table`
        table: String,
        /// `store.archive_bucket`
        archive_bucket: String,
    },
}

/// Where a worker's activities run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActivitiesRun {
    /// In the worker.
    InProcess,
    /// In the functions of these names, by those of the activities: `temporal.functions.*`
    InFunctions(BTreeMap<String, String>),
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSettings(Vec<String>);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for InvalidSettings {}

/// Keys of the five base URLs, in the order of [`Service::ALL`], with their defaults.
const SERVICE_URLS: [(&str, &str); 5] = [
    ("services.auth_service", "http://127.0.0.1:8081"),
    ("services.user_service", "http://127.0.0.1:8082"),
    ("services.tenant_service", "http://127.0.0.1:8085"),
    ("services.file_service", "http://127.0.0.1:8083"),
    ("services.api_gateway", "http://127.0.0.1:8080"),
];

impl Settings {
    /// Reads the file, if there is one, and the environment.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, InvalidSettings> {
        let mut keys = Keys::default();
        if let Some(file) = file {
            let text = std::fs::read_to_string(file)
                .map_err(|error| InvalidSettings(vec![format!("{}: {error}", file.display())]))?;
            match text.parse::<toml::Table>() {
                Ok(table) => keys.add_table("", table),
                Err(error) => return Err(InvalidSettings(vec![format!("{}: {error}", file.display())])),
            }
        }
        for (name, value) in environment {
            if let Some(name) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                keys.values.insert(name.to_lowercase().replace("__", "."), Value::String(value));
            }
        }
        Self::read(keys)
    }

    fn read(mut keys: Keys) -> Result<Self, InvalidSettings> {
        let host = keys.take("server.host", parsed, "an IP address").unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let port = keys.take("server.port", integer, "1 to 65535").unwrap_or(8084);
        let request_timeout = keys.take("server.timeout_seconds", seconds, "seconds").unwrap_or(30);
        let urls = SERVICE_URLS.map(|(key, default)| keys.take(key, text, "a URL").unwrap_or(default.to_owned()));
        let default_timeout = keys.take("workflows.default_timeout", seconds, DURATION).unwrap_or(300);
        let retry_policy = retry_policy(&mut keys);
        let engine = keys.take("engine.kind", engine_kind, "'embedded' or 'temporal'").unwrap_or(EngineKind::Embedded);
        let temporal = temporal(&mut keys);
        let activities = keys.take("engine.max_concurrent_activities", integer, "1 or more").unwrap_or(100_u32);
        let store = store(&mut keys);
        if let (ActivitiesRun::InFunctions(_), StoreKind::Sqlite) = (&temporal.activities, &store) {
            let problem =
                "temporal.activities: 'lambda' needs store.kind = 'dynamodb', which is where the functions record";
            keys.problems.push(problem.to_owned());
        }
        let data_dir = keys.take("store.data_dir", text, "a path").unwrap_or(".workflow-service".to_owned());
        let access = access(&mut keys, host);
        let endpoints = Endpoints::new(urls.each_ref().map(String::as_str)).unwrap_or_else(|bad| {
            for (service, problem) in bad {
                keys.problems.push(format!("{}: {problem}", SERVICE_URLS[service as usize].0));
            }
            Endpoints::default()
        });
        for unknown in std::mem::take(&mut keys.values).into_keys() {
            keys.problems.push(format!("{unknown}: there is no such setting"));
        }
        if !keys.problems.is_empty() {
            return Err(InvalidSettings(keys.problems));
        }
        Ok(Self {
            host,
            port,
            request_timeout: Duration::from_secs(request_timeout),
            endpoints,
            service_urls: urls,
            default_timeout: Duration::from_secs(default_timeout),
            retry_policy,
            engine,
            temporal,
            limits: Limits { max_concurrent_activities: activities as usize },
            store,
            data_dir: data_dir.into(),
            access,
        })
    }

    /// The base URL of a service.
    pub fn service_url(&self, service: Service) -> &str {
        &self.service_urls[service as usize]
    }
}

/// Step Functions calls functions, so a server has no use for it.
fn engine_kind(value: &Value) -> Option<EngineKind> {
    value.as_str()?.parse().ok().filter(|kind| *kind != EngineKind::StepFunctions)
}

fn temporal(keys: &mut Keys) -> Temporal {
    let server = Server {
        url: keys.take("temporal.server_url", text, "an address"),
        namespace: keys.take("temporal.namespace", text, "a name"),
        identity: keys.take("temporal.worker_identity", text, "a name"),
        api_key: None,
    };
    let task_queue = keys.take("temporal.task_queue", text, "a name");
    Temporal {
        server,
        task_queue: task_queue.unwrap_or_else(|| engine_temporal::TASK_QUEUE.to_owned()),
        max_concurrent_activities: keys
            .take("temporal.max_concurrent_activities", integer, "1 or more")
            .map_or(100, |count: u32| count as usize),
        max_concurrent_workflows: keys
            .take("temporal.max_concurrent_workflows", integer, "1 or more")
            .map_or(100, |count: u32| count as usize),
        activities: activities(keys),
    }
}

fn activities(keys: &mut Keys) -> ActivitiesRun {
    let is_lambda = |value: &Value| match value.as_str()? {
        "process" => Some(false),
        "lambda" => Some(true),
        _ => None,
    };
    let in_functions = keys.take("temporal.activities", is_lambda, "'process' or 'lambda'").unwrap_or(false);
    let mut functions = BTreeMap::new();
    for activity in workflows::activities() {
        let key = format!("temporal.functions.{activity}");
        match in_functions {
            true => drop(functions.insert(activity.to_owned(), keys.required(&key, "a function's name"))),
            false => keys.refuse_without(&key, "temporal.activities = 'lambda'"),
        }
    }
    if in_functions { ActivitiesRun::InFunctions(functions) } else { ActivitiesRun::InProcess }
}

fn store(keys: &mut Keys) -> StoreKind {
    let is_dynamodb = |value: &Value| match value.as_str()? {
        "sqlite" => Some(false),
        "dynamodb" => Some(true),
        _ => None,
    };
    if keys.take("store.kind", is_dynamodb, "'sqlite' or 'dynamodb'").unwrap_or(false) {
        return StoreKind::Dynamodb {
            table: keys.required("store.table", "a table's name"),
            archive_bucket: keys.required("store.archive_bucket", "a bucket's name"),
        };
    }
    for key in ["store.table", "store.archive_bucket"] {
        keys.refuse_without(key, "store.kind = 'dynamodb'");
    }
    StoreKind::Sqlite
}

fn retry_policy(keys: &mut Keys) -> RetryPolicy {
    let default = RetryPolicy::default();
    let mut policy = RetryPolicy {
        initial_interval_seconds: keys
            .take("workflows.retry_policy.initial_interval", seconds, DURATION)
            .unwrap_or(default.initial_interval_seconds),
        backoff_coefficient: keys
            .take("workflows.retry_policy.backoff_coefficient", coefficient, "1.0 or more")
            .unwrap_or(default.backoff_coefficient),
        maximum_interval_seconds: keys
            .take("workflows.retry_policy.maximum_interval", seconds, DURATION)
            .unwrap_or(default.maximum_interval_seconds),
        maximum_attempts: keys
            .take("workflows.retry_policy.maximum_attempts", integer, "1 or more")
            .unwrap_or(default.maximum_attempts),
    };
    if policy.maximum_interval_seconds <= policy.initial_interval_seconds {
        let problem = "workflows.retry_policy.maximum_interval: must be longer than initial_interval";
        keys.problems.push(problem.to_owned());
        policy = default;
    }
    policy
}

/// Without `[auth]`, an address that only this machine reaches is open, and any other answers 401.
fn access(keys: &mut Keys, host: IpAddr) -> Access {
    let mode = keys.take("auth.mode", text, "a mode");
    let allow_open = keys.take("auth.allow_open", boolean, "true or false").unwrap_or(false);
    let is_open = host.is_loopback() || allow_open;
    match mode.as_deref() {
        None | Some("off") if is_open => Access::Open,
        None => Access::Closed(
            "This server listens on an address that others can reach and does not authenticate. \
             For a trial set auth.allow_open = true (WORKFLOW__AUTH__ALLOW_OPEN=true)."
                .to_owned(),
        ),
        Some("off") => {
            let problem = format!("auth.mode: 'off' needs a loopback address or auth.allow_open = true, not {host}");
            keys.problems.push(problem);
            Access::Open
        }
        Some(mode) => {
            let problem = match mode {
                "jwt" => "auth.mode: 'jwt' is not available yet".to_owned(),
                "gateway" => "auth.mode: 'gateway' is for functions behind an API gateway".to_owned(),
                other => format!("auth.mode: '{other}' is none of off, jwt, gateway"),
            };
            keys.problems.push(problem);
            Access::Open
        }
    }
}

/// Settings not yet read, by path.
#[derive(Default)]
struct Keys {
    values: BTreeMap<String, Value>,
    problems: Vec<String>,
}

impl Keys {
    fn add_table(&mut self, path: &str, table: toml::Table) {
        for (name, value) in table {
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            match value {
                Value::Table(table) => self.add_table(&path, table),
                value => {
                    self.values.insert(path, value);
                }
            }
        }
    }

    fn take<T>(&mut self, path: &str, parse: impl Fn(&Value) -> Option<T>, expected: &str) -> Option<T> {
        let value = self.values.remove(path)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.problems.push(format!("{path}: expected {expected}, got {value}"));
        }
        parsed
    }

    fn refuse_without(&mut self, path: &str, other: &str) {
        if self.values.remove(path).is_some() {
            self.problems.push(format!("{path}: is of no use without {other}"));
        }
    }

    fn required(&mut self, path: &str, expected: &str) -> String {
        if !self.values.contains_key(path) {
            self.problems.push(format!("{path}: is missing, expected {expected}"));
        }
        self.take(path, text, expected).unwrap_or_default()
    }
}

const DURATION: &str = "seconds (300) or a duration (\"5m\")";

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

/// Numbers of the environment are text.
fn number(value: &Value) -> Option<i64> {
    value.as_integer().or_else(|| parsed(value))
}

fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    number(value).filter(|number| *number >= 1).and_then(|number| T::try_from(number).ok())
}

fn coefficient(value: &Value) -> Option<f64> {
    let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64)).or_else(|| parsed(value));
    number.filter(|number| (1.0..=1e6).contains(number))
}

fn boolean(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| parsed(value))
}

/// Whole seconds, at least one.
fn seconds(value: &Value) -> Option<u64> {
    let duration = || parsed::<jiff::SignedDuration>(value).map(|duration| duration.as_secs());
    number(value).or_else(duration).filter(|seconds| *seconds >= 1).and_then(|seconds| seconds.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Settings, InvalidSettings> {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(None, pairs)
    }

    fn load_toml(text: &str) -> Result<Settings, InvalidSettings> {
        let mut keys = Keys::default();
        keys.add_table("", text.parse().expect("TOML"));
        Settings::read(keys)
    }

    #[test]
    fn without_any_setting_it_is_open_on_loopback() {
        let settings = load(&[("PATH", "/bin")]).expect("the defaults are good");
        assert!(settings.host.is_loopback());
        assert_eq!((settings.port, settings.access), (8084, Access::Open));
    }

    #[test]
    fn every_problem_is_listed_by_its_path() {
        let problems = load_toml(
            "[server]\nport = 0\nhost = \"nowhere\"\ncolour = 1\n[services]\nauth_service = \"http://auth.example\"\n\
             [auth]\nmode = \"jwt\"\n[workflows.retry_policy]\nmaximum_attempts = \"many\"",
        )
        .expect_err("six problems")
        .0
        .join("\n");
        for path in [
            "server.port",
            "server.host",
            "server.colour",
            "services.auth_service",
            "auth.mode",
            "workflows.retry_policy.maximum_attempts",
        ] {
            assert!(problems.contains(path), "{path} is missing in:\n{problems}");
        }
    }

    #[test]
    fn a_worker_beside_the_deployment_needs_its_names() {
        let problems = |text: &str| load_toml(text).expect_err("much is missing").0.join("\n");
        let missing = problems("[store]\nkind = \"dynamodb\"\n[temporal]\nactivities = \"lambda\"");
        for path in ["store.table: is missing", "store.archive_bucket: is missing"] {
            assert!(missing.contains(path), "{path} is missing in:\n{missing}");
        }
        for activity in workflows::activities() {
            assert!(missing.contains(&format!("temporal.functions.{activity}: is missing")), "{missing}");
        }
        let alone = problems("[temporal]\nactivities = \"lambda\"");
        assert!(alone.contains("temporal.activities: 'lambda' needs store.kind = 'dynamodb'"), "{alone}");
        let useless = problems("[store]\ntable = \"t\"\n[temporal.functions]\ncreate_user_account = \"f\"");
        for path in
            ["store.table: is of no use without", "temporal.functions.create_user_account: is of no use without"]
        {
            assert!(useless.contains(path), "{path} is missing in:\n{useless}");
        }
    }

    #[test]
    fn the_environment_overrides_and_durations_have_two_forms() {
        let settings = load(&[
            ("WORKFLOW__SERVER__PORT", "9999"),
            ("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "5m"),
            ("WORKFLOW__WORKFLOWS__RETRY_POLICY__MAXIMUM_ATTEMPTS", "5"),
        ])
        .expect("good");
        assert_eq!((settings.port, settings.default_timeout.as_secs()), (9999, 300));
        assert_eq!(settings.retry_policy.maximum_attempts, 5);
    }

    #[test]
    fn another_address_needs_a_word_to_be_open() {
        let everywhere = ("WORKFLOW__SERVER__HOST", "0.0.0.0");
        assert!(matches!(load(&[everywhere]).expect("it starts").access, Access::Closed(_)));
        let open = load(&[everywhere, ("WORKFLOW__AUTH__ALLOW_OPEN", "true")]).expect("it starts");
        assert_eq!(open.access, Access::Open);
        assert!(load(&[everywhere, ("WORKFLOW__AUTH__MODE", "off")]).is_err());
    }
}
