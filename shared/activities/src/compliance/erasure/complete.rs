//! Reports what came of an erasure, and issues the certificate if nothing is left.

use std::collections::BTreeSet;

use contracts::ActivityError;
use contracts::compliance::{AuditRequirements, ComplianceType, ComplianceWorkflowRequest, due_at};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use store::{BlobKey, Erasure, HoldFilter, JOBS, RESULTS};

use super::certificate::{Outcome, document, number_of, readable, signed};
use super::forget::forget_own;
use super::verify::Found;
use super::{FORGOTTEN, FOUND, Forgotten, Held, Plan, Residue, SetState, files, ledger};
use crate::Context;
use crate::files::{key, lost, push_line};
use crate::harness::store_failed;

const CERTIFICATE: &str = "certificate.json";
const CERTIFICATE_PAGE: &str = "certificate.html";
/// What stays because of legal holds. It is removed when that is erased too.
const HELD: &str = "held.jsonl";
/// The result, which names nobody, for an attempt that is repeated: the other files are gone then.
const RESULT: &str = "result.json";

/// Where the result of an execution is.
pub(super) fn result_of(context: &Context<'_>, execution_id: &str) -> Result<BlobKey, ActivityError> {
    key(context.tenant_id(), &[RESULTS, execution_id, RESULT])
}

/// What the machine says of steps that failed for good.
#[derive(Deserialize)]
struct Input {
    given_up: Option<GivenUp>,
}

#[derive(Deserialize, Serialize)]
struct GivenUp {
    step: String,
    error: String,
}

/// Completes an erasure: answers `{records}`.
pub(in super::super) async fn complete(context: &Context<'_>) -> Result<Value, ActivityError> {
    let result_file = result_of(context, context.execution_id())?;
    if let Some(result) = context.files().read::<Map<String, Value>>(&result_file).await? {
        // An attempt whose answer was lost, or that came no further.
        if let Some(plan) = files(context).plan_if_written::<Plan>().await? {
            forget_all(context, &plan, &ledger_row(context, &plan).await?).await?;
        }
        let records = result["data_deleted"]["total_records_deleted"].clone();
        context.report(result)?;
        return Ok(json!({ "records": records }));
    }
    let Input { given_up } = context.input()?;
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let states = plan.states(&files).await?;
    let forgotten: Option<Forgotten> = files.read(&files.key(FORGOTTEN)?).await?;
    let found: Option<Found> = files.read(&files.key(FOUND)?).await?;
    let is_seen_through = given_up.is_none() && forgotten.is_some() && found.is_some();
    let (forgotten, found) = (forgotten.unwrap_or_default(), found.unwrap_or_default());
    let residue = residue(&plan, &states, &forgotten, &found, given_up.as_ref());
    let is_complete = is_seen_through && residue.count == 0;

    let mut erasure = ledger_row(context, &plan).await?;
    let began_at = erasure.began_at;
    let outcome = Outcome { plan: &plan, states: &states, forgotten: &forgotten, found: &found, began_at };
    let mut names = Vec::new();
    if is_complete {
        let document = document(context, &outcome).await?;
        let texts =
            [(CERTIFICATE, signed(context, &document).await?), (CERTIFICATE_PAGE, readable(&document).into_bytes())];
        for (name, text) in texts {
            files.write(&context.result_key(name)?, text).await?;
            names.push(name);
        }
    }
    if states.iter().any(|state| state.held > 0) {
        files.write(&context.result_key(HELD)?, held(&plan, &states)?).await?;
        names.push(HELD);
    }
    erasure.ended_at = Some(context.clock.now());
    erasure.is_complete = is_complete;
    for state in &states {
        erasure.held_by.extend(state.held_by.iter().cloned());
        erasure.held_marks.extend(state.held_marks.iter().cloned());
    }
    erasure.kept_request = (!erasure.held_by.is_empty()).then(|| request_of(context, &plan));
    context.erasures.note_erasure(&erasure).await.map_err(store_failed)?;

    let result = result(context, &outcome, (erasure.backup_id.as_deref(), is_complete), &residue, &names);
    let records = result["data_deleted"]["total_records_deleted"].clone();
    files.write_json(&result_file, &result).await?;
    forget_all(context, &plan, &erasure).await?;
    context.report(result)?;
    Ok(json!({ "records": records }))
}

/// Forgets what is known of the person here, once the result is written; the plan last, by which an attempt goes on.
async fn forget_all(context: &Context<'_>, plan: &Plan, erasure: &Erasure) -> Result<(), ActivityError> {
    if erasure.is_complete && erasure.held_by.is_empty() {
        forget_kept_requests(context, plan).await?;
    }
    // Of whom something is left, there is still something to be done: it must be known of whom.
    if erasure.is_complete {
        forget_own(context, plan).await?;
    }
    context.blobs.remove_folder(context.tenant_id(), &[JOBS, context.execution_id()]).await.map_err(store_failed)
}

async fn ledger_row(context: &Context<'_>, plan: &Plan) -> Result<Erasure, ActivityError> {
    let erasure = context.erasures.erasure(context.tenant_id(), &plan.compliance_id).await.map_err(store_failed)?;
    erasure.ok_or_else(|| lost("the erasure in the ledger"))
}

