//! `workflow-service resume`

use std::process::ExitCode;

use super::actions::{self, Action, ActionArgs};
use super::output::Output;

pub(crate) async fn run(args: ActionArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    actions::run(Action::Resume, args, None, output).await
}
