//! One operation on many entities of a service; the same on every service.

use contracts::{ActivityError, ErrorName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::failure;
use crate::{Call, Downstream, Service};

/// An entity, and what the operation needs of it.
#[derive(Debug, Clone, Serialize)]
pub struct Item<'a> {
    /// E.g. `account`.
    pub entity_type: &'a str,
    /// Its id.
    pub entity_id: &'a str,
    /// What makes the operation on this entity idempotent, and by which it is undone.
    pub key: String,
    /// What the operation needs.
    pub data: &'a Map<String, Value>,
}

/// What came of one entity.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ItemResult {
    /// The item's.
    pub key: String,
    /// The item's.
    pub entity_id: String,
    /// Whether it was done.
    pub status: ItemStatus,
    /// What was done, e.g. `created`, in the contract's words.
    #[serde(default)]
    pub outcome: Option<String>,
    /// Why it was not done, in a word of the contract.
    #[serde(default)]
    pub code: Option<String>,
    /// The same in a sentence, which holds nothing personal.
    #[serde(default)]
    pub message: Option<String>,
    /// Whether it may be done later.
    #[serde(default)]
    pub retryable: bool,
    /// What the operation answers, if anything.
    #[serde(default)]
    pub data: Option<Value>,
}

/// Whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It was, now or before under the same key.
    Succeeded,
    /// It was not.
    Failed,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<ItemResult>,
}

/// Does the operation to these entities, each under its own key; with `dry_run` it only tells what would come of them. The
/// results are in the order of the items.
///
/// # Errors
/// Nothing is known of any of them.
pub async fn operate(
    downstream: &Downstream,
    service: Service,
    operation: &str,
    tenant_id: &str,
    items: &[Item<'_>],
    dry_run: bool,
) -> Result<Vec<ItemResult>, ActivityError> {
    let call = Call::post_each(service, &["operations", operation], tenant_id);
    let call = if dry_run { call.with_query("dry_run=true") } else { call };
    let answer: Answer = downstream.call(call.with_body(json!({ "items": items }))).await?;
    let is_same =
        |(item, result): (&Item<'_>, &ItemResult)| item.key == result.key && item.entity_id == result.entity_id;
    if answer.results.len() == items.len() && items.iter().zip(&answer.results).all(is_same) {
        return Ok(answer.results);
    }
    Err(failure(service, ErrorName::IntegrityViolation, "answered for other entities than it was asked about"))
}
