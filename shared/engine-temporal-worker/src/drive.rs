//! A workflow: tells the interpreter what happened, and asks the server for what it wants.
//!
//! What is under way is polled in the order in which it was asked for: a replay then sees the same order.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use asl::{
    ChildPath, Children, Command, Definition, Event, Execution, ExecutionStart, MapRunId, Outcome, TaskId, Told,
};
use contracts::step::WorkflowRef;
use contracts::{ActivityError, ErrorName, Timestamp};
use engine_temporal::{StateMachineFailure, StateMachineInput};
use futures::FutureExt as _;
use futures::future::{FusedFuture, LocalBoxFuture};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use temporalio_common::RetryPolicy;
use temporalio_common::data_converters::RawValue;
use temporalio_common::error::{ApplicationFailure, IncomingError, TimeoutType};
use temporalio_sdk::{
    ActivityCancellationType, ActivityExecutionError, ActivityOptions, ChildWorkflowCancellationType,
    ChildWorkflowExecutionError, ChildWorkflowOptions, LocalActivityOptions, SignalWorkflowOptions, TimerOptions,
    WorkflowCancellationToken, WorkflowContext, WorkflowTermination,
};

use crate::activity::{AttemptInput, HEARTBEAT_TIMEOUT};
use crate::chores::{Chore, CountItems, ExecutionRef, ReadItems, RecordEnd, WriteResults};
use crate::machine::{Done, Machine, RangeMachine};
use crate::range::{self, End, Failures, MAX_RESULT_BYTES, RANGE_TYPE, RangeInput, RangeOutput};
use crate::types::{ActivityNamed, ChildrenFailed, Flow, FlowNamed, json_of};

/// The net under the limit that the worker itself keeps: a worker that does not is broken.
const LIMIT_NET: Duration = Duration::from_secs(10);

/// For Tasks without a limit: Step Functions' own, which is practically none.
const NO_LIMIT: Duration = Duration::from_secs(99_999_999);

/// How long an expression may take: less than the server waits for a turn of the workflow.
const MAX_EVALUATION: Duration = Duration::from_secs(5);

/// Longer than any chore takes.
const CHORE_LIMIT: Duration = Duration::from_secs(300);

/// The same for the record of an end, which a worker that is to stop waits for.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The error of an execution that cannot go on.
const RUNTIME: &str = "States.Runtime";

/// Runs a workflow to its end.
pub(crate) async fn run(ctx: &WorkflowContext<Flow>, input: RawValue) -> Result<Value, WorkflowTermination> {
    let input = json_of(&input);
    if ctx.info().workflow_type() == RANGE_TYPE {
        return match input.and_then(|input| Driver::of_range(ctx, input)) {
            Ok(driver) => driver.drive_range().await,
            Err(cause) => Err(terminated(&unfit(cause))),
        };
    }
    let execution = input.as_ref().ok().and_then(|input| execution_of(&input["input"]));
    let records_locally = input.as_ref().is_ok_and(|input| input["records_end_locally"] == true);
    let outcome = match input.and_then(|input| Driver::of_execution(ctx, input, execution.clone())) {
        Ok(driver) => driver.drive_execution().await,
        Err(cause) => Err(unfit(cause)),
    };
    if let Some(execution) = execution {
        let end = RecordEnd { execution, end: outcome.clone(), at: now(ctx) };
        let recorded = match records_locally {
            true => record_end(ctx, &end).await,
            false => chore(ctx, Chore::RecordEnd, &end).1.await,
        };
        if let Err((error, cause)) = recorded {
            // The reconciler's now.
            tracing::error!(workflow_id = ctx.workflow_id(), error, cause, "the end is not recorded");
        }
    }
    outcome.map_err(|failure| {
        let is_cancelled = failure.error.as_deref() == Some(ErrorName::WorkflowCancelled.as_str());
        match is_cancelled && ctx.cancellation_token().is_cancelled() {
            true => WorkflowTermination::cancelled_with_details(failure),
            false => terminated(&failure),
        }
    })
}

