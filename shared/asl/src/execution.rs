//! One run of a state machine.

mod ids;
mod in_flight;
mod map_run;
mod map_steps;
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
use crate::random::Random;
use crate::start::ExecutionStart;
use crate::states::{self, StateOutcome};

pub use ids::{MapRunId, TaskId};
pub(crate) use in_flight::InFlight;
pub use map_run::MapRun;
pub use messages::{Command, Event, Outcome, Trace};
use thread::{Thread, ThreadId, WaitsFor};

/// An execution at rest. Goes with the definition that it was taken from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    start: ExecutionStart,
    started_at: Timestamp,
    random: Random,
    threads: BTreeMap<ThreadId, Thread>,
    /// How many branches and iterations have begun.
    spawned: u64,
    tasks: u64,
    map_runs: u64,
    /// How many events AWS's history would have; some causes quote the number of one, and there is a limit.
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
    /// Why it cannot go on. What it came to since then is nothing that may leave it.
    stalled: Option<String>,
}

impl Execution {
    /// Begins an execution and enters its first state.
    pub fn start(definition: Arc<Definition>, start: ExecutionStart, now: Timestamp) -> Self {
        let first = definition.start_at().to_owned();
        Self::start_at(definition, &first, start, now)
    }

    /// Begins with a state of choice: the first of a Map's, for its children.
    pub(crate) fn start_at(definition: Arc<Definition>, first: &str, start: ExecutionStart, now: Timestamp) -> Self {
        let input = Arc::new(start.input.clone());
        let at_rest = Snapshot {
            random: Random::new(start.seed),
            start,
            started_at: now,
            threads: BTreeMap::new(),
            spawned: 0,
            tasks: 0,
            map_runs: 0,
            // ExecutionStarted.
            events: 1,
            commands: VecDeque::new(),
            in_flight: BTreeMap::new(),
            held: VecDeque::new(),
            outcome: None,
        };
        let mut execution = Self::restore(definition, at_rest);
        execution.begin(first, input, now);
        execution
    }

    /// Tells what happened outside. What is not waited for, or not any more, is ignored.
    pub fn handle_event(&mut self, event: Event, now: Timestamp) {
        let (id, ended) = match event {
            Event::TaskSucceeded { id, result } => (id, Ok(result)),
            Event::TaskFailed { id, error, cause } => (id, Err(StateError::reported(error, cause))),
            Event::ItemsRead { map_run, count } => return self.items_read(map_run, count, now),
            Event::ChildEnded { map_run, index, has_failed, result } => {
                return self.child_ended(map_run, index, has_failed, result, now);
            }
            Event::ResultsWritten { map_run, result } => return self.results_written(map_run, result, now),
            Event::MapRunFailed { map_run, error, cause } => {
                return self.map_run_failed(map_run, StateError::reported(error, cause), now);
            }
        };
        if self.at_rest.in_flight.remove(&id).is_none() {
            return;
        }
        self.at_rest.events += 1;
        let Some(key) = self.thread(|thread| thread.attempt() == Some(id)) else { return };
        self.wake(key, now, |execution, state, thread| match (ended, &state.kind) {
            (Ok(result), Kind::Task(task)) => {
                StateOutcome::of_leave(task.succeed(&state.exit, &mut execution.visit(state, thread, now), result))
            }
            (Ok(_), _) => StateOutcome::Failed(StateError::no_such_state(&thread.state)),
            (Err(error), _) => StateOutcome::Failed(error),
        });
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
                    StateOutcome::of_leave(states::wait_is_over(&state.exit, &mut execution.visit(state, thread, now)))
                }
                _ => execution.enter(state, thread, now),
            });
        }
    }

    /// Tells that what led to this error has changed: every delay of a retry after it ends now.
    pub fn hasten_retries(&mut self, error: &str, now: Timestamp) {
        self.at_rest.threads.values_mut().for_each(|thread| thread.hasten(error, now));
        self.handle_timeout(now);
    }

    /// The next thing to do outside.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.unless_stalled()?.at_rest.commands.pop_front()
    }

    /// When [`Execution::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let threads = self.stalled.is_none().then(|| self.at_rest.threads.values())?;
        threads.filter_map(Thread::due).min()
    }

    /// The next thing that happened inside.
    pub fn poll_trace(&mut self) -> Option<Trace> {
        self.unless_stalled()?.traces.pop_front()
    }

    /// Why it cannot go on: an expression took longer than [`Definition::stall_after`] allows, on this machine and this time.
    ///
    /// From then on it says nothing else, and is of no use. The event that it was told last did not happen, as far as a
    /// journal is concerned: whoever replays what happened before may tell it again.
    pub fn stalled(&self) -> Option<&str> {
        self.stalled.as_deref()
    }

    fn unless_stalled(&mut self) -> Option<&mut Self> {
        self.stalled.is_none().then_some(self)
    }

    /// Whether it enters no further state.
    fn is_over(&self) -> bool {
        self.at_rest.outcome.is_some() || self.stalled.is_some()
    }

    /// Commands that give up what is under way outside.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = Command> {
        let attempts = self.at_rest.in_flight.keys().map(|id| Command::CancelTask { id: *id });
        let map_runs = self.at_rest.threads.values().filter_map(Thread::map_run);
        attempts.chain(map_runs.map(|map_run| Command::CancelChildren { map_run }))
    }

    /// What is under way of it; held back it is not.
    pub(crate) fn in_flight(&self) -> InFlight {
        let in_flight = &self.at_rest.in_flight;
        InFlight { attempts: in_flight.len(), bytes: in_flight.values().sum() }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.at_rest.outcome.as_ref().filter(|_| self.stalled.is_none())
    }

    /// The execution without its definition and without traces not yet polled. Of one that has stalled, none is to be
    /// taken.
    pub fn snapshot(&self) -> Snapshot {
        self.at_rest.clone()
    }

    /// Goes on where the snapshot was taken.
    pub fn restore(definition: Arc<Definition>, snapshot: Snapshot) -> Self {
        Self { definition, at_rest: snapshot, ready: VecDeque::new(), traces: VecDeque::new(), stalled: None }
    }

    fn thread(&self, is_it: impl Fn(&Thread) -> bool) -> Option<ThreadId> {
        self.at_rest.threads.iter().find(|(_, thread)| is_it(thread)).map(|(key, _)| *key)
    }

    /// Takes a thread out of its rest and lets it go on. A snapshot of another definition may name a state that this
    /// one lacks: the execution then fails, as it could never go on.
    fn wake(&mut self, key: ThreadId, now: Timestamp, step: impl FnOnce(&mut Self, &State, &Thread) -> StateOutcome) {
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
