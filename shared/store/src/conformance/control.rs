//! What every store promises of the states of an execution: against a model of them, and as a table of every control in
//! every state.

use contracts::{EngineKind, EventType, Status};

use super::driver::{Begins, Driver, Ends, Stepped, Told};
use super::{KIND, TENANT, at, new, ok};
use crate::{
    Control, Controlled, Created, Decision, ExecutionRecord, Executions, History, ListFilter, NewExecution, Refusal,
};

/// Executions that live side by side in one store.
const EXECUTIONS: u64 = 8;

/// Operations on them, per execution.
const OPERATIONS: u64 = 14;

/// The time limit, in seconds.
const LIMIT: i64 = 1_000;

/// A jump of the clock in seconds: so far from every multiple of the limit that the seconds between operations do not matter.
const JUMP: i64 = 1_500;

/// Random sequences of operations on executions, and after each one the store says what the model says. Each of `rounds` is
/// about [`EXECUTIONS`] of them in a store of its own; its number is the seed.
pub(super) async fn sequences<S: Executions + History>(
    open: &impl AsyncFn() -> S,
    driver: &impl Driver<S>,
    rounds: u64,
) {
    for seed in 0..rounds {
        let round = Round { seed, random: Random(seed), second: 0, models: Vec::new(), trail: Vec::new() };
        round.run(&open().await, driver).await;
    }
}

/// One thing that happens to an execution.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Control(Control),
    /// A step begins, and ends if `true`.
    Begin(Begins, bool),
    End(Ends),
    /// Another tenant asks for it.
    Foreign(Control),
    /// A long time passes.
    Wait,
}

/// What the store says to it.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
    NotFound,
    Stepped(Stepped),
    Ended(bool),
    Nothing,
}

/// What is known of an execution. Moments are seconds.
#[derive(Debug, Clone)]
struct Model {
    id: String,
    ended: Option<(Ends, i64)>,
    cancelled_at: Option<i64>,
    paused_at: Option<i64>,
    /// How long it was paused before.
    paused: i64,
    window_open: bool,
    pivot_begun: bool,
    deadline: Option<i64>,
    /// Whether its engine has been heard of. Until then nothing counts for an engine other than the embedded one.
    has_begun: bool,
    updated_at: i64,
    /// Steps that have begun and not ended, in order.
    open: Vec<Begins>,
    history: Vec<EventType>,
}

impl Model {
    fn of(new: &NewExecution) -> Self {
        let second = |at: contracts::Timestamp| at.as_second() - super::epoch().as_second();
        Self {
            id: new.id.clone(),
            ended: None,
            cancelled_at: new.cancel_requested_at.map(second),
            paused_at: None,
            paused: 0,
            window_open: !new.begins_pivot,
            pivot_begun: new.begins_pivot,
            deadline: new.deadline_at.map(second),
            has_begun: new.engine == EngineKind::Embedded,
            updated_at: 0,
            open: Vec::new(),
            history: vec![EventType::WorkflowExecutionStarted],
        }
    }

    /// As clients see it.
    fn status(&self) -> Status {
        match self.ended {
            Some((Ends::Well, _)) => Status::Completed,
            Some((Ends::Badly, _)) => Status::Failed,
            Some((Ends::Terminated, _)) => Status::Terminated,
            None if self.paused_at.is_some() => Status::Paused,
            None => Status::Running,
        }
    }

    /// The answer to an operation, and whether it changes anything.
    fn apply<S: Sync>(&mut self, driver: &impl Driver<S>, operation: Operation, now: i64) -> (Answer, bool) {
        let (answer, is_changed) = match operation {
            Operation::Control(control) => match self.control(control, now) {
                Decision::Changes => (Answer::Accepted, true),
                Decision::Holds => (Answer::Accepted, false),
                Decision::Refused => (Answer::Refused, false),
            },
            Operation::Begin(begins, is_finished) => {
                let (stepped, told) = match self.begin(begins, now) {
                    stepped @ Stepped::Begun => (stepped, Told::Begun { begins, is_finished }),
                    stepped @ Stepped::Refused(refusal) => (stepped, Told::Refused(begins, refusal)),
                    Stepped::Closed => return (Answer::Stepped(Stepped::Closed), false),
                };
                let events = driver.events(&mut self.open, told);
                self.history.extend(&events);
                (Answer::Stepped(stepped), stepped == Stepped::Begun || !events.is_empty())
            }
            Operation::End(_) if self.ended.is_some() => (Answer::Ended(false), false),
            Operation::End(ends) => {
                self.ended = Some((ends, now));
                self.window_open = false;
                self.history.extend(driver.events(&mut self.open, Told::Ended(ends)));
                (Answer::Ended(true), true)
            }
            Operation::Foreign(_) => (Answer::NotFound, false),
            Operation::Wait => (Answer::Nothing, false),
        };
        if is_changed {
            self.updated_at = now;
        }
        (answer, is_changed)
    }

