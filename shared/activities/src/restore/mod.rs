//! Restores: what their activities have in common.
//!
//! The plan checks the manifest's signature and every byte of every part before anything is written. A step for each part
//! writes its things by the data port, each under a key of its own. The completion reads them back. If anything fails, or
//! somebody cancels, every key is undone: services put back what was there before. A drill writes into a tenant that nobody
//! has, and ends with undoing.

mod complete;
pub(crate) mod drill;
pub(crate) mod plan;
mod undo;
mod upload;
pub(crate) mod verify;
pub(crate) mod write;

use contracts::backup::RestoreConflict;
use contracts::step::StepPath;
use contracts::{ActivityError, Timestamp};
use downstream::Service;
use downstream::data::Thing;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vault::{PartEntry, WrappedKey};

use crate::Context;
use crate::backup::Vault;
use crate::files::lost;
use crate::things;

/// What all steps of a restore need to know.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    backup_id: String,
    /// Whose backup it is.
    tenant_id: String,
    /// The tenant that it goes into.
    target: Target,
    is_drill: bool,
    /// When the backup was complete: what came after it is not in it.
    recovery_point: Timestamp,
    on_conflict: RestoreConflict,
    dry_run: bool,
    /// The number of the leases under which it writes.
    #[serde(default)]
    fence: Option<u64>,
    data_key: WrappedKey,
    /// What is referred to before what refers to it.
    parts: Vec<PartEntry>,
}

/// The tenant that a backup goes into.
#[derive(Debug, Serialize, Deserialize)]
struct Target {
    tenant_id: String,
    /// The field of the tenant itself that holds its id.
    tenant_id_field: String,
}

impl Plan {
    /// The files of the backup.
    async fn vault<'a>(&'a self, context: &Context<'a>) -> Result<Vault<'a>, ActivityError> {
        Vault::of(context, &self.tenant_id, &self.backup_id, &self.data_key).await
    }

    /// A thing of a part, as it is to be in the target: there the tenant itself has another id.
    fn thing(&self, part: &PartEntry, line: &[u8]) -> Result<Thing, ActivityError> {
        let mut thing: Thing = serde_json::from_slice(line).map_err(|_| lost("a line of a backup"))?;
        let Target { tenant_id, tenant_id_field } = &self.target;
        for reference in &mut thing.references {
            if is_tenant(&reference.service, &reference.entity_type) && reference.id == self.tenant_id {
                thing.data[&reference.field] = json!(tenant_id);
                reference.id.clone_from(tenant_id);
            }
        }
        if is_tenant(&part.service, &part.entity_type) && thing.id == self.tenant_id {
            thing.data[tenant_id_field] = json!(tenant_id);
            thing.id.clone_from(tenant_id);
        }
        Ok(thing)
    }
}

fn is_tenant(service: &str, entity_type: &str) -> bool {
    service == Service::Tenant.as_str() && entity_type == "tenant"
}

/// How far a part is written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PartState {
    /// Lines that are done.
    lines: u64,
    counts: Counts,
    /// Files that were there and stay as they are: their bytes stay too.
    kept_files: Vec<String>,
    /// Why it cannot go on.
    failure: Option<PartFailure>,
}

/// What became of things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    created: u64,
    replaced: u64,
    skipped: u64,
}

/// What could not be restored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PartFailure {
    error: String,
    message: String,
}

impl Counts {
    fn sum(self) -> u64 {
        self.created + self.replaced + self.skipped
    }

    fn add(&mut self, other: Self) {
        self.created += other.created;
        self.replaced += other.replaced;
        self.skipped += other.skipped;
    }
}

/// What the last steps of a restore are told.
#[derive(Deserialize)]
struct Conclusion {
    /// The error by which the execution came here, if it is one.
    interrupted: Option<String>,
}

/// Completes a restore, or undoes what was interrupted.
pub(crate) async fn conclude(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Conclusion { interrupted } = context.input()?;
    let Some(error) = interrupted else { return complete::complete(context).await };
    let undone = undo::undo(context).await;
    drill::interrupted(context, &error).await?;
    undone
}

/// Whether two parts are of the same type of things. Those of a type stand together.
fn is_same_type(one: &PartEntry, other: &PartEntry) -> bool {
    (&one.service, &one.entity_type) == (&other.service, &other.entity_type)
}

/// What the effect of restoring a thing of a part is called.
fn step_of(part: &PartEntry, id: &str) -> Result<StepPath, ActivityError> {
    things::step_of("RestoreThing", &[&part.service, &part.entity_type, id])
}

/// The key under which a thing of a part is written.
fn key_of(context: &Context<'_>, part: &PartEntry, id: &str) -> Result<String, ActivityError> {
    Ok(things::key_of(context, &step_of(part, id)?))
}
