//! Pass: hands on its input, or what `Output` makes of it.

use super::leave::{Exit, Leave};
use crate::error::StateError;
use crate::scope::Visit;

pub(crate) fn enter(exit: &Exit, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
    exit.pass_on(visit)
}
