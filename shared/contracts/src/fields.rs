//! Reads the fields of a JSON object and names every bad one.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::characters::{first_refused, is_seen};
use crate::ids::is_plain_id;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadField {
    /// JSON pointer into the body; `/query/...` for what is not in the body.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// Characters of a field's name that an answer repeats, where the name is not one of ours.
const MAX_NAME_SHOWN: usize = 64;

/// Characters of a point in time.
const MAX_TIME_CHARS: usize = 64;

/// The part of a JSON pointer that leads to a member of this name, shortened if the name is long. RFC 6901: `~` and `/` are
/// written as `~0` and `~1`.
pub(crate) fn segment(name: &str) -> String {
    let shown: String = name.chars().take(MAX_NAME_SHOWN).collect();
    format!("/{}", shown.replace('~', "~0").replace('/', "~1"))
}

/// Reads fields one after the other and remembers what was wrong. A field that cannot be used reads as an empty value, so
/// that the fields after it are looked at too.
pub struct Fields<'a> {
    object: Option<&'a Map<String, Value>>,
    /// Where the object is.
    pointer: String,
    bad: Vec<BadField>,
}

impl<'a> Fields<'a> {
    /// The fields of a request's body.
    pub fn new(body: &'a Value) -> Self {
        Self::at(body, String::new())
    }

    /// The fields of a body of which something is bad already.
    pub(crate) fn with(body: &'a Value, mut bad: Vec<BadField>) -> Self {
        let mut fields = Self::new(body);
        bad.append(&mut fields.bad);
        Self { bad, ..fields }
    }

    fn at(value: &'a Value, pointer: String) -> Self {
        let object = value.as_object();
        let mut fields = Self { object, pointer, bad: Vec::new() };
        if object.is_none() {
            let detail = format!("must be an object, is {}", kind(value));
            fields.bad.push(BadField { pointer: fields.pointer.clone(), detail });
        }
        fields
    }

