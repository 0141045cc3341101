//! What tests of the interpreter have in common.

pub mod dice;
pub mod machines;
pub mod pattern;
pub mod run;
pub mod script;
