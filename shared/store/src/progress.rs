//! How far an execution is: one count for every engine.

use contracts::Status;
use serde::{Deserialize, Serialize};

use crate::End;

/// How far an execution is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The step under way, or last begun.
    pub current_step: String,
    /// Steps that it has.
    pub total_steps: u32,
    /// Steps done, skipped or tolerated; never decreases.
    pub completed_steps: u32,
    /// For people.
    pub status_message: Option<String>,
}

/// What counting needs to know of a step. Moments are numbers that grow, such as the length of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepMoments {
    /// It is done, or was skipped.
    pub is_done: bool,
    /// When its undoing began.
    pub closed_at: Option<u64>,
}

/// How many of these steps are over: those that are done, and those that failed and were undone while the execution went
/// on without them. `forward_at` is when a forward step began last.
pub fn completed_steps(steps: impl IntoIterator<Item = StepMoments>, forward_at: u64) -> u32 {
    let is_tolerated = |step: &StepMoments| step.closed_at.is_some_and(|closed_at| closed_at < forward_at);
    steps.into_iter().filter(|step| step.is_done || is_tolerated(step)).count() as u32
}

impl Progress {
    /// The progress of an execution that has ended.
    pub fn at_the_end(self, end: &End) -> Self {
        let completed = end.status == Status::Completed;
        let message = end.failure.as_ref().map_or_else(|| "Done".to_owned(), contracts::responses::Failure::summary);
        Self {
            completed_steps: if completed { self.total_steps } else { self.completed_steps },
            status_message: Some(message),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_failed_counts_once_the_execution_goes_on_without_it() {
        let done = StepMoments { is_done: true, closed_at: None };
        let failed = StepMoments { is_done: false, closed_at: Some(9) };
        let open = StepMoments { is_done: false, closed_at: None };
        assert_eq!(completed_steps([done, failed, open], 7), 1, "all is being undone, as far as anybody knows");
        assert_eq!(completed_steps([done, failed, open], 10), 2);
        let undone = StepMoments { is_done: true, closed_at: Some(9) };
        assert_eq!(completed_steps([undone, undone], 7), 2, "it never decreases");
    }
}
