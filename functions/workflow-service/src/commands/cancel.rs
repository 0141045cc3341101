//! `workflow-service cancel`

use std::process::ExitCode;

use clap::Args;

use super::actions::{self, Action, ActionArgs};
use super::output::Output;

/// Options of `cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    action: ActionArgs,
    /// Why, for the record.
    #[arg(long)]
    reason: Option<String>,
}

pub(crate) async fn run(args: CancelArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    actions::run(Action::Cancel, args.action, args.reason.as_deref(), output).await
}
