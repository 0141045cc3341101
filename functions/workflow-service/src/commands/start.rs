//! `workflow-service start`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clock::SystemClock;
use contracts::Status;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::remote::Remote;

/// Options of `start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The workflow, e.g. `user-onboarding`.
    workflow: String,
    /// The request: JSON, or `@FILE`.
    #[arg(long)]
    input: String,
    /// Waits for the end and shows the progress.
    #[arg(long)]
    wait: bool,
    /// Makes a repetition of this command safe.
    #[arg(long)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(args: StartArgs) -> anyhow::Result<ExitCode> {
    let text = match args.input.strip_prefix('@') {
        Some(file) => super::read(file.as_ref())?,
        None => args.input.clone(),
    };
    let request: Value = serde_json::from_str(&text).context("--input is not JSON")?;
    let started = args.remote.start(&args.workflow, &request, args.idempotency_key.as_deref()).await?;
    let id = started["workflow_id"].as_str().context("the server named no workflow")?;
    println!("{id}");
    if args.wait { wait(&args.remote, id).await } else { Ok(ExitCode::SUCCESS) }
}

async fn wait(remote: &Remote, id: &str) -> anyhow::Result<ExitCode> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?;
    let bar = ProgressBar::new(1).with_style(style);
    loop {
        let status = remote.status(id).await?;
        if let Some(progress) = &status.progress {
            bar.set_length(progress.total_steps.into());
            bar.set_position(progress.completed_steps.into());
            bar.set_message(progress.status_message.clone().unwrap_or_default());
        }
        if !status.status.is_open() {
            bar.finish_and_clear();
            println!("{}", status.status);
            if let Some(error) = &status.error {
                println!("{error}");
            }
            if let Some(result) = &status.result {
                println!("{result:#}");
            }
            let ended_well = status.status == Status::Completed;
            return Ok(if ended_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        clock::sleep(&SystemClock, Duration::from_millis(200)).await;
    }
}
