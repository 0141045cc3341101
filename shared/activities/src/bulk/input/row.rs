//! A row of an uploaded file, and the entity that it is about.

use contracts::bulk_operation::{BulkOperationRequest, EntityTarget, told};
use contracts::fields::Fields;
use serde_json::{Map, Value};

use crate::bulk::Entity;

pub(super) const SERVICE: &str = "service";
pub(super) const TYPE: &str = "entity_type";

/// Members that say which entity it is.
pub(super) const OWN: [&str; 4] = [SERVICE, TYPE, "entity_id", "operation_data"];
/// What the name of a member may begin with that is part of `operation_data` anyway.
const WITHIN_DATA: &str = "operation_data.";
/// Members that a file of results has besides, so that it can be uploaded as it is. Each of its rows has the first and the last.
const OF_RESULTS: [&str; 4] = ["index", "code", "message", "attempts"];

/// A row: the members of an object.
pub(super) struct Row(pub(super) Map<String, Value>);

impl Row {
    /// The entity. Members that are none of its own are part of its `operation_data`; a name with dots is a member within
    /// members.
    pub(super) fn entity(self, index: u64, request: &BulkOperationRequest) -> Result<Entity, String> {
        let mut target = Map::new();
        let mut data = Map::new();
        let is_of_results = ["index", "attempts"].iter().all(|name| self.0.contains_key(*name));
        for (name, value) in self.0 {
            match name.as_str() {
                name if OWN.contains(&name) => drop(target.insert(name.to_owned(), trimmed(value))),
                name if is_of_results && OF_RESULTS.contains(&name) => {}
                name => insert(&mut data, name.strip_prefix(WITHIN_DATA).unwrap_or(name), value)?,
            }
        }
        match target.entry("operation_data").or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(own) => {
                if let Some(twice) = data.keys().find(|name| own.contains_key(*name)) {
                    return Err(format!("has the member '{twice}' twice: in operation_data and by itself"));
                }
                own.extend(data);
            }
            null @ Value::Null => *null = Value::Object(data),
            _ => return Err("has an operation_data that is no object".to_owned()),
        }
        complete(&mut target, request);
        let target = Value::Object(target);
        let mut fields = Fields::new(&target);
        let read = EntityTarget::read(&mut fields, Some(request.operation_type), &request.tenant_id);
        fields.finish().map_err(|bad| told(&bad))?;
        let EntityTarget { service, entity_type, entity_id, operation_data } = read;
        Ok(Entity { index, service, entity_type, entity_id, operation_data, problem: None, row: String::new() })
    }
}

/// Service and entity type may be left out where the operation is for one only.
fn complete(target: &mut Map<String, Value>, request: &BulkOperationRequest) {
    if let [(service, [entity_type])] = request.operation_type.targets() {
        target.entry(SERVICE).or_insert_with(|| (*service).into());
        target.entry(TYPE).or_insert_with(|| (*entity_type).into());
    }
}

/// Spaces around a name or an id mean nothing.
fn trimmed(value: Value) -> Value {
    match value {
        Value::String(text) => text.trim().into(),
        other => other,
    }
}

fn insert(data: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), String> {
    let Some((outer, inner)) = name.split_once('.') else {
        return match data.insert(name.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(format!("has the member '{name}' twice")),
        };
    };
    match data.entry(outer).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(members) => insert(members, inner, value),
        _ => Err(format!("has the member '{outer}' twice: by itself and in '{name}'")),
    }
}
