//! The settings of a function: variables that the template sets for all of them alike. Nothing has a default, and each
//! function must have what it asks for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use contracts::access::Access;
use contracts::backup::BackupSchedule;
use contracts::{EngineKind, WorkflowKind};
use downstream::Endpoints;

use crate::aws::{Aws, aws};
use crate::declarations::{
    API_KEY_SECRET, AUTH_MODE, BACKUP_TENANTS, BACKUPS_EVERY, BACKUPS_KEEP_COUNT, BACKUPS_KEEP_DAYS, BUCKET,
    DEFAULT_TIMEOUT, FUNCTION_ENGINE, FUNCTION_PREFIX, FUNCTION_STORE, KMS_KEY, LOCAL_KEY_FILE, LONGEST_WAIT,
    NAMESPACE, NOTIFY, OPEN_EXECUTIONS_PER_TENANT, RETENTION_DAYS, ROLES_CLAIM, SERVICES, SIGNING_KEY,
    STATE_MACHINE_PREFIX, TABLE, TASK_QUEUE, TEMPORAL_URL, TENANTS_CLAIM,
};
use crate::keys::{Keys, Naming};
use crate::temporal::TemporalServer;
use crate::{InvalidSettings, access, services};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The function that has the client of Temporal.
const TEMPORAL_GATEWAY: &str = "temporal-gateway";

/// The stage in which stand-ins play AWS. The template's parameter does not allow it.
const LOCAL: &str = "local";

/// Where a function's keys are, by which backups are encrypted and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysPlace {
    /// In AWS KMS.
    Kms {
        /// `keys.kms_key`: the ARN of the symmetric key, which wraps data keys.
        wrapping_key: String,
        /// `keys.signing_key`: the ARN of the key that signs with Ed25519.
        signing_key: String,
    },
    /// `keys.file`: in a key file on this machine, where the stage is `local`: no stand-in for KMS signs with Ed25519.
    File(PathBuf),
}

/// Reads the settings of the process, which is a function.
///
/// # Errors
/// Everything that is wrong, by the variables' names: what `read` asks for and is not set, what is malformed or unknown
/// whether it asks for it or not.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn of_function<T>(read: impl FnOnce(&mut FunctionSettings) -> T) -> Result<T, InvalidSettings> {
    FunctionSettings::new(std::env::vars_os()).read(read)
}

/// The settings of a function, each of which is read once. What is missing or malformed reads as something empty, and is
/// reported in the end.
pub struct FunctionSettings {
    keys: Keys,
    /// What is no setting of ours.
    others: BTreeMap<String, String>,
}

impl FunctionSettings {
    /// From these variables; an empty one is not set.
    pub fn new<Text: Into<OsString>>(variables: impl IntoIterator<Item = (Text, Text)>) -> Self {
        let mut keys = Keys::new(Naming::Variable);
        let given = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let others = keys.add_environment(given.filter(|(_, value)| !value.is_empty()));
        Self { keys, others }
    }

    /// Reads them.
    ///
    /// # Errors
    /// As [`of_function`].
    pub fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> Result<T, InvalidSettings> {
        let wanted = read(&mut self);
        self.check_unread();
        self.keys.finish(|_| false)?;
        Ok(wanted)
    }

    /// What a function does not ask for is the same as in the others, so it is to be good as well.
    fn check_unread(&mut self) {
        let Self { keys, .. } = self;
        let text = [
            &STATE_MACHINE_PREFIX,
            &FUNCTION_PREFIX,
            &TEMPORAL_URL,
            &NAMESPACE,
            &TASK_QUEUE,
            &API_KEY_SECRET,
            &KMS_KEY,
            &SIGNING_KEY,
            &TABLE,
            &BUCKET,
            &AUTH_MODE,
            &TENANTS_CLAIM,
            &ROLES_CLAIM,
        ];
        for setting in text {
            keys.take(setting);
        }
        keys.take(&BACKUP_TENANTS);
        keys.take(&BACKUPS_EVERY);
        keys.take(&BACKUPS_KEEP_DAYS);
        keys.take(&BACKUPS_KEEP_COUNT);
        keys.take(&NOTIFY);
        keys.take(&FUNCTION_ENGINE);
        keys.take(&FUNCTION_STORE);
        keys.take(&RETENTION_DAYS);
        keys.take(&DEFAULT_TIMEOUT);
        keys.take(&OPEN_EXECUTIONS_PER_TENANT);
        keys.take(&LONGEST_WAIT);
        self.local_key_file();
        let Self { keys, .. } = self;
        let urls = SERVICES.each_ref().map(|setting| keys.take(setting).unwrap_or_default());
        services::endpoints(keys, &urls);
    }

