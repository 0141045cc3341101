//! `workflow-service holds create|list|show|release`: legal holds, asked of a running server.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::answers::{seconds, text};
use super::exit::{CommandError, Exit};
use super::output::Output;
use super::remote::{AskArgs, Server, word_of};
use super::table::Table;

/// Options of `holds`.
#[derive(Debug, Args)]
pub(crate) struct HoldsArgs {
    #[command(subcommand)]
    command: HoldsCommand,
}

#[derive(Debug, Subcommand)]
enum HoldsCommand {
    /// Places a hold: what it is about must not be erased.
    Create(CreateArgs),
    /// Lists the tenant's holds, newest first.
    List(ListArgs),
    /// Shows a hold.
    Show(ShowArgs),
    /// Releases a hold.
    Release(ReleaseArgs),
}

/// Options of `holds create`.
#[derive(Debug, Args)]
struct CreateArgs {
    /// The name that it gets.
    hold_id: String,
    /// Holds what is kept of this person.
    #[arg(long, value_name = "USER")]
    subject: Option<String>,
    /// Holds only data of this category (several); of everybody, unless --subject is given.
    #[arg(long = "category", value_name = "NAME")]
    categories: Vec<String>,
    /// Holds this one thing.
    #[arg(long, value_name = "SERVICE/TYPE/ID", conflicts_with_all = ["subject", "categories"])]
    record: Option<String>,
    /// Why.
    #[arg(long)]
    reason: String,
    /// Holds before this moment, such as 2027-01-31T00:00:00Z; until it is released if not given.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    common: AskArgs,
}

/// Options of `holds list`.
#[derive(Debug, Args)]
struct ListArgs {
    /// Only those in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only those that name this person.
    #[arg(long, value_name = "USER")]
    subject: Option<String>,
    #[command(flatten)]
    common: AskArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Active,
    Released,
    Expired,
}

/// Options of `holds show`.
#[derive(Debug, Args)]
struct ShowArgs {
    /// The hold's name.
    hold_id: String,
    #[command(flatten)]
    common: AskArgs,
}

/// Options of `holds release`.
#[derive(Debug, Args)]
struct ReleaseArgs {
    /// The hold's name.
    hold_id: String,
    /// Why.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    common: AskArgs,
}

pub(crate) async fn run(args: HoldsArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    match args.command {
        HoldsCommand::Create(args) => create(args, output).await,
        HoldsCommand::List(args) => list(args, output).await,
        HoldsCommand::Show(args) => show(args, output).await,
        HoldsCommand::Release(args) => release(args, output).await,
    }
}

async fn create(args: CreateArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let CreateArgs { hold_id, subject, categories, record, reason, until, common } = args;
    let server = common.remote.open()?;
    let mut request = json!({ "hold_id": hold_id, "subject_user_id": subject, "reason": reason, "until": until });
    if !categories.is_empty() {
        request["data_categories"] = json!(categories);
    }
    if let Some(record) = record {
        let mut parts = record.splitn(3, '/');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let (Some(service), Some(entity_type), Some(id)) = (part(), part(), part()) else {
            return Err(CommandError::usage(format!(
                "--record {record}: expected SERVICE/TYPE/ID, like auth/account/7"
            )));
        };
        request["record"] = json!({ "service": service, "entity_type": entity_type, "entity_id": id });
    }
    let hold = server.ask(server.request(Method::POST, &PATH).json(&request)).await?;
    if common.output.is_json() {
        output.json(&hold)?;
        return Ok(Exit::Done.into());
    }
    output.line(format!("{hold_id} holds {}, {}", about(&hold), end(&hold)))?;
    if hold["overlap_count"] != 0 {
        output.line(format!("Some of the same data may be held by {}", names(&hold, "overlaps", "overlap_count")))?;
    }
    Ok(Exit::Done.into())
}

