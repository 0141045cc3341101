//! The types of states, one file each.
//!
//! A state's `enter` does what can be done at once and says what comes next.

mod choice;
mod fail;
mod pass;
mod succeed;
mod task;
mod wait;

pub(crate) use choice::{Choice, Condition, Rule};
pub(crate) use fail::Fail;
pub(crate) use pass::enter as pass;
pub(crate) use succeed::enter as succeed;
pub(crate) use task::{Integration, Task, too_large};
pub(crate) use wait::{Wait, parse_timestamp, resume as wait_is_over};

use jiff::Timestamp;
use serde_json::Value;

use crate::definition::Edge;
use crate::error::StateError;
use crate::execution::{Attempt, Visit};
use crate::expression::Template;

/// What becomes of a state that was entered.
pub(crate) enum Step {
    /// It is over.
    Leave(Leave),
    /// It waits until then.
    Wait(Timestamp),
    /// It wants a function called.
    Attempt(Attempt),
    /// It failed.
    Failed(StateError),
}

/// How a state is left.
pub(crate) struct Leave {
    pub(crate) output: Value,
    pub(crate) assigned: Vec<(String, Value)>,
    /// The next state; none ends the machine.
    pub(crate) next: Option<String>,
    /// What led there, if it is worth a word.
    pub(crate) edge: Option<Edge>,
}

/// Evaluates `Assign` and `Output`, both with the variables as they were.
pub(crate) fn leave(
    visit: &mut Visit<'_>,
    more: Option<(&str, Value)>,
    assign: &[(String, Template)],
    output: Option<&Template>,
    default_output: Value,
    next: Option<String>,
) -> Result<Leave, StateError> {
    let mut scope = visit.scope(more);
    let mut assigned = Vec::new();
    for (name, template) in assign {
        assigned.push((name.clone(), template.evaluate(&mut scope, &format!("Assign/{name}"))?));
    }
    let output = match output {
        Some(template) => template.evaluate(&mut scope, "Output")?,
        None => default_output,
    };
    Ok(Leave { output, assigned, next, edge: None })
}
