//! Data migrations: what their activities have in common.
//!
//! The plan reads everything once, asks the target what would come of it, and cuts it into batches by the ids of the source.
//! A batch reads its things again, changes them as the migration says, and writes them by the data port, each under a key of
//! its own. The completion reads again what has changed meanwhile, and asks the target whether everything is as it should
//! be. If something fails, every key is undone: services put back what was there before.

pub(crate) mod batch;
mod change;
mod complete;
mod content;
pub(crate) mod plan;
mod problems;
mod sets;
mod source;
mod undo;

use std::collections::BTreeMap;

use contracts::data_migration::{MigrationOptions, MigrationType};
use contracts::step::StepPath;
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{ImportItem, ImportStatus, Imported, OnConflict, Within, import};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Context;
use crate::files::lost;
use crate::things;
use change::{Change, Moved};

/// What all steps of a migration need to know.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    migration_id: String,
    migration_type: MigrationType,
    options: MigrationOptions,
    /// The backup that was made before, if one was.
    backup_id: Option<String>,
    /// Where things are.
    source: String,
    /// Where they go.
    target: String,
    /// The number of the leases under which it writes there.
    #[serde(default)]
    fence: Option<u64>,
    sets: Vec<Set>,
    /// What others refer to comes before what refers to it.
    parts: Vec<Part>,
    /// References to things that are not there in the target.
    dangling: u64,
    /// What the plan found out that would come of it.
    expected: Counts,
}

/// Things of one type, and what becomes of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Set {
    service: String,
    entity_type: String,
    /// The type that they become things of.
    to_service: String,
    to_type: String,
    filters: BTreeMap<String, String>,
    change: Change,
    /// How many levels of others it refers to: those are written before.
    level: u32,
    /// What has changed after it was read when the migration was planned.
    watermark: String,
    /// Only these things, if they are not all that fit.
    ids: Option<Vec<String>>,
}

/// A batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Part {
    set: usize,
    /// Its things by their ids in the source.
    within: Within,
    /// Only these, if not all of them.
    ids: Option<Vec<String>>,
    things: u64,
}

/// How far a batch is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// The last thing of the source that is done.
    after: Option<String>,
    /// What was written, in this order, by its id in the target. Noted before it is written.
    ids: Vec<String>,
    counts: Counts,
    /// What the target did not take.
    refused: Vec<Refused>,
    is_over: bool,
    /// The error for which it was given up.
    given_up: Option<String>,
}

/// A thing that the target did not take.
#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    id: String,
    code: String,
    message: String,
}

/// What became of things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    read: u64,
    created: u64,
    updated: u64,
    unchanged: u64,
    failed: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.read += other.read;
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.failed += other.failed;
    }

    fn count(&mut self, status: ImportStatus) {
        self.read += 1;
        match status {
            ImportStatus::Created => self.created += 1,
            ImportStatus::Updated => self.updated += 1,
            ImportStatus::Skipped => self.unchanged += 1,
            ImportStatus::Failed => self.failed += 1,
        }
    }
}

impl Set {
    fn source(&self) -> Result<Service, ActivityError> {
        Service::named(&self.service).ok_or_else(|| lost("the service of a set"))
    }

    fn target(&self) -> Result<Service, ActivityError> {
        Service::named(&self.to_service).ok_or_else(|| lost("the service of a set"))
    }

    /// Whether its things have bytes.
    fn has_contents(&self) -> bool {
        (self.to_service.as_str(), self.to_type.as_str()) == (Service::File.as_str(), "file")
    }
}

/// Completes a migration, or concludes one that was interrupted.
pub(crate) async fn conclude(context: &Context<'_>) -> Result<Value, ActivityError> {
    match context.is_interrupted()? {
        false => complete::complete(context).await,
        true => undo::conclude(context).await,
    }
}

/// What the effect on a thing of the target is called; `round` counts how often it was written again.
fn step_of(what: &str, set: &Set, id: &str, round: u32) -> Result<StepPath, ActivityError> {
    things::step_of(what, &[&set.to_service, &set.to_type, id, &round.to_string()])
}

/// Writing a thing, and writing the bytes of a file.
const THING: &str = "MigrateThing";
const CONTENT: &str = "MigrateContent";

/// Writes things into the target, or asks what would come of that.
async fn write(
    context: &Context<'_>,
    plan: &Plan,
    set: &Set,
    moved: &[Moved],
    round: u32,
    dry_run: bool,
) -> Result<Vec<Imported>, ActivityError> {
    let mut items = Vec::with_capacity(moved.len());
    for thing in moved {
        let step = step_of(THING, set, &thing.id, round)?;
        items.push(ImportItem { id: &thing.id, key: things::key_of(context, &step), data: &thing.data });
    }
    let (at, overwrite) = (set.target()?, OnConflict::Overwrite);
    import(&context.downstream.fenced(plan.fence), at, &set.to_type, &plan.target, &items, overwrite, dry_run).await
}

/// The error of a thing that a service does not take.
fn refused(set: &Set, id: &str, result: &Imported) -> ActivityError {
    let code = result.code.as_deref().unwrap_or("ServiceRejected");
    let why = result.message.as_deref().unwrap_or_default();
    let message = format!("{}: the {} {id}: {code}: {why}", set.to_service, set.to_type);
    let name = if code == ErrorName::Conflict.as_str() { ErrorName::Conflict } else { ErrorName::ServiceRejected };
    ActivityError::new(name, message)
}
