//! One execution, turn by turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::step::StepKind;
use contracts::{ActivityError, ErrorName, Status, Timestamp};
use engine::{ActivityCall, EngineError};
use futures::future::{Either, select};
use serde_json::Value;
use store::{
    Commit, CommitOutcome, End, Gate, JournalStart, JournalledExecution, NewEvent, NewExecution, Progress, Refusal,
    StoreError,
};
use tokio::sync::mpsc;
use workflows::Workflow;

use crate::Shared;
use crate::attempt::{self, Attempt, Ended, JournalRecorder};
use crate::bookkeeping::Bookkeeping;
use crate::definitions::Compiled;
use crate::told::{Told, What};

/// An execution in memory: the interpreter, the steps, and what the next commit will write.
pub(crate) struct Driven {
    workflow: &'static Workflow,
    machine: asl::Execution,
    steps: Bookkeeping,
    turn: Turn,
    /// The edges of the state machine that it took, for people and for counting what tests cover.
    edges: Vec<asl::Edge>,
}

/// What has happened since the last commit.
#[derive(Default)]
struct Turn {
    told: Vec<Told>,
    history: Vec<NewEvent>,
    /// Attempts to begin once the commit is durable.
    begins: Vec<Scheduled>,
    cancels: Vec<asl::TaskId>,
    end: Option<End>,
}

struct Scheduled {
    id: asl::TaskId,
    step: String,
    kind: StepKind,
    attempt: u32,
    call: ActivityCall,
    timeout: Option<Duration>,
    /// Where its event stands in the turn's history.
    event: usize,
}

/// The edges of its state machine that a journalled execution took, in order.
pub fn edges_taken(stored: JournalledExecution) -> Result<Vec<asl::Edge>, EngineError> {
    Ok(Driven::replay(stored, &Compiled::default())?.0.edges)
}

