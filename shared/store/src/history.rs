//! What users read.

use async_trait::async_trait;
use contracts::{Event, EventType, Timestamp};
use serde_json::Value;

use crate::StoreError;

/// An event to append; its id is the next one of its execution.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub event_type: EventType,
    /// When.
    pub at: Timestamp,
    /// The details.
    pub details: Value,
}

/// An event and its execution.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRow {
    /// The execution.
    pub execution_id: String,
    /// The event.
    pub event: Event,
}

/// A part of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// The events.
    pub rows: Vec<HistoryRow>,
    /// How many there are in all.
    pub total: u64,
    /// Where the next part begins, as only the store understands it; none at the end.
    pub next: Option<String>,
}

/// Histories.
#[async_trait]
pub trait History: Send + Sync {
    /// Events of one execution in order, from where `after` says; none if the tenant has no such execution.
    /// The `input` of `WorkflowExecutionStarted` is the request as it is stored now.
    async fn events(
        &self,
        tenant_id: &str,
        id: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError>;

    /// The tenant's events over all its executions, newest first; those older than `before`. Where a store cannot count
    /// the events of open executions, as there are too many of these, `total` counts one event of each.
    async fn tenant_events(&self, tenant_id: &str, before: Option<&str>, limit: u32)
    -> Result<HistoryPage, StoreError>;
}
