//! From text to a definition and all that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::diagnostics::Diagnostics;
use super::reader::{Reader, escaped};
use super::retries::{catchers, retriers};
use super::tasks::task;
use super::{Definition, Kind, MAX_DEFINITION_BYTES, State};
use crate::expression::expression_text;
use crate::states::{Choice, Condition, Fail, MAX_WAIT_SECONDS, Rule, Wait};
use crate::template::Field;

/// Longest name of a state (Step Functions' quota).
const MAX_STATE_NAME_CHARS: usize = 80;

pub(super) fn parse(text: &str) -> (Option<Definition>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    if text.len() > MAX_DEFINITION_BYTES {
        diagnostics.schema("", format!("The definition is larger than {MAX_DEFINITION_BYTES} bytes"));
        return (None, diagnostics);
    }
    let machine = match serde_json::from_str::<Value>(text) {
        Ok(machine) => machine,
        Err(error) => {
            let place = format!("[Source: (String); line: {}, column: {}]", error.line(), error.column());
            diagnostics.error("INVALID_JSON_DESCRIPTION", &place, error.to_string());
            return (None, diagnostics);
        }
    };
    let definition = read_machine(&machine, &mut diagnostics);
    if let Some(definition) = &definition {
        check_transitions(definition, &machine, &mut diagnostics);
    }
    (definition, diagnostics)
}

fn read_machine(machine: &Value, diagnostics: &mut Diagnostics) -> Option<Definition> {
    let Some(object) = machine.as_object() else {
        diagnostics.schema("", "Expected an object");
        return None;
    };
    let missing: Vec<&str> = ["States", "StartAt"].into_iter().filter(|name| !object.contains_key(*name)).collect();
    if !missing.is_empty() {
        diagnostics.schema("", format!("These fields are required: [{}]", missing.join(", ")));
        return None;
    }
    let mut reader = Reader::new(object, String::new(), diagnostics);
    for name in ["Comment", "Version"] {
        reader.text(name);
    }
    let language = reader.text("QueryLanguage").unwrap_or("JSONPath");
    if !["JSONata", "JSONPath"].contains(&language) {
        reader.bad("QueryLanguage", "Expected 'JSONata' or 'JSONPath'");
    }
    if reader.get("TimeoutSeconds").is_some() {
        let at = reader.pointer("TimeoutSeconds");
        let message = "A time limit on the whole machine cannot be caught and so undoes nothing; it is not supported";
        reader.diagnostics.not_supported(&at, message);
    }
    let start_at = reader.text("StartAt").unwrap_or_default().to_owned();
    let Some(states) = reader.get("States").and_then(Value::as_object).filter(|states| !states.is_empty()) else {
        reader.bad("States", "Expected an object with at least one state");
        return None;
    };
    reader.finish();
    let mut parsed = BTreeMap::new();
    for (name, state) in states {
        let at = format!("/States/{}", escaped(name));
        if name.is_empty() || name.chars().count() > MAX_STATE_NAME_CHARS {
            diagnostics.schema(&at, format!("A state's name has 1 to {MAX_STATE_NAME_CHARS} characters"));
        }
        if let Some(state) = read_state(state, at, language, diagnostics) {
            parsed.insert(name.clone(), state);
        }
    }
    Some(Definition { start_at, states: parsed, order: states.keys().cloned().collect() })
}

fn read_state(state: &Value, at: String, language: &str, diagnostics: &mut Diagnostics) -> Option<State> {
    let Some(object) = state.as_object() else {
        diagnostics.schema(&at, "Expected an object");
        return None;
    };
    let mut reader = Reader::new(object, at.clone(), diagnostics);
    reader.text("Comment");
    match (language, reader.text("QueryLanguage")) {
        ("JSONata", Some("JSONPath")) => {
            let message = "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine";
            reader.diagnostics.schema(&at, message);
            return None;
        }
        ("JSONata", None | Some("JSONata")) | (_, Some("JSONata")) => {}
        _ => {
            let message = "Only the JSONata dialect is supported: set 'QueryLanguage' to 'JSONata'";
            reader.diagnostics.not_supported(&at, message);
            return None;
        }
    }
    let kind = reader.required_text("Type")?;
    let kind = match kind {
        "Task" => Kind::Task(Box::new(task(&mut reader)?)),
        "Choice" => Kind::Choice(choice(&mut reader)?),
        "Pass" => Kind::Pass,
        "Wait" => Kind::Wait(wait(&mut reader)?),
        "Succeed" => Kind::Succeed,
        "Fail" => Kind::Fail(Fail { error: reader.text_field("Error"), cause: reader.text_field("Cause") }),
        "Parallel" | "Map" => {
            reader.diagnostics.not_supported(&at, format!("{kind} states are not available yet"));
            return None;
        }
        other => {
            reader.bad("Type", format!("'{other}' is no type of state"));
            return None;
        }
    };
    let next = match kind {
        Kind::Choice(_) | Kind::Succeed | Kind::Fail(_) => None,
        _ => next_or_end(&mut reader),
    };
    if let Kind::Task(_) = kind {
        reader.offered = Some("result");
    }
    let (assign, output) = match kind {
        Kind::Fail(_) => (Vec::new(), None),
        // A Succeed state has no successor that could read a variable.
        Kind::Succeed => (Vec::new(), reader.template("Output")),
        _ => (reader.assign(), reader.template("Output")),
    };
    let (retriers, catchers) = match kind {
        Kind::Task(_) => (retriers(&mut reader), catchers(&mut reader)),
        _ => (Vec::new(), Vec::new()),
    };
    reader.finish();
    Some(State { kind, assign, output, retriers, catchers, next })
}

