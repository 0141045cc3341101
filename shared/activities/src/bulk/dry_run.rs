//! What a real run would make of the entities of a dry run.
//!
//! A call of a dry run is taken back, so no other call knows what it would have done. Entities that collide with one of another
//! call are found here, and so is where a real run would stop.

use std::collections::{HashMap, HashSet};

use contracts::ErrorName;
use contracts::bulk_operation::BulkOperationType;
use serde_json::{Map, Value};

use super::batch::{MAX_CALL_ENTITIES, merged};
use super::{Entity, EntityStatus, Outcome, Plan};
use crate::things::fingerprint;

/// How many batches of a real run a dry run asks about in one call: the entities of a call know of one another.
pub(super) fn batches_in_a_call(batch_size: u64) -> u64 {
    (MAX_CALL_ENTITIES as u64 / batch_size.max(1)).max(1)
}

/// What a service says of an entity that is as it should be.
const UNCHANGED: &str = "unchanged";

/// The entities so far, by fingerprints: the input may be large.
pub(super) struct DryRun<'a> {
    plan: &'a Plan,
    /// What would have been created, or deleted.
    gone_or_created: HashSet<u64>,
    /// What only one may have, such as an email, and who would have it.
    owners: HashMap<u64, u64>,
    /// What each of them would have, if it may have had another one before.
    owned: HashMap<u64, u64>,
    entities: u64,
    failed: u64,
    /// How many batches a real run would still do: those that are under way when too many entities have failed.
    under_way: Option<u64>,
    is_stopped: bool,
    /// Batches that a real run would do.
    pub(super) batches: u64,
}

impl<'a> DryRun<'a> {
    /// Before the first entity of a dry run; none of a real one.
    pub(super) fn of(plan: &'a Plan) -> Option<Self> {
        plan.options.dry_run.then(|| Self {
            plan,
            gone_or_created: HashSet::new(),
            owners: HashMap::new(),
            owned: HashMap::new(),
            entities: 0,
            failed: 0,
            under_way: None,
            is_stopped: false,
            batches: 0,
        })
    }

    /// Corrects what the services said of the next entity.
    pub(super) fn check(&mut self, entity: &Entity, outcome: &mut Outcome) {
        if self.entities.is_multiple_of(self.plan.batch_size) {
            self.begin_batch(outcome);
        }
        self.entities += 1;
        if self.is_stopped && entity.problem.is_none() {
            *outcome = Outcome::unprocessed(entity.index);
        }
        // What stays as it is takes nothing.
        if outcome.status == EntityStatus::Succeeded
            && outcome.code != UNCHANGED
            && let Some((code, message)) = self.collision(entity, &merged(&self.plan.data, &entity.operation_data))
        {
            outcome.status = EntityStatus::Failed;
            code.as_str().clone_into(&mut outcome.code);
            message.clone_into(&mut outcome.message);
            outcome.data = None;
        }
        if outcome.status == EntityStatus::Failed {
            self.failed += 1;
        }
        let stops_at = self.plan.options.stops_at(self.plan.total);
        if self.under_way.is_none() && stops_at.is_some_and(|stops_at| self.failed >= stops_at) {
            self.under_way = Some(self.plan.options.parallel_batches - 1);
        }
    }

    fn begin_batch(&mut self, first: &Outcome) {
        match &mut self.under_way {
            Some(0) => self.is_stopped = true,
            Some(left) => *left -= 1,
            None => {}
        }
        // The dry run itself may have been cancelled before it.
        self.batches += u64::from(!self.is_stopped && first.status != EntityStatus::Unprocessed);
    }

