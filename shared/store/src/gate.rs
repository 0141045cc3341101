//! Whether a step may begin: one rule for every store and for the journal.

use contracts::step::StepKind;
use contracts::{ErrorName, Timestamp};
use serde_json::Value;

/// What an execution's record says about interrupting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExecutionFlags {
    /// It has ended.
    pub has_ended: bool,
    /// A cancel was accepted.
    pub is_cancelled: bool,
    /// Somebody paused it.
    pub is_paused: bool,
    /// When it times out.
    pub deadline_at: Option<Timestamp>,
    /// A step has begun that nothing may interrupt: what follows goes on to the end.
    pub pivot_begun: bool,
}

/// What the record of attempts says about a step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepFlags<'a> {
    /// Its result, once it is done.
    pub done: Option<&'a Value>,
    /// Whether it is being undone: nothing of it begins any more.
    pub is_closed: bool,
    /// Whether it is answered from the record of an earlier execution where a cancel or the deadline would hold it back,
    /// see [`Inherited::passes`](crate::Inherited::passes).
    pub passes: bool,
    /// Whether it is a batch, and so many items have failed that none begins any more.
    pub is_stopped: bool,
}

/// Why a step may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody cancelled.
    Cancelled,
    /// Somebody paused.
    Paused,
    /// The deadline has passed.
    TimedOut,
    /// Too many items have failed.
    Stopped,
}

impl Refusal {
    /// The error that the state machine sees.
    pub fn error_name(self) -> ErrorName {
        match self {
            Self::Cancelled => ErrorName::WorkflowCancelled,
            Self::Paused => ErrorName::WorkflowPaused,
            Self::TimedOut => ErrorName::WorkflowTimedOut,
            Self::Stopped => ErrorName::BatchesStopped,
        }
    }

    /// For people.
    pub fn message(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled before this step",
            Self::Paused => "paused before this step",
            Self::TimedOut => "the deadline had passed before this step",
            Self::Stopped => "too many items had failed before this batch",
        }
    }
}

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Admission<'a> {
    /// Go ahead.
    Proceed,
    /// Go ahead, but only with an answer from the record of an earlier execution: the execution is to be undone, and what
    /// may still stand behind this step must be reached.
    Pass,
    /// It is done: this was its result.
    AlreadyDone(&'a Value),
    /// Not now, or not any more.
    Refused(Refusal),
    /// Too late: the step is being undone, or the execution has ended.
    Closed,
}

/// Whether a step may begin now. Undoing is never held back, and nothing is once a pivot has begun.
pub fn admit<'a>(execution: &ExecutionFlags, step: StepFlags<'a>, kind: StepKind, now: Timestamp) -> Admission<'a> {
    let is_late = execution.deadline_at.is_some_and(|deadline| deadline < now);
    match kind {
        _ if execution.has_ended => Admission::Closed,
        StepKind::Compensation => Admission::Proceed,
        StepKind::Forward => match step.done {
            _ if step.is_closed => Admission::Closed,
            Some(result) => Admission::AlreadyDone(result),
            None if execution.pivot_begun => Admission::Proceed,
            None if execution.is_cancelled && step.passes => Admission::Pass,
            None if execution.is_cancelled => Admission::Refused(Refusal::Cancelled),
            None if step.is_stopped => Admission::Refused(Refusal::Stopped),
            // Before the deadline, which stands still meanwhile.
            None if execution.is_paused => Admission::Refused(Refusal::Paused),
            None if is_late && step.passes => Admission::Pass,
            None if is_late => Admission::Refused(Refusal::TimedOut),
            None => Admission::Proceed,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_flag_has_its_place_in_the_order() {
        let now = Timestamp::UNIX_EPOCH;
        let result = json!({ "n": 1 });
        let late = now.checked_sub(std::time::Duration::from_secs(1)).ok();
        let all =
            ExecutionFlags { is_cancelled: true, is_paused: true, deadline_at: late, ..ExecutionFlags::default() };
        let open = StepFlags::default();
        let forward = |execution: ExecutionFlags, step| admit(&execution, step, StepKind::Forward, now);
        assert_eq!(forward(all, open), Admission::Refused(Refusal::Cancelled));
        let held = ExecutionFlags { is_cancelled: false, ..all };
        assert_eq!(forward(held, open), Admission::Refused(Refusal::Paused));
        let stopped = StepFlags { is_stopped: true, ..open };
        assert_eq!(forward(all, stopped), Admission::Refused(Refusal::Cancelled));
        assert_eq!(forward(held, stopped), Admission::Refused(Refusal::Stopped), "it need not wait for a pause");
        let released = ExecutionFlags { is_paused: false, ..held };
        assert_eq!(forward(released, open), Admission::Refused(Refusal::TimedOut));
        let on_time = ExecutionFlags { deadline_at: Some(now), ..released };
        assert_eq!(forward(on_time, open), Admission::Proceed, "the deadline itself is in time");
        assert_eq!(forward(ExecutionFlags { pivot_begun: true, ..all }, open), Admission::Proceed);
        let passing = StepFlags { passes: true, ..open };
        assert_eq!(forward(all, passing), Admission::Pass);
        assert_eq!(forward(released, passing), Admission::Pass, "past the deadline too");
        assert_eq!(forward(held, passing), Admission::Refused(Refusal::Paused), "it waits, as all others do");
        let only_held = ExecutionFlags { deadline_at: None, ..held };
        assert_eq!(forward(only_held, passing), Admission::Refused(Refusal::Paused), "without a deadline too");
        assert_eq!(forward(on_time, passing), Admission::Proceed);
        let done = StepFlags { done: Some(&result), ..open };
        assert_eq!(forward(all, done), Admission::AlreadyDone(&result), "whatever was asked for since");
        assert_eq!(forward(all, StepFlags { is_closed: true, ..done }), Admission::Closed, "it is being undone");
        let undo = |execution: ExecutionFlags| admit(&execution, done, StepKind::Compensation, now);
        assert_eq!(undo(all), Admission::Proceed);
        let ended = ExecutionFlags { has_ended: true, ..all };
        assert_eq!((undo(ended), forward(ended, done)), (Admission::Closed, Admission::Closed));
    }
}
