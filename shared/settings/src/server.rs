//! The settings of a server or a worker: defaults, then a TOML file, then the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contracts::EngineKind;
use contracts::access::Access;
use contracts::backup::BackupSchedule;
use downstream::{Endpoints, Service};
use workflows::{RetryPolicies, RetryPolicy};

use crate::declarations::{
    ANSWERED, BACKUP_TENANTS, BACKUPS_EVERY, BACKUPS_KEEP_COUNT, BACKUPS_KEEP_DAYS, BATCH_SIZE, DATA_DIR, DATASET,
    DEFAULT_TIMEOUT, HAS_ACTIVITIES_IN_FUNCTIONS, HOST, KEY_FILE, MAX_CONCURRENT_ACTIVITIES, MAX_CONNECTIONS, NOTIFY,
    OF_FUNCTIONS, OF_SERVER, OPEN_EXECUTIONS, OPEN_EXECUTIONS_PER_TENANT, PORT, REQUEST_TIMEOUT, RETENTION_DAYS,
    RetrySettings, SERVER_ENGINE, SERVICES, UNREACHABLE,
};
use crate::host::Host;
use crate::keys::Keys;
use crate::origin::Effective;
use crate::sources::Sources;
use crate::store::{StoreKind, store};
use crate::temporal::{ActivityPlace, Temporal, temporal};
use crate::{InvalidSettings, access, aws, services};

/// The settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `server.host`
    pub host: Host,
    /// `server.port`
    pub port: u16,
    /// `server.timeout_seconds`: the longest that a request may take.
    pub request_timeout: Duration,
    /// `server.max_connections`: fewer where the process may not have as many files open.
    pub max_connections: usize,
    /// `services.*`
    pub endpoints: Endpoints,
    /// `services.*` as they were given, in the order of [`Service::ALL`].
    pub service_urls: [String; 5],
    /// `workflows.default_timeout`
    pub default_timeout: Duration,
    /// `workflows.batch_size`: checked, and without effect: each request has a batch size of its own.
    pub batch_size: u32,
    /// `workflows.retry_policy.*` and `workflows.unreachable.*`
    pub retry_policies: RetryPolicies,
    /// `engine.kind`: what new executions run on.
    pub engine: EngineKind,
    /// `limits.*`
    pub limits: Limits,
    /// `engine.max_concurrent_activities`, of the embedded engine.
    pub max_concurrent_activities: usize,
    /// `temporal.*`
    pub temporal: Temporal,
    /// `store.kind`, and what it needs
    pub store: StoreKind,
    /// `store.data_dir`
    pub data_dir: PathBuf,
    /// `store.key_file`, or `keys.json` in the data directory: the keys of backups.
    pub key_file: PathBuf,
    /// `store.retention_days`: how long an execution stays in the database after its end, before it goes to the archive.
    /// For `store.kind = 'sqlite'`; the deployment on AWS has its own.
    pub retention: Duration,
    /// `backups.*`: backups that are made on their own.
    pub backups: Option<BackupSchedule>,
    /// `compliance.dataset`: the dataset map, if it is not the one that comes along.
    pub dataset_file: Option<PathBuf>,
    /// `compliance.notify`: who is told that the time for an answer to a person is nearly over.
    pub notify: Option<String>,
    /// From `auth.*` and the address.
    pub access: Access,
    /// Whether AWS's endpoints are trusted by the roots of `SSL_CERT_FILE`, not by Amazon's.
    pub has_own_roots: bool,
    /// Whether nobody has chosen the engine.
    is_engine_default: bool,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// All settings and where they come from, whether they can be used or not.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Each setting as it is in effect.
    pub effective: Vec<Effective>,
    /// The settings, or everything that is wrong with them, by the settings' paths.
    pub settings: Result<Settings, InvalidSettings>,
}

impl Survey {
    /// Reads these sources.
    pub fn new(sources: &Sources) -> Self {
        let (mut keys, others, gathered) = sources.gather();
        let settings = Settings::read(&mut keys, aws::has_own_roots(&others));
        let effective = keys.effective(&OF_SERVER);
        // Without the file nobody knows what else is wrong.
        Self { effective, settings: gathered.and(settings) }
    }
}

impl Settings {
    /// Reads these sources.
    ///
    /// # Errors
    /// Everything that is wrong, by the settings' paths.
    pub fn of(sources: &Sources) -> Result<Self, InvalidSettings> {
        Survey::new(sources).settings
    }

