//! What is wrong with a definition.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// The definition cannot be used.
    Error,
    /// It can, but somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// AWS's code, e.g. `SCHEMA_VALIDATION_FAILED`; `NOT_SUPPORTED` for what this interpreter refuses.
    pub code: String,
    /// JSON pointer into the definition.
    pub location: String,
    /// What is wrong, for people.
    pub message: String,
}

/// All that is wrong with a definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Whether the definition cannot be used.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub(super) fn error(&mut self, code: &str, location: &str, message: impl Into<String>) {
        self.0.push(Diagnostic {
            severity: Severity::Error,
            code: code.to_owned(),
            location: if location.is_empty() { "/".to_owned() } else { location.to_owned() },
            message: message.into(),
        });
    }

    /// For what runs, but hardly as intended.
    pub(super) fn warning(&mut self, code: &str, location: &str, message: impl Into<String>) {
        self.error(code, location, message);
        if let Some(last) = self.0.last_mut() {
            last.severity = Severity::Warning;
        }
    }

    /// AWS's code for almost everything.
    pub(super) fn schema(&mut self, location: &str, message: impl Into<String>) {
        self.error("SCHEMA_VALIDATION_FAILED", location, message);
    }

    /// For what AWS takes and this interpreter does not.
    pub(super) fn not_supported(&mut self, location: &str, message: impl Into<String>) {
        self.error("NOT_SUPPORTED", location, message);
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, location, message, code } = self;
        let warning = if *severity == Severity::Warning { "warning: " } else { "" };
        write!(f, "{warning}{location}: {message} ({code})")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
