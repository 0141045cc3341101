//! `cargo xtask generate`

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

/// Writes what the lists of endpoints, activities, events and workflows imply: template.yaml, the functions' sources and
/// manifests, the routes of `cargo lambda watch`.
#[derive(Debug, Parser)]
struct Cli {
    /// Writes nothing, and fails if something differs.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    if cli.check {
        let stale = generate::stale(root)?;
        stale.iter().for_each(|path| eprintln!("{path} is not what `cargo xtask generate` writes"));
        return Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for path in generate::write(root)? {
        println!("{path}");
    }
    Ok(ExitCode::SUCCESS)
}
