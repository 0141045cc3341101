//! The types of states, one file each.
//!
//! A state's `enter` does what can be done at once and says what comes next.

mod choice;
mod fail;
mod map;
mod parallel;
mod pass;
mod succeed;
mod task;
mod wait;

pub(crate) use choice::{Choice, Condition, Rule};
pub(crate) use fail::Fail;
pub use map::ResultTarget;
pub(crate) use map::{
    Children, Distributed, ItemReader, Items, Iterations, MAX_ITEMS, Map, Plan, ResultWriter, Tolerated, percentage,
};
pub(crate) use parallel::Parallel;
pub(crate) use pass::enter as pass;
pub(crate) use succeed::enter as succeed;
pub(crate) use task::{Attempt, Integration, MAX_TIMEOUT_SECONDS, NOT_PASSED_ON, Task};
pub(crate) use wait::{MAX_WAIT_SECONDS, Wait, parse_timestamp, resume as wait_is_over};

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::MAX_PAYLOAD_BYTES;
use crate::definition::Edge;
use crate::error::StateError;
use crate::execution::Variables;
use crate::scope::{More, Visit};
use crate::size;
use crate::template::Template;

/// What becomes of a state that was entered.
pub(crate) enum Step {
    /// It is over.
    Leave(Leave),
    /// It waits until then.
    Wait(Timestamp),
    /// It wants a function called.
    Attempt(Attempt),
    /// Its branches begin with this.
    Branches(Arc<Value>),
    /// It goes through its items.
    Iterations(Iterations),
    /// It goes through its items, each an execution of its own.
    Children(Box<Children>),
    /// It failed.
    Failed(StateError),
}

impl Step {
    pub(crate) fn of_plan(plan: Plan) -> Self {
        match plan {
            Plan::Iterations(iterations) => Self::Iterations(iterations),
            Plan::Children(children) => Self::Children(children),
        }
    }

    pub(crate) fn of_leave(left: Result<Leave, StateError>) -> Self {
        left.map_or_else(Self::Failed, Self::Leave)
    }
}

/// Bytes of all variables that one line of control sees (Step Functions' quota for an execution).
const MAX_VARIABLES_BYTES: usize = 10 * 1024 * 1024;

/// How a state is left.
pub(crate) struct Leave {
    /// For errors.
    state: String,
    pub(crate) output: Arc<Value>,
    pub(crate) assigned: Vec<(String, Arc<Value>)>,
    /// The next state; none ends the machine.
    pub(crate) next: Option<String>,
    /// What led there, if it is worth a word.
    pub(crate) edge: Option<Edge>,
}

impl Leave {
    pub(crate) fn by(self, edge: Edge) -> Self {
        Self { edge: Some(edge), ..self }
    }

    /// Whether a state may hand on so much, and keep so much in variables.
    pub(crate) fn check(&self, variables: &Variables) -> Result<(), StateError> {
        let mut values = self.assigned.iter().map(|(_, value)| value).chain([&self.output]);
        if values.any(|value| size::is_too_large(value)) || self.are_too_many(variables) {
            return Err(StateError::too_large(&self.state));
        }
        Ok(())
    }

    fn are_too_many(&self, variables: &Variables) -> bool {
        // As long as there are few of them, each is small enough for all.
        if (variables.len() + self.assigned.len()) * MAX_PAYLOAD_BYTES <= MAX_VARIABLES_BYTES {
            return false;
        }
        let mut all: BTreeMap<&str, &Value> = variables.iter().map(|(name, value)| (name.as_str(), &**value)).collect();
        all.extend(self.assigned.iter().map(|(name, value)| (name.as_str(), &**value)));
        all.into_values().map(size::bytes).sum::<usize>() > MAX_VARIABLES_BYTES
    }
}

/// Evaluates `Assign` and `Output`, both with the variables as they were.
pub(crate) fn leave(
    visit: &mut Visit<'_>,
    more: More<'_>,
    assign: &[(String, Template)],
    output: Option<&Template>,
    default_output: &Arc<Value>,
    next: Option<&str>,
) -> Result<Leave, StateError> {
    let state = visit.context.state.to_owned();
    let mut scope = visit.scope(more);
    let mut assigned = Vec::with_capacity(assign.len());
    for (name, template) in assign {
        let value = template.evaluate(&mut scope, &format!("Assign/{name}"))?;
        assigned.push((name.clone(), Arc::new(value)));
    }
    let output = match output {
        Some(template) => Arc::new(template.evaluate(&mut scope, "Output")?),
        None => Arc::clone(default_output),
    };
    Ok(Leave { state, output, assigned, next: next.map(str::to_owned), edge: None })
}

/// Leaves a state with what its branches, iterations or children came to.
pub(crate) fn with_result(
    state: &crate::definition::State,
    visit: &mut Visit<'_>,
    result: &Arc<Value>,
) -> Result<Leave, StateError> {
    if size::is_too_large(result) {
        return Err(StateError::too_large(visit.context.state));
    }
    let more = Some(("result", &**result));
    leave(visit, more, &state.assign, state.output.as_ref(), result, state.next.as_deref())
}

/// Leaves a state whose result is its input.
fn pass_on(state: &crate::definition::State, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
    let (output, next, input) = (state.output.as_ref(), state.next.as_deref(), Arc::clone(visit.input));
    leave(visit, None, &state.assign, output, &input, next)
}