/// Reads the execution, as soon as it can be read.
async fn load(shared: &Shared, tenant_id: &str, id: &str) -> Result<JournalledExecution, EngineError> {
    let mut pause = Duration::from_secs(1);
    loop {
        let turn = shared.loads.acquire(tenant_id).await;
        let loaded = shared.journal.load(tenant_id, id).await;
        drop(turn);
        match loaded {
            Ok(Some(stored)) => return Ok(stored),
            Ok(None) => return Err(StoreError::Inconsistent(format!("{id} is not stored")).into()),
            Err(StoreError::Unavailable(reason)) => {
                tracing::warn!(workflow_id = id, reason, "the journal cannot be read, trying again");
                clock::sleep(&*shared.clock, pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Drives the execution to its end, or until the journal refuses to go on.
pub(crate) async fn run(shared: &Arc<Shared>, tenant_id: &str, id: &str) -> Result<(), EngineError> {
    let mut stored = load(shared, tenant_id, id).await?;
    let mut records = stored.records.len() as u64;
    let request = Arc::new(std::mem::take(&mut stored.request));
    let effect_scope: Arc<str> = stored.effect_scope.as_str().into();
    let has_ended = stored.has_ended;
    let (mut driven, mut begins) = Driven::replay(stored, &shared.compiled)?;
    if driven.machine.outcome().is_some() {
        if !has_ended {
            // A machine without a single step is over before its first turn.
            driven.conclude(shared.clock.now());
            driven.commit(shared, tenant_id, id, &mut records).await?;
        }
        return Ok(());
    }
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut running = HashMap::new();
    loop {
        for begin in begins.drain(..) {
            let recorder = JournalRecorder {
                attempt: begin.attempt,
                clock: Arc::clone(&shared.clock),
                request: Arc::clone(&request),
                effect_scope: Arc::clone(&effect_scope),
            };
            let attempt = Attempt {
                id: begin.id,
                tenant_id: tenant_id.to_owned(),
                call: begin.call,
                timeout: begin.timeout,
                recorder: Arc::new(recorder),
            };
            running.insert(begin.id, attempt::spawn(shared, attempt, report.clone()));
        }
        driven.wait(shared, &mut reports, &mut running).await?;
        begins = driven.commit(shared, tenant_id, id, &mut records).await?;
        if driven.machine.outcome().is_some() {
            return Ok(());
        }
        for id in driven.turn.cancels.drain(..) {
            if let Some(attempt) = running.remove(&id) {
                attempt.abort();
            }
        }
    }
}

impl Driven {
    /// Adds the begin of the first step to the start's own transaction.
    pub(crate) fn prepare_start(
        new: &mut NewExecution,
        definition: String,
        compiled: &Compiled,
    ) -> Result<(), EngineError> {
        // The id is random enough, and makes the seed the same however often the start is prepared.
        let seed = new
            .id
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let told = Told { at: new.started_at, what: What::Start { seed } };
        let machine = compiled.load(&definition)?;
        let mut driven = Self::start(&told, workflow(new.kind)?, &new.id, machine, new.input.clone())?;
        driven.drain(new.started_at);
        new.journal = Some(JournalStart { definition, records: vec![told.to_record()?] });
        // The commit of the record is the start.
        new.status = Status::Running;
        new.history.append(&mut driven.turn.history);
        new.progress = driven.progress();
        let gate = driven.turn.gate(driven.workflow);
        new.begins_pivot = matches!(gate, Gate::Forward { is_pivot: true });
        Ok(())
    }

    fn start(
        told: &Told,
        workflow: &'static Workflow,
        id: &str,
        definition: Arc<asl::Definition>,
        input: Value,
    ) -> Result<Self, EngineError> {
        let What::Start { seed } = told.what else {
            return Err(StoreError::Inconsistent(format!("{id}: the journal does not begin with a start")).into());
        };
        let start = asl::Start {
            input,
            execution_id: id.to_owned(),
            execution_name: id.to_owned(),
            state_machine_id: workflow.name.to_owned(),
            state_machine_name: workflow.name.to_owned(),
            role_arn: String::new(),
            seed,
        };
        let machine = asl::Execution::start(definition, start, told.at);
        Ok(Self { workflow, machine, steps: Bookkeeping::default(), turn: Turn::default(), edges: Vec::new() })
    }

    /// Rebuilds the execution from its journal; the attempts that were under way are to begin again.
    fn replay(stored: JournalledExecution, compiled: &Compiled) -> Result<(Self, Vec<Scheduled>), EngineError> {
        let mut told = stored.records.iter().map(Told::from_record);
        let Some(first) = told.next().transpose()? else {
            return Err(StoreError::Inconsistent(format!("{}: the journal is empty", stored.id)).into());
        };
        let workflow = workflow(stored.kind)?;
        let definition = compiled.load(&stored.definition)?;
        let mut driven = Self::start(&first, workflow, &stored.id, definition, stored.input)?;
        driven.drain(first.at);
        for told in told {
            let told = told?;
            driven.tell(told.clone(), None);
            driven.drain(told.at);
        }
        let begins = std::mem::take(&mut driven.turn).begins;
        let under_way = begins.into_iter().filter(|begin| driven.steps.open.contains_key(&begin.id)).collect();
        Ok((driven, under_way))
    }

    /// Waits until something happens, and tells the interpreter.
    async fn wait(
        &mut self,
        shared: &Shared,
        reports: &mut mpsc::UnboundedReceiver<Ended>,
        running: &mut HashMap<asl::TaskId, tokio::task::AbortHandle>,
    ) -> Result<(), EngineError> {
        let report = match self.machine.poll_timeout() {
            Some(at) => {
                let report = std::pin::pin!(reports.recv());
                match clock::park(&*shared.clock, select(report, shared.clock.alarm(at))).await {
                    Either::Left((report, _)) => report,
                    Either::Right(_) => {
                        let now = shared.clock.now();
                        self.tell(Told { at: now, what: What::Timer }, None);
                        self.drain(now);
                        self.conclude(now);
                        return Ok(());
                    }
                }
            }
            None if running.is_empty() => {
                return Err(StoreError::Inconsistent("the execution waits for nothing".to_owned()).into());
            }
            None => clock::park(&*shared.clock, reports.recv()).await,
        };
        // `run` holds a sender, so the channel never closes.
        let Some(report) = report else { return Ok(()) };
        running.remove(&report.id);
        let event = match report.outcome {
            Ok(result) => asl::Event::TaskSucceeded { id: report.id, result },
            Err((error, cause)) => asl::Event::TaskFailed { id: report.id, error, cause },
        };
        let now = shared.clock.now();
        self.tell(Told { at: now, what: What::Attempt(event) }, Some(report.began_at));
        self.drain(now);
        self.conclude(now);
        Ok(())
    }

    fn tell(&mut self, told: Told, began_at: Option<Timestamp>) {
        match &told.what {
            What::Start { .. } => {}
            What::Attempt(event) => {
                self.turn.history.append(&mut self.steps.settle(event, began_at, told.at));
                self.machine.handle_event(event.clone(), told.at);
            }
            What::Timer => self.machine.handle_timeout(told.at),
        }
        self.turn.told.push(told);
    }

    /// Takes what the interpreter wants done.
    fn drain(&mut self, now: Timestamp) {
        while let Some(command) = self.machine.poll_command() {
            match command {
                asl::Command::ScheduleTask { id, state, function, payload, timeout, .. } => {
                    let event = self.steps.schedule(id, &state, &function, &payload, now);
                    let open = &self.steps.open[&id].events;
                    self.turn.begins.push(Scheduled {
                        id,
                        step: state,
                        kind: open.kind,
                        attempt: open.number,
                        call: ActivityCall { activity: function, payload },
                        timeout,
                        event: self.turn.history.len(),
                    });
                    self.turn.history.push(event);
                }
                asl::Command::CancelTask { id } => {
                    self.steps.open.remove(&id);
                    self.turn.begins.retain(|begin| begin.id != id);
                    self.turn.cancels.push(id);
                }
                asl::Command::Succeed { .. } | asl::Command::Fail { .. } => {}
            }
        }
        while let Some(trace) = self.machine.poll_trace() {
            if let asl::Trace::EdgeTaken(edge) = trace {
                self.edges.push(edge);
            }
        }
    }

    /// Adds the end to the turn, once there is one.
    fn conclude(&mut self, now: Timestamp) {
        if let Some(outcome) = self.machine.outcome() {
            let (end, event) = self.steps.end(outcome, now);
            self.turn.history.push(event);
            self.turn.end = Some(end);
        }
    }

    fn progress(&self) -> Progress {
        self.steps.progress(self.workflow, self.turn.end.as_ref())
    }

    /// Makes the turn durable. A closed gate is one more thing that the interpreter is told, in the same turn.
    async fn commit(
        &mut self,
        shared: &Shared,
        tenant_id: &str,
        id: &str,
        records: &mut u64,
    ) -> Result<Vec<Scheduled>, EngineError> {
        loop {
            let now = shared.clock.now();
            let told = self.turn.told.iter().map(Told::to_record).collect::<Result<Vec<_>, _>>()?;
            let told_count = told.len() as u64;
            let commit = Commit {
                tenant_id: tenant_id.to_owned(),
                execution_id: id.to_owned(),
                at: now,
                expected_records: *records,
                records: told,
                history: self.turn.history.clone(),
                progress: self.progress(),
                gate: self.turn.gate(self.workflow),
                end: self.turn.end.clone(),
            };
            match shared.journal.commit(commit).await? {
                CommitOutcome::Committed => {
                    *records += told_count;
                    let turn = std::mem::take(&mut self.turn);
                    self.edges.clear();
                    self.turn.cancels = turn.cancels;
                    return Ok(turn.begins);
                }
                CommitOutcome::Refused(refusal) => self.refuse(refusal, now),
            }
        }
    }

    /// The forward steps that were about to begin may not.
    fn refuse(&mut self, refusal: Refusal, now: Timestamp) {
        let (refused, begins): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.turn.begins).into_iter().partition(|begin| begin.kind == StepKind::Forward);
        self.turn.begins = begins;
        let name = match refusal {
            Refusal::Cancelled => ErrorName::WorkflowCancelled,
            Refusal::TimedOut => ErrorName::WorkflowTimedOut,
            Refusal::Paused => ErrorName::WorkflowPaused,
        };
        if refusal == Refusal::Paused {
            for begin in refused.iter().rev() {
                self.turn.history.remove(begin.event);
            }
        }
        for begin in refused {
            let error = ActivityError::new(name, refusal.message());
            let event = asl::Event::TaskFailed { id: begin.id, error: error.error.clone(), cause: error.cause_text() };
            self.tell(Told { at: now, what: What::Attempt(event) }, None);
        }
        self.drain(now);
        self.conclude(now);
    }
}

impl Turn {
    fn gate(&self, workflow: &Workflow) -> Gate {
        let mut gate = Gate::Open;
        for begin in &self.begins {
            match (begin.kind, gate) {
                (StepKind::Compensation, _) => return Gate::Compensation,
                (StepKind::Forward, Gate::Forward { is_pivot: true }) => {}
                (StepKind::Forward, _) => {
                    gate = Gate::Forward { is_pivot: workflow.is_pivot_or_last(&begin.step) };
                }
            }
        }
        gate
    }
}

fn workflow(kind: contracts::WorkflowKind) -> Result<&'static Workflow, EngineError> {
    workflows::workflow(kind).ok_or_else(|| EngineError::Definition(format!("there is no workflow {kind}")))
}
