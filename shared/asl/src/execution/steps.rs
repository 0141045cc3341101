//! How a thread goes from state to state.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Execution;
use super::ids::TaskId;
use super::in_flight::{MAX_BYTES_IN_FLIGHT, MAX_IN_FLIGHT};
use super::messages::{Command, Outcome, Trace};
use super::thread::{Thread, ThreadId, WaitsFor};
use crate::definition::{Kind, State};
use crate::edge::Edge;
use crate::error::StateError;
use crate::retry::{catcher, next_retry};
use crate::scope::{Context, Variables, Visit};
use crate::size;
use crate::states::{self, FunctionCall, Leave, StateOutcome};

/// Events in the history of a Standard execution at most (Step Functions' quota): the last one tells that it failed.
const MAX_EVENTS: u64 = 25_000;

/// States that are entered at once before what follows is long work: most executions wait for something before.
const SHORT: usize = 32;

impl Execution {
    /// Carries out a step, and all that follows from it at once.
    pub(super) fn proceed(&mut self, key: ThreadId, thread: Thread, step: StateOutcome, now: Timestamp) {
        self.settle(key, thread, step, now);
        self.run(now);
    }

    /// Enters states until every thread has to wait. What was given up on the way leaves room for others.
    pub(super) fn run(&mut self, now: Timestamp) {
        self.enter_all(now);
        if !self.is_over() {
            self.release();
        }
    }

    fn enter_all(&mut self, now: Timestamp) {
        self.enter_some(SHORT, now);
        if !self.is_over() && !self.ready.is_empty() {
            let run_long = self.definition.patience.run_long;
            run_long(&mut || self.enter_some(usize::MAX, now));
        }
    }

    fn enter_some(&mut self, most: usize, now: Timestamp) {
        let definition = Arc::clone(&self.definition);
        for _ in 0..most {
            if self.is_over() {
                return;
            }
            if self.at_rest.events >= MAX_EVENTS - 1 {
                let cause = format!("The execution reached the maximum number of history events ({MAX_EVENTS}).");
                return self.fail_for_good(StateError::runtime(cause));
            }
            let Some((key, name, input)) = self.ready.pop_front() else { return };
            // It may have been given up meanwhile.
            let Some(mut thread) = self.at_rest.threads.remove(&key) else { continue };
            let Some(state) = definition.state(&name) else {
                return self.fail_for_good(StateError::no_such_state(&name));
            };
            self.at_rest.events += 1;
            thread.move_to(&name, input, now, self.at_rest.events);
            self.trace_entry(state, &thread);
            let step = self.enter(state, &thread, now);
            self.settle(key, thread, step, now);
        }
    }

    /// What a state does first, also when it is tried again.
    pub(super) fn enter(&mut self, state: &State, thread: &Thread, now: Timestamp) -> StateOutcome {
        let mut visit = self.visit(state, thread, now);
        let left = match &state.kind {
            Kind::Task(task) => return task.attempt(&mut visit).map_or_else(StateOutcome::Failed, StateOutcome::Call),
            Kind::Parallel(parallel) => {
                return parallel.input(&mut visit).map_or_else(StateOutcome::Failed, StateOutcome::Branches);
            }
            Kind::Map(map) => return map.enter(&mut visit).map_or_else(StateOutcome::Failed, StateOutcome::of_plan),
            Kind::Wait(wait) => match wait.enter(&mut visit) {
                Ok(at) if at > now => return StateOutcome::Wait(at),
                Ok(_) => states::wait_is_over(&state.exit, &mut visit),
                Err(error) => Err(error),
            },
            Kind::Fail(fail) => Err(fail.enter(&mut visit)),
            Kind::Choice(choice) => choice.enter(&state.exit, &mut visit),
            Kind::Pass => states::pass(&state.exit, &mut visit),
            Kind::Succeed => states::succeed(&state.exit, &mut visit),
        };
        StateOutcome::of_leave(left)
    }

