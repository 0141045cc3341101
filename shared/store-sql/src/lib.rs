//! The SQL store: every port of `store` on one database.
//!
//! SQLite in WAL mode with `synchronous=FULL`: one writer task commits what has queued up since its last commit as
//! one transaction and acknowledges it afterwards (group commit); readers have connections of their own. Statements
//! keep to what SQLite and PostgreSQL share, through sqlx's `Any` driver: another database is another set of
//! migrations.
//!
//! The store is fail-stop. After a write error nobody can know what reached the disk, so it refuses every further
//! write and [`SqlStore::failed`] says why; a restart reads the truth from the files.

mod audit;
mod batches;
mod blobs;
mod ends;
mod executions;
mod format;
mod history;
mod journal;
mod list;
#[cfg(test)]
mod plan;
mod readers;
mod rows;
mod steps;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clock::SharedClock;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, ConnectOptions, Row as _, SqlStr};
use store::{BlobReader, StoreError};
use tokio::sync::watch;

pub use blobs::FileBlobs;
pub use format::{FORMAT, format_of};
use readers::{CONNECTIONS, Readers};
use writer::Writer;

/// How hard a commit tries to reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives power loss: `synchronous=FULL`.
    Full,
    /// Survives the process only; for tests that do not cut the power.
    Process,
}

/// Pages that a connection keeps. Twice as many are no faster, as the system keeps the file's pages too; a reader's are of
/// little use, as every commit makes it read them again.
const WRITER_CACHE_KIB: u32 = 512;
const READER_CACHE_KIB: u32 = 256;

/// The store.
#[derive(Clone)]
pub struct SqlStore {
    readers: Readers,
    writer: Writer,
    clock: SharedClock,
    /// Where large requests are.
    blobs: Option<Arc<dyn BlobReader>>,
}

impl SqlStore {
    /// Opens the SQLite file, creating it if need be, and brings its schema up to date.
    pub async fn open(file: &Path, durability: Durability, clock: SharedClock) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let file = file.to_str().ok_or_else(|| StoreError::Unavailable(format!("{file:?} is no UTF-8 path")))?;
        let options: AnyConnectOptions = format!("sqlite://{file}?mode=rwc").parse().map_err(unavailable)?;
        // A server and workers that begin together must not all bring a schema up to date that none of them has yet.
        let opening = PathBuf::from(format!("{file}-opening"));
        let alone = tokio::task::spawn_blocking(move || locked(&opening)).await.map_err(unavailable)?;
        let alone = alone.map_err(unavailable)?;
        let mut connection = options.connect().await.map_err(unavailable)?;
        // journal_mode first: changing it needs the database to itself.
        let synchronous = if durability == Durability::Full { "FULL" } else { "OFF" };
        for pragma in [
            "PRAGMA journal_mode = WAL".to_owned(),
            format!("PRAGMA synchronous = {synchronous}"),
            "PRAGMA busy_timeout = 10000".to_owned(),
            "PRAGMA foreign_keys = ON".to_owned(),
            format!("PRAGMA cache_size = -{WRITER_CACHE_KIB}"),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(pragma)).execute(&mut connection).await.map_err(unavailable)?;
        }
        refuse_other_formats(&mut connection, file).await?;
        sqlite_migrations().run(&mut connection).await.map_err(unavailable)?;
        drop(alone);

        let readers = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            // A file has no connection to lose.
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::query("PRAGMA busy_timeout = 10000").execute(&mut *connection).await?;
                    sqlx::query("PRAGMA query_only = ON").execute(&mut *connection).await?;
                    let cache_size = format!("PRAGMA cache_size = -{READER_CACHE_KIB}");
                    sqlx::query(sqlx::AssertSqlSafe(cache_size)).execute(&mut *connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Ok(Self { readers: Readers::new(readers), writer: Writer::spawn(connection), clock, blobs: None })
    }

    /// The same store, which reads large requests here when it shows a history.
    pub fn with_blobs(self, blobs: Arc<dyn BlobReader>) -> Self {
        Self { blobs: Some(blobs), ..self }
    }

    /// The database's own version, e.g. `3.51.3`.
    pub async fn database_version(&self) -> Result<String, StoreError> {
        let row = sqlx::query("SELECT sqlite_version() AS version").fetch_one(self.readers.pool()).await;
        rows::get(&row.map_err(unavailable)?, "version")
    }

    /// Resolves, with the reason, once the store has refused a write because of an error of its own.
    pub fn failed(&self) -> impl Future<Output = String> + Send + use<> {
        let mut failure = self.writer.failure();
        async move {
            match failure.wait_for(Option::is_some).await.map(|reason| (*reason).clone()) {
                Ok(Some(reason)) => reason,
                _ => "the writer has stopped".to_owned(),
            }
        }
    }
}

/// A database of another format is refused by name, before anything of it is changed.
async fn refuse_other_formats(connection: &mut AnyConnection, file: &str) -> Result<(), StoreError> {
    let number = async |connection: &mut AnyConnection, query: &'static str| {
        sqlx::query(query).fetch_one(connection).await.and_then(|row| row.try_get::<i64, _>(0)).map_err(unavailable)
    };
    let tables = number(connection, "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'").await?;
    let format = number(connection, "PRAGMA user_version").await?;
    match (tables, format) {
        (_, format) if format == i64::from(FORMAT) => Ok(()),
        (0, 0) => {
            let set = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {FORMAT}"));
            sqlx::query(set).execute(connection).await.map(drop).map_err(unavailable)
        }
        (_, format) => Err(StoreError::Unavailable(format!(
            "{file} is of format {format}, and this program reads and writes format {FORMAT}: use the program that wrote \
             it, or another data directory"
        ))),
    }
}

/// Waits until nobody else has this file; it is given back with the handle, or with the process.
fn locked(file: &Path) -> std::io::Result<File> {
    let file = File::create(file)?;
    file.lock()?;
    Ok(file)
}

/// The schema's history; a file once released never changes.
fn sqlite_migrations() -> Migrator {
    let files = [
        (1, "executions", include_str!("../migrations/sqlite/0001_executions.sql")),
        (2, "retries", include_str!("../migrations/sqlite/0002_retries.sql")),
        (3, "durations", include_str!("../migrations/sqlite/0003_durations.sql")),
        (4, "audit", include_str!("../migrations/sqlite/0004_audit.sql")),
        (7, "lists", include_str!("../migrations/sqlite/0007_lists.sql")),
    ];
    let migration = |(version, name, text): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(text), false)
    };
    Migrator::with_migrations(files.into_iter().map(migration).collect())
}

/// Watches for the writer's failure.
type FailureWatch = watch::Receiver<Option<String>>;

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
