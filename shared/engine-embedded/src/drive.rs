//! One execution, turn by turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use asl::{ChildPath, Command, ExecutionTree, MapRunId, Told};
use clock::{Busy, Clock, SharedClock, SteadyTime};
use contracts::responses::Items;
use contracts::step::StepKind;
use contracts::{ActivityError, ErrorName, Status, Timestamp};
use engine::{ActivityCall, EngineError};
use futures::future::{Either, OptionFuture, select};
use serde_json::{Map, Value};
use store::{
    Commit, CommitOutcome, End, EngineEnd, Gate, Journal, JournalStart, JournalledExecution, NewAuditRow, NewEvent,
    NewExecution, Progress, Refusal, Reported, StoreError, StoredRequest,
};
use tokio::sync::mpsc;

use crate::Shared;
use crate::attempt::{self, AttemptEnd, AttemptId, AttemptTask, JournalRecorder, Running, TimeLimit};
use crate::bookkeeping::{Bookkeeping, ScheduledAttempt, engine_end};
use crate::definitions::{Compiled, Machine};
use crate::map_files::MapFiles;
use crate::reading::Reading;
use crate::records::{Entry, Record};

/// Ends of attempts that one turn takes in at most: a turn is one piece of the writer's work, which whoever starts an
/// execution meanwhile waits for.
const MAX_ENDS_PER_TURN: usize = 16;
/// Items that children begin with in one turn at most: children without a Task need no other turn, however many they
/// are.
const MAX_ITEMS_PER_TURN: usize = 500;

/// And no more of them once they, and what their children have come to already, are so many bytes: a turn is in memory,
/// and its commit once more.
const MAX_ITEM_BYTES_PER_TURN: usize = 2 * 1024 * 1024;

/// How often a termination is tried against turns that come between.
const MAX_TERMINATIONS: u32 = 10;

/// An execution in memory: the interpreter, the steps, and what the next commit will write.
pub(crate) struct Driven {
    machine: Machine,
    tree: ExecutionTree,
    steps: Bookkeeping,
    turn: Turn,
    /// What time it is for the execution. Its timers go by it, so that a clock that is set back holds none of them up: after a
    /// restart it goes on from the last record, and what is waited for comes no later than was planned.
    time: SteadyTime,
    /// The edges of the state machine that it took, for people and for counting what tests cover.
    edges: Vec<asl::Edge>,
    /// What Maps want of files and have not been told yet.
    wanted: BTreeMap<(ChildPath, MapRunId), Command>,
    /// Maps that were given up.
    given_up: Vec<(ChildPath, MapRunId)>,
    /// How many records the journal has had.
    records: u64,
    /// How far batches were at the last commit.
    items_kept: Option<Items>,
    /// The numbers of the records that are only about a child.
    of_children: BTreeMap<ChildPath, Vec<u64>>,
}

/// What has happened since the last commit.
#[derive(Default)]
struct Turn {
    records: Vec<Record>,
    /// The numbers of records that the end of a child stands for.
    forgotten: Vec<u64>,
    history: Vec<NewEvent>,
    /// Attempts to begin once the commit is durable.
    begins: Vec<Scheduled>,
    cancels: Vec<AttemptId>,
    end: Option<End>,
    /// Of the audit log, where somebody stopped the execution.
    audit: Option<NewAuditRow>,
    /// Whether a step has reported something of the result.
    has_reported: bool,
    /// Bytes of items and of children's results.
    bytes: usize,
}

struct Scheduled {
    id: AttemptId,
    step: ScheduledAttempt,
    call: ActivityCall,
    resource: String,
    limit: Option<TimeLimit>,
    /// Where its event stands in the turn's history; a child's has none.
    event: Option<usize>,
}

/// Attempts that are to begin.
#[derive(Default)]
struct Begins {
    attempts: Vec<Scheduled>,
    /// Whether only an answer from the record of an earlier execution lets forward steps pass.
    passed: bool,
    /// Whether they may have begun before the process was started.
    are_repeated: bool,
}

