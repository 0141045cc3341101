//! Pass: hands on its input, or what `Output` makes of it.

use crate::definition::State;
use crate::error::StateError;
use crate::scope::Visit;
use crate::states::{Leave, pass_on};

pub(crate) fn enter(state: &State, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
    pass_on(state, visit)
}
