//! Data migrations: what their activities have in common.
//!
//! The plan reads everything once, asks the target what would come of it, and cuts it into batches by the ids of the source.
//! A batch reads its things again, changes them as the migration says, and writes them by the data port, each under a key of
//! its own. The completion reads again what has changed meanwhile, and asks the target whether everything is as it should
//! be. If something fails, every key is undone: services put back what was there before. Reversing a migration is the same,
//! later and batch by batch.
//!
//! Three kinds of work go other ways within the same steps: [`archive`] deletes what was archived before, [`restored`] writes
//! what is in an archive or a backup, [`reverse`] undoes what an earlier execution did.

mod archive;
pub(crate) mod batch;
mod catch_up;
mod change;
mod complete;
mod content;
mod differences;
pub(crate) mod plan;
mod problems;
mod restored;
mod reverse;
mod sets;
mod source;
mod target;
mod transform;
mod undo;

use std::collections::{BTreeMap, BTreeSet};

use contracts::backup::RestoreConflict;
use contracts::data_migration::{MigrationOptions, MigrationType};
use contracts::step::StepPath;
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{ImportItem, ImportStatus, Imported, OnConflict, Within, import};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Context;
use crate::files::lost;
use crate::restore;
use crate::things;
use crate::things::Left;
use change::{Change, Moved};
use reverse::TakesBack;

/// What all steps of a migration need to know.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    migration_id: String,
    migration_type: MigrationType,
    options: MigrationOptions,
    /// The backup that was made before, if one was.
    backup_id: Option<String>,
    /// Of an archival: the archive, unless it is only tried.
    archive_id: Option<String>,
    /// The execution that this one takes back, if it does.
    reverses: Option<String>,
    /// The execution that this one retries, if it does: something that it wrote may still be there.
    #[serde(default)]
    earlier: Option<String>,
    /// Where things are.
    source: String,
    /// Where they go.
    target: String,
    /// The number of the leases under which it writes there.
    #[serde(default)]
    fence: Option<u64>,
    sets: Vec<Set>,
    /// The types whose things it changes, as `service/type`: nobody else may meanwhile.
    held: BTreeSet<String>,
    /// What others refer to comes before what refers to it.
    parts: Vec<Part>,
    /// References to things that are not there in the target.
    dangling: u64,
    /// What the plan found out that would come of it.
    expected: Counts,
    /// The same by what things were and what they become; only of a dry run, whose result it is.
    #[serde(default)]
    expected_types: Vec<((String, String), Counts)>,
    /// Of a dry run of a restore: files that would get their bytes.
    #[serde(default)]
    expected_contents: u64,
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
    /// How many levels of others it refers to: those are written before, and deleted after.
    level: u32,
    /// What has changed after it was read when the migration was planned.
    watermark: String,
    /// Only these things, if they are not all that fit.
    ids: Option<Vec<String>>,
    /// Where its copies differ, if they were compared by digests.
    #[serde(default)]
    ranges: Option<Vec<Within>>,
    /// Things whose copies were found to be the same by digests: they are in no batch.
    #[serde(default)]
    same: u64,
    /// Whether what its things refer to comes along.
    #[serde(default)]
    brings: bool,
}

/// Numbers of things by what they were and what they are now: `service/type`.
type ByType = BTreeMap<(String, String), u64>;

fn type_name(service: &str, entity_type: &str) -> String {
    format!("{service}/{entity_type}")
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
    /// It begins when all batches of lower turns are over.
    turn: u32,
    /// The file of its things, if they are listed in one.
    #[serde(default)]
    list: Option<String>,
    /// What of an earlier execution it takes back, if it does.
    #[serde(default)]
    takes_back: Option<TakesBack>,
    /// That execution, if it is one that the reversed one retried.
    #[serde(default)]
    of_execution: Option<String>,
}

impl Part {
    /// One without things.
    fn empty(set: usize, turn: u32) -> Self {
        let within = Within::default();
        Self { set, within, ids: None, things: 0, turn, list: None, takes_back: None, of_execution: None }
    }

