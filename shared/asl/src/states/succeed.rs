//! Succeed: ends the machine well.

use crate::definition::State;
use crate::error::StateError;
use crate::scope::Visit;
use crate::states::{Leave, pass_on};

/// A Succeed state has neither `Assign` nor `Next`.
pub(crate) fn enter(state: &State, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
    pass_on(state, visit)
}
