//! Every call site x every fault x once and for ever, in virtual time.

use std::collections::BTreeMap;

use reference_services::{Fault, FaultRule, ServiceKind};

use crate::invariants;
use crate::world::{Control, ControlAction, Script, World, full_request, run};

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

async fn cell(site: CallSite, fault: Fault, times: Option<u64>) -> Result<(), String> {
    // Long enough that the deadline is not what ends it.
    let settings = [("WORKFLOWS__DEFAULT_TIMEOUT", "1h".to_owned())];
    let world = World::with(site.script(), &settings).await;
    let before = world.snapshot().await;
    world.faults(&site.faulty(fault, times));
    let id = world.start(&full_request()).await;
    world.until_ended(&id).await;
    if world.services.faults_fired(site.kind()) == [0] {
        return Err("the fault never happened".to_owned());
    }
    world.faults(&BTreeMap::new());
    invariants::check(&world, &id, &before).await.map(|_| ())
}

#[test]
fn every_single_fault_keeps_the_invariants() {
    let cells: Vec<_> = SITES
        .iter()
        .flat_map(|site| faults().into_iter().map(move |(name, fault)| (*site, name, fault)))
        .flat_map(|(site, name, fault)| [Some(1), None].map(|times| (site, name, fault.clone(), times)))
        .collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let violations: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let cells = &cells;
                scope.spawn(move || {
                    let mut violations = Vec::new();
                    for (site, name, fault, times) in cells.iter().skip(worker).step_by(threads) {
                        let when = if times.is_some() { "once" } else { "for ever" };
                        if let Err(violation) = run(cell(*site, fault.clone(), *times)) {
                            violations.push(format!("{} x {name} x {when}: {violation}", site.name));
                        }
                    }
                    violations
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    println!("{} cells, {} violations", cells.len(), violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
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
