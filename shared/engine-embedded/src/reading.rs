//! Reading what the journal holds of an execution: with patience, in turns, and never much of it at a time.

use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, SharedClock};
use store::{Journal, JournalRecord, JournalledExecution, MAX_RECORDS_READ, RecordSelection, StoreError};

use crate::fair_queue::FairQueue;

/// Reads at once: thousands of them after a restart would only starve other readers.
const MAX_CONCURRENT_READS: usize = 2;

/// Reads the journal.
#[derive(Clone)]
pub(crate) struct Reading {
    journal: Arc<dyn Journal>,
    clock: SharedClock,
    turns: FairQueue,
}

impl Reading {
    pub(crate) fn new(journal: Arc<dyn Journal>, clock: SharedClock) -> Self {
        Self { journal, turns: FairQueue::new(MAX_CONCURRENT_READS, Arc::clone(&clock)), clock }
    }

    /// Reads the execution, as soon as it can be read.
    pub(crate) async fn load(&self, tenant_id: &str, id: &str) -> Result<JournalledExecution, StoreError> {
        let loaded = self.patiently(tenant_id, id, || self.journal.load(tenant_id, id)).await?;
        loaded.ok_or_else(|| StoreError::Inconsistent(format!("{id} is not stored")))
    }

    /// All records from the first one on.
    pub(crate) fn records<'a>(&'a self, tenant_id: &'a str, id: &'a str) -> Records<'a> {
        Records { reading: self, tenant_id, id, last: 0, is_done: false }
    }

    /// Some records, as soon as they can be read.
    pub(crate) async fn some(
        &self,
        tenant_id: &str,
        id: &str,
        selection: RecordSelection,
    ) -> Result<Vec<(u64, JournalRecord)>, StoreError> {
        self.patiently(tenant_id, id, || self.journal.records(tenant_id, id, selection.clone())).await
    }

    /// The clock by which it waits.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    async fn patiently<T, F>(&self, tenant_id: &str, id: &str, read: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = Duration::from_secs(1);
        loop {
            let turn = self.turns.acquire(tenant_id).await;
            let found = read().await;
            drop(turn);
            let Err(StoreError::Unavailable(reason)) = found else { return found };
            tracing::warn!(workflow_id = id, reason, "the journal cannot be read, trying again");
            clock::sleep(&*self.clock, pause).await;
            pause = (pause * 2).min(Duration::from_secs(30));
        }
    }
}

/// The records of one execution, part by part.
pub(crate) struct Records<'a> {
    reading: &'a Reading,
    tenant_id: &'a str,
    id: &'a str,
    last: u64,
    is_done: bool,
}

impl Records<'_> {
    /// The next ones; none once all have been read.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(u64, JournalRecord)>>, StoreError> {
        if self.is_done {
            return Ok(None);
        }
        let found = self.reading.some(self.tenant_id, self.id, RecordSelection::After(self.last)).await?;
        self.last = found.last().map_or(self.last, |(number, _)| *number);
        self.is_done = found.len() < MAX_RECORDS_READ;
        Ok(Some(found))
    }
}
