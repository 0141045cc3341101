//! Settings that are not yet read, by their paths, and what was wrong with those that are.

use std::collections::BTreeMap;

use toml::Value;

use crate::declarations::Setting;
use crate::{InvalidSettings, VARIABLE_PREFIX};

/// How a setting is named to who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `server.port`
    Path,
    /// `WORKFLOW__SERVER__PORT`
    Variable,
}

/// Settings not yet read.
pub(crate) struct Keys {
    values: BTreeMap<String, Value>,
    problems: Vec<String>,
    naming: Naming,
}

impl Keys {
    pub(crate) fn new(naming: Naming) -> Self {
        Self { values: BTreeMap::new(), problems: Vec::new(), naming }
    }

    pub(crate) fn add_table(&mut self, path: &str, table: toml::Table) {
        for (name, value) in table {
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            match value {
                Value::Table(table) => self.add_table(&path, table),
                value => {
                    self.values.insert(path, value);
                }
            }
        }
    }

    /// Adds a variable in place of what its key had; false if it is no setting.
    pub(crate) fn add_variable(&mut self, name: &str, value: &str) -> bool {
        let Some(name) = name.strip_prefix(VARIABLE_PREFIX) else { return false };
        self.values.insert(name.to_lowercase().replace("__", "."), Value::String(value.to_owned()));
        true
    }

    pub(crate) fn has<T>(&self, setting: &Setting<T>) -> bool {
        self.values.contains_key(setting.path)
    }

    /// The value, if it is set and good.
    pub(crate) fn take<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        let value = self.values.remove(setting.path)?;
        let read = (setting.read)(&value);
        if read.is_none() {
            self.refuse(setting.path, &format!("expected {}, got {value}", setting.expected));
        }
        read
    }

    /// The value, which must be set.
    pub(crate) fn needed<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        if !self.has(setting) {
            self.refuse(setting.path, &format!("is missing, expected {}", setting.expected));
        }
        self.take(setting)
    }

    /// The value, which must be set; an empty one in its place if it is not.
    pub(crate) fn required<T: Default>(&mut self, setting: &Setting<T>) -> T {
        self.needed(setting).unwrap_or_default()
    }

    /// Refuses a setting that means nothing without another.
    pub(crate) fn refuse_without<T>(&mut self, setting: &Setting<T>, other: &str) {
        if self.values.remove(setting.path).is_some() {
            self.refuse(setting.path, &format!("is of no use without {other}"));
        }
    }

    /// Reports a setting.
    pub(crate) fn refuse(&mut self, path: &str, problem: &str) {
        let name = match self.naming {
            Naming::Path => path.to_owned(),
            Naming::Variable => format!("{VARIABLE_PREFIX}{}", path.to_uppercase().replace('.', "__")),
        };
        self.report(format!("{name}: {problem}"));
    }

    /// Reports what is no setting by a path.
    pub(crate) fn report(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Nothing was wrong, and nothing is left unread.
    pub(crate) fn finish(mut self, is_of_others: impl Fn(&str) -> bool) -> Result<(), InvalidSettings> {
        for unread in std::mem::take(&mut self.values).into_keys() {
            let problem = if is_of_others(&unread) { "is read by functions only" } else { "there is no such setting" };
            self.refuse(&unread, problem);
        }
        if self.problems.is_empty() { Ok(()) } else { Err(InvalidSettings(self.problems)) }
    }
}