    /// What Lambda says of AWS.
    pub fn aws(&mut self) -> Aws {
        let Self { keys, others } = self;
        aws(others, |name| keys.report(format!("{name}: is missing")))
    }

    /// `store.table`
    pub fn table(&mut self) -> String {
        self.keys.required(&FUNCTION_STORE);
        self.keys.required(&TABLE)
    }

    /// `store.bucket`
    pub fn bucket(&mut self) -> String {
        self.keys.required(&BUCKET)
    }

    /// `store.retention_days`: how long an execution stays in the table after its end.
    pub fn retention(&mut self) -> Duration {
        DAY * self.keys.required(&RETENTION_DAYS)
    }

    /// `backups.*`: backups that are made on their own, if there are tenants that have any.
    pub fn backup_schedule(&mut self) -> Option<BackupSchedule> {
        let tenants = self.keys.take(&BACKUP_TENANTS)?;
        Some(BackupSchedule {
            every: Duration::from_secs(self.keys.required(&BACKUPS_EVERY)),
            tenants,
            keep_days: self.keys.take(&BACKUPS_KEEP_DAYS),
            keep_count: self.keys.take(&BACKUPS_KEEP_COUNT),
        })
    }

    /// `compliance.notify`: who is told that the time for an answer to a person is nearly over, if somebody is.
    pub fn notify(&mut self) -> Option<String> {
        self.keys.take(&NOTIFY)
    }

    /// `workflows.default_timeout`: how long an execution may take, pauses excluded.
    pub fn default_timeout(&mut self) -> Duration {
        Duration::from_secs(self.keys.required(&DEFAULT_TIMEOUT))
    }

    /// `limits.open_executions_per_tenant`
    pub fn open_executions_per_tenant(&mut self) -> u64 {
        self.keys.required(&OPEN_EXECUTIONS_PER_TENANT).into()
    }

    /// `limits.longest_wait`: how long a request may wait for an end or for news.
    pub fn longest_wait(&mut self) -> Duration {
        Duration::from_secs(self.keys.required(&LONGEST_WAIT))
    }

    /// `services.*`
    pub fn endpoints(&mut self) -> Endpoints {
        let urls = SERVICES.each_ref().map(|setting| self.keys.required(setting));
        services::endpoints(&mut self.keys, &urls)
    }

    /// `engine.kind`: what new executions run on.
    pub fn engine(&mut self) -> EngineKind {
        self.keys.needed(&FUNCTION_ENGINE).unwrap_or(EngineKind::StepFunctions)
    }

    /// The ARNs of the state machines, which `engine.state_machine_prefix` begins. Those that are not deployed have one as
    /// well.
    pub fn state_machines(&mut self) -> BTreeMap<WorkflowKind, String> {
        let prefix = self.keys.required(&STATE_MACHINE_PREFIX);
        WorkflowKind::ALL
            .into_iter()
            .map(|kind| (kind, format!("{prefix}{}", kind.as_str().replace('_', "-"))))
            .collect()
    }

    /// `engine.function_prefix`: what the names of the deployment's functions begin with.
    pub fn function_prefix(&mut self) -> String {
        self.keys.required(&FUNCTION_PREFIX)
    }

    /// The name of the function that has the client of Temporal.
    pub fn temporal_gateway(&mut self) -> String {
        format!("{}{TEMPORAL_GATEWAY}", self.function_prefix())
    }

    /// `keys.*`: where the keys are by which backups are encrypted and signed.
    pub fn keys(&mut self) -> KeysPlace {
        match self.local_key_file() {
            Some(file) => KeysPlace::File(file),
            None => KeysPlace::Kms {
                wrapping_key: self.keys.required(&KMS_KEY),
                signing_key: self.keys.required(&SIGNING_KEY),
            },
        }
    }