/// The execution that the workflow is, if it is one with a record of ours.
fn execution_of(input: &Value) -> Option<ExecutionRef> {
    let workflow: WorkflowRef = serde_json::from_value(input["workflow"].clone()).ok()?;
    Some(ExecutionRef { tenant_id: workflow.tenant_id, id: workflow.id })
}

fn unfit(cause: String) -> StateMachineFailure {
    StateMachineFailure { error: Some(RUNTIME.to_owned()), cause: Some(cause) }
}

fn terminated(failure: &StateMachineFailure) -> WorkflowTermination {
    let text = failure.cause.clone().unwrap_or_default();
    let failed = ApplicationFailure::builder(text)
        .maybe_type_name(failure.error.clone())
        .non_retryable(true)
        .details(failure.clone());
    WorkflowTermination::failed_application(failed.build())
}

fn now(ctx: &WorkflowContext<Flow>) -> Timestamp {
    ctx.workflow_time().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What is under way.
#[derive(Debug, Clone, PartialEq)]
enum FlightKind {
    Task { path: ChildPath, id: TaskId },
    Timer { due: Timestamp },
    Count { path: ChildPath, map_run: MapRunId },
    Items { path: ChildPath, map_run: MapRunId, from: u64 },
    Results { path: ChildPath, map_run: MapRunId },
    Range { map_run: MapRunId },
    Signal,
    RequestCancel,
}

impl FlightKind {
    /// Whether it is for this Map run.
    fn is_of_run(&self, of: &ChildPath, run: MapRunId) -> bool {
        match self {
            Self::Count { path, map_run } | Self::Items { path, map_run, .. } | Self::Results { path, map_run } => {
                path == of && *map_run == run
            }
            Self::Range { map_run } => of.is_root() && *map_run == run,
            Self::Task { .. } | Self::Timer { .. } | Self::Signal | Self::RequestCancel => false,
        }
    }
}

/// How it came out: a value, or an error's name and cause.
type Landing = Result<Value, (String, String)>;

struct Flight<'a> {
    what: FlightKind,
    token: WorkflowCancellationToken,
    landing: LocalBoxFuture<'a, Landing>,
}

/// What happened.
enum Happened {
    Landed(FlightKind, Landing),
    Told(Failures),
    Cancelled,
}

/// What a workflow is started with.
fn read<T: DeserializeOwned>(input: Value) -> Result<T, String> {
    serde_json::from_value(input).map_err(|error| format!("the workflow's input is malformed: {error}"))
}

fn load(definition: &Value) -> Result<Arc<Definition>, String> {
    let definition = Definition::load(&definition.to_string()).map_err(|error| error.to_string())?;
    Ok(Arc::new(definition.stall_after(MAX_EVALUATION)))
}

struct Driver<'a> {
    ctx: &'a WorkflowContext<Flow>,
    machine: Machine,
    definition: Value,
    /// The tenant of the execution; none if nobody knows it.
    tenant_id: Option<String>,
    execution: Option<ExecutionRef>,
    /// The items of this workflow's own range.
    range: Range<u64>,
    flights: Vec<Flight<'a>>,
    /// Items that were read and not wanted yet, by the run that wants them, from an index on.
    items: BTreeMap<(ChildPath, MapRunId), (u64, Vec<Value>)>,
    /// What children of runs came to, as results may have to be written.
    ends: BTreeMap<(ChildPath, MapRunId), BTreeMap<u64, End>>,
    cancel_seen: bool,
}

