//! Bulk operations: accounts are created.

use std::collections::BTreeSet;

use contracts::effect::Effect;
use contracts::responses::StatusResponse;
use contracts::step::{StepItem, StepPath};
use contracts::{Status, WorkflowKind};
use futures::FutureExt as _;
use reference_services::{LedgerEntry, Outcome};
use serde_json::{Value, json};

use super::{Subject, site};
use crate::world::TENANT;

pub(crate) static BULK_OPERATION: Subject = Subject {
    kind: WorkflowKind::BulkOperation,
    variant: None,
    path: "/api/v1/workflows/bulk-operation",
    request: request_of,
    // Nobody has an account yet.
    prepare: |_, _| std::future::ready(()).boxed(),
    presupposes: None,
    sites: &[site("ProcessBatch", "auth", "POST", OPERATIONS)],
    undoable: &[],
    tolerated: &[],
    last_before_pivot: "PlanBulkOperation",
    final_steps: &["CompleteBulkOperation"],
    batches: &[],
    // Its list of batches is lost: `bulk.rs`.
    taken_elsewhere: &["ProcessBatches/Catch/0"],
    masked: &["completed_at"],
    personal: &[],
    mails: 0,
    marks: |_, _, request| {
        let entities = request["target_entities"].as_array().into_iter().flatten();
        entities.filter_map(|entity| entity["entity_id"].as_str().map(str::to_owned)).collect()
    },
    counts: Some(counts_are_possible),
    about_everything: None,
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
/// one effect. The ledger tells of this job only.
pub(crate) fn counts_are_true(status: &StatusResponse, ledger: &[LedgerEntry]) -> Result<(), String> {
    let Some(counts) = Counts::of(status)? else { return Ok(()) };
    match applied(ledger, |_| true)? {
        applied if applied == counts.effects => Ok(()),
        applied => Err(format!("I6: {} entities are done, and {applied} have an effect", counts.effects)),
    }
}

/// I6 where services may say something else than they did: what is told as done is done, and of what is told as failed
/// some may be done.
fn counts_are_possible(status: &StatusResponse, ledger: &[LedgerEntry]) -> Result<(), String> {
    let Some(counts) = Counts::of(status)? else { return Ok(()) };
    let keys: BTreeSet<String> = (0..counts.total).map(|index| key_of(status, index)).collect();
    let applied = applied(ledger, |key| keys.contains(key))?;
    if (counts.effects..=counts.effects + counts.failed).contains(&applied) {
        return Ok(());
    }
    Err(format!("I6: {} entities are done, {} failed, and {applied} have an effect", counts.effects, counts.failed))
}

/// What a job's result counts.
struct Counts {
    total: u64,
    failed: u64,
    /// Entities that are done, but for a dry run.
    effects: u64,
}

impl Counts {
    fn of(status: &StatusResponse) -> Result<Option<Self>, String> {
        let Some(result) = &status.result else { return Ok(None) };
        let count = |name: &str| result[name].as_u64().ok_or_else(|| format!("I6: {name} is missing in {result}"));
        let (total, done) = (count("total_entities")?, count("successful_operations")?);
        let (failed, left) = (count("failed_operations")?, count("unprocessed_entities")?);
        if total != done + failed + left {
            return Err(format!("I6: {total} entities, {done} done, {failed} failed, {left} not tried"));
        }
        let items = status.items.map_or((0, 0), |items| (items.completed, items.failed));
        // A batch that was interrupted is counted in the result only.
        let is_same = items == (done, failed);
        let is_less = status.status != Status::Completed && items.0 <= done && items.1 <= failed;
        if !is_same && !is_less {
            return Err(format!("I6: the progress says {items:?}, the result {done} and {failed}"));
        }
        Ok(Some(Self { total, failed, effects: if result["dry_run"] == true { 0 } else { done } }))
    }
}

/// How many of these keys have an effect; none may have two.
fn applied(ledger: &[LedgerEntry], is_meant: impl Fn(&str) -> bool) -> Result<u64, String> {
    let mut applied = BTreeSet::new();
    for entry in ledger.iter().filter(|entry| entry.route == OPERATIONS && entry.outcome == Outcome::Applied) {
        if is_meant(&entry.key) && !applied.insert(&entry.key) {
            return Err(format!("I6: the key {} has two effects", entry.key));
        }
    }
    Ok(applied.len() as u64)
}

/// The key of the entity at this place in the input of a job that is no retry.
fn key_of(status: &StatusResponse, index: u64) -> String {
    let step = StepPath { name: "UserCreation".to_owned(), item: Some(StepItem::new(index.to_string()).unwrap()) };
    Effect { tenant_id: TENANT, scope: &status.workflow_id, step: &step }.idempotency_key()
}