/// The edges of its state machine that a journalled execution took, in order; of children that have ended, none.
pub async fn edges_taken(
    journal: Arc<dyn Journal>,
    clock: SharedClock,
    tenant_id: &str,
    id: &str,
) -> Result<Vec<asl::Edge>, EngineError> {
    let reading = Reading::new(journal, clock);
    let stored = reading.load(tenant_id, id).await?;
    let (driven, _) = Driven::replay(&reading, stored, &Compiled::default()).await?;
    Ok(driven.edges)
}

/// Drives the execution to its end, or until the journal refuses to go on.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    tenant_id: &str,
    id: &str,
    mut wakes: mpsc::UnboundedReceiver<Busy>,
) -> Result<(), EngineError> {
    let mut stored = shared.reading.load(tenant_id, id).await?;
    let request = Arc::new(std::mem::replace(&mut stored.request, StoredRequest::Inline(Value::Null)));
    let effect_scope: Arc<str> = stored.effect_scope.as_str().into();
    // What it went on by may be gone.
    if stored.ended_at.is_some() {
        return Ok(());
    }
    let is_interrupted = stored.is_interrupted;
    let (mut driven, attempts) = Driven::replay(&shared.reading, stored, &shared.compiled).await?;
    let mut begins = Begins { attempts, passed: is_interrupted, are_repeated: true };
    if driven.tree.outcome().is_some() {
        // A machine without a single step is over before its first turn.
        let now = driven.now(shared);
        driven.conclude(now);
        driven.commit(shared, tenant_id, id).await?;
        return Ok(());
    }
    let mut files = MapFiles::new(Arc::clone(&shared.blobs), shared.reading.clone(), tenant_id, id);
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut running = Running::default();
    loop {
        for begin in begins.attempts.drain(..) {
            let (clock, request, scope) = (Arc::clone(&shared.clock), Arc::clone(&request), Arc::clone(&effect_scope));
            let effects = driven.steps.effects(&begin.step, &effect_scope, begins.passed, begins.are_repeated);
            let recorder = JournalRecorder::new(begin.step.number, clock, request, scope, effects);
            let attempt = AttemptTask {
                id: begin.id.clone(),
                tenant_id: tenant_id.to_owned(),
                call: begin.call,
                resource: begin.resource,
                limit: begin.limit,
                recorder: Arc::new(recorder),
            };
            running.insert(begin.id, attempt::spawn(shared, attempt, report.clone()));
        }
        let has_served = driven.serve_maps(shared, &mut files).await?;
        let may_wait = !has_served && driven.tree.wanted_item().is_none();
        driven.listen(shared, &mut reports, &mut wakes, &mut running, may_wait).await?;
        driven.begin_children(shared, &mut files).await;
        begins = driven.commit(shared, tenant_id, id).await?;
        if driven.tree.outcome().is_some() {
            return Ok(());
        }
        running.give_up(driven.turn.cancels.drain(..));
    }
}

