//! `workflow-service pause`

use std::process::ExitCode;

use clap::Args;

use super::actions::{self, Action, ActionArgs};
use super::output::Output;

/// Options of `pause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    action: ActionArgs,
    /// Why, for the record.
    #[arg(long)]
    reason: Option<String>,
}

pub(crate) async fn run(args: PauseArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    actions::run(Action::Pause, args.action, args.reason.as_deref(), output).await
}