async fn list(args: ListArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let ListArgs { state, subject, common } = args;
    let server = common.remote.open()?;
    let filters = [("state", state.and_then(word_of)), ("subject_user_id", subject)];
    let holds = server.all(&PATH, "holds", &filters).await?;
    if common.output.is_json() {
        output.json(&json!({ "holds": holds }))?;
        return Ok(Exit::Done.into());
    }
    let mut table = Table::new(["HOLD", "STATE", "PLACED", "UNTIL", "HOLDS", "REASON"]);
    holds.iter().for_each(|hold| table.add(row(hold)));
    table.take_lines().iter().try_for_each(|line| output.line(line))?;
    Ok(Exit::Done.into())
}

async fn show(args: ShowArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.common.remote.open()?;
    let hold = server.ask(one(&server, Method::GET, &args.hold_id)?).await?;
    if args.common.output.is_json() {
        output.json(&hold)?;
        return Ok(Exit::Done.into());
    }
    let (state, placed) = (text(&hold, "state"), seconds(&hold, "placed_at"));
    output.line(format!("hold {}, {state}, placed at {placed} by {}", args.hold_id, by(&hold, "placed_by")))?;
    output.line(format!("Holds {}, {}", about(&hold), end(&hold)))?;
    output.line(format!("Reason: {}", text(&hold, "reason")))?;
    let release = &hold["released"];
    if !release.is_null() {
        let (at, by) = (seconds(release, "at"), by(release, "by"));
        output.line(format!("Released at {at} by {by}: {}", text(release, "reason")))?;
    }
    Ok(Exit::Done.into())
}

async fn release(args: ReleaseArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.common.remote.open()?;
    let call = one(&server, Method::DELETE, &args.hold_id)?.json(&json!({ "reason": args.reason }));
    let hold = server.ask(call).await?;
    if args.common.output.is_json() {
        output.json(&hold)?;
        return Ok(Exit::Done.into());
    }
    output.line(format!("{} is released since {}", args.hold_id, seconds(&hold["released"], "at")))?;
    if hold["still_held_count"] != 0 {
        let names = names(&hold, "still_held_by", "still_held_count");
        output.line(format!("Some of what it held may still be held by {names}"))?;
    }
    let begun: Vec<&str> = hold["deferred"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !begun.is_empty() {
        output.line(format!("What it kept from erasures is erased by {}", begun.join(", ")))?;
    }
    Ok(Exit::Done.into())
}

const PATH: [&str; 4] = ["api", "v1", "compliance", "holds"];

fn one(server: &Server, method: Method, hold_id: &str) -> anyhow::Result<reqwest::RequestBuilder> {
    server.about_one(method, &PATH, hold_id, &[], "name of a hold")
}

fn row(hold: &Value) -> [String; 6] {
    [
        text(hold, "hold_id").to_owned(),
        text(hold, "state").to_owned(),
        seconds(hold, "placed_at"),
        if hold["until"].is_null() { "its release".to_owned() } else { seconds(hold, "until") },
        about(hold),
        text(hold, "reason").to_owned(),
    ]
}

/// What a hold is about.
fn about(hold: &Value) -> String {
    let record = &hold["record"];
    if !record.is_null() {
        let part = |name| text(record, name);
        return format!("{}/{}/{}", part("service"), part("entity_type"), part("entity_id"));
    }
    let categories = hold["data_categories"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let categories: Vec<&str> = categories.collect();
    let which = if categories.is_empty() { "everything".to_owned() } else { categories.join(", ") };
    match hold["subject_user_id"].as_str() {
        Some(subject) => format!("{which} of {subject}"),
        None => format!("{which} of everybody"),
    }
}

fn end(hold: &Value) -> String {
    match hold["until"].is_null() {
        true => "until it is released".to_owned(),
        false => format!("until {}", seconds(hold, "until")),
    }
}

fn by<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or("somebody unknown")
}

/// The names that an answer has, and how many there are besides.
fn names(answer: &Value, names: &str, count: &str) -> String {
    let named: Vec<&str> = answer[names].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let more = answer[count].as_u64().unwrap_or_default().saturating_sub(named.len() as u64);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    named.join(", ") + &more
}
