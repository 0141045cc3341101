//! `cargo xtask`: the project's chores.

mod bench;
mod package;
mod profiles;
mod render;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

/// Where `.ci/run` puts tools, below the user's cache folder.
const TOOLS: &str = ".cache/workflow-service";

#[derive(Debug, Parser)]
#[command(about = "The project's chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Runs everything: format, lints, dependencies' licences and sources, all tests.
    Test,
    /// Brings all peers and runs the tests with nothing skipped, then five times the kills, every fault at every call site on
    /// Step Functions and on Temporal, every pair of faults on the embedded engine, a thousand random machines on moto,
    /// random definitions and expressions, the local stack, `sam build`, and the benches; takes long.
    Prove,
    /// Measures, and compares with the goals.
    Bench(bench::Bench),
    /// Writes the state machines with another retry policy, for a deployment that wants one.
    Render(render::Render),
    /// Builds what is deployed, as a deployment does, and checks that it would start there.
    Package(package::Package),
    /// Runs the deployed shape on this machine: the functions, with stand-ins for AWS.
    Local {
        /// See `cargo xtask local --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().chore.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Chore {
    fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Test => test(false),
            Self::Prove => prove(),
            Self::Bench(bench) => bench.run(),
            Self::Render(render) => render.run(),
            Self::Package(package) => package.run(),
            Self::Local { arguments } => local(arguments),
        }
    }
}

fn local(arguments: &[String]) -> anyhow::Result<()> {
    let mut local = cargo(&["run", "--quiet", "--package", "local", "--"]);
    // In our place, so that signals to us are signals to it; cargo does the same.
    let failed = std::os::unix::process::CommandExt::exec(local.args(arguments));
    Err(failed).context("cargo does not start")
}

fn prove() -> anyhow::Result<()> {
    for peer in ["runtime", "dynamodb", "lint", "audit", "temporal"] {
        package::installed(peer)?;
    }
    test(true)?;
    let proof = |name: &str| {
        let mut proof = cargo(&["test", "--package", "e2e", "--", "--nocapture", name]);
        proof.env("CI", "true");
        proof
    };
    run(proof("crash").env("CRASH_KILLS", "2500"))?;
    run(proof("every_class_of_fault").env("AWS_MATRIX", "full").env("TEMPORAL_MATRIX", "full"))?;
    run(proof("random_machines_end_alike").env("MACHINES", "1000"))?;
    fuzz()?;
    // Optimised: these are tens of thousands of executions, and ten minutes are the limit.
    let mut pairs = cargo(&["test", "--profile", "bench", "--package", "e2e", "--", "--nocapture"]);
    run(pairs.arg("every_pair_of_faults").env("FAULT_PAIRS", "all"))?;
    run(proof("the_readme_is_right_about_it").env("LOCAL_STACK", "1"))?;
    package::Package::own()?.run()?;
    bench::Bench::all().run()
}

/// What is missing is said and skipped, or is an error if `is_complete`.
fn test(is_complete: bool) -> anyhow::Result<()> {
    run(&mut cargo(&["fmt", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    check_dependencies(is_complete)?;
    let mut tests = cargo(&["test", "--workspace"]);
    if is_complete {
        tests.env("CI", "true");
    }
    run(&mut tests)
}

/// cargo-deny is the one tool that a Rust toolchain does not bring along.
fn check_dependencies(is_complete: bool) -> anyhow::Result<()> {
    let Some(deny) = tool("cargo-deny") else {
        if is_complete || environment("CI").is_some() {
            bail!("cargo-deny is missing; .ci/run installs it");
        }
        println!("skipped: licences and sources of dependencies, as cargo-deny is not installed");
        return Ok(());
    };
    run(Command::new(deny).args(["--log-level", "error", "check", "bans", "licenses", "sources"]))
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

fn tool(name: &str) -> Option<std::path::PathBuf> {
    let cached = Path::new(&environment("HOME")?).join(TOOLS).join("bin").join(name);
    let on_path = || {
        let path = environment("PATH")?;
        path.split(':').map(|folder| Path::new(folder).join(name)).find(|file| file.exists())
    };
    Some(cached).filter(|file| file.exists()).or_else(on_path)
}

#[expect(clippy::disallowed_methods, reason = "a chore, not the service")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(environment("CARGO").unwrap_or_else(|| "cargo".to_owned()));
    command.args(arguments);
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    println!("$ {}", format!("{command:?}").replace('"', ""));
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    if status.success() { Ok(()) } else { bail!("{command:?} ended with {status}") }
}
