//! Entities of a dry run that collide with one before them. A real run finds that out as it does the first of them; the calls of
//! a dry run do nothing, so no call knows what another one would have done.

use std::collections::{HashMap, HashSet};

use contracts::bulk_operation::BulkOperationType;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value};

use super::Entity;
use super::batch::merged;
use super::plan::Entities;
use crate::things::fingerprint;

/// The entities, each with its problem if it collides with one before it: by the id of what is created, by the email of an
/// account, or because the file is deleted by then.
pub(super) fn tell(entities: Entities<'_>, operation: BulkOperationType, of_all: Map<String, Value>) -> Entities<'_> {
    let mut before = Before { operation, gone_or_created: HashSet::new(), emails: HashMap::new() };
    let told = entities.map_ok(move |mut entity| {
        if entity.problem.is_none() {
            entity.problem = before.collision(&entity, &merged(&of_all, &entity.operation_data)).map(str::to_owned);
        }
        entity
    });
    told.boxed()
}

/// What the entities so far would have done, by fingerprints: the input may be large.
struct Before {
    operation: BulkOperationType,
    /// What would have been created, or deleted.
    gone_or_created: HashSet<u64>,
    /// Emails, and who would have them.
    emails: HashMap<u64, u64>,
}

impl Before {
    /// What is wrong with an entity after those before it.
    fn collision(&mut self, entity: &Entity, data: &Map<String, Value>) -> Option<&'static str> {
        let Entity { service, entity_type, entity_id, .. } = entity;
        let id = fingerprint(service, entity_type, entity_id);
        let text = |name: &str| data.get(name).and_then(Value::as_str);
        let (creates, email) = match self.operation {
            BulkOperationType::UserCreation => (true, data.get("email")),
            BulkOperationType::UserUpdate => (false, data.get("email")),
            BulkOperationType::DataImport => {
                let is_refused = text("on_conflict").unwrap_or("fail") == "fail";
                (is_refused, data.get("record").and_then(|record| record.get("email")))
            }
            BulkOperationType::FileProcessing => {
                let is_gone = self.gone_or_created.contains(&id);
                if text("action") == Some("delete") {
                    self.gone_or_created.insert(id);
                }
                return is_gone.then_some("the same file is deleted in the input before");
            }
            _ => return None,
        };
        if creates && !self.gone_or_created.insert(id) {
            return Some("the same entity_id is in the input before");
        }
        let email = email.and_then(Value::as_str).filter(|_| service == "auth")?;
        let owner = *self.emails.entry(fingerprint(service, "email", &email.trim().to_lowercase())).or_insert(id);
        (owner != id).then_some("the same email is in the input before")
    }
}
