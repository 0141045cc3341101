//! `workflow-service lint FILE`

use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let diagnostics = asl::validate(&super::read(file)?);
    for diagnostic in &diagnostics.0 {
        println!("{}: {}: {} ({})", file.display(), diagnostic.location, diagnostic.message, diagnostic.code);
    }
    if diagnostics.has_errors() {
        return Ok(ExitCode::FAILURE);
    }
    println!("{}: ok", file.display());
    Ok(ExitCode::SUCCESS)
}