    /// What a step means for its thread.
    pub(super) fn settle(&mut self, key: ThreadId, mut thread: Thread, step: StateOutcome, now: Timestamp) {
        match step {
            StateOutcome::Wait(at) => {
                thread.waits_for = WaitsFor::Time(at);
                self.rest(key, thread);
            }
            StateOutcome::Call(attempt) => {
                self.schedule(&mut thread, attempt);
                self.rest(key, thread);
            }
            StateOutcome::Branches(input) => self.begin_branches(key, thread, &input, now),
            StateOutcome::Iterations(iterations) => self.begin_iterations(key, thread, iterations, now),
            StateOutcome::Children(children) => self.begin_map_run(key, thread, *children, now),
            StateOutcome::Leave(leave) => match leave.check(&thread.variables) {
                Ok(()) => self.leave(key, thread, leave, now),
                Err(error) => self.fail(key, thread, error, now),
            },
            StateOutcome::Failed(error) => self.fail(key, thread, error, now),
        }
    }

    fn schedule(&mut self, thread: &mut Thread, attempt: FunctionCall) {
        // TaskScheduled and TaskStarted; the end is counted when it comes.
        self.at_rest.events += 2;
        self.at_rest.tasks += 1;
        let id = TaskId(self.at_rest.tasks);
        thread.waits_for = WaitsFor::Task(id);
        self.at_rest.held.push_back(Command::ScheduleTask {
            id,
            state: thread.state.clone(),
            retry_count: thread.retry_count(),
            resource: attempt.resource,
            function: attempt.function,
            payload: attempt.payload,
            timeout: attempt.timeout,
            heartbeat: attempt.heartbeat,
        });
        self.release();
    }

    /// Asks for attempts that were held back, as far as there is room.
    fn release(&mut self) {
        let at_rest = &mut self.at_rest;
        let mut bytes: usize = at_rest.in_flight.values().sum();
        while let Some(Command::ScheduleTask { id, payload, .. }) = at_rest.held.front() {
            let size = size::bytes(payload);
            let has_room = at_rest.in_flight.len() < MAX_IN_FLIGHT && bytes + size <= MAX_BYTES_IN_FLIGHT;
            // One alone always fits.
            if !has_room && !at_rest.in_flight.is_empty() {
                break;
            }
            bytes += size;
            at_rest.in_flight.insert(*id, size);
            at_rest.commands.extend(at_rest.held.pop_front());
        }
    }

    fn leave(&mut self, key: ThreadId, mut thread: Thread, leave: Leave, now: Timestamp) {
        self.at_rest.events += 1;
        self.traces.extend(leave.edge.map(Trace::EdgeTaken));
        let state = self.definition.state(&thread.state);
        self.traces.push_back(Trace::StateExited {
            state: thread.state.clone(),
            state_type: state.map_or("", |state| state.kind.name()),
            output: Arc::clone(&leave.output),
            assigned: leave.assigned.iter().cloned().collect(),
        });
        thread.variables.extend(leave.assigned);
        match (leave.next, thread.within) {
            (Some(next), _) => {
                thread.waits_for = WaitsFor::Nothing;
                self.rest(key, thread);
                self.ready.push_back((key, next, leave.output));
            }
            (None, Some(within)) => self.join(within, leave.output, now),
            (None, None) => self.finish(Ok(&leave.output)),
        }
    }

    /// Retries, catches, or fails for good.
    pub(super) fn fail(&mut self, key: ThreadId, mut thread: Thread, error: StateError, now: Timestamp) {
        let error = self.name_state(&thread, error);
        let definition = Arc::clone(&self.definition);
        let Some(state) = definition.state(&thread.state) else {
            return self.fail_for_good(error);
        };
        if let Some((retrier, delay)) =
            next_retry(&state.retriers, &mut thread.retries, &error, &mut self.at_rest.random)
        {
            let state = thread.state.clone();
            self.traces.push_back(Trace::EdgeTaken(Edge::Retry { state, retrier }));
            let at = now.checked_add(delay).unwrap_or(Timestamp::MAX);
            thread.waits_for = WaitsFor::Retry { at, error: error.name().to_owned() };
            return self.rest(key, thread);
        }
        let Some((index, catcher)) = catcher(&state.catchers, &error) else {
            return self.give_up(&thread, error, now);
        };
        let edge = Edge::Catch { state: thread.state.clone(), catcher: index };
        let caught = catcher.catch(&error, &mut self.visit(state, &thread, now));
        match caught.and_then(|leave| leave.check(&thread.variables).map(|()| leave)) {
            Ok(leave) => self.leave(key, thread, leave.by(edge), now),
            Err(error) => {
                let error = self.name_state(&thread, error);
                self.give_up(&thread, error, now);
            }
        }
    }

