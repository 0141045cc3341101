//! The workflows that the generic proofs loop over: what the proofs need to know of each.

mod bulk_operation;
mod compliance;
mod cross_service;
mod data_migration;
mod erasure;
mod tenant_switching;
mod user_onboarding;

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use contracts::WorkflowKind;
use contracts::responses::StatusResponse;
use futures::future::BoxFuture;
use reference_services::{Fault, FaultRule, LedgerEntry, ServiceKind, Services};
use serde_json::Value;
use workflows::{Workflow, WorkflowStep};

pub(crate) use bulk_operation::{BULK_OPERATION, counts_are_true};
pub(crate) use compliance::COMPLIANCE;
pub(crate) use cross_service::{CROSS_SERVICE_BACKUP, CROSS_SERVICE_RESTORE, ask, at, damage, held};
pub(crate) use data_migration::{DATA_MIGRATION, nothing_is_left};
pub(crate) use erasure::ERASURE;
pub(crate) use tenant_switching::{TARGET, TENANT_SWITCHING, join, read, user_of};
pub(crate) use user_onboarding::USER_ONBOARDING;

use crate::world::{Control, ControlAction, Script, Site, World};

/// Every workflow whose steps are undone when it does not complete.
pub(crate) static ALL: [&Subject; 2] = [&USER_ONBOARDING, &TENANT_SWITCHING];

/// Every workflow whose executions run side by side, each about somebody else.
pub(crate) static SIDE_BY_SIDE: [&Subject; 3] = [&USER_ONBOARDING, &TENANT_SWITCHING, &BULK_OPERATION];

/// Every workflow.
pub(crate) static EVERY: [&Subject; 8] = [
    &USER_ONBOARDING,
    &TENANT_SWITCHING,
    &DATA_MIGRATION,
    &BULK_OPERATION,
    &COMPLIANCE,
    &ERASURE,
    &CROSS_SERVICE_BACKUP,
    &CROSS_SERVICE_RESTORE,
];

/// Every step of these workflows.
pub(crate) fn steps() -> impl Iterator<Item = (&'static Subject, &'static WorkflowStep)> {
    SIDE_BY_SIDE.into_iter().flat_map(|subject| subject.steps().iter().map(move |step| (subject, step)))
}

/// A workflow under test.
pub(crate) struct Subject {
    pub(crate) kind: WorkflowKind,
    /// Which of the kinds of work of its machine, if it is not the usual one.
    pub(crate) variant: Option<Variant>,
    /// Where it is started.
    pub(crate) path: &'static str,
    /// The request with this number, which asks for everything. Another number is about another person.
    pub(crate) request: fn(usize) -> Value,
    /// Creates in the services what the request with this number presupposes; once, however often it is called.
    pub(crate) prepare: fn(Services, usize) -> BoxFuture<'static, ()>,
    /// What the request with this number presupposes of our own service, if anything.
    pub(crate) presupposes: Option<fn(&Site, usize) -> BoxFuture<'_, ()>>,
    /// Its calls, in their order.
    pub(crate) sites: &'static [CallSite],
    /// Forward steps with an effect that can be undone, and the service that has it.
    pub(crate) undoable: &'static [(&'static str, &'static str)],
    /// Forward steps without which an execution goes on when they fail. If undoable they are undone then, and once more
    /// when the execution is cancelled or late after that.
    pub(crate) tolerated: &'static [&'static str],
    /// A cancel during this step leads through every undo.
    pub(crate) last_before_pivot: &'static str,
    /// A cancel during these steps comes too late.
    pub(crate) final_steps: &'static [&'static str],
    /// The steps of its Map that do the work, which are no steps to its users.
    pub(crate) batches: &'static [(&'static str, usize)],
    /// Edges of its machine that no case can take, and another test does.
    pub(crate) taken_elsewhere: &'static [&'static str],
    /// Fields of the result that differ from run to run.
    pub(crate) masked: &'static [&'static str],
    /// Fields of the request that are personal: they are stored as the request, and nowhere else.
    pub(crate) personal: &'static [&'static str],
    /// Mails that a completed execution may have sent.
    pub(crate) mails: usize,
    /// Texts that mark the rows which an execution with this id and request may have changed.
    pub(crate) marks: fn(&Subject, &str, &Value) -> Vec<String>,
    /// Checks what a job counts that undoes nothing; none for what is undone if it does not complete.
    pub(crate) counts: Option<Counting>,
    /// What else holds in the end where executions are about everything that a tenant has: each has a world of its own.
    pub(crate) about_everything: Option<Wholeness>,
}

/// One of several kinds of work of a machine.
pub(crate) struct Variant {
    /// What its cases are called.
    pub(crate) name: &'static str,
    /// The option `type` by which the machine chooses it.
    pub(crate) option: &'static str,
    pub(crate) steps: OnceLock<Vec<WorkflowStep>>,
}

/// Executions of variants, by their ids.
static VARIANTS: Mutex<BTreeMap<String, &'static Subject>> = Mutex::new(BTreeMap::new());

/// What is wrong with the counts of a job, by its status and what the services did.
pub(crate) type Counting = fn(&StatusResponse, &[LedgerEntry]) -> Result<(), String>;

