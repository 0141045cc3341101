//! State machines in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::EngineError;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Distinct state machines kept at once; there are as many as workflows and policies, unless files keep changing.
const MAX_KEPT: usize = 64;

/// Others do not wait for a long evaluation: the other tasks of this thread go to another one, where there are others.
fn beside_others(evaluate: &mut dyn FnMut()) {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(evaluate),
        _ => evaluate(),
    }
}

/// State machines by their text, compiled once for all executions.
#[derive(Default)]
pub(crate) struct Compiled(Mutex<HashMap<String, Arc<asl::Definition>>>);

impl Compiled {
    pub(crate) fn load(&self, text: &str) -> Result<Arc<asl::Definition>, EngineError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(definition) = kept.get(text) {
            return Ok(Arc::clone(definition));
        }
        let definition = asl::Definition::load(text).map_err(|error| EngineError::Definition(error.to_string()))?;
        let definition = Arc::new(definition.run_long_evaluations_by(beside_others));
        if kept.len() == MAX_KEPT {
            kept.clear();
        }
        kept.insert(text.to_owned(), Arc::clone(&definition));
        Ok(definition)
    }
}
