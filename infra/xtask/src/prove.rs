//! The long programme. Its parts are run even if one before them fails, as each says something of its own.

use std::process::Command;

use clap::{Args, ValueEnum};

use crate::{bench, cargo, package, parts, run, test, tool};

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// Which; all of them unless given.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The tests with nothing skipped.
    Test,
    /// Five times the kills.
    Kills,
    /// 20,000 random executions side by side.
    Simulation,
    /// Every fault at every call site, on Step Functions and on Temporal.
    Faults,
    /// A job of 100,000 entities, of which few, some and all fail.
    Jobs,
    /// Every pair of faults on the embedded engine, and every fault that a retry meets.
    Pairs,
    /// A thousand random machines on moto.
    Machines,
    /// Random definitions and expressions.
    Fuzz,
    /// The local stack, as the README has it.
    Local,
    /// What is deployed, built as a deployment does.
    Package,
    /// The benches.
    Bench,
}

impl Prove {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        for peer in ["runtime", "dynamodb", "lint", "audit", "temporal"] {
            package::installed(peer)?;
        }
        let wanted = if self.parts.is_empty() { Part::value_variants() } else { self.parts.as_slice() };
        parts(wanted, |part| match part {
            Part::Test => test(true),
            Part::Kills => run(proof("crash").env("CRASH_KILLS", "2500")),
            Part::Simulation => run(proof("whatever_comes_in_between_the_invariants_hold").env("SIMULATED", "20000")),
            Part::Faults => {
                let mut faults = proof("every_class_of_fault");
                // Another filter: the generated cases, of which only a sample runs otherwise.
                faults.arg("generated_cases");
                run(faults.env("AWS_MATRIX", "full").env("TEMPORAL_MATRIX", "full"))
            }
            Part::Jobs => {
                // Optimised: a service's own work is most of it.
                let mut jobs = cargo(&["test", "--profile", "bench", "--package", "e2e", "--", "--nocapture"]);
                run(jobs.arg("the_counts_of_a_large_job_are_true").env("BULK_ENTITIES", "100000"))
            }
            Part::Pairs => {
                // Optimised: these are tens of thousands of executions, and ten minutes are the limit.
                let mut pairs = cargo(&["test", "--profile", "bench", "--package", "e2e", "--", "--nocapture"]);
                pairs.args(["every_pair_of_faults", "every_fault_that_a_retry_meets"]);
                run(pairs.env("FAULT_PAIRS", "all").env("RETRY_FAULTS", "all"))
            }
            Part::Machines => run(proof("random_machines_end_alike").env("MACHINES", "1000")),
            Part::Fuzz => fuzz(),
            Part::Local => run(proof("the_readme_is_right_about_it").env("LOCAL_STACK", "1")),
            Part::Package => package::Package::own()?.run(),
            Part::Bench => bench::Bench::all().run(),
        })
    }
}

/// A test with nothing skipped; what it measures is shown.
fn proof(name: &str) -> Command {
    let mut proof = cargo(&["test", "--package", "e2e", "--", "--nocapture", name]);
    proof.env("CI", "true");
    proof
}

/// A minute of random definitions, and one of random expressions.
fn fuzz() -> anyhow::Result<()> {
    let Some(fuzz) = tool("cargo-fuzz") else {
        println!("skipped: random definitions and expressions, as cargo-fuzz is not installed");
        return Ok(());
    };
    for target in ["definition", "expression"] {
        // Without a sanitizer, which a stable toolchain has not.
        let mut command = Command::new(&fuzz);
        command.args(["fuzz", "run", "--fuzz-dir", "shared/asl/fuzz", "--sanitizer", "none", target, "--"]);
        run(command.args(["-max_total_time=60", "-timeout=20", "-rss_limit_mb=1024"]))?;
    }
    Ok(())
}