impl<'a> Driver<'a> {
    fn of_execution(
        ctx: &'a WorkflowContext<Flow>,
        input: Value,
        execution: Option<ExecutionRef>,
    ) -> Result<Self, String> {
        let StateMachineInput { definition, input, .. } = read(input)?;
        let (id, machine) = (ctx.workflow_id().to_owned(), ctx.info().workflow_type().to_owned());
        let start = ExecutionStart {
            input,
            execution_id: id.clone(),
            seed: engine::seed_of(&id),
            execution_name: id,
            state_machine_id: machine.clone(),
            state_machine_name: machine,
            role_arn: String::new(),
        };
        let at = now(ctx);
        let machine = guarded(|| {
            Ok::<_, String>(Machine::Execution(Box::new(Execution::start(load(&definition)?, start, at))))
        })??;
        let tenant_id = execution.as_ref().map(|execution| execution.tenant_id.clone());
        Ok(Self::new(ctx, machine, definition, tenant_id, execution, 0..0))
    }

    fn of_range(ctx: &'a WorkflowContext<Flow>, input: Value) -> Result<Self, String> {
        let RangeInput { definition, tenant_id, run, range } = read(input)?;
        let machine = guarded(|| {
            let (id, children) = (run.id, Children::new(load(&definition)?, run, range.clone()));
            Ok::<_, String>(Machine::Range(Box::new(RangeMachine::new(children, id))))
        })??;
        Ok(Self::new(ctx, machine, definition, tenant_id, None, range))
    }

    fn new(
        ctx: &'a WorkflowContext<Flow>,
        machine: Machine,
        definition: Value,
        tenant_id: Option<String>,
        execution: Option<ExecutionRef>,
        range: Range<u64>,
    ) -> Self {
        Self {
            ctx,
            machine,
            definition,
            tenant_id,
            execution,
            range,
            flights: Vec::new(),
            items: BTreeMap::new(),
            ends: BTreeMap::new(),
            cancel_seen: false,
        }
    }

    async fn drive_execution(self) -> Result<Value, StateMachineFailure> {
        match self.drive().await {
            Ok(Done::Execution(Outcome::Succeeded { output })) => Ok(output),
            Ok(Done::Execution(Outcome::Failed { error, cause })) => Err(StateMachineFailure { error, cause }),
            Ok(Done::Range(_)) => Err(unfit("an execution ended as a range".to_owned())),
            Err(Stopped::Cancelled) => {
                Err(StateMachineFailure { error: Some(ErrorName::WorkflowCancelled.as_str().to_owned()), cause: None })
            }
            Err(Stopped::Broken(cause)) => Err(unfit(cause)),
        }
    }

    async fn drive_range(self) -> Result<Value, WorkflowTermination> {
        let output = match self.drive().await {
            Ok(Done::Range(output)) => output,
            Ok(Done::Execution(_)) => RangeOutput::default(),
            Err(Stopped::Cancelled) => return Err(WorkflowTermination::cancelled()),
            Err(Stopped::Broken(cause)) => RangeOutput { ends: Vec::new(), failure: Some((RUNTIME.to_owned(), cause)) },
        };
        serde_json::to_value(output).map_err(|error| terminated(&unfit(error.to_string())))
    }

    async fn drive(mut self) -> Result<Done, Stopped> {
        loop {
            self.carry_out()?;
            if let Some(done) = self.machine.done() {
                self.give_up(|_| true);
                return Ok(done);
            }
            if self.tell_time()? || self.tell_items()? {
                continue;
            }
            self.tell_parent();
            match self.next().await {
                Happened::Landed(what, landing) => self.landed(what, landing)?,
                Happened::Told(failures) => self.failures_told(failures)?,
                Happened::Cancelled => self.cancelled()?,
            }
        }
    }

