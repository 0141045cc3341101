//! A function's settings: environment variables that the template sets, the same keys as the server's. Everything that is
//! missing or malformed is reported at once, when the function starts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use api::Access;
use contracts::{EngineKind, WorkflowKind};
use downstream::{Endpoints, Service};

/// The variables of the five base URLs, in the order of [`Service::ALL`].
const SERVICES: [(Service, &str); 5] = [
    (Service::Auth, "WORKFLOW__SERVICES__AUTH_SERVICE"),
    (Service::User, "WORKFLOW__SERVICES__USER_SERVICE"),
    (Service::Tenant, "WORKFLOW__SERVICES__TENANT_SERVICE"),
    (Service::File, "WORKFLOW__SERVICES__FILE_SERVICE"),
    (Service::Notifications, "WORKFLOW__SERVICES__API_GATEWAY"),
];

/// Reads variables, and remembers what was wrong with them.
pub struct Environment {
    variables: BTreeMap<String, String>,
    problems: Vec<String>,
}

/// Where a Temporal server is, and what lets us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporalServer {
    /// Its address.
    pub url: String,
    /// The namespace.
    pub namespace: String,
    /// Where workers look for work.
    pub task_queue: String,
    /// The ARN of the secret that is the API key; none if it wants none.
    pub api_key_secret: Option<String>,
}

/// Everything that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEnvironment(pub Vec<String>);

impl fmt::Display for InvalidEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment cannot be used: {}", self.0.join("; "))
    }
}

impl std::error::Error for InvalidEnvironment {}

