//! Restores: what their activities have in common.
//!
//! The plan checks the manifest's signature and every byte of every part before anything is written. A step for each part
//! writes its things by the data port, each under a key of its own. The completion reads them back. If anything fails, or
//! somebody cancels, every key is undone: services put back what was there before. A drill writes into a tenant that nobody
//! has, and ends with undoing.

pub(crate) mod complete;
pub(crate) mod drill;
pub(crate) mod plan;
pub(crate) mod undo;
mod upload;
pub(crate) mod verify;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet};

use contracts::backup::RestoreConflict;
use contracts::effect::sha256_hex;
use contracts::step::StepPath;
use contracts::{ActivityError, ErrorName, Timestamp};
use downstream::Service;
use downstream::data::Thing;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};
use vault::{PartEntry, WrappedKey};

use crate::Context;
use crate::backup::{FILE_CONTENT, Vault};
use crate::files::{Files, lost};
use crate::things;

/// What a restore works with. Other jobs make one within their own execution.
fn files<'a>(context: &Context<'a>) -> Files<'a> {
    context.files().for_job(FILES)
}

/// What the names of its files begin with.
pub(crate) const FILES: &str = "restore-";

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
    /// What of it; everything if there is none.
    #[serde(default)]
    selected: Option<Vec<Selected>>,
    /// Things of persons who have been erased since, by their [`mark_of`]: they stay away.
    #[serde(default)]
    erased: BTreeSet<String>,
}

/// What stands for a thing whose id must not be kept.
pub(crate) fn mark_of(service: &str, entity_type: &str, id: &str) -> String {
    sha256_hex([service, entity_type, id].join("\n").as_bytes())
}

/// Some of the things of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Selected {
    pub(crate) service: String,
    pub(crate) entity_type: String,
    /// Only things with these values, by the paths of fields.
    pub(crate) filters: BTreeMap<String, String>,
}

impl Selected {
    fn is_of(&self, service: &str, entity_type: &str) -> bool {
        let is_content = entity_type == FILE_CONTENT && self.entity_type == "file";
        self.service == service && (self.entity_type == entity_type || is_content)
    }

    fn fits(&self, data: &Value) -> bool {
        let has = |(path, wanted): (&String, &String)| match at(data, path) {
            Value::String(text) => text == wanted,
            Value::Bool(flag) => wanted.parse() == Ok(*flag),
            Value::Number(number) => wanted.parse::<Number>().is_ok_and(|wanted| wanted == *number),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        self.filters.iter().all(has)
    }
}

/// A value by its path, like `profile_data.name`; null if there is none.
pub(crate) fn at<'a>(data: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(data, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// Of these, those that are meant, if not all are.
fn selected_of<'s>(selected: Option<&'s [Selected]>, service: &str, entity_type: &str) -> Option<&'s Selected> {
    selected.into_iter().flatten().find(|of| of.is_of(service, entity_type))
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

    /// Whether only some things of a part are meant.
    fn is_filtered(&self, part: &PartEntry) -> bool {
        let selected = selected_of(self.selected.as_deref(), &part.service, &part.entity_type);
        !self.erased.is_empty() || selected.is_some_and(|selected| !selected.filters.is_empty())
    }

    /// A thing of a part, as it is to be in the target: there the tenant itself has another id. None if it is not meant.
    fn thing(&self, part: &PartEntry, line: &[u8]) -> Result<Option<Thing>, ActivityError> {
        let mut thing: Thing = serde_json::from_slice(line).map_err(|_| lost("a line of a backup"))?;
        let selected = selected_of(self.selected.as_deref(), &part.service, &part.entity_type);
        if selected.is_some_and(|selected| !selected.fits(&thing.data)) {
            return Ok(None);
        }
        if !self.erased.is_empty() && self.erased.contains(&mark_of(&part.service, &part.entity_type, &thing.id)) {
            return Ok(None);
        }
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
        Ok(Some(thing))
    }
}

fn is_tenant(service: &str, entity_type: &str) -> bool {
    service == Service::Tenant.as_str() && entity_type == "tenant"
}

/// How far a part is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PartState {
    /// Lines that are done.
    lines: u64,
    pub(crate) counts: Counts,
    /// Files that were there and stay as they are: their bytes stay too.
    kept_files: Vec<String>,
    /// What the service has not taken since this was noted.
    #[serde(skip)]
    refused: Vec<Refused>,
    /// Why it cannot go on.
    pub(crate) failure: Option<PartFailure>,
}

/// A thing, or the bytes of a file, that a service does not take.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) id: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refused {
    fn failure(self, part: &PartEntry) -> PartFailure {
        let (Self { id, code, message }, PartEntry { service, entity_type, .. }) = (self, part);
        let error = if code == ErrorName::Conflict.as_str() { ErrorName::Conflict } else { ErrorName::ServiceRejected };
        let message = format!("{service}: the {entity_type} {id}: {code}: {message}");
        PartFailure { id: Some(id), error: error.to_string(), message }
    }
}

/// What became of things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) created: u64,
    pub(crate) replaced: u64,
    pub(crate) skipped: u64,
}

/// What could not be restored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PartFailure {
    /// The thing, if it is about one.
    #[serde(default)]
    pub(crate) id: Option<String>,
    pub(crate) error: String,
    pub(crate) message: String,
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
