//! Lets the services, and this one, forget what they keep of a person besides the person's things.

use std::collections::BTreeSet;

use contracts::compliance::ComplianceType;
use contracts::{ActivityError, ErrorName, WorkflowKind};
use downstream::Service;
use downstream::data::forget as forget_person;
use serde_json::{Value, json};
use store::{ARCHIVE, JOBS, LISTED, Named, Naming, RESULTS, StoredRequest, forget_archived, leaves_files};

use super::records::forget_files;
use super::{FORGOTTEN, Forgotten, Plan, SetState, files};
use crate::Context;
use crate::harness::store_failed;
use crate::things::{key_of, step_of};

/// Executions that are looked at at once.
const PAGE: u32 = 100;
/// What could not be forgotten, in a result.
const RECORDS: &str = "records";

/// Forgets: answers `{executions}`.
pub(crate) async fn forget(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let mut forgotten = Forgotten::default();
    if plan.is_whole {
        let states = plan.states(&files).await?;
        for service in Service::ALL {
            forget_in(context, &plan, &states, service, &mut forgotten).await?;
        }
        // A legal hold that keeps something of the person keeps what was asked about the person as well.
        if states.iter().all(|state| state.held == 0) {
            let addresses = states.iter().flat_map(|state| &state.addresses).chain(&plan.earlier_addresses);
            let who = Who { plan: &plan, addresses: addresses.collect() };
            forget_here(context, &who, &mut forgotten).await?;
            forget_archive(context, &who, &mut forgotten).await?;
        }
    }
    files.write_json(&files.key(FORGOTTEN)?, &forgotten).await?;
    Ok(json!({ "executions": forgotten.executions }))
}

/// What an undo would bring back, first answers, and the name in the logs of a service.
async fn forget_in(
    context: &Context<'_>,
    plan: &Plan,
    states: &[SetState],
    service: Service,
    forgotten: &mut Forgotten,
) -> Result<(), ActivityError> {
    let name = service.as_str();
    for (_, state) in plan.sets.iter().zip(states).filter(|(of, _)| of.service == name) {
        // What is still there needs its history.
        if state.leaves_something() {
            if state.held == 0 {
                forgotten.residue.add(name, RECORDS, "NotForgotten");
            }
            return Ok(());
        }
    }
    let key = key_of(context, &step_of("ForgetPerson", &[name])?);
    let (person, pseudonym) = (plan.subject.as_str(), plan.pseudonym());
    match forget_person(context.downstream, service, context.tenant_id(), (person, &pseudonym), key).await {
        Ok(told) => {
            forgotten.in_services += told.forgotten;
            forgotten.log_entries += told.renamed;
            Ok(())
        }
        // The service has no such call.
        Err(error) if error.error == ErrorName::NotFound.as_str() => {
            forgotten.residue.add(name, RECORDS, "NotForgotten");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The person who is forgotten.
pub(super) struct Who<'a> {
    pub(super) plan: &'a Plan,
    addresses: BTreeSet<&'a String>,
}

impl Who<'_> {
    /// What the person is named by: the id first, then e-mail addresses.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.plan.subject).chain(self.addresses.iter().copied())
    }
}