    /// A string that must be there, of this many characters, none of them [hidden](crate::characters), and not blank.
    pub fn text(&mut self, name: &str, chars: RangeInclusive<usize>) -> &'a str {
        let Some(object) = self.object else { return "" };
        let problem = match object.get(name) {
            None => "is missing".to_owned(),
            Some(Value::String(text)) => {
                let count = text.chars().count();
                if !chars.contains(&count) {
                    format!("must have {} to {} characters, has {count}", chars.start(), chars.end())
                } else if let Some(refused) = first_refused(text, &[]) {
                    has_hidden(refused)
                } else if !text.chars().any(is_seen) {
                    "must not be blank".to_owned()
                } else {
                    return text;
                }
            }
            Some(other) => format!("must be a string, is {}", kind(other)),
        };
        self.bad(name, problem);
        ""
    }

    /// A string for which `is_good` holds.
    pub fn text_like(
        &mut self,
        name: &str,
        chars: RangeInclusive<usize>,
        is_good: impl Fn(&str) -> bool,
        expected: &str,
    ) -> &'a str {
        let text = self.text(name, chars);
        if !text.is_empty() && !is_good(text) {
            self.bad(name, format!("must be {expected}"));
        }
        text
    }

    /// An id of letters, digits, `-` and `_` ([`is_plain_id`]), with at most so many of them.
    pub fn plain_id(&mut self, name: &str, most: usize) -> String {
        let expected = format!("1 to {most} letters, digits, '-' or '_'");
        self.text_like(name, 1..=most, is_plain_id, &expected).to_owned()
    }

    /// A string that may be left out or null.
    pub fn optional_text(&mut self, name: &str, chars: RangeInclusive<usize>) -> Option<&'a str> {
        self.is_given(name).then(|| self.text(name, chars))
    }

    /// A boolean that is `default` when it is not there.
    pub fn flag_or(&mut self, name: &str, default: bool) -> bool {
        match self.object.and_then(|object| object.get(name)) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.bad(name, format!("must be true or false, is {}", kind(other)));
                default
            }
        }
    }

    /// A boolean that is false when it is not there.
    pub fn flag(&mut self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// A whole number within a range, `default` when it is not there.
    pub fn number_or(&mut self, name: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.object.and_then(|object| object.get(name)) else { return default };
        match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                self.bad(name, format!("must be a whole number, {} to {}, is {value}", range.start(), range.end()));
                default
            }
        }
    }

    /// A whole number within a range that must be there.
    pub fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> u64 {
        if self.object.is_some_and(|object| !object.contains_key(name)) {
            self.bad(name, "is missing");
        }
        self.number_or(name, range, 0)
    }

    /// A point in time that must be there.
    pub fn time(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name, 1..=MAX_TIME_CHARS);
        let time = text.parse().ok();
        if time.is_none() && !text.is_empty() {
            self.bad(name, "must be a point in time such as 2026-03-01T08:00:00Z");
        }
        time
    }

    /// One of an enum's names.
    pub fn one_of<T: Copy>(&mut self, name: &str, all: &[T], name_of: impl Fn(T) -> &'static str) -> Option<T> {
        let names = || all.iter().map(|each| name_of(*each)).collect::<Vec<_>>().join(", ");
        let problem = match self.object?.get(name) {
            None => "is missing".to_owned(),
            Some(Value::String(text)) => match all.iter().find(|each| name_of(**each) == text) {
                Some(found) => return Some(*found),
                None => format!("must be one of {}", names()),
            },
            Some(other) => format!("must be one of {}, is {}", names(), kind(other)),
        };
        self.bad(name, problem);
        None
    }

    /// An object below this one.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
        let Some(value) = self.object?.get(name) else {
            self.bad(name, "is missing");
            return None;
        };
        let mut fields = Fields::at(value, self.pointer_of(name));
        let value = read(&mut fields);
        self.bad.append(&mut fields.bad);
        Some(value)
    }

    /// An object whose fields are anybody's; empty if it is not there or null.
    pub fn optional_map(&mut self, name: &str) -> Map<String, Value> {
        match self.object.and_then(|object| object.get(name)) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(other) => {
                self.bad(name, format!("must be an object, is {}", kind(other)));
                Map::new()
            }
        }
    }

    /// Whether an array is there that is not empty.
    pub fn has_items(&self, name: &str) -> bool {
        let value = self.object.and_then(|object| object.get(name));
        value.and_then(Value::as_array).is_some_and(|items| !items.is_empty())
    }

    /// An array of objects below this one.
    pub fn list<T>(
        &mut self,
        name: &str,
        length: RangeInclusive<usize>,
        mut read: impl FnMut(&mut Fields<'a>) -> T,
    ) -> Vec<T> {
        let items = self.items(name, length);
        let mut found = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let mut fields = Fields::at(item, format!("{}/{index}", self.pointer_of(name)));
            found.push(read(&mut fields));
            self.bad.append(&mut fields.bad);
        }
        found
    }

    /// An array of names that all mean something, and each something else.
    pub fn distinct<T: PartialEq>(
        &mut self,
        name: &str,
        length: RangeInclusive<usize>,
        parse: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Vec<(&'a str, T)> {
        let mut found: Vec<(&str, T)> = Vec::new();
        for (index, item) in self.items(name, length).iter().enumerate() {
            let problem = match (item, item.as_str().and_then(&parse)) {
                (_, Some(meaning)) => match found.iter().find(|(_, other)| *other == meaning) {
                    Some((other, _)) => format!("means the same as '{other}' before it"),
                    None => {
                        found.extend(item.as_str().map(|text| (text, meaning)));
                        continue;
                    }
                },
                (Value::String(_), None) => format!("must be {expected}"),
                (other, None) => format!("must be {expected}, is {}", kind(other)),
            };
            self.bad.push(BadField { pointer: format!("{}/{index}", self.pointer_of(name)), detail: problem });
        }
        found
    }

    /// The items of an array of this length; none if it is another length, or no array.
    fn items(&mut self, name: &str, length: RangeInclusive<usize>) -> &'a [Value] {
        let Some(object) = self.object else { return &[] };
        let problem = match object.get(name) {
            Some(Value::Array(items)) if length.contains(&items.len()) => return items,
            Some(Value::Array(items)) => {
                format!("must have {} to {} items, has {}", length.start(), length.end(), items.len())
            }
            Some(other) => format!("must be an array, is {}", kind(other)),
            None => "is missing".to_owned(),
        };
        self.bad(name, problem);
        &[]
    }

    /// What a person has to say, of at most this many characters, on as many lines as they like. It may be left out, null
    /// or blank.
    pub fn optional_remark(&mut self, name: &str, max_chars: usize) -> Option<&'a str> {
        let problem = match self.object?.get(name)? {
            Value::Null => return None,
            Value::String(text) => {
                let count = text.chars().count();
                if count > max_chars {
                    format!("must have at most {max_chars} characters, has {count}")
                } else if let Some(refused) = first_refused(text, &['\n', '\r', '\t']) {
                    has_hidden(refused)
                } else {
                    return Some(text.trim()).filter(|text| text.chars().any(is_seen));
                }
            }
            other => format!("must be a string, is {}", kind(other)),
        };
        self.bad(name, problem);
        None
    }

    /// The same, where it must be there and say something.
    pub fn remark(&mut self, name: &str, max_chars: usize) -> String {
        let bad = self.bad.len();
        let remark = self.optional_remark(name, max_chars).map(str::to_owned);
        if remark.is_none() && self.object.is_some() && self.bad.len() == bad {
            self.bad(name, "is missing");
        }
        remark.unwrap_or_default()
    }

    /// The names of all fields.
    pub fn names(&self) -> Vec<&'a str> {
        self.object.into_iter().flat_map(Map::keys).map(String::as_str).collect()
    }

    /// Whether a field is there and not null.
    pub fn is_given(&self, name: &str) -> bool {
        self.object.and_then(|object| object.get(name)).is_some_and(|value| !value.is_null())
    }

    /// Refuses fields of any other name, where ignoring one that is misspelt would do more than was asked for.
    pub fn only(&mut self, names: &[&str]) {
        let others = self.object.into_iter().flat_map(Map::keys).filter(|name| !names.contains(&name.as_str()));
        for name in others {
            self.bad(name, format!("is not known here; there are {}", names.join(", ")));
        }
    }

    /// Something is wrong with a field.
    pub fn bad(&mut self, name: &str, detail: impl Into<String>) {
        self.bad.push(BadField { pointer: self.pointer_of(name), detail: detail.into() });
    }

    /// Something is wrong with a field within an object.
    pub fn bad_within(&mut self, object: &str, name: &str, detail: impl Into<String>) {
        let pointer = format!("{}{}", self.pointer_of(object), segment(name));
        self.bad.push(BadField { pointer, detail: detail.into() });
    }

    /// Everything that is wrong, if anything is.
    ///
    /// # Errors
    /// All bad fields, in the order of reading.
    pub fn finish(self) -> Result<(), Vec<BadField>> {
        if self.bad.is_empty() { Ok(()) } else { Err(self.bad) }
    }

    fn pointer_of(&self, name: &str) -> String {
        format!("{}{}", self.pointer, segment(name))
    }
}

