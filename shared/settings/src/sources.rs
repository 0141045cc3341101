//! The places that settings of a server or a worker come from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::InvalidSettings;
use crate::keys::{Keys, Naming};

/// A file, then the environment, then the command line: each overrides what comes before it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    options: Vec<(&'static str, &'static str, OsString)>,
}

impl Sources {
    /// The file, if there is one, and the process's environment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process(file: Option<&Path>) -> Self {
        Self::new(file, std::env::vars_os())
    }

    /// The file, if there is one, and these variables.
    pub fn new<Name, Text>(file: Option<&Path>, environment: impl IntoIterator<Item = (Name, Text)>) -> Self
    where
        Name: Into<OsString>,
        Text: Into<OsString>,
    {
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { file: file.map(Path::to_owned), environment, options: Vec::new() }
    }

    /// With an option of the command line, e.g. `--data-dir`, that sets the setting `path`; unchanged if it is not given.
    pub fn with_option(mut self, option: &'static str, path: &'static str, value: Option<impl AsRef<OsStr>>) -> Self {
        self.options.extend(value.map(|value| (option, path, value.as_ref().to_owned())));
        self
    }

    /// The settings file.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What is given, not yet read, and the variables that are no settings.
    pub(crate) fn gather(&self) -> (Keys, BTreeMap<String, String>, Result<(), InvalidSettings>) {
        let mut keys = Keys::new(Naming::Path);
        let file = self.file.as_deref().map_or(Ok(toml::Table::new()), table);
        let read = file.map(|table| keys.add_table("", table));
        let others = keys.add_environment(self.environment.iter().cloned());
        for (option, path, value) in &self.options {
            match value.to_str() {
                Some(value) => keys.add_option(option, path, value.into()),
                None => keys.report(format!("{option}: its value is not UTF-8")),
            }
        }
        (keys, others, read)
    }
}

/// The content of a file.
fn table(file: &Path) -> Result<toml::Table, InvalidSettings> {
    let unusable = |problem: String| InvalidSettings(vec![format!("{}: {problem}", file.display())]);
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    text.parse().map_err(|error| unusable(problem_of(&text, &error)))
}

/// Where the mistake is and what it is. The parser's own words would show the line, which may hold a password.
fn problem_of(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    format!("is no TOML: line {line}, column {column}: {}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_a_file_is_shown_by_its_place_not_by_its_line() {
        let text = "[server]\nport = 1\n[services]\nauth_service = \"https://user:hunter2@auth.example.com\n";
        let error = text.parse::<toml::Table>().expect_err("a quote is missing");
        let problem = problem_of(text, &error);
        assert!(problem.starts_with("is no TOML: line 4, column "), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