    /// How an entity collides with one that would have been done before it: by the id of what is created, by the email of an
    /// account, by the user of a profile, or because the file is deleted by then.
    fn collision(&mut self, entity: &Entity, data: &Map<String, Value>) -> Option<(ErrorName, &'static str)> {
        let Entity { service, entity_type, entity_id, .. } = entity;
        let id = fingerprint(service, entity_type, entity_id);
        let text = |name: &str| data.get(name).and_then(Value::as_str);
        let (creates, email) = match self.plan.operation {
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
        if creates && self.gone_or_created.contains(&id) {
            return Some((ErrorName::Conflict, "an entity before this one has the same entity_id"));
        }
        let owned = match (service.as_str(), entity_type.as_str()) {
            ("auth", _) => email.and_then(Value::as_str).map(|email| ("email", email.trim().to_lowercase())),
            // A user has one profile.
            ("user", "profile") if creates => {
                let record = data.get("record").and_then(|record| record.get("user_id"));
                let user_id = record.or_else(|| data.get("user_id")).and_then(Value::as_str);
                user_id.map(|user_id| ("user_id", user_id.to_owned()))
            }
            _ => None,
        };
        if let Some((name, value)) = owned {
            let value = fingerprint(service, name, &value);
            if self.owners.get(&value).is_some_and(|owner| *owner != id) {
                let message = match name {
                    "email" => "an entity before this one has the same email",
                    _ => "an entity before this one is the profile of the same user",
                };
                return Some((ErrorName::Conflict, message));
            }
            // Who gets another email no longer has the one before.
            if !creates && let Some(given_up) = self.owned.insert(id, value) {
                self.owners.remove(&given_up);
            }
            self.owners.insert(value, id);
        }
        if creates {
            self.gone_or_created.insert(id);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use contracts::bulk_operation::BatchOptions;
    use serde_json::json;

    use super::*;

    /// What becomes of entities of which the services said that each could be done by itself: they were in different calls.
    fn checked(operation: BulkOperationType, entities: &[(&str, &str, &str, Value)]) -> Vec<EntityStatus> {
        let plan = Plan {
            operation_id: "o".to_owned(),
            operation,
            data: Map::new(),
            options: BatchOptions { dry_run: true, ..BatchOptions::default() },
            effect_scope: "e".to_owned(),
            total: entities.len() as u64,
            batches: 1,
            batch_size: 100,
            fence: None,
            upload_id: None,
        };
        let mut dry_run = DryRun::of(&plan).expect("it is a dry run");
        let check = |(index, (service, entity_type, id, data)): (u64, &(&str, &str, &str, Value))| {
            let entity = Entity {
                index,
                service: (*service).to_owned(),
                entity_type: (*entity_type).to_owned(),
                entity_id: (*id).to_owned(),
                operation_data: data.as_object().cloned().expect("an object"),
                problem: None,
                row: String::new(),
            };
            let (status, code, message) = (EntityStatus::Succeeded, "created".to_owned(), String::new());
            let mut outcome = Outcome { index, status, code, message, attempts: 1, data: None };
            dry_run.check(&entity, &mut outcome);
            outcome.status
        };
        (0..).zip(entities).map(check).collect()
    }

    use EntityStatus::{Failed, Succeeded};

    fn account(id: &'static str, email: &str) -> (&'static str, &'static str, &'static str, Value) {
        ("auth", "account", id, json!({ "email": email }))
    }

    #[test]
    fn entities_of_different_calls_collide() {
        let created =
            [account("a", "one@x.y"), account("a", "two@x.y"), account("b", " ONE@x.y"), account("c", "two@x.y")];
        assert_eq!(checked(BulkOperationType::UserCreation, &created), [Succeeded, Failed, Failed, Succeeded]);
        // What fails itself is in nobody's way.
        let created =
            [account("a", "one@x.y"), account("b", "one@x.y"), account("b", "two@x.y"), account("a", "three@x.y")];
        assert_eq!(checked(BulkOperationType::UserCreation, &created), [Succeeded, Failed, Succeeded, Failed]);
        let profile = |id: &'static str, user: &str| ("user", "profile", id, json!({ "user_id": user }));
        let created = [profile("p", "u"), profile("q", "u"), profile("r", "v")];
        assert_eq!(checked(BulkOperationType::UserCreation, &created), [Succeeded, Failed, Succeeded]);
        let file = |action: &str| ("file", "file", "f", json!({ "action": action }));
        let files = [file("rename"), file("delete"), file("rename")];
        assert_eq!(checked(BulkOperationType::FileProcessing, &files), [Succeeded, Succeeded, Failed]);
    }

    #[test]
    fn an_address_that_was_given_up_is_free() {
        let updated =
            [account("a", "one@x.y"), account("a", "two@x.y"), account("b", "one@x.y"), account("c", "two@x.y")];
        assert_eq!(checked(BulkOperationType::UserUpdate, &updated), [Succeeded, Succeeded, Succeeded, Failed]);
    }
}
