//! `cargo xtask`: the project's chores.

mod bench;
mod package;
mod profiles;
mod prove;
mod render;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand, ValueEnum};

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
    /// Runs the long programme, or parts of it; says how each ended and how long it took.
    Prove(prove::Prove),
    /// Measures, and compares with the goals.
    Bench(bench::Bench),
    /// Writes the state machines with another retry policy, for a deployment that wants one.
    Render(render::Render),
    /// Writes what only repeats the lists of endpoints, activities, events and workflows: template.yaml, the functions'
    /// sources and manifests, the routes of `cargo lambda watch`.
    Generate {
        /// Writes nothing, and fails if something differs.
        #[arg(long)]
        check: bool,
    },
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
            Self::Prove(prove) => prove.run(),
            Self::Bench(bench) => bench.run(),
            Self::Render(render) => render.run(),
            Self::Generate { check } => generate(*check),
            Self::Package(package) => package.run(),
            Self::Local { arguments } => local(arguments),
        }
    }
}

/// A program of its own, so that this one need not be compiled with all that the lists are part of.
fn generate(check: bool) -> anyhow::Result<()> {
    let mut generate = cargo(&["run", "--quiet", "--package", "generate", "--"]);
    generate.args(check.then_some("--check"));
    let status = generate.status().context("cargo does not start")?;
    if status.success() { Ok(()) } else { bail!("`cargo xtask generate` says why above") }
}

fn local(arguments: &[String]) -> anyhow::Result<()> {
    let mut local = cargo(&["run", "--quiet", "--package", "local", "--"]);
    // In our place, so that signals to us are signals to it; cargo does the same.
    let failed = std::os::unix::process::CommandExt::exec(local.args(arguments));
    Err(failed).context("cargo does not start")
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

/// Runs all of these, also after one has failed; then says how each ended.
#[expect(clippy::disallowed_methods, reason = "a chore, not the service")]
fn parts<T: ValueEnum>(all: &[T], run: impl Fn(&T) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let (mut ended, mut failed) = (Vec::new(), Vec::new());
    for part in all {
        let name = part.to_possible_value().map(|name| name.get_name().to_owned()).unwrap_or_default();
        let began = Instant::now();
        let result = run(part);
        let seconds = began.elapsed().as_secs();
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
            failed.push(name.clone());
        }
        ended.push(format!(
            "{name:<12} {:<8} {:>3} min {:02} s",
            if result.is_ok() { "passed" } else { "failed" },
            seconds / 60,
            seconds % 60
        ));
    }
    println!("{}", ended.join("\n"));
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}
