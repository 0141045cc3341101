//! Things that an execution writes by the data port, each under a key of its own, and their undoing.

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
    effect_of(context, step).idempotency_key()
}

fn effect_of<'a>(context: &Context<'a>, step: &'a StepPath) -> Effect<'a> {
    Effect { tenant_id: context.tenant_id(), scope: context.execution_id(), step }
}

/// Undoes what was done to one thing of a tenant; false if somebody else has changed it since, so that it stays.
pub(crate) async fn undo(
    context: &Context<'_>,
    service: Service,
    tenant_id: &str,
    step: &StepPath,
) -> Result<bool, ActivityError> {
    let effect = effect_of(context, step);
    let (key, own_key) = (effect.idempotency_key(), effect.undo_key());
    match effects::undo(context.downstream, service, tenant_id, &key, own_key).await {
        Ok(_) => Ok(true),
        Err(error) if error.error == ErrorName::Conflict.as_str() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Most things that a result names which somebody else changed.
const MAX_TOLD: usize = 100;

/// What somebody else changed meanwhile: it stays as it is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Left {
    /// The first ones.
    left: Vec<String>,
    left_count: u64,
}

impl Left {
    pub(crate) fn add(&mut self, service: &str, entity_type: &str, id: &str) {
        self.left_count += 1;
        if self.left.len() < MAX_TOLD {
            self.left.push(format!("{service}/{entity_type}/{id}"));
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.left_count
    }

    pub(crate) fn first(&self) -> Option<&str> {
        self.left.first().map(String::as_str)
    }

    /// As a result tells it.
    pub(crate) fn told(&self) -> Value {
        json!({ "changed_by_others": self.left, "changed_by_others_count": self.left_count })
    }
}
