//! Legal holds: data that must not be erased, because a court or a law needs it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dataset::{Category, Dataset, DatasetType};
use crate::fields::Fields;
use crate::ids::{SUBJECT, UnknownName, is_subject};
use crate::limits::{MAX_REASON_CHARS, MAX_SUBJECT_CHARS, MAX_TENANT_CHARS};

/// Data that must not be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What it is called; a tenant has one of each name.
    pub hold_id: String,
    /// Whose data.
    pub tenant_id: String,
    /// Which data.
    #[serde(flatten)]
    pub scope: HoldScope,
    /// Why, for people.
    pub reason: String,
    /// It holds before this moment; until somebody releases it if there is none.
    pub until: Option<Timestamp>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// By whom, where that is known.
    pub placed_by: Option<String>,
    /// How it was released, if it was.
    pub released: Option<Release>,
}

/// Which data a hold is about. In JSON its members stand among those of the hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HoldScope {
    /// What is kept of one person.
    Subject {
        /// The person.
        subject_user_id: String,
        /// Only data of these categories; of every category if there is none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        data_categories: Vec<Category>,
    },
    /// One thing.
    Record {
        /// The thing.
        record: HeldRecord,
    },
    /// Data of these categories, whoever it is about.
    Categories {
        /// The categories; at least one.
        data_categories: Vec<Category>,
    },
}

/// One thing of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecord {
    /// The service, in the contract's name.
    pub service: String,
    /// The type of the thing.
    pub entity_type: String,
    /// The thing.
    pub entity_id: String,
}

/// The end of a hold by somebody who says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When.
    pub at: Timestamp,
    /// By whom, where that is known.
    pub by: Option<String>,
    /// Why, for people.
    pub reason: String,
}

/// Whether a hold holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// It holds.
    Active,
    /// Somebody has released it.
    Released,
    /// Its time was up before anybody released it.
    Expired,
}

impl HoldState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Active, Self::Released, Self::Expired];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for HoldState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HoldState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

/// Longest id of a thing.
const MAX_ENTITY_ID_CHARS: usize = 256;

impl Hold {
    /// Whether it holds at this moment.
    pub fn state(&self, now: Timestamp) -> HoldState {
        match (&self.released, self.until) {
            (Some(_), _) => HoldState::Released,
            (None, Some(until)) if until <= now => HoldState::Expired,
            (None, _) => HoldState::Active,
        }
    }

    /// Whether data is among what it is about: what a thing, `entity_id` of `service/entity_type`, says of a person in a
    /// category. Whether the hold holds now is another question: see [`Hold::state`].
    pub fn covers(&self, subject: &str, service: &str, entity_type: &str, entity_id: &str, category: Category) -> bool {
        match &self.scope {
            HoldScope::Subject { subject_user_id, data_categories } => {
                subject_user_id == subject && (data_categories.is_empty() || includes(data_categories, category))
            }
            HoldScope::Categories { data_categories } => includes(data_categories, category),
            HoldScope::Record { record } => {
                record.service == service && record.entity_type == entity_type && record.entity_id == entity_id
            }
        }
    }

    /// Whether some data may be among what both are about. The map says what a type of things holds of persons; whose a
    /// thing is is not known here, so the hold of a thing that may be a person's overlaps the hold of any person.
    pub fn overlaps(&self, other: &Self, dataset: &Dataset) -> bool {
        use HoldScope::{Categories, Record, Subject};
        let of_record = |record: &HeldRecord| {
            dataset.types.iter().find(|of| of.service == record.service && of.entity_type == record.entity_type)
        };
        match (&self.scope, &other.scope) {
            (
                Subject { subject_user_id, data_categories },
                Subject { subject_user_id: other_subject, data_categories: others },
            ) => subject_user_id == other_subject && meet(data_categories, others),
            (
                Subject { data_categories, .. } | Categories { data_categories },
                Subject { data_categories: others, .. } | Categories { data_categories: others },
            ) => meet(data_categories, others),
            (Record { record }, Record { record: other }) => record == other,
            (Record { record }, Subject { data_categories, .. } | Categories { data_categories })
            | (Subject { data_categories, .. } | Categories { data_categories }, Record { record }) => {
                of_record(record).is_some_and(|of| may_hold(of, data_categories))
            }
        }
    }
}

/// Whether these categories mean this one, too: `personal` means `identity` and `contact` as well.
fn includes(categories: &[Category], category: Category) -> bool {
    categories.contains(&category) || category.is_asked_for(categories)
}

/// Whether two choices of categories, each of which means all if it is empty, have one in common.
fn meet(one: &[Category], other: &[Category]) -> bool {
    let all = one.is_empty() || other.is_empty();
    all || Category::ALL.into_iter().any(|category| includes(one, category) && includes(other, category))
}

