//! What becomes of a thing.

use std::collections::BTreeMap;

use contracts::effect::sha256_hex;
use contracts::{ActivityError, ErrorName};
use downstream::data::Thing;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::target::is_tenant;
use super::transform::{NotTransformed, Steps};
use crate::restore::at;

/// What becomes of the things of a set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Change {
    /// Others' copies become what it says.
    Copied {
        /// The field of a copy that holds its id, which is the original's.
        id_field: String,
        /// Each field of a copy with the path to the original's.
        fields: BTreeMap<String, String>,
    },
    /// It gets another id, and so does whatever it refers to.
    Renamed {
        /// The field that holds its id.
        id_field: String,
        names: Names,
    },
    /// It becomes what these transformations make of it, one after the other.
    Transformed {
        /// JSONata. It is kept in the plan: all batches use the same, whatever is deployed meanwhile.
        transformations: Vec<String>,
    },
    /// It is deleted.
    Removed,
}

/// A thing as it is to be in the target.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moved {
    pub(super) id: String,
    pub(super) data: Value,
    /// The version that the thing of the target must have, if it must have one.
    pub(super) if_version: Option<u64>,
}

/// A change, ready to be used.
pub(super) struct Ready<'a> {
    change: &'a Change,
    transformations: Steps,
}

/// How ids of one tenant become ids of another one: always in the same way, so that a migration that is repeated copies
/// nothing twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) source: String,
    pub(super) target: String,
    /// For each `service/type` the type whose ids it has: a membership has that of its account, a copy that of its original.
    pub(super) ids_of: BTreeMap<String, String>,
}

impl Names {
    /// The id of a thing of this type in the target.
    pub(super) fn renamed(&self, service: &str, entity_type: &str, id: &str) -> String {
        if is_tenant(service, entity_type) && id == self.source {
            return self.target.clone();
        }
        let own = format!("{service}/{entity_type}");
        let of = self.ids_of.get(&own).unwrap_or(&own);
        let digest = sha256_hex(format!("{}\n{}\n{of}\n{id}", self.source, self.target).as_bytes());
        // As a UUID of version 8 is written, which services take for an id.
        format!("{}-{}-8{}-a{}-{}", &digest[..8], &digest[8..12], &digest[12..15], &digest[15..18], &digest[18..30])
    }
}

impl Change {
    pub(super) fn ready(&self) -> Result<Ready<'_>, ActivityError> {
        let transformations: &[String] = match self {
            Self::Transformed { transformations } => transformations,
            Self::Copied { .. } | Self::Renamed { .. } | Self::Removed => &[],
        };
        let compiled = Steps::compile(transformations);
        let transformations = compiled.map_err(|message| ActivityError::new(ErrorName::Internal, message))?;
        Ok(Ready { change: self, transformations })
    }
}

impl Ready<'_> {
    /// What becomes of a thing of this type.
    pub(super) fn of(&self, service: &str, entity_type: &str, thing: &Thing) -> Result<Moved, NotTransformed> {
        Ok(match self.change {
            Change::Copied { id_field, fields } => {
                let mut copy = Map::from_iter([(id_field.clone(), Value::from(thing.id.as_str()))]);
                for (field, path) in fields {
                    copy.insert(field.clone(), at(&thing.data, path).clone());
                }
                Moved { id: thing.id.clone(), data: copy.into(), if_version: None }
            }
            Change::Renamed { id_field, names } => {
                let id = names.renamed(service, entity_type, &thing.id);
                let mut data = thing.data.clone();
                for reference in &thing.references {
                    let renamed = names.renamed(&reference.service, &reference.entity_type, &reference.id);
                    data[&reference.field] = renamed.into();
                }
                data[id_field] = id.as_str().into();
                Moved { id, data, if_version: None }
            }
            Change::Transformed { .. } => {
                let data = self.transformations.of(&thing.data)?;
                Moved { id: thing.id.clone(), data, if_version: thing.version }
            }
            Change::Removed => Moved { id: thing.id.clone(), data: Value::Null, if_version: thing.version },
        })
    }
}

#[cfg(test)]
mod tests {
    use downstream::data::Reference;
    use serde_json::json;

    use super::*;

    fn moved(change: &Change, entity_type: &str, thing: &Thing) -> Moved {
        change.ready().expect("it is ready").of("user", entity_type, thing).expect("it can be changed")
    }

    #[test]
    fn a_copy_has_the_originals_id_and_values() {
        let fields = [("name", "profile_data.name"), ("user_id", "user_id"), ("email", "profile_data.mail.first")];
        let fields = fields.map(|(field, path)| (field.to_owned(), path.to_owned())).into();
        let change = Change::Copied { id_field: "profile_id".to_owned(), fields };
        let data = json!({ "user_id": "u", "profile_data": { "name": "N" }, "preferences": {} });
        let moved =
            moved(&change, "profile", &Thing { id: "p".to_owned(), version: None, data, references: Vec::new() });
        assert_eq!(moved.id, "p");
        assert_eq!(moved.data, json!({ "profile_id": "p", "user_id": "u", "name": "N", "email": null }));
    }

    #[test]
    fn a_renamed_thing_refers_to_renamed_things() {
        let names = Names {
            source: "tenant-a".to_owned(),
            target: "tenant-b".to_owned(),
            ids_of: [("user/membership".to_owned(), "auth/account".to_owned())].into(),
        };
        let account = names.renamed("auth", "account", "user-1");
        assert_eq!(account.len(), 36);
        assert_eq!(account, names.renamed("auth", "account", "user-1"), "always the same");
        assert_ne!(account, names.renamed("user", "profile", "user-1"), "ids are by type");
        assert_eq!(names.renamed("tenant", "tenant", "tenant-a"), "tenant-b");
        let change = Change::Renamed { id_field: "user_id".to_owned(), names };
        let reference = |field: &str, service: &str, entity_type: &str, id: &str| Reference {
            field: field.to_owned(),
            service: service.to_owned(),
            entity_type: entity_type.to_owned(),
            id: id.to_owned(),
        };
        let references =
            vec![reference("user_id", "auth", "account", "user-1"), reference("of", "tenant", "tenant", "tenant-a")];
        let data = json!({ "user_id": "user-1", "of": "tenant-a", "role": "user" });
        let moved = moved(&change, "membership", &Thing { id: "user-1".to_owned(), version: None, data, references });
        assert_eq!(moved.id, account, "a membership has its account's id");
        assert_eq!(moved.data, json!({ "user_id": account, "of": "tenant-b", "role": "user" }));
    }
}
