//! How long executions take, going by those of the past.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Instant, Timestamp};
use contracts::WorkflowKind;
use store::ExecutionRecord;

use crate::Api;

/// How long a mean is used before it is read again: it changes little, and reading it is a request to the store.
const MEAN_COUNTS: Duration = Duration::from_secs(600);

/// How long a start waits for it. It is read while the start is stored, and as a rule takes no longer.
const READING_TIME: Duration = Duration::from_millis(500);

/// From so many on, means that count no more are forgotten. There is none of a tenant without a completed execution.
const MAX_MEANS: usize = 10_000;

/// The mean durations of workflows, as far as they are known in this process.
#[derive(Default)]
pub struct Durations(Mutex<HashMap<(String, WorkflowKind), Mean>>);

#[derive(Clone, Copy)]
struct Mean {
    read_at: Instant,
    duration: Duration,
}

impl Mean {
    fn counts_at(self, now: Instant) -> bool {
        now.since(self.read_at) < MEAN_COUNTS
    }
}

impl Durations {
    /// The mean duration of the completed executions of this kind. None before the first, and if it cannot be read: no
    /// start depends on it.
    pub(crate) async fn mean(&self, api: &Api, tenant_id: &str, kind: WorkflowKind) -> Option<Duration> {
        let key = (tenant_id.to_owned(), kind);
        let now = api.clock.instant();
        let known = self.lock().get(&key).copied();
        if let Some(mean) = known.filter(|mean| mean.counts_at(now)) {
            return Some(mean.duration);
        }
        let reading = api.executions.mean_duration_ms(tenant_id, kind);
        let read = clock::timeout(&*api.clock, READING_TIME, reading).await?;
        let read = read.inspect_err(|error| tracing::warn!(%error, "it is not known how long executions take"));
        let duration = Duration::from_millis(read.ok()??);
        let mut means = self.lock();
        // Only what would be read again anyway: how fresh a tenant's mean is does not depend on how many other tenants start.
        if means.len() >= MAX_MEANS {
            means.retain(|_, mean| mean.counts_at(now));
        }
        means.insert(key, Mean { read_at: now, duration });
        Some(duration)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, WorkflowKind), Mean>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When it should be done, going by the mean of completed executions; never in the past.
pub(crate) fn estimate(api: &Api, record: &ExecutionRecord, mean_duration_ms: u64) -> Timestamp {
    let end = record.started_at.checked_add(Duration::from_millis(mean_duration_ms)).unwrap_or(Timestamp::MAX);
    end.max(api.clock.now())
}
