//! Reads the map, and names everything that is wrong with it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::check::check;
use super::{Category, Dataset, DatasetType, PersonalField, Strategy};
use crate::fields::{BadField, Fields};
use crate::ids::{PLAIN_ID, is_plain_id};
use crate::services::SERVICES;

/// The one version of the map's form.
const VERSION: u64 = 1;
const MAX_DAYS: u64 = 36_525;
const MAX_NAME_CHARS: usize = 64;
const MAX_PATH_CHARS: usize = 128;
const MAX_LEGAL_BASIS_CHARS: usize = 200;
const MAX_LIST: usize = 100;

impl Dataset {
    /// Reads the map from what its file says.
    ///
    /// # Errors
    /// Everything that is wrong, with its place as a JSON pointer.
    pub fn read(file: &Value) -> Result<Self, Vec<BadField>> {
        let mut fields = Fields::new(file);
        fields.only(&["version", "nothing_personal"].into_iter().chain(SERVICES).collect::<Vec<_>>());
        let is_type = |text: &str| text.contains('/').then(|| text.to_owned());
        let nothing_personal = list(&mut fields, "nothing_personal", is_type, "service/type").into_iter().collect();
        fields.number("version", VERSION..=VERSION);
        let mut types = Vec::new();
        for service in SERVICES {
            if !fields.is_given(service) {
                continue;
            }
            let read = |fields: &mut Fields<'_>| read_types(service, fields);
            types.extend(fields.object(service, read).unwrap_or_default());
        }
        let mut bad = fields.finish().err().unwrap_or_default();
        let dataset = Self { types, nothing_personal };
        bad.extend(check(&dataset));
        if bad.is_empty() { Ok(dataset) } else { Err(bad) }
    }
}

fn read_types(service: &str, fields: &mut Fields<'_>) -> Vec<DatasetType> {
    let mut types = Vec::new();
    for name in fields.names() {
        if !is_plain_id(name) {
            fields.bad(name, format!("must be {PLAIN_ID}"));
        }
        types.extend(fields.object(name, |fields| read_type(service, name, fields)));
    }
    types
}

fn read_type(service: &str, name: &str, fields: &mut Fields<'_>) -> DatasetType {
    fields.only(&["subject", "mentions", "after", "retention_days", "bytes", "fields"]);
    let path =
        |fields: &mut Fields<'_>, name: &str| fields.text_like(name, 1..=MAX_PATH_CHARS, is_path, PATH).to_owned();
    DatasetType {
        service: service.to_owned(),
        entity_type: name.to_owned(),
        subject: fields.is_given("subject").then(|| path(fields, "subject")),
        mentions: list(fields, "mentions", |text| is_path(text).then(|| text.to_owned()), PATH),
        after: list(fields, "after", |text| text.contains('/').then(|| text.to_owned()), "service/type"),
        retention_days: fields.is_given("retention_days").then(|| fields.number("retention_days", 1..=MAX_DAYS)),
        bytes: if fields.is_given("bytes") { category(fields, "bytes") } else { None },
        fields: fields.object("fields", read_fields).unwrap_or_default(),
    }
}

fn read_fields(fields: &mut Fields<'_>) -> BTreeMap<String, PersonalField> {
    let mut found = BTreeMap::new();
    for path in fields.names() {
        if !is_path(path) {
            fields.bad(path, format!("must be {PATH}"));
        }
        let field = fields.object(path, read_field).flatten();
        found.extend(field.map(|field| (path.to_owned(), field)));
    }
    found
}

fn read_field(fields: &mut Fields<'_>) -> Option<PersonalField> {
    fields.only(&["category", "strategy", "legal_basis"]);
    let category = category(fields, "category");
    let strategy = fields.one_of("strategy", &Strategy::ALL, Strategy::as_str);
    let legal_basis = fields.optional_text("legal_basis", 1..=MAX_LEGAL_BASIS_CHARS).map(str::to_owned);
    Some(PersonalField { category: category?, strategy: strategy?, legal_basis })
}

fn category(fields: &mut Fields<'_>, name: &str) -> Option<Category> {
    fields.one_of(name, &Category::ALL, Category::as_str)
}

/// A list that may be left out.
fn list(fields: &mut Fields<'_>, name: &str, parse: impl Fn(&str) -> Option<String>, expected: &str) -> Vec<String> {
    if !fields.is_given(name) {
        return Vec::new();
    }
    fields.distinct(name, 0..=MAX_LIST, parse, expected).into_iter().map(|(_, text)| text).collect()
}

/// What [`is_path`] asks for, for people.
const PATH: &str = "names of fields, with '.' between them, each of 1 to 64 letters, digits, '-' or '_'";

fn is_path(text: &str) -> bool {
    text.split('.').all(|name| is_plain_id(name) && name.len() <= MAX_NAME_CHARS)
}
