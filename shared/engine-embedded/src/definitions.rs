//! State machines in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::EngineError;
use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Distinct state machines kept at once; there are as many as workflows and policies, unless files keep changing.
const MAX_KEPT: usize = 64;

/// How long an expression may take. Those of real state machines take a thousandth of a second.
const MAX_EVALUATION: Duration = Duration::from_secs(60);

/// Others do not wait for what takes long: the other tasks of this thread go to another one, where there are others.
fn beside_others<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// A state machine.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) definition: Arc<asl::Definition>,
    has_maps: bool,
}

impl Machine {
    /// Lets an execution of this machine go on. Moving other work away costs more than a short turn itself; where that is
    /// not so the interpreter does it, but it looks at one execution only, and a Map may have many children.
    pub(crate) fn go_on<T>(&self, go_on: impl FnOnce() -> T) -> T {
        if self.has_maps { beside_others(go_on) } else { go_on() }
    }
}

/// State machines by their text, compiled once for all executions.
#[derive(Default)]
pub(crate) struct Compiled(Mutex<HashMap<String, Machine>>);

impl Compiled {
    pub(crate) fn load(&self, text: &str) -> Result<Machine, EngineError> {
        if let Some(machine) = self.kept().get(text) {
            return Ok(machine.clone());
        }
        // Not under the lock: others go on meanwhile, and compile the same text once more at worst.
        let compiled = beside_others(|| asl::Definition::load(text));
        let definition = compiled.map_err(|error| EngineError::Definition(error.to_string()))?;
        let definition = definition.run_long_work_by(|work| beside_others(work)).stall_after(MAX_EVALUATION);
        let definition = Arc::new(definition);
        let has_maps = serde_json::from_str(text).is_ok_and(|machine| has_maps(&machine));
        let machine = Machine { definition, has_maps };
        let mut kept = self.kept();
        if kept.len() == MAX_KEPT {
            kept.clear();
        }
        Ok(kept.entry(text.to_owned()).or_insert(machine).clone())
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Machine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is a Map in this machine, or in one of its branches.
fn has_maps(machine: &Value) -> bool {
    machine["States"].as_object().into_iter().flat_map(|states| states.values()).any(|state| {
        let branches = state["Branches"].as_array();
        state["Type"] == "Map" || branches.into_iter().flatten().any(has_maps)
    })
}
