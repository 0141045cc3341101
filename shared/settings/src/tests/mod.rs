//! The settings as a whole.

mod environment;
mod origins;
mod server;
mod specification;
mod values;

use crate::{InvalidSettings, Settings, Sources, Survey};

/// From these variables alone.
fn load(environment: &[(&str, &str)]) -> Result<Settings, InvalidSettings> {
    Settings::load(None, environment.iter().copied())
}

/// From a file with this content, and these variables.
fn survey(text: &str, environment: &[(&str, &str)]) -> Survey {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("a file");
    Survey::new(&Sources::new(Some(file.path()), environment.iter().copied()))
}

/// From a file with this content alone.
fn load_toml(text: &str) -> Result<Settings, InvalidSettings> {
    survey(text, &[]).settings
}
