//! The dataset map: what each type of things holds of persons, and what becomes of it when they are erased.
//!
//! An export reads this map, and nothing else, to know what is personal. A field that the map does not name never leaves.

mod check;
mod project;
mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use project::{at, first_mention, is_own, mentioned, projected};

/// What a field says of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Who somebody is and how they want things; who asks for it asks for `identity` and `contact`, too.
    Personal,
    /// Names, ids and roles.
    Identity,
    /// How to reach somebody.
    Contact,
    /// What somebody does, and when.
    Usage,
    /// What somebody wrote, or was written.
    Content,
    /// What lets somebody in. It never leaves.
    Credential,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 6] =
        [Self::Personal, Self::Identity, Self::Contact, Self::Usage, Self::Content, Self::Credential];
    /// Those that somebody may ask for.
    pub const ASKED_FOR: [Self; 5] = [Self::Personal, Self::Identity, Self::Contact, Self::Usage, Self::Content];

    /// The name on the wire and in the map.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Identity => "identity",
            Self::Contact => "contact",
            Self::Usage => "usage",
            Self::Content => "content",
            Self::Credential => "credential",
        }
    }

    /// Whether who asks for these categories asks for this one.
    pub fn is_asked_for(self, asked: &[Self]) -> bool {
        let is_part_of_personal = matches!(self, Self::Identity | Self::Contact);
        self != Self::Credential && (asked.contains(&self) || is_part_of_personal && asked.contains(&Self::Personal))
    }
}

/// What becomes of a field when the person is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The whole thing is deleted.
    Delete,
    /// It becomes null.
    Null,
    /// It becomes something that does not lead to the person.
    Pseudonym,
    /// It stays, because a law says so.
    Keep,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 4] = [Self::Delete, Self::Null, Self::Pseudonym, Self::Keep];

    /// The name in the map.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Null => "null",
            Self::Pseudonym => "pseudonym",
            Self::Keep => "keep",
        }
    }
}

/// A field, as the map has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonalField {
    /// What it says of a person.
    pub category: Category,
    /// What becomes of it.
    pub strategy: Strategy,
    /// Why it stays, if it does.
    pub legal_basis: Option<String>,
}

/// A type of things, as the map has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetType {
    /// Whose things they are.
    pub service: String,
    /// The type's name.
    pub entity_type: String,
    /// The field with the id of the person whose thing it is.
    pub subject: Option<String>,
    /// Fields with ids of persons who are only mentioned.
    pub mentions: Vec<String>,
    /// Types, as `service/type`, whose things are erased before.
    pub after: Vec<String>,
    /// For how many days things are kept; until somebody deletes them if there is none.
    pub retention_days: Option<u64>,
    /// What the bytes of a file are.
    pub bytes: Option<Category>,
    /// The fields that say something of a person, by their path: `name`, or `profile_data.name`.
    pub fields: BTreeMap<String, PersonalField>,
}

impl DatasetType {
    /// How `after` names it.
    pub fn name(&self) -> String {
        format!("{}/{}", self.service, self.entity_type)
    }

    /// Whether something of it belongs to these categories.
    pub fn has(&self, asked: &[Category]) -> bool {
        self.fields.values().any(|field| field.category.is_asked_for(asked)) || self.has_bytes(asked)
    }

    /// Whether the bytes of its files belong to these categories.
    pub fn has_bytes(&self, asked: &[Category]) -> bool {
        self.bytes.is_some_and(|category| category.is_asked_for(asked))
    }
}

/// The type that an erasure ends with: who somebody is.
pub const ACCOUNT: &str = "auth/account";
/// The type that an erasure begins with: nobody acts as the person any more.
pub const SESSION: &str = "auth/session";

/// The map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The types, by service and name.
    pub types: Vec<DatasetType>,
    /// Types, as `service/type`, whose things say nothing of persons.
    #[serde(default)]
    pub nothing_personal: BTreeSet<String>,
}

impl Dataset {
    /// Of these types of a service those that the map does not know: what is personal in them, nobody has said.
    pub fn unknown<'n>(&self, service: &str, types: impl IntoIterator<Item = &'n str>) -> Vec<String> {
        let names = types.into_iter().map(|name| format!("{service}/{name}"));
        let is_known = |name: &String| self.types.iter().any(|of| of.name() == *name);
        names.filter(|name| !is_known(name) && !self.nothing_personal.contains(name)).collect()
    }
}
