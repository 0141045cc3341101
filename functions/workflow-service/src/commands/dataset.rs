//! `workflow-service dataset`: the dataset map, which says what is personal.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Exit;
use super::output::{Output, OutputArgs};

/// Options of `dataset`.
#[derive(Debug, Args)]
pub(crate) struct DatasetArgs {
    #[command(subcommand)]
    command: DatasetCommand,
}

#[derive(Debug, Subcommand)]
enum DatasetCommand {
    /// Checks a map and names everything that is wrong with it.
    Lint(LintArgs),
}

/// Options of `dataset lint`.
#[derive(Debug, Args)]
struct LintArgs {
    /// A TOML file; the map that comes along if not given.
    file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: &DatasetArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let DatasetCommand::Lint(args) = &args.command;
    let file = args.file.as_ref().map(|file| file.display().to_string());
    let dataset = settings::dataset(args.file.as_deref());
    let problems = dataset.as_ref().err().map(|error| error.problems.as_slice()).unwrap_or_default();
    if args.output.is_json() {
        output.json(&json!({ "file": file, "usable": problems.is_empty(), "problems": problems }))?;
    } else {
        let name = file.as_deref().unwrap_or("the map that comes along");
        problems.iter().try_for_each(|problem| output.line(format!("{name}: {problem}")))?;
        if let Ok(dataset) = &dataset {
            let fields: usize = dataset.types.iter().map(|of| of.fields.len()).sum();
            output.line(format!("{name}: ok, {} types with {fields} fields", dataset.types.len()))?;
        }
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Failed }.into())
}
