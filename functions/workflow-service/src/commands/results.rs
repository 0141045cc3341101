//! `workflow-service results`

use std::process::ExitCode;

use clap::Args;

use super::answers::{self, WorkflowStatus};
use super::exit::Exit;
use super::output::Output;
use super::remote::RemoteArgs;

/// Options of `results`.
#[derive(Debug, Args)]
pub(crate) struct ResultsArgs {
    /// The workflow's id.
    id: String,
    /// The file, e.g. failed.csv, which is written to standard output; without it the files are listed.
    name: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) async fn run(args: ResultsArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.remote.open()?;
    let Some(name) = &args.name else {
        let status: WorkflowStatus = answers::read(&server.status(&args.id).await?)?;
        let result = status.result.unwrap_or_default();
        for name in result["files"].as_object().into_iter().flat_map(|files| files.keys()) {
            output.line(name)?;
        }
        return Ok(Exit::Done.into());
    };
    let mut file = server.result(&args.id, name).await?;
    while let Some(part) = file.chunk().await? {
        output.bytes(&part)?;
    }
    Ok(Exit::Done.into())
}
