//! `workflow-service reference seed`: many entities for the services that `dev` serves.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use clock::SystemClock;
use contracts::ids::{PLAIN_ID, is_plain_id};
use reference_services::{MAX_SEEDED_ENTITIES, Services};
use workflow_service::app::create_private;

use super::ServerArgs;
use super::exit::{CommandError, Exit};
use super::output::Output;
use super::progress::Progress;

/// Options of `reference`.
#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    #[command(subcommand)]
    command: ReferenceCommand,
}

#[derive(Debug, Subcommand)]
enum ReferenceCommand {
    /// Fills a tenant with accounts, profiles and memberships, a third each; goes on where an earlier call stopped.
    Seed(SeedArgs),
}

/// Options of `reference seed`.
#[derive(Debug, Args)]
struct SeedArgs {
    /// The tenant, created if it is not there.
    #[arg(long)]
    tenant: String,
    /// How many entities there shall be in all.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MAX_SEEDED_ENTITIES))]
    entities: u64,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: ReferenceArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let ReferenceCommand::Seed(args) = args.command;
    seed(&args, output).await
}

/// `dev` may serve the same directory meanwhile: SQLite lets one write at a time, a service keeps nothing of a table in
/// memory, and a batch of rows takes far less than the 5 s for which a call waits for its turn.
async fn seed(args: &SeedArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let SeedArgs { tenant, entities, server } = args;
    if !is_plain_id(tenant) {
        return Err(CommandError::usage(format!("--tenant: a tenant's id is {PLAIN_ID}")));
    }
    let data_dir = server.settings()?.data_dir;
    create_private(&data_dir)?;
    let directory = data_dir.join("services");
    let services = Services::open(&directory, Arc::new(SystemClock)).await?;
    let progress = Progress::begin();
    services.seed_entities(tenant, *entities, |done| progress.set(done, *entities, None, "")).await?;
    drop(progress);
    let directory = directory.display();
    output.line(format!("{tenant}: {entities} entities (accounts, profiles, memberships) in {directory}"))?;
    Ok(Exit::Done.into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::commands::exit;

    async fn seed_into(directory: &Path, tenant: &str, entities: u64) -> anyhow::Result<ExitCode> {
        let server = ServerArgs { config: None, data_dir: Some(directory.to_owned()) };
        seed(&SeedArgs { tenant: tenant.to_owned(), entities, server }, &mut Output::of_process()).await
    }

    #[tokio::test]
    async fn seeding_goes_on_while_somebody_serves_the_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let served = Services::open(&directory.path().join("services"), Arc::new(SystemClock)).await.expect("opens");
        for (entities, rows) in [(7, [3, 2, 2]), (8, [3, 3, 2]), (8, [3, 3, 2])] {
            seed_into(directory.path(), "tenant-1", entities).await.expect("seeds");
            let snapshot = served.snapshot(Some("tenant-1")).await.expect("a snapshot");
            let tables = [("auth", "accounts"), ("user", "profiles"), ("tenant", "memberships")];
            let found = tables.map(|(service, table)| snapshot[service][table].as_array().map_or(0, Vec::len));
            assert_eq!(found, rows);
        }
    }

    #[tokio::test]
    async fn a_tenant_has_a_plain_id() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = seed_into(directory.path(), "a b", 1).await.expect_err("no tenant");
        assert_eq!(exit::of(&error), Exit::WrongUsage);
    }
}
