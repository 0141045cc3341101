//! `workflow-service reverse`

use std::process::ExitCode;

use clap::Args;

use super::actions::{self, Action};
use super::output::Output;
use super::remote::AskArgs;

/// Options of `reverse`.
#[derive(Debug, Args)]
pub(crate) struct ReverseArgs {
    /// The migration's id.
    id: String,
    /// Why, for the audit log.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    common: AskArgs,
}

pub(crate) async fn run(args: ReverseArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let ReverseArgs { id, reason, common } = args;
    let server = common.remote.open()?;
    actions::one(&server, Action::Reverse, &id, reason.as_deref(), common.output, output).await
}