    /// Whether a thing of a set is read with it.
    fn covers(&self, set: usize, id: &str) -> bool {
        let Within { from_id, to_id, .. } = &self.within;
        let is_within = from_id.as_deref().is_none_or(|from| from <= id) && to_id.as_deref().is_none_or(|to| id < to);
        self.set == set && is_within && self.ids.as_ref().is_none_or(|ids| ids.iter().any(|own| own == id))
    }
}

/// How far a batch is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// The last thing of the source that is done.
    after: Option<String>,
    /// Things of a list that are done.
    #[serde(default)]
    done: usize,
    /// What was written, in this order, by its id in the target. Noted before it is written.
    ids: Vec<String>,
    counts: Counts,
    /// What the target did not take.
    refused: Vec<Refused>,
    /// Of a reversal: what it took back, by `service/type`.
    #[serde(default)]
    types: BTreeMap<String, Counts>,
    /// What stays because somebody else has changed it.
    #[serde(default)]
    left: Left,
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
    /// Deleted from the service.
    #[serde(default)]
    removed: u64,
    /// Was there, and stays as it is, as a restore was asked to leave it so.
    #[serde(default)]
    skipped: u64,
    /// Stays because somebody else has changed it.
    #[serde(default)]
    left: u64,
    failed: u64,
}

impl Counts {
    /// Things that are as they should be.
    fn migrated(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.removed
    }

    fn of_restored(
        restore::Counts { created, replaced, skipped }: restore::Counts,
        on_conflict: RestoreConflict,
    ) -> Self {
        let read = created + replaced + skipped;
        let (skipped, unchanged) = if on_conflict == RestoreConflict::Skip { (skipped, 0) } else { (0, skipped) };
        Self { read, created, updated: replaced, unchanged, skipped, ..Self::default() }
    }

    fn sum<'c>(all: impl IntoIterator<Item = &'c Self>) -> Self {
        all.into_iter().fold(Self::default(), |mut sum, counts| {
            sum.add(*counts);
            sum
        })
    }

    fn add(&mut self, other: Self) {
        self.read += other.read;
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.removed += other.removed;
        self.skipped += other.skipped;
        self.left += other.left;
        self.failed += other.failed;
    }

    fn count(&mut self, status: ImportStatus) {
        self.read += 1;
        match status {
            ImportStatus::Created => self.created += 1,
            ImportStatus::Updated => self.updated += 1,
            ImportStatus::Skipped => self.unchanged += 1,
            ImportStatus::Deleted => self.removed += 1,
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

    /// What its things were, and what they become.
    fn types(&self) -> (String, String) {
        (type_name(&self.service, &self.entity_type), type_name(&self.to_service, &self.to_type))
    }

    /// Whether bytes are written with its things.
    fn has_contents(&self) -> bool {
        let is_copied = matches!(self.change, Change::Renamed { .. });
        is_copied && (self.to_service.as_str(), self.to_type.as_str()) == (Service::File.as_str(), "file")
    }
}

/// What is done with the things.
enum Way {
    /// They are written: as copies, or changed where they are.
    Write,
    /// They are deleted; an archive has them.
    Remove,
    /// They are written as an archive or a backup has them.
    Restore,
    /// What an earlier execution did to them is undone.
    Reverse,
}

impl Plan {
    fn way(&self) -> Way {
        match self.migration_type {
            _ if self.reverses.is_some() => Way::Reverse,
            MigrationType::DataArchival => Way::Remove,
            MigrationType::DataRestore => Way::Restore,
            MigrationType::TenantToTenant | MigrationType::SystemUpgrade | MigrationType::CrossServiceSync => {
                Way::Write
            }
        }
    }

    /// The services whose things it changes.
    fn services(&self) -> BTreeSet<&str> {
        self.sets.iter().map(|set| set.to_service.as_str()).collect()
    }

    /// Whether the things are changed where they are.
    fn is_in_place(&self) -> bool {
        self.migration_type == MigrationType::SystemUpgrade
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

/// What a service says of a thing that somebody else has changed since it was read.
const CHANGED_SINCE: &str = "VersionMismatch";

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
        let key = things::key_of(context, &step);
        items.push(ImportItem { id: &thing.id, key, data: &thing.data, if_version: thing.if_version });
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