    fn control(&mut self, control: Control, now: i64) -> Decision {
        if self.ended.is_some() {
            return Decision::Refused;
        }
        match (control, self.paused_at, self.cancelled_at) {
            (Control::Cancel, _, Some(_)) | (Control::Pause, Some(_), _) => Decision::Holds,
            (Control::Cancel, _, None) if self.window_open => {
                self.release(now);
                self.cancelled_at = Some(now);
                Decision::Changes
            }
            (Control::Pause, None, None) if self.window_open => {
                self.paused_at = Some(now);
                self.history.push(EventType::WorkflowExecutionPaused);
                Decision::Changes
            }
            (Control::Resume, Some(_), _) => {
                self.release(now);
                Decision::Changes
            }
            _ => Decision::Refused,
        }
    }

    fn release(&mut self, now: i64) {
        let Some(paused_at) = self.paused_at.take() else { return };
        self.paused += (now - paused_at).max(0);
        self.history.push(EventType::WorkflowExecutionResumed);
        if self.has_begun {
            self.deadline = self.deadline.map(|deadline| deadline + now - paused_at);
        }
    }

    fn begin(&mut self, begins: Begins, now: i64) -> Stepped {
        if self.ended.is_some() {
            return Stepped::Closed;
        }
        if begins == Begins::Undo {
            self.window_open = false;
            return Stepped::Begun;
        }
        if self.paused_at.is_some() {
            return Stepped::Refused(Refusal::Paused);
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            self.deadline = self.deadline.map(|deadline| deadline + now);
        }
        match self.pivot_begun {
            true => {}
            false if self.cancelled_at.is_some() => return Stepped::Refused(Refusal::Cancelled),
            false if self.deadline.is_some_and(|deadline| deadline < now) => {
                return Stepped::Refused(Refusal::TimedOut);
            }
            false => {}
        }
        if begins == Begins::Pivot {
            (self.pivot_begun, self.window_open) = (true, false);
        }
        Stepped::Begun
    }
}

/// One store, its executions, and what has happened to them.
struct Round {
    seed: u64,
    random: Random,
    second: i64,
    models: Vec<Model>,
    trail: Vec<String>,
}

impl Round {
    async fn run<S: Executions + History>(mut self, store: &S, driver: &impl Driver<S>) {
        for number in 0..EXECUTIONS {
            let new = self.new_execution(driver.engine(), number);
            self.models.push(Model::of(&new));
            self.trail.push(format!(
                "{}: pivot {}, limit {:?}, cancelled {:?}",
                new.id, new.begins_pivot, new.deadline_at, new.cancel_requested_at
            ));
            assert!(matches!(ok(store.create(new).await), Created::New(_)), "a fresh id is new");
        }
        for _ in 0..EXECUTIONS * OPERATIONS {
            let chosen = self.random.below(EXECUTIONS) as usize;
            let operation = self.operation(&self.models[chosen].clone());
            self.second += if matches!(operation, Operation::Wait) { JUMP } else { 1 };
            self.operate(store, driver, chosen, operation).await;
        }
        for status in Status::ALL {
            self.check_list(store, &[status]).await;
        }
    }

    fn new_execution(&mut self, engine: EngineKind, number: u64) -> NewExecution {
        let random = &mut self.random;
        NewExecution {
            engine,
            status: if random.one_in(3) { Status::Pending } else { Status::Running },
            deadline_at: (!random.one_in(3)).then(|| at(LIMIT)),
            begins_pivot: random.one_in(8),
            cancel_requested_at: random.one_in(8).then(|| at(0)),
            ..new(&format!("e-{number}"))
        }
    }

