//! Lists of executions, and how many executions there are in each status.

use std::collections::BTreeMap;

use contracts::{Status, Timestamp, WorkflowKind};
use serde::{Deserialize, Serialize};

use crate::ExecutionRecord;

/// Which executions to list. All conditions hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFilter {
    /// Only these statuses; all if empty.
    pub statuses: Vec<Status>,
    /// Only this kind.
    pub kind: Option<WorkflowKind>,
    /// Only those that this user asked for.
    pub user_id: Option<String>,
    /// Only those accepted at this moment or later.
    pub started_after: Option<Timestamp>,
    /// Only those accepted before this moment, so that the windows of two lists can meet without an overlap.
    pub started_before: Option<Timestamp>,
}

impl ListFilter {
    /// Whether nothing narrows the list but kind and statuses, by which a store keeps totals.
    pub fn is_by_totals(&self) -> bool {
        self.user_id.is_none() && self.started_after.is_none() && self.started_before.is_none()
    }

    /// Whether executions of this status, as clients see it, are in the list.
    pub fn includes(&self, status: Status) -> bool {
        self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted.reported() == status.reported())
    }
}

/// A part of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPage {
    /// The rows.
    pub executions: Vec<ExecutionRecord>,
    /// How many match the filter in all; at least so many if the counts are not exact.
    pub total: u64,
    /// How many match the filter but for its statuses.
    pub counts: Counts,
    /// Where the next part begins, as only the store understands it; none at the end.
    pub next: Option<String>,
}

/// How many executions there are, by status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Every status that clients see.
    pub by_status: BTreeMap<Status, u64>,
    /// Whether they are exact. Counting ends at a bound of the store's; then there are at least so many.
    pub is_exact: bool,
}

impl Default for Counts {
    fn default() -> Self {
        let by_status = Status::ALL.into_iter().map(|status| (status.reported(), 0)).collect();
        Self { by_status, is_exact: true }
    }
}

impl Counts {
    /// Counts executions of a status as what clients see.
    pub fn add(&mut self, status: Status, executions: u64) {
        *self.by_status.entry(status.reported()).or_default() += executions;
    }

    /// How many the filter's statuses leave.
    pub fn total(&self, filter: &ListFilter) -> u64 {
        self.by_status.iter().filter(|(status, _)| filter.includes(**status)).map(|(_, executions)| executions).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_begun_counts_as_running() {
        let mut counts = Counts::default();
        counts.add(Status::Pending, 2);
        counts.add(Status::Running, 3);
        counts.add(Status::Failed, 4);
        assert_eq!(counts.by_status[&Status::Running], 5);
        assert!(!counts.by_status.contains_key(&Status::Pending), "clients do not see it");
        assert_eq!(counts.by_status[&Status::Completed], 0, "every status is there");
        let of = |statuses: &[Status]| ListFilter { statuses: statuses.to_vec(), ..ListFilter::default() };
        assert_eq!(counts.total(&of(&[])), 9);
        assert_eq!(counts.total(&of(&[Status::Running])), 5);
        assert_eq!(counts.total(&of(&[Status::Pending, Status::Running])), 5, "counted once");
        assert_eq!(counts.total(&of(&[Status::Failed, Status::Completed])), 4);
    }
}
