//! The fields of a body, and everything that is wrong with them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::problem::FieldError;
use super::request::is_id;
use super::{Problem, Row};

const A_TEXT: &str = "must be a string that is not empty";
pub(super) const AN_ID: &str = "must be an id: 1 to 128 of A-Z a-z 0-9 . _ -";
const TEXTS: &str = "must be a list of strings";
const A_TEXT_MAP: &str = "must be an object of strings";

/// Reads the fields of a body and remembers everything that is wrong with them, so that all of it is answered at once.
pub(crate) struct Fields<'b> {
    body: Option<&'b Map<String, Value>>,
    /// The JSON pointer to the object that is read.
    place: String,
    errors: Vec<FieldError>,
}

impl<'b> Fields<'b> {
    pub(super) fn new(body: &'b Value) -> Self {
        Self::at(String::new(), body)
    }

    /// The fields of an object inside a body.
    pub(super) fn at(place: String, object: &'b Value) -> Self {
        Self { body: object.as_object(), place, errors: Vec::new() }
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else if self.body.is_none() && self.place.is_empty() {
            Err(Problem::unprocessable("the body is not a JSON object"))
        } else {
            Err(Problem::fields(self.errors))
        }
    }

    /// A required string that is not empty.
    pub(crate) fn text(&mut self, name: &'static str) -> String {
        self.required(name, A_TEXT, not_empty).unwrap_or_default().to_owned()
    }

    /// A string that is not empty, unless it is left out.
    pub(crate) fn optional_text(&mut self, name: &'static str) -> Option<String> {
        self.optional(name, A_TEXT, not_empty).map(str::to_owned)
    }

    /// A required string of at most `max` bytes that is not empty.
    pub(super) fn short_text(&mut self, name: &'static str, max: usize) -> String {
        let expected = "must be a string of 1 to 255 characters";
        let text = self.required(name, expected, |value| not_empty(value).filter(|text| text.len() <= max));
        text.unwrap_or_default().to_owned()
    }

    /// A required id.
    pub(crate) fn id(&mut self, name: &'static str) -> String {
        self.required(name, AN_ID, |value| value.as_str().filter(|id| is_id(id))).unwrap_or_default().to_owned()
    }

    /// An id that the caller may choose.
    pub(crate) fn chosen_id(&mut self, name: &'static str) -> Option<String> {
        self.optional(name, AN_ID, |value| value.as_str().filter(|id| is_id(id))).map(str::to_owned)
    }