    /// Reads the file, if there is one, and these variables.
    ///
    /// # Errors
    /// Everything that is wrong, by the settings' paths.
    pub fn load<Text: Into<OsString>>(
        file: Option<&Path>,
        environment: impl Iterator<Item = (Text, Text)>,
    ) -> Result<Self, InvalidSettings> {
        Self::of(&Sources::new(file, environment))
    }

    fn read(keys: &mut Keys, has_own_roots: bool) -> Result<Self, InvalidSettings> {
        let host = keys.value(&HOST);
        let urls = SERVICES.each_ref().map(|setting| keys.value(setting));
        let settings = Self {
            access: access::of_server(keys, &host),
            host,
            port: keys.value(&PORT),
            request_timeout: Duration::from_secs(keys.value(&REQUEST_TIMEOUT)),
            max_connections: keys.value(&MAX_CONNECTIONS) as usize,
            endpoints: services::endpoints(keys, &urls),
            service_urls: urls,
            default_timeout: Duration::from_secs(keys.value(&DEFAULT_TIMEOUT)),
            batch_size: keys.value(&BATCH_SIZE),
            retry_policies: RetryPolicies {
                answered: retry_policy(keys, &ANSWERED),
                unreachable: retry_policy(keys, &UNREACHABLE),
            },
            is_engine_default: !keys.has(&SERVER_ENGINE),
            engine: keys.value(&SERVER_ENGINE),
            limits: limits(keys),
            max_concurrent_activities: keys.value(&MAX_CONCURRENT_ACTIVITIES) as usize,
            temporal: temporal(keys),
            store: store(keys),
            data_dir: keys.value(&DATA_DIR).into(),
            key_file: match keys.take(&KEY_FILE) {
                Some(path) => path.into(),
                None => Path::new(&keys.value(&DATA_DIR)).join("keys.json"),
            },
            retention: DAY * keys.value(&RETENTION_DAYS),
            backups: backups(keys),
            dataset_file: keys.take(&DATASET).map(PathBuf::from),
            notify: keys.take(&NOTIFY),
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

    /// The Temporal server that the settings name, if nothing says whether it is to be used: executions run on the
    /// embedded engine then.
    pub fn unused_temporal(&self) -> Option<&str> {
        let is_unused = self.is_engine_default && self.engine == EngineKind::Embedded;
        self.temporal.server.url.as_deref().filter(|_| is_unused)
    }
}

/// How many executions may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `limits.open_executions`: of all tenants together.
    pub open_executions: u32,
    /// `limits.open_executions_per_tenant`
    pub open_executions_per_tenant: u32,
}

/// What is said of the schedule is read, and so checked, whether or not there is one.
fn backups(keys: &mut Keys) -> Option<BackupSchedule> {
    let tenants = keys.take(&BACKUP_TENANTS);
    let every = Duration::from_secs(keys.value(&BACKUPS_EVERY));
    let (keep_days, keep_count) = (keys.take(&BACKUPS_KEEP_DAYS), keys.take(&BACKUPS_KEEP_COUNT));
    tenants.map(|tenants| BackupSchedule { every, tenants, keep_days, keep_count })
}

fn limits(keys: &mut Keys) -> Limits {
    let limits = Limits {
        open_executions: keys.value(&OPEN_EXECUTIONS),
        open_executions_per_tenant: keys.value(&OPEN_EXECUTIONS_PER_TENANT),
    };
    let are_known = !keys.is_refused(&OPEN_EXECUTIONS) && !keys.is_refused(&OPEN_EXECUTIONS_PER_TENANT);
    if are_known && u64::from(limits.open_executions_per_tenant) * 2 > u64::from(limits.open_executions) {
        let problem = "must be at most half of open_executions: no tenant has more open than there is room left";
        keys.refuse(OPEN_EXECUTIONS_PER_TENANT.path, problem);
    }
    limits
}

fn retry_policy(keys: &mut Keys, settings: &RetrySettings) -> RetryPolicy {
    let RetrySettings { initial_interval, maximum_interval, .. } = settings;
    let policy = RetryPolicy {
        initial_interval_seconds: keys.value(initial_interval),
        backoff_coefficient: keys.value(&settings.backoff_coefficient),
        maximum_interval_seconds: keys.value(maximum_interval),
        maximum_attempts: keys.value(&settings.maximum_attempts),
    };
    let are_known = !keys.is_refused(initial_interval) && !keys.is_refused(maximum_interval);
    if are_known && policy.maximum_interval_seconds <= policy.initial_interval_seconds {
        keys.refuse(maximum_interval.path, "must be longer than initial_interval");
    }
    policy
}
