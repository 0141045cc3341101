//! Every setting, read in one place: of the server and the worker from defaults, a TOML file and the environment, of a
//! function from the environment that the template sets. A variable is the path of its key: `WORKFLOW__SERVER__PORT` is
//! `server.port`.
//!
//! Whatever is missing, malformed or unknown is reported at once, all of it together.

mod access;
mod aws;
mod dataset;
mod declarations;
mod function;
mod host;
mod keys;
mod nearest;
mod origin;
mod server;
mod services;
mod sources;
mod store;
mod temporal;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;

pub use aws::Aws;
pub use dataset::{InvalidDataset, dataset};
pub use function::{FunctionSettings, KeysPlace, of_function};
pub use host::Host;
pub use origin::{Effective, Origin};
pub use server::{Limits, Settings, Survey};
pub use sources::Sources;
pub use store::StoreKind;
pub use temporal::{ActivityPlace, Temporal, TemporalServer};

/// Variables that begin so are settings.
const VARIABLE_PREFIX: &str = "WORKFLOW__";

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSettings(Vec<String>);

impl InvalidSettings {
    /// What is wrong, one setting each, by the setting's name.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for InvalidSettings {}
