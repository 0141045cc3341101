//! `workflow-service retry`

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::actions::{self, Action, ActionArgs};
use super::output::Output;

/// Options of `retry`.
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    action: ActionArgs,
    /// Undoes what a workflow left behind, instead of running it again.
    #[arg(long)]
    undo: bool,
    /// Tries again only the entities of a job that failed; the job may have completed. It takes one workflow.
    #[arg(long, conflicts_with_all = ["undo", "all", "dry_run"])]
    only: Option<Only>,
}

/// What of a job is done again.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Only {
    /// What failed.
    Failed,
}

pub(crate) async fn run(args: RetryArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let action = match (args.undo, args.only) {
        (true, _) => Action::Undo,
        (false, Some(Only::Failed)) => Action::RetryFailed,
        (false, None) => Action::Retry,
    };
    actions::run(action, args.action, output).await
}