/// Ends an execution without undoing anything; one that has ended stays as it is. Whoever drove it does so no more, but
/// its last turn may still be written.
pub(crate) async fn terminate(
    shared: &Arc<Shared>,
    tenant_id: &str,
    id: &str,
    reason: &str,
    audit: Option<NewAuditRow>,
) -> Result<(), EngineError> {
    let mut between = None;
    for _ in 0..MAX_TERMINATIONS {
        let stored = shared.reading.load(tenant_id, id).await?;
        if stored.ended_at.is_some() {
            return Ok(());
        }
        match stop(shared, stored, audit.clone()).await {
            Ok(()) => {
                tracing::warn!(tenant_id, workflow_id = id, reason, "terminated");
                return Ok(());
            }
            // A turn came between, while the journal was read or after it.
            Err(error @ EngineError::Store(StoreError::Inconsistent(_))) => between = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(between.unwrap_or_else(|| EngineError::Unavailable(format!("{id} kept going on"))))
}

async fn stop(
    shared: &Arc<Shared>,
    stored: JournalledExecution,
    audit: Option<NewAuditRow>,
) -> Result<(), EngineError> {
    let (tenant_id, id) = (stored.tenant_id.clone(), stored.id.clone());
    let (mut driven, _) = Driven::replay(&shared.reading, stored, &shared.compiled).await?;
    let now = driven.now(shared);
    driven.stop(now, audit);
    driven.commit(shared, &tenant_id, &id).await.map(drop)
}

/// How an execution that has ended did so.
pub(crate) async fn end_of(shared: &Shared, stored: JournalledExecution) -> Result<EngineEnd, EngineError> {
    if stored.journal_len == 0 {
        return Err(EngineError::Unavailable(format!("{}: the journal is not kept any more", stored.id)));
    }
    let (driven, _) = Driven::replay(&shared.reading, stored, &shared.compiled).await?;
    Ok(driven.tree.outcome().map_or(EngineEnd::Terminated, engine_end))
}

impl Driven {
    /// Adds the begin of the first step to the start's own transaction.
    pub(crate) fn admit(
        new: &mut NewExecution,
        definition: String,
        compiled: &Compiled,
        clock: &dyn Clock,
    ) -> Result<(), EngineError> {
        let seed = engine::seed_of(&new.id);
        let first = Record { at: new.started_at, path: ChildPath::default(), what: Entry::Start { seed } };
        let machine = compiled.load(&definition)?;
        let steps = Bookkeeping::new(new.progress.total_steps, Reported::default(), new.inherited.clone());
        let (name, input) = (machine_name(new.kind)?, new.input.clone());
        let mut driven = Self::start(&first, name, &new.id, machine, input, steps, clock)?;
        driven.check_time()?;
        driven.turn.records.push(first);
        driven.drain(new.started_at);
        driven.keep_ends(new.started_at);
        if new.cancel_requested_at.is_some() {
            driven.refuse(Refusal::Cancelled, new.started_at);
        }
        let records = driven.turn.records.iter().map(Record::to_journal).collect::<Result<_, _>>()?;
        new.journal = Some(JournalStart { definition, records });
        // The commit of the record is the start.
        new.status = Status::Running;
        new.history.append(&mut driven.turn.history);
        new.progress = driven.progress();
        let gate = driven.turn.gate();
        new.begins_pivot = matches!(gate, Gate::Forward { is_pivot: true, .. });
        Ok(())
    }

    fn start(
        first: &Record,
        name: &str,
        id: &str,
        machine: Machine,
        input: Value,
        steps: Bookkeeping,
        clock: &dyn Clock,
    ) -> Result<Self, EngineError> {
        let Entry::Start { seed } = first.what else {
            return Err(StoreError::Inconsistent(format!("{id}: the journal does not begin with a start")).into());
        };
        let start = asl::ExecutionStart {
            input,
            execution_id: id.to_owned(),
            execution_name: id.to_owned(),
            state_machine_id: name.to_owned(),
            state_machine_name: name.to_owned(),
            role_arn: String::new(),
            seed,
        };
        Ok(Self {
            tree: machine.go_on(|| ExecutionTree::start(Arc::clone(&machine.definition), start, first.at)),
            machine,
            steps,
            turn: Turn::default(),
            time: SteadyTime::from(first.at, clock),
            edges: Vec::new(),
            wanted: BTreeMap::new(),
            given_up: Vec::new(),
            records: 0,
            items_kept: None,
            of_children: BTreeMap::new(),
        })
    }

    /// Rebuilds the execution from its journal; the attempts that were under way are to begin again.
    async fn replay(
        reading: &Reading,
        stored: JournalledExecution,
        compiled: &Compiled,
    ) -> Result<(Self, Vec<Scheduled>), EngineError> {
        let mut records = reading.records(&stored.tenant_id, &stored.id);
        let mut part = records.next().await?.unwrap_or_default().into_iter();
        let Some((_, first)) = part.next() else {
            return Err(StoreError::Inconsistent(format!("{}: the journal is empty", stored.id)).into());
        };
        let first = Record::from_journal(first)?;
        let machine = compiled.load(&stored.definition)?;
        let steps = Bookkeeping::new(stored.progress.total_steps, stored.reported, stored.inherited);
        let name = machine_name(stored.kind)?;
        let clock = reading.clock();
        let mut driven = Self::start(&first, name, &stored.id, machine, stored.input, steps, clock)?;
        driven.drain(first.at);
        driven.forget_ends();
        let (mut found, mut last) = (1, first.at);
        loop {
            for (number, record) in part {
                let record = Record::from_journal(record)?;
                last = last.max(record.at);
                driven.keep_number(&record, number);
                driven.tell(record, None, None);
                driven.forget_ends();
                found += 1;
            }
            let Some(next) = records.next().await? else { break };
            part = next.into_iter();
            // Only these are still of interest: the attempts of all ended children would be many.
            let Self { steps, turn, .. } = &mut driven;
            turn.begins.retain(|begin| steps.is_open(&begin.id));
            *turn = Turn { begins: std::mem::take(&mut turn.begins), ..Turn::default() };
        }
        if found != stored.journal_kept {
            let (id, kept) = (&stored.id, stored.journal_kept);
            return Err(StoreError::Inconsistent(format!("{id}: the journal has {found} of {kept} records")).into());
        }
        driven.check_time()?;
        driven.time = SteadyTime::from(last, clock);
        driven.records = stored.journal_len;
        driven.steps.items = stored.items;
        driven.items_kept = stored.items;
        let begins = std::mem::take(&mut driven.turn).begins;
        let under_way = begins.into_iter().filter(|begin| driven.steps.is_open(&begin.id)).collect();
        Ok((driven, under_way))
    }

    /// The ends of children are replayed from the journal: nobody is to be told of them again.
    fn forget_ends(&mut self) {
        while self.tree.poll_end().is_some() {}
    }

    /// What time it is for the execution.
    fn now(&mut self, shared: &Shared) -> Timestamp {
        self.time.now(&*shared.clock)
    }

    fn keep_number(&mut self, record: &Record, number: u64) {
        let owner = record.owner();
        if !owner.is_root() {
            self.of_children.entry(owner).or_default().push(number);
        }
    }

    /// Tells the interpreter what has happened, and waits for it if nothing has.
    async fn listen(
        &mut self,
        shared: &Shared,
        reports: &mut mpsc::UnboundedReceiver<AttemptEnd>,
        wakes: &mut mpsc::UnboundedReceiver<Busy>,
        running: &mut Running,
        may_wait: bool,
    ) -> Result<(), EngineError> {
        // The time first: ends may come without end.
        let is_due = self.tell_time(shared);
        let first = match may_wait && !is_due {
            true => self.wait(shared, reports, wakes, running).await?,
            false => None,
        };
        // What else has ended meanwhile shares the commit.
        let more = std::iter::from_fn(|| reports.try_recv().ok());
        for ended in first.into_iter().chain(more).take(MAX_ENDS_PER_TURN) {
            if self.tree.outcome().is_some() {
                break;
            }
            self.tell_end(shared, ended, running);
        }
        Ok(())
    }

    /// Waits until an attempt ends, or until it is time.
    async fn wait(
        &mut self,
        shared: &Shared,
        reports: &mut mpsc::UnboundedReceiver<AttemptEnd>,
        wakes: &mut mpsc::UnboundedReceiver<Busy>,
        running: &Running,
    ) -> Result<Option<AttemptEnd>, EngineError> {
        let due_at = self.tree.poll_timeout();
        if due_at.is_none() && running.is_empty() {
            return Err(StoreError::Inconsistent("the execution waits for nothing".to_owned()).into());
        }
        let now = self.now(shared);
        let left = |at: Timestamp| at.duration_since(now).try_into().unwrap_or_default();
        // Set before this counts as idle: a clock that jumps must know of it.
        let alarm = due_at.map(|at| shared.clock.alarm(shared.clock.instant() + left(at)));
        let alarm = OptionFuture::from(alarm);
        let alarm = async {
            match alarm.await {
                Some(()) => {}
                None => std::future::pending().await,
            }
        };
        // `run` holds a sender of reports, and the engine one of wakes: neither channel closes.
        let report = std::pin::pin!(reports.recv());
        let (wake, alarm) = (std::pin::pin!(wakes.recv()), std::pin::pin!(alarm));
        match clock::park(&*shared.clock, select(report, select(wake, alarm))).await {
            Either::Left((report, _)) => Ok(report),
            Either::Right((Either::Left(_), _)) => {
                let now = self.now(shared);
                self.hasten(now);
                Ok(None)
            }
            Either::Right((Either::Right(_), _)) => {
                let now = self.now(shared);
                self.tell_new(now, ChildPath::default(), Told::Timer);
                Ok(None)
            }
        }
    }

    /// Something was asked of the execution: steps that a pause holds back ask again whether they may begin.
    fn hasten(&mut self, now: Timestamp) {
        let error = ErrorName::WorkflowPaused.to_string();
        self.tell_new(now, ChildPath::default(), Told::Hasten { error });
    }

    /// Tells the interpreter that it is time, if it is.
    fn tell_time(&mut self, shared: &Shared) -> bool {
        let now = self.now(shared);
        let is_due = self.tree.poll_timeout().is_some_and(|at| at <= now);
        if is_due {
            self.tell_new(now, ChildPath::default(), Told::Timer);
        }
        is_due
    }

    /// Tells the interpreter that an attempt has ended, and gives up those that are of no interest then.
    fn tell_end(&mut self, shared: &Shared, ended: AttemptEnd, running: &mut Running) {
        // The guards go last.
        let AttemptEnd { id: (path, id), began, outcome, report, _permit, _busy } = ended;
        let began_at = self.time.at(began);
        running.remove(&(path.clone(), id));
        let event = match outcome {
            Ok(result) => asl::Event::TaskSucceeded { id, result },
            Err((error, cause)) => asl::Event::TaskFailed { id, error, cause },
        };
        let record = Record { at: self.now(shared), path, what: Entry::Told(Told::Event(event)) };
        self.tell_now(record, Some(began_at), report);
        // If the process dies before the commit, they are delivered again.
        running.give_up(self.turn.cancels.drain(..));
    }

    /// Does what a Map wants done with its files, if one does.
    async fn serve_maps(&mut self, shared: &Shared, files: &mut MapFiles) -> Result<bool, EngineError> {
        let Some(((path, _), command)) = self.wanted.first_key_value() else { return Ok(false) };
        let path = path.clone();
        let event = match command {
            Command::ReadItems { map_run, source } => files.count(*map_run, source).await,
            Command::WriteResults { map_run, map_run_arn, target } => {
                files.write(&path, *map_run, map_run_arn, target).await?
            }
            _ => return Ok(false),
        };
        let now = self.now(shared);
        self.tell_new(now, path, Told::Event(event));
        Ok(true)
    }

    /// Reads items that children may begin with.
    async fn begin_children(&mut self, shared: &Shared, files: &mut MapFiles) {
        self.given_up.drain(..).for_each(|map| files.close(&map));
        for _ in 0..MAX_ITEMS_PER_TURN {
            let Some(wanted) = self.tree.wanted_item().filter(|_| self.turn.bytes < MAX_ITEM_BYTES_PER_TURN) else {
                return;
            };
            let told = match files.item(&wanted).await {
                Ok(item) => {
                    self.turn.bytes += asl::payload_bytes(&item);
                    Told::Item { map_run: wanted.map_run, index: wanted.index, item }
                }
                Err(event) => Told::Event(event),
            };
            let now = self.now(shared);
            self.tell_new(now, wanted.path, told);
        }
    }

    /// Tells what has just happened, and keeps it for the journal.
    fn tell_new(&mut self, at: Timestamp, path: ChildPath, told: Told) {
        self.tell_now(Record { at, path, what: Entry::Told(told) }, None, None);
    }

    fn tell_now(&mut self, record: Record, began_at: Option<Timestamp>, report: Option<Map<String, Value>>) {
        let at = record.at;
        self.turn.records.push(record.clone());
        self.turn.has_reported |= report.is_some();
        self.tell(record, began_at, report);
        self.keep_ends(at);
        self.conclude(at);
    }

    /// Keeps the ends of children for the journal, in place of all that these were told.
    fn keep_ends(&mut self, at: Timestamp) {
        while let Some(end) = self.tree.poll_end() {
            let child = end.child();
            self.turn.bytes += asl::payload_bytes(&end.result);
            self.turn.records.retain(|record| !record.owner().starts_with(&child));
            for (owner, numbers) in self.of_children.split_off(&child) {
                match owner.starts_with(&child) {
                    true => self.turn.forgotten.extend(numbers),
                    false => drop(self.of_children.insert(owner, numbers)),
                }
            }
            let (path, told) = end.into_told();
            self.turn.records.push(Record { at, path, what: Entry::Told(told) });
        }
    }

    fn tell(&mut self, record: Record, began_at: Option<Timestamp>, report: Option<Map<String, Value>>) {
        let Record { at, path, what: Entry::Told(told) } = record else { return };
        match &told {
            Told::Event(event @ (asl::Event::TaskSucceeded { .. } | asl::Event::TaskFailed { .. })) => {
                self.turn.history.append(&mut self.steps.settle(&path, event, began_at, report, at));
            }
            Told::Event(
                asl::Event::ItemsRead { map_run, .. }
                | asl::Event::ResultsWritten { map_run, .. }
                | asl::Event::MapRunFailed { map_run, .. },
            ) => drop(self.wanted.remove(&(path.clone(), *map_run))),
            Told::Event(asl::Event::ChildEnded { .. })
            | Told::Item { .. }
            | Told::End { .. }
            | Told::Timer
            | Told::Hasten { .. } => {}
        }
        self.machine.go_on(|| self.tree.tell(&path, told, at));
        self.drain(at);
    }

    /// Takes what the interpreter wants done.
    fn drain(&mut self, now: Timestamp) {
        while let Some((path, command)) = self.tree.poll_command() {
            match command {
                Command::ScheduleTask { id, state, resource, function, payload, timeout, heartbeat, retry_count } => {
                    let id = (path, id);
                    let mut step = self.steps.schedule(&id, &state, &function, &payload, retry_count, now);
                    let event = step.event.take();
                    self.turn.begins.push(Scheduled {
                        id,
                        step,
                        call: ActivityCall { activity: function, payload },
                        resource,
                        limit: TimeLimit::of(timeout, heartbeat),
                        event: event.is_some().then_some(self.turn.history.len()),
                    });
                    self.turn.history.extend(event);
                }
                Command::CancelTask { id } => {
                    let id = (path, id);
                    self.steps.cancel(&id);
                    self.turn.begins.retain(|begin| begin.id != id);
                    self.turn.cancels.push(id);
                }
                Command::ReadItems { map_run, .. } | Command::WriteResults { map_run, .. } => {
                    self.wanted.insert((path, map_run), command);
                }
                Command::CancelChildren { map_run } => {
                    self.wanted.remove(&(path.clone(), map_run));
                    self.given_up.push((path, map_run));
                }
                // The tree starts children itself; the root's end is its outcome.
                Command::StartChildren(_) | Command::Succeed { .. } | Command::Fail { .. } => {}
            }
        }
        while let Some((_, trace)) = self.tree.poll_trace() {
            if let asl::Trace::EdgeTaken(edge) = trace {
                self.edges.push(edge);
            }
        }
    }

    /// Adds the end to the turn, once there is one.
    fn conclude(&mut self, now: Timestamp) {
        if let (Some(outcome), None) = (self.tree.outcome(), &self.turn.end) {
            let (end, event) = self.steps.end(&engine_end(outcome), now);
            self.turn.history.push(event);
            self.turn.end = Some(end);
        }
    }

    /// Ends it as an operator wants it ended: nothing is undone, and nobody waits for what is under way.
    fn stop(&mut self, now: Timestamp, audit: Option<NewAuditRow>) {
        self.turn = Turn { history: self.steps.close_lost(now), audit, ..Turn::default() };
        let (end, event) = self.steps.end(&EngineEnd::Terminated, now);
        self.turn.history.push(event);
        self.turn.end = Some(end);
    }

    fn progress(&self) -> Progress {
        self.steps.progress(self.turn.end.as_ref())
    }

    /// Makes the turn durable. A closed gate is one more thing that the interpreter is told, in the same turn.
    async fn commit(&mut self, shared: &Shared, tenant_id: &str, id: &str) -> Result<Begins, EngineError> {
        let mut is_interrupted = false;
        loop {
            self.refuse_stopped(shared);
            self.check_time()?;
            let commit = Commit {
                tenant_id: tenant_id.to_owned(),
                execution_id: id.to_owned(),
                at: self.now(shared),
                now: shared.clock.now(),
                expected_records: self.records,
                records: self.turn.records.iter().map(Record::to_journal).collect::<Result<Vec<_>, _>>()?,
                forgotten: self.turn.forgotten.clone(),
                history: self.turn.history.clone(),
                progress: self.progress(),
                reported: self.turn.has_reported.then(|| self.steps.reported.clone()),
                items: self.steps.items.filter(|items| self.items_kept != Some(*items)),
                gate: self.turn.gate(),
                end: self.turn.end.clone(),
                audit: self.turn.audit.clone(),
            };
            match shared.journal.commit(commit).await? {
                outcome @ (CommitOutcome::Committed | CommitOutcome::Passed) => {
                    let turn = std::mem::take(&mut self.turn);
                    self.items_kept = self.steps.items;
                    for record in &turn.records {
                        self.records += 1;
                        self.keep_number(record, self.records);
                    }
                    for edge in self.edges.drain(..) {
                        if let Some(observer) = shared.edges.get() {
                            observer(id, &edge);
                        }
                    }
                    self.turn.cancels = turn.cancels;
                    let passed = is_interrupted || outcome == CommitOutcome::Passed;
                    return Ok(Begins { attempts: turn.begins, passed, are_repeated: false });
                }
                CommitOutcome::Refused(refusal) => {
                    is_interrupted |= refusal != Refusal::Paused;
                    let now = self.now(shared);
                    self.refuse(refusal, now);
                }
            }
        }
    }

    /// Nothing may be kept of a turn in which an expression took longer than the engine waits for: another machine might
    /// have evaluated it in time.
    fn check_time(&self) -> Result<(), EngineError> {
        match self.tree.stalled() {
            Some(reason) => Err(EngineError::Unavailable(format!("an expression takes too long: {reason}"))),
            None => Ok(()),
        }
    }

    /// The batches that were about to begin may not, if too many items have failed.
    fn refuse_stopped(&mut self, shared: &Shared) {
        while self.turn.begins.iter().any(|begin| self.steps.is_stopped(&begin.step)) {
            let now = self.now(shared);
            let (stopped, begins): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.turn.begins).into_iter().partition(|begin| self.steps.is_stopped(&begin.step));
            self.turn.begins = begins;
            self.tell_refused(Refusal::Stopped, stopped, now);
        }
    }

    /// The forward steps that were about to begin may not, but for those that pass.
    fn refuse(&mut self, refusal: Refusal, now: Timestamp) {
        let is_refused = |begin: &Scheduled| {
            begin.step.kind == StepKind::Forward && (refusal == Refusal::Paused || !begin.step.passes)
        };
        let (refused, begins): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.turn.begins).into_iter().partition(is_refused);
        self.turn.begins = begins;
        if refusal == Refusal::Paused {
            for event in refused.iter().rev().filter_map(|begin| begin.event) {
                self.turn.history.remove(event);
            }
        }
        self.tell_refused(refusal, refused, now);
    }

    /// Tells the interpreter that these may not begin.
    fn tell_refused(&mut self, refusal: Refusal, refused: Vec<Scheduled>, now: Timestamp) {
        for begin in refused {
            let (path, id) = begin.id;
            let error = ActivityError::new(refusal.error_name(), refusal.message());
            let event = asl::Event::TaskFailed { id, error: error.error.clone(), cause: error.cause_text() };
            self.tell_new(now, path, Told::Event(event));
        }
    }
}

impl Turn {
    fn gate(&self) -> Gate {
        let mut gate = Gate::Open;
        for begin in &self.begins {
            let ScheduledAttempt { kind, is_final, passes, .. } = begin.step;
            gate = match (kind, gate) {
                (StepKind::Compensation, _) => return Gate::Compensation,
                (StepKind::Forward, Gate::Forward { is_pivot, passes: all_pass }) => {
                    Gate::Forward { is_pivot: is_pivot || is_final, passes: all_pass && passes }
                }
                (StepKind::Forward, _) => Gate::Forward { is_pivot: is_final, passes },
            }
        }
        gate
    }
}

fn machine_name(kind: contracts::WorkflowKind) -> Result<&'static str, EngineError> {
    let workflow = workflows::workflow(kind);
    workflow
        .map(|workflow| workflow.name)
        .ok_or_else(|| EngineError::Definition(format!("there is no workflow {kind}")))
}
