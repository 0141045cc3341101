//! One run of a state machine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::MAX_PAYLOAD_BYTES;
use crate::definition::{Definition, Edge, Kind, State};
use crate::error::StateError;
use crate::retry::{catcher, next_retry};
use crate::scope::{Random, Scope};
use crate::states::{self, Leave, Step};

/// What an execution is started with; all of it but the seed becomes `$states.context`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the context object")]
pub struct Start {
    pub input: Value,
    pub execution_id: String,
    pub execution_name: String,
    pub state_machine_id: String,
    pub state_machine_name: String,
    pub role_arn: String,
    /// Where random numbers (jitter, `$random`, `$uuid`) come from.
    pub seed: u64,
}

/// Names one attempt of a task within an execution; from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

/// What happened outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The function answered.
    TaskSucceeded {
        /// The attempt.
        id: TaskId,
        /// The answer.
        result: Value,
    },
    /// The function failed, or the caller ended the attempt: `States.Timeout` or `States.HeartbeatTimeout` with an
    /// empty cause when it took too long.
    TaskFailed {
        /// The attempt.
        id: TaskId,
        /// The error's name.
        error: String,
        /// Why; JSON text where a function failed.
        cause: String,
    },
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Call a function, and report the end as an [`Event`].
    ScheduleTask {
        /// The attempt.
        id: TaskId,
        /// The state that wants it.
        state: String,
        /// 0 for the first attempt of a visit to the state.
        retry_count: u64,
        /// The state's `Resource`.
        resource: String,
        /// The function, by name or ARN.
        function: String,
        /// What to call it with.
        payload: Value,
        /// How long the attempt may take from its real beginning.
        timeout: Option<Duration>,
        /// How long it may be silent.
        heartbeat: Option<Duration>,
    },
    /// The attempt's end is of no interest any more.
    CancelTask {
        /// The attempt.
        id: TaskId,
    },
    /// The execution has ended well.
    Succeed {
        /// Its output.
        output: Value,
    },
    /// The execution has failed.
    Fail {
        /// The error's name, if it has one.
        error: Option<String>,
        /// Why, if it says so.
        cause: Option<String>,
    },
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Well.
    Succeeded {
        /// Its output.
        output: Value,
    },
    /// Not well.
    Failed {
        /// The error's name, if it has one.
        error: Option<String>,
        /// Why, if it says so.
        cause: Option<String>,
    },
}

/// What happened inside, in the words of AWS's history.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are those of AWS's history")]
pub enum Trace {
    /// `<state_type>StateEntered`
    StateEntered { state: String, state_type: &'static str, input: Value },
    /// `<state_type>StateExited`
    StateExited { state: String, state_type: &'static str, output: Value, assigned: Map<String, Value> },
    /// `EvaluationFailed`
    EvaluationFailed { state: String, error: String, cause: String, location: Option<String> },
    /// Something that test cases are counted by.
    EdgeTaken(Edge),
}

/// An execution at rest. Goes with the definition that it was taken from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    start: Start,
    started_at: Timestamp,
    random: Random,
    threads: BTreeMap<u64, Thread>,
    tasks: u64,
    /// How many states were entered or left; AWS counts events in some causes.
    events: u64,
    commands: VecDeque<Command>,
    outcome: Option<Outcome>,
}

/// One run of a state machine. See the crate's documentation for the polling order.
#[derive(Debug, Clone)]
pub struct Execution {
    definition: Arc<Definition>,
    at_rest: Snapshot,
    traces: VecDeque<Trace>,
}

/// One line of control: the machine itself, and later the branches of a Parallel and the iterations of a Map.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Thread {
    state: String,
    input: Value,
    variables: BTreeMap<String, Value>,
    entered_at: Timestamp,
    entered_event: u64,
    /// Retries used, by retrier.
    retries: Vec<u64>,
    waits_for: WaitsFor,
}

/// What a thread waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum WaitsFor {
    /// An attempt's end.
    Task(TaskId),
    /// The end of a Wait state.
    Time(Timestamp),
    /// The next attempt.
    Retry(Timestamp),
}