/// Whether things of a type have something of these categories; of any if there is none.
fn may_hold(of: &DatasetType, categories: &[Category]) -> bool {
    let mut held = of.fields.values().map(|field| field.category).chain(of.bytes);
    held.any(|category| categories.is_empty() || includes(categories, category))
}

/// The wish to place a hold, as a body has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewHold {
    /// What it is called.
    pub hold_id: String,
    /// Which data.
    #[serde(flatten)]
    pub scope: HoldScope,
    /// Why.
    pub reason: String,
    /// Before which moment; until it is released if there is none.
    pub until: Option<Timestamp>,
}

impl NewHold {
    /// Reads it. A bad field is reported to `fields`, and the value returned is then of no use. Types of things are those of
    /// the map, and a hold ends after `now`.
    pub fn read(fields: &mut Fields<'_>, dataset: &Dataset, now: Timestamp) -> Self {
        fields.only(&["hold_id", "subject_user_id", "data_categories", "record", "reason", "until"]);
        let hold_id = fields.plain_id("hold_id", MAX_TENANT_CHARS);
        let scope = HoldScope::read(fields, dataset);
        let reason = fields.remark("reason", MAX_REASON_CHARS);
        let until = if fields.is_given("until") { fields.time("until") } else { None };
        if until.is_some_and(|until| until <= now) {
            fields.bad("until", "must be in the future");
        }
        Self { hold_id, scope, reason, until }
    }

    /// The hold.
    pub fn placed(self, tenant_id: String, by: Option<String>, at: Timestamp) -> Hold {
        let Self { hold_id, scope, reason, until } = self;
        Hold { hold_id, tenant_id, scope, reason, until, placed_at: at, placed_by: by, released: None }
    }
}

impl HoldScope {
    fn read(fields: &mut Fields<'_>, dataset: &Dataset) -> Self {
        let data_categories = categories(fields);
        let subject_user_id = fields
            .is_given("subject_user_id")
            .then(|| fields.text_like("subject_user_id", 1..=MAX_SUBJECT_CHARS, is_subject, SUBJECT).to_owned());
        if fields.is_given("record") {
            for field in ["subject_user_id", "data_categories"] {
                if fields.is_given(field) {
                    fields.bad(field, "must be left out: record names what is held");
                }
            }
            let record = fields.object("record", |fields| HeldRecord::read(fields, dataset));
            return Self::Record { record: record.unwrap_or_else(HeldRecord::none) };
        }
        match subject_user_id {
            Some(subject_user_id) => Self::Subject { subject_user_id, data_categories },
            None => {
                if data_categories.is_empty() && !fields.has_items("data_categories") {
                    let detail = "is missing, and so are data_categories and record: one of them says what is held";
                    fields.bad("subject_user_id", detail);
                }
                Self::Categories { data_categories }
            }
        }
    }
}

fn categories(fields: &mut Fields<'_>) -> Vec<Category> {
    if !fields.is_given("data_categories") {
        return Vec::new();
    }
    let named = fields.distinct(
        "data_categories",
        0..=Category::ALL.len(),
        |name| Category::ALL.into_iter().find(|category| category.as_str() == name),
        &format!("one of {}", Category::ALL.map(Category::as_str).join(", ")),
    );
    let mut categories: Vec<Category> = named.into_iter().map(|(_, category)| category).collect();
    categories.sort();
    categories
}

impl HeldRecord {
    fn none() -> Self {
        Self { service: String::new(), entity_type: String::new(), entity_id: String::new() }
    }

    fn read(fields: &mut Fields<'_>, dataset: &Dataset) -> Self {
        fields.only(&["service", "entity_type", "entity_id"]);
        let service = fields.text("service", 1..=MAX_TENANT_CHARS).to_owned();
        let entity_type = fields.text("entity_type", 1..=MAX_TENANT_CHARS).to_owned();
        let entity_id = fields.text("entity_id", 1..=MAX_ENTITY_ID_CHARS).to_owned();
        let mut services: Vec<&str> = dataset.types.iter().map(|of| of.service.as_str()).collect();
        services.dedup();
        let types = dataset.types.iter().filter(|of| of.service == service);
        let types: Vec<&str> = types.map(|of| of.entity_type.as_str()).collect();
        if !service.is_empty() && types.is_empty() {
            fields.bad("service", format!("must be one of {}", services.join(", ")));
        } else if !service.is_empty() && !entity_type.is_empty() && !types.contains(&entity_type.as_str()) {
            fields.bad("entity_type", format!("must be one of {}: {service} has no other", types.join(", ")));
        }
        Self { service, entity_type, entity_id }
    }
}

#[cfg(test)]
mod tests;
