//! State machines in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::EngineError;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Distinct state machines kept at once; there are as many as workflows and policies, unless files keep changing.
const MAX_KEPT: usize = 64;

/// Others do not wait for a long evaluation: the other tasks of this thread go to another one, where there are others.
pub(crate) fn beside_others<T>(evaluate: impl FnOnce() -> T) -> T {
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
        if let Some(definition) = self.kept().get(text) {
            return Ok(Arc::clone(definition));
        }
        // Not under the lock: others go on meanwhile, and compile the same text once more at worst.
        let compiled = beside_others(|| asl::Definition::load(text));
        let definition = compiled.map_err(|error| EngineError::Definition(error.to_string()))?;
        let definition = Arc::new(definition.run_long_evaluations_by(|evaluate| beside_others(evaluate)));
        let mut kept = self.kept();
        if kept.len() == MAX_KEPT {
            kept.clear();
        }
        Ok(Arc::clone(kept.entry(text.to_owned()).or_insert(definition)))
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Arc<asl::Definition>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
