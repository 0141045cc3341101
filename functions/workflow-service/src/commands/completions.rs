//! `workflow-service completions SHELL`

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::exit::Exit;
use super::output::Output;

pub(crate) fn run(shell: Shell, output: &mut Output) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "workflow-service", &mut script);
    output.bytes(&script)?;
    Ok(Exit::Done.into())
}