/// What a state wants called.
pub(crate) struct Attempt {
    pub(crate) resource: String,
    pub(crate) function: String,
    pub(crate) payload: Value,
    pub(crate) timeout: Option<Duration>,
    pub(crate) heartbeat: Option<Duration>,
}

/// The machine's only thread, until Parallel and Map have more.
const ROOT: u64 = 0;

/// States that one event may lead through. A loop of states that never wait for anything outside ends here: its
/// events would fill a Standard execution's history (25,000) all the same.
const MAX_STATES_PER_EVENT: usize = 10_000;

/// A visit to a state: what expressions may look at.
pub(crate) struct Visit<'a> {
    pub(crate) state: &'a str,
    pub(crate) input: &'a Value,
    pub(crate) now: Timestamp,
    variables: &'a BTreeMap<String, Value>,
    context: Value,
    random: &'a mut Random,
}

impl Visit<'_> {
    pub(crate) fn scope(&mut self, more: Option<(&str, Value)>) -> Scope<'_> {
        Scope::new(self.variables, self.input, self.context.clone(), more, self.now, self.random)
    }
}

impl Execution {
    /// Begins an execution and enters its first state.
    pub fn start(definition: Arc<Definition>, start: Start, now: Timestamp) -> Self {
        let (input, random) = (start.input.clone(), Random::new(start.seed));
        let at_rest = Snapshot {
            start,
            started_at: now,
            random,
            threads: BTreeMap::new(),
            tasks: 0,
            // ExecutionStarted.
            events: 1,
            commands: VecDeque::new(),
            outcome: None,
        };
        let mut execution = Self { definition, at_rest, traces: VecDeque::new() };
        let first = execution.definition.start_at().to_owned();
        let thread = Thread {
            state: String::new(),
            input: Value::Null,
            variables: BTreeMap::new(),
            entered_at: now,
            entered_event: 0,
            retries: Vec::new(),
            waits_for: WaitsFor::Time(now),
        };
        execution.run(ROOT, thread, Some((first, input)), now);
        execution
    }

    /// Tells what happened outside. Events of attempts that are over are ignored.
    pub fn handle_event(&mut self, event: Event, now: Timestamp) {
        let (Event::TaskSucceeded { id, .. } | Event::TaskFailed { id, .. }) = event;
        let waiting = |thread: &Thread| thread.waits_for == WaitsFor::Task(id);
        let Some(key) = self.at_rest.threads.iter().find(|(_, thread)| waiting(thread)).map(|(key, _)| *key) else {
            return;
        };
        let Some(thread) = self.at_rest.threads.remove(&key) else {
            return;
        };
        let definition = Arc::clone(&self.definition);
        let Some(state) = definition.state(&thread.state) else {
            return;
        };
        let Kind::Task(task) = &state.kind else { return };
        let step = match event {
            Event::TaskSucceeded { result, .. } => {
                let left = task.succeed(state, &mut self.visit(&thread, now), result);
                left.map_or_else(Step::Failed, Step::Leave)
            }
            Event::TaskFailed { error, cause, .. } => Step::Failed(StateError::new(&error, cause)),
        };
        self.proceed(key, thread, step, now);
    }

    /// Tells that time has passed: every Wait and every delay of a retry that is due ends.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let due = |thread: &Thread| thread.due().is_some_and(|at| at <= now);
        let keys: Vec<u64> =
            self.at_rest.threads.iter().filter(|(_, thread)| due(thread)).map(|(key, _)| *key).collect();
        let definition = Arc::clone(&self.definition);
        for key in keys {
            let Some(thread) = self.at_rest.threads.remove(&key) else {
                continue;
            };
            let Some(state) = definition.state(&thread.state) else {
                continue;
            };
            let step = match (&state.kind, &thread.waits_for) {
                (Kind::Task(task), _) => {
                    task.attempt(&mut self.visit(&thread, now)).map_or_else(Step::Failed, Step::Attempt)
                }
                _ => {
                    let left = states::wait_is_over(state, &mut self.visit(&thread, now));
                    left.map_or_else(Step::Failed, Step::Leave)
                }
            };
            self.proceed(key, thread, step, now);
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
        Self { definition, at_rest: snapshot, traces: VecDeque::new() }
    }

