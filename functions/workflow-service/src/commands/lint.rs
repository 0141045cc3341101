//! `workflow-service lint FILE`

use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let diagnostics = asl::validate(&super::read(file)?);
    for diagnostic in &diagnostics.0 {
        println!("{}: {diagnostic}", file.display());
    }
    if diagnostics.has_errors() {
        return Ok(ExitCode::FAILURE);
    }
    match diagnostics.0.len() {
        0 => println!("{}: ok", file.display()),
        warnings => println!("{}: usable, with {warnings} warnings", file.display()),
    }
    Ok(ExitCode::SUCCESS)
}
