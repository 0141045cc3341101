//! State machines in memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jlens_core::reads::Reads;

use crate::patience::{Patience, RunLong};
use crate::retry::{Catcher, Retrier};
use crate::states::{Choice, Exit, Fail, Machine, Map, Parallel, Task, Wait};

/// A state machine that can be run.
#[derive(Debug)]
pub struct Definition {
    pub(super) machine: Machine,
    /// Those of branches and iterations too: a name is one state's in the whole definition.
    pub(super) states: BTreeMap<String, State>,
    pub(crate) patience: Patience,
}

/// One state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    /// Where it ends the machine, chooses or fails instead, this leads nowhere.
    pub(crate) exit: Exit,
    /// Only states that can fail for reasons of the outside have any.
    pub(crate) retriers: Vec<Retrier>,
    pub(crate) catchers: Vec<Catcher>,
    /// What its expressions read, all together.
    pub(crate) reads: Reads,
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
    Parallel(Parallel),
    Map(Box<Map>),
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
            Self::Parallel(_) => "Parallel",
            Self::Map(_) => "Map",
        }
    }

    /// Whether it does what may fail for a while, so that it can be retried and its failure caught.
    pub(crate) fn can_retry(&self) -> bool {
        matches!(self, Self::Task(_) | Self::Parallel(_) | Self::Map(_))
    }

    /// What is inside.
    pub(crate) fn machines(&self) -> &[Machine] {
        match self {
            Self::Parallel(parallel) => &parallel.branches,
            Self::Map(map) => std::slice::from_ref(&map.processor),
            _ => &[],
        }
    }
}

impl Definition {
    /// Evaluates expressions that take more than a millisecond, up to a second, by this, and enters states by it where very
    /// many follow on each other at once: whoever has other work on the thread may move it away first. It makes no
    /// difference to what comes out.
    #[must_use]
    pub fn run_long_work_by(mut self, run_long: RunLong) -> Self {
        self.patience.run_long = run_long;
        self
    }

    /// Gives up an expression that takes longer than this, by the clock of the machine. As that depends on the machine, it
    /// ends nothing that a journal knows of: the execution stands where it was, and [`crate::Execution::stalled`] says so.
    #[must_use]
    pub fn stall_after(mut self, limit: Duration) -> Self {
        self.patience.limit = Some(limit);
        self
    }

    /// The first state's name.
    pub fn start_at(&self) -> &str {
        &self.machine.start_at
    }

    pub(crate) fn state(&self, name: &str) -> Option<&State> {
        self.states.get(name)
    }

    /// A machine's own states in the order of the text.
    pub(super) fn states_of<'a>(&'a self, machine: &'a Machine) -> impl Iterator<Item = (&'a str, &'a State)> {
        machine.order.iter().filter_map(|name| Some((name.as_str(), self.states.get(name)?)))
    }

    /// All states: the machine's own in the order of the text, then those inside of them.
    pub(super) fn in_order(&self) -> Vec<(&str, &State)> {
        let mut all = Vec::new();
        let mut machines = VecDeque::from([&self.machine]);
        while let Some(machine) = machines.pop_front() {
            for (name, state) in self.states_of(machine) {
                all.push((name, state));
                machines.extend(state.kind.machines());
            }
        }
        all
    }
}
