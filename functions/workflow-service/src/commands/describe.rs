//! `workflow-service describe`

use std::process::ExitCode;

use clap::Args;
use contracts::Event;
use contracts::responses::StatusResponse;

use super::remote::Remote;

/// Options of `describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The workflow's id.
    id: String,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(args: DescribeArgs) -> anyhow::Result<ExitCode> {
    let status = args.remote.status(&args.id).await?;
    let events = args.remote.history(&args.id).await?;
    print!("{}", text(&status, &events));
    Ok(ExitCode::SUCCESS)
}

fn text(status: &StatusResponse, events: &[Event]) -> String {
    let mut text = format!("{}  {}  {}\n", status.workflow_id, status.workflow_type, status.status);
    if let Some(progress) = &status.progress {
        let message = progress.status_message.as_deref().unwrap_or_default();
        let (done, total) = (progress.completed_steps, progress.total_steps);
        text.push_str(&format!("{done} of {total} steps, {:.0} %  {message}\n", progress.percentage));
    }
    if let Some(result) = &status.result {
        text.push_str(&format!("{result:#}\n"));
    }
    text.push('\n');
    for event in events {
        let seconds = event.timestamp.duration_since(status.started_at).as_secs_f64();
        let step = event.details["activity_id"].as_str().unwrap_or_default();
        let mut line = format!("{:>4} {seconds:>9.3} s  {:<27} {step}", event.event_id, event.event_type);
        if let Some(attempt) = event.details["attempt"].as_u64().filter(|attempt| *attempt > 1) {
            line.push_str(&format!(" (attempt {attempt})"));
        }
        if let Some(error) = event.details["error"].as_str() {
            let message = event.details["cause"]["message"].as_str().unwrap_or_default();
            line.push_str(&format!("  {error} {message}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