fn next_or_end(reader: &mut Reader<'_, '_>) -> Option<String> {
    let next = reader.text("Next").map(str::to_owned);
    let end = match reader.get("End") {
        None => false,
        Some(Value::Bool(end)) => *end,
        Some(_) => {
            reader.bad("End", "Expected true or false");
            false
        }
    };
    if next.is_some() == end {
        let at = reader.at.clone();
        reader.diagnostics.schema(&at, "Exactly one of 'Next' and 'End: true' is required");
    }
    next
}

fn choice(reader: &mut Reader<'_, '_>) -> Option<Choice> {
    let default = reader.text("Default").map(str::to_owned);
    let Some(rules) = reader.array("Choices") else {
        reader.bad("Choices", "Expected a non-empty array of rules");
        return None;
    };
    if rules.is_empty() {
        reader.bad("Choices", "Expected a non-empty array of rules");
    }
    let mut read = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{}/Choices/{index}", reader.at);
        let Some(object) = rule.as_object() else {
            reader.diagnostics.schema(&at, "Expected an object");
            continue;
        };
        let mut rule = Reader::new(object, at, reader.diagnostics);
        rule.text("Comment");
        let condition = match rule.get("Condition") {
            Some(Value::Bool(literal)) => Some(Condition::Literal(*literal)),
            Some(_) => rule.expression("Condition").map(Condition::Expression),
            None => rule.required_text("Condition").map(|_| Condition::Literal(false)),
        };
        let next = rule.required_text("Next").map(str::to_owned);
        let (assign, output) = (rule.assign(), rule.template("Output"));
        rule.finish();
        if let (Some(condition), Some(next)) = (condition, next) {
            read.push(Rule { condition, next, assign, output });
        }
    }
    Some(Choice { rules: read, default })
}

fn wait(reader: &mut Reader<'_, '_>) -> Option<Wait> {
    let seconds = reader.integer_field("Seconds", 0, MAX_WAIT_SECONDS).map(Wait::Seconds);
    let timestamp = match reader.text("Timestamp") {
        None => None,
        Some(text) if expression_text(text).is_some() => {
            reader.expression("Timestamp").map(|expression| Wait::Timestamp(Field::Expression(expression)))
        }
        Some(text) => {
            let timestamp = crate::states::parse_timestamp(text);
            if timestamp.is_none() {
                reader.bad("Timestamp", "String does not match RFC3339 timestamp");
            }
            timestamp.map(|timestamp| Wait::Timestamp(Field::Literal(timestamp)))
        }
    };
    let given = ["Seconds", "Timestamp"].into_iter().filter(|name| reader.get(name).is_some()).count();
    if given != 1 {
        let at = reader.at.clone();
        reader.diagnostics.schema(&at, "Exactly one of 'Seconds' and 'Timestamp' is required");
    }
    seconds.or(timestamp)
}

/// Every target exists, and every state can be reached.
fn check_transitions(definition: &Definition, machine: &Value, diagnostics: &mut Diagnostics) {
    let exists = |name: &str| machine["States"].get(name).is_some();
    let missing = |diagnostics: &mut Diagnostics, at: &str, name: &str| {
        diagnostics.error("MISSING_TRANSITION_TARGET", at, format!("Missing 'Next' target: {name}"));
    };
    if !exists(&definition.start_at) {
        missing(diagnostics, "/StartAt", &definition.start_at);
    }
    let mut reached = BTreeSet::new();
    let mut queue = vec![definition.start_at.as_str()];
    while let Some(name) = queue.pop() {
        if let (true, Some(state)) = (reached.insert(name), definition.states.get(name)) {
            queue.extend(targets(state).map(|(_, target)| target));
        }
    }
    for (name, state) in definition.in_order() {
        let at = format!("/States/{}", escaped(name));
        for (field, target) in targets(state).filter(|(_, target)| !exists(target)) {
            missing(diagnostics, &format!("{at}/{field}"), target);
        }
        // With a state missing from the graph for reasons of its own, nothing can be said about its successors.
        if definition.states.len() == definition.order.len() && !reached.contains(name) {
            diagnostics.error("MISSING_TRANSITION_TARGET", &at, format!("State \"{name}\" is not reachable."));
        }
    }
}

/// Where a state may lead, and the field that says so.
pub(super) fn targets(state: &State) -> impl Iterator<Item = (String, &str)> {
    let next = state.next.iter().map(|next| ("Next".to_owned(), next.as_str()));
    let (rules, default) = match &state.kind {
        Kind::Choice(choice) => (choice.rules.as_slice(), choice.default.as_deref()),
        _ => (&[][..], None),
    };
    let rules = rules.iter().enumerate().map(|(i, rule)| (format!("Choices/{i}/Next"), rule.next.as_str()));
    let catchers =
        state.catchers.iter().enumerate().map(|(i, catcher)| (format!("Catch/{i}/Next"), catcher.next.as_str()));
    next.chain(rules).chain(default.map(|default| ("Default".to_owned(), default))).chain(catchers)
}