impl Environment {
    /// The process's own.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process() -> Self {
        Self::new(std::env::vars())
    }

    /// These variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Self { variables, problems: Vec::new() }
    }

    /// A variable, if it is set.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A variable that must be set.
    pub fn required(&mut self, name: &str) -> String {
        match self.optional(name) {
            Some(value) => value.to_owned(),
            None => {
                self.problems.push(format!("{name} is missing"));
                String::new()
            }
        }
    }

    /// The name of the table.
    pub fn table(&mut self) -> String {
        self.required("WORKFLOW__STORE__TABLE")
    }

    /// The name of the bucket of archived executions.
    pub fn archive_bucket(&mut self) -> String {
        self.required("WORKFLOW__STORE__ARCHIVE_BUCKET")
    }

    /// How long an execution stays in the table after its end.
    pub fn retention(&mut self) -> Duration {
        const DAY: u64 = 24 * 3_600;
        Duration::from_secs(DAY * self.whole_number("WORKFLOW__STORE__RETENTION_DAYS", "days", 0))
    }

    /// How long an execution may take, pauses excluded.
    pub fn default_timeout(&mut self) -> Duration {
        Duration::from_secs(self.whole_number("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "seconds", 1))
    }

    fn whole_number(&mut self, name: &str, unit: &str, least: u64) -> u64 {
        let text = self.required(name);
        let number = text.parse::<u32>().ok().map(u64::from).filter(|number| *number >= least);
        if number.is_none() && !text.is_empty() {
            self.problems.push(format!("{name}: expected {unit}, got '{text}'"));
        }
        number.unwrap_or_default()
    }

    /// The services' base URLs.
    pub fn endpoints(&mut self) -> Endpoints {
        let urls = SERVICES.map(|(_, name)| self.required(name));
        Endpoints::new(urls.each_ref().map(String::as_str)).unwrap_or_else(|bad| {
            for (service, problem) in bad {
                let name = SERVICES[service as usize].1;
                if self.variables.contains_key(name) {
                    self.problems.push(format!("{name}: {problem}"));
                }
            }
            Endpoints::default()
        })
    }

    /// The ARNs of the state machines.
    pub fn state_machines(&mut self) -> BTreeMap<WorkflowKind, String> {
        let available = WorkflowKind::ALL.into_iter().filter(|kind| workflows::workflow(*kind).is_some());
        let mut machines = BTreeMap::new();
        for kind in available {
            let name = format!("WORKFLOW__ENGINE__{}", kind.as_str().to_uppercase());
            let arn = self.required(&name);
            if !(arn.is_empty() || arn.starts_with("arn:") && arn.contains(":stateMachine:")) {
                self.problems.push(format!("{name}: expected the ARN of a state machine, got '{arn}'"));
            }
            machines.insert(kind, arn);
        }
        machines
    }

    /// What new executions run on: Step Functions unless it is said otherwise.
    pub fn engine(&mut self) -> EngineKind {
        const KIND: &str = "WORKFLOW__ENGINE__KIND";
        let kind = self.optional(KIND).unwrap_or("stepfunctions").to_owned();
        match kind.parse() {
            Ok(engine @ (EngineKind::StepFunctions | EngineKind::Temporal)) => engine,
            _ => {
                self.problems.push(format!("{KIND}: expected 'stepfunctions' or 'temporal', got '{kind}'"));
                EngineKind::StepFunctions
            }
        }
    }

    /// The name of the function that has the client of Temporal; none where there is none.
    pub fn temporal_gateway(&self) -> Option<String> {
        self.optional("WORKFLOW__TEMPORAL__GATEWAY").map(str::to_owned)
    }

    /// The Temporal server.
    pub fn temporal_server(&mut self) -> TemporalServer {
        const URL: &str = "WORKFLOW__TEMPORAL__SERVER_URL";
        let url = self.required(URL);
        let is_address = |url: &http::Uri| url.scheme().is_some() && url.authority().is_some();
        if !(url.is_empty() || url.parse().as_ref().is_ok_and(is_address)) {
            self.problems.push(format!("{URL}: expected the URL of a server, got '{url}'"));
        }
        TemporalServer {
            url,
            namespace: self.required("WORKFLOW__TEMPORAL__NAMESPACE"),
            task_queue: self.required("WORKFLOW__TEMPORAL__TASK_QUEUE"),
            api_key_secret: self.optional("WORKFLOW__TEMPORAL__API_KEY_SECRET").map(str::to_owned),
        }
    }

    /// The names of the functions of all activities, by those of the activities.
    pub fn activity_functions(&mut self) -> BTreeMap<String, String> {
        let variable = |activity: &str| format!("WORKFLOW__TEMPORAL__FUNCTIONS__{}", activity.to_uppercase());
        let mut function = |activity: &str| self.required(&variable(activity));
        workflows::activities().into_iter().map(|activity| (activity.to_owned(), function(activity))).collect()
    }

    /// Who may call. Everybody only where the stage is `local`, which the template's parameter does not allow.
    pub fn access(&mut self) -> Access {
        const MODE: &str = "WORKFLOW__AUTH__MODE";
        match self.required(MODE).as_str() {
            "gateway" => Access::Gateway {
                tenants_claim: self.required("WORKFLOW__AUTH__TENANTS_CLAIM"),
                roles_claim: self.required("WORKFLOW__AUTH__ROLES_CLAIM"),
            },
            "off" if self.optional("STAGE") == Some("local") => Access::Open,
            "" => Access::Closed(String::new()),
            "off" => self.no_access(format!("{MODE}: 'off' is for STAGE=local only")),
            other => self.no_access(format!("{MODE}: expected 'gateway', got '{other}'")),
        }
    }

    fn no_access(&mut self, problem: String) -> Access {
        self.problems.push(problem);
        Access::Closed(String::new())
    }

    /// All is well, or everything that is not.
    pub fn finish(self) -> Result<(), InvalidEnvironment> {
        if self.problems.is_empty() { Ok(()) } else { Err(InvalidEnvironment(self.problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn everything_that_is_wrong_is_listed() {
        let mut environment = environment(&[
            ("WORKFLOW__SERVICES__AUTH_SERVICE", "http://auth.example.com"),
            ("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "soon"),
            ("WORKFLOW__STORE__RETENTION_DAYS", "-1"),
            ("WORKFLOW__ENGINE__USER_ONBOARDING", "UserOnboarding"),
            ("WORKFLOW__AUTH__MODE", "off"),
            ("STAGE", "prod"),
        ]);
        environment.table();
        environment.default_timeout();
        environment.archive_bucket();
        environment.retention();
        environment.endpoints();
        environment.state_machines();
        environment.access();
        let problems = environment.finish().expect_err("much is wrong").0;
        for name in [
            "WORKFLOW__STORE__TABLE is missing",
            "WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT: expected seconds",
            "WORKFLOW__STORE__ARCHIVE_BUCKET is missing",
            "WORKFLOW__STORE__RETENTION_DAYS: expected days",
            "WORKFLOW__SERVICES__AUTH_SERVICE: 'http://auth.example.com'",
            "WORKFLOW__SERVICES__USER_SERVICE is missing",
            "WORKFLOW__ENGINE__USER_ONBOARDING: expected the ARN",
            "WORKFLOW__AUTH__MODE: 'off' is for STAGE=local only",
        ] {
            assert!(problems.iter().any(|problem| problem.starts_with(name)), "{name} is missing in {problems:#?}");
        }
    }

    #[test]
    fn access_is_closed_unless_it_is_configured() {
        let mut local = environment(&[("WORKFLOW__AUTH__MODE", "off"), ("STAGE", "local")]);
        assert_eq!((local.access(), local.finish()), (Access::Open, Ok(())));
        let mut gateway = environment(&[
            ("WORKFLOW__AUTH__MODE", "gateway"),
            ("WORKFLOW__AUTH__TENANTS_CLAIM", "tenants"),
            ("WORKFLOW__AUTH__ROLES_CLAIM", "roles"),
        ]);
        assert!(matches!(gateway.access(), Access::Gateway { .. }));
        let mut nothing = environment(&[]);
        assert!(matches!(nothing.access(), Access::Closed(_)) && nothing.finish().is_err());
    }
}
