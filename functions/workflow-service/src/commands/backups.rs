//! `workflow-service backup create|restore|drill|list|show|delete`: what is asked of a running server.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::answers::{seconds, text};
use super::exit::Exit;
use super::output::{Output, say};
use super::remote::{AskArgs, Server, word_of};
use super::start::follow;
use super::table::Table;

/// Options of what is about all backups.
#[derive(Debug, Args)]
pub(super) struct AllArgs {
    #[command(flatten)]
    common: AskArgs,
}

/// Options of what is about one backup.
#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// The backup's name.
    backup_id: String,
    #[command(flatten)]
    common: AskArgs,
}

/// Options of `backup create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The name that it gets.
    backup_id: String,
    /// A service (several); all of them if not given.
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,
    /// Removes it after so many days.
    #[arg(long)]
    keep_days: Option<u32>,
    /// Removes older backups that were made with this option, but for the newest so many.
    #[arg(long)]
    keep_count: Option<u32>,
    #[command(flatten)]
    common: AskArgs,
}

/// Options of `backup restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup's name.
    backup_id: String,
    /// What becomes of what is there and is something else.
    #[arg(long, value_enum)]
    on_conflict: Option<OnConflict>,
    /// Another tenant of yours that it goes into.
    #[arg(long, value_name = "TENANT")]
    into: Option<String>,
    /// Only says what would come of it.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: AskArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnConflict {
    Overwrite,
    Skip,
    Fail,
}

pub(super) async fn create(args: CreateArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let CreateArgs { backup_id, services, keep_days, keep_count, common } = args;
    let services = if services.is_empty() { Value::Null } else { json!(services) };
    let request =
        json!({ "backup_id": backup_id, "services": services, "keep_days": keep_days, "keep_count": keep_count });
    start(&common, "backup", request, output).await
}

pub(super) async fn restore(args: RestoreArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let RestoreArgs { backup_id, on_conflict, into, dry_run, common } = args;
    let request = json!({
        "backup_id": backup_id, "on_conflict": on_conflict.and_then(word_of), "target_tenant_id": into, "dry_run": dry_run,
    });
    start(&common, "restore", request, output).await
}

pub(super) async fn drill(args: OneArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    start(&args.common, "restore", json!({ "backup_id": args.backup_id, "drill": true }), output).await
}

/// Starts it, without the fields that were not given, and waits for the end.
async fn start(common: &AskArgs, what: &str, mut request: Value, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = common.remote.open()?;
    request["tenant_id"] = common.remote.tenant()?.into();
    if let Some(fields) = request.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let call = server.request(Method::POST, &["api", "v1", "coordination", what]).header("prefer", "wait=1");
    let started = server.ask(call.json(&request)).await?;
    let id = started["workflow_id"].as_str().context("the server named no workflow")?;
    say(format!("started {id}"));
    follow(&server, id, &common.output, output).await
}

pub(super) async fn list(args: AllArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.common.remote.open()?;
    let backups = server.all(&PATH, "backups", &[]).await?;
    if args.common.output.is_json() {
        output.json(&json!({ "backups": backups }))?;
        return Ok(Exit::Done.into());
    }
    let mut table = Table::new(["BACKUP", "CREATED", "RECORDS", "BYTES", "KEPT", "LAST DRILL"]);
    backups.iter().for_each(|backup| table.add(row(backup)));
    table.take_lines().iter().try_for_each(|line| output.line(line))?;
    Ok(Exit::Done.into())
}

pub(super) async fn show(args: OneArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.common.remote.open()?;
    let backup = server.ask(one(&server, Method::GET, &args.backup_id)?).await?;
    if args.common.output.is_json() {
        output.json(&backup)?;
        return Ok(Exit::Done.into());
    }
    let mut table = Table::new(["SERVICE", "TYPE", "ITEMS"]);
    for service in backup["services"].as_array().into_iter().flatten() {
        for of in service["types"].as_array().into_iter().flatten() {
            table.add([
                text(service, "service").to_owned(),
                text(of, "entity_type").to_owned(),
                of["items"].to_string(),
            ]);
        }
    }
    let (began, created) = (seconds(&backup, "began_at"), seconds(&backup, "created_at"));
    output.line(format!(
        "backup {}, made from {began} to {created} by {}",
        args.backup_id,
        text(&backup, "workflow_id")
    ))?;
    table.take_lines().iter().try_for_each(|line| output.line(line))?;
    output.line(format!("{} bytes in {}", backup["backup_size_bytes"], text(&backup, "backup_location")))?;
    if backup["changed_during"] == true {
        output.line("Data changed while it was read: the backup is of no single moment.")?;
    }
    if backup["dangling_references"] != 0 {
        output.line(format!("References to things that are not in it: {}.", backup["dangling_references"]))?;
    }
    output.line(format!("Kept: {}", kept(&backup)))?;
    output.line(format!("Last drill: {}", last_drill(&backup)))?;
    Ok(Exit::Done.into())
}

pub(super) async fn delete(args: OneArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.common.remote.open()?;
    let answer = server.ask(one(&server, Method::DELETE, &args.backup_id)?).await?;
    match args.common.output.is_json() {
        true => output.json(&answer)?,
        false => output.line(format!("{} is deleted. {}", args.backup_id, text(&answer, "message")))?,
    }
    Ok(Exit::Done.into())
}

const PATH: [&str; 4] = ["api", "v1", "coordination", "backups"];

fn one(server: &Server, method: Method, backup_id: &str) -> anyhow::Result<reqwest::RequestBuilder> {
    server.about_one(method, &PATH, backup_id, &[], "name of a backup")
}

fn row(backup: &Value) -> [String; 6] {
    [
        text(backup, "backup_id").to_owned(),
        seconds(backup, "created_at"),
        backup["records_backed_up"].to_string(),
        backup["backup_size_bytes"].to_string(),
        kept(backup),
        last_drill(backup),
    ]
}

fn kept(backup: &Value) -> String {
    if backup["removing_since"].is_string() {
        return "being removed".to_owned();
    }
    let until = backup["keep_until"].is_string().then(|| format!("until {}", seconds(backup, "keep_until")));
    let newest = backup["keep_count"].as_u64().map(|count| format!("while among the newest {count}"));
    let conditions: Vec<String> = until.into_iter().chain(newest).collect();
    if conditions.is_empty() { "for ever".to_owned() } else { conditions.join(", ") }
}

fn last_drill(backup: &Value) -> String {
    let drill = &backup["last_drill"];
    if drill.is_null() {
        return "never".to_owned();
    }
    let at = seconds(drill, "at");
    match drill["passed"] == true {
        true => format!("passed in {} s, {at}", drill["recovery_seconds"]),
        false => format!("failed by {}, {at}", text(drill, "error")),
    }
}
