//! What the recorded cases and our own have in common.

pub mod pattern;
pub mod run;
pub mod script;
