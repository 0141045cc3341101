//! `workflow-service retry`

use std::process::ExitCode;

use clap::Args;

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
}

pub(crate) async fn run(args: RetryArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let action = if args.undo { Action::Undo } else { Action::Retry };
    actions::run(action, args.action, output).await
}
