//! The end-to-end tests: one binary, so that everything is linked once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod aws;
mod aws_archive;
mod aws_cases;
mod aws_costs;
mod aws_edges;
mod aws_faults;
mod bad_input;
mod cancel;
mod cases;
mod command_line;
mod commits;
mod crash;
mod deployment;
#[path = "../../shared/asl/tests/support/dice.rs"]
mod dice;
mod differential;
mod disk;
mod engines;
mod fault_matrix;
mod idempotency;
mod in_process;
mod invariants;
mod lambda;
mod local;
mod machines;
mod peers;
mod process;
mod proxy;
mod simulation;
mod stores;
mod tidy;
mod world;