/// The requests, results and files of executions that name the person. One that came to nothing may know no more than an address.
async fn forget_here(context: &Context<'_>, who: &Who<'_>, forgotten: &mut Forgotten) -> Result<(), ActivityError> {
    let tenant_id = context.tenant_id();
    for name in who.names() {
        let mut after = None::<String>;
        loop {
            let page = context.erasures.naming(tenant_id, name, after.as_deref(), PAGE).await.map_err(store_failed)?;
            // This one is needed to the end.
            for named in page.named.iter().filter(|named| named.id != context.execution_id()) {
                forget_named(context, who, (named, name), forgotten).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

async fn forget_named(
    context: &Context<'_>,
    who: &Who<'_>,
    (named, name): (&Named, &str),
    forgotten: &mut Forgotten,
) -> Result<(), ActivityError> {
    let is_named = names(context, named, name).await?;
    if !named.has_ended {
        // Another erasure of the person forgets itself.
        if is_named && !is_erasure_of(context, named, &who.plan.subject).await? {
            forgotten.residue.add("workflows", named.kind.as_str(), "UnderWay");
        }
        return Ok(());
    }
    // An earlier erasure of the person keeps its name and its result, which name nobody.
    if is_named && is_erasure_of(context, named, &who.plan.subject).await? {
        return forget_records(context, &named.id, (who.plan, name), true).await;
    }
    if is_named {
        forget_execution(context, named, (who.plan, name)).await?;
    }
    // A file that was uploaded is not in the request. Those of an execution that goes as a whole are gone. All names are looked
    // for at once.
    let is_first = name == who.plan.subject;
    let may_be_in_files = is_first && leaves_files(named.kind) && !(is_named && goes_whole(named.kind));
    let is_in_files = may_be_in_files && forget_files(context, (&named.id, named.kind), who).await?;
    forgotten.executions += u64::from(is_named || is_in_files);
    Ok(())
}

/// Whether an execution that has not ended erases the person.
async fn is_erasure_of(context: &Context<'_>, named: &Named, person: &str) -> Result<bool, ActivityError> {
    let request = named.request.shown(context.tenant_id(), Some(context.blobs)).await.map_err(store_failed)?;
    let is_erasure = request["compliance_type"] == json!(ComplianceType::GdprDataDeletion);
    Ok(named.kind == WorkflowKind::Compliance && is_erasure && request["subject_user_id"] == person)
}

/// Executions that were archived. Their requests are gone already.
async fn forget_archive(context: &Context<'_>, who: &Who<'_>, forgotten: &mut Forgotten) -> Result<(), ActivityError> {
    let (tenant_id, pseudonym) = (context.tenant_id(), who.plan.pseudonym());
    let mut after = None::<String>;
    loop {
        let names = context.blobs.list(tenant_id, &[ARCHIVE], after.as_deref()).await.map_err(store_failed)?;
        after = names.last().cloned().filter(|_| names.len() == LISTED);
        for id in names.iter().filter_map(|name| name.strip_suffix(".jsonl")) {
            if let Some(kind) = WorkflowKind::of_execution(id).filter(|kind| leaves_files(*kind)) {
                forget_files(context, (id, kind), who).await?;
            }
        }
        let person = (who.plan.subject.as_str(), pseudonym.as_str());
        forgotten.executions += forget_archived(context.blobs, tenant_id, names, person).await.map_err(store_failed)?;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Whether an execution names the person: of a request that is a blob the store cannot tell.
async fn names(context: &Context<'_>, named: &Named, person: &str) -> Result<bool, ActivityError> {
    if named.is_sure || matches!(named.request, StoredRequest::Inline(_)) {
        return Ok(named.is_sure);
    }
    let shown = named.request.shown(context.tenant_id(), Some(context.blobs)).await.map_err(store_failed)?;
    Ok(Naming::of(person).is_in(&shown.to_string()))
}

/// Whether all files of an execution go that was asked for something about the person.
fn goes_whole(kind: WorkflowKind) -> bool {
    matches!(kind, WorkflowKind::Compliance | WorkflowKind::BulkOperation)
}

/// Forgets what an execution was asked for and what it left, and takes the name out of its records.
async fn forget_execution(context: &Context<'_>, named: &Named, who: (&Plan, &str)) -> Result<(), ActivityError> {
    let tenant_id = context.tenant_id();
    for folder in [RESULTS, JOBS].into_iter().filter(|_| goes_whole(named.kind)) {
        context.blobs.remove_folder(tenant_id, &[folder, &named.id]).await.map_err(store_failed)?;
    }
    if let Some(key) = named.request.key(tenant_id).map_err(store_failed)? {
        context.blobs.remove(&[key]).await.map_err(store_failed)?;
    }
    forget_records(context, &named.id, who, false).await
}

/// Forgets what this execution itself was asked for. Nothing needs it any more, and a repeated start is still this one.
pub(super) async fn forget_own(context: &Context<'_>, plan: &Plan) -> Result<(), ActivityError> {
    forget_records(context, context.execution_id(), (plan, &plan.subject), true).await
}

async fn forget_records(
    context: &Context<'_>,
    id: &str,
    (plan, person): (&Plan, &str),
    keeps_key: bool,
) -> Result<(), ActivityError> {
    let pseudonym = plan.pseudonym();
    let who = store::Forgotten { person, pseudonym: &pseudonym, keeps_key };
    context.erasures.forget(context.tenant_id(), id, who).await.map_err(store_failed)
}
