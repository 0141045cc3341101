//! How a thread goes from state to state.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Execution;
use super::messages::{Command, Outcome, TaskId, Trace};
use super::thread::{Thread, ThreadId, WaitsFor};
use crate::definition::{Edge, Kind, State};
use crate::error::StateError;
use crate::retry::{catcher, next_retry};
use crate::scope::{Context, Visit};
use crate::size;
use crate::states::{self, Attempt, Leave, Step};

/// States that one event may lead through. A loop of states that never wait for anything outside ends here: its
/// events would fill a Standard execution's history (25,000) all the same.
const MAX_STATES_PER_EVENT: usize = 10_000;

/// The state to enter next, and its input; none where the thread has to wait or is over.
type Next = Option<(String, Arc<Value>)>;

impl Execution {
    /// Carries out a step, and all that follow from it at once.
    pub(super) fn proceed(&mut self, key: ThreadId, mut thread: Thread, step: Step, now: Timestamp) {
        match self.settle(&mut thread, step, now) {
            Some(next) => self.run(key, thread, next, now),
            None => self.rest(key, thread),
        }
    }

    /// Enters states until one has to wait.
    pub(super) fn run(&mut self, key: ThreadId, mut thread: Thread, first: (String, Arc<Value>), now: Timestamp) {
        let definition = Arc::clone(&self.definition);
        let mut next = Some(first);
        let mut entered = 0;
        while let Some((name, input)) = next.take() {
            entered += 1;
            if entered > MAX_STATES_PER_EVENT {
                let cause =
                    format!("More than {MAX_STATES_PER_EVENT} states were entered without waiting for anything.");
                return self.fail_for_good(StateError::runtime(cause));
            }
            let Some(state) = definition.state(&name) else {
                return self.fail_for_good(StateError::no_such_state(&name));
            };
            self.at_rest.events += 1;
            thread.move_to(&name, input, now, self.at_rest.events);
            self.trace_entry(state, &thread);
            let step = self.enter(state, &thread, now);
            next = self.settle(&mut thread, step, now);
        }
        self.rest(key, thread);
    }

    fn enter(&mut self, state: &State, thread: &Thread, now: Timestamp) -> Step {
        let mut visit = self.visit(state, thread, now);
        let left = match &state.kind {
            Kind::Task(task) => return Step::of_attempt(task.attempt(&mut visit)),
            Kind::Wait(wait) => match wait.enter(&mut visit) {
                Ok(at) if at > now => return Step::Wait(at),
                Ok(_) => states::wait_is_over(state, &mut visit),
                Err(error) => Err(error),
            },
            Kind::Fail(fail) => Err(fail.enter(&mut visit)),
            Kind::Choice(choice) => choice.enter(state, &mut visit),
            Kind::Pass => states::pass(state, &mut visit),
            Kind::Succeed => states::succeed(state, &mut visit),
        };
        Step::of_leave(left)
    }

    /// What a step means for its thread.
    fn settle(&mut self, thread: &mut Thread, step: Step, now: Timestamp) -> Next {
        match step {
            Step::Wait(at) => {
                thread.waits_for = WaitsFor::Time(at);
                None
            }
            Step::Attempt(attempt) => {
                self.schedule(thread, attempt);
                None
            }
            Step::Leave(leave) => match leave.check() {
                Ok(()) => self.leave(thread, leave),
                Err(error) => self.fail(thread, error, now),
            },
            Step::Failed(error) => self.fail(thread, error, now),
        }
    }

    fn schedule(&mut self, thread: &mut Thread, attempt: Attempt) {
        self.at_rest.tasks += 1;
        let id = TaskId(self.at_rest.tasks);
        thread.waits_for = WaitsFor::Task(id);
        self.at_rest.commands.push_back(Command::ScheduleTask {
            id,
            state: thread.state.clone(),
            retry_count: thread.retry_count(),
            resource: attempt.resource,
            function: attempt.function,
            payload: attempt.payload,
            timeout: attempt.timeout,
            heartbeat: attempt.heartbeat,
        });
    }

    fn leave(&mut self, thread: &mut Thread, leave: Leave) -> Next {
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
        let Some(next) = leave.next else {
            self.finish(Ok(&leave.output));
            return None;
        };
        Some((next, leave.output))
    }

