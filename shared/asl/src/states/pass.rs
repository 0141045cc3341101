//! Pass: hands on its input, or what `Output` makes of it.

use crate::definition::State;
use crate::error::StateError;
use crate::execution::Visit;
use crate::states::{Leave, leave};

pub(crate) fn enter(state: &State, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
    let input = visit.input.clone();
    leave(visit, None, &state.assign, state.output.as_ref(), input, state.next.clone())
}
