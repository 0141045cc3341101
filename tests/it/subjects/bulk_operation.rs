//! Bulk operations: accounts are created.

use std::collections::BTreeMap;

use contracts::WorkflowKind;
use contracts::responses::StatusResponse;
use futures::FutureExt as _;
use reference_services::{LedgerEntry, Outcome};
use serde_json::{Value, json};

use super::{Subject, site};
use crate::world::TENANT;

pub(crate) static BULK_OPERATION: Subject = Subject {
    kind: WorkflowKind::BulkOperation,
    path: "/api/v1/workflows/bulk-operation",
    request: request_of,
    // Nobody has an account yet.
    prepare: |_, _| std::future::ready(()).boxed(),
    sites: &[site("ProcessBatch", "auth", "POST", OPERATIONS)],
    undoable: &[],
    tolerated: &[],
    last_before_pivot: "PlanBulkOperation",
    final_steps: &["CompleteBulkOperation"],
    // Its list of batches is lost: `bulk.rs`.
    taken_elsewhere: &["ProcessBatches/Catch/0"],
    masked: &["completed_at"],
    personal: &[],
    mails: 0,
    marks: |_, _, _| Vec::new(),
};

/// The route of every operation.
const OPERATIONS: &str = "/api/v1/operations/{operation}";

/// Six accounts in batches of two.
fn request_of(number: usize) -> Value {
    let account = |entity: usize| {
        let id = format!("bulk-{number:04}-{entity}");
        json!({
            "service": "auth", "entity_type": "account", "entity_id": id,
            "operation_data": { "email": format!("{id}@example.com"), "name": "Bea Bulk" },
        })
    };
    json!({
        "operation_id": format!("operation-{number:04}"), "tenant_id": TENANT, "operation_type": "UserCreation",
        "target_entities": (0..6).map(account).collect::<Vec<_>>(), "operation_data": { "role": "user" },
        "batch_options": { "batch_size": 2, "parallel_batches": 2 },
    })
}

/// I6: what the result counts is what the services did: `total = done + failed + not tried`, and each entity that is done has
/// one effect.
pub(crate) fn counts_are_true(status: &StatusResponse, ledger: &[LedgerEntry]) -> Result<(), String> {
    let Some(result) = &status.result else { return Ok(()) };
    let count = |name: &str| result[name].as_u64().ok_or_else(|| format!("I6: {name} is missing in {result}"));
    let (total, done) = (count("total_entities")?, count("successful_operations")?);
    let (failed, left) = (count("failed_operations")?, count("unprocessed_entities")?);
    if total != done + failed + left {
        return Err(format!("I6: {total} entities, {done} done, {failed} failed, {left} not tried"));
    }
    let items = status.items.map(|items| (items.completed, items.failed));
    if done + failed > 0 && items != Some((done, failed)) {
        return Err(format!("I6: the progress says {items:?}, the result {done} and {failed}"));
    }
    let mut applied = BTreeMap::<&str, u32>::new();
    for entry in ledger.iter().filter(|entry| entry.route == OPERATIONS && entry.outcome == Outcome::Applied) {
        *applied.entry(&entry.key).or_default() += 1;
    }
    let is_dry = result["dry_run"] == true;
    if applied.values().any(|times| *times > 1)
        || !is_dry && applied.len() as u64 != done
        || is_dry && !applied.is_empty()
    {
        return Err(format!("I6: {done} entities are done, and {} have an effect", applied.len()));
    }
    Ok(())
}
