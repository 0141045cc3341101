//! `workflow-service backup`; here `verify`: whether a folder holds a backup as it was made, offline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vault::{FileKeys, Manifest, PublicKey, VerifyReport, verify_folder};

use super::exit::{CommandError, Exit};
use super::output::{Output, OutputArgs};
use super::table::Table;
use super::{ServerArgs, backups};

/// Options of `backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Backs up everything that services hold of the tenant, and waits for the end.
    Create(backups::CreateArgs),
    /// Writes a backup back, and waits for the end.
    Restore(backups::RestoreArgs),
    /// Restores a backup into a tenant of its own, compares it, and removes that tenant again.
    Drill(backups::OneArgs),
    /// Lists the tenant's backups, newest first.
    List(backups::AllArgs),
    /// Shows what a backup holds.
    Show(backups::OneArgs),
    /// Removes a backup and its files.
    Delete(backups::OneArgs),
    /// Says whether a folder holds a backup as it was made: asks no server, and needs no secret key.
    Verify(VerifyArgs),
}

/// Options of `backup verify`.
#[derive(Debug, Args)]
struct VerifyArgs {
    /// The folder with the backup.
    path: PathBuf,
    /// A public key that is trusted to have signed the backup, a PEM file (several); the installation's own public keys
    /// if not given.
    #[arg(long = "key", value_name = "PUBLIC.pem")]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: BackupArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    match args.command {
        BackupCommand::Create(args) => backups::create(args, output).await,
        BackupCommand::Restore(args) => backups::restore(args, output).await,
        BackupCommand::Drill(args) => backups::drill(args, output).await,
        BackupCommand::List(args) => backups::list(args, output).await,
        BackupCommand::Show(args) => backups::show(args, output).await,
        BackupCommand::Delete(args) => backups::delete(args, output).await,
        BackupCommand::Verify(args) => verify(&args, output),
    }
}

fn verify(args: &VerifyArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let keys = trusted_keys(&args.keys, &args.server)?;
    let report = verify_folder(&args.path, &keys)?;
    let is_whole = report.problems.is_empty();
    if args.output.is_json() {
        output.json(&document(&args.path, &report))?;
    } else {
        lines(&args.path, &report).iter().try_for_each(|line| output.line(line))?;
    }
    Ok(if is_whole { Exit::Done } else { Exit::Failed }.into())
}

/// The keys that are trusted to have signed: those that are given, or else the installation's own.
pub(super) fn trusted_keys(files: &[PathBuf], server: &ServerArgs) -> anyhow::Result<Vec<PublicKey>> {
    if files.is_empty() { own_keys(server) } else { given_keys(files) }
}

/// The keys come from whoever verifies, and never from the folder: who changes a backup could put their own key beside it.
fn given_keys(files: &[PathBuf]) -> anyhow::Result<Vec<PublicKey>> {
    let read = |file: &PathBuf| {
        let unusable = |problem: String| CommandError::usage(format!("--key {}: {problem}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        PublicKey::from_pem(&text).map_err(|error| unusable(error.to_string()))
    };
    files.iter().map(read).collect()
}

/// The public keys of this installation.
fn own_keys(server: &ServerArgs) -> anyhow::Result<Vec<PublicKey>> {
    let keys = FileKeys::open(&server.settings()?.key_file);
    let keys = keys.map_err(|error| CommandError::usage(format!("{error}; or give --key with a public key")))?;
    Ok(keys.public_keys())
}

/// What of a type is in a backup.
struct TypeRow<'a> {
    service: &'a str,
    entity_type: &'a str,
    items: u64,
    parts: usize,
}

fn types(manifest: &Manifest) -> Vec<TypeRow<'_>> {
    let parts = |service: &str, entity_type: &str| {
        manifest.parts.iter().filter(|part| part.service == service && part.entity_type == entity_type).count()
    };
    let types = manifest.services.iter().flat_map(|service| service.types.iter().map(move |of| (service, of)));
    types
        .map(|(service, of)| TypeRow {
            service: &service.service,
            entity_type: &of.entity_type,
            items: of.items,
            parts: parts(&service.service, &of.entity_type),
        })
        .collect()
}

fn lines(path: &Path, report: &VerifyReport) -> Vec<String> {
    let VerifyReport { manifest, good_parts, problems } = report;
    let Manifest { backup_id, tenant_id, began_at, created_at, .. } = manifest;
    let mut lines =
        vec![format!("backup {backup_id} of the tenant {tenant_id}, made from {began_at:.0} to {created_at:.0}")];
    let mut table = Table::new(["SERVICE", "TYPE", "ITEMS", "PARTS"]);
    for TypeRow { service, entity_type, items, parts } in types(manifest) {
        table.add([service.to_owned(), entity_type.to_owned(), items.to_string(), parts.to_string()]);
    }
    lines.extend(table.take_lines());
    if manifest.changed_during {
        lines.push("Data changed while it was read: the backup is of no single moment.".to_owned());
    }
    if manifest.dangling_count > 0 {
        lines.push(format!("References to things that are not in the backup: {}.", manifest.dangling_count));
    }
    // Whoever changed the folder may have named a file so that its name looks like a line of ours.
    lines.extend(problems.iter().map(|problem| format!("problem: {problem}").replace('\n', "\u{fffd}")));
    let (path, parts) = (path.display(), manifest.parts.len());
    lines.push(match problems.len() {
        0 => format!("{path} is whole: all {parts} parts are as they were signed"),
        count => {
            format!("{path} is not whole: {good_parts} of {parts} parts are as they were signed, {count} problems")
        }
    });
    lines
}

fn document(path: &Path, report: &VerifyReport) -> Value {
    let VerifyReport { manifest, good_parts, problems } = report;
    let types: Vec<Value> = types(manifest)
        .into_iter()
        .map(|TypeRow { service, entity_type, items, parts }| {
            json!({ "service": service, "entity_type": entity_type, "items": items, "parts": parts })
        })
        .collect();
    let problems: Vec<Value> =
        problems.iter().map(|problem| json!({ "name": problem.name, "problem": problem.to_string() })).collect();
    json!({
        "path": path.display().to_string(), "whole": problems.is_empty(), "backup_id": manifest.backup_id,
        "tenant_id": manifest.tenant_id, "began_at": manifest.began_at, "created_at": manifest.created_at,
        "changed_during": manifest.changed_during, "dangling_count": manifest.dangling_count,
        "types": types, "parts": manifest.parts.len(), "good_parts": good_parts, "problems": problems,
    })
}
