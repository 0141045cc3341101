//! `workflow-service describe`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::answers::{self, WorkflowStatus, whole_seconds};
use super::exit::Exit;
use super::history::Reader;
use super::output::{Output, OutputArgs};
use super::remote::RemoteArgs;
use super::timeline;

/// Options of `describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The workflow's id.
    id: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) async fn run(args: DescribeArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.remote.open()?;
    let answer = server.status(&args.id).await?;
    let events = Reader::new(&args.id, Vec::new()).read(&server).await?;
    if args.output.is_json() {
        output.json(&json!({ "workflow": answer, "events": events }))?;
        return Ok(Exit::Done.into());
    }
    let status: WorkflowStatus = answers::read(&answer)?;
    for (name, value) in facts(&status) {
        output.line(format!("{name:<13} {value}"))?;
    }
    output.line("")?;
    timeline::lines(&events, status.started_at).iter().try_for_each(|line| output.line(line))?;
    Ok(Exit::Done.into())
}

/// What there is to say beside the timeline.
fn facts(status: &WorkflowStatus) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("workflow", status.workflow_id.clone()),
        ("type", status.workflow_type.clone()),
        ("status", status.status.to_string()),
        ("started", whole_seconds(status.started_at)),
    ];
    let took = status.updated_at.duration_since(status.started_at).as_secs_f64();
    let updated = if status.status.is_open() { "updated" } else { "ended" };
    facts.push((updated, format!("{}, after {took:.3} s", whole_seconds(status.updated_at))));
    if let Some(progress) = &status.progress {
        let (done, total) = (progress.completed_steps, progress.total_steps);
        let is_going_on = status.status.is_open() && status.damaged.is_none();
        let message = progress.status_message.as_deref().filter(|_| is_going_on).unwrap_or_default();
        let text = format!("{done} of {total} steps, {:.0} %  {message}", progress.percentage);
        facts.push(("progress", text.trim_end().to_owned()));
    }
    if let Some(items) = &status.items {
        facts.push(("items", format!("{} of {}, {} failed", items.completed, items.total, items.failed)));
    }
    if let Some(end) = status.estimated_end().filter(|_| status.status.is_open()) {
        facts.push(("should end", whole_seconds(end)));
    }
    facts.extend(status.cancelled_at.map(|time| ("cancelled", whole_seconds(time))));
    facts.extend(status.retried_from.iter().map(|id| ("retried from", id.clone())));
    facts.extend(status.retried_as.iter().map(|id| ("retried as", id.clone())));
    facts.extend(status.damaged.iter().map(|damaged| ("damaged", damaged.clone())));
    facts.extend(status.error.iter().filter(|_| status.damaged.is_none()).map(|error| ("error", error.clone())));
    facts.extend(status.result.iter().map(|result| ("result", format!("{result:#}"))));
    facts
}
