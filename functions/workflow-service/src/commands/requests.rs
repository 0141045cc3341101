//! `workflow-service requests list|show|extend`: requests of persons that must be answered in time, asked of a running server.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::answers::{seconds, text};
use super::exit::Exit;
use super::output::Output;
use super::remote::{AskArgs, Server, word_of};
use super::table::Table;

/// Options of `requests`.
#[derive(Debug, Args)]
pub(crate) struct RequestsArgs {
    #[command(subcommand)]
    command: RequestsCommand,
}

#[derive(Debug, Subcommand)]
enum RequestsCommand {
    /// Lists the requests of the tenant's persons, what is due first before others.
    List(ListArgs),
    /// Shows a request.
    Show(ShowArgs),
    /// Gives more time to a request that is not answered in full, once: three months after it came.
    Extend(ExtendArgs),
}

/// Options of `requests list`.
#[derive(Debug, Args)]
struct ListArgs {
    /// Only those in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only those that are due before this moment, such as 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    due_before: Option<String>,
    #[command(flatten)]
    common: AskArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Overdue,
    Completed,
    #[value(name = "partially_completed")]
    PartiallyCompleted,
    Failed,
    Cancelled,
}

/// Options of `requests show`.
#[derive(Debug, Args)]
struct ShowArgs {
    /// The request's name: its compliance_id.
    compliance_id: String,
    #[command(flatten)]
    common: AskArgs,
}

/// Options of `requests extend`.
#[derive(Debug, Args)]
struct ExtendArgs {
    /// The request's name: its compliance_id.
    compliance_id: String,
    /// Why; the person is to be told as well.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    common: AskArgs,
}

pub(crate) async fn run(args: RequestsArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    match args.command {
        RequestsCommand::List(args) => list(args, output).await,
        RequestsCommand::Show(args) => show(args, output).await,
        RequestsCommand::Extend(args) => extend(args, output).await,
    }
}

async fn list(args: ListArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let ListArgs { state, due_before, common } = args;
    let server = common.remote.open()?;
    let filters = [("state", state.and_then(word_of)), ("due_before", due_before)];
    let mut requests = server.all(&PATH, "requests", &filters).await?;
    // Those that must still be answered come first.
    requests.sort_by_key(|request| request["days_left"].is_null());
    if common.output.is_json() {
        output.json(&json!({ "requests": requests }))?;
        return Ok(Exit::Done.into());
    }
    let mut table = Table::new(["REQUEST", "TYPE", "STATE", "RECEIVED", "DUE", "DAYS LEFT", "WORKFLOW"]);
    requests.iter().for_each(|request| table.add(row(request)));
    table.take_lines().iter().try_for_each(|line| output.line(line))?;
    Ok(Exit::Done.into())
}

async fn show(args: ShowArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.common.remote.open()?;
    let request = server.ask(one(&server, Method::GET, &args.compliance_id, &[])?).await?;
    if args.common.output.is_json() {
        output.json(&request)?;
        return Ok(Exit::Done.into());
    }
    let (what, state) = (text(&request, "compliance_type"), text(&request, "state"));
    output.line(format!(
        "request {}, {what}, {state}, answered by {}",
        args.compliance_id,
        text(&request, "workflow_id")
    ))?;
    output
        .line(format!("Of {}", request["subject_user_id"].as_str().unwrap_or("a person who is not known any more")))?;
    output.line(format!("Received at {}, due at {}", seconds(&request, "received_at"), due(&request)))?;
    if let Some(reason) = request["extension_reason"].as_str() {
        output.line(format!("Extended from {}: {reason}", seconds(&request, "due_at")))?;
    }
    if !request["completed_at"].is_null() {
        output.line(format!("Completed at {}", seconds(&request, "completed_at")))?;
    }
    if !request["days_left"].is_null() {
        output.line(format!("Days left: {}", request["days_left"]))?;
    }
    Ok(Exit::Done.into())
}

async fn extend(args: ExtendArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.common.remote.open()?;
    let call = one(&server, Method::POST, &args.compliance_id, &["extension"])?;
    let request = server.ask(call.json(&json!({ "reason": args.reason }))).await?;
    match args.common.output.is_json() {
        true => output.json(&request)?,
        false => output.line(format!("{} must be answered by {}", args.compliance_id, due(&request)))?,
    }
    Ok(Exit::Done.into())
}

const PATH: [&str; 4] = ["api", "v1", "compliance", "requests"];

fn one(server: &Server, method: Method, compliance_id: &str, what: &[&str]) -> anyhow::Result<reqwest::RequestBuilder> {
    server.about_one(method, &PATH, compliance_id, what, "name of a request")
}

fn row(request: &Value) -> [String; 7] {
    let days_left = &request["days_left"];
    [
        text(request, "compliance_id").to_owned(),
        text(request, "compliance_type").to_owned(),
        text(request, "state").to_owned(),
        seconds(request, "received_at"),
        due(request),
        if days_left.is_null() { "-".to_owned() } else { days_left.to_string() },
        text(request, "workflow_id").to_owned(),
    ]
}

/// By when it must be answered.
fn due(request: &Value) -> String {
    let name = if request["extended_until"].is_null() { "due_at" } else { "extended_until" };
    seconds(request, name)
}
