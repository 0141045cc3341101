//! `workflow-service keys`: the key file, by which backups are encrypted and signed.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clock::{Clock as _, SystemClock};
use contracts::Timestamp;
use serde_json::{Value, json};
use vault::{FileKeys, FileKeysError, PublicKey};
use workflow_service::Settings;
use workflow_service::app::create_private;

use super::ServerArgs;
use super::exit::Exit;
use super::output::{Output, OutputArgs};

/// Options of `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Creates the key file; one that exists is never overwritten.
    Init(ServerArgs),
    /// Adds new keys, which are used from now on; the old ones stay, for the backups that need them.
    Rotate(ServerArgs),
    /// Shows the public keys, by which everybody can verify a backup, newest first.
    Show(ShowArgs),
}

/// Options of `keys show`.
#[derive(Debug, Args)]
struct ShowArgs {
    /// Only the current public key, as a PEM file.
    #[arg(long, conflicts_with = "output")]
    pem: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: KeysArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    match args.command {
        KeysCommand::Init(server) => init(&server.settings()?, output)?,
        KeysCommand::Rotate(server) => rotate(&server.settings()?, output)?,
        KeysCommand::Show(args) => show(&args, output)?,
    }
    Ok(Exit::Done.into())
}

/// Creates the key file for a trial, unless there is one. Whether it did.
pub(super) fn init_if_missing(settings: &Settings) -> anyhow::Result<bool> {
    if settings.key_file.exists() {
        return Ok(false);
    }
    match FileKeys::init(&settings.key_file, SystemClock.now()) {
        Ok(()) => Ok(true),
        // Somebody else did meanwhile.
        Err(FileKeysError::Exists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn init(settings: &Settings, output: &mut Output) -> anyhow::Result<()> {
    let file = &settings.key_file;
    if file.parent() == Some(settings.data_dir.as_path()) {
        create_private(&settings.data_dir)?;
    }
    FileKeys::init(file, SystemClock.now())?;
    output.line(format!("created {}", file.display()))?;
    show_current(&FileKeys::open(file)?, output)?;
    output.line("Keep a copy of this file apart from the backups: without it no backup can be read.")
}

fn rotate(settings: &Settings, output: &mut Output) -> anyhow::Result<()> {
    let file = &settings.key_file;
    FileKeys::rotate(file, SystemClock.now())?;
    output.line(format!("added new keys to {}; the old ones stay", file.display()))?;
    show_current(&FileKeys::open(file)?, output)?;
    output
        .line("Replace the copy that is kept apart from the backups: without the new keys no later backup can be read.")
}

fn show(args: &ShowArgs, output: &mut Output) -> anyhow::Result<()> {
    let file = args.server.settings()?.key_file;
    let keys = FileKeys::open(&file)?;
    if args.pem {
        let current = keys.public_keys().first().map(PublicKey::to_pem).unwrap_or_default();
        return output.bytes(current.as_bytes());
    }
    let described = described(&keys);
    if args.output.is_json() {
        let public_keys: Vec<Value> = described.iter().map(Described::document).collect();
        return output.json(&json!({ "key_file": file.display().to_string(), "public_keys": public_keys }));
    }
    output.line(format!("key file {}", file.display()))?;
    described.iter().try_for_each(|key| key.show(output))
}

fn show_current(keys: &FileKeys, output: &mut Output) -> anyhow::Result<()> {
    described(keys).first().map_or(Ok(()), |key| key.show(output))
}

/// A public key, and what the key file tells about it.
struct Described {
    key: PublicKey,
    created_at: Option<Timestamp>,
    is_current: bool,
}

fn described(keys: &FileKeys) -> Vec<Described> {
    let numbered = keys.public_keys().into_iter().enumerate();
    numbered
        .map(|(number, key)| Described { created_at: keys.created_at(&key), key, is_current: number == 0 })
        .collect()
}

impl Described {
    fn show(&self, output: &mut Output) -> anyhow::Result<()> {
        let created = self.created_at.map(|at| format!(", created at {at:.0}")).unwrap_or_default();
        let current = if self.is_current { ", the current one" } else { "" };
        output.line(format!("public key {}{created}{current}", self.key.key_id()))?;
        output.line(self.key.to_pem().trim_end())
    }

    fn document(&self) -> Value {
        let Self { key, created_at, is_current } = self;
        json!({ "key_id": key.key_id(), "created_at": created_at, "current": is_current, "pem": key.to_pem() })
    }
}
