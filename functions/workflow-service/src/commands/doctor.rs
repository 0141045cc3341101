//! `workflow-service doctor`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use workflow_service::doctor::{self, Finding, Outcome};

use super::ServerArgs;
use super::exit::Exit;
use super::output::{Output, OutputArgs};

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints what is wrong with this installation and what to do; fails if something keeps it from working.
pub(crate) async fn run(args: &DoctorArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let findings = doctor::examine(&args.server.sources()).await;
    let worst = findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Ok);
    if args.output.is_json() {
        output.json(&json!({ "outcome": worst, "findings": findings }))?;
    } else {
        findings.iter().try_for_each(|finding| output.line(line(finding)))?;
    }
    Ok(if worst == Outcome::Problem { Exit::Failed } else { Exit::Done }.into())
}

fn line(Finding { check, outcome, detail, advice }: &Finding) -> String {
    let line = format!("{:<8} {check:<15} {detail}", outcome.as_str());
    match advice {
        Some(advice) => format!("{line}; {advice}"),
        None => line,
    }
}