    /// A file on the disk of a deployed function is lost with it, and with it every backup.
    fn local_key_file(&mut self) -> Option<PathBuf> {
        let file = self.keys.take(&LOCAL_KEY_FILE)?;
        if self.others.get("STAGE").is_some_and(|stage| stage == LOCAL) {
            return Some(file.into());
        }
        self.keys.refuse(LOCAL_KEY_FILE.path, "is for STAGE=local only");
        None
    }

    /// Whether there is a Temporal server.
    pub fn has_temporal(&self) -> bool {
        self.keys.has(&TEMPORAL_URL)
    }

    /// `temporal.server_url`, `temporal.namespace`, `temporal.api_key_secret`
    pub fn temporal_server(&mut self) -> TemporalServer {
        TemporalServer {
            url: Some(self.keys.required(&TEMPORAL_URL)),
            namespace: Some(self.keys.required(&NAMESPACE)),
            identity: None,
            api_key_secret: self.keys.take(&API_KEY_SECRET),
        }
    }

    /// `temporal.task_queue`: where workers look for work.
    pub fn task_queue(&mut self) -> String {
        self.keys.required(&TASK_QUEUE)
    }

    /// `auth.*`: who may call. Everybody only where `STAGE` is `local`.
    pub fn access(&mut self) -> Access {
        access::of_function(&mut self.keys, self.others.get("STAGE").map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> FunctionSettings {
        FunctionSettings::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn problems<T>(read: Result<T, InvalidSettings>) -> String {
        read.map(drop).expect_err("something is wrong").to_string()
    }

    const ON_THIS_MACHINE: [(&str, &str); 2] = [("WORKFLOW__AUTH__MODE", "off"), ("STAGE", "local")];

    #[test]
    fn everything_that_is_wrong_is_listed() {
        let settings = settings(&[
            ("WORKFLOW__SERVICES__AUTH_SERVICE", "http://auth.example.com"),
            ("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "soon"),
            ("WORKFLOW__STORE__RETENTION_DAYS", "-1"),
            ("WORKFLOW__ENGINE__STATE_MACHINE_PREFIX", "stack-"),
            ("WORKFLOW__STORE__BUCKET", ""),
            ("WORKFLOW__AUTH__MODE", "off"),
            ("STAGE", "prod"),
        ]);
        let listed = problems(settings.read(|settings| {
            settings.aws();
            settings.table();
            settings.default_timeout();
            settings.open_executions_per_tenant();
            settings.longest_wait();
            settings.bucket();
            settings.retention();
            settings.endpoints();
            settings.engine();
            settings.state_machines();
            settings.function_prefix();
            settings.keys();
            settings.access();
        }));
        for problem in [
            "AWS_REGION: is missing",
            "AWS_ACCESS_KEY_ID: is missing",
            "AWS_SECRET_ACCESS_KEY: is missing",
            "WORKFLOW__STORE__KIND: is missing, expected 'dynamodb'",
            "WORKFLOW__STORE__TABLE: is missing",
            "WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT: expected whole seconds",
            "WORKFLOW__LIMITS__OPEN_EXECUTIONS_PER_TENANT: is missing, expected 1 or more",
            "WORKFLOW__LIMITS__LONGEST_WAIT: is missing, expected whole seconds",
            "WORKFLOW__STORE__BUCKET: is missing",
            "WORKFLOW__STORE__RETENTION_DAYS: expected days",
            "WORKFLOW__SERVICES__AUTH_SERVICE: 'http://auth.example.com'",
            "WORKFLOW__SERVICES__USER_SERVICE: is missing",
            "WORKFLOW__ENGINE__KIND: is missing",
            "WORKFLOW__ENGINE__STATE_MACHINE_PREFIX: expected what the ARNs",
            "WORKFLOW__ENGINE__FUNCTION_PREFIX: is missing",
            "WORKFLOW__KEYS__KMS_KEY: is missing, expected the ARN of a key",
            "WORKFLOW__KEYS__SIGNING_KEY: is missing, expected the ARN of a key",
            "WORKFLOW__AUTH__MODE: 'off' is for STAGE=local only",
        ] {
            assert!(listed.contains(&format!("\n  {problem}")), "{problem} is missing in {listed}");
        }
    }

    #[test]
    fn what_is_not_asked_for_may_be_missing_but_not_wrong() {
        assert_eq!(settings(&ON_THIS_MACHINE).read(FunctionSettings::access), Ok(Access::Open));
        let odd = [
            ("WORKFLOW__STORE__KIND", "sqlite"),
            ("WORKFLOW__STORE__RETENTION_DAYS", "many"),
            ("WORKFLOW__LIMITS__LONGEST_WAIT", "0"),
            ("WORKFLOW__SERVICES__FILE_SERVICE", "ftp://files"),
            ("WORKFLOW__TEMPORAL__SERVER_URL", "temporal"),
            ("WORKFLOW__KEYS__SIGNING_KEY", "alias/signing"),
            ("WORKFLOW__STORE__ARCHIVE_BUCKET", "bucket"),
        ];
        let listed = problems(settings(&[&ON_THIS_MACHINE[..], &odd].concat()).read(FunctionSettings::access));
        for (name, problem) in odd.map(|(name, _)| name).into_iter().zip([
            "expected 'dynamodb'",
            "expected days",
            "expected whole seconds",
            "'ftp://files' has neither",
            "expected the URL of a server",
            "expected the ARN of a key",
            "there is no such setting",
        ]) {
            assert!(listed.contains(&format!("{name}: {problem}")), "{name}: {problem} is missing in {listed}");
        }
        assert_eq!(listed.lines().count(), 1 + odd.len(), "{listed}");
    }

    #[test]
    fn access_is_closed_unless_it_is_configured() {
        let gateway = settings(&[
            ("WORKFLOW__AUTH__MODE", "gateway"),
            ("WORKFLOW__AUTH__TENANTS_CLAIM", "tenants"),
            ("WORKFLOW__AUTH__ROLES_CLAIM", "roles"),
        ]);
        assert!(matches!(gateway.read(FunctionSettings::access), Ok(Access::Gateway { .. })));
        assert!(settings(&[]).read(FunctionSettings::access).is_err());
        let unnamed = problems(settings(&[("WORKFLOW__AUTH__MODE", "gateway")]).read(FunctionSettings::access));
        assert!(unnamed.contains("WORKFLOW__AUTH__TENANTS_CLAIM: is missing"), "{unnamed}");
    }

    #[test]
    fn keys_are_in_kms_unless_the_stage_is_local() {
        let [wrapping_key, signing_key] = ["one", "two"].map(|id| format!("arn:aws:kms:eu-central-1:1234:key/{id}"));
        let in_kms = [("WORKFLOW__KEYS__KMS_KEY", &*wrapping_key), ("WORKFLOW__KEYS__SIGNING_KEY", &signing_key)];
        let read = |variables: &[(&str, &str)]| settings(variables).read(FunctionSettings::keys);
        let kms = KeysPlace::Kms { wrapping_key: wrapping_key.clone(), signing_key: signing_key.clone() };
        assert_eq!(read(&in_kms), Ok(kms));
        let in_file = ("WORKFLOW__KEYS__FILE", "/keys.json");
        assert_eq!(read(&[in_file, ("STAGE", "local")]), Ok(KeysPlace::File("/keys.json".into())));
        for stage in [&[][..], &[("STAGE", "dev")]] {
            let given = [&in_kms[..], &[in_file], stage].concat();
            assert!(problems(read(&given)).ends_with("\n  WORKFLOW__KEYS__FILE: is for STAGE=local only"));
            let unread = problems(settings(&given).read(|_| ()));
            assert!(unread.ends_with("\n  WORKFLOW__KEYS__FILE: is for STAGE=local only"), "{unread}");
        }
    }

    #[test]
    fn machines_and_functions_are_named_by_their_prefixes() {
        let given = [
            ("WORKFLOW__ENGINE__STATE_MACHINE_PREFIX", "arn:aws:states:eu-central-1:123456789012:stateMachine:stack-"),
            ("WORKFLOW__ENGINE__FUNCTION_PREFIX", "stack-"),
        ];
        let (machines, gateway) =
            settings(&given).read(|settings| (settings.state_machines(), settings.temporal_gateway())).expect("good");
        assert_eq!(
            machines[&WorkflowKind::UserOnboarding],
            "arn:aws:states:eu-central-1:123456789012:stateMachine:stack-user-onboarding"
        );
        assert_eq!((machines.len(), gateway.as_str()), (WorkflowKind::ALL.len(), "stack-temporal-gateway"));
    }
}
