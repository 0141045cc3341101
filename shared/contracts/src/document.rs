//! JSON as it was sent: its value, and the members of objects that it has more than once.
//!
//! What a repeated member means depends on who reads it (RFC 8259, section 4), so that what a proxy has checked need not be
//! what is done here: it is told like any other bad field.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use crate::fields::{BadField, Fields, segment};

/// Most repeated members that are told of one body.
const MAX_TOLD: usize = 100;

/// The same JSON with all keys in order, whatever order the map type keeps.
pub fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().map(|(key, value)| (key.clone(), canonical(value))).collect();
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// A request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    value: Value,
    repeated: Vec<BadField>,
}

impl Document {
    /// Reads JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        let repeated = RefCell::default();
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let value =
            Place { segment: Segment::Root, parent: None, repeated: &repeated }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(Self { value, repeated: repeated.into_inner() })
    }

    /// The value; of a repeated member the last one.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its fields; those that it has more than once are bad already.
    pub fn fields(&self) -> Fields<'_> {
        Fields::with(&self.value, self.repeated.clone())
    }

    /// Takes a member out of it.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.value.as_object_mut().and_then(|object| object.remove(name))
    }
}

/// An object without members.
impl Default for Document {
    fn default() -> Self {
        Value::Object(Map::new()).into()
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self { value, repeated: Vec::new() }
    }
}

/// Where in a document a value is, while it is read.
#[derive(Clone, Copy)]
struct Place<'p> {
    segment: Segment<'p>,
    parent: Option<&'p Place<'p>>,
    repeated: &'p RefCell<Vec<BadField>>,
}

#[derive(Clone, Copy)]
enum Segment<'p> {
    Root,
    Name(&'p str),
    Index(usize),
}

impl Place<'_> {
    fn below<'p>(&'p self, segment: Segment<'p>) -> Place<'p> {
        Place { segment, parent: Some(self), repeated: self.repeated }
    }

    fn write_pointer(&self, pointer: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_pointer(pointer);
        }
        match self.segment {
            Segment::Root => {}
            Segment::Name(name) => *pointer += &segment(name),
            Segment::Index(index) => *pointer += &format!("/{index}"),
        }
    }

    fn tell_repeated(&self, name: &str) {
        let mut repeated = self.repeated.borrow_mut();
        if repeated.len() < MAX_TOLD {
            let mut pointer = String::new();
            self.below(Segment::Name(name)).write_pointer(&mut pointer);
            repeated.push(BadField { pointer, detail: "must not come more than once".to_owned() });
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(Segment::Index(array.len())))? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let mut told = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self.below(Segment::Name(&name)))?;
            match object.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(mut entry) => {
                    if told.insert(entry.key().clone()) {
                        self.tell_repeated(entry.key());
                    }
                    entry.insert(value);
                }
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(json: &str) -> Vec<String> {
        let document = Document::parse(json.as_bytes()).expect("JSON");
        let bad = document.fields().finish().err().unwrap_or_default();
        bad.into_iter().map(|bad| bad.pointer).collect()
    }

    #[test]
    fn repeated_members_are_named_at_every_depth() {
        for (json, expected) in [
            (r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}"#, &[][..]),
            (r#"{"a":1,"a":1}"#, &["/a"]),
            (r#"{"a":1,"\u0061":2}"#, &["/a"]),
            (r#"{"a":1,"a":2,"a":3}"#, &["/a"]),
            (r#"{"a":{"b":1,"b":2},"c":1,"c":1}"#, &["/a/b", "/c"]),
            (r#"{"list":[1,{"x":[{"y":1,"y":1}],"x":2}]}"#, &["/list/1/x/0/y", "/list/1/x"]),
            (r#"{"a/b":1,"a/b":2,"~":{"":1,"":2}}"#, &["/a~1b", "/~0/"]),
            (r#"{"é":1,"e\u0301":2,"E":3,"e":4}"#, &[]),
            (r#"[]"#, &[""]),
            (r#"[{"a":1,"a":2}]"#, &["/0/a", ""]),
        ] {
            assert_eq!(pointers(json), expected, "{json}");
        }
    }

    #[test]
    fn they_are_named_with_what_else_is_bad() {
        let document = Document::parse(br#"{"role":"user","role":1,"name":2,"x":{"y":1,"y":1}}"#).expect("JSON");
        let mut fields = document.fields();
        fields.text("role", 1..=9);
        fields.text("name", 1..=9);
        let bad = fields.finish().expect_err("all of it");
        let pointers: Vec<&str> = bad.iter().map(|bad| bad.pointer.as_str()).collect();
        assert_eq!(pointers, ["/role", "/x/y", "/role", "/name"]);
        assert_eq!(bad[0].detail, "must not come more than once");
    }

    #[test]
    fn a_body_of_repetitions_gets_a_short_answer() {
        let long = "k".repeat(10_000);
        let many: Vec<String> = (0..20_000).map(|number| format!("\"{number}\":1,\"{number}\":1")).collect();
        let told = pointers(&format!("{{\"{long}\":{{{}}}}}", many.join(",")));
        assert_eq!(told.len(), MAX_TOLD);
        assert!(told.iter().all(|pointer| pointer.len() < 100), "{}", told[0]);
    }

    #[test]
    fn the_value_is_what_the_library_reads() {
        for json in [
            r#"{"a":[null,true,false,0,-1,18446744073709551615,-9223372036854775808,1.5,1e300,"x\u00e9\n",{}],"b":{"c":[]}}"#,
            r#"{"$serde_json::private::RawValue":"1","$serde_json::private::Number":"2"}"#,
            r#" "text" "#,
        ] {
            let document = Document::parse(json.as_bytes()).expect("JSON");
            if !json.contains("private") {
                assert_eq!(*document.value(), serde_json::from_str::<Value>(json).expect("JSON"));
            }
            assert_eq!(Document::parse(document.value().to_string().as_bytes()).expect("JSON"), document);
        }
        for bad in ["", "{", "{\"a\":1,}", "{}{}", "1e999", "\"\\ud800\"", "nul", "{1:2}", "\u{FEFF}{}"] {
            assert!(Document::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Document::parse(b"\"\xFF\"").is_err());
    }

    #[test]
    fn members_can_be_taken_out() {
        let mut document = Document::from(json!({ "a": 1, "b": 2 }));
        assert_eq!((document.take("a"), document.take("a")), (Some(json!(1)), None));
        assert_eq!(document, json!({ "b": 2 }).into());
        assert_eq!(Document::default(), json!({}).into());
    }
}
