//! Every call site x every fault x once and for ever, and pairs of them, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use clock::{Clock as _, SystemClock};
use reference_services::{Fault, FaultRule, ServiceKind};
use tokio::sync::Semaphore;

use crate::interpreter::dice::Dice;
use crate::invariants;
use crate::subjects::{self, CallSite, Subject};
use crate::world::{Script, World, in_parallel, run};

/// Executions under way at once where time is real: most of what they do is wait.
const AT_ONCE: usize = 8;

/// Runs all of them in real time, some at once, whichever tests they are of: with more the machine would be so busy that time
/// limits pass. What went wrong.
pub(crate) async fn all<F>(tasks: impl Iterator<Item = (String, F)>) -> Vec<String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
    let spawned: Vec<_> = tasks
        .map(|(name, task)| {
            let guarded = async move {
                let _turn = TURNS.acquire().await.unwrap();
                task.await
            };
            (name, tokio::spawn(guarded))
        })
        .collect();
    let mut wrong = Vec::new();
    for (name, task) in spawned {
        if let Err(why) = task.await.unwrap_or_else(|panic| Err(panic.to_string())) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    wrong
}

/// One call site of each workflow sees every class of fault, or all of them see all, once and for ever; in real time.
pub(crate) async fn real_time_matrix<F>(
    is_full: bool,
    cell: impl Fn(&'static Subject, CallSite, Fault, Option<u64>) -> F,
) where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let times: &[Option<u64>] = if is_full { &[Some(1), None] } else { &[Some(1)] };
    let either: Vec<Faulty> = times.iter().flat_map(|times| every_fault(*times)).collect();
    let cells = either.into_iter().filter(|faulty| {
        is_full || ["CreateUserProfile", "UpdateUserSession", "ProcessBatch"].contains(&faulty.site.name)
    });
    // A job waits as long as a service asks it to: an hour here.
    let takes_an_hour = |faulty: &Faulty| {
        let asked = match faulty.fault {
            Fault::Status { retry_after_seconds, .. } => retry_after_seconds.unwrap_or_default(),
            _ => 0,
        };
        faulty.subject.is_job() && asked > 60
    };
    let cells: Vec<Faulty> = cells.filter(|faulty| !takes_an_hour(faulty)).collect();
    let count = cells.len();
    let named = cells.into_iter().map(|faulty| {
        let name = faulty.to_string();
        (name, cell(faulty.subject, faulty.site, faulty.fault, faulty.times))
    });
    let violations = all(named).await;
    println!("{count} cells, {} violations", violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Where time is real, a delivery that is late comes so late that it is after the undoing, and is waited for after the end.
pub(crate) fn in_real_time(fault: &mut Fault, settling_time: &mut Duration) {
    if let Fault::LateDelivery { delay_ms } = fault {
        // Each of 17 attempts takes a second and more.
        *delay_ms = 60_000;
        *settling_time = Duration::from_secs(70);
    }
}

pub(crate) fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("error before the effect", Fault::Reset),
        ("reply lost", Fault::ReplyLost),
        ("timeout without effect", Fault::DelayBeforeEffect { delay_ms: 60_000 }),
        ("timeout with effect", Fault::Delay { delay_ms: 60_000 }),
        ("late delivery", Fault::LateDelivery { delay_ms: 120_000 }),
        ("429 with Retry-After", Fault::Status { status: 429, retry_after_seconds: Some(7) }),
        ("429 with a long Retry-After", Fault::Status { status: 429, retry_after_seconds: Some(3_600) }),
        ("503", Fault::Status { status: 503, retry_after_seconds: None }),
        ("500 after the effect", Fault::StatusAfterEffect { status: 500 }),
        ("permanent 400", Fault::Status { status: 400, retry_after_seconds: None }),
        ("permanent 400 after the effect", Fault::StatusAfterEffect { status: 400 }),
        ("duplicate delivery", Fault::Duplicate),
        ("malformed reply", Fault::MalformedBody),
        ("7 MB reply", Fault::OversizedBody { bytes: 7 * 1024 * 1024 }),
        ("another id", Fault::WrongId),
    ]
}

/// A fault at a call site of a workflow, so often.
#[derive(Clone)]
pub(crate) struct Faulty {
    pub(crate) subject: &'static Subject,
    pub(crate) site: CallSite,
    name: &'static str,
    pub(crate) fault: Fault,
    pub(crate) times: Option<u64>,
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let when = if self.times.is_some() { "once" } else { "for ever" };
        write!(f, "{} x {} x {when}", self.site.name, self.name)
    }
}

/// Every fault at every call site of a workflow.
fn faulty(subject: &'static Subject, times: Option<u64>) -> impl Iterator<Item = Faulty> {
    let of_site = move |site: &CallSite| {
        let site = *site;
        faults().into_iter().map(move |(name, fault)| Faulty { subject, site, name, fault, times })
    };
    subject.sites.iter().flat_map(of_site)
}

