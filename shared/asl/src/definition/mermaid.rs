//! A picture of a definition, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::model::{Definition, Kind, State};
use crate::retry::Retrier;
use crate::states::{Condition, Machine, Wait};
use crate::template::Field;

/// Names of errors on the arrow of a catcher at most.
const MAX_NAMES: usize = 3;
/// Characters of a condition in a label at most.
const MAX_CONDITION_CHARS: usize = 60;

impl Definition {
    /// A Mermaid `stateDiagram-v2`.
    pub fn to_mermaid(&self) -> String {
        let mut picture = "stateDiagram-v2\n".to_owned();
        self.draw(&self.machine, &ids(self), 1, &mut picture);
        picture
    }

    fn draw(&self, machine: &Machine, ids: &BTreeMap<&str, String>, depth: usize, picture: &mut String) {
        let indent = "    ".repeat(depth);
        let id = |name: &str| ids.get(name).map_or_else(|| sanitised(name), Clone::clone);
        for (name, state) in self.states_of(machine) {
            let label = label(name, state);
            if id(name) != label {
                let _ = writeln!(picture, "{indent}state \"{label}\" as {}", id(name));
            }
            for (index, inner) in state.kind.machines().iter().enumerate() {
                // Branches go on at the same time, beside each other.
                let _ = match index {
                    0 => writeln!(picture, "{indent}state {} {{", id(name)),
                    _ => writeln!(picture, "{indent}    --"),
                };
                self.draw(inner, ids, depth + 1, picture);
            }
            if !state.kind.machines().is_empty() {
                let _ = writeln!(picture, "{indent}}}");
            }
        }
        let _ = writeln!(picture, "{indent}[*] --> {}", id(&machine.start_at));
        for (name, state) in self.states_of(machine) {
            for (target, label) in arrows(name, state) {
                let label = if label.is_empty() { label } else { format!(" : {}", text(&label)) };
                let target = target.map_or_else(|| "[*]".to_owned(), id);
                let _ = writeln!(picture, "{indent}{} --> {target}{label}", id(name));
            }
        }
    }
}

fn label(name: &str, state: &State) -> String {
    let name = text(name);
    match &state.kind {
        Kind::Wait(Wait::Seconds(Field::Literal(seconds))) => format!("{name} (waits {seconds} s)"),
        Kind::Map(map) if map.distributed.is_some() => format!("{name} (an execution for each item)"),
        Kind::Map(_) => format!("{name} (for each item)"),
        _ => name,
    }
}

/// Where a state leads (none: out of the machine), and why.
fn arrows<'a>(name: &'a str, state: &'a State) -> Vec<(Option<&'a str>, String)> {
    let mut arrows = Vec::new();
    if !state.retriers.is_empty() {
        arrows.push((Some(name), retry_label(&state.retriers)));
    }
    match &state.kind {
        Kind::Choice(choice) => {
            let rules = choice.rules.iter();
            arrows.extend(rules.map(|rule| (rule.exit.next.as_deref(), condition_label(&rule.condition))));
            let default = choice.default.as_deref();
            arrows.extend(default.map(|default| (Some(default), "otherwise".to_owned())));
        }
        Kind::Fail(_) => arrows.push((None, "fails".to_owned())),
        Kind::Task(_) | Kind::Pass | Kind::Wait(_) | Kind::Succeed | Kind::Parallel(_) | Kind::Map(_) => {
            arrows.push((state.exit.next.as_deref(), String::new()));
        }
    }
    for catcher in &state.catchers {
        arrows.push((catcher.exit.next.as_deref(), format!("on {}", error_label(&catcher.error_equals, MAX_NAMES))));
    }
    arrows
}

/// One arrow for all retriers of a state: a picture with three for each task shows nothing else.
fn retry_label(retriers: &[Retrier]) -> String {
    let label = |retrier: &Retrier| {
        let errors = error_label(&retrier.error_equals, 1);
        format!("{errors} (at most {})", retrier.max_attempts)
    };
    format!("retries {}", retriers.iter().map(label).collect::<Vec<_>>().join(", "))
}

/// So many names; the rest is counted.
fn error_label(names: &[String], most: usize) -> String {
    let shown = names.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 if names == ["States.ALL"] => "any error".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn condition_label(condition: &Condition) -> String {
    let condition = match condition {
        Condition::Literal(literal) => return literal.to_string(),
        Condition::Expression(expression) => expression.text(),
    };
    let words = condition.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= MAX_CONDITION_CHARS {
        return words;
    }
    words.chars().take(MAX_CONDITION_CHARS - 1).chain(['…']).collect()
}

/// An identifier for each state that Mermaid takes, and no two alike.
fn ids(definition: &Definition) -> BTreeMap<&str, String> {
    let mut taken = BTreeSet::new();
    let names = definition.in_order().into_iter().map(|(name, _)| name);
    let unused = |name| {
        let mut id: String = sanitised(name);
        while !taken.insert(id.clone()) {
            id.push('_');
        }
        (name, id)
    };
    names.map(unused).collect()
}

fn sanitised(name: &str) -> String {
    let id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let is_keyword = ["end", "state", "note", "direction", "class", "classdef", "style", "default"]
        .contains(&id.to_lowercase().as_str());
    if is_keyword { format!("{id}_") } else { id }
}

/// Text that Mermaid does not take for syntax.
fn text(text: &str) -> String {
    let plain = |c| match c {
        '"' => '\'',
        ':' | ';' | '#' | '\n' | '\r' => ' ',
        '<' => '‹',
        '>' => '›',
        c => c,
    };
    text.chars().map(plain).collect()
}
