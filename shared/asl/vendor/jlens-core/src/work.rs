//! The work of an evaluation, counted beside its steps: what a step costs that is not a step
//! itself, such as the items a built-in function visits or the text it builds.
//!
//! The count belongs to the thread, since the walks over values do not know the evaluation. A
//! walk that finds nothing left stops where it is; the evaluation then fails at its next step, or
//! at its end, whatever the walk gave.

use std::cell::Cell;

use crate::error::{Error, Result};
use crate::value::Value;

/// Bytes of text that count as one.
const BYTES: usize = 32;

/// What 1,024 steps of a regular expression's backtracking count as.
pub(crate) const POLL: usize = 256;

thread_local! {
    static LIMIT: Cell<u64> = const { Cell::new(u64::MAX) };
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// The budget of one evaluation. The one of an evaluation around it is put back when this one
/// ends.
pub(crate) struct Budget {
    limit: u64,
    left: u64,
}

impl Budget {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        Budget {
            limit: LIMIT.replace(limit),
            left: LEFT.replace(limit),
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        LIMIT.set(self.limit);
        LEFT.set(self.left);
    }
}

/// Spends `units`; whether there were as many. Otherwise none is left.
#[inline]
pub(crate) fn spend(units: usize) -> bool {
    let left = LEFT.get().saturating_sub(units as u64);
    LEFT.set(left);
    left > 0
}

/// Fails with `U1006` once nothing is left.
#[inline]
pub(crate) fn check() -> Result<()> {
    if LEFT.get() > 0 { Ok(()) } else { Err(spent()) }
}

/// Spends `units`, failing when there were not as many.
#[inline]
pub(crate) fn charge(units: usize) -> Result<()> {
    if spend(units) { Ok(()) } else { Err(spent()) }
}

/// Spends what reading or building a text of `len` bytes takes.
#[inline]
pub(crate) fn charge_text(len: usize) -> Result<()> {
    charge(len / BYTES)
}

/// Spends what comparing texts of these lengths takes at most; whether there was as much.
#[inline]
pub(crate) fn spend_text(a: usize, b: usize) -> bool {
    let units = a.min(b) / BYTES;
    units == 0 || spend(units)
}

/// Spends what reading or building a value takes, without the values in it.
pub(crate) fn charge_value(value: &Value<'_>) -> Result<()> {
    match value {
        Value::String(s) => charge_text(s.len()),
        Value::Array(a) => charge(a.len()),
        Value::Object(o) => charge(o.borrow().len()),
        _ => Ok(()),
    }
}

#[cold]
fn spent() -> Error {
    Error::new("U1006").with("value", LIMIT.get())
}
