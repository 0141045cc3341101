//! `workflow-service start`

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clock::{Clock as _, SystemClock};
use contracts::Status;
use serde_json::Value;
use uuid::Uuid;

use super::answers::{self, WorkflowStatus};
use super::exit::{self, CommandError, Exit};
use super::output::{Output, OutputArgs, say};
use super::patience::Patience;
use super::progress::Progress;
use super::remote::{RemoteArgs, Server};

/// How long it takes until a server is asked again that answers at once: at first, and after a while.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Options of `start`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The workflow, e.g. user-onboarding.
    #[arg(value_name = "TYPE")]
    workflow: String,
    /// The request: a file, - for standard input, or the JSON itself (@FILE is a file, too).
    #[arg(long, value_name = "FILE|-|JSON")]
    input: String,
    /// A file of entities for a bulk operation, CSV or JSON Lines: it is uploaded first.
    #[arg(long, value_name = "FILE")]
    entities: Option<PathBuf>,
    /// Waits for the end and shows the progress.
    #[arg(long)]
    wait: bool,
    /// Makes a repetition of this command safe. Within one command each repetition is.
    #[arg(long)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) async fn run(args: StartArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.remote.open()?;
    let mut request = request(&args.input)?;
    let workflow = args.workflow.replace('_', "-");
    if args.entities.is_some() && workflow != "bulk-operation" {
        return Err(CommandError::usage("--entities is for bulk-operation alone"));
    }
    if let Some(file) = &args.entities {
        let upload_id = server.upload(file, request["operation_id"].as_str()).await?;
        match request.get_mut("input").filter(|input| input.is_object()) {
            Some(input) => input["upload_id"] = upload_id.into(),
            None => request["input"] = serde_json::json!({ "upload_id": upload_id }),
        }
    }
    let key = args.idempotency_key.unwrap_or_else(|| Uuid::now_v7().to_string());
    let started = server.start(&workflow, &request, &key).await;
    let started = started.map_err(|error| match exit::of(&error) {
        Exit::Unavailable => {
            error.context(format!("not known to be started; --idempotency-key {key} makes it safe to repeat"))
        }
        _ => error,
    })?;
    let id = started["workflow_id"].as_str().context("the server named no workflow")?;
    match (args.output.is_json(), args.wait) {
        (true, false) => output.json(&started)?,
        // The one document comes at the end.
        (true, true) => say(format!("started {id}")),
        (false, _) => output.line(id)?,
    }
    output.flush()?;
    if !args.wait {
        return Ok(Exit::Done.into());
    }
    follow(&server, id, &args.output, output).await
}

/// Waits for the end of a workflow, shows its progress meanwhile, and then what it came to.
pub(crate) async fn follow(
    server: &Server,
    id: &str,
    args: &OutputArgs,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let answer = ended(server, id).await?;
    let status: WorkflowStatus = answers::read(&answer)?;
    if args.is_json() {
        output.json(&answer)?;
    } else {
        output.line(status.status.as_str())?;
        status.error.iter().try_for_each(|error| output.line(error))?;
        status.result.iter().try_for_each(|result| output.line(format!("{result:#}")))?;
    }
    let has_completed = status.status == Status::Completed;
    Ok(if has_completed { Exit::Done } else { Exit::EndedOtherwise }.into())
}

/// The request that `--input` means.
fn request(input: &str) -> anyhow::Result<Value> {
    let unreadable = |error: std::io::Error| {
        CommandError::usage(format!("--input: {input} cannot be read: {error} (JSON itself begins with a brace)"))
    };
    let text = if input.trim_start().starts_with('{') {
        input.to_owned()
    } else if input == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
        text
    } else {
        std::fs::read_to_string(input.strip_prefix('@').unwrap_or(input)).map_err(unreadable)?
    };
    serde_json::from_str(&text).map_err(|error| CommandError::usage(format!("--input is not JSON: {error}")))
}

/// Waits for the end, however often the server is away meanwhile; the last status.
async fn ended(server: &Server, id: &str) -> anyhow::Result<Value> {
    let (mut patience, progress) = (Patience::default(), Progress::begin());
    let (mut pause, mut tag) = (FIRST_PAUSE, None);
    loop {
        let asked_at = SystemClock.instant();
        let asked = patience.ask(&progress, async || server.changed_status(id, tag.as_deref()).await).await?;
        if let Some((answer, new_tag)) = asked {
            let status: WorkflowStatus = answers::read(&answer)?;
            if !status.status.is_open() {
                return Ok(answer);
            }
            show(&progress, &status);
            tag = new_tag;
        }
        // Not every server waits, and one that does may have much to tell.
        if SystemClock.instant().since(asked_at) < LONGEST_PAUSE {
            clock::sleep(&SystemClock, pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn show(progress: &Progress, status: &WorkflowStatus) {
    let message = status.progress.as_ref().and_then(|progress| progress.status_message.as_deref()).unwrap_or_default();
    let (done, total) = match (&status.items, &status.progress) {
        (Some(items), _) if items.total > 0 => (items.completed + items.failed, items.total),
        (_, Some(steps)) => (steps.completed_steps.into(), steps.total_steps.into()),
        (_, None) => (0, 1),
    };
    progress.set(done, total, status.estimated_end(), message);
}
