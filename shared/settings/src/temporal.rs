//! What Temporal is to a process.

use crate::declarations::{
    FUNCTION_PREFIX, HAS_ACTIVITIES_IN_FUNCTIONS, NAMESPACE, TASK_QUEUE, TEMPORAL_ADDRESS, WORKER_ACTIVITIES,
    WORKER_IDENTITY, WORKER_WORKFLOWS,
};
use crate::keys::Keys;

/// What Temporal is to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temporal {
    /// `temporal.server_url`, `temporal.namespace`, `temporal.worker_identity`
    pub server: TemporalServer,
    /// `temporal.task_queue`
    pub task_queue: String,
    /// `temporal.max_concurrent_activities`
    pub max_concurrent_activities: usize,
    /// `temporal.max_concurrent_workflows`
    pub max_concurrent_workflows: usize,
    /// `temporal.activities`, and what it needs
    pub activities: ActivityPlace,
}

/// Where a Temporal server is, and what lets us in. What is not set is as Temporal's own variables have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemporalServer {
    /// Its address.
    pub url: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// What the server shows of who asks.
    pub identity: Option<String>,
    /// The ARN of the secret that is the API key; none if it wants none.
    pub api_key_secret: Option<String>,
}

/// Where a worker's activities run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActivityPlace {
    /// In the worker.
    InProcess,
    /// In the deployment's functions.
    InFunctions {
        /// `engine.function_prefix`: what their names begin with.
        prefix: String,
    },
}

pub(crate) fn temporal(keys: &mut Keys) -> Temporal {
    let server = TemporalServer {
        url: keys.take(&TEMPORAL_ADDRESS),
        namespace: keys.take(&NAMESPACE),
        identity: keys.take(&WORKER_IDENTITY),
        api_key_secret: None,
    };
    Temporal {
        server,
        task_queue: keys.value(&TASK_QUEUE),
        max_concurrent_activities: keys.value(&WORKER_ACTIVITIES) as usize,
        max_concurrent_workflows: keys.value(&WORKER_WORKFLOWS) as usize,
        activities: activities(keys),
    }
}

fn activities(keys: &mut Keys) -> ActivityPlace {
    if keys.value(&HAS_ACTIVITIES_IN_FUNCTIONS) {
        return ActivityPlace::InFunctions { prefix: keys.required(&FUNCTION_PREFIX) };
    }
    keys.refuse_without(&FUNCTION_PREFIX, "temporal.activities = 'lambda'");
    ActivityPlace::InProcess
}