    /// Waits until something happens.
    async fn next(&mut self) -> Happened {
        let (ctx, flights) = (self.ctx, &mut self.flights);
        let mut cancelled = Box::pin(ctx.cancelled());
        let is_awaited = !self.cancel_seen;
        poll_fn(|cx| {
            // Looking does not wake anybody, taking does: who takes without need is polled for ever.
            if ctx.state(|flow| !flow.told.is_empty()) {
                return Poll::Ready(Happened::Told(ctx.state_mut(|flow| flow.told.remove(0))));
            }
            if is_awaited && !cancelled.is_terminated() && cancelled.poll_unpin(cx).is_ready() {
                return Poll::Ready(Happened::Cancelled);
            }
            // Nothing goes on before a cancel is known: else the next step might begin first.
            let is_cancelling = flights.iter().any(|flight| flight.what == FlightKind::RequestCancel);
            for index in 0..flights.len() {
                if is_cancelling && flights[index].what != FlightKind::RequestCancel {
                    continue;
                }
                if let Poll::Ready(landing) = flights[index].landing.poll_unpin(cx) {
                    return Poll::Ready(Happened::Landed(flights.remove(index).what, landing));
                }
            }
            Poll::Pending
        })
        .await
    }

    fn landed(&mut self, what: FlightKind, landing: Landing) -> Result<(), Stopped> {
        match what {
            FlightKind::Task { path, id } => {
                let event = match landing {
                    Ok(result) => Event::TaskSucceeded { id, result },
                    Err((error, cause)) => Event::TaskFailed { id, error, cause },
                };
                self.tell(&path, Told::Event(event))
            }
            FlightKind::Timer { due } => {
                let at = now(self.ctx).max(due);
                self.tell_at(&ChildPath::default(), Told::Timer, at)
            }
            FlightKind::Count { path, map_run } => {
                let event = match landing {
                    Ok(count) => Event::ItemsRead { map_run, count: count.as_u64().unwrap_or_default() },
                    Err((error, cause)) => Event::MapRunFailed { map_run, error, cause },
                };
                self.tell(&path, Told::Event(event))
            }
            FlightKind::Items { path, map_run, from } => match landing {
                Ok(Value::Array(items)) => {
                    self.items.insert((path, map_run), (from, items));
                    Ok(())
                }
                Ok(_) => Err(Stopped::Broken("items that are no array".to_owned())),
                Err((error, cause)) => self.tell(&path, Told::Event(Event::MapRunFailed { map_run, error, cause })),
            },
            FlightKind::Results { path, map_run } => {
                let event = match landing {
                    Ok(result) => Event::ResultsWritten { map_run, result },
                    Err((error, cause)) => Event::MapRunFailed { map_run, error, cause },
                };
                self.tell(&path, Told::Event(event))
            }
            FlightKind::Range { map_run } => self.range_ended(map_run, landing),
            FlightKind::Signal | FlightKind::RequestCancel => Ok(()),
        }
    }

    fn range_ended(&mut self, map_run: MapRunId, landing: Landing) -> Result<(), Stopped> {
        let output = landing
            .and_then(|output| serde_json::from_value(output).map_err(|error| (RUNTIME.to_owned(), error.to_string())));
        let RangeOutput { ends, failure } =
            output.unwrap_or_else(|failure| RangeOutput { ends: Vec::new(), failure: Some(failure) });
        self.children_ended(map_run, ends)?;
        let Some((error, cause)) = failure else { return Ok(()) };
        self.tell(&ChildPath::default(), Told::Event(Event::MapRunFailed { map_run, error, cause }))
    }

    fn failures_told(&mut self, failures: Failures) -> Result<(), Stopped> {
        match failures.map_run {
            Some(map_run) => self.children_ended(map_run, failures.ends),
            None => Ok(()),
        }
    }

    fn children_ended(&mut self, map_run: MapRunId, ends: Vec<End>) -> Result<(), Stopped> {
        for end in ends {
            let kept = self.ends.entry((ChildPath::default(), map_run)).or_default();
            kept.entry(end.index).or_insert_with(|| end.clone());
            let End { index, has_failed, result } = end;
            self.tell(&ChildPath::default(), Told::End { map_run, index, has_failed, result })?;
        }
        Ok(())
    }

