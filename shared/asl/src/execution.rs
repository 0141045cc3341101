//! One run of a state machine.

mod messages;
mod nested;
mod steps;
mod thread;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::{Definition, Kind, State};
use crate::error::StateError;
use crate::scope::Random;
use crate::states::{self, Step};

pub use messages::{Command, Event, Outcome, Start, TaskId, Trace};
pub(crate) use thread::Variables;
use thread::{Thread, ThreadId, WaitsFor};

/// An execution at rest. Goes with the definition that it was taken from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    start: Start,
    started_at: Timestamp,
    random: Random,
    threads: BTreeMap<ThreadId, Thread>,
    /// How many branches and iterations have begun.
    spawned: u64,
    tasks: u64,
    /// How many states were entered or left; AWS counts events in some causes.
    events: u64,
    commands: VecDeque<Command>,
    /// Attempts that were asked for and have not ended, with the bytes of their payloads.
    in_flight: BTreeMap<TaskId, usize>,
    /// Attempts that have to wait for others to end.
    held: VecDeque<Command>,
    outcome: Option<Outcome>,
}

/// One run of a state machine. See the crate's documentation for the polling order.
#[derive(Debug, Clone)]
pub struct Execution {
    definition: Arc<Definition>,
    at_rest: Snapshot,
    /// Threads on their way to a state, with their input; none when the execution is at rest.
    ready: VecDeque<(ThreadId, String, Arc<Value>)>,
    traces: VecDeque<Trace>,
}

impl Execution {
    /// Begins an execution and enters its first state.
    pub fn start(definition: Arc<Definition>, start: Start, now: Timestamp) -> Self {
        let input = Arc::new(start.input.clone());
        let at_rest = Snapshot {
            random: Random::new(start.seed),
            start,
            started_at: now,
            threads: BTreeMap::new(),
            spawned: 0,
            tasks: 0,
            // ExecutionStarted.
            events: 1,
            commands: VecDeque::new(),
            in_flight: BTreeMap::new(),
            held: VecDeque::new(),
            outcome: None,
        };
        let mut execution = Self::restore(definition, at_rest);
        execution.begin(input, now);
        execution
    }

    /// Tells what happened outside. Events of attempts that are over are ignored.
    pub fn handle_event(&mut self, event: Event, now: Timestamp) {
        let id = event.id();
        if self.at_rest.in_flight.remove(&id).is_none() {
            return;
        }
        let mut threads = self.at_rest.threads.iter();
        let Some(key) = threads.find(|(_, thread)| thread.attempt() == Some(id)).map(|(key, _)| *key) else {
            return;
        };
        self.wake(key, now, |execution, state, thread| {
            let result = match event {
                Event::TaskSucceeded { result, .. } => result,
                Event::TaskFailed { error, cause, .. } => return Step::Failed(StateError::reported(error, cause)),
            };
            match &state.kind {
                Kind::Task(task) => {
                    Step::of_leave(task.succeed(state, &mut execution.visit(state, thread, now), result))
                }
                _ => Step::Failed(StateError::no_such_state(&thread.state)),
            }
        });
        self.release();
    }

    /// Tells that time has passed: every Wait and every delay of a retry that is due ends, the earliest first.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let threads = self.at_rest.threads.iter();
        let mut due: Vec<_> = threads.filter_map(|(key, thread)| Some((thread.due()?, *key))).collect();
        due.retain(|(at, _)| *at <= now);
        due.sort_unstable();
        for (_, key) in due {
            // What woke before may have given it up.
            if self.at_rest.threads.get(&key).and_then(Thread::due).is_none_or(|at| at > now) {
                continue;
            }
            self.wake(key, now, |execution, state, thread| match thread.waits_for {
                WaitsFor::Time(_) => {
                    Step::of_leave(states::wait_is_over(state, &mut execution.visit(state, thread, now)))
                }
                _ => execution.enter(state, thread, now),
            });
        }
    }

    /// The next thing to do outside.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.at_rest.commands.pop_front()
    }

    /// When [`Execution::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.at_rest.threads.values().filter_map(Thread::due).min()
    }

    /// The next thing that happened inside.
    pub fn poll_trace(&mut self) -> Option<Trace> {
        self.traces.pop_front()
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.at_rest.outcome.as_ref()
    }

    /// The execution without its definition and without traces not yet polled.
    pub fn snapshot(&self) -> Snapshot {
        self.at_rest.clone()
    }

    /// Goes on where the snapshot was taken.
    pub fn restore(definition: Arc<Definition>, snapshot: Snapshot) -> Self {
        Self { definition, at_rest: snapshot, ready: VecDeque::new(), traces: VecDeque::new() }
    }

    /// Takes a thread out of its rest and lets it go on. A snapshot of another definition may name a state that this
    /// one lacks: the execution then fails, as it could never go on.
    fn wake(&mut self, key: ThreadId, now: Timestamp, step: impl FnOnce(&mut Self, &State, &Thread) -> Step) {
        let Some(thread) = self.at_rest.threads.remove(&key) else {
            return;
        };
        let definition = Arc::clone(&self.definition);
        match definition.state(&thread.state) {
            Some(state) => {
                let step = step(self, state, &thread);
                self.proceed(key, thread, step, now);
            }
            None => self.fail_for_good(StateError::no_such_state(&thread.state)),
        }
    }
}
