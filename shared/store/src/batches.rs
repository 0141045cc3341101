//! What batches of a distributed Map add to how far their execution is: one rule for every store and for the journal.

use serde_json::{Map, Value};

use crate::StepRef;

/// Done and failed items in the report of a batch that counts its own.
const COMPLETED: &str = "completed";
const FAILED: &str = "failed";

/// What the end of an attempt changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchChange {
    /// So many more are done.
    pub completed: i64,
    /// So many more have failed, or fewer.
    pub failed: i64,
    /// Whether the batch has failed now, and no attempt has done it since.
    pub has_failed: bool,
}

impl BatchChange {
    /// Of an attempt that ended so; `had_failed` if an attempt before it failed, and none has done the batch since.
    ///
    /// A batch that reports counts once it is over, as what it reports: an attempt that failed is repeated, or the machine
    /// gives the batch up by a step of its own. Any other batch counts as one, and as failed from its first failure on.
    pub fn of(reports: bool, is_done: bool, report: Option<&Map<String, Value>>, had_failed: bool) -> Self {
        if reports {
            let count = |name: &str| report.and_then(|report| report.get(name)?.as_i64()).unwrap_or_default();
            return match is_done {
                true => Self { completed: count(COMPLETED), failed: count(FAILED), has_failed: false },
                false => Self::default(),
            };
        }
        Self {
            completed: i64::from(is_done),
            failed: i64::from(!is_done) - i64::from(had_failed),
            has_failed: !is_done,
        }
    }

    /// Whether it changes a count.
    pub fn is_counted(self) -> bool {
        (self.completed, self.failed) != (0, 0)
    }
}

impl StepRef {
    /// Whether it is a batch that may not begin any more, as so many items have failed.
    pub fn is_stopped(&self, failed: u64) -> bool {
        self.stops_at.is_some_and(|stops_at| failed >= stops_at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_batch_counts_as_one_or_as_what_it_reports() {
        let report = json!({ "completed": 97, "failed": 3 });
        let change = |reports, is_done, had_failed| {
            let BatchChange { completed, failed, has_failed } =
                BatchChange::of(reports, is_done, report.as_object(), had_failed);
            (completed, failed, has_failed)
        };
        assert_eq!(change(false, true, false), (1, 0, false));
        assert_eq!(change(false, true, true), (1, -1, false), "a later attempt has done it");
        assert_eq!(change(false, false, false), (0, 1, true));
        assert_eq!(change(false, false, true), (0, 0, true), "it has failed once, however often it is tried");
        assert_eq!(change(true, true, false), (97, 3, false));
        assert_eq!(change(true, false, false), (0, 0, false), "it is not over");
        assert!(!BatchChange::of(true, true, None, false).is_counted(), "nothing of it was done");
    }
}
