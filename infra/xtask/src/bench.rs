//! The benches: each builds what it measures, writes `target/bench/<name>.json`, and fails when it misses a goal.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::{cargo, package, parts, profiles, run};

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Which; all of them but `profiles` unless given.
    names: Vec<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// How fast and how small the functions are.
    ColdStart,
    /// What a transition costs the interpreter.
    Interpreter,
    /// The embedded engine: executions a second, commits, recovery, memory, fairness.
    Embedded,
    /// Bulk operations in the server: memory, rate beside a bare client, fairness.
    Jobs,
    /// Backups, restores, exports and migrations in the server: memory, rate beside a bare loop.
    Backups,
    /// Temporal beside the embedded engine, and beside a workflow written by hand.
    Temporal,
    /// Whether a page of a long list costs more than one of a short list.
    ListPage,
    /// Whether reads of the SQL store take longer where there are many executions, and while another tenant lists.
    Size,
    /// What other release profiles would make of a function: sizes, starts, and the CPU time of building it. Takes half an
    /// hour, and no goal can be missed.
    Profiles,
}

impl Bench {
    /// All benches.
    pub(crate) fn all() -> Self {
        Self { names: Vec::new() }
    }

    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let usual = [
            Name::ColdStart,
            Name::Interpreter,
            Name::Embedded,
            Name::Jobs,
            Name::Backups,
            Name::Temporal,
            Name::ListPage,
            Name::Size,
        ];
        let wanted = if self.names.is_empty() { usual.as_slice() } else { self.names.as_slice() };
        parts(wanted, |name| match name {
            Name::ColdStart => cold_start(),
            Name::Interpreter => interpreter(),
            Name::Embedded => embedded(),
            Name::Jobs => with_server("jobs"),
            Name::Backups => with_server("backups"),
            Name::Temporal => temporal(),
            Name::ListPage => list_page(),
            Name::Size => size(),
            Name::Profiles => profiles::measure(),
        })
    }
}

fn cold_start() -> anyhow::Result<()> {
    let packages = ["endpoint-lambdas", "activity-lambdas", "event-lambdas", "bench"];
    let mut build = cargo(&["build", "--release", "--bins"]);
    run(packages.iter().fold(&mut build, |build, package| build.args(["--package", package])))?;
    // The same versions of everything.
    std::fs::copy("Cargo.lock", "tests/bench/stock/Cargo.lock").context("this runs at the top of the project")?;
    let stock = ["--manifest-path", "tests/bench/stock/Cargo.toml", "--target-dir", "target/stock"];
    run(cargo(&["build", "--release"]).args(stock))?;
    run(Command::new("target/release/cold-start").arg("target/stock/release/stock"))
}

fn interpreter() -> anyhow::Result<()> {
    run(&mut cargo(&["bench", "--package", "asl"]))
}

fn embedded() -> anyhow::Result<()> {
    run(&mut cargo(&["run", "--profile", "bench", "--package", "bench", "--bin", "embedded"]))
}

/// A bench that runs the server.
fn with_server(name: &str) -> anyhow::Result<()> {
    run(&mut cargo(&[
        "build",
        "--release",
        "--package",
        "workflow-service",
        "--package",
        "bench",
        "--bin",
        "workflow-service",
        "--bin",
        name,
    ]))?;
    run(Command::new(format!("target/release/{name}")).arg("target/release/workflow-service"))
}

fn temporal() -> anyhow::Result<()> {
    let program = format!("{}/temporal", package::installed("temporal")?);
    run(&mut cargo(&["build", "--profile", "bench", "--package", "bench", "--bin", "embedded", "--bin", "temporal"]))?;
    run(Command::new("target/release/temporal").args([&program, "target/release/embedded"]))
}

fn list_page() -> anyhow::Result<()> {
    let dynamodb = Dynamodb::start()?;
    let endpoint = format!("http://127.0.0.1:{}", dynamodb.port);
    let measured = run(&mut cargo(&["run", "--package", "bench", "--bin", "list-page", "--", &endpoint]));
    drop(dynamodb);
    measured
}

fn size() -> anyhow::Result<()> {
    run(&mut cargo(&["bench", "--package", "store-sql", "--bench", "size"]))
}

/// DynamoDB Local, stopped when this is dropped.
struct Dynamodb {
    process: Child,
    port: u16,
}

impl Dynamodb {
    fn start() -> anyhow::Result<Self> {
        let folder = package::installed("dynamodb")?;
        // Nobody else's.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new("java")
            .arg(format!("-Djava.library.path={folder}"))
            .args(["-cp", &format!("{folder}/*"), "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"])
            .args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .context("java does not start")?;
        let dynamodb = Self { process, port };
        for _ in 0..300 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(dynamodb);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("DynamoDB Local does not come up on port {port}")
    }
}

impl Drop for Dynamodb {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
