//! From text to a definition and all that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use jlens_core::reads::Reads;
use serde_json::Value;

use super::diagnostics::Diagnostics;
use super::model::{Definition, Kind, State};
use super::nested;
use super::reader::{Reader, escaped};
use super::retries::{catchers, retriers};
use super::tasks::task;
use crate::expression::expression_text;
use crate::patience::Patience;
use crate::states::{Choice, Condition, Exit, Fail, MAX_WAIT_SECONDS, Machine, Rule, Wait};
use crate::template::{Field, Template};

/// Largest definition, in bytes (Step Functions' quota).
const MAX_DEFINITION_BYTES: usize = 1024 * 1024;

/// Longest name of a state (Step Functions' quota).
const MAX_STATE_NAME_CHARS: usize = 80;

/// Checks a definition without running it.
pub fn validate(text: &str) -> Diagnostics {
    parse(text).1
}

impl Definition {
    /// Parses, validates and compiles.
    ///
    /// # Errors
    /// Everything that is wrong with the definition, not the first thing only.
    pub fn load(text: &str) -> Result<Self, Diagnostics> {
        let (definition, diagnostics) = parse(text);
        match definition {
            Some(definition) if !diagnostics.has_errors() => Ok(definition),
            _ => Err(diagnostics),
        }
    }
}

fn parse(text: &str) -> (Option<Definition>, Diagnostics) {
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
        check_transitions(definition, &mut diagnostics);
    }
    (definition, diagnostics)
}

fn read_machine(machine: &Value, diagnostics: &mut Diagnostics) -> Option<Definition> {
    let Some(object) = machine.as_object() else {
        diagnostics.schema("", "Expected an object");
        return None;
    };
    if !has_states(object, "", diagnostics) {
        return None;
    }
    // A machine itself has no expressions.
    let mut reads = Reads::default();
    let mut reader = Reader::new(object, String::new(), diagnostics, &mut reads);
    reader.text("Version");
    let language = reader.text("QueryLanguage").unwrap_or("JSONPath");
    if !["JSONata", "JSONPath"].contains(&language) {
        reader.bad("QueryLanguage", "Expected 'JSONata' or 'JSONPath'");
    }
    if reader.get("TimeoutSeconds").is_some() {
        let at = reader.pointer("TimeoutSeconds");
        let message = "A time limit on the whole machine cannot be caught and so undoes nothing; it is not supported";
        reader.diagnostics.not_supported(&at, message);
    }
    let mut states = States { language, parsed: BTreeMap::new(), named: BTreeSet::new() };
    let machine = read_states(&mut reader, &mut states)?;
    reader.finish();
    Some(Definition { machine, states: states.parsed, patience: Patience::default() })
}

/// What is known of a definition's states so far, wherever in it they are.
pub(super) struct States<'a> {
    language: &'a str,
    parsed: BTreeMap<String, State>,
    /// Also of those that could not be read.
    named: BTreeSet<String>,
}

/// Whether an object has what makes it a machine.
pub(super) fn has_states(object: &serde_json::Map<String, Value>, at: &str, diagnostics: &mut Diagnostics) -> bool {
    let missing: Vec<&str> = ["States", "StartAt"].into_iter().filter(|name| !object.contains_key(*name)).collect();
    if !missing.is_empty() {
        diagnostics.schema(at, format!("These fields are required: [{}]", missing.join(", ")));
    }
    missing.is_empty()
}

/// The states of a machine, a branch or a Map's iterations.
pub(super) fn read_states(reader: &mut Reader<'_, '_>, states: &mut States<'_>) -> Option<Machine> {
    reader.text("Comment");
    let start_at = reader.text("StartAt").unwrap_or_default().to_owned();
    let Some(named) = reader.get("States").and_then(Value::as_object).filter(|states| !states.is_empty()) else {
        reader.bad("States", "Expected an object with at least one state");
        return None;
    };
    for (name, state) in named {
        let at = format!("{}/{}", reader.pointer("States"), escaped(name));
        if name.is_empty() || name.chars().count() > MAX_STATE_NAME_CHARS {
            reader.diagnostics.schema(&at, format!("A state's name has 1 to {MAX_STATE_NAME_CHARS} characters"));
        }
        if !states.named.insert(name.clone()) {
            reader.diagnostics.error("DUPLICATE_STATE_NAME", &at, format!("Duplicate state name: {name}"));
        }
        if let Some(state) = read_state(state, at, states, reader.diagnostics) {
            states.parsed.entry(name.clone()).or_insert(state);
        }
    }
    Some(Machine { start_at, order: named.keys().cloned().collect() })
}

