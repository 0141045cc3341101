//! The settings of a server or a worker: defaults, then a TOML file, then the environment.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contracts::EngineKind;
use contracts::access::Access;
use downstream::{Endpoints, Service};
use workflows::RetryPolicy;

use crate::declarations::{
    BACKOFF_COEFFICIENT, DATA_DIR, DEFAULT_TIMEOUT, HAS_ACTIVITIES_IN_FUNCTIONS, HOST, INITIAL_INTERVAL,
    MAX_CONCURRENT_ACTIVITIES, MAXIMUM_ATTEMPTS, MAXIMUM_INTERVAL, OF_FUNCTIONS, PORT, REQUEST_TIMEOUT, SERVER_ENGINE,
    SERVICES,
};
use crate::keys::{Keys, Naming};
use crate::store::{StoreKind, store};
use crate::temporal::{ActivityPlace, Temporal, temporal};
use crate::{InvalidSettings, access, aws, services};

/// Where `dev` serves the services, in the order of [`Service::ALL`].
const SERVICE_URLS: [&str; 5] = [
    "http://127.0.0.1:8081",
    "http://127.0.0.1:8082",
    "http://127.0.0.1:8085",
    "http://127.0.0.1:8083",
    "http://127.0.0.1:8080",
];

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
    /// `engine.max_concurrent_activities`, of the embedded engine.
    pub max_concurrent_activities: usize,
    /// `temporal.*`
    pub temporal: Temporal,
    /// `store.kind`, and what it needs
    pub store: StoreKind,
    /// `store.data_dir`
    pub data_dir: PathBuf,
    /// From `auth.*` and the address.
    pub access: Access,
    /// Whether AWS's endpoints are trusted by the roots of `SSL_CERT_FILE`, not by Amazon's.
    pub has_own_roots: bool,
}

impl Settings {
    /// Reads the file, if there is one, and the process's environment.
    ///
    /// # Errors
    /// Everything that is wrong, by the settings' paths.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process(file: Option<&Path>) -> Result<Self, InvalidSettings> {
        Self::load(file, std::env::vars())
    }

    /// Reads the file, if there is one, and these variables.
    ///
    /// # Errors
    /// Everything that is wrong, by the settings' paths.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, InvalidSettings> {
        let mut keys = Keys::new(Naming::Path);
        if let Some(file) = file {
            let unreadable =
                |error: &dyn std::fmt::Display| InvalidSettings(vec![format!("{}: {error}", file.display())]);
            let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error))?;
            keys.add_table("", text.parse().map_err(|error: toml::de::Error| unreadable(&error))?);
        }
        let others = environment.filter(|(name, value)| !keys.add_variable(name, value)).collect();
        Self::read(keys, aws::has_own_roots(&others))
    }

    fn read(mut keys: Keys, has_own_roots: bool) -> Result<Self, InvalidSettings> {
        let host = keys.take(&HOST).unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let mut urls = SERVICE_URLS.map(str::to_owned);
        for (url, setting) in urls.iter_mut().zip(&SERVICES) {
            *url = keys.take(setting).unwrap_or_else(|| std::mem::take(url));
        }
        let settings = Self {
            host,
            port: keys.take(&PORT).unwrap_or(8084),
            request_timeout: Duration::from_secs(keys.take(&REQUEST_TIMEOUT).unwrap_or(30)),
            endpoints: services::endpoints(&mut keys, &urls),
            service_urls: urls,
            default_timeout: Duration::from_secs(keys.take(&DEFAULT_TIMEOUT).unwrap_or(300)),
            retry_policy: retry_policy(&mut keys),
            engine: keys.take(&SERVER_ENGINE).unwrap_or(EngineKind::Embedded),
            max_concurrent_activities: keys.take(&MAX_CONCURRENT_ACTIVITIES).unwrap_or(100) as usize,
            temporal: temporal(&mut keys),
            store: store(&mut keys),
            data_dir: keys.take(&DATA_DIR).unwrap_or_else(|| ".workflow-service".to_owned()).into(),
            access: access::of_server(&mut keys, host),
            has_own_roots,
        };
        if let (ActivityPlace::InFunctions { .. }, StoreKind::Sqlite) = (&settings.temporal.activities, &settings.store)
        {
            let problem = "'lambda' needs store.kind = 'dynamodb', which is where the functions record";
            keys.refuse(HAS_ACTIVITIES_IN_FUNCTIONS.path, problem);
        }
        keys.finish(|path| OF_FUNCTIONS.contains(&path))?;
        Ok(settings)
    }

    /// The base URL of a service.
    pub fn service_url(&self, service: Service) -> &str {
        &self.service_urls[service as usize]
    }
}

