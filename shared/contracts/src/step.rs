//! What a Task state hands to its activity, the same on every engine, and how a step is named.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::ids::WorkflowKind;

/// Doing or undoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A step of the workflow.
    Forward,
    /// The undoing of one.
    Compensation,
}

/// The execution that a step belongs to: the `workflow` object of every execution's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    /// The execution.
    pub id: String,
    /// Which workflow.
    #[serde(rename = "type")]
    pub kind: WorkflowKind,
    /// The owner.
    pub tenant_id: String,
    /// Who asked for it, where known.
    pub user_id: Option<String>,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// W3C trace context of the request that started it.
    pub traceparent: Option<String>,
}

/// Which one of many, where one Task state is entered several times: in a Map, a Parallel or a loop. The state machine
/// composes it, e.g. batch 17 in its second round: `17.2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepItem(String);

impl StepItem {
    /// What an item looks like, for people.
    pub const FORM: &'static str = "a number, or 1 to 64 letters, digits, '.', '-' or '_'";

    /// The item.
    ///
    /// # Errors
    /// The text is not of the form [`StepItem::FORM`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidStep> {
        let text = text.into();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        match (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
            true => Ok(Self(text)),
            false => Err(InvalidStep(format!("the step's item must be {}, not '{text}'", Self::FORM))),
        }
    }

    /// The item as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for StepItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StepItem {
    /// An index of a Map is a number.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Number(number) if number.is_u64() => number.to_string(),
            // Brackets are in no item.
            other => format!("[{other}]"),
        };
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

/// The name of a step within its execution: the Task state and, where the state is entered several times, the item. It
/// keys the step's record, its attempts, and the keys and ids of its effects. As text: `CreateUserAccount`,
/// `ProcessBatch[17.2]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepPath {
    /// The Task state's name.
    pub name: String,
    /// Which one of many.
    pub item: Option<StepItem>,
}

impl StepPath {
    /// A step of a state that is entered once.
    pub fn of_state(name: impl Into<String>) -> Self {
        Self { name: name.into(), item: None }
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            None => f.write_str(&self.name),
            Some(StepItem(item)) => write!(f, "{}[{item}]", self.name),
        }
    }
}

impl FromStr for StepPath {
    type Err = InvalidStep;

    fn from_str(text: &str) -> Result<Self, InvalidStep> {
        match text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
            Some((name, item)) => Ok(Self { name: name.to_owned(), item: Some(StepItem::new(item)?) }),
            None => Ok(Self::of_state(text)),
        }
    }
}

impl Serialize for StepPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StepPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is wrong with the name of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidStep(String);

impl fmt::Display for InvalidStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidStep {}

/// The `step` object of a Task's payload. All that stores and engines know of a step is in it, pinned with the
/// definition: they know no catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The Task state's name.
    pub name: String,
    /// Which one of many, in a Map, a Parallel or a loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<StepItem>,
    /// Doing or undoing.
    pub kind: StepKind,
    /// The step that a compensation undoes; of the same item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// What is going on meanwhile, for people: `Creating the account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whether nothing may interrupt the execution from this step's begin on, as its effect cannot be taken back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pivot: bool,
    /// Whether it is one of the batches of a distributed Map. It is recorded and held back as a step is, but it is no event
    /// and does not count as one: there may be ten thousand of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub batch: bool,
    /// Of a batch: how many batches there are in all, for the execution's progress; of one that `reports`, how many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<u64>,
    /// Of a batch: it reports how many of its items are done and how many failed, `{"completed", "failed"}`, and counts as
    /// these once it is over. Any other batch counts as one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reports: bool,
    /// Of a batch: once so many items have failed, none begins any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stops_at: Option<u64>,
    /// Whether it is the last step: nothing interrupts it either, and what it reports is the result, however the
    /// execution ends.
    #[serde(default, skip_serializing_if = "is_false")]
    pub closes: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Step {
    /// Its name within the execution.
    pub fn path(&self) -> StepPath {
        StepPath { name: self.name.clone(), item: self.item.clone() }
    }

    /// The name of the step that it undoes.
    pub fn undone_path(&self) -> Option<StepPath> {
        let name = self.undoes.clone()?;
        Some(StepPath { name, item: self.item.clone() })
    }

    /// Whether nothing may interrupt the execution from its begin on.
    pub fn is_final(&self) -> bool {
        self.pivot || self.closes
    }
}

/// A Task's payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepCall {
    /// The execution.
    pub workflow: WorkflowRef,
    /// The step.
    pub step: Step,
    /// False: the step is optional and was not asked for.
    #[serde(default = "yes")]
    pub when: bool,
    /// The activity's input: ids, counts and flags that earlier steps found out. `{"$request": "/pointer"}` stands for a
    /// field of the request, which no engine sees.
    #[serde(default)]
    pub input: Value,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        for text in ["CreateUserAccount", "ProcessBatch[17.2]", "Each[0]", "A[b_c-d]"] {
            let path: StepPath = text.parse().expect(text);
            assert_eq!(path.to_string(), text);
        }
        for text in ["Each[]", "Each[a b]", "Each[ü]", &format!("Each[{}]", "1".repeat(65))] {
            assert!(text.parse::<StepPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_item_is_text_or_an_index_and_anything_else_is_named() {
        let read = |item: Value| {
            serde_json::from_value::<Step>(json!({ "name": "S", "kind": "forward", "item": item }))
                .map(|step| step.path().to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(json!("17.2")).as_deref(), Ok("S[17.2]"));
        assert_eq!(read(json!(3)).as_deref(), Ok("S[3]"));
        assert_eq!(read(Value::Null).as_deref(), Ok("S"));
        for bad in [json!(""), json!("a/b"), json!(1.5), json!(-1), json!([1]), json!({}), json!(true)] {
            let error = read(bad.clone()).expect_err(&bad.to_string());
            assert!(error.contains("the step's item must be"), "{bad}: {error}");
        }
    }
}