    /// One of these words.
    pub(crate) fn one_of(&mut self, name: &'static str, words: &[&'static str]) -> &'static str {
        let found = self.optional_one_of(name, words);
        if found.is_none() && self.value(name).is_none_or(Value::is_null) {
            self.refuse(name, "is missing");
        }
        found.unwrap_or_default()
    }

    /// One of these words, unless it is left out.
    pub(crate) fn optional_one_of(&mut self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let value = self.value(name).filter(|value| !value.is_null())?;
        let found = words.iter().find(|word| value == *word).copied();
        if found.is_none() {
            self.refuse(name, format!("must be one of {}", words.join(", ")));
        }
        found
    }

    /// A required boolean.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        self.required(name, "must be a boolean", Value::as_bool).unwrap_or_default()
    }

    /// A boolean, `false` unless given.
    pub(crate) fn optional_flag(&mut self, name: &'static str) -> bool {
        self.optional(name, "must be a boolean", Value::as_bool).unwrap_or_default()
    }

    /// A whole number from 0 on, unless it is left out.
    pub(super) fn optional_count(&mut self, name: &'static str) -> Option<i64> {
        self.optional(name, "must be a whole number from 0 on", |value| value.as_i64().filter(|count| *count >= 0))
    }

    /// A required list of strings.
    pub(crate) fn texts(&mut self, name: &'static str) -> Value {
        self.required(name, TEXTS, of_texts).cloned().unwrap_or_default()
    }

    /// A list of strings, unless it is left out.
    pub(crate) fn optional_texts(&mut self, name: &'static str) -> Option<Value> {
        self.optional(name, TEXTS, of_texts).cloned()
    }

    /// A required object whose values are strings.
    pub(crate) fn text_map(&mut self, name: &'static str) -> Value {
        self.required(name, A_TEXT_MAP, text_map).cloned().unwrap_or_default()
    }

    /// An object whose values are strings; empty unless given.
    pub(crate) fn optional_text_map(&mut self, name: &'static str) -> Value {
        self.optional(name, A_TEXT_MAP, text_map).cloned().unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// What changes in an object of strings: `null` removes an entry. Nothing changes unless given.
    pub(crate) fn text_map_changes(&mut self, name: &'static str) -> Row {
        let changes = self.optional(name, "must be an object of strings and nulls", |value| {
            let fields = value.as_object()?;
            fields.values().all(|value| value.is_string() || value.is_null()).then_some(fields)
        });
        changes.cloned().unwrap_or_default()
    }

    /// A required object.
    pub(crate) fn object(&mut self, name: &'static str) -> Row {
        self.required(name, "must be an object", Value::as_object).cloned().unwrap_or_default()
    }

    /// An object; empty unless given.
    pub(super) fn optional_object(&mut self, name: &'static str) -> Row {
        self.optional(name, "must be an object", Value::as_object).cloned().unwrap_or_default()
    }

    /// A required list of 1 to `max` objects, each of which `read` reads.
    pub(super) fn items<T>(&mut self, name: &'static str, max: usize, read: impl Fn(&mut Fields<'b>) -> T) -> Vec<T> {
        let list = self.required(name, "must be a list of 1 to 1,000 objects", |value| {
            value.as_array().filter(|items| (1..=max).contains(&items.len()))
        });
        let mut all = Vec::new();
        for (index, item) in list.into_iter().flatten().enumerate() {
            let place = format!("{}/{name}/{index}", self.place);
            if !item.is_object() {
                self.errors.push(FieldError { pointer: place, detail: Cow::Borrowed("must be an object") });
                continue;
            }
            let mut fields = Fields::at(place, item);
            all.push(read(&mut fields));
            self.errors.append(&mut fields.errors);
        }
        all
    }

    /// Refuses a field for a reason of the caller's.
    pub(crate) fn refuse(&mut self, name: &str, detail: impl Into<Cow<'static, str>>) {
        self.errors.push(FieldError { pointer: format!("{}/{name}", self.place), detail: detail.into() });
    }

    fn value(&self, name: &str) -> Option<&'b Value> {
        self.body.and_then(|body| body.get(name))
    }

    fn required<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'b Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name);
        let found = value.and_then(read);
        if found.is_none() {
            let detail = if value.is_none() { "is missing" } else { expected };
            self.refuse(name, detail);
        }
        found
    }

    fn optional<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'b Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name).filter(|value| !value.is_null())?;
        let found = read(value);
        if found.is_none() {
            self.refuse(name, expected);
        }
        found
    }
}

pub(super) fn not_empty(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.trim().is_empty())
}

pub(super) fn of_texts(value: &Value) -> Option<&Value> {
    value.as_array()?.iter().all(Value::is_string).then_some(value)
}

pub(super) fn text_map(value: &Value) -> Option<&Value> {
    value.as_object()?.values().all(Value::is_string).then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers<'e>(fields: &'e Fields<'_>) -> Vec<&'e str> {
        fields.errors.iter().map(|error| error.pointer.as_str()).collect()
    }

    #[test]
    fn all_bad_fields_are_reported() {
        let body = json!({ "name": 3, "permissions": [1], "id": "a b" });
        let mut fields = Fields::new(&body);
        let _ = (fields.text("name"), fields.text("email"), fields.texts("permissions"));
        let _ = (fields.chosen_id("id"), fields.flag("active"), fields.optional_flag("absent"));
        assert_eq!(pointers(&fields), ["/name", "/email", "/permissions", "/id", "/active"]);
    }

    #[test]
    fn bad_fields_of_items_are_reported_with_their_place() {
        let body = json!({ "items": [{ "key": "a" }, 3, { "key": "" }, { "key": "x".repeat(256) }] });
        let mut fields = Fields::new(&body);
        let read = fields.items("items", 4, |item| item.short_text("key", 255));
        assert_eq!(read.first().map(String::as_str), Some("a"));
        assert_eq!(pointers(&fields), ["/items/1", "/items/2/key", "/items/3/key"]);
    }
}
