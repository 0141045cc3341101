//! `workflow-service certificate verify`: whether a certificate of erasure is as it was signed, offline.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use contracts::compliance::ERASURE_CERTIFICATE;
use serde_json::{Value, json};
use vault::verify_document;

use super::ServerArgs;
use super::backup::trusted_keys;
use super::exit::{CommandError, Exit};
use super::output::{Output, OutputArgs};
use super::table::Table;

/// Options of `certificate`.
#[derive(Debug, Args)]
pub(crate) struct CertificateArgs {
    #[command(subcommand)]
    command: CertificateCommand,
}

#[derive(Debug, Subcommand)]
enum CertificateCommand {
    /// Says whether a certificate of erasure is as it was signed: asks no server, and needs no secret key.
    Verify(VerifyArgs),
}

/// Options of `certificate verify`.
#[derive(Debug, Args)]
struct VerifyArgs {
    /// The file, `certificate.json` among the results of an erasure.
    file: PathBuf,
    /// A public key that is trusted to have signed the certificate, a PEM file (several); the installation's own public
    /// keys if not given.
    #[arg(long = "key", value_name = "PUBLIC.pem")]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &CertificateArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let CertificateCommand::Verify(args) = &args.command;
    let file = args.file.display().to_string();
    let bytes = std::fs::read(&args.file).map_err(|error| CommandError::usage(format!("{file}: {error}")))?;
    let keys = trusted_keys(&args.keys, &args.server)?;
    let verified = verify_document(ERASURE_CERTIFICATE, &bytes, &keys);
    if args.output.is_json() {
        let problem = verified.as_ref().err().map(ToString::to_string);
        output.json(&json!({ "file": file, "genuine": problem.is_none(), "problem": problem, "certificate": verified.as_ref().ok() }))?;
    } else {
        match &verified {
            Ok(document) => lines(&file, document).iter().try_for_each(|line| output.line(line))?,
            Err(problem) => output.line(format!("{file} is not to be believed: {problem}"))?,
        }
    }
    Ok(if verified.is_ok() { Exit::Done } else { Exit::Failed }.into())
}

fn lines(file: &str, document: &Value) -> Vec<String> {
    let text = |name: &str| document[name].as_str().unwrap_or_default();
    let mut lines = vec![
        format!(
            "certificate {} of the tenant {}, request {}",
            text("number"),
            text("tenant_id"),
            text("compliance_id")
        ),
        format!("received {}, begun {}, completed {}", text("received_at"), text("began_at"), text("completed_at")),
    ];
    let words =
        |list: &Value| list.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let (asked, left_out) = (words(&document["scope"]), words(&document["not_erased_as_other_categories_are_in_it"]));
    if !asked.is_empty() {
        lines.push(format!("only these categories were to be erased: {asked}"));
    }
    if !left_out.is_empty() {
        lines.push(format!("not erased, as other categories are in it: {left_out}"));
    }
    let mut table = Table::new(["SERVICE", "TYPE", "REMOVED", "MASKED", "RETAINED", "HELD"]);
    for of in document["types"].as_array().into_iter().flatten() {
        let cell = |name: &str| of[name].as_str().map_or_else(|| of[name].to_string(), str::to_owned);
        table.add(["service", "entity_type", "removed", "masked", "retained", "held"].map(cell));
    }
    lines.extend(table.take_lines());
    for held in document["still_held_by"].as_array().into_iter().flatten() {
        let until = held["kept_until"].as_str().unwrap_or("somebody removes it");
        let id = held["backup_id"].as_str().unwrap_or_default();
        lines.push(format!("The backup {id} may hold the data until {until}."));
    }
    let besides = &document["besides"];
    let counts = besides.as_object().into_iter().flatten().filter(|(_, value)| value.is_u64());
    lines.extend(counts.map(|(name, count)| format!("{}: {count}", name.replace('_', " "))));
    for kept in besides["retained"].as_array().into_iter().flatten() {
        let text = |name: &str| kept[name].as_str().unwrap_or_default();
        lines.push(format!("The {} stays ({}).", text("what"), text("basis")));
    }
    lines.push(format!("{file} is as it was signed"));
    lines
}
