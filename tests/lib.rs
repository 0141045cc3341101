//! Everything that needs more than one crate to be proved; see `it/main.rs`.
