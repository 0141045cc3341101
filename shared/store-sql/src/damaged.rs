//! Executions whose records were found damaged when they were read.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::ExecutionRecord;

/// Ids that are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// Their ids, as far as they are remembered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Damaged(Arc<Mutex<BTreeSet<String>>>);

impl Damaged {
    /// Remembers a record that is damaged; forgets one that is not any more.
    pub(crate) fn note(&self, record: &ExecutionRecord) {
        let mut ids = self.lock();
        match &record.damage {
            None if ids.is_empty() => {}
            None => drop(ids.remove(&record.id)),
            Some(damage) => {
                if ids.len() < MAX_REMEMBERED && ids.insert(record.id.clone()) {
                    let (tenant_id, workflow_id, why) = (&record.tenant_id, &record.id, &damage.why);
                    tracing::error!(tenant_id, workflow_id, why, "a record is damaged");
                }
            }
        }
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
