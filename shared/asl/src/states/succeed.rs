//! Succeed: ends the machine well.

use crate::definition::State;
use crate::error::StateError;
use crate::execution::Visit;
use crate::states::{Leave, leave};

pub(crate) fn enter(state: &State, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
    let input = visit.input.clone();
    leave(visit, None, &[], state.output.as_ref(), input, None)
}
