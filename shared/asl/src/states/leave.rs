//! How states are left.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::MAX_PAYLOAD_BYTES;
use crate::edge::Edge;
use crate::error::StateError;
use crate::scope::{ExtraField, Variables, Visit};
use crate::size;
use crate::template::Template;

/// One way out of a state: of the state itself, a Choice's rule or a catcher.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exit {
    pub(crate) assign: Vec<(String, Template)>,
    pub(crate) output: Option<Template>,
    /// None where it ends the machine.
    pub(crate) next: Option<String>,
}

impl Exit {
    /// Evaluates `Assign` and `Output`, both with the variables as they were.
    pub(crate) fn leave(
        &self,
        visit: &mut Visit<'_>,
        more: ExtraField<'_>,
        default_output: &Arc<Value>,
    ) -> Result<Leave, StateError> {
        let state = visit.context.state.to_owned();
        let mut scope = visit.scope(more);
        let mut assigned = Vec::with_capacity(self.assign.len());
        for (name, template) in &self.assign {
            let value = template.evaluate(&mut scope, &format!("Assign/{name}"))?;
            assigned.push((name.clone(), Arc::new(value)));
        }
        let output = match &self.output {
            Some(template) => Arc::new(template.evaluate(&mut scope, "Output")?),
            None => Arc::clone(default_output),
        };
        Ok(Leave { state, output, assigned, next: self.next.clone(), edge: None })
    }

    /// Leaves with what branches, iterations or children came to.
    pub(crate) fn with_result(&self, visit: &mut Visit<'_>, result: &Arc<Value>) -> Result<Leave, StateError> {
        if size::is_too_large(result) {
            return Err(StateError::too_large(visit.context.state));
        }
        self.leave(visit, Some(("result", &**result)), result)
    }

    /// Leaves a state whose result is its input.
    pub(super) fn pass_on(&self, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
        let input = Arc::clone(visit.input);
        self.leave(visit, None, &input)
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

    pub(crate) fn to(self, next: &str) -> Self {
        Self { next: Some(next.to_owned()), ..self }
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
