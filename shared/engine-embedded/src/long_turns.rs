//! Which state machines may have long turns: those that can enter any number of states before they have to wait.
//!
//! Moving other work away from a thread costs more than a short turn itself, so it is done only for these. A single
//! expression that takes long is moved by the interpreter.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// Whether a turn of this machine, or of one inside it, may be long.
pub(crate) fn are_possible(machine: &Value) -> bool {
    let Some(states) = machine["States"].as_object() else { return false };
    has_cycle(states) || states.values().any(is_long_inside)
}

/// A Map has any number of iterations or children; they may all have something to do at once.
fn is_long_inside(state: &Value) -> bool {
    let branches = state["Branches"].as_array();
    state["Type"] == "Map" || branches.into_iter().flatten().any(are_possible)
}

/// Whether one can come back to a state without an attempt in between. A Wait may be over at once.
fn has_cycle(states: &Map<String, Value>) -> bool {
    let next: HashMap<&str, Vec<&str>> =
        states.iter().map(|(name, state)| (name.as_str(), next_at_once(state))).collect();
    let (mut done, mut path) = (HashSet::new(), HashSet::new());
    next.keys().any(|name| comes_back(name, &next, &mut done, &mut path))
}

fn comes_back<'a>(
    name: &'a str,
    next: &HashMap<&'a str, Vec<&'a str>>,
    done: &mut HashSet<&'a str>,
    path: &mut HashSet<&'a str>,
) -> bool {
    if path.contains(name) {
        return true;
    }
    if !done.insert(name) {
        return false;
    }
    path.insert(name);
    let is_found = next.get(name).into_iter().flatten().any(|name| comes_back(name, next, done, path));
    path.remove(name);
    is_found
}

fn next_at_once(state: &Value) -> Vec<&str> {
    if state["Type"] == "Task" {
        return Vec::new();
    }
    let rules = ["Choices", "Catch"].into_iter().filter_map(|list| state[list].as_array()).flatten();
    let own = ["Next", "Default"].into_iter().filter_map(|name| state[name].as_str());
    rules.filter_map(|rule| rule["Next"].as_str()).chain(own).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn are_possible_with(states: Value) -> bool {
        are_possible(&json!({ "StartAt": "A", "States": states }))
    }

    #[test]
    fn only_what_goes_round_without_an_attempt_is_long() {
        let task = |next: &str| json!({ "Type": "Task", "Next": next });
        let pass = |next: &str| json!({ "Type": "Pass", "Next": next });
        let choice = json!({ "Type": "Choice", "Default": "D", "Choices": [{ "Next": "A" }] });
        assert!(!are_possible_with(json!({ "A": task("B"), "B": task("A") })));
        assert!(!are_possible_with(json!({ "A": task("C"), "C": choice, "D": { "Type": "Succeed" } })));
        assert!(!are_possible_with(json!({ "A": pass("B"), "B": pass("D"), "C": pass("D"), "D": pass("E") })));
        assert!(are_possible_with(json!({ "A": pass("C"), "C": choice, "D": { "Type": "Succeed" } })));
        assert!(are_possible_with(json!({ "A": { "Type": "Wait", "Next": "C" }, "C": choice })));
        assert!(are_possible_with(json!({ "A": { "Type": "Parallel", "Catch": [{ "Next": "C" }] }, "C": choice })));
        assert!(are_possible_with(json!({ "A": { "Type": "Map", "End": true } })));
        let inside = json!({ "StartAt": "A", "States": { "A": pass("C"), "C": choice } });
        assert!(are_possible_with(json!({ "P": { "Type": "Parallel", "Branches": [inside] } })));
    }

    #[test]
    fn onboarding_has_short_turns() {
        let workflow = workflows::workflow(contracts::WorkflowKind::UserOnboarding).unwrap();
        let definition = workflow.definition(&Default::default());
        assert!(!are_possible(&serde_json::from_str(&definition).unwrap()));
    }
}
