//! A picture of a definition, for people.

use std::fmt::Write as _;

use super::{Definition, Kind, State};

impl Definition {
    /// A Mermaid `stateDiagram-v2`.
    pub fn to_mermaid(&self) -> String {
        let mut picture = "stateDiagram-v2\n".to_owned();
        let _ = writeln!(picture, "    [*] --> {}", id(&self.start_at));
        for (name, state) in self.in_order() {
            if id(name) != name {
                let _ = writeln!(picture, "    state \"{}\" as {}", text(name), id(name));
            }
            for (target, label) in arrows(state) {
                let label = if label.is_empty() { String::new() } else { format!(" : {}", text(&label)) };
                let _ = writeln!(picture, "    {} --> {}{label}", id(name), target.map_or("[*]".to_owned(), id));
            }
        }
        picture
    }
}

/// Where a state leads (none: out of the machine), and why.
fn arrows(state: &State) -> Vec<(Option<&str>, String)> {
    let mut arrows = Vec::new();
    match &state.kind {
        Kind::Choice(choice) => {
            for (index, rule) in choice.rules.iter().enumerate() {
                arrows.push((Some(rule.next.as_str()), format!("rule {}", index + 1)));
            }
            arrows.extend(choice.default.as_deref().map(|default| (Some(default), "otherwise".to_owned())));
        }
        Kind::Fail(_) => arrows.push((None, "fails".to_owned())),
        Kind::Task(task) => {
            arrows.push((state.next.as_deref(), String::new()));
            for catcher in &task.catchers {
                arrows.push((Some(&catcher.next), format!("on {}", catcher.error_equals.join(", "))));
            }
        }
        Kind::Pass | Kind::Wait(_) | Kind::Succeed => arrows.push((state.next.as_deref(), String::new())),
    }
    arrows
}

/// A name that Mermaid takes.
fn id(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Text that Mermaid does not take for syntax.
fn text(text: &str) -> String {
    text.replace(['"', ':', ';', '\n'], " ")
}
