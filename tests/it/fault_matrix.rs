//! Every call site x every fault x once and for ever, and pairs of them, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::{Clock as _, SystemClock};
use reference_services::{Fault, FaultRule, ServiceKind};
use tokio::sync::Semaphore;

use crate::interpreter::dice::Dice;
use crate::invariants;
use crate::world::{Control, ControlAction, Script, World, full_request_of, in_parallel, run};

/// Executions under way at once where time is real: most of what they do is wait.
const AT_ONCE: usize = 8;

/// Runs all of them in real time, some at once; what went wrong.
pub(crate) async fn all<F>(tasks: impl Iterator<Item = (String, F)>) -> Vec<String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let spawned: Vec<_> = tasks
        .map(|(name, task)| {
            let turns = Arc::clone(&turns);
            let guarded = async move {
                let _turn = turns.acquire().await.unwrap();
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

/// One call site sees every class of fault, or all of them see all, once and for ever; in real time.
pub(crate) async fn real_time_matrix<F>(is_full: bool, cell: impl Fn(CallSite, Fault, Option<u64>) -> F)
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let sites = SITES.into_iter().filter(|site| is_full || site.name == "CreateUserProfile");
    let times: &[Option<u64>] = if is_full { &[Some(1), None] } else { &[Some(1)] };
    let cells: Vec<_> = sites
        .flat_map(|site| faults().into_iter().map(move |(name, fault)| (site, name, fault)))
        .flat_map(|(site, name, fault)| times.iter().map(move |times| (site, name, fault.clone(), *times)))
        .collect();
    let count = cells.len();
    let violations = all(cells.into_iter().map(|(site, name, fault, times)| {
        let when = if times.is_some() { "once" } else { "for ever" };
        (format!("{} x {name} x {when}", site.name), cell(site, fault, times))
    }))
    .await;
    println!("{count} cells, {} violations", violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Where time is real, a delivery that is late comes so late that it is after the undoing, and is waited for after the end.
pub(crate) fn in_real_time(fault: &mut Fault, settling_time: &mut Duration) {
    if let Fault::LateDelivery { delay_ms } = fault {
        *delay_ms = 15_000;
        *settling_time = Duration::from_secs(20);
    }
}

/// A place where a workflow calls a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallSite {
    pub(crate) name: &'static str,
    pub(crate) service: &'static str,
    method: &'static str,
    route: &'static str,
    /// Requests of this route that come before.
    skip: u64,
    pub(crate) is_undo: bool,
}

const fn site(name: &'static str, service: &'static str, method: &'static str, route: &'static str) -> CallSite {
    CallSite { name, service, method, route, skip: 0, is_undo: false }
}

const fn undo(name: &'static str, service: &'static str, skip: u64) -> CallSite {
    CallSite { name, service, method: "DELETE", route: "/api/v1/effects/{idempotency_key}", skip, is_undo: true }
}

impl CallSite {
    /// Rules that let this call fail so, this often.
    pub(crate) fn faulty(&self, fault: Fault, times: Option<u64>) -> BTreeMap<String, Vec<FaultRule>> {
        let rule = FaultRule { times, skip: self.skip, ..FaultRule::on(self.method, self.route, fault) };
        BTreeMap::from([(self.service.to_owned(), vec![rule])])
    }

    fn is_same_route(&self, other: &Self) -> bool {
        (self.service, self.method, self.route) == (other.service, other.method, other.route)
    }

    pub(crate) fn kind(&self) -> ServiceKind {
        ServiceKind::ALL.into_iter().find(|kind| kind.name() == self.service).unwrap()
    }

    /// What lets an execution come here: a cancel during sample data leads through every undo.
    pub(crate) fn script(&self) -> Script {
        let cancel = Control { during: "CreateSampleData".to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
        Script { control: if self.is_undo { vec![cancel] } else { Vec::new() }, ..Script::default() }
    }
}

pub(crate) const SITES: [CallSite; 13] = [
    site("GetTenantContext", "tenant", "GET", "/api/v1/tenants/{tenant_id}/context"),
    site("CreateUserAccount", "auth", "POST", "/api/v1/users"),
    site("CreateUserProfile", "user", "POST", "/api/v1/profiles"),
    site("UpdateTenantUserMembership", "tenant", "PUT", "/api/v1/tenants/{tenant_id}/users/{user_id}"),
    site("SetupUserFileWorkspace", "file", "POST", "/api/v1/workspaces"),
    site("CreateSampleData", "file", "POST", "/api/v1/workspaces/{workspace_id}/sample-data"),
    CallSite { skip: 1, ..site("SendNotification/tenant", "tenant", "GET", "/api/v1/tenants/{tenant_id}/context") },
    site("SendNotification", "notifications", "POST", "/api/v1/notifications"),
    undo("UndoCreateSampleData", "file", 0),
    undo("UndoSetupUserFileWorkspace", "file", 1),
    undo("UndoUpdateTenantUserMembership", "tenant", 0),
    undo("UndoCreateUserProfile", "user", 0),
    undo("UndoCreateUserAccount", "auth", 0),
];

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

/// A fault at a call site, so often.
#[derive(Debug, Clone)]
struct Faulty {
    site: CallSite,
    name: &'static str,
    fault: Fault,
    times: Option<u64>,
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let when = if self.times.is_some() { "once" } else { "for ever" };
        write!(f, "{} x {} x {when}", self.site.name, self.name)
    }
}

/// Every fault at every one of these sites.
fn faulty(sites: impl Iterator<Item = CallSite>, times: Option<u64>) -> Vec<Faulty> {
    let all = |site| faults().into_iter().map(move |(name, fault)| Faulty { site, name, fault, times });
    sites.flat_map(all).collect()
}

/// What goes wrong in one execution.
#[derive(Debug, Clone)]
struct Cell {
    faults: Vec<Faulty>,
    /// A cancel during sample data leads through every undo.
    is_cancelled: bool,
}

impl Cell {
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
        write!(f, "{}{}", names.join(", then "), if self.is_cancelled { ", cancelled" } else { "" })
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
fn probes() -> Vec<CallSite> {
    let mut sites = SITES.to_vec();
    sites.sort_by_key(|site| std::cmp::Reverse(site.skip));
    sites
}

/// An execution that meets these faults.
async fn meet(world: &World, number: usize, cell: &Cell) -> Result<Met, String> {
    let before = world.snapshot().await;
    let probes = probes();
    let mut rules = BTreeMap::<String, Vec<FaultRule>>::new();
    let faulty = cell.faults.iter().map(|faulty| faulty.site.faulty(faulty.fault.clone(), faulty.times));
    let probing = probes.iter().map(|site| site.faulty(Fault::Delay { delay_ms: 0 }, None));
    for (service, mut rule) in faulty.chain(probing).flatten() {
        rules.entry(service).or_default().append(&mut rule);
    }
    world.faults(&rules);
    world.calls.lock().unwrap().clear();
    let cancel = Control { during: "CreateSampleData".to_owned(), what: ControlAction::Cancel, after_seconds: 0 };
    let control = if cell.is_cancelled { vec![cancel] } else { Vec::new() };
    *world.script.lock().unwrap() = Script { control, ..Script::default() };
    let id = world.start(&full_request_of(number)).await;
    world.until_ended(&id).await;
    let mut fired: BTreeMap<&str, VecDeque<u64>> =
        ServiceKind::ALL.map(|kind| (kind.name(), world.services.faults_fired(kind).into())).into();
    world.faults(&BTreeMap::new());
    invariants::check(world, &id, &before).await?;
    let mut next = |site: &CallSite| fired.get_mut(site.service).and_then(VecDeque::pop_front).unwrap();
    let is_whole = cell.faults.iter().map(|faulty| next(&faulty.site)).all(|times| times > 0);
    let counted: Vec<(&CallSite, u64)> = probes.iter().map(|site| (site, next(site))).collect();
    let is_reached = |site: &CallSite| {
        counted.iter().any(|(probe, times)| *times > 0 && probe.is_same_route(site) && probe.skip >= site.skip)
    };
    Ok(Met { is_whole, reached: SITES.iter().map(is_reached).collect() })
}

/// Executions that share a world, one after the other.
const CELLS_PER_WORLD: usize = 20;

/// Runs all cells, on all cores: what they met, by number, and what went wrong.
fn run_all(cells: &[Cell]) -> (BTreeMap<usize, Met>, Vec<String>) {
    let chunks: Vec<_> = cells.chunks(CELLS_PER_WORLD).collect();
    let (met, wrong) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    in_parallel(chunks.len(), |chunk| {
        let mut left = chunks[chunk].iter().enumerate();
        while left.len() > 0 {
            run(async {
                // Long enough that the deadline is not what ends them.
                let settings = [("WORKFLOWS__DEFAULT_TIMEOUT", "1h".to_owned())];
                let world = World::with(Script::default(), &settings).await;
                for (number, cell) in left.by_ref() {
                    match meet(&world, number, cell).await {
                        Ok(of_cell) => drop(met.lock().unwrap().insert(chunk * CELLS_PER_WORLD + number, of_cell)),
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
    println!("{} cells, {} violations", cells.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let missed = met.iter().filter(|(_, met)| !met.is_whole).map(|(number, _)| cells[*number].to_string());
    let missed: Vec<String> = missed.collect();
    assert!(missed.is_empty(), "a fault never happened: {}", missed.join("\n"));
}

#[test]
fn every_single_fault_keeps_the_invariants() {
    let cells = [Some(1), None].into_iter().flat_map(|times| faulty(SITES.into_iter(), times));
    check_all(&cells.map(Cell::alone).collect::<Vec<_>>());
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
    /// First faults, and second ones for each.
    const SAMPLE: (usize, usize) = (60, 8);
    const LIMIT: Duration = Duration::from_secs(600);
    let began = SystemClock.now();
    let all = std::env::var("FAULT_PAIRS").is_ok_and(|pairs| pairs == "all");
    let mut dice = Dice(SEED);
    let either: Vec<Faulty> = [Some(1), None].into_iter().flat_map(|times| faulty(SITES.into_iter(), times)).collect();
    let mut firsts: Vec<Cell> = either.iter().cloned().map(Cell::alone).collect();
    // What a first fault that is got over leaves for the undoing of all.
    let got_over = either.iter().filter(|faulty| !faulty.site.is_undo && faulty.times.is_some()).cloned();
    firsts.extend(got_over.map(|faulty| Cell { is_cancelled: true, faults: vec![faulty] }));
    if !all {
        println!("seed {SEED}");
        firsts = (0..SAMPLE.0).map(|_| dice.one_of(&firsts).clone()).collect();
    }
    let (met, violations) = run_all(&firsts);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let mut pairs = Vec::new();
    for (number, met) in met.into_iter().filter(|(_, met)| met.is_whole) {
        let first = &firsts[number];
        let position = |faulty: &Faulty| SITES.iter().position(|site| site.name == faulty.site.name).unwrap();
        let from = position(&first.faults[0]);
        let can_follow = |second: &&Faulty| position(second) >= from && met.reached[position(second)];
        let seconds: Vec<Faulty> = either.iter().filter(can_follow).cloned().collect();
        match all {
            true => pairs.extend(seconds.iter().map(|second| first.with(second))),
            false if seconds.is_empty() => {}
            false => pairs.extend((0..SAMPLE.1).map(|_| first.with(dice.one_of(&seconds)))),
        }
    }
    println!("{} first faults, {} pairs, all: {all}", firsts.len(), pairs.len());
    assert!(pairs.len() > firsts.len(), "hardly any pair");
    check_all(&pairs);
    let took = SystemClock.now().duration_since(began).unsigned_abs();
    println!("{} s", took.as_secs());
    assert!(!all || took <= LIMIT, "{took:?} for all pairs");
}

/// The sites above are all there are: one for every Task of the state machine, and the call that one of them makes
/// besides.
#[test]
fn every_task_is_a_site() {
    let workflow = workflows::workflow(contracts::WorkflowKind::UserOnboarding).unwrap();
    let definition: serde_json::Value = serde_json::from_str(&workflow.definition(&Default::default())).unwrap();
    let states = definition["States"].as_object().unwrap();
    let tasks = states.iter().filter(|(_, state)| state["Type"] == "Task").map(|(name, _)| name.as_str());
    for task in tasks {
        assert!(SITES.iter().any(|site| site.name == task), "no site for {task}");
    }
}