    fn operation(&mut self, model: &Model) -> Operation {
        let random = &mut self.random;
        let is_finished = !random.one_in(3);
        match random.below(20) {
            0..=2 => Operation::Control(Control::Cancel),
            3..=6 => Operation::Control(Control::Pause),
            7..=9 => Operation::Control(Control::Resume),
            10..=13 => Operation::Begin(Begins::Forward, is_finished),
            14 => Operation::Begin(Begins::Pivot, is_finished),
            // Nothing is undone before anything has begun.
            15 | 16 if !model.has_begun => Operation::Begin(Begins::Forward, is_finished),
            15 | 16 => Operation::Begin(Begins::Undo, is_finished),
            17 => Operation::End([Ends::Well, Ends::Badly, Ends::Terminated][random.below(3) as usize]),
            18 => Operation::Foreign(Control::ALL[random.below(3) as usize]),
            _ => Operation::Wait,
        }
    }

    async fn operate<S>(&mut self, store: &S, driver: &impl Driver<S>, chosen: usize, operation: Operation)
    where
        S: Executions + History,
    {
        let id = self.models[chosen].id.clone();
        self.trail.push(format!("{} {id}: {operation:?}", self.second));
        let before = get(store, &id).await;
        let answer = carry_out(store, driver, &id, operation, self.second).await;
        let (expected, is_changed) = self.models[chosen].apply(driver, operation, self.second);
        assert_eq!(answer, expected, "{self}");
        let after = get(store, &id).await;
        match is_changed {
            true => assert!(after.version > before.version, "{} after {}: {self}", after.version, before.version),
            false => assert_eq!(after, before, "nothing changes: {self}"),
        }
        self.check_record(chosen, &after);
        self.check_history(store, chosen).await;
        let wanted = [Status::ALL[self.random.below(8) as usize], Status::ALL[self.random.below(8) as usize]];
        self.check_list(store, &wanted).await;
    }

    fn check_record(&self, chosen: usize, record: &ExecutionRecord) {
        let model = &self.models[chosen];
        assert_eq!(record.status.reported(), model.status(), "{self}");
        let moments = [record.paused_at, record.cancel_requested_at, record.ended_at, Some(record.updated_at)];
        let ended_at = model.ended.map(|(_, second)| second);
        let expected = [model.paused_at, model.cancelled_at, ended_at, Some(model.updated_at)];
        assert_eq!(moments, expected.map(|second| second.map(at)), "paused, cancelled, ended, updated: {self}");
        assert_eq!(record.window_open, model.window_open, "{self}");
        assert_eq!(record.paused_us, model.paused as u64 * 1_000_000, "{self}");
    }

    async fn check_history<S: History>(&self, store: &S, chosen: usize) {
        let model = &self.models[chosen];
        let page = ok(store.events(TENANT, &model.id, &[], None, 200).await).expect("it is there");
        let found: Vec<&str> = page.rows.iter().map(|row| row.event.event_type.as_str()).collect();
        let expected: Vec<&str> = model.history.iter().map(|event_type| event_type.as_str()).collect();
        assert_eq!(found, expected, "{self}");
        assert_eq!(page.total, model.history.len() as u64, "{self}");
    }

    async fn check_list<S: Executions>(&self, store: &S, statuses: &[Status]) {
        let filter = ListFilter { statuses: statuses.to_vec(), kind: Some(KIND), ..ListFilter::default() };
        let page = ok(store.list(TENANT, &filter, None, 0, 99).await);
        let mut found: Vec<&str> = page.executions.iter().map(|record| record.id.as_str()).collect();
        found.sort_unstable();
        let is_wanted = |model: &&Model| statuses.iter().any(|status| status.reported() == model.status());
        let expected: Vec<&str> = self.models.iter().filter(is_wanted).map(|model| model.id.as_str()).collect();
        assert_eq!(found, expected, "{statuses:?}: {self}");
        assert_eq!(page.total, expected.len() as u64, "{statuses:?}: {self}");
        for (status, count) in page.counts.by_status {
            let expected = self.models.iter().filter(|model| model.status() == status).count();
            assert_eq!(count, expected as u64, "{status}: {self}");
        }
    }
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}\n{}", self.seed, self.trail.join("\n"))
    }
}

async fn get<S: Executions>(store: &S, id: &str) -> ExecutionRecord {
    ok(store.get(TENANT, id).await).expect("it is there")
}

