//! Every call site x every fault x once and for ever, and pairs of them, in virtual time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use reference_services::{Fault, FaultRule, ServiceKind};

use crate::dice::Dice;
use crate::invariants;
use crate::world::{Control, ControlAction, Script, World, full_request_of, in_parallel, run};

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
        let rule = FaultRule {
            method: Some(self.method.to_owned()),
            route: Some(self.route.to_owned()),
            tenant: None,
            times,
            skip: self.skip,
            fault,
        };
        BTreeMap::from([(self.service.to_owned(), vec![rule])])
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

/// An execution that meets these faults; whether it met all of them.
async fn cell(world: &World, number: usize, cell: &[Faulty]) -> Result<bool, String> {
    let before = world.snapshot().await;
    let mut rules = BTreeMap::<String, Vec<FaultRule>>::new();
    for faulty in cell {
        for (service, mut rule) in faulty.site.faulty(faulty.fault.clone(), faulty.times) {
            rules.entry(service).or_default().append(&mut rule);
        }
    }
    world.faults(&rules);
    world.calls.lock().unwrap().clear();
    let script = cell.first().map(|faulty| faulty.site.script()).unwrap_or_default();
    *world.script.lock().unwrap() = script;
    let id = world.start(&full_request_of(number)).await;
    world.until_ended(&id).await;
    let fired = cell.iter().flat_map(|faulty| world.services.faults_fired(faulty.site.kind())).collect::<Vec<_>>();
    world.faults(&BTreeMap::new());
    invariants::check(world, &id, &before).await?;
    Ok(!fired.contains(&0))
}

/// Executions that share a world, one after the other.
const CELLS_PER_WORLD: usize = 20;

/// Runs all cells, on all cores: how many of them met all their faults, and what went wrong.
fn run_all(cells: &[Vec<Faulty>]) -> (usize, Vec<String>) {
    let chunks: Vec<_> = cells.chunks(CELLS_PER_WORLD).collect();
    let (met, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    in_parallel(chunks.len(), |chunk| {
        let mut left = chunks[chunk].iter().enumerate();
        while left.len() > 0 {
            run(async {
                // Long enough that the deadline is not what ends them.
                let settings = [("WORKFLOWS__DEFAULT_TIMEOUT", "1h".to_owned())];
                let world = World::with(Script::default(), &settings).await;
                for (number, faults) in left.by_ref() {
                    match cell(&world, number, faults).await {
                        Ok(has_met) => drop(met.fetch_add(usize::from(has_met), Ordering::Relaxed)),
                        Err(violation) => {
                            let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
                            wrong.lock().unwrap().push(format!("{}: {violation}", names.join(", then ")));
                            // Who comes next is to begin in a world that is in order.
                            return;
                        }
                    }
                }
            });
        }
    });
    (met.into_inner(), wrong.into_inner().unwrap())
}

#[test]
fn every_single_fault_keeps_the_invariants() {
    let cells = [Some(1), None].into_iter().flat_map(|times| faulty(SITES.into_iter(), times));
    let cells: Vec<Vec<Faulty>> = cells.map(|faulty| vec![faulty]).collect();
    let (met, violations) = run_all(&cells);
    println!("{} cells, {} violations", cells.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert_eq!(met, cells.len(), "a fault never happened");
}

/// A fault, and another one while the first is retried or undone, or at a later call. A sample, but for
/// `FAULT_PAIRS=all`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn every_pair_of_faults_keeps_the_invariants() {
    const SEED: u64 = 20_260_101;
    const SAMPLE: usize = 600;
    let forward = || SITES.into_iter().filter(|site| !site.is_undo);
    let undo = || SITES.into_iter().filter(|site| site.is_undo);
    let pairs = |first: Vec<Faulty>, second: Vec<Faulty>| {
        let with = move |first: Faulty| second.clone().into_iter().map(move |second| vec![first.clone(), second]);
        first.into_iter().flat_map(with)
    };
    // No call of a step comes after an undo. What fails for ever is undone; what fails once is retried.
    let mut cells: Vec<Vec<Faulty>> = pairs(faulty(forward(), Some(1)), faulty(forward(), Some(1))).collect();
    for times in [Some(1), None] {
        cells.extend(pairs(faulty(forward(), None), faulty(undo(), times)));
        cells.extend(pairs(faulty(undo(), Some(1)), faulty(undo(), times)));
    }
    let all = cells.len();
    if std::env::var("FAULT_PAIRS").is_ok_and(|pairs| pairs == "all") {
        println!("all {all} pairs");
    } else {
        println!("{SAMPLE} of {all} pairs, seed {SEED}");
        let mut dice = Dice(SEED);
        cells = (0..SAMPLE).map(|_| dice.one_of(&cells).clone()).collect();
    }
    let (met, violations) = run_all(&cells);
    println!("{} pairs, {met} of them met whole, {} violations", cells.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(met > cells.len() / 4, "hardly any pair was met whole");
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
