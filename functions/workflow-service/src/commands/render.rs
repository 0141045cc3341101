//! `workflow-service render FILE`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::exit::Exit;
use super::output::Output;

pub(crate) fn run(file: &Path, output: &mut Output) -> anyhow::Result<ExitCode> {
    let definition = asl::Definition::load(&super::read(file)?).with_context(|| file.display().to_string())?;
    output.bytes(definition.to_mermaid().as_bytes())?;
    Ok(Exit::Done.into())
}
