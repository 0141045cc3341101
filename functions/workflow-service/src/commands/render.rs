//! `workflow-service render FILE`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

pub(crate) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let definition = asl::Definition::load(&super::read(file)?).with_context(|| file.display().to_string())?;
    print!("{}", definition.to_mermaid());
    Ok(ExitCode::SUCCESS)
}
