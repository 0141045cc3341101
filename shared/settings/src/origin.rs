//! Where values come from.

use std::fmt;

use toml::Value;

/// Where a setting's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// The settings file.
    File,
    /// The environment variable of this name.
    Variable(String),
    /// The option of this name on the command line.
    CommandLine(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Variable(name) => f.write_str(name),
            Self::CommandLine(option) => f.write_str(option),
        }
    }
}

/// A setting as it is in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// E.g. `server.port`.
    pub path: &'static str,
    /// The value as a file has it, without what is secret in a URL. None if it has no value, not even a default.
    pub value: Option<Value>,
    /// Where the value comes from.
    pub origin: Origin,
    /// Why the value cannot be used, if it cannot.
    pub problem: Option<String>,
}