    /// Somebody cancelled at the server itself: for an execution that is what a cancel by the API is.
    fn cancelled(&mut self) -> Result<(), Stopped> {
        self.cancel_seen = true;
        let Some(execution) = &self.execution else {
            self.give_up(|_| true);
            return Err(Stopped::Cancelled);
        };
        let (token, landing) = chore(self.ctx, Chore::RequestCancel, execution);
        self.flights.push(Flight { what: FlightKind::RequestCancel, token, landing });
        Ok(())
    }

    fn tell(&mut self, path: &ChildPath, told: Told) -> Result<(), Stopped> {
        self.tell_at(path, told, now(self.ctx))
    }

    fn tell_at(&mut self, path: &ChildPath, told: Told, at: Timestamp) -> Result<(), Stopped> {
        guarded(|| self.machine.tell(path, told, at)).map_err(Stopped::Broken)
    }

    /// Carries out what the machine wants.
    fn carry_out(&mut self) -> Result<(), Stopped> {
        loop {
            let at = now(self.ctx);
            let nested = guarded(|| self.machine.settle(at)).map_err(Stopped::Broken)?;
            if let Some(reason) = self.machine.stalled() {
                stall(self.ctx, reason);
            }
            for end in nested {
                self.ends.entry((end.path.clone(), end.map_run)).or_default().insert(end.index, end.into());
            }
            let Some((path, command)) = self.machine.poll_command() else { return Ok(()) };
            match command {
                Command::ScheduleTask { id, state, retry_count, function, payload, timeout, heartbeat, .. } => {
                    let limits = Limits { timeout, heartbeat };
                    self.schedule(path, id, &state, retry_count, function, payload, limits);
                }
                Command::CancelTask { id } => self.give_up(|what| *what == FlightKind::Task { path: path.clone(), id }),
                Command::ReadItems { map_run, source } => match self.tenant_id.clone() {
                    Some(tenant_id) => {
                        let wanted = CountItems { tenant_id, source };
                        self.start_chore(FlightKind::Count { path, map_run }, Chore::CountItems, &wanted);
                    }
                    None => self.fail_run(&path, map_run, asl::ItemsError::NAME, "Nobody's items cannot be read.")?,
                },
                Command::WriteResults { map_run, map_run_arn, target } => {
                    self.write_results(path, map_run, map_run_arn, target)?;
                }
                Command::StartChildren(run) => self.start_ranges(&run),
                Command::CancelChildren { map_run } => {
                    self.give_up(|what| what.is_of_run(&path, map_run));
                    self.items.remove(&(path.clone(), map_run));
                    self.ends.remove(&(path, map_run));
                }
                // The end is the outcome.
                Command::Succeed { .. } | Command::Fail { .. } => {}
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one command")]
    fn schedule(
        &mut self,
        path: ChildPath,
        id: TaskId,
        state: &str,
        retry_count: u32,
        function: String,
        payload: Value,
        limits: Limits,
    ) {
        let limit = limits.effective();
        let child = if path.is_root() { String::new() } else { format!("{path}/") };
        let summary = if retry_count == 0 { state.to_owned() } else { format!("{state}, retry {retry_count}") };
        let token = WorkflowCancellationToken::new();
        let policy = RetryPolicy::builder()
            .maximum_interval(Duration::from_secs(10))
            .non_retryable_error_types(["TemporalTimeout:StartToClose", NOT_REGISTERED])
            .build();
        let options = ActivityOptions::with_start_to_close_timeout(limit.map_or(NO_LIMIT, |limit| limit + LIMIT_NET))
            .activity_id(format!("{child}{state}-{}", id.0))
            .heartbeat_timeout(HEARTBEAT_TIMEOUT)
            .cancellation_type(ActivityCancellationType::TryCancel)
            .cancellation_token(token.clone())
            .retry_policy(policy)
            .summary(format!("{child}{summary}"))
            .build();
        let limit_ms = limit.and_then(|limit| u64::try_from(limit.as_millis()).ok());
        let input = json!(AttemptInput { payload, limit_ms });
        let ended = self.ctx.execute_activity(ActivityNamed(function), input, options);
        let landing = ended.map(move |ended| ended.map_err(|error| limits.named(failed(&error)))).boxed_local();
        self.flights.push(Flight { what: FlightKind::Task { path, id }, token, landing });
    }

    fn start_chore(&mut self, what: FlightKind, name: Chore, input: &impl Serialize) {
        let (token, landing) = chore(self.ctx, name, input);
        self.flights.push(Flight { what, token, landing });
    }

    fn write_results(
        &mut self,
        path: ChildPath,
        map_run: MapRunId,
        map_run_arn: String,
        target: asl::ResultTarget,
    ) -> Result<(), Stopped> {
        let ends = self.ends.remove(&(path.clone(), map_run)).unwrap_or_default();
        let (failed, succeeded): (Vec<End>, Vec<End>) = ends.into_values().partition(|end| end.has_failed);
        let results = |ends: Vec<End>| ends.into_iter().map(|end| end.result).collect::<Vec<_>>();
        let (succeeded, failed) = (results(succeeded), results(failed));
        let bytes: usize = succeeded.iter().chain(&failed).map(|result| result.to_string().len()).sum();
        let Some(tenant_id) = self.tenant_id.clone() else {
            return self.fail_run(&path, map_run, asl::ResultFiles::ERROR, "Nobody's results cannot be written.");
        };
        if bytes > MAX_RESULT_BYTES {
            let cause = "The results are larger than what the server takes.";
            return self.fail_run(&path, map_run, asl::ResultFiles::ERROR, cause);
        }
        let wanted = WriteResults { tenant_id, map_run_arn, target, succeeded, failed };
        self.start_chore(FlightKind::Results { path, map_run }, Chore::WriteResults, &wanted);
        Ok(())
    }

    fn fail_run(&mut self, path: &ChildPath, map_run: MapRunId, error: &str, cause: &str) -> Result<(), Stopped> {
        let (error, cause) = (error.to_owned(), cause.to_owned());
        self.tell(path, Told::Event(Event::MapRunFailed { map_run, error, cause }))
    }

    fn start_ranges(&mut self, run: &asl::MapRun) {
        let bytes = self.definition.to_string().len() + json!(run.part(&(0..0), 1)).to_string().len();
        for (number, (run, range)) in range::ranges(run, bytes).into_iter().enumerate() {
            let (map_run, token) = (run.id, WorkflowCancellationToken::new());
            let summary = format!("{} {} to {}", run.state, range.start, range.end.saturating_sub(1));
            let options = ChildWorkflowOptions::builder()
                .workflow_id(format!("{}/{}-{}-{number}", self.ctx.workflow_id(), run.state, map_run.0))
                .cancellation_token(token.clone())
                .cancel_type(ChildWorkflowCancellationType::TryCancel)
                .static_summary(summary)
                .build();
            let input =
                RangeInput { definition: self.definition.clone(), tenant_id: self.tenant_id.clone(), run, range };
            let started = self.ctx.start_child_workflow(FlowNamed(RANGE_TYPE.to_owned()), json!(input), options);
            let landing = async move {
                match started.await {
                    Ok(started) => started.result().await.map_err(|error| range_failed(&error)),
                    Err(error) => Err((RUNTIME.to_owned(), error.to_string())),
                }
            };
            self.flights.push(Flight { what: FlightKind::Range { map_run }, token, landing: landing.boxed_local() });
        }
    }

    /// Nothing of it is of interest any more.
    fn give_up(&mut self, is_it: impl Fn(&FlightKind) -> bool) {
        let (given_up, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flights).into_iter().partition(|flight| is_it(&flight.what));
        self.flights = kept;
        for flight in given_up {
            flight.token.cancel();
        }
    }

    /// Sees to it that time is told; whether it was told just now.
    fn tell_time(&mut self) -> Result<bool, Stopped> {
        let Some(at) = self.machine.poll_timeout() else { return Ok(false) };
        let now = now(self.ctx);
        if at <= now {
            self.tell(&ChildPath::default(), Told::Timer)?;
            return Ok(true);
        }
        if self.flights.iter().any(|flight| matches!(flight.what, FlightKind::Timer { due } if due <= at)) {
            return Ok(false);
        }
        let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let token = WorkflowCancellationToken::new();
        let options = TimerOptions::builder(wait).cancellation_token(token.clone()).build();
        let landing = self.ctx.timer(options).map(|_| Ok(Value::Null)).boxed_local();
        self.flights.push(Flight { what: FlightKind::Timer { due: at }, token, landing });
        Ok(false)
    }

    /// Sees to it that items come that are wanted; whether one was told just now.
    fn tell_items(&mut self) -> Result<bool, Stopped> {
        let Some(wanted) = self.machine.wanted_item() else { return Ok(false) };
        let key = (wanted.path.clone(), wanted.map_run);
        let found = self
            .items
            .get(&key)
            .and_then(|(from, items)| items.get(usize::try_from(wanted.index.checked_sub(*from)?).ok()?).cloned());
        if let Some(item) = found {
            let told = Told::Item { map_run: wanted.map_run, index: wanted.index, item };
            self.tell(&wanted.path, told)?;
            return Ok(true);
        }
        let (path, map_run, from) = (wanted.path, wanted.map_run, wanted.index);
        if self.flights.iter().any(|flight| matches!(flight.what, FlightKind::Items { .. })) {
            return Ok(false);
        }
        let Some(tenant_id) = self.tenant_id.clone() else {
            self.fail_run(&path, map_run, asl::ItemsError::NAME, "Nobody's items cannot be read.")?;
            return Ok(true);
        };
        let to = if path.is_root() { self.range.end } else { wanted.items };
        let input = ReadItems { tenant_id, source: wanted.source, from, to };
        self.start_chore(FlightKind::Items { path, map_run, from }, Chore::ReadItems, &input);
        Ok(false)
    }

    /// Tells the parent of failures: it may have had too many.
    fn tell_parent(&mut self) {
        let Machine::Range(range) = &mut self.machine else { return };
        if self.flights.iter().any(|flight| flight.what == FlightKind::Signal) {
            return;
        }
        let ends = range.take_untold();
        let Some(parent) = self.ctx.info().parent().filter(|_| !ends.is_empty()) else { return };
        let failures = json!(Failures { map_run: Some(range.map_run()), ends });
        let handle = self.ctx.external_workflow(parent.workflow_id(), Some(parent.run_id().to_owned()));
        let token = WorkflowCancellationToken::new();
        let options = SignalWorkflowOptions::builder().cancellation_token(token.clone()).build();
        let told = handle.signal(ChildrenFailed, failures, options);
        // What is not heard now is heard when this range is through.
        let landing = told.map(|_| Ok(Value::Null)).boxed_local();
        self.flights.push(Flight { what: FlightKind::Signal, token, landing });
    }
}

/// Why a workflow stops before its machine has come to an end.
enum Stopped {
    Cancelled,
    /// The interpreter panicked, or what it was told makes no sense.
    Broken(String),
}

/// What a panic would do: fail the turn, and every turn after it.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "the interpreter panicked; the worker's log says why".to_owned())
}

/// Fails this turn of the workflow and nothing else: the server has it tried again, and its history says why. An error of
/// the workflow it must not be, as it depends on the machine.
fn stall(ctx: &WorkflowContext<Flow>, reason: &str) -> ! {
    tracing::error!(workflow_id = ctx.workflow_id(), reason, "an expression takes too long; the turn is tried again");
    panic!("an expression takes too long: {reason}");
}

/// The time limits of a Task.
#[derive(Debug, Clone, Copy)]
struct Limits {
    timeout: Option<Duration>,
    heartbeat: Option<Duration>,
}

impl Limits {
    /// An activity says nothing until it is through, so the shorter one counts.
    fn effective(self) -> Option<Duration> {
        self.timeout.into_iter().chain(self.heartbeat).min()
    }

    /// Under the name of the limit that was reached.
    fn named(self, (error, cause): (String, String)) -> (String, String) {
        let is_heartbeat = self.heartbeat.is_some() && self.effective() == self.heartbeat;
        let is_silent = error == store::events::TIMEOUT && is_heartbeat && self.timeout != self.heartbeat;
        if is_silent { (store::events::HEARTBEAT_TIMEOUT.to_owned(), cause) } else { (error, cause) }
    }
}

/// The SDK's name for an activity that the worker does not know.
const NOT_REGISTERED: &str = "NotFoundError";

/// How an attempt failed, in the state machine's words.
fn failed(error: &ActivityExecutionError) -> (String, String) {
    let internal = |message: String| {
        let error = ActivityError::new(ErrorName::Internal, message);
        (error.error.clone(), error.cause_text())
    };
    match error.cause() {
        Some(IncomingError::Application(failure)) => match failure.type_name() {
            Some(NOT_REGISTERED) | None => internal(failure.to_string()),
            Some(name) => (name.to_owned(), failure.to_string()),
        },
        Some(IncomingError::Timeout(timeout)) if timeout.timeout_type() == TimeoutType::Heartbeat => {
            (store::events::HEARTBEAT_TIMEOUT.to_owned(), String::new())
        }
        Some(IncomingError::Timeout(_)) => (store::events::TIMEOUT.to_owned(), String::new()),
        _ => internal(error.to_string()),
    }
}

/// Why a range came to nothing: somebody ended its workflow, or it could not begin.
fn range_failed(error: &ChildWorkflowExecutionError) -> (String, String) {
    let message = error.failure().map_or_else(|| error.to_string(), |failure| failure.message.clone());
    (RUNTIME.to_owned(), format!("The workflow of a range of children ended: {message}"))
}

fn chore_retries() -> RetryPolicy {
    RetryPolicy::builder().maximum_interval(Duration::from_secs(10)).build()
}

/// Done by the worker within the workflow's last turn, and again until it succeeds: where the server had to be asked for it,
/// it would cost as much as a step.
async fn record_end(ctx: &WorkflowContext<Flow>, end: &RecordEnd) -> Landing {
    let options = LocalActivityOptions::builder()
        .schedule_to_close_timeout(NO_LIMIT)
        .start_to_close_timeout(END_LIMIT)
        .retry_policy(chore_retries())
        // Longer pauses are the server's, so that no turn lasts that long.
        .timer_backoff_threshold(Duration::from_secs(2))
        // Also when the workflow is cancelled.
        .cancellation_token(WorkflowCancellationToken::new());
    let name = ActivityNamed(Chore::RecordEnd.name().to_owned());
    let ended = ctx.execute_local_activity(name, json!(end), options.build()).await;
    ended.map_err(|error| failed(&error))
}

/// Asks for a chore.
fn chore<'a>(
    ctx: &'a WorkflowContext<Flow>,
    chore: Chore,
    input: &impl Serialize,
) -> (WorkflowCancellationToken, LocalBoxFuture<'a, Landing>) {
    let token = WorkflowCancellationToken::new();
    let options = ActivityOptions::with_start_to_close_timeout(CHORE_LIMIT)
        .heartbeat_timeout(HEARTBEAT_TIMEOUT)
        .cancellation_token(token.clone())
        .retry_policy(chore_retries())
        .build();
    let ended = ctx.execute_activity(ActivityNamed(chore.name().to_owned()), json!(input), options);
    (token, ended.map(|ended| ended.map_err(|error| failed(&error))).boxed_local())
}
