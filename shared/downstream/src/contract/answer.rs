//! What a service answers to a rule.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{Breach, Stop};

/// The fields whose values are the contract's own words or numbers, so that people may be told of them.
const PLAIN_FIELDS: [&str; 8] = ["status", "outcome", "code", "undone", "count", "retryable", "kind", "pointer"];
/// The most entries of a list that people are told of.
const SHOWN_ENTRIES: usize = 4;

/// An answer, and what it answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) sent: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
    /// `null` if it is no JSON.
    pub(super) body: Value,
}

impl Answer {
    /// A breach by this answer.
    pub(super) fn broken(&self, expected: impl Into<String>) -> Stop {
        let came = match &self.body {
            Value::Null if self.bytes.is_empty() => format!("{}, no body", self.status.as_u16()),
            Value::Null => format!("{}, no JSON", self.status.as_u16()),
            body => format!("{} {}", self.status.as_u16(), shape(body)),
        };
        Stop::Broken(Breach { sent: self.sent.clone(), came, expected: expected.into() })
    }

    /// A breach unless this holds.
    pub(super) fn require(&self, holds: bool, expected: impl Into<String>) -> Result<(), Stop> {
        if holds { Ok(()) } else { Err(self.broken(expected)) }
    }

    /// The JSON of a success.
    pub(super) fn done(&self) -> Result<&Value, Stop> {
        let is_done = self.status.is_success() && self.body.is_object();
        self.require(is_done, "a status of success (200 or 201) and a JSON object").map(|()| &self.body)
    }

    /// A refusal of this status.
    pub(super) fn refused(&self, status: u16) -> Result<(), Stop> {
        self.require(self.status.as_u16() == status, format!("a refusal with {status}"))
    }

    /// The list of a success.
    pub(super) fn list(&self, name: &str) -> Result<&Vec<Value>, Stop> {
        self.done()?[name].as_array().ok_or_else(|| self.broken(format!("a list '{name}'")))
    }

    /// What became of each of so many items.
    pub(super) fn results(&self, count: usize) -> Result<&Vec<Value>, Stop> {
        let results = self.list("results")?;
        self.require(results.len() == count, format!("'results' with one entry for each of {count} items"))?;
        Ok(results)
    }

    /// What became of the item with this key, wherever it stands.
    pub(super) fn result(&self, count: usize, key: &str) -> Result<&Value, Stop> {
        let found = self.results(count)?.iter().find(|result| result["key"] == key);
        found.ok_or_else(|| self.broken(format!("a result with the key {key}")))
    }
}

/// The names of fields, and the values of those that cannot be personal.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            // In the order of their names, whatever order the map keeps.
            let fields: BTreeMap<_, _> = fields.iter().collect();
            let shown = fields.into_iter().map(|(name, value)| match value {
                _ if !is_plain(name) => "(another name)".to_owned(),
                Value::Array(entries) => format!("{name} {}", shape_of_list(entries)),
                Value::Null | Value::Bool(_) | Value::Number(_) if PLAIN_FIELDS.contains(&name.as_str()) => {
                    format!("{name} {value}")
                }
                Value::String(text) if PLAIN_FIELDS.contains(&name.as_str()) && is_plain(text) => {
                    format!("{name} {text}")
                }
                _ => name.clone(),
            });
            format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
        }
        Value::Array(entries) => shape_of_list(entries),
        _ => "(a value)".to_owned(),
    }
}

fn shape_of_list(entries: &[Value]) -> String {
    let mut shown: Vec<_> = entries.iter().take(SHOWN_ENTRIES).map(shape).collect();
    if entries.len() > SHOWN_ENTRIES {
        shown.push(format!("{} more", entries.len() - SHOWN_ENTRIES));
    }
    format!("[{}]", shown.join(", "))
}

/// Whether this can be a word of the contract.
fn is_plain(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_breach_tells_of_fields_and_not_of_data() {
        let body = json!({
            "email": "a@example.com", "count": 2, "a@example.com": 1, "status": "J. Doe (private)",
            "results": [{ "status": "failed", "code": "NotFound", "message": "x" }, 1, 2, 3, 4],
        });
        let shown = "{(another name), count 2, email, results [{code NotFound, message, status failed}, (a value), \
                     (a value), (a value), 1 more], status}";
        assert_eq!(shape(&body), shown);
    }
}