/// Every fault at every call site of every workflow.
pub(crate) fn every_fault(times: Option<u64>) -> impl Iterator<Item = Faulty> {
    subjects::SIDE_BY_SIDE.into_iter().flat_map(move |subject| faulty(subject, times))
}

/// What goes wrong in one execution.
#[derive(Clone)]
struct Cell {
    /// At least one, all of the same workflow.
    faults: Vec<Faulty>,
    /// By the cancel that leads through every undo.
    is_cancelled: bool,
}

impl Cell {
    fn subject(&self) -> &'static Subject {
        self.faults[0].subject
    }

    fn alone(faulty: Faulty) -> Self {
        Self { is_cancelled: faulty.site.is_undo, faults: vec![faulty] }
    }

    /// Another fault besides.
    fn with(&self, faulty: &Faulty) -> Self {
        let faults = self.faults.iter().chain([faulty]).cloned().collect();
        Self { faults, is_cancelled: self.is_cancelled }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        let cancelled = if self.is_cancelled { ", cancelled" } else { "" };
        write!(f, "{}: {}{cancelled}", self.subject().name(), names.join(", then "))
    }
}

/// What an execution met.
struct Met {
    /// Whether all faults of its cell happened.
    is_whole: bool,
    /// By site, whether one more fault there would have happened.
    reached: Vec<bool>,
}

/// Rules that change nothing, and count the calls that reach a site and meet no other rule. Those that skip calls come
/// first: a call is counted by one rule only.
fn probes(subject: &Subject) -> Vec<CallSite> {
    let mut sites = subject.sites.to_vec();
    sites.sort_by_key(|site| std::cmp::Reverse(site.skip));
    sites
}

/// An execution that meets these faults.
async fn meet(world: &World, number: usize, cell: &Cell) -> Result<Met, String> {
    let subject = cell.subject();
    let first = subjects::held(world).await;
    let request = world.prepare(subject, number).await;
    let before = world.snapshot().await;
    let probes = probes(subject);
    let mut rules = BTreeMap::<String, Vec<FaultRule>>::new();
    let faulty = cell.faults.iter().map(|faulty| faulty.site.faulty(faulty.fault.clone(), faulty.times));
    let probing = probes.iter().map(|site| site.faulty(Fault::Delay { delay_ms: 0 }, None));
    for (service, mut rule) in faulty.chain(probing).flatten() {
        rules.entry(service).or_default().append(&mut rule);
    }
    world.faults(&rules);
    world.forget_calls();
    let control = if cell.is_cancelled { vec![subject.cancel_all()] } else { Vec::new() };
    *world.script.lock().unwrap() = Script { control, ..Script::default() };
    let id = world.start_of(subject, &request).await;
    world.until_ended(&id).await;
    let mut fired: BTreeMap<&str, VecDeque<u64>> =
        ServiceKind::ALL.map(|kind| (kind.name(), world.services.faults_fired(kind).into())).into();
    world.faults(&BTreeMap::new());
    let status = invariants::check(world, &id, &before).await?;
    if let Some(check) = subject.about_everything {
        check(world, &status, &request, &first).await?;
    }
    let mut next = |site: &CallSite| fired.get_mut(site.service).and_then(VecDeque::pop_front).unwrap();
    let is_whole = cell.faults.iter().map(|faulty| next(&faulty.site)).all(|times| times > 0);
    let counted: Vec<(&CallSite, u64)> = probes.iter().map(|site| (site, next(site))).collect();
    let is_reached = |site: &CallSite| {
        counted.iter().any(|(probe, times)| *times > 0 && probe.is_same_route(site) && probe.skip >= site.skip)
    };
    Ok(Met { is_whole, reached: subject.sites.iter().map(is_reached).collect() })
}

/// Executions that share a world, one after the other, unless they are about everything in it.
const CELLS_PER_WORLD: usize = 20;

/// The cells of each world, with the number of the first one.
fn worlds(cells: &[Cell]) -> Vec<(usize, &[Cell])> {
    let (mut worlds, mut first) = (Vec::new(), 0);
    let is_alone = |cell: &Cell| cell.subject().about_everything.is_some();
    for alike in cells.chunk_by(|one, other| is_alone(one) == is_alone(other)) {
        for of_world in alike.chunks(if is_alone(&alike[0]) { 1 } else { CELLS_PER_WORLD }) {
            worlds.push((first, of_world));
            first += of_world.len();
        }
    }
    worlds
}

/// Runs all cells, on all cores: what they met, by number, and what went wrong.
fn run_all(cells: &[Cell]) -> (BTreeMap<usize, Met>, Vec<String>) {
    let worlds = worlds(cells);
    let (met, wrong) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    in_parallel(worlds.len(), |world| {
        let (first, of_world) = worlds[world];
        let mut left = of_world.iter().enumerate();
        while left.len() > 0 {
            run(async {
                // Long enough that the deadline is not what ends them.
                let settings = [("WORKFLOWS__DEFAULT_TIMEOUT", "1h".to_owned())];
                let world = World::with(Script::default(), &settings).await;
                for (number, cell) in left.by_ref() {
                    match meet(&world, number, cell).await {
                        Ok(of_cell) => drop(met.lock().unwrap().insert(first + number, of_cell)),
                        Err(violation) => {
                            wrong.lock().unwrap().push(format!("{cell}: {violation}"));
                            // Who comes next is to begin in a world that is in order.
                            return;
                        }
                    }
                }
            });
        }
    });
    (met.into_inner().unwrap(), wrong.into_inner().unwrap())
}

