//! What the law asks for: exports and erasures of what is kept of a person.
//!
//! Of an export, the plan looks up in the dataset map which types of things hold what is asked for. A step for each of these data sets reads
//! it page by page into sealed parts. Then one package is made of all parts, and the parts are removed.

pub(crate) mod collect;
mod complete;
pub(crate) mod erasure;
mod gathered;
mod lines;
pub(crate) mod pack;
mod package;
pub(crate) mod plan;
mod sealed;
mod selection;

use std::collections::BTreeSet;
use std::sync::Arc;

use contracts::compliance::MAX_PACKAGE_BYTES;
use contracts::dataset::{Category, Dataset, DatasetType};
use contracts::{ActivityError, ErrorName, Timestamp};
use downstream::Service;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::EXPORT;
use vault::WrappedKey;

use crate::Context;
use crate::files::lost;

/// What all steps of an export need to know.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    compliance_id: String,
    /// Whose data.
    subject: String,
    categories: Vec<Category>,
    received_at: Timestamp,
    legal_basis: Option<String>,
    /// Whose key opens the package.
    encrypt_to: Option<String>,
    /// Whether what can be read is enough.
    allow_partial: bool,
    /// A package that has so many bytes is followed by another one.
    #[serde(default = "max_package_bytes")]
    max_package_bytes: u64,
    data_key: WrappedKey,
    sets: Vec<DataSet>,
    /// Services that did not tell what they hold, with the error of each.
    #[serde(default)]
    not_asked: Vec<(String, String)>,
}

/// What is read by one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DataSet {
    service: String,
    source: Source,
}

/// What of a service is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    /// Entries of its logs.
    Logs {
        /// The kinds of logs.
        kinds: Vec<String>,
        /// From then on.
        from: Option<Timestamp>,
        /// Before then.
        to: Timestamp,
    },
    /// Things, as the map describes their type.
    Things(DatasetType),
    /// The bytes of files.
    Bytes(DatasetType),
}

/// How far a data set is read.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SetState {
    /// Which of its questions is asked: things of the person, then things with each kind of mention; or each kind of logs.
    question: usize,
    /// Where the next page begins.
    cursor: Option<String>,
    /// Whether the things of that page up to the last one are read already.
    is_within_page: bool,
    /// The last thing that was read for this question: ids come in order, or pages would be read for ever.
    last_id: Option<String>,
    /// The person's things, files or entries.
    own: u64,
    /// Others' things that mention the person.
    mentions: u64,
    /// Bytes of the lines.
    bytes: u64,
    /// Files that need the zip format's form for large ones.
    large: BTreeSet<String>,
    /// Fields that the map does not name.
    unlisted: BTreeSet<String>,
    /// Files that are there without their bytes.
    #[serde(default)]
    missing: Vec<String>,
    /// Parts that are written.
    parts: u32,
    is_done: bool,
    /// The error for which it was given up.
    failure: Option<String>,
}

impl DataSet {
    fn service(&self) -> Result<Service, ActivityError> {
        Service::named(&self.service).ok_or_else(|| lost("the service of a data set"))
    }

    /// What it is called for people: a type, `file_content` or `logs`.
    fn name(&self) -> &str {
        match &self.source {
            Source::Logs { .. } => "logs",
            Source::Things(of) => &of.entity_type,
            Source::Bytes(_) => FILE_CONTENT,
        }
    }
}

/// What the bytes of files are called.
const FILE_CONTENT: &str = "file_content";

fn max_package_bytes() -> u64 {
    MAX_PACKAGE_BYTES
}

impl Plan {
    /// What a package is called, the first one being number 1: `export.zip`, `export-2.zip`, ...
    fn package_name(&self, number: usize) -> String {
        let number = if number > 1 { format!("-{number}") } else { String::new() };
        let encrypted = if self.encrypt_to.is_some() { ".age" } else { "" };
        format!("{EXPORT}{number}.zip{encrypted}")
    }
}

/// What came of packing.
#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    /// Mostly one.
    packages: Vec<Closed>,
    /// How the store encrypts them.
    stored_encrypted: Option<String>,
    sets: Vec<SetSummary>,
}

/// A package that is whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Closed {
    name: String,
    bytes: u64,
    sha256: String,
}

/// What a data set came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SetSummary {
    service: String,
    entity_type: String,
    /// The person's things, files or log entries.
    records: u64,
    /// Others' things that mention the person.
    mentions: u64,
    /// The error for which it is missing.
    error: Option<String>,
    /// What of it is missing, if not all is.
    #[serde(default)]
    ids: Vec<String>,
}

/// The installation's dataset map.
pub(crate) fn dataset(context: &Context<'_>) -> Result<Arc<Dataset>, ActivityError> {
    (context.dataset)().map_err(|problem| ActivityError::new(ErrorName::Internal, problem))
}

#[derive(Deserialize)]
struct Conclusion {
    /// The error, if it comes here by one.
    interrupted: Option<String>,
    /// An erasure; an export unless it is said.
    #[serde(default)]
    erases: bool,
}

/// Completes an export or an erasure; or removes what an export has written. An erasure has nothing to remove: what it has
/// deleted stays deleted.
pub(crate) async fn conclude(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Conclusion { interrupted, erases } = context.input()?;
    match (interrupted, erases) {
        (None, false) => complete::complete(context).await,
        (None, true) => erasure::complete::complete(context).await,
        (Some(_), false) => complete::discard(context).await,
        (Some(_), true) => Ok(json!({ "removed": false })),
    }
}
