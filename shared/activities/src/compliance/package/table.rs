//! Things and entries of logs as rows: which columns there are, and what stands in them.

use std::collections::BTreeSet;

use contracts::ActivityError;
use contracts::dataset::{Category, DatasetType};
use serde_json::Value;

use crate::bulk::cell::row;
use crate::compliance::lines::{LogLine, ThingLine};
use crate::files::lost;

/// What can be a row.
pub(in super::super) trait Row {
    /// The value of a column.
    fn value(&self, column: &str) -> Value;
}

impl Row for ThingLine {
    fn value(&self, column: &str) -> Value {
        match column {
            ID => self.id.as_str().into(),
            ABOUT => serde_json::to_value(self.about).unwrap_or_default(),
            field => self.data.get(field).cloned().unwrap_or_default(),
        }
    }
}

impl Row for LogLine {
    fn value(&self, column: &str) -> Value {
        serde_json::to_value(self).ok().and_then(|entry| entry.get(column).cloned()).unwrap_or_default()
    }
}

/// The columns of entries of logs.
const LOG_COLUMNS: [&str; 7] = ["seq", "kind", "at", "entity_type", "entity_id", "action", "by"];
/// The columns that every thing has, under names that no field has.
pub(super) const ID: &str = "(id)";
pub(super) const ABOUT: &str = "(about)";

/// The columns of a type, as far as these categories are asked for.
pub(in super::super) fn columns_of(of: &DatasetType, asked: &[Category]) -> Vec<String> {
    let listed = of.fields.iter().filter(|(_, field)| field.category.is_asked_for(asked)).map(|(path, _)| path);
    let paths = listed.chain(&of.subject).chain(&of.mentions);
    let names: BTreeSet<&str> = paths.map(|path| path.split('.').next().unwrap_or_default()).collect();
    [ID, ABOUT].into_iter().chain(names).map(str::to_owned).collect()
}

pub(in super::super) fn log_columns() -> Vec<String> {
    LOG_COLUMNS.map(str::to_owned).to_vec()
}

/// The row with the names of the columns.
pub(in super::super) fn head(columns: &[String]) -> Vec<u8> {
    row(&columns.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A row of a CSV file.
pub(in super::super) fn csv(line: &impl Row, columns: &[String]) -> Vec<u8> {
    let cells: Vec<String> = columns.iter().map(|column| text(&line.value(column))).collect();
    row(&cells.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A value as people read it.
pub(in super::super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A line of a JSON file, which is one array.
pub(in super::super) fn json(line: &impl serde::Serialize, is_first: bool) -> Result<Vec<u8>, ActivityError> {
    let mut text = if is_first { b"[\n".to_vec() } else { b",\n".to_vec() };
    serde_json::to_writer(&mut text, line).map_err(|error| lost(&error.to_string()))?;
    Ok(text)
}

/// What comes after the last line.
pub(in super::super) fn json_end(is_empty: bool) -> &'static [u8] {
    if is_empty { b"[]\n" } else { b"\n]\n" }
}

#[cfg(test)]
mod tests {
    use contracts::dataset::Dataset;
    use serde_json::json;

    use super::*;
    use crate::compliance::lines::About;

    #[test]
    fn cells_are_what_they_say_and_nothing_is_calculated() {
        let fields: serde_json::Map<String, Value> = ["name", "note", "tags", "count", "secret"]
            .map(|name| {
                let category = if name == "secret" { "credential" } else { "content" };
                (name.to_owned(), json!({ "category": category, "strategy": "delete" }))
            })
            .into_iter()
            .collect();
        let map = json!({ "version": 1, "file": { "file": { "subject": "user_id", "fields": fields } } });
        let dataset = Dataset::read(&map).expect("good");
        let columns = columns_of(&dataset.types[0], &Category::ASKED_FOR);
        assert_eq!(columns, ["(id)", "(about)", "count", "name", "note", "tags", "user_id"]);
        let data = json!({
            "user_id": "u", "name": "=HYPERLINK(\"http://x\")", "note": "a, \"b\"\nc", "tags": ["x", "y"], "count": 5,
        });
        let line = ThingLine { id: "-1".to_owned(), about: About::Person, data };
        assert_eq!(
            String::from_utf8(csv(&line, &columns)).expect("text"),
            "'-1,person,5,\"'=HYPERLINK(\"\"http://x\"\")\",\"a, \"\"b\"\"\nc\",\"[\"\"x\"\",\"\"y\"\"]\",u\r\n"
        );
        assert_eq!(columns_of(&dataset.types[0], &[Category::Usage]), ["(id)", "(about)", "user_id"]);
    }
}
