//! Erasures of a person: what their activities have in common.
//!
//! The plan looks up in the dataset map what there is of the person, and in which order it goes. The steps of a backup keep a
//! copy for a while. Then the erasure is written down, and nothing interrupts it any more: a step for each type deletes or
//! masks the person's things, the services and this one forget what they keep besides, and all is read again. What is still
//! there then is told, and only where nothing is there is a certificate.

pub(crate) mod begin;
mod certificate;
pub(super) mod complete;
pub(crate) mod erase;
pub(crate) mod forget;
mod ledger;
mod page;
pub(crate) mod plan;
mod records;
mod strategy;
pub(crate) mod verify;

use std::collections::{BTreeMap, BTreeSet};

use contracts::dataset::{Category, DatasetType};
use contracts::{ActivityError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::files::Files;

pub(crate) use ledger::Erased;

/// What an erasure works with. The steps of its backup have files of their own.
fn files<'a>(context: &Context<'a>) -> Files<'a> {
    context.files().for_job(JOB)
}

/// What another execution worked with.
fn files_of<'f>(context: &'f Context<'_>, execution_id: &'f str) -> Files<'f> {
    context.files_of(execution_id).for_job(JOB)
}

/// What the names of its files begin with.
const JOB: &str = "erasure-";

/// What all steps of an erasure need to know.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    compliance_id: String,
    /// Whose data.
    subject: String,
    /// The same as a keyed hash.
    subject_hash: String,
    categories: Vec<Category>,
    /// Whether everything goes, and not only some categories.
    is_whole: bool,
    received_at: Timestamp,
    legal_basis: Option<String>,
    backup_id: String,
    /// The number of the leases under which it writes.
    fence: u64,
    /// In the order in which they are erased.
    sets: Vec<DatasetType>,
    /// What an earlier execution of the same erasure has done, by type: things that it deleted, and those that it masked.
    earlier: BTreeMap<String, (u64, u64)>,
    /// The person's e-mail addresses that it found.
    #[serde(default)]
    earlier_addresses: BTreeSet<String>,
    /// The backups that earlier erasures of the person have made.
    #[serde(default)]
    earlier_backups: BTreeSet<String>,
    /// Which things may belong to things of other types.
    referring: Vec<Referring>,
    /// Types of which something is asked for, and that stay because other things are in them: `service/type`.
    left_out: Vec<String>,
}

impl Plan {
    /// What stands where the person stood. The same in every service and every erasure.
    fn pseudonym(&self) -> String {
        format!("erased-{}", &self.subject_hash[..16])
    }

    /// How many things of a type were deleted, and how many masked, by this execution and those that it retries.
    fn done(&self, of: &DatasetType, state: &SetState) -> (u64, u64) {
        let (deleted, masked) = self.earlier.get(&of.name()).copied().unwrap_or_default();
        (deleted + state.deleted, masked + state.masked)
    }

    /// How far each type is, in the order of the plan.
    async fn states(&self, files: &Files<'_>) -> Result<Vec<SetState>, ActivityError> {
        let mut states = Vec::new();
        for number in 0..self.sets.len() {
            states.push(files.read_state(number).await?.unwrap_or_default());
        }
        Ok(states)
    }
}

/// A type whose things refer to things of another one, other than by the field that says whose a thing is.
#[derive(Debug, Serialize, Deserialize)]
struct Referring {
    of: DatasetType,
    /// The field that refers.
    field: String,
    /// The other type: `service/type`.
    to: String,
}

/// How far a type is erased.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SetState {
    /// Which of its questions is asked: things of the person, then things with each kind of mention.
    question: usize,
    /// Where the next page begins.
    cursor: Option<String>,
    /// Things of a page that are under way: after an interruption the same calls tell what came of them.
    under_way: Vec<Doing>,
    deleted: u64,
    masked: u64,
    /// The person's things that stay, with nothing masked.
    retained: u64,
    /// Things that stay because of legal holds, and the holds.
    held: u64,
    held_by: BTreeSet<String>,
    /// What stands for these things in the ledger.
    held_marks: BTreeSet<String>,
    #[serde(default)]
    held_things: Vec<Held>,
    /// The e-mail addresses in the person's things: requests may name the person by them.
    #[serde(default)]
    addresses: BTreeSet<String>,
    /// What could not be erased.
    residue: Residue,
    is_done: bool,
    /// The error for which it was given up.
    failure: Option<String>,
}

impl SetState {
    /// Whether something of it is still there that hangs on things of other types.
    fn leaves_something(&self) -> bool {
        self.failure.is_some() || self.residue.count > 0 || self.held > 0
    }
}

/// A thing that stays because of legal holds.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    id: String,
    holds: BTreeSet<String>,
}

/// What is done with a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Doing {
    id: String,
    /// The fields that are masked, with the services' strategies; it is deleted if there are none.
    mask: BTreeMap<String, String>,
}

/// Most things that are named which could not be erased.
const MAX_TOLD: usize = 100;

/// What could not be erased.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Residue {
    /// The first ones.
    first: Vec<Left>,
    count: u64,
}

/// Something that could not be erased. Its id is in no result, as it may be personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    service: String,
    entity_type: String,
    /// A word, like an error's name.
    reason: String,
}

impl Residue {
    fn add(&mut self, service: &str, entity_type: &str, reason: &str) {
        self.count += 1;
        self.tell(&Left {
            service: service.to_owned(),
            entity_type: entity_type.to_owned(),
            reason: reason.to_owned(),
        });
    }

    fn add_all(&mut self, other: &Self) {
        self.count += other.count;
        other.first.iter().for_each(|left| self.tell(left));
    }

    /// Names something, once, as long as there is room.
    fn tell(&mut self, left: &Left) {
        if self.first.len() < MAX_TOLD && !self.first.contains(left) {
            self.first.push(left.clone());
        }
    }
}

/// What was forgotten besides the things.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Forgotten {
    /// What services would have brought back, and first answers.
    in_services: u64,
    /// Entries of services' logs that name a pseudonym now.
    log_entries: u64,
    /// Executions whose request or result named the person.
    executions: u64,
    residue: Residue,
}

const FORGOTTEN: &str = "forgotten.json";
const FOUND: &str = "found.json";
