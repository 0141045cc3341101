//! Writes YAML: maps in the order in which they are put together, so that the same description is always the same text.

use std::fmt::Write as _;

/// A piece of a YAML document.
pub(super) enum Node {
    /// An object.
    Map(Vec<(String, Node)>),
    /// A list.
    List(Vec<Node>),
    /// A string.
    Text(String),
    /// A number or a boolean.
    Plain(String),
}

impl Node {
    pub(super) fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Map(entries.map(|(name, node)| (name.to_owned(), node)).into())
    }

    /// Adds an entry to an object.
    pub(super) fn add(&mut self, name: &str, node: Self) {
        if let Self::Map(entries) = self {
            entries.push((name.to_owned(), node));
        }
    }

    /// With a further entry.
    pub(super) fn with(mut self, name: &str, node: Self) -> Self {
        self.add(name, node);
        self
    }

    /// The document.
    pub(super) fn document(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    /// Writes it as lines of their own.
    fn write(&self, text: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        match self {
            Self::Map(entries) => {
                for (name, node) in entries {
                    let _ = write!(text, "{indent}{}:", scalar(name));
                    match node.in_one_line() {
                        Some(line) => {
                            let _ = writeln!(text, " {line}");
                        }
                        None => {
                            text.push('\n');
                            node.write(text, depth + 1);
                        }
                    }
                }
            }
            Self::List(nodes) => {
                for node in nodes {
                    let mut item = String::new();
                    match node.in_one_line() {
                        Some(line) => item.push_str(&format!("{line}\n")),
                        None => node.write(&mut item, depth + 1),
                    }
                    let _ = write!(text, "{indent}- {}", item.trim_start());
                }
            }
            Self::Text(_) | Self::Plain(_) => {
                let _ = writeln!(text, "{indent}{}", self.in_one_line().unwrap_or_default());
            }
        }
    }

    /// What stands in one line: a scalar, a list of scalars, and a map with one of them.
    fn in_one_line(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(scalar(text)),
            Self::Plain(text) => Some(text.clone()),
            Self::List(nodes) => {
                let scalars: Option<Vec<_>> = nodes.iter().map(Self::as_scalar).collect();
                Some(format!("[{}]", scalars?.join(", ")))
            }
            Self::Map(entries) => match entries.as_slice() {
                [] => Some("{}".to_owned()),
                [(name, node)] => Some(format!("{{ {}: {} }}", scalar(name), node.as_scalar()?)),
                _ => None,
            },
        }
    }

    fn as_scalar(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(scalar(text)),
            Self::Plain(text) => Some(text.clone()),
            Self::Map(_) | Self::List(_) => None,
        }
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Self {
        Self::Plain(value.to_string())
    }
}

/// A string, quoted unless nobody could take it for something else. JSON's quoting is YAML's too (YAML 1.2, section 1.3).
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./ ;()".contains(&byte))
        && !text.ends_with(' ');
    let is_other =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if is_word && !is_other { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_become_lines() {
        let node = Node::map([
            ("a", Node::List(vec!["x".into(), Node::map([("b", true.into()), ("c", "d".into())])])),
            ("200", "a: b".into()),
            ("empty", Node::Map(Vec::new())),
            ("one", Node::map([("$ref", "#/a".into())])),
            ("no", Node::List(vec!["null".into(), Node::Plain("null".to_owned())])),
        ]);
        let text = "a:\n  - x\n  - b: true\n    c: d\n\"200\": \"a: b\"\nempty: {}\none: { \"$ref\": \"#/a\" }\n\
                    \"no\": [\"null\", null]\n";
        assert_eq!(node.document(), text);
    }
}
