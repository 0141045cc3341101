//! Succeed: ends the machine well.

use super::leave::{Exit, Leave};
use crate::error::StateError;
use crate::scope::Visit;

/// A Succeed state has neither `Assign` nor `Next`.
pub(crate) fn enter(exit: &Exit, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
    exit.pass_on(visit)
}