    /// Carries out a step, and all that follow from it at once.
    fn proceed(&mut self, key: u64, mut thread: Thread, step: Step, now: Timestamp) {
        let next = self.settle(&mut thread, step, now);
        match next {
            Some(next) => self.run(key, thread, Some(next), now),
            None => self.rest(key, thread),
        }
    }

    /// Enters states until one has to wait.
    fn run(&mut self, key: u64, mut thread: Thread, first: Option<(String, Value)>, now: Timestamp) {
        let definition = Arc::clone(&self.definition);
        let mut next = first;
        let mut entered = 0;
        while let Some((name, input)) = next.take() {
            let Some(state) = definition.state(&name) else { return };
            entered += 1;
            if entered > MAX_STATES_PER_EVENT {
                let cause =
                    format!("More than {MAX_STATES_PER_EVENT} states were entered without waiting for anything.");
                return self.end(Outcome::Failed { error: Some("States.Runtime".to_owned()), cause: Some(cause) });
            }
            self.at_rest.events += 1;
            let entered_event = self.at_rest.events;
            let variables = std::mem::take(&mut thread.variables);
            thread = Thread {
                state: name,
                input,
                variables,
                entered_at: now,
                entered_event,
                retries: Vec::new(),
                waits_for: WaitsFor::Time(now),
            };
            self.trace_entry(state, &thread);
            let step = self.enter(state, &thread, now);
            next = self.settle(&mut thread, step, now);
        }
        self.rest(key, thread);
    }

    fn enter(&mut self, state: &State, thread: &Thread, now: Timestamp) -> Step {
        let mut visit = self.visit(thread, now);
        let left = match &state.kind {
            Kind::Task(task) => return task.attempt(&mut visit).map_or_else(Step::Failed, Step::Attempt),
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
        left.map_or_else(Step::Failed, Step::Leave)
    }

    /// What a step means for its thread; the state to enter next, if there is one.
    fn settle(&mut self, thread: &mut Thread, step: Step, now: Timestamp) -> Option<(String, Value)> {
        match step {
            Step::Wait(at) => {
                thread.waits_for = WaitsFor::Time(at);
                None
            }
            Step::Attempt(attempt) => {
                self.schedule(thread, attempt);
                None
            }
            Step::Leave(leave) => self.leave(thread, leave),
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
            retry_count: thread.retries.iter().sum(),
            resource: attempt.resource,
            function: attempt.function,
            payload: attempt.payload,
            timeout: attempt.timeout,
            heartbeat: attempt.heartbeat,
        });
    }

    fn leave(&mut self, thread: &mut Thread, leave: Leave) -> Option<(String, Value)> {
        if leave.output.to_string().len() > MAX_PAYLOAD_BYTES {
            let error = states::too_large(&thread.state);
            return self.fail_for_good(error);
        }
        self.at_rest.events += 1;
        self.traces.extend(leave.edge.map(Trace::EdgeTaken));
        self.traces.push_back(Trace::StateExited {
            state: thread.state.clone(),
            state_type: self.definition.state(&thread.state).map_or("", |state| state.kind.name()),
            output: leave.output.clone(),
            assigned: leave.assigned.iter().cloned().collect(),
        });
        thread.variables.extend(leave.assigned);
        match leave.next {
            Some(next) => Some((next, leave.output)),
            None => {
                self.end(Outcome::Succeeded { output: leave.output });
                None
            }
        }
    }

