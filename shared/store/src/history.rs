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
    /// What of it cannot be read, in words, if anything; its details say so too.
    pub damage: Option<String>,
}

/// A part of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// The events.
    pub rows: Vec<HistoryRow>,
    /// How many match in all; at least so many if that is not exact.
    pub total: u64,
    /// Whether the total is exact.
    pub total_is_exact: bool,
    /// Where the next part begins, as only the store understands it; none at the end.
    pub next: Option<String>,
}

/// Histories. Of what is asked for by types, only events of these are read; all if there are none of them.
#[async_trait]
pub trait History: Send + Sync {
    /// Events of one execution in order, from where `after` says (a [`HistoryPage::next`], or the number of an event);
    /// none if the tenant has no such execution. The total is exact. The `input` of `WorkflowExecutionStarted` is the
    /// request as it is stored now.
    async fn events(
        &self,
        tenant_id: &str,
        id: &str,
        types: &[EventType],
        after: Option<&str>,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError>;

    /// The tenant's events over all its executions, newest first; those older than `before`. A page may be shorter than
    /// asked for where few events are of these types; the next part goes on behind what was looked at.
    async fn tenant_events(
        &self,
        tenant_id: &str,
        types: &[EventType],
        before: Option<&str>,
        limit: u32,
    ) -> Result<HistoryPage, StoreError>;
}
