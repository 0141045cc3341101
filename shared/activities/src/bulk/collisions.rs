//! Entities of a dry run that collide with one before them. A real run finds that out as it does the first of them; the calls of
//! a dry run do nothing, so no call knows what another one would have done.

use std::collections::{HashMap, HashSet};

use contracts::ErrorName;
use contracts::bulk_operation::BulkOperationType;
use serde_json::{Map, Value};

use super::batch::merged;
use super::{Entity, EntityStatus, Outcome, Plan};
use crate::things::fingerprint;

/// What the entities so far would have done, by fingerprints: the input may be large.
pub(super) struct Before<'a> {
    operation: BulkOperationType,
    of_all: &'a Map<String, Value>,
    /// What would have been created, or deleted.
    gone_or_created: HashSet<u64>,
    /// What only one may have, such as an email, and who would have it.
    owners: HashMap<u64, u64>,
}

impl<'a> Before<'a> {
    /// Before the first entity of a dry run; none of a real one.
    pub(super) fn of(plan: &'a Plan) -> Option<Self> {
        let (operation, of_all) = (plan.operation, &plan.data);
        let none = || Self { operation, of_all, gone_or_created: HashSet::new(), owners: HashMap::new() };
        plan.options.dry_run.then(none)
    }

    /// An entity that would have been done by itself fails if it collides with one that would have been done before it: by the id
    /// of what is created, by the email of an account, by the user of a profile, or because the file is deleted by then.
    pub(super) fn check(&mut self, entity: &Entity, outcome: &mut Outcome) {
        if outcome.status != EntityStatus::Succeeded {
            return;
        }
        let Some((code, message)) = self.collision(entity, &merged(self.of_all, &entity.operation_data)) else {
            return;
        };
        outcome.status = EntityStatus::Failed;
        code.as_str().clone_into(&mut outcome.code);
        message.clone_into(&mut outcome.message);
        outcome.data = None;
    }

    fn collision(&mut self, entity: &Entity, data: &Map<String, Value>) -> Option<(ErrorName, &'static str)> {
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
                return is_gone
                    .then_some((ErrorName::NotFound, "the same file is deleted by an entity before this one"));
            }
            _ => return None,
        };
        if creates && !self.gone_or_created.insert(id) {
            return Some((ErrorName::Conflict, "an entity before this one has the same entity_id"));
        }
        let (name, value) = match (service.as_str(), entity_type.as_str()) {
            ("auth", _) => ("email", email.and_then(Value::as_str)?.trim().to_lowercase()),
            // A user has one profile.
            ("user", "profile") if creates => {
                let record = data.get("record").and_then(|record| record.get("user_id"));
                ("user_id", record.or_else(|| data.get("user_id")).and_then(Value::as_str)?.to_owned())
            }
            _ => return None,
        };
        let owner = *self.owners.entry(fingerprint(service, name, &value)).or_insert(id);
        let message = match name {
            "email" => "an entity before this one has the same email",
            _ => "an entity before this one is the profile of the same user",
        };
        (owner != id).then_some((ErrorName::Conflict, message))
    }
}