    /// Retries, catches, or fails for good.
    fn fail(&mut self, thread: &mut Thread, error: StateError, now: Timestamp) -> Next {
        let error = self.name_state(thread, error);
        let definition = Arc::clone(&self.definition);
        let Some(state) = definition.state(&thread.state) else {
            self.fail_for_good(error);
            return None;
        };
        if let Some((retrier, delay)) =
            next_retry(&state.retriers, &mut thread.retries, &error, &mut self.at_rest.random)
        {
            let state = thread.state.clone();
            self.traces.push_back(Trace::EdgeTaken(Edge::Retry { state, retrier }));
            thread.waits_for = WaitsFor::Retry(now.checked_add(delay).unwrap_or(Timestamp::MAX));
            return None;
        }
        let Some((index, catcher)) = catcher(&state.catchers, &error) else {
            self.fail_for_good(error);
            return None;
        };
        let edge = Edge::Catch { state: thread.state.clone(), catcher: index };
        let caught = catcher.catch(&error, &mut self.visit(state, thread, now));
        match caught.and_then(|leave| leave.check().map(|()| leave)) {
            Ok(leave) => self.leave(thread, leave.by(edge)),
            Err(error) => {
                let error = self.name_state(thread, error);
                self.fail_for_good(error);
                None
            }
        }
    }

    /// Completes the cause of an evaluation error, and traces it.
    fn name_state(&mut self, thread: &Thread, mut error: StateError) -> StateError {
        let Some(evaluation) = &error.evaluation else {
            return error;
        };
        let cause = format!(
            "An error occurred while executing the state '{}' (entered at the event id #{}). {}",
            thread.state,
            thread.entered_event,
            error.cause.as_deref().unwrap_or_default()
        );
        self.traces.push_back(Trace::EvaluationFailed {
            state: thread.state.clone(),
            error: error.name().to_owned(),
            cause: cause.clone(),
            location: evaluation.location.clone(),
        });
        error.cause = Some(cause);
        error
    }

    pub(super) fn fail_for_good(&mut self, error: StateError) {
        self.finish(Err(error));
    }

    /// A thread is over: the machine's own, and so the execution, with whatever else is still under way. The one place
    /// where branches and iterations will hand their results to the thread that waits for them instead.
    fn finish(&mut self, result: Result<&Value, StateError>) {
        let outcome = match result {
            Ok(output) => Outcome::Succeeded { output: output.clone() },
            Err(StateError { error, cause, .. }) => Outcome::Failed { error, cause },
        };
        let open = std::mem::take(&mut self.at_rest.threads);
        let cancelled = open.values().filter_map(Thread::attempt);
        let commands = &mut self.at_rest.commands;
        commands.extend(cancelled.map(|id| Command::CancelTask { id }));
        commands.push_back(match outcome.clone() {
            Outcome::Succeeded { output } => Command::Succeed { output },
            Outcome::Failed { error, cause } => Command::Fail { error, cause },
        });
        self.at_rest.outcome = Some(outcome);
    }

    /// Keeps a thread that waits.
    fn rest(&mut self, key: ThreadId, thread: Thread) {
        if self.at_rest.outcome.is_none() {
            self.at_rest.threads.insert(key, thread);
        }
    }

    /// The first thing that happens: an input that no execution may have ends it before its first state.
    pub(super) fn begin(&mut self, input: Arc<Value>, now: Timestamp) {
        if size::is_too_large(&input) {
            let cause = "The execution's input is larger than the maximum number of bytes service limit.";
            return self.fail_for_good(StateError::new("States.DataLimitExceeded", cause));
        }
        let first = self.definition.start_at().to_owned();
        let thread = Thread::new(&first, Arc::clone(&input), now);
        self.run(ThreadId::ROOT, thread, (first, input), now);
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

    pub(super) fn visit<'a>(&'a mut self, state: &State, thread: &'a Thread, now: Timestamp) -> Visit<'a> {
        let can_retry = matches!(state.kind, Kind::Task(_));
        Visit {
            context: Context {
                start: &self.at_rest.start,
                started_at: self.at_rest.started_at,
                state: &thread.state,
                entered_at: thread.entered_at,
                retry_count: can_retry.then(|| thread.retry_count()),
            },
            input: &thread.input,
            variables: &thread.variables,
            now,
            random: &mut self.at_rest.random,
        }
    }
}
