//! The end-to-end tests: one binary, so that everything is linked once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod aws;
mod aws_archive;
mod aws_cases;
mod aws_costs;
mod aws_edges;
mod aws_faults;
mod backup;
mod bad_input;
mod bulk;
mod cancel;
mod cases;
mod clocks;
mod command_line;
mod commits;
mod configuration;
mod contract;
mod control;
mod crash;
mod deployment;
mod differential;
mod disk;
mod doctor;
mod edge;
mod embedded;
mod engines;
mod existing_clients;
mod fault_matrix;
mod generated;
mod health_check;
mod idempotency;
mod in_process;
#[path = "../../shared/asl/tests/support/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the interpreter's own tests, each of which uses a part")]
mod interpreter;
mod invariants;
mod kms;
mod lambda;
mod local;
mod machines;
mod outages;
mod overload;
mod panics;
mod peers;
mod process;
mod proxy;
mod quarantine;
mod read_side;
mod reconciler;
mod retries;
mod simulation;
mod smoke_test;
mod states;
mod stores;
mod subjects;
mod switching;
mod temporal;
mod temporal_access;
mod temporal_cases;
mod temporal_functions;
mod temporal_worker;
mod tenancy;
mod tidy;
mod world;
