//! Parallel: branches at the same time, whose outputs are the result.

use std::sync::Arc;

use serde_json::Value;

use super::machine::Machine;
use crate::error::StateError;
use crate::scope::Visit;
use crate::size;
use crate::template::Template;

#[derive(Debug)]
pub(crate) struct Parallel {
    pub(crate) arguments: Option<Template>,
    pub(crate) branches: Vec<Machine>,
}

impl Parallel {
    /// What all branches begin with.
    pub(crate) fn input(&self, visit: &mut Visit<'_>) -> Result<Arc<Value>, StateError> {
        match &self.arguments {
            Some(template) => {
                let input = template.evaluate(&mut visit.scope(None), "Arguments")?;
                if size::is_too_large(&input) {
                    return Err(StateError::too_large(visit.context.state));
                }
                Ok(Arc::new(input))
            }
            None => Ok(Arc::clone(visit.input)),
        }
    }
}