    /// Retries, catches, or fails for good.
    fn fail(&mut self, thread: &mut Thread, error: StateError, now: Timestamp) -> Option<(String, Value)> {
        let error = self.name_state(thread, error);
        let definition = Arc::clone(&self.definition);
        let Some(Kind::Task(task)) = definition.state(&thread.state).map(|state| &state.kind) else {
            return self.fail_for_good(error);
        };
        if let Some((retrier, delay)) =
            next_retry(&task.retriers, &mut thread.retries, &error, &mut self.at_rest.random)
        {
            self.traces.push_back(Trace::EdgeTaken(Edge::Retry { state: thread.state.clone(), retrier }));
            thread.waits_for = WaitsFor::Retry(now.checked_add(delay).unwrap_or(Timestamp::MAX));
            return None;
        }
        let Some((catcher_index, catcher)) = catcher(&task.catchers, &error) else {
            return self.fail_for_good(error);
        };
        let edge = Edge::Catch { state: thread.state.clone(), catcher: catcher_index };
        let output = error.output();
        let more = Some(("errorOutput", output.clone()));
        let next = Some(catcher.next.clone());
        let mut visit = self.visit(thread, now);
        match states::leave(&mut visit, more, &catcher.assign, catcher.output.as_ref(), output, next) {
            Ok(leave) => self.leave(thread, Leave { edge: Some(edge), ..leave }),
            Err(error) => {
                let error = self.name_state(thread, error);
                self.fail_for_good(error)
            }
        }
    }

    /// Completes the cause of an evaluation error, and traces it.
    fn name_state(&mut self, thread: &Thread, mut error: StateError) -> StateError {
        if let Some(evaluation) = &error.evaluation {
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
        }
        error
    }

    fn fail_for_good(&mut self, error: StateError) -> Option<(String, Value)> {
        self.end(Outcome::Failed { error: error.error, cause: error.cause });
        None
    }

    fn end(&mut self, outcome: Outcome) {
        self.at_rest.commands.push_back(match outcome.clone() {
            Outcome::Succeeded { output } => Command::Succeed { output },
            Outcome::Failed { error, cause } => Command::Fail { error, cause },
        });
        self.at_rest.outcome = Some(outcome);
    }

    /// Keeps a thread that waits.
    fn rest(&mut self, key: u64, thread: Thread) {
        if self.at_rest.outcome.is_none() {
            self.at_rest.threads.insert(key, thread);
        }
    }

    fn trace_entry(&mut self, state: &State, thread: &Thread) {
        self.traces.push_back(Trace::EdgeTaken(Edge::State { state: thread.state.clone() }));
        self.traces.push_back(Trace::StateEntered {
            state: thread.state.clone(),
            state_type: state.kind.name(),
            input: thread.input.clone(),
        });
    }

    fn visit<'a>(&'a mut self, thread: &'a Thread, now: Timestamp) -> Visit<'a> {
        let start = &self.at_rest.start;
        let mut state = json!({ "Name": thread.state, "EnteredTime": iso(thread.entered_at) });
        if let Some(Kind::Task(_)) = self.definition.state(&thread.state).map(|state| &state.kind) {
            state["RetryCount"] = thread.retries.iter().sum::<u64>().into();
        }
        let context = json!({
            "Execution": {
                "Id": start.execution_id,
                "Input": start.input,
                "Name": start.execution_name,
                "RoleArn": start.role_arn,
                "StartTime": iso(self.at_rest.started_at),
                "RedriveCount": 0,
            },
            "StateMachine": { "Id": start.state_machine_id, "Name": start.state_machine_name },
            "State": state,
        });
        Visit {
            state: &thread.state,
            input: &thread.input,
            now,
            variables: &thread.variables,
            context,
            random: &mut self.at_rest.random,
        }
    }
}

impl Thread {
    fn due(&self) -> Option<Timestamp> {
        match self.waits_for {
            WaitsFor::Task(_) => None,
            WaitsFor::Time(at) | WaitsFor::Retry(at) => Some(at),
        }
    }
}

/// As in AWS's context object: milliseconds, always three digits.
fn iso(at: Timestamp) -> String {
    format!("{at:.3}")
}
