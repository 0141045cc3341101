//! The commands, one file each.

mod config;
mod describe;
mod dev;
mod doctor;
mod health;
mod lint;
mod output;
mod remote;
mod render;
mod run;
mod serve;
mod server;
mod start;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use contracts::EngineKind;
use settings::Sources;
use workflow_service::Settings;

/// Coordinates work across the Auth, User, Tenant and File services.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// Log JSON lines instead of text; `RUST_LOG` says how much.
    #[arg(long, global = true)]
    pub(crate) json_logs: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the API, and the services it calls, with demo data: everything for a trial.
    Dev(DevArgs),
    /// Serves the API.
    Server(ServerArgs),
    /// Runs workflows for the Temporal engine.
    Worker(ServerArgs),
    /// Starts a workflow on a running server.
    Start(start::StartArgs),
    /// Shows a workflow and its steps.
    Describe(describe::DescribeArgs),
    /// Asks a running server how it is; for health checks.
    Health {
        /// The server.
        #[arg(long, default_value = "http://localhost:8084")]
        url: reqwest::Url,
    },
    /// Shows every setting, its value and where that comes from.
    Config(config::ConfigArgs),
    /// Says what is wrong with this installation and what to do.
    Doctor(doctor::DoctorArgs),
    /// Checks a state machine and names everything that is wrong with it.
    Lint {
        /// An Amazon States Language file.
        file: PathBuf,
    },
    /// Runs a state machine with mocked functions, without waiting, and prints what happens when.
    Run(run::RunArgs),
    /// Draws a state machine as a Mermaid diagram.
    Render {
        /// An Amazon States Language file.
        file: PathBuf,
    },
}

/// Options of what listens.
#[derive(Debug, Args)]
struct ServerArgs {
    /// A TOML file with settings.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where everything is kept; `.workflow-service` in the current directory if not given.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// Options of the trial.
#[derive(Debug, Args)]
struct DevArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// What runs new executions: `embedded`, or `temporal` with a worker of its own.
    #[arg(long)]
    engine: Option<EngineKind>,
}

impl DevArgs {
    fn settings(&self) -> anyhow::Result<Settings> {
        if self.engine == Some(EngineKind::StepFunctions) {
            bail!("`dev` runs on embedded or temporal; `cargo xtask local` is the trial of the deployment on AWS");
        }
        let engine = self.engine.map(EngineKind::as_str);
        Ok(Settings::of(&self.server.sources().with_option("--engine", "engine.kind", engine))?)
    }
}

impl ServerArgs {
    fn sources(&self) -> Sources {
        Sources::of_process(self.config.as_deref()).with_option("--data-dir", "store.data_dir", self.data_dir.as_ref())
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings::of(&self.sources())?)
    }
}

impl Cli {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Dev(args) => dev::run(args.settings()?).await,
            Command::Server(args) => server::run(args.settings()?).await,
            Command::Worker(args) => worker::run(args.settings()?).await,
            Command::Start(args) => start::run(args).await,
            Command::Describe(args) => describe::run(args).await,
            Command::Health { url } => health::run(url).await,
            Command::Config(args) => config::run(&args),
            Command::Doctor(args) => doctor::run(&args).await,
            Command::Lint { file } => lint::run(&file),
            Command::Run(args) => run::run(&args),
            Command::Render { file } => render::run(&file),
        }
    }
}

/// The text of a file that a command was given.
fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}
