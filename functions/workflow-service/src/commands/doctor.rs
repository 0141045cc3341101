//! `workflow-service doctor`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use workflow_service::doctor::{self, Finding, Outcome};

use super::ServerArgs;
use super::output::Output;

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// What is printed: a line for each check, or JSON.
    #[arg(long, short, default_value = "text")]
    output: Output,
}

/// Prints what is wrong with this installation and what to do; fails if something keeps it from working.
pub(crate) async fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let findings = doctor::examine(&args.server.sources()).await;
    let worst = findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Ok);
    match args.output {
        Output::Text => findings.iter().for_each(|finding| println!("{}", line(finding))),
        Output::Json => println!("{:#}", json!({ "outcome": worst, "findings": findings })),
    }
    Ok(if worst == Outcome::Problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn line(Finding { check, outcome, detail, advice }: &Finding) -> String {
    let line = format!("{:<8} {check:<15} {detail}", outcome.as_str());
    match advice {
        Some(advice) => format!("{line}; {advice}"),
        None => line,
    }
}
