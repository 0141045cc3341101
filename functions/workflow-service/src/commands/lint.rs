//! `workflow-service lint FILE`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::output::{Output, OutputArgs};

/// Options of `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// An Amazon States Language file.
    file: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: &LintArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let diagnostics = asl::validate(&super::read(&args.file)?);
    let file = args.file.display();
    let is_usable = !diagnostics.has_errors();
    if args.output.is_json() {
        output.json(&json!({ "file": file.to_string(), "usable": is_usable, "diagnostics": diagnostics }))?;
    } else {
        diagnostics.0.iter().try_for_each(|diagnostic| output.line(format!("{file}: {diagnostic}")))?;
        match diagnostics.0.len() {
            _ if !is_usable => {}
            0 => output.line(format!("{file}: ok"))?,
            warnings => output.line(format!("{file}: usable, with {warnings} warnings"))?,
        }
    }
    Ok(if is_usable { Exit::Done } else { Exit::Failed }.into())
}
