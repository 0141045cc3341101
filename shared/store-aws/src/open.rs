//! How many executions of a tenant are open, as far as this process knows.
//!
//! The totals tell, which are spread over shards. A condition of a start's transaction could see its own shard only, and a
//! counter that all starts of a tenant change would make them wait for each other. So each process reads the totals now and
//! then, and adds what it starts itself meanwhile: what others start and what ends it learns within seconds, and in that time
//! a tenant may pass its limit by what other processes start.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Instant;
use store::{Executions as _, Full, NewExecution, OpenCounts, StoreError};

use crate::DynamoStore;

/// How long a count is used before it is read again.
const COUNT_COUNTS: Duration = Duration::from_secs(5);

/// How many tenants' counts are remembered.
const MAX_TENANTS: usize = 10_000;

/// The counts of tenants.
#[derive(Default)]
pub(crate) struct Open(Mutex<HashMap<String, Count>>);

#[derive(Clone, Copy)]
struct Count {
    read_at: Instant,
    executions: u64,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, if it is not too old.
    fn known(&self, tenant_id: &str, now: Instant) -> Option<u64> {
        let count = self.lock().get(tenant_id).copied()?;
        (now.since(count.read_at) < COUNT_COUNTS).then_some(count.executions)
    }

    fn learn(&self, tenant_id: &str, executions: u64, read_at: Instant) {
        let mut counts = self.lock();
        if counts.len() >= MAX_TENANTS {
            counts.clear();
        }
        counts.insert(tenant_id.to_owned(), Count { read_at, executions });
    }

    /// Counts one that this process has started.
    pub(crate) fn add(&self, tenant_id: &str) {
        if let Some(count) = self.lock().get_mut(tenant_id) {
            count.executions += 1;
        }
    }
}

impl DynamoStore {
    /// Whether the tenant has too many open executions for one more.
    pub(crate) async fn full_of(&self, tenant_id: &str) -> Result<Option<Full>, StoreError> {
        if self.limits.of_tenant == u64::MAX {
            return Ok(None);
        }
        let now = self.clock.instant();
        let of_tenant = match self.open.known(tenant_id, now) {
            Some(known) => known,
            None => {
                let totals = self.totals(tenant_id).await?;
                let open = totals.into_iter().filter(|((_, status), _)| status.is_open());
                let open = open.map(|(_, executions)| executions).sum();
                self.open.learn(tenant_id, open, now);
                open
            }
        };
        // All tenants together have the quotas of the account.
        Ok(self.limits.refuse(OpenCounts { of_tenant, in_all: 0 }))
    }

    /// Why a start is refused, unless it repeats an earlier one.
    pub(crate) async fn refuse(&self, new: &NewExecution) -> Result<Option<Full>, StoreError> {
        if !new.is_limited() {
            return Ok(None);
        }
        let Some(full) = self.full_of(&new.tenant_id).await? else { return Ok(None) };
        if let Some(key) = &new.idempotency
            && self.has_started(&new.tenant_id, key).await?
        {
            return Ok(None);
        }
        if let Some(retry) = &new.retry_of
            && self.execution(&new.tenant_id, &retry.id).await?.is_some_and(|retried| retried.has("retried_as"))
        {
            return Ok(None);
        }
        Ok(Some(full))
    }
}

#[cfg(test)]
mod tests {
    use clock::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn a_count_is_used_for_seconds_and_grows_with_what_is_started() {
        let (open, beginning) = (Open::default(), SystemClock.instant());
        let at = |second| beginning + Duration::from_secs(second);
        open.add("a");
        assert_eq!(open.known("a", at(0)), None, "it has not been read");
        open.learn("a", 7, at(0));
        open.add("a");
        open.add("b");
        assert_eq!([open.known("a", at(4)), open.known("a", at(5)), open.known("b", at(0))], [Some(8), None, None]);
        open.learn("a", 3, at(5));
        assert_eq!(open.known("a", at(6)), Some(3));
    }
}
