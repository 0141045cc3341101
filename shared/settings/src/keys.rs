//! Settings as they are given, by their paths, and what was wrong with those that have been read.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::Value;

use crate::declarations::{Declared, OF_SERVER, Setting};
use crate::nearest::nearest;
use crate::origin::{Effective, Origin};
use crate::{InvalidSettings, VARIABLE_PREFIX};

/// How a setting is named to who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `server.port`
    Path,
    /// `WORKFLOW__SERVER__PORT`
    Variable,
}

/// A setting that is given.
struct Given {
    value: Value,
    origin: Origin,
    is_read: bool,
}

/// What is wrong, and with which setting if it is one.
#[derive(PartialEq, Eq)]
struct Problem {
    path: Option<String>,
    text: String,
}

/// The settings that are given.
pub(crate) struct Keys {
    given: BTreeMap<String, Given>,
    problems: Vec<Problem>,
    naming: Naming,
}

impl Keys {
    pub(crate) fn new(naming: Naming) -> Self {
        Self { given: BTreeMap::new(), problems: Vec::new(), naming }
    }

    fn add(&mut self, path: String, value: Value, origin: Origin) {
        self.given.insert(path, Given { value, origin, is_read: false });
    }

    /// Adds what a file has.
    pub(crate) fn add_table(&mut self, path: &str, table: toml::Table) {
        for (name, value) in table {
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            match value {
                Value::Table(table) => self.add_table(&path, table),
                value => self.add(path, value, Origin::File),
            }
        }
    }

    /// Adds the variables that are settings in place of what their keys had, and gives back the others. Text that is not
    /// UTF-8 is refused in a setting and left out of the others.
    pub(crate) fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> BTreeMap<String, String> {
        let mut others = BTreeMap::new();
        for (name, value) in variables {
            let is_setting = name.as_encoded_bytes().starts_with(VARIABLE_PREFIX.as_bytes());
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) if is_setting => self.add_variable(&name, value),
                (Ok(name), Ok(value)) => drop(others.insert(name, value)),
                (Ok(name), Err(_)) if is_setting => self.report(format!("{name}: its value is not UTF-8")),
                (Err(name), _) if is_setting => self.report(format!("{}: is not UTF-8", name.display())),
                _ => {}
            }
        }
        others
    }

    fn add_variable(&mut self, name: &str, value: String) {
        let path = name[VARIABLE_PREFIX.len()..].to_lowercase().replace("__", ".");
        if let Some(Given { origin: Origin::Variable(other), .. }) = self.given.get(&path) {
            let problem = format!("is set by {other} and by {name}");
            self.refuse(&path, &problem);
        }
        self.add(path, Value::String(value), Origin::Variable(name.to_owned()));
    }

    /// Adds an option of the command line.
    pub(crate) fn add_option(&mut self, option: &'static str, path: &str, value: Value) {
        self.add(path.to_owned(), value, Origin::CommandLine(option));
    }

    pub(crate) fn has<T>(&self, setting: &Setting<T>) -> bool {
        self.given.contains_key(setting.path)
    }

    /// The value, if it is set and good.
    pub(crate) fn take<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        let given = self.given.get_mut(setting.path)?;
        given.is_read = true;
        let read = (setting.read)(&given.value);
        if read.is_none() {
            let problem = format!("expected {}, got {}", setting.expected, setting.shown(&given.value));
            self.refuse(setting.path, &problem);
        }
        read
    }

    /// The value, or the default if it is not set or not good.
    pub(crate) fn value<T>(&mut self, setting: &Setting<T>) -> T {
        let default = || setting.default().and_then(|default| (setting.read)(&default));
        self.take(setting).or_else(default).expect("who reads it like this has declared a default")
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
        if let Some(given) = self.given.get_mut(setting.path) {
            given.is_read = true;
            self.refuse(setting.path, &format!("is of no use without {other}"));
        }
    }

    /// Whether something is wrong with a setting, as far as it has been read.
    pub(crate) fn is_refused<T>(&self, setting: &Setting<T>) -> bool {
        self.problems.iter().any(|problem| problem.path.as_deref() == Some(setting.path))
    }

    /// Reports a setting, once if it is read several times.
    pub(crate) fn refuse(&mut self, path: &str, problem: &str) {
        let problem = Problem { path: Some(path.to_owned()), text: problem.to_owned() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Reports what is no setting by a path.
    pub(crate) fn report(&mut self, text: String) {
        self.problems.push(Problem { path: None, text });
    }

    /// Nothing was wrong, and nothing is left unread.
    pub(crate) fn finish(&mut self, is_of_others: impl Fn(&str) -> bool) -> Result<(), InvalidSettings> {
        let unread: Vec<String> =
            self.given.iter().filter(|(_, given)| !given.is_read).map(|(path, _)| path.clone()).collect();
        for path in unread {
            let problem =
                if is_of_others(&path) { "is read by functions only".to_owned() } else { self.unknown(&path) };
            self.refuse(&path, &problem);
        }
        let problems: Vec<String> = self.problems.iter().map(|problem| self.named(problem)).collect();
        if problems.is_empty() { Ok(()) } else { Err(InvalidSettings(problems)) }
    }

    fn unknown(&self, path: &str) -> String {
        match nearest(path, OF_SERVER.iter().map(|setting| setting.path())) {
            Some(meant) => format!("there is no such setting; {} may be meant", self.name(meant)),
            None => "there is no such setting".to_owned(),
        }
    }

    fn name(&self, path: &str) -> String {
        match self.naming {
            Naming::Path => path.to_owned(),
            Naming::Variable => variable(path),
        }
    }

    fn named(&self, Problem { path, text }: &Problem) -> String {
        match path {
            None => text.clone(),
            Some(path) => format!("{}: {text}", self.name(path)),
        }
    }

    /// These settings as they are in effect.
    pub(crate) fn effective(&self, declared: &[&dyn Declared]) -> Vec<Effective> {
        let effective = |setting: &&dyn Declared| {
            let path = setting.path();
            let (value, origin) = match self.given.get(path) {
                Some(given) => (Some(setting.shown(&given.value)), given.origin.clone()),
                None => (setting.default(), Origin::Default),
            };
            let problems = self.problems.iter().filter(|problem| problem.path.as_deref() == Some(path));
            let problems: Vec<&str> = problems.map(|problem| problem.text.as_str()).collect();
            let problem = Some(problems.join("; ")).filter(|problems| !problems.is_empty());
            Effective { path, value, origin, problem }
        };
        declared.iter().map(effective).collect()
    }
}

/// The variable that sets this path.
pub(crate) fn variable(path: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", path.to_uppercase().replace('.', "__"))
}
