//! Things that an execution writes by the data port, each under a key of its own, and their undoing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use contracts::effect::{Effect, sha256_hex};
use contracts::step::{StepItem, StepPath};
use contracts::{ActivityError, ErrorName};
use downstream::{Service, effects};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Context;
use crate::files::lost;

/// What writing a thing is called that has these names.
pub(crate) fn step_of(what: &str, names: &[&str]) -> Result<StepPath, ActivityError> {
    let item = sha256_hex(names.join("\n").as_bytes());
    let item = StepItem::new(item[..32].to_owned()).map_err(|error| lost(&error.to_string()))?;
    Ok(StepPath { name: what.to_owned(), item: Some(item) })
}

/// The key under which a thing is written. A retry of an execution has others, as those of an undone one are refused.
pub(crate) fn key_of(context: &Context<'_>, step: &StepPath) -> String {
    Effect { tenant_id: context.tenant_id(), scope: context.execution_id(), step }.idempotency_key()
}

/// What an execution did to one thing of a tenant.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) service: Service,
    pub(crate) entity_type: String,
    pub(crate) id: String,
    pub(crate) tenant_id: String,
    pub(crate) step: StepPath,
}

/// Undoes what an execution did, in this order; of how much there was something to undo. What somebody else has changed since
/// stays, and is noted in `left`.
///
/// One after the other: things of a type may refer to each other.
pub(crate) async fn undo(
    context: &Context<'_>,
    execution_id: &str,
    all_done: &[Done],
    left: &mut Left,
) -> Result<u64, ActivityError> {
    let mut undone = 0;
    for done in all_done {
        let effect = Effect { tenant_id: context.tenant_id(), scope: execution_id, step: &done.step };
        let (key, own_key) = (effect.idempotency_key(), effect.undo_key());
        match effects::undo(context.downstream, done.service, &done.tenant_id, &key, own_key).await {
            Ok(found) => undone += u64::from(found.undone),
            Err(error) if error.error == ErrorName::Conflict.as_str() => {
                left.add(done.service.as_str(), &done.entity_type, &done.id);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(undone)
}

/// A thing's place in a set of all things: eight bytes for each, as there may be a million.
pub(crate) fn fingerprint(service: &str, entity_type: &str, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (service, entity_type, id).hash(&mut hasher);
    hasher.finish()
}

/// Most things that a result names which somebody else changed.
const MAX_TOLD: usize = 100;
/// Most things of which it is noted.
const MAX_NOTED: usize = 10_000;

/// What somebody else changed meanwhile: it stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Left {
    /// The first ones, as `service/type/id`.
    left: Vec<String>,
    left_count: u64,
    /// The last one: more than one thing may have been done to it.
    #[serde(default)]
    last: Option<String>,
}

impl Left {
    pub(crate) fn add(&mut self, service: &str, entity_type: &str, id: &str) {
        let name = format!("{service}/{entity_type}/{id}");
        if self.last.as_ref() == Some(&name) {
            return;
        }
        self.left_count += 1;
        if self.left.len() < MAX_NOTED {
            self.left.push(name.clone());
        }
        self.last = Some(name);
    }

    pub(crate) fn add_all(&mut self, other: Self) {
        self.left_count += other.left_count;
        let room = MAX_NOTED.saturating_sub(self.left.len());
        self.left.extend(other.left.into_iter().take(room));
        self.last = other.last;
    }

    pub(crate) fn count(&self) -> u64 {
        self.left_count
    }

    /// Those that are noted, as `service/type/id`.
    pub(crate) fn names(&self) -> &[String] {
        &self.left
    }

    pub(crate) fn first(&self) -> Option<&str> {
        self.left.first().map(String::as_str)
    }

    /// The first ones, as a result tells them.
    pub(crate) fn told_first(&self) -> Value {
        json!(self.left[..self.left.len().min(MAX_TOLD)])
    }

    /// As a result tells it.
    pub(crate) fn told(&self) -> Value {
        json!({ "changed_by_others": self.told_first(), "changed_by_others_count": self.left_count })
    }
}
