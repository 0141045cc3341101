//! What may be asked of a running execution, and when: one rule for every store.

use contracts::EventType;

use crate::ExecutionRecord;

/// What an operator asks of a running execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Stop before the next step, and undo what was done. Not once something has begun that nothing may interrupt. One that
    /// is held is released for it.
    Cancel,
    /// Hold it before its next step; while it is held its deadline stands still.
    Pause,
    /// Let a paused one go on.
    Resume,
}

/// What became of a control.
#[derive(Debug, Clone, PartialEq)]
pub enum Controlled {
    /// It holds, by this request or by an earlier one; the record says since when.
    Accepted(ExecutionRecord),
    /// The execution is in no state for it, and stays as it was.
    Refused(ExecutionRecord),
    /// No such execution of this tenant.
    NotFound,
}

/// What a control does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It changes the execution.
    Changes,
    /// It holds already: asking again is the same as asking once.
    Holds,
    /// The execution is in no state for it.
    Refused,
}

impl Control {
    /// Every control.
    pub const ALL: [Self; 3] = [Self::Cancel, Self::Pause, Self::Resume];

    /// What it does to an execution in this state.
    pub fn decide(self, record: &ExecutionRecord) -> Decision {
        if record.damage.is_some() {
            return Decision::Refused;
        }
        let (is_cancelled, is_paused) = (record.cancel_requested_at.is_some(), record.paused_at.is_some());
        let (holds, is_possible) = match self {
            Self::Cancel => (is_cancelled, record.window_open),
            Self::Pause => (is_paused, record.window_open && !is_cancelled),
            Self::Resume => (false, is_paused),
        };
        match (record.status.is_open(), holds, is_possible) {
            (true, true, _) => Decision::Holds,
            (true, false, true) => Decision::Changes,
            (false, _, _) | (true, false, false) => Decision::Refused,
        }
    }

    /// What the history says of a change; `was_paused` tells whether it was held before.
    pub fn event(self, was_paused: bool) -> Option<EventType> {
        match self {
            Self::Pause => Some(EventType::WorkflowExecutionPaused),
            Self::Resume => Some(EventType::WorkflowExecutionResumed),
            Self::Cancel => was_paused.then_some(EventType::WorkflowExecutionResumed),
        }
    }
}
