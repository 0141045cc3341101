//! Backups: what their activities have in common.
//!
//! The plan writes down which types of things are read, in which order, and the data key. A step for each of them reads it
//! page by page into sealed parts. The completion reads again what has changed meanwhile, checks all parts, and signs the
//! manifest: before that there is no backup.

mod complete;
mod discard;
mod keep;
mod lines;
pub(crate) mod plan;
pub(crate) mod read;
mod sealed;

use std::collections::BTreeMap;

use contracts::{ActivityError, ErrorName, Timestamp};
use downstream::Service;
use downstream::data::{Page, PageOf, Reference, Thing, Within, page};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{BACKUPS, BlobKey};
use vault::{KeyError, PartEntry, PartError, PartSummary, SignError, WrappedKey};

use crate::Context;
use crate::files::{Files, key, lost};

pub(crate) use complete::canonical;
pub(crate) use lines::{ContentLine, PIECE_BYTES};
pub(crate) use sealed::{Lines, Opened, Vault};

/// What the names of a backup's files begin with among those of its execution.
pub(crate) const FILES: &str = "backup-";

/// What a backup works with. Other jobs make one within their own execution.
fn files<'a>(context: &Context<'a>) -> Files<'a> {
    context.files().for_job(FILES)
}

/// What all steps of a backup need to know.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    backup_id: String,
    began_at: Timestamp,
    /// None if no backup is wanted.
    data_key: Option<WrappedKey>,
    /// In the order in which they are read: what refers to others before what it refers to, so that most of what is referred
    /// to is there when it is read.
    sets: Vec<DataSet>,
    /// For how many days the backup is kept; until somebody deletes it if there is none.
    #[serde(default)]
    keep_days: Option<u32>,
    /// How many backups stay of those that have such a number.
    #[serde(default)]
    keep_count: Option<u32>,
    /// Whether it is made at all: a job that may do without one has its steps all the same.
    #[serde(default = "yes")]
    is_wanted: bool,
    /// Whether it holds what is archived: an archive of nothing is a mistake.
    #[serde(default)]
    is_archive: bool,
}

fn yes() -> bool {
    true
}

impl Plan {
    fn data_key(&self) -> Result<&WrappedKey, ActivityError> {
        self.data_key.as_ref().ok_or_else(|| lost("the key of the backup"))
    }

    /// The files of the backup.
    async fn vault<'a>(&'a self, context: &Context<'a>) -> Result<Vault<'a>, ActivityError> {
        Vault::of(context, context.tenant_id(), &self.backup_id, self.data_key()?).await
    }
}

/// What is read by one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DataSet {
    service: String,
    entity_type: String,
    schema_version: u64,
    /// The field of a thing that holds its id.
    id_field: String,
    /// Whether it is the bytes of the files, which have no pages of their own.
    is_content: bool,
    /// Only things with these values, by the paths of fields.
    #[serde(default)]
    filters: BTreeMap<String, String>,
}

/// How far a data set is read.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SetState {
    /// Where the next page begins.
    cursor: Option<String>,
    /// Things of that page that are read already.
    skip: usize,
    /// The last id that was read: ids come in order, or pages would be read for ever.
    last_id: Option<String>,
    /// What the first page said: what has changed after it is read again.
    watermark: Option<String>,
    /// Things, or files, that were read.
    things: u64,
    /// What is written.
    parts: Vec<PartEntry>,
    is_done: bool,
    /// The error for which it was given up.
    failure: Option<String>,
}

/// The type of the bytes of files.
pub(crate) const FILE_CONTENT: &str = "file_content";

impl DataSet {
    fn service(&self) -> Result<Service, ActivityError> {
        Service::named(&self.service).ok_or_else(|| lost("the service of a data set"))
    }

    /// The type whose pages it is read by.
    fn listed_type(&self) -> &str {
        if self.is_content { "file" } else { &self.entity_type }
    }

    /// One page of what it is read by. What says of itself that it is something else could not be restored.
    async fn page(&self, context: &Context<'_>, of: PageOf<'_>) -> Result<Page, ActivityError> {
        let listed = self.listed_type();
        let within = Within { filters: self.filters.clone(), ..Within::default() };
        let of = PageOf { within: Some(&within), ..of };
        let page = page(context.downstream, self.service()?, listed, context.tenant_id(), of).await?;
        match page.items.iter().find(|thing| thing.data[&self.id_field] != thing.id.as_str()) {
            None => Ok(page),
            Some(Thing { id, .. }) => {
                let message = format!("{}: the {listed} {id} has another id in its data", self.service);
                Err(ActivityError::new(ErrorName::IntegrityViolation, message))
            }
        }
    }

    /// Whether a thing is one of this set.
    fn is_of(&self, reference: &Reference) -> bool {
        !self.is_content && self.service == reference.service && self.entity_type == reference.entity_type
    }
}

/// Completes a backup, or discards it.
pub(crate) async fn conclude(context: &Context<'_>) -> Result<Value, ActivityError> {
    match context.is_interrupted()? {
        false => complete::complete(context).await,
        true => discard::discard(context).await,
    }
}

/// What a part's file is called.
fn part_name_of(set: &DataSet, number: usize) -> String {
    vault::part_name(&set.service, &set.entity_type, u32::try_from(number).unwrap_or(u32::MAX))
}

/// What a part's file is called that is written anew, with what has changed meanwhile.
fn changed_part_name_of(set: &DataSet, number: usize) -> String {
    format!("{}.{}.changed.{number:05}.part", set.service, set.entity_type)
}

/// A part that was written.
fn entry(set: &DataSet, name: String, number: usize, summary: PartSummary) -> PartEntry {
    let PartSummary { items, bytes, stored_bytes, sha256 } = summary;
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let (service, entity_type) = (set.service.clone(), set.entity_type.clone());
    PartEntry { name, service, entity_type, number, items, bytes, stored_bytes, sha256 }
}

/// Where a file of a backup is.
pub(crate) fn place(tenant_id: &str, backup_id: &str, name: &str) -> Result<BlobKey, ActivityError> {
    key(tenant_id, &[BACKUPS, backup_id, name])
}

pub(crate) fn key_failed(error: KeyError) -> ActivityError {
    let name = match &error {
        KeyError::Lost { .. } => ErrorName::NotFound,
        KeyError::Wrong { .. } => ErrorName::IntegrityViolation,
        KeyError::Unavailable { .. } => ErrorName::ServiceUnavailable,
    };
    ActivityError::new(name, error.to_string())
}

pub(crate) fn sign_failed(error: SignError) -> ActivityError {
    match error {
        SignError::Keys(error) => key_failed(error),
        error @ SignError::NotADocument { .. } => ActivityError::new(ErrorName::Internal, error.to_string()),
    }
}

pub(crate) fn part_failed(error: PartError) -> ActivityError {
    let name = match &error {
        PartError::Unavailable { .. } => ErrorName::ServiceUnavailable,
        PartError::LineTooLong { .. } => ErrorName::PayloadTooLarge,
        _ => ErrorName::IntegrityViolation,
    };
    ActivityError::new(name, error.to_string())
}

/// A line of a part.
fn line_of(thing: &Thing) -> Result<Vec<u8>, ActivityError> {
    serde_json::to_vec(thing).map_err(|error| lost(&error.to_string()))
}
