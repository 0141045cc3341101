//! Lets the services, and this one, forget what they keep of a person besides the person's things.

use contracts::{ActivityError, ErrorName, WorkflowKind};
use downstream::Service;
use downstream::data::forget as forget_person;
use serde_json::{Value, json};
use store::{ARCHIVE, JOBS, LISTED, Named, RESULTS, StoredRequest, forget_archived, leaves_files};

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
            forget_here(context, &plan, &mut forgotten).await?;
            forget_archive(context, &plan, &mut forgotten).await?;
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

/// The requests, results and files of executions that name the person.
async fn forget_here(context: &Context<'_>, plan: &Plan, forgotten: &mut Forgotten) -> Result<(), ActivityError> {
    let (tenant_id, mut after) = (context.tenant_id(), None::<String>);
    loop {
        let page = context.erasures.naming(tenant_id, &plan.subject, after.as_deref(), PAGE).await;
        let page = page.map_err(store_failed)?;
        // This one is needed to the end.
        for named in page.named.iter().filter(|named| named.id != context.execution_id()) {
            let is_named = names(context, named, &plan.subject).await?;
            if !named.has_ended {
                if is_named {
                    forgotten.residue.add("workflows", named.kind.as_str(), "UnderWay");
                }
                continue;
            }
            if is_named {
                forget_execution(context, named, plan).await?;
            }
            // A file that was uploaded is not in the request. Those of an execution that goes as a whole are gone.
            let may_be_in_files = leaves_files(named.kind) && !(is_named && goes_whole(named.kind));
            let is_in_files = may_be_in_files && forget_files(context, (&named.id, named.kind), plan).await?;
            forgotten.executions += u64::from(is_named || is_in_files);
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Executions that were archived. Their requests are gone already.
async fn forget_archive(context: &Context<'_>, plan: &Plan, forgotten: &mut Forgotten) -> Result<(), ActivityError> {
    let (tenant_id, pseudonym) = (context.tenant_id(), plan.pseudonym());
    let mut after = None::<String>;
    loop {
        let names = context.blobs.list(tenant_id, &[ARCHIVE], after.as_deref()).await.map_err(store_failed)?;
        after = names.last().cloned().filter(|_| names.len() == LISTED);
        for id in names.iter().filter_map(|name| name.strip_suffix(".jsonl")) {
            if let Some(kind) = WorkflowKind::of_execution(id).filter(|kind| leaves_files(*kind)) {
                forget_files(context, (id, kind), plan).await?;
            }
        }
        let who = (plan.subject.as_str(), pseudonym.as_str());
        forgotten.executions += forget_archived(context.blobs, tenant_id, names, who).await.map_err(store_failed)?;
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
    Ok(shown.to_string().contains(&json!(person).to_string()))
}

/// Whether all files of an execution go that was asked for something about the person.
fn goes_whole(kind: WorkflowKind) -> bool {
    matches!(kind, WorkflowKind::Compliance | WorkflowKind::BulkOperation)
}

/// Forgets what an execution was asked for and what it left, and takes the name out of its records.
async fn forget_execution(context: &Context<'_>, named: &Named, plan: &Plan) -> Result<(), ActivityError> {
    let tenant_id = context.tenant_id();
    for folder in [RESULTS, JOBS].into_iter().filter(|_| goes_whole(named.kind)) {
        context.blobs.remove_folder(tenant_id, &[folder, &named.id]).await.map_err(store_failed)?;
    }
    if let Some(key) = named.request.key(tenant_id).map_err(store_failed)? {
        context.blobs.remove(&[key]).await.map_err(store_failed)?;
    }
    forget_records(context, &named.id, plan, false).await
}

/// Forgets what this execution itself was asked for. Nothing needs it any more, and a repeated start is still this one.
pub(super) async fn forget_own(context: &Context<'_>, plan: &Plan) -> Result<(), ActivityError> {
    forget_records(context, context.execution_id(), plan, true).await
}

async fn forget_records(context: &Context<'_>, id: &str, plan: &Plan, keeps_key: bool) -> Result<(), ActivityError> {
    let pseudonym = plan.pseudonym();
    let who = store::Forgotten { person: &plan.subject, pseudonym: &pseudonym, keeps_key };
    context.erasures.forget(context.tenant_id(), id, who).await.map_err(store_failed)
}
