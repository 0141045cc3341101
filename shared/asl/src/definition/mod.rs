//! State machines: parsed, validated and compiled once, run many times.

mod diagnostics;
mod edges;
mod mermaid;
mod model;
mod nested;
mod parse;
mod reader;
mod retries;
mod tasks;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use model::Definition;
pub(crate) use model::{Kind, State};
pub use parse::validate;
