//! State machines: parsed, validated and compiled once, run many times.

mod diagnostics;
mod edges;
mod mermaid;
mod parse;
mod reader;
mod retries;
mod tasks;

use std::collections::BTreeMap;

use crate::retry::{Catcher, Retrier};
use crate::states::{Choice, Fail, Task, Wait};
use crate::template::Template;

pub use diagnostics::{Diagnostic, Diagnostics, Severity, validate};
pub use edges::Edge;
pub(crate) use reader::integer_between;

/// Largest definition, in bytes (Step Functions' quota).
const MAX_DEFINITION_BYTES: usize = 1024 * 1024;

/// A state machine that can be run.
#[derive(Debug)]
pub struct Definition {
    start_at: String,
    states: BTreeMap<String, State>,
    /// The states' names in the order of the text.
    order: Vec<String>,
}

/// One state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    pub(crate) assign: Vec<(String, Template)>,
    pub(crate) output: Option<Template>,
    /// Only states that can fail for reasons of the outside have any.
    pub(crate) retriers: Vec<Retrier>,
    pub(crate) catchers: Vec<Catcher>,
    /// None where the state ends the machine, or chooses or fails instead.
    pub(crate) next: Option<String>,
}

/// What a state does.
#[derive(Debug)]
pub(crate) enum Kind {
    Task(Box<Task>),
    Choice(Choice),
    Pass,
    Wait(Wait),
    Succeed,
    Fail(Fail),
}

impl Kind {
    /// The `Type`, as in events: `Task` in `TaskStateEntered`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Task(_) => "Task",
            Self::Choice(_) => "Choice",
            Self::Pass => "Pass",
            Self::Wait(_) => "Wait",
            Self::Succeed => "Succeed",
            Self::Fail(_) => "Fail",
        }
    }
}

impl Definition {
    /// Parses, validates and compiles.
    ///
    /// # Errors
    /// Everything that is wrong with the definition, not the first thing only.
    pub fn load(text: &str) -> Result<Self, Diagnostics> {
        let (definition, diagnostics) = parse::parse(text);
        match definition {
            Some(definition) if !diagnostics.has_errors() => Ok(definition),
            _ => Err(diagnostics),
        }
    }

    /// The first state's name.
    pub fn start_at(&self) -> &str {
        &self.start_at
    }

    pub(crate) fn state(&self, name: &str) -> Option<&State> {
        self.states.get(name)
    }

    /// The states in the order of the text.
    fn in_order(&self) -> impl Iterator<Item = (&str, &State)> {
        self.order.iter().filter_map(|name| Some((name.as_str(), self.states.get(name)?)))
    }
}