/// Runs cells that meet all their faults.
fn check_all(cells: &[Cell]) {
    let (met, violations) = run_all(cells);
    for subject in subjects::EVERY {
        let count = cells.iter().filter(|cell| std::ptr::eq(cell.subject(), subject)).count();
        println!("{}: {count} cells", subject.name());
    }
    println!("{} violations", violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let missed = met.iter().filter(|(_, met)| !met.is_whole).map(|(number, _)| cells[*number].to_string());
    let missed: Vec<String> = missed.collect();
    assert!(missed.is_empty(), "a fault never happened: {}", missed.join("\n"));
}

#[test]
fn every_single_fault_keeps_the_invariants() {
    let cells = subjects::EVERY.into_iter().flat_map(either);
    check_all(&cells.map(Cell::alone).collect::<Vec<_>>());
}

/// Every fault of a workflow, once and for ever.
fn either(subject: &'static Subject) -> impl Iterator<Item = Faulty> {
    [Some(1), None].into_iter().flat_map(move |times| faulty(subject, times))
}

/// The first faults of pairs: each alone, and each that is got over before everything is undone.
fn first_cells(subject: &'static Subject) -> Vec<Cell> {
    let got_over = either(subject).filter(|faulty| !faulty.site.is_undo && faulty.times.is_some());
    let undone = got_over.map(|faulty| Cell { is_cancelled: true, faults: vec![faulty] });
    either(subject).map(Cell::alone).chain(undone).collect()
}

/// A fault, and another one while the first is retried or undone, or at a later call. A sample, but for
/// `FAULT_PAIRS=all`.
///
/// The first alone tells which calls come after it, so the pairs are all that can happen: at a site before the first one
/// the second would be the first, and at a site that is not reached the first one is alone.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn every_pair_of_faults_keeps_the_invariants() {
    const SEED: u64 = 20_260_101;
    /// First faults, and second ones for each; fewer where each pair takes a world of its own.
    const SAMPLE: (usize, usize) = (60, 8);
    const SMALL_SAMPLE: (usize, usize) = (25, 4);
    let sample = |subject: &Subject| if subject.about_everything.is_some() { SMALL_SAMPLE } else { SAMPLE };
    /// For each workflow, and where each pair takes a world of its own.
    const LIMITS: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(3_600));
    let limit = |subject: &Subject| if subject.about_everything.is_some() { LIMITS.1 } else { LIMITS.0 };
    let began = SystemClock.now();
    let all = std::env::var("FAULT_PAIRS").is_ok_and(|pairs| pairs == "all");
    let mut dice = Dice(SEED);
    let mut firsts = Vec::new();
    for subject in subjects::EVERY {
        let of_subject = first_cells(subject);
        match all {
            true => firsts.extend(of_subject),
            false => firsts.extend((0..sample(subject).0).map(|_| dice.one_of(&of_subject).clone())),
        }
    }
    if !all {
        println!("seed {SEED}");
    }
    let (met, violations) = run_all(&firsts);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let mut pairs = Vec::new();
    for (number, met) in met.into_iter().filter(|(_, met)| met.is_whole) {
        let first = &firsts[number];
        let sites = first.subject().sites;
        let position = |faulty: &Faulty| sites.iter().position(|site| site.name == faulty.site.name).unwrap();
        let from = position(&first.faults[0]);
        let can_follow = |second: &Faulty| position(second) >= from && met.reached[position(second)];
        let seconds: Vec<Faulty> = either(first.subject()).filter(can_follow).collect();
        match all {
            true => pairs.extend(seconds.iter().map(|second| first.with(second))),
            false if seconds.is_empty() => {}
            false => pairs.extend((0..sample(first.subject()).1).map(|_| first.with(dice.one_of(&seconds)))),
        }
    }
    println!("{} first faults, {} pairs, all: {all}", firsts.len(), pairs.len());
    assert!(pairs.len() > firsts.len(), "hardly any pair");
    check_all(&pairs);
    let took = SystemClock.now().duration_since(began).unsigned_abs();
    println!("{} s", took.as_secs());
    let limit: Duration = subjects::EVERY.into_iter().map(limit).sum();
    assert!(!all || took <= limit, "{took:?} for all pairs");
}

/// The call sites are all there are: one for every Task of each state machine, and the calls that some make besides.
#[test]
fn every_task_is_a_site() {
    for subject in subjects::ALL {
        let machine = subject.machine();
        let states = machine["States"].as_object().unwrap();
        for (task, _) in states.iter().filter(|(_, state)| state["Type"] == "Task") {
            assert_eq!(subject.site(task).is_undo, task.starts_with("Undo"), "{task}");
        }
    }
}