/// By its number, as it is not seen.
pub(crate) fn has_hidden(letter: char) -> String {
    format!("must not contain control characters or characters that are not seen, has U+{:04X}", u32::from(letter))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_seen_as_they_are() {
        for (value, expected) in [
            ("Zo\u{eb} \u{645}\u{6cc}\u{200c}\u{62e}", None),
            ("a\u{202e}b", Some("must not contain control characters or characters that are not seen, has U+202E")),
            ("a\nb", Some("must not contain control characters or characters that are not seen, has U+000A")),
            ("\u{a0} \u{3164}", Some("must not be blank")),
        ] {
            let body = json!({ "name": value });
            let mut fields = Fields::new(&body);
            assert_eq!(fields.text("name", 1..=20), if expected.is_none() { value } else { "" });
            let bad = fields.finish().err().unwrap_or_default();
            assert_eq!(bad.first().map(|bad| bad.detail.as_str()), expected);
            assert!(bad.iter().all(|bad| bad.pointer == "/name"));
        }
    }

    #[test]
    fn remarks_are_what_people_write() {
        for (value, expected) in [
            (json!(" two\nlines "), Some("two\nlines")),
            (json!("1234567890"), Some("1234567890")),
            (json!("  "), None),
            (json!(null), None),
        ] {
            let body = json!({ "reason": value });
            let mut fields = Fields::new(&body);
            assert_eq!(fields.optional_remark("reason", 11), expected);
            assert_eq!(fields.optional_remark("other", 11), None);
            assert_eq!(fields.finish(), Ok(()));
            let mut fields = Fields::new(&body);
            assert_eq!(fields.remark("reason", 11), expected.unwrap_or_default());
            assert_eq!(fields.finish().is_ok(), expected.is_some(), "what must be there");
        }
        for bad in [
            json!("123456789012"),
            json!("a\u{0}"),
            json!("a\u{2028}b"),
            json!("a\u{202e}b"),
            json!(1),
            json!({}),
            json!(["a"]),
        ] {
            let body = json!({ "reason": bad });
            let mut fields = Fields::new(&body);
            assert_eq!(fields.optional_remark("reason", 11), None);
            assert_eq!(fields.finish().expect_err("bad")[0].pointer, "/reason");
        }
    }

    #[test]
    fn other_names_are_refused_where_that_matters() {
        let long = "x".repeat(100);
        let body = json!({ "known": 1, "knwon": 1, long.clone(): 1 });
        let mut fields = Fields::new(&body);
        fields.only(&["known", "absent"]);
        let bad = fields.finish().expect_err("two are not known");
        let mut pointers: Vec<&str> = bad.iter().map(|bad| bad.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/knwon", &format!("/{}", &long[..MAX_NAME_SHOWN])]);
        assert_eq!(bad[0].detail, "is not known here; there are known, absent");
    }

    #[test]
    fn bad_fields_are_named_at_every_depth() {
        let body = json!({
            "list": [{ "name": "good" }, { "name": 1 }, "no object", {}],
            "short": [], "no list": 3, "options": { "size": 0, "kind": "C", "flag": 1 }, "gone": null,
        });
        let mut fields = Fields::new(&body);
        let names = fields.list("list", 1..=4, |fields| fields.text("name", 1..=9).to_owned());
        assert_eq!(names, ["good", "", "", ""]);
        fields.list("short", 1..=2, |_| ());
        fields.list("no list", 1..=2, |_| ());
        fields.list("a/b", 1..=2, |_| ());
        fields.object("options", |fields| {
            assert_eq!(fields.number_or("size", 1..=9, 5), 5);
            assert_eq!(fields.number_or("absent", 1..=9, 7), 7);
            assert_eq!(fields.one_of("kind", &["A", "B"], |name| name), None);
            assert!(fields.flag_or("flag", true));
        });
        assert_eq!(fields.object("missing", |_| ()), None);
        assert_eq!(fields.optional_text("gone", 1..=9), None);
        let bad = fields.finish().expect_err("much is wrong");
        let pointers: Vec<&str> = bad.iter().map(|bad| bad.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/list/1/name",
                "/list/2",
                "/list/3/name",
                "/short",
                "/no list",
                "/a~1b",
                "/options/size",
                "/options/kind",
                "/options/flag",
                "/missing",
            ]
        );
        assert_eq!(bad[7].detail, "must be one of A, B");
    }
}