async fn carry_out<S: Executions>(
    store: &S,
    driver: &impl Driver<S>,
    id: &str,
    operation: Operation,
    second: i64,
) -> Answer {
    let control = async |tenant_id: &str, control| ok(store.control(tenant_id, id, control, at(second), None).await);
    match operation {
        Operation::Control(asked) => match control(TENANT, asked).await {
            Controlled::Accepted(record) => {
                assert_eq!(record, get(store, id).await, "the answer is the record as it is now");
                Answer::Accepted
            }
            Controlled::Refused(record) => {
                assert_eq!(record, get(store, id).await, "the answer is the record as it is now");
                Answer::Refused
            }
            Controlled::NotFound => Answer::NotFound,
        },
        Operation::Foreign(asked) => match control("tenant-b", asked).await {
            Controlled::NotFound => Answer::NotFound,
            other => panic!("another tenant is told of it: {other:?}"),
        },
        Operation::Begin(begins, is_finished) => {
            Answer::Stepped(driver.begin(store, id, begins, is_finished, at(second)).await)
        }
        Operation::End(ends) => Answer::Ended(driver.end(store, id, ends, at(second)).await),
        Operation::Wait => Answer::Nothing,
    }
}

/// How an execution comes into a state.
struct Path {
    state: &'static str,
    /// What its start says.
    starts: fn(NewExecution) -> NewExecution,
    /// What happens to it then.
    operations: &'static [Operation],
    /// What becomes of a cancel, a pause and a resume.
    decisions: [Decision; 3],
}

const CANCEL: Operation = Operation::Control(Control::Cancel);
const PAUSE: Operation = Operation::Control(Control::Pause);
const RESUME: Operation = Operation::Control(Control::Resume);
const STEP: Operation = Operation::Begin(Begins::Forward, true);
const PIVOT: Operation = Operation::Begin(Begins::Pivot, true);
const UNDO: Operation = Operation::Begin(Begins::Undo, true);

const CHANGES: Decision = Decision::Changes;
const HOLDS: Decision = Decision::Holds;
const REFUSED: Decision = Decision::Refused;

/// Every state that an execution can be in, as far as a control is concerned.
const PATHS: &[Path] = &[
    path("running", &[], [CHANGES, CHANGES, REFUSED]),
    path("at a step", &[Operation::Begin(Begins::Forward, false)], [CHANGES, CHANGES, REFUSED]),
    path("behind a step", &[STEP], [CHANGES, CHANGES, REFUSED]),
    path("past its deadline", &[STEP, Operation::Wait], [CHANGES, CHANGES, REFUSED]),
    path("refused by its deadline", &[STEP, Operation::Wait, STEP], [CHANGES, CHANGES, REFUSED]),
    path("paused", &[PAUSE], [CHANGES, HOLDS, CHANGES]),
    path("paused at a step", &[Operation::Begin(Begins::Forward, false), PAUSE], [CHANGES, HOLDS, CHANGES]),
    path("paused before a step", &[STEP, PAUSE, STEP], [CHANGES, HOLDS, CHANGES]),
    path("resumed", &[PAUSE, RESUME], [CHANGES, CHANGES, REFUSED]),
    path("paused again", &[PAUSE, RESUME, PAUSE], [CHANGES, HOLDS, CHANGES]),
    path("cancelled", &[CANCEL], [HOLDS, REFUSED, REFUSED]),
    path("cancelled while paused", &[PAUSE, CANCEL], [HOLDS, REFUSED, REFUSED]),
    path("cancelled before a step", &[STEP, CANCEL, STEP], [HOLDS, REFUSED, REFUSED]),
    path("undone after a cancel", &[STEP, CANCEL, STEP, UNDO], [HOLDS, REFUSED, REFUSED]),
    path("being undone", &[STEP, Operation::Begin(Begins::Undo, false)], [REFUSED, REFUSED, REFUSED]),
    path("undone", &[STEP, UNDO], [REFUSED, REFUSED, REFUSED]),
    path("undone while paused", &[STEP, PAUSE, UNDO], [REFUSED, HOLDS, CHANGES]),
    path("resumed after an undoing", &[STEP, PAUSE, UNDO, RESUME], [REFUSED, REFUSED, REFUSED]),
    path("at a step after an undoing", &[STEP, UNDO, STEP], [REFUSED, REFUSED, REFUSED]),
    path("at its pivot", &[Operation::Begin(Begins::Pivot, false)], [REFUSED, REFUSED, REFUSED]),
    path("past its pivot", &[STEP, PIVOT, STEP], [REFUSED, REFUSED, REFUSED]),
    path("completed", &[STEP, Operation::End(Ends::Well)], [REFUSED, REFUSED, REFUSED]),
    path("failed", &[STEP, Operation::End(Ends::Badly)], [REFUSED, REFUSED, REFUSED]),
    path("failed after a cancel", &[STEP, CANCEL, Operation::End(Ends::Badly)], [REFUSED, REFUSED, REFUSED]),
    path("terminated", &[STEP, Operation::End(Ends::Terminated)], [REFUSED, REFUSED, REFUSED]),
    path("terminated while paused", &[STEP, PAUSE, Operation::End(Ends::Terminated)], [REFUSED, REFUSED, REFUSED]),
    Path {
        state: "not begun",
        starts: |new| NewExecution { status: Status::Pending, ..new },
        operations: &[],
        decisions: [CHANGES, CHANGES, REFUSED],
    },
    Path {
        state: "paused before it has begun",
        starts: |new| NewExecution { status: Status::Pending, ..new },
        operations: &[PAUSE],
        decisions: [CHANGES, HOLDS, CHANGES],
    },
    Path {
        state: "born cancelled",
        starts: |new| NewExecution { cancel_requested_at: Some(at(0)), ..new },
        operations: &[],
        decisions: [HOLDS, REFUSED, REFUSED],
    },
    Path {
        state: "born at its pivot",
        starts: |new| NewExecution { begins_pivot: true, ..new },
        operations: &[],
        decisions: [REFUSED, REFUSED, REFUSED],
    },
];

