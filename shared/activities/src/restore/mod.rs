//! Restores: what their activities have in common.
//!
//! The plan checks the manifest's signature and every byte of every part before anything is written. A step for each part
//! writes its things by the data port, each under a key of its own. The completion reads them back. If anything fails, or
//! somebody cancels, every key is undone: services put back what was there before.

mod complete;
pub(crate) mod plan;
mod undo;
mod upload;
pub(crate) mod write;

use contracts::ActivityError;
use contracts::backup::RestoreConflict;
use contracts::effect::{Effect, sha256_hex};
use contracts::step::{StepItem, StepPath};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vault::{PartEntry, WrappedKey};

use crate::Context;
use crate::files::lost;

/// What all steps of a restore need to know.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    backup_id: String,
    on_conflict: RestoreConflict,
    dry_run: bool,
    data_key: WrappedKey,
    /// What is referred to before what refers to it.
    parts: Vec<PartEntry>,
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

/// Completes a restore, or undoes it.
pub(crate) async fn conclude(context: &Context<'_>) -> Result<Value, ActivityError> {
    match context.is_interrupted()? {
        false => complete::complete(context).await,
        true => undo::undo(context).await,
    }
}

/// Whether two parts are of the same type of things. Those of a type stand together.
fn is_same_type(one: &PartEntry, other: &PartEntry) -> bool {
    (&one.service, &one.entity_type) == (&other.service, &other.entity_type)
}

/// What the effect of restoring a thing of a part is called. A retry of a restore has others, as those of an undone one are
/// refused.
fn step_of(part: &PartEntry, id: &str) -> Result<StepPath, ActivityError> {
    let item = sha256_hex(format!("{}\n{}\n{id}", part.service, part.entity_type).as_bytes());
    let item = StepItem::new(item[..32].to_owned()).map_err(|error| lost(&error.to_string()))?;
    Ok(StepPath { name: "RestoreThing".to_owned(), item: Some(item) })
}

/// The effect of restoring a thing.
fn effect_of<'a>(context: &Context<'a>, step: &'a StepPath) -> Effect<'a> {
    Effect { tenant_id: context.tenant_id(), scope: context.execution_id(), step }
}

/// The key under which a thing of a part is written.
fn key_of(context: &Context<'_>, part: &PartEntry, id: &str) -> Result<String, ActivityError> {
    Ok(effect_of(context, &step_of(part, id)?).idempotency_key())
}