    /// Completes the cause of an evaluation error, and traces it.
    fn name_state(&mut self, thread: &Thread, mut error: StateError) -> StateError {
        let Some(evaluation) = &error.evaluation else {
            return error;
        };
        let location = evaluation.location.clone();
        error.name_state(&thread.state, thread.entered_event);
        self.at_rest.events += 1;
        self.traces.push_back(Trace::EvaluationFailed {
            state: thread.state.clone(),
            error: error.name().to_owned(),
            cause: error.cause.clone().unwrap_or_default(),
            location,
        });
        error
    }

    pub(super) fn fail_for_good(&mut self, error: StateError) {
        self.finish(Err(error));
    }

    /// The machine is over, with whatever else is still under way.
    fn finish(&mut self, result: Result<&Value, StateError>) {
        let outcome = match result {
            Ok(output) => Outcome::Succeeded { output: output.clone() },
            Err(StateError { error, cause, .. }) => Outcome::Failed { error, cause },
        };
        self.ready.clear();
        for thread in std::mem::take(&mut self.at_rest.threads).into_values() {
            self.abandon(&thread);
        }
        self.at_rest.commands.push_back(match outcome.clone() {
            Outcome::Succeeded { output } => Command::Succeed { output },
            Outcome::Failed { error, cause } => Command::Fail { error, cause },
        });
        self.at_rest.outcome = Some(outcome);
    }

    /// Nobody waits any more for what a thread waits for.
    pub(super) fn abandon(&mut self, thread: &Thread) {
        if let Some(map_run) = thread.map_run() {
            self.at_rest.commands.push_back(Command::CancelChildren { map_run });
        }
        let Some(id) = thread.attempt() else { return };
        match self.at_rest.in_flight.remove(&id) {
            Some(_) => self.at_rest.commands.push_back(Command::CancelTask { id }),
            None => self
                .at_rest
                .held
                .retain(|held| !matches!(held, Command::ScheduleTask { id: other, .. } if *other == id)),
        }
    }

    /// Keeps a thread.
    pub(super) fn rest(&mut self, key: ThreadId, thread: Thread) {
        self.at_rest.threads.insert(key, thread);
    }

    /// The first thing that happens: an input that no execution may have ends it before its first state.
    pub(super) fn begin(&mut self, first: &str, input: Arc<Value>, now: Timestamp) {
        if size::is_too_large(&input) {
            let cause = "The execution's input is larger than the maximum number of bytes service limit.";
            return self.fail_for_good(StateError::new("States.DataLimitExceeded", cause));
        }
        let thread = Thread::new(None, first, Arc::clone(&input), Variables::new(), now);
        self.rest(ThreadId::ROOT, thread);
        self.ready.push_back((ThreadId::ROOT, first.to_owned(), input));
        self.run(now);
    }

    fn trace_entry(&mut self, state: &State, thread: &Thread) {
        let name = || thread.state.clone();
        self.traces.push_back(Trace::EdgeTaken(Edge::State { state: name() }));
        self.traces.push_back(Trace::StateEntered {
            state: name(),
            state_type: state.kind.name(),
            input: Arc::clone(&thread.input),
        });
    }

    pub(super) fn visit<'a>(&'a mut self, state: &'a State, thread: &'a Thread, now: Timestamp) -> Visit<'a> {
        Visit {
            context: Context {
                start: &self.at_rest.start,
                started_at: self.at_rest.started_at,
                state: &thread.state,
                entered_at: thread.entered_at,
                retry_count: state.kind.can_retry().then(|| thread.retry_count()),
                item: None,
            },
            input: &thread.input,
            variables: &thread.variables,
            reads: &state.reads,
            now,
            random: &mut self.at_rest.random,
            patience: self.definition.patience,
            stalled: &mut self.stalled,
        }
    }
}