fn read_state(state: &Value, at: String, states: &mut States<'_>, diagnostics: &mut Diagnostics) -> Option<State> {
    let Some(object) = state.as_object() else {
        diagnostics.schema(&at, "Expected an object");
        return None;
    };
    let mut reads = Reads::default();
    let mut reader = Reader::new(object, at.clone(), diagnostics, &mut reads);
    reader.text("Comment");
    match (states.language, reader.text("QueryLanguage")) {
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
        "Parallel" => Kind::Parallel(nested::parallel(&mut reader, states)?),
        "Map" => Kind::Map(Box::new(nested::map(&mut reader, states)?)),
        other => {
            reader.bad("Type", format!("'{other}' is no type of state"));
            return None;
        }
    };
    let next = match kind {
        Kind::Choice(_) | Kind::Succeed | Kind::Fail(_) => None,
        _ => next_or_end(&mut reader),
    };
    if kind.can_retry() {
        reader.offered = Some("result");
    }
    let (assign, output) = match kind {
        Kind::Fail(_) => (Vec::new(), None),
        // A Succeed state has no successor that could read a variable.
        Kind::Succeed => (Vec::new(), reader.template("Output")),
        _ => (reader.assign(), reader.template("Output")),
    };
    let (retriers, catchers) = match kind {
        _ if kind.can_retry() => (retriers(&mut reader), catchers(&mut reader)),
        _ => (Vec::new(), Vec::new()),
    };
    reader.finish();
    Some(State { kind, exit: Exit { assign, output, next }, retriers, catchers, reads })
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
        let mut rule = reader.within(object, at);
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
            read.push(Rule { condition, exit: Exit { assign, output, next: Some(next) } });
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

/// Every target exists, and every state can be reached, in the machine and in those inside of its states.
fn check_transitions(definition: &Definition, diagnostics: &mut Diagnostics) {
    let mut machines = vec![(&definition.machine, String::new(), BTreeSet::new())];
    while let Some((machine, at, outer)) = machines.pop() {
        check_machine(definition, machine, &at, diagnostics);
        let mut assigned = outer.clone();
        for (name, state) in definition.states_of(machine) {
            for (field, variable) in assignments(state) {
                if outer.contains(variable) {
                    let at = format!("{at}/States/{}/{field}/{}", escaped(name), escaped(variable));
                    let message = format!("'{variable}' is a variable of an outer scope, which this does not change");
                    diagnostics.warning("VARIABLE_OF_OUTER_SCOPE", &at, message);
                }
                assigned.insert(variable);
            }
        }
        for (name, state) in definition.states_of(machine) {
            let state_at = format!("{at}/States/{}", escaped(name));
            let place = |index| match &state.kind {
                Kind::Map(map) => format!("{state_at}/{}", map.processor_field),
                _ => format!("{state_at}/Branches/{index}"),
            };
            let inner = state.kind.machines().iter().enumerate();
            machines.extend(inner.map(|(index, machine)| (machine, place(index), assigned.clone())));
        }
    }
}

fn check_machine(definition: &Definition, machine: &Machine, at: &str, diagnostics: &mut Diagnostics) {
    let exists = |name: &str| machine.order.iter().any(|own| own == name);
    let missing = |diagnostics: &mut Diagnostics, at: &str, name: &str| {
        diagnostics.error("MISSING_TRANSITION_TARGET", at, format!("Missing 'Next' target: {name}"));
    };
    if !exists(&machine.start_at) {
        missing(diagnostics, &format!("{at}/StartAt"), &machine.start_at);
    }
    let mut reached = BTreeSet::new();
    let mut queue = vec![machine.start_at.as_str()];
    while let Some(name) = queue.pop() {
        if let (true, true, Some(state)) = (exists(name), reached.insert(name), definition.states.get(name)) {
            queue.extend(targets(state).map(|(_, target)| target));
        }
    }
    let is_whole = definition.states_of(machine).count() == machine.order.len();
    for (name, state) in definition.states_of(machine) {
        let at = format!("{at}/States/{}", escaped(name));
        for (field, target) in targets(state).filter(|(_, target)| !exists(target)) {
            missing(diagnostics, &format!("{at}/{field}"), target);
        }
        // With a state missing from the graph for reasons of its own, nothing can be said about its successors.
        if is_whole && !reached.contains(name) {
            diagnostics.error("MISSING_TRANSITION_TARGET", &at, format!("State \"{name}\" is not reachable."));
        }
    }
}

/// The variables that a state may assign, and the field that says so.
fn assignments(state: &State) -> impl Iterator<Item = (String, &str)> {
    fn names(field: String, assign: &[(String, Template)]) -> impl Iterator<Item = (String, &str)> {
        assign.iter().map(move |(name, _)| (field.clone(), name.as_str()))
    }
    let rules = match &state.kind {
        Kind::Choice(choice) => choice.rules.as_slice(),
        _ => &[],
    };
    let rules = rules.iter().enumerate().flat_map(|(i, rule)| names(format!("Choices/{i}/Assign"), &rule.exit.assign));
    let catchers = state.catchers.iter().enumerate();
    let catchers = catchers.flat_map(|(i, catcher)| names(format!("Catch/{i}/Assign"), &catcher.exit.assign));
    names("Assign".to_owned(), &state.exit.assign).chain(rules).chain(catchers)
}

/// Where a state may lead, and the field that says so.
fn targets(state: &State) -> impl Iterator<Item = (String, &str)> {
    let next = state.exit.next.iter().map(|next| ("Next".to_owned(), next.as_str()));
    let (rules, default) = match &state.kind {
        Kind::Choice(choice) => (choice.rules.as_slice(), choice.default.as_deref()),
        _ => (&[][..], None),
    };
    let rules = rules
        .iter()
        .enumerate()
        .filter_map(|(i, rule)| Some((format!("Choices/{i}/Next"), rule.exit.next.as_deref()?)));
    let catchers = state
        .catchers
        .iter()
        .enumerate()
        .filter_map(|(i, catcher)| Some((format!("Catch/{i}/Next"), catcher.exit.next.as_deref()?)));
    next.chain(rules).chain(default.map(|default| ("Default".to_owned(), default))).chain(catchers)
}
