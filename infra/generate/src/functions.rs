//! Every function of the deployment.

use std::collections::BTreeSet;

use anyhow::ensure;
use api::Endpoint;

use crate::grants::Port;
use crate::machines;
use crate::text::pascal;

/// Below the 30 s that API Gateway gives.
const ENDPOINT_TIMEOUT: u32 = 29;

/// Lambda takes 64 characters, of which the stack's name and a hyphen may be 32.
const MAX_NAME_CHARS: usize = 32;

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    /// E.g. `create-user-account`; also its binary.
    pub(crate) name: String,
    pub(crate) package: Package,
    /// What calls it: the first line of its source.
    pub(crate) called_by: String,
    /// What its `main` awaits.
    pub(crate) serve: String,
    pub(crate) description: String,
    /// In seconds.
    pub(crate) timeout: u32,
    /// In MB, if it needs other than most.
    pub(crate) memory: Option<u32>,
    /// The template's condition under which it exists.
    pub(crate) condition: Option<&'static str>,
    pub(crate) source: Source,
    pub(crate) ports: Vec<Port>,
}

/// The package below `functions/` that holds its binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Package {
    Endpoints,
    Activities,
    Events,
}

/// What starts a function.
#[derive(Debug)]
pub(crate) enum Source {
    /// A request to the API.
    Route(&'static Endpoint),
    /// Somebody who waits for its answer.
    Caller,
    /// The end of an execution on Step Functions.
    StatusChange { max_age_seconds: u32, retries: u32 },
    /// The clock; what fails is left to the next time.
    Schedule { every: &'static str, window_minutes: Option<u32>, max_age_seconds: u32 },
}

impl Package {
    pub(crate) const ALL: [Self; 3] = [Self::Endpoints, Self::Activities, Self::Events];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoint-lambdas",
            Self::Activities => "activity-lambdas",
            Self::Events => "event-lambdas",
        }
    }

    /// The name of its library.
    pub(crate) fn library(self) -> String {
        self.name().replace('-', "_")
    }
}

impl Function {
    /// The begin of its resources' names, e.g. `CreateUserAccount`.
    pub(crate) fn id(&self) -> String {
        pascal(&self.name)
    }

    /// Whether it is told where the installation's keys are.
    pub(crate) fn has_keys(&self) -> bool {
        self.ports.iter().any(|port| matches!(port, Port::Keys))
    }

    /// Whether it is told which backups are made on their own.
    pub(crate) fn has_backup_schedule(&self) -> bool {
        self.ports.iter().any(|port| matches!(port, Port::KeptBackups))
    }

    /// Whether it is told whom to tell of requests that are due.
    pub(crate) fn has_notify(&self) -> bool {
        self.ports.iter().any(|port| matches!(port, Port::Notices))
    }

    /// Whether nobody waits for its answer.
    pub(crate) fn is_started_by_events(&self) -> bool {
        matches!(self.source, Source::StatusChange { .. } | Source::Schedule { .. })
    }
}

/// All functions, in the order of the template.
pub(crate) fn all(events: impl IntoIterator<Item = Function>) -> anyhow::Result<Vec<Function>> {
    let endpoints = api::ENDPOINTS.iter().map(endpoint);
    let activities = activities::ALL.iter().map(|activity| self::activity(activity));
    let functions: Vec<Function> = endpoints.chain(activities).chain(events).collect();
    let mut names = BTreeSet::new();
    for Function { name, .. } in &functions {
        ensure!(
            names.insert(name),
            "two functions have the name {name}: an endpoint, activity or event is listed twice"
        );
        ensure!(name.len() <= MAX_NAME_CHARS, "{name} has more than {MAX_NAME_CHARS} characters");
    }
    Ok(functions)
}

fn endpoint(endpoint: &'static Endpoint) -> Function {
    let module = endpoint.name.replace('-', "_");
    let route = format!("{} {}", endpoint.method, endpoint.path);
    let denies = endpoint.needs_token().then_some(Port::Denials);
    Function {
        name: endpoint.name.to_owned(),
        package: Package::Endpoints,
        called_by: route.clone(),
        serve: format!("{}(api::{module}::route())", endpoint.served_by()),
        description: route,
        timeout: ENDPOINT_TIMEOUT,
        memory: None,
        condition: None,
        source: Source::Route(endpoint),
        ports: endpoint.ports.iter().copied().map(Port::Endpoint).chain(denies).collect(),
    }
}

pub(crate) fn activity(activity: &'static activities::Activity) -> Function {
    let (name, function) = (activity.name, &activity.function);
    let serve = if function.keys { "serve_with_keys" } else { "serve" };
    let keys = function.keys.then_some(Port::Keys);
    let steps = if machines::does_batches(name) { Port::Batches } else { Port::Steps };
    Function {
        name: name.replace('_', "-"),
        package: Package::Activities,
        called_by: format!("The activity `{name}`."),
        serve: format!("{}(&activities::{})", serve, name.to_uppercase()),
        description: format!("The activity {name}"),
        timeout: function.timeout_seconds,
        memory: function.memory_mb,
        condition: None,
        source: Source::Caller,
        ports: [steps, Port::Files(function)].into_iter().chain(keys).collect(),
    }
}
