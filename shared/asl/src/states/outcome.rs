//! What comes of entering a state.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::leave::Leave;
use super::map::{Children, Iterations, MapPlan};
use super::task::FunctionCall;
use crate::error::StateError;

/// What becomes of a state that was entered.
pub(crate) enum StateOutcome {
    /// It is over.
    Leave(Leave),
    /// It waits until then.
    Wait(Timestamp),
    /// It wants a function called.
    Call(FunctionCall),
    /// Its branches begin with this.
    Branches(Arc<Value>),
    /// It goes through its items.
    Iterations(Iterations),
    /// It goes through its items, each an execution of its own.
    Children(Box<Children>),
    /// It failed.
    Failed(StateError),
}

impl StateOutcome {
    pub(crate) fn of_plan(plan: MapPlan) -> Self {
        match plan {
            MapPlan::Iterations(iterations) => Self::Iterations(iterations),
            MapPlan::Children(children) => Self::Children(children),
        }
    }

    pub(crate) fn of_leave(left: Result<Leave, StateError>) -> Self {
        left.map_or_else(Self::Failed, Self::Leave)
    }
}