/// What is wrong with a world after an execution with this status and request: last comes what was held before what the
/// request presupposes.
pub(crate) type Wholeness =
    for<'w> fn(&'w World, &'w StatusResponse, &'w Value, &'w Value) -> BoxFuture<'w, Result<(), String>>;

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Subject {
    /// The workflow of an execution, by the execution's id.
    pub(crate) fn of(id: &str) -> &'static Self {
        let variant = VARIANTS.lock().unwrap().get(id).copied();
        if let Some(variant) = variant {
            return variant;
        }
        EVERY.into_iter().find(|subject| id.starts_with(subject.kind.as_str())).unwrap()
    }

    /// Remembers that an execution is one of this variant, if it is one.
    pub(crate) fn note(&self, id: &str) {
        let is_this = |subject: &&&'static Self| std::ptr::eq(**subject, self);
        if self.variant.is_some() {
            let subject = *EVERY.iter().find(is_this).unwrap();
            VARIANTS.lock().unwrap().insert(id.to_owned(), subject);
        }
    }

    /// The name in paths, e.g. `user-onboarding`.
    pub(crate) fn name(&self) -> String {
        if let Some(variant) = &self.variant {
            return variant.name.to_owned();
        }
        self.kind.as_str().replace('_', "-")
    }

    pub(crate) fn workflow(&self) -> &'static Workflow {
        workflows::workflow(self.kind).unwrap()
    }

    pub(crate) fn steps(&self) -> &[WorkflowStep] {
        match &self.variant {
            Some(of) => {
                let options = serde_json::json!({ "type": of.option });
                of.steps.get_or_init(|| self.workflow().steps_with(&options).into_owned())
            }
            None => self.workflow().steps(),
        }
    }

    /// The state machine.
    pub(crate) fn machine(&self) -> Value {
        serde_json::from_str(&self.workflow().definition(&Default::default())).unwrap()
    }

    /// The call of a Task state, or `State/what` if it makes several.
    pub(crate) fn site(&self, name: &str) -> CallSite {
        *self.sites.iter().find(|site| site.name == name).unwrap_or_else(|| panic!("no call of {name}"))
    }

    /// Whether what it does is not undone.
    pub(crate) fn is_job(&self) -> bool {
        self.counts.is_some()
    }

    /// What a control can come during: steps, and items of batches by their paths, as many as there are for the demo data.
    pub(crate) fn moments(&self) -> Vec<String> {
        let items = |(batch, count): &'static (&str, usize)| (0..*count).map(move |item| format!("{batch}[{item}]"));
        let batches = self.batches.iter().flat_map(items);
        self.steps().iter().map(|step| step.state.clone()).chain(batches).collect()
    }

    pub(crate) fn is_tolerated(&self, step: &str) -> bool {
        self.tolerated.contains(&step)
    }

    /// A cancel that leads through every undo.
    pub(crate) fn cancel_all(&self) -> Control {
        Control { during: self.last_before_pivot.to_owned(), what: ControlAction::Cancel, after_seconds: 0 }
    }

    /// What lets an execution come to this call.
    pub(crate) fn script_to(&self, site: &CallSite) -> Script {
        let control = if site.is_undo { vec![self.cancel_all()] } else { Vec::new() };
        Script { control, ..Script::default() }
    }

    /// Rules by which each of its calls takes so long.
    pub(crate) fn slow(&self, delay_ms: u64) -> BTreeMap<String, Vec<FaultRule>> {
        let mut rules = BTreeMap::<String, Vec<FaultRule>>::new();
        for site in self.sites {
            for (service, of_site) in site.after(0).faulty(Fault::Delay { delay_ms }, None) {
                rules.entry(service).or_default().extend(of_site);
            }
        }
        rules
    }

    /// How many of its calls have this method and path.
    pub(crate) fn calls_of(&self, method: &str, path: &str) -> u32 {
        self.sites.iter().filter(|site| site.is_call(method, path)).count() as u32
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
    pub(crate) skip: u64,
    pub(crate) is_undo: bool,
}

pub(crate) const fn site(
    name: &'static str,
    service: &'static str,
    method: &'static str,
    route: &'static str,
) -> CallSite {
    CallSite { name, service, method, route, skip: 0, is_undo: false }
}

impl CallSite {
    /// The call that comes after so many others of its route.
    const fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }
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

    pub(crate) fn is_same_route(&self, other: &Self) -> bool {
        (self.service, self.method, self.route) == (other.service, other.method, other.route)
    }

    pub(crate) fn kind(&self) -> ServiceKind {
        ServiceKind::ALL.into_iter().find(|kind| kind.name() == self.service).unwrap()
    }

    pub(crate) fn is_call(&self, method: &str, path: &str) -> bool {
        let (mut parts, mut route) = (path.split('/'), self.route.split('/'));
        let is_same = |(part, of_route): (&str, &str)| part == of_route || of_route.starts_with('{');
        self.method == method && parts.by_ref().zip(route.by_ref()).all(is_same) && parts.next() == route.next()
    }
}