fn retry_policy(keys: &mut Keys) -> RetryPolicy {
    let default = RetryPolicy::default();
    let policy = RetryPolicy {
        initial_interval_seconds: keys.take(&INITIAL_INTERVAL).unwrap_or(default.initial_interval_seconds),
        backoff_coefficient: keys.take(&BACKOFF_COEFFICIENT).unwrap_or(default.backoff_coefficient),
        maximum_interval_seconds: keys.take(&MAXIMUM_INTERVAL).unwrap_or(default.maximum_interval_seconds),
        maximum_attempts: keys.take(&MAXIMUM_ATTEMPTS).unwrap_or(default.maximum_attempts),
    };
    if policy.maximum_interval_seconds <= policy.initial_interval_seconds {
        keys.refuse(MAXIMUM_INTERVAL.path, "must be longer than initial_interval");
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Settings, InvalidSettings> {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(None, pairs)
    }

    fn load_toml(text: &str) -> Result<Settings, InvalidSettings> {
        let mut keys = Keys::new(Naming::Path);
        keys.add_table("", text.parse().expect("TOML"));
        Settings::read(keys, false)
    }

    #[test]
    fn without_any_setting_it_is_open_on_loopback() {
        let settings = load(&[("PATH", "/bin")]).expect("the defaults are good");
        assert!(settings.host.is_loopback());
        assert_eq!((settings.port, settings.access), (8084, Access::Open));
        let Temporal { task_queue, max_concurrent_activities, max_concurrent_workflows, .. } = settings.temporal;
        assert_eq!(
            (task_queue.as_str(), max_concurrent_activities, max_concurrent_workflows),
            ("workflow-service-queue", 100, 50)
        );
    }

    #[test]
    fn every_problem_is_listed_by_its_path() {
        let problems = load_toml(
            "[server]\nport = 0\nhost = \"nowhere\"\ncolour = 1\n[services]\nauth_service = \"http://auth.example\"\n\
             [auth]\nmode = \"jwt\"\nroles_claim = \"roles\"\n[workflows.retry_policy]\nmaximum_attempts = \"many\"\n\
             [engine]\nkind = \"stepfunctions\"",
        )
        .expect_err("eight problems")
        .to_string();
        for problem in [
            "server.port: expected 1 to 65535, got 0",
            "server.host: expected an IP address, got \"nowhere\"",
            "server.colour: there is no such setting",
            "services.auth_service: 'http://auth.example' must use https",
            "auth.mode: 'jwt' is not available yet",
            "auth.roles_claim: is read by functions only",
            "workflows.retry_policy.maximum_attempts: expected 1 or more, got \"many\"",
            "engine.kind: expected 'embedded' or 'temporal', got \"stepfunctions\"",
        ] {
            assert!(problems.contains(problem), "{problem} is missing in:\n{problems}");
        }
    }

    #[test]
    fn a_worker_beside_the_deployment_needs_its_names() {
        let problems = |text: &str| load_toml(text).expect_err("much is missing").to_string();
        let missing = problems("[store]\nkind = \"dynamodb\"\n[temporal]\nactivities = \"lambda\"");
        for path in ["store.table: is missing", "store.bucket: is missing", "engine.function_prefix: is missing"] {
            assert!(missing.contains(path), "{path} is missing in:\n{missing}");
        }
        let alone = problems("[temporal]\nactivities = \"lambda\"");
        assert!(alone.contains("temporal.activities: 'lambda' needs store.kind = 'dynamodb'"), "{alone}");
        let useless = problems("[store]\ntable = \"t\"\n[engine]\nfunction_prefix = \"stack-\"");
        for path in ["store.table: is of no use without", "engine.function_prefix: is of no use without"] {
            assert!(useless.contains(path), "{path} is missing in:\n{useless}");
        }
        let whole = load_toml(
            "[store]\nkind = \"dynamodb\"\ntable = \"t\"\nbucket = \"b\"\n[engine]\nfunction_prefix = \"stack-\"\n\
             [temporal]\nactivities = \"lambda\"",
        )
        .expect("nothing is missing");
        assert_eq!(whole.store, StoreKind::Dynamodb { table: "t".to_owned(), bucket: "b".to_owned() });
        assert_eq!(whole.temporal.activities, ActivityPlace::InFunctions { prefix: "stack-".to_owned() });
    }

    #[test]
    fn the_environment_overrides_and_durations_have_two_forms() {
        let settings = load(&[
            ("WORKFLOW__SERVER__PORT", "9999"),
            ("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "5m"),
            ("WORKFLOW__WORKFLOWS__RETRY_POLICY__MAXIMUM_ATTEMPTS", "5"),
            ("SSL_CERT_FILE", "/roots.pem"),
        ])
        .expect("good");
        assert_eq!((settings.port, settings.default_timeout.as_secs()), (9999, 300));
        assert_eq!((settings.retry_policy.maximum_attempts, settings.has_own_roots), (5, true));
    }

    #[test]
    fn a_longest_wait_is_longer_than_the_first() {
        let problems = load(&[("WORKFLOW__WORKFLOWS__RETRY_POLICY__INITIAL_INTERVAL", "2m")]).expect_err("it is not");
        let expected = "workflows.retry_policy.maximum_interval: must be longer than initial_interval";
        assert_eq!(problems.problems(), [expected]);
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
