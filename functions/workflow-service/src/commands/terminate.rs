//! `workflow-service terminate`

use std::process::ExitCode;

use clap::Args;

use super::actions::{self, Action, ActionArgs};
use super::output::Output;

/// Options of `terminate`.
#[derive(Debug, Args)]
pub(crate) struct TerminateArgs {
    #[command(flatten)]
    action: ActionArgs,
    /// Why, for the record.
    #[arg(long)]
    reason: Option<String>,
}

pub(crate) async fn run(args: TerminateArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    actions::run(Action::Terminate, args.action, args.reason.as_deref(), output).await
}