const fn path(state: &'static str, operations: &'static [Operation], decisions: [Decision; 3]) -> Path {
    Path { state, starts: |new| new, operations, decisions }
}

/// Every control in every state. What holds already or is refused changes nothing.
pub(super) async fn table<S: Executions + History>(store: &S, driver: &impl Driver<S>) {
    let mut second = 0;
    let mut number = 0;
    for Path { state, starts, operations, decisions } in PATHS {
        for (control, decision) in Control::ALL.into_iter().zip(decisions) {
            let id = format!("e-{number}");
            number += 1;
            let engine = driver.engine();
            // With another engine than the embedded one, what was waited for the first step is not in the limit.
            let from = if engine == EngineKind::Embedded { second } else { 0 };
            let new = starts(NewExecution { engine, deadline_at: Some(at(from + LIMIT)), ..new(&id) });
            ok(store.create(new).await);
            for operation in *operations {
                second += if matches!(operation, Operation::Wait) { JUMP } else { 1 };
                let answer = carry_out(store, driver, &id, *operation, second).await;
                assert!(!matches!(answer, Answer::Refused | Answer::NotFound), "{state}: {operation:?}: {answer:?}");
            }
            second += 1;
            decide(store, &id, control, *decision, second, state).await;
        }
    }
}

async fn decide<S: Executions + History>(
    store: &S,
    id: &str,
    control: Control,
    decision: Decision,
    second: i64,
    state: &str,
) {
    let history = async || ok(store.events(TENANT, id, &[], None, 99).await).expect("it is there").rows;
    let (before, told) = (get(store, id).await, history().await);
    let answer = ok(store.control(TENANT, id, control, at(second), None).await);
    let after = get(store, id).await;
    let expected = match decision {
        Decision::Changes | Decision::Holds => Controlled::Accepted(after.clone()),
        Decision::Refused => Controlled::Refused(after.clone()),
    };
    assert_eq!(answer, expected, "{state}: {control:?}");
    if decision != Decision::Changes {
        assert_eq!((after, history().await), (before, told), "{state}: {control:?} changes nothing");
        return;
    }
    assert!(after.version > before.version, "{state}: {control:?}");
    assert_eq!(after.updated_at, at(second), "{state}: {control:?}");
    let is_set = [after.cancel_requested_at, after.paused_at].map(|since| since == Some(at(second)));
    assert_eq!(is_set, [control == Control::Cancel, control == Control::Pause], "{state}: {control:?}");
    let events = usize::from(control == Control::Pause || before.paused_at.is_some());
    assert_eq!(history().await.len(), told.len() + events, "{state}: {control:?}");
}

/// Random numbers that depend on nothing but the seed and how many were drawn (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}
