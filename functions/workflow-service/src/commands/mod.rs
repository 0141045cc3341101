//! The commands, one file each.

mod actions;
mod answers;
mod backup;
mod backups;
mod certificate;
mod check_service;
mod completions;
mod config;
mod dataset;
mod describe;
mod dev;
mod doctor;
pub(crate) mod exit;
mod filters;
mod health;
mod history;
mod holds;
mod keys;
mod lint;
mod list;
mod news;
pub(crate) mod output;
mod patience;
mod progress;
mod reference;
mod remote;
mod render;
mod requests;
mod results;
mod retry;
mod reverse;
mod run;
mod serve;
mod server;
mod start;
mod table;
mod timeline;
mod worker;
mod working;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use contracts::EngineKind;
use rustix::fs::Mode;
use settings::Sources;
use workflow_service::Settings;

use actions::Action;
use output::Output;

/// Coordinates work across the Auth, User, Tenant and File services.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::HELP)]
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
    /// Lists workflows, newest first.
    List(list::ListArgs),
    /// Shows a workflow, and when which attempt of which step was done or undone.
    Describe(describe::DescribeArgs),
    /// Shows the events of a workflow.
    History(history::HistoryArgs),
    /// Lists the files that a workflow left, or writes one of them.
    Results(results::ResultsArgs),
    /// Stops workflows before their next step, and undoes what was done.
    Cancel(actions::ActionArgs),
    /// Runs workflows again that did not complete, or undoes what they left.
    Retry(retry::RetryArgs),
    /// Takes back what a migration did: what somebody has changed since stays.
    Reverse(reverse::ReverseArgs),
    /// Holds workflows before their next step.
    Pause(actions::ActionArgs),
    /// Goes on with paused workflows.
    Resume(actions::ActionArgs),
    /// Ends workflows at once, without undoing anything.
    Terminate(actions::ActionArgs),
    /// Asks a running server how it is, and with --tenant how the services are; for health checks.
    Health(health::HealthArgs),
    /// Creates, rotates and shows the keys by which backups are encrypted and signed.
    Keys(keys::KeysArgs),
    /// Makes, restores, drills, lists and removes backups, and verifies copies of them.
    Backup(backup::BackupArgs),
    /// Places, lists, shows and releases legal holds: data that must not be erased.
    Holds(holds::HoldsArgs),
    /// Lists, shows and extends requests of persons, which must be answered in time.
    Requests(requests::RequestsArgs),
    /// Checks a dataset map, which says what is personal.
    Dataset(dataset::DatasetArgs),
    /// Checks a certificate of erasure.
    Certificate(certificate::CertificateArgs),
    /// Shows every setting, its value and where that comes from.
    Config(config::ConfigArgs),
    /// Says what is wrong with this installation and what to do.
    Doctor(doctor::DoctorArgs),
    /// Checks a state machine and names everything that is wrong with it.
    Lint(lint::LintArgs),
    /// Runs a state machine with mocked functions, without waiting, and prints what happens when.
    Run(run::RunArgs),
    /// Draws a state machine as a Mermaid diagram.
    Render {
        /// An Amazon States Language file.
        file: PathBuf,
    },
    /// Checks whether a service keeps the contract, with things of its own that it takes back.
    CheckService(check_service::CheckServiceArgs),
    /// Fills the services that `dev` serves.
    Reference(reference::ReferenceArgs),
    /// Prints a script that completes this command line in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
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
    pub(crate) async fn run(self, output: &mut Output) -> anyhow::Result<ExitCode> {
        let writes_data =
            matches!(self.command, Command::Dev(_) | Command::Server(_) | Command::Worker(_) | Command::Reference(_));
        if writes_data || matches!(self.command, Command::Keys(_)) {
            // Whatever they write may hold personal data, or keys.
            rustix::process::umask(Mode::RWXG | Mode::RWXO);
        }
        match self.command {
            Command::Dev(args) => dev::run(args.settings()?).await,
            Command::Server(args) => server::run(args.settings()?).await,
            Command::Worker(args) => worker::run(args.settings()?).await,
            Command::Start(args) => start::run(args, output).await,
            Command::List(args) => list::run(args, output).await,
            Command::Describe(args) => describe::run(args, output).await,
            Command::History(args) => history::run(args, output).await,
            Command::Cancel(args) => actions::run(Action::Cancel, args, output).await,
            Command::Results(args) => results::run(args, output).await,
            Command::Retry(args) => retry::run(args, output).await,
            Command::Reverse(args) => reverse::run(args, output).await,
            Command::Pause(args) => actions::run(Action::Pause, args, output).await,
            Command::Resume(args) => actions::run(Action::Resume, args, output).await,
            Command::Terminate(args) => actions::run(Action::Terminate, args, output).await,
            Command::Health(args) => health::run(args, output).await,
            Command::Keys(args) => keys::run(args, output),
            Command::Backup(args) => backup::run(args, output).await,
            Command::Holds(args) => holds::run(args, output).await,
            Command::Requests(args) => requests::run(args, output).await,
            Command::Dataset(args) => dataset::run(&args, output),
            Command::Certificate(args) => certificate::run(&args, output),
            Command::Config(args) => config::run(&args, output),
            Command::Doctor(args) => doctor::run(&args, output).await,
            Command::Lint(args) => lint::run(&args, output),
            Command::Run(args) => run::run(&args, output),
            Command::Render { file } => render::run(&file, output),
            Command::CheckService(args) => check_service::run(args, output).await,
            Command::Reference(args) => reference::run(args, output).await,
            Command::Completions { shell } => completions::run(shell, output),
        }
    }
}

/// The text of a file that a command was given.
fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}