/// What erases the rest of the person once the legal holds are released.
fn request_of(context: &Context<'_>, plan: &Plan) -> Value {
    json!(ComplianceWorkflowRequest {
        compliance_id: plan.compliance_id.clone(),
        tenant_id: context.tenant_id().to_owned(),
        compliance_type: ComplianceType::GdprDataDeletion,
        subject_user_id: Some(plan.subject.clone()),
        data_categories: plan.categories.clone(),
        retention_policy: None,
        audit_requirements: AuditRequirements::default(),
        received_at: None,
        legal_basis: plan.legal_basis.clone(),
        encrypt_to: None,
        allow_partial: false,
        waits_for_others: false,
        max_package_bytes: None,
    })
}

/// Nothing is left for earlier erasures of the person to go on with.
async fn forget_kept_requests(context: &Context<'_>, plan: &Plan) -> Result<(), ActivityError> {
    let (filter, now) = (HoldFilter::default(), context.clock.now());
    let holds = context.holds.holds(context.tenant_id(), &filter, now, None, 1).await.map_err(store_failed)?;
    // Only what was held is kept, and the ledger may be long.
    if holds.holds.is_empty() {
        return Ok(());
    }
    for mut erasure in ledger::erasures_of(context, &plan.subject_hash).await? {
        if erasure.kept_request.take().is_some() {
            let held = key(context.tenant_id(), &[RESULTS, &erasure.execution_id, HELD])?;
            context.blobs.remove(&[held]).await.map_err(store_failed)?;
            context.erasures.note_erasure(&erasure).await.map_err(store_failed)?;
        }
    }
    Ok(())
}

/// A line for each thing that is held.
fn held(plan: &Plan, states: &[SetState]) -> Result<Vec<u8>, ActivityError> {
    let mut text = Vec::new();
    for (set, state) in plan.sets.iter().zip(states) {
        for Held { id, holds } in &state.held_things {
            let (service, entity_type) = (&set.service, &set.entity_type);
            let line = json!({ "service": service, "entity_type": entity_type, "id": id, "held_by": holds });
            push_line(&mut text, &line)?;
        }
    }
    Ok(text)
}

fn residue(
    plan: &Plan,
    states: &[SetState],
    forgotten: &Forgotten,
    found: &Found,
    given_up: Option<&GivenUp>,
) -> Residue {
    let mut residue = Residue::default();
    for (set, state) in plan.sets.iter().zip(states) {
        residue.add_all(&state.residue);
        if let Some(failure) = &state.failure {
            residue.add(&set.service, &set.entity_type, failure);
        }
    }
    residue.add_all(&forgotten.residue);
    residue.add_all(&found.residue);
    if let Some(given_up) = given_up {
        residue.add("workflows", &given_up.step, &given_up.error);
    }
    residue
}

fn result(
    context: &Context<'_>,
    outcome: &Outcome<'_>,
    (backup_id, is_complete): (Option<&str>, bool),
    residue: &Residue,
    names: &[&str],
) -> Map<String, Value> {
    let (plan, now) = (outcome.plan, context.clock.now());
    let sets = plan.sets.iter().zip(outcome.states);
    let done: Vec<_> = sets.map(|(set, state)| (set, state, plan.done(set, state))).collect();
    let touched = done.iter().filter(|(_, _, (deleted, masked))| deleted + masked > 0);
    let services: BTreeSet<&str> = touched.map(|(set, ..)| set.service.as_str()).collect();
    let per_type = done.iter().map(|(set, state, (deleted, masked))| {
        json!({
            "service": set.service, "entity_type": set.entity_type, "deleted": deleted, "masked": masked,
            "held": state.held, "retained": outcome.found.retained.get(&set.name()).copied().unwrap_or_default(),
        })
    });
    let files: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!(context.result_link(name)))).collect();
    let result = json!({
        "compliance_id": plan.compliance_id,
        "compliance_type": "GdprDataDeletion",
        "status": if is_complete { "Completed" } else { "PartiallyCompleted" },
        "data_exported": null,
        "data_deleted": {
            "total_records_deleted": done.iter().map(|(_, _, (deleted, masked))| deleted + masked).sum::<u64>(),
            "services_affected": services,
            "backup_created": backup_id.is_some(),
            "backup_id": backup_id,
        },
        "audit_report": null,
        "compliance_certificate": is_complete.then(|| number_of(context.tenant_id(), now)),
        "pseudonym": plan.pseudonym(),
        "per_type": per_type.collect::<Vec<_>>(),
        // Of all these, by executions that this one goes on with.
        "erased_before": plan.earlier.values().map(|(deleted, masked)| deleted + masked).sum::<u64>(),
        "left_out": plan.left_out,
        "held_by": outcome.states.iter().flat_map(|state| &state.held_by).collect::<BTreeSet<_>>(),
        "forgotten": {
            "in_services": outcome.forgotten.in_services,
            "log_entries": outcome.forgotten.log_entries,
            "executions": outcome.forgotten.executions,
        },
        "residue": residue.first,
        "residue_count": residue.count,
        "received_at": plan.received_at,
        "due_at": due_at(plan.received_at),
        "files": files,
        "completed_at": now,
    });
    result.as_object().cloned().unwrap_or_default()
}
