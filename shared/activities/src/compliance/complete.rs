//! Reports what came of an export, or removes everything that one has written which cannot be completed.

use std::collections::BTreeSet;

use contracts::compliance::due_at;
use contracts::{ActivityError, ErrorName};
use serde_json::{Map, Value, json};
use store::RESULTS;

use super::pack::PACKED;
use super::sealed::places;
use super::{Closed, Packed, Plan, SetState, SetSummary};
use crate::Context;
use crate::files::lost;
use crate::harness::store_failed;

/// Completes an export: answers `{records}`.
pub(super) async fn complete(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files = context.files();
    let plan: Plan = files.read_plan().await?;
    let packed: Option<Packed> = files.read(&files.key(PACKED)?).await?;
    let packed = packed.ok_or_else(|| lost("what came of packing"))?;
    let result = result(context, &plan, &packed);
    let records = result["data_exported"]["total_records"].clone();
    context.report(result)?;
    // The package has all of it from now on.
    remove_parts(context, &plan).await?;
    Ok(json!({ "records": records }))
}

fn result(context: &Context<'_>, plan: &Plan, packed: &Packed) -> Map<String, Value> {
    let link = |package: &Closed| context.result_link(&package.name);
    let files = packed.packages.iter().map(|package| (package.name.clone(), json!(link(package))));
    // It has the page that people open, and lists the others.
    let last = packed.packages.last();
    let is_logs = |set: &&SetSummary| set.entity_type == "logs";
    let read = || packed.sets.iter().filter(|set| set.error.is_none());
    let things = || read().filter(|set| !is_logs(set) && set.entity_type != super::FILE_CONTENT);
    let services: BTreeSet<&str> = read().filter(|set| !is_logs(set)).map(|set| set.service.as_str()).collect();
    let not_read: Vec<&SetSummary> = packed.sets.iter().filter(|set| set.error.is_some()).collect();
    let as_packed = if plan.encrypt_to.is_some() { "recipient" } else { "none" };
    let result = json!({
        "compliance_id": plan.compliance_id,
        "compliance_type": "GdprDataExport",
        "status": if not_read.is_empty() { "Completed" } else { "PartiallyCompleted" },
        "data_exported": {
            "export_file_path": last.map(link),
            "total_records": things().map(|set| set.records + set.mentions).sum::<u64>(),
            "services_included": services,
            "export_format": "JSON",
            // Only where opening it needs a key that the person has; how the store keeps it is said besides.
            "encryption_applied": plan.encrypt_to.is_some(),
        },
        "package": {
            "name": last.map(|last| &last.name),
            "bytes": last.map(|last| last.bytes),
            "sha256": last.map(|last| &last.sha256),
            "stored_encrypted": packed.stored_encrypted.as_deref().unwrap_or(as_packed),
        },
        "packages": packed.packages,
        "data_deleted": null,
        "audit_report": null,
        "compliance_certificate": null,
        "per_type": read().filter(|set| !is_logs(set)).map(told).collect::<Vec<_>>(),
        "log_entries": read().filter(is_logs).map(|set| set.records).sum::<u64>(),
        "not_read": not_read.into_iter().map(missing).collect::<Vec<_>>(),
        "received_at": plan.received_at,
        "due_at": due_at(plan.received_at),
        "files": files.collect::<Map<_, _>>(),
        "completed_at": context.clock.now(),
    });
    result.as_object().cloned().unwrap_or_default()
}

/// Ids are told only where not all of a type is missing; of many the manifest tells all.
fn missing(set: &SetSummary) -> Value {
    const MAX_TOLD: usize = 100;
    let mut told = json!({ "service": set.service, "entity_type": set.entity_type, "error": set.error });
    if !set.ids.is_empty() {
        told["ids"] = set.ids.iter().take(MAX_TOLD).cloned().collect();
        told["ids_count"] = set.ids.len().into();
    }
    told
}

fn told(set: &SetSummary) -> Value {
    json!({
        "service": set.service, "entity_type": set.entity_type, "records": set.records, "mentions": set.mentions,
    })
}

/// Removes whatever an export has written that cannot be completed.
pub(super) async fn discard(context: &Context<'_>) -> Result<Value, ActivityError> {
    let plan: Plan = match context.files().read_plan().await {
        // It was not even planned.
        Err(error) if error.error == ErrorName::IntegrityViolation.as_str() => return Ok(json!({ "removed": false })),
        plan => plan?,
    };
    remove_parts(context, &plan).await?;
    let folder = [RESULTS, context.execution_id()];
    context.blobs.remove_folder(context.tenant_id(), &folder).await.map_err(store_failed)?;
    Ok(json!({ "removed": true }))
}

async fn remove_parts(context: &Context<'_>, plan: &Plan) -> Result<(), ActivityError> {
    let files = context.files();
    for set in 0..plan.sets.len() {
        let state: SetState = files.read_state(set).await?.unwrap_or_default();
        context.blobs.remove(&places(context, set, &state)?).await.map_err(store_failed)?;
    }
    Ok(())
}
