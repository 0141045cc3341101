//! What of a thing may leave: a field that the map does not name does not, and a credential never does.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Category, DatasetType};

/// What of a person's own thing belongs to these categories; `unlisted` gets the paths that the map does not name.
pub fn projected(of: &DatasetType, data: &Value, asked: &[Category], unlisted: &mut BTreeSet<String>) -> Value {
    let projecting = Projecting { of, asked };
    match data {
        Value::Object(members) => Value::Object(projecting.members(members, "", None, unlisted)),
        _ => Value::Object(Map::new()),
    }
}

struct Projecting<'a> {
    of: &'a DatasetType,
    asked: &'a [Category],
}

impl Projecting<'_> {
    fn members(
        &self,
        members: &Map<String, Value>,
        parent: &str,
        inherited: Option<Category>,
        unlisted: &mut BTreeSet<String>,
    ) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, value) in members {
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            let category = self.of.fields.get(&path).map(|field| field.category).or(inherited);
            let leaves = category.is_some_and(|category| category.is_asked_for(self.asked));
            match value {
                Value::Object(members) if self.has_below(&path) => {
                    let below = self.members(members, &path, category, unlisted);
                    if leaves || !below.is_empty() {
                        kept.insert(name.clone(), Value::Object(below));
                    }
                }
                _ if leaves || self.is_person(&path) => drop(kept.insert(name.clone(), value.clone())),
                _ if category.is_none() => drop(unlisted.insert(path)),
                _ => {}
            }
        }
        kept
    }

    /// Whether the map names fields within this one.
    fn has_below(&self, path: &str) -> bool {
        let is_below = |field: &String| field.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        self.of.fields.keys().any(is_below)
    }

    /// A person's own thing says whose it is, whatever is asked for.
    fn is_person(&self, path: &str) -> bool {
        self.of.subject.as_deref() == Some(path)
    }
}

/// Whether a thing is a person's own.
pub fn is_own(of: &DatasetType, data: &Value, person: &str) -> bool {
    let subject = of.subject.as_ref().and_then(|path| at(data, path));
    subject.is_some_and(|subject| subject == person)
}

/// The first of the fields for mentions that holds a person's id, by its place in the map.
pub fn first_mention(of: &DatasetType, data: &Value, person: &str) -> Option<usize> {
    of.mentions.iter().position(|path| at(data, path).is_some_and(|value| only(value, person).is_some()))
}

/// What of somebody else's thing is about a person: the fields that hold the person's id, and of lists the items that do.
pub fn mentioned(of: &DatasetType, data: &Value, person: &str) -> Value {
    let mut kept = Map::new();
    for path in &of.mentions {
        if let Some(found) = at(data, path).and_then(|value| only(value, person)) {
            insert(&mut kept, &path.split('.').collect::<Vec<_>>(), found);
        }
    }
    Value::Object(kept)
}

/// The value at a path such as `profile_data.name`, if there is one.
pub fn at<'v>(data: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(data, |value, name| value.get(name))
}

/// The value, if it is the person's id, or the items of a list that are.
fn only(value: &Value, person: &str) -> Option<Value> {
    match value {
        Value::String(id) => (id == person).then(|| value.clone()),
        Value::Array(items) => {
            let own: Vec<Value> = items.iter().filter(|item| item.as_str() == Some(person)).cloned().collect();
            (!own.is_empty()).then_some(Value::Array(own))
        }
        _ => None,
    }
}

fn insert(object: &mut Map<String, Value>, names: &[&str], value: Value) {
    let Some((first, rest)) = names.split_first() else { return };
    if rest.is_empty() {
        object.insert((*first).to_owned(), value);
        return;
    }
    let below = object.entry((*first).to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(below) = below {
        insert(below, rest, value);
    }
}
