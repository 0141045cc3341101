//! Makes what a thing says of a person unreadable.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::entity::Kind;
use super::exchange::Condition;
use super::request::hex;
use super::{EntityType, Fields, Item, ItemDone, Member, Operation, Problem, Row, Shape, Tx};

const STRATEGIES: [&str; 4] = ["redact", "hash", "pseudonym", "null"];
const REDACTED: &str = "[redacted]";

/// Masks fields, each in its way.
pub(super) struct Mask {
    fields: Row,
    condition: Condition,
}

/// Why a field cannot be masked in this way.
pub(super) fn error(entity: &EntityType, path: &str, strategy: &Value) -> Option<String> {
    let Some(strategy) = strategy.as_str().filter(|strategy| STRATEGIES.contains(strategy)) else {
        return Some(format!("must be one of {}", STRATEGIES.join(", ")));
    };
    let (name, entry) = split(path);
    let field = entity.fields.iter().find(|field| field.name == name && name != entity.id_field);
    let is_possible = match (field.map(|field| &field.kind), entry) {
        (Some(Kind::TextMap), _) | (Some(Kind::NullableText), None) => true,
        (Some(Kind::Text | Kind::UniqueText | Kind::Id), None) => strategy != "null",
        _ => false,
    };
    (!is_possible).then(|| "is no field that can be masked so".to_owned())
}

impl Operation for Mask {
    const NAME: &'static str = "mask";
    const ABOUT: &'static str = "Makes fields unreadable.";
    const TAKES: &'static [Member] = &[
        Member::required("fields", Shape::AnyObject, ""),
        Member::optional("if_version", Shape::Count, "the version that the thing must have"),
        Member::optional("before_images", Shape::Flag, ""),
    ];

    fn read(data: &mut Fields<'_>) -> Self {
        Self { fields: data.object("fields"), condition: Condition::read(data) }
    }

    async fn apply(self, item: &Item, tx: &mut Tx<'_>) -> Result<ItemDone, Problem> {
        let before = item.entity.get(tx, &item.id).await?;
        item.entity.check_version(tx, &item.id, self.condition.if_version).await?;
        let mut row = before.clone();
        for (path, strategy) in &self.fields {
            let (name, entry) = split(path);
            let is_unique = item.entity.fields.iter().any(|field| field.name == name && field.kind.is_unique());
            let mask = Way {
                strategy: strategy.as_str().unwrap_or_default(),
                tenant_id: &tx.call.tenant_id,
                pseudonym: format!("erased-{}", tx.new_id()),
            };
            let Some(value) = row.get_mut(name) else { continue };
            match (value, entry) {
                (Value::Object(entries), entry) => {
                    for (known, value) in entries.iter_mut() {
                        if entry.is_none_or(|entry| entry == known) {
                            mask.apply(value, is_contact(item.entity, &format!("{name}.{known}")));
                        }
                    }
                    // The entries of such an object are strings; one without a value is none.
                    entries.retain(|_, value| !value.is_null());
                }
                (value, _) => {
                    mask.apply(value, is_contact(item.entity, name));
                    if is_unique && value == REDACTED {
                        *value = format!("{REDACTED} {}", item.id).into();
                    }
                }
            }
        }
        let done = item.put_changed(tx, &before, row).await?;
        Ok(self.condition.with_before(done, item.entity.record(before)))
    }
}

fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('.').map_or((path, None), |(name, entry)| (name, Some(entry)))
}

/// Whether a field says how to reach the person: what stands there must look like an address.
fn is_contact(entity: &EntityType, path: &str) -> bool {
    entity.personal.iter().any(|(personal, category)| *personal == path && *category == "contact")
}

/// How a value becomes unreadable.
struct Way<'w> {
    strategy: &'w str,
    tenant_id: &'w str,
    /// Nobody else's.
    pseudonym: String,
}

impl Way<'_> {
    fn apply(&self, value: &mut Value, is_contact: bool) {
        let Some(text) = value.as_str() else { return };
        *value = match self.strategy {
            "redact" => REDACTED.into(),
            // It keeps the rules of the field, and leads to nobody.
            "pseudonym" if is_contact => format!("{}@erased.invalid", self.pseudonym).into(),
            "pseudonym" => self.pseudonym.clone().into(),
            // The same value is still the same one everywhere in the tenant, and nowhere else.
            "hash" => hex(&Sha256::digest(format!("{}\n{text}", self.tenant_id).as_bytes())).into(),
            _ => Value::Null,
        };
    }
}
