//! The SQL store: every port of `store` on one database.
//!
//! SQLite in WAL mode with `synchronous=FULL`: one writer task commits what has queued up since its last commit as
//! one transaction and acknowledges it afterwards (group commit); readers have connections of their own. Statements
//! keep to what SQLite and PostgreSQL share, through sqlx's `Any` driver: another database is another set of
//! migrations.
//!
//! The store is fail-stop. After a write error nobody can know what reached the disk, so it refuses every further
//! write and [`SqlStore::failed`] says why; a restart reads the truth from the files.

mod archive;
mod audit;
mod backups;
mod batches;
mod blobs;
mod damaged;
mod data_requests;
mod ends;
mod erasures;
mod executions;
mod files;
mod format;
mod history;
mod holds;
mod housekeeping;
mod journal;
mod leases;
mod limits;
mod list;
#[cfg(test)]
mod plan;
mod readers;
mod rows;
mod sealed;
mod steps;
mod writer;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use clock::SharedClock;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, ConnectOptions, Row as _, SqlStr};
use store::{BlobReader, MAX_ACTIVE_HOLDS, OpenLimits, StoreError};
use tokio::sync::watch;

pub use archive::Archived;
pub use blobs::FileBlobs;
use damaged::Damaged;
pub use files::place_of;
use files::{FILE_MODE, OpenFiles, beside, url_of};
pub use format::{FORMAT, format_of};
use readers::{CONNECTIONS, Readers};
pub use sealed::SealedBlobs;
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
    /// Records that were found damaged.
    damaged: Damaged,
    /// Whether pages that are not used any more can be given back.
    releases_pages: bool,
    limits: OpenLimits,
    most_holds: usize,
}

impl SqlStore {
    /// Opens the SQLite file, creating it if need be, and brings its schema up to date. Others may not read it from then on,
    /// wherever it is.
    pub async fn open(file: &Path, durability: Durability, clock: SharedClock) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let place = place_of(file).map_err(|error| unavailable(format!("{}: {error}", file.display())))?;
        let url = url_of(&place).map_err(StoreError::Unavailable)?;
        let options: AnyConnectOptions = format!("{url}?mode=rw").parse().map_err(unavailable)?;
        // A server and workers that begin together must not all bring a schema up to date that none of them has yet.
        let opening = beside(&place, "-opening");
        let alone = tokio::task::spawn_blocking(move || locked(&opening)).await.map_err(unavailable)?;
        let alone = alone.map_err(unavailable)?;
        let mut connection = options.connect().await.map_err(unavailable)?;
        // auto_vacuum first: it holds for a database that nothing has been written to. Then journal_mode: changing it
        // needs the database to itself.
        let synchronous = if durability == Durability::Full { "FULL" } else { "OFF" };
        for pragma in [
            "PRAGMA auto_vacuum = INCREMENTAL".to_owned(),
            "PRAGMA journal_mode = WAL".to_owned(),
            format!("PRAGMA synchronous = {synchronous}"),
            "PRAGMA busy_timeout = 10000".to_owned(),
            "PRAGMA foreign_keys = ON".to_owned(),
            // What is deleted is overwritten: what was a person's must not be found in the file.
            "PRAGMA secure_delete = ON".to_owned(),
            format!("PRAGMA cache_size = -{WRITER_CACHE_KIB}"),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(pragma)).execute(&mut connection).await.map_err(unavailable)?;
        }
        refuse_other_formats(&mut connection, &place).await?;
        sqlite_migrations().run(&mut connection).await.map_err(unavailable)?;
        let releases_pages = releases_pages(&mut connection, &place).await.map_err(unavailable)?;
        // They are all there by now, as the schema has been read.
        let files = OpenFiles::of(&place).map_err(unavailable)?;
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
        let writer = Writer::spawn(connection, files, Arc::clone(&clock));
        Ok(Self {
            readers: Readers::new(readers),
            writer,
            clock,
            blobs: None,
            damaged: Damaged::default(),
            releases_pages,
            limits: OpenLimits::NONE,
            most_holds: MAX_ACTIVE_HOLDS,
        })
    }

    /// The same store, which reads large requests here when it shows a history.
    pub fn with_blobs(self, blobs: Arc<dyn BlobReader>) -> Self {
        Self { blobs: Some(blobs), ..self }
    }

    /// The same store, which refuses starts beyond these limits.
    pub fn with_limits(self, limits: OpenLimits) -> Self {
        Self { limits, ..self }
    }

    /// The same store, where a tenant has so many active legal holds at most.
    pub fn with_most_holds(self, most_holds: usize) -> Self {
        Self { most_holds, ..self }
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
async fn refuse_other_formats(connection: &mut AnyConnection, file: &Path) -> Result<(), StoreError> {
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
            "{} is of format {format}, and this program reads and writes format {FORMAT}: use the program that wrote it, or \
             another data directory",
            file.display()
        ))),
    }
}

/// A database up to this size is rewritten when it is opened, if that is what giving pages back needs: about a second.
const MAX_REWRITTEN_BYTES: i64 = 64 * 1024 * 1024;

/// Whether pages that are not used any more can be given back. An earlier program's database has no room for that, which
/// takes rewriting it once; `auto_vacuum` has been set for that before.
async fn releases_pages(connection: &mut AnyConnection, file: &Path) -> Result<bool, sqlx::Error> {
    let number = async |connection: &mut AnyConnection, query: &'static str| {
        sqlx::query(query).fetch_one(connection).await.and_then(|row| row.try_get::<i64, _>(0))
    };
    if number(connection, "PRAGMA auto_vacuum").await? != 0 {
        return Ok(true);
    }
    let pages = number(connection, "PRAGMA page_count").await?;
    if pages * number(connection, "PRAGMA page_size").await? > MAX_REWRITTEN_BYTES {
        tracing::warn!(file = %file.display(), "the file never gets smaller: {REWRITE}");
        return Ok(false);
    }
    sqlx::query("PRAGMA auto_vacuum = INCREMENTAL").execute(&mut *connection).await?;
    if let Err(error) = sqlx::query("VACUUM").execute(&mut *connection).await {
        // Another process has it open, or there is no room for it.
        tracing::warn!(file = %file.display(), %error, "the file never gets smaller: {REWRITE}");
        return Ok(false);
    }
    Ok(number(connection, "PRAGMA auto_vacuum").await? != 0)
}

/// What to do about a file that cannot give pages back.
const REWRITE: &str =
    "with the server and its workers stopped, run: sqlite3 FILE 'PRAGMA auto_vacuum = INCREMENTAL; VACUUM'";

/// Waits until nobody else has this file; it is given back with the handle, or with the process.
fn locked(file: &Path) -> std::io::Result<File> {
    files::make_private(file, FILE_MODE);
    let file = File::options().create(true).truncate(false).write(true).mode(FILE_MODE).open(file)?;
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
        (5, "ended", include_str!("../migrations/sqlite/0005_ended.sql")),
        (6, "open_executions", include_str!("../migrations/sqlite/0006_open_executions.sql")),
        (7, "lists", include_str!("../migrations/sqlite/0007_lists.sql")),
        (8, "leases", include_str!("../migrations/sqlite/0008_leases.sql")),
        (9, "backups", include_str!("../migrations/sqlite/0009_backups.sql")),
        (10, "upload_claims", include_str!("../migrations/sqlite/0010_upload_claims.sql")),
        (11, "fences", include_str!("../migrations/sqlite/0011_fences.sql")),
        (12, "erasures", include_str!("../migrations/sqlite/0012_erasures.sql")),
        (13, "holds", include_str!("../migrations/sqlite/0013_holds.sql")),
        (14, "data_requests", include_str!("../migrations/sqlite/0014_data_requests.sql")),
        (15, "paused", include_str!("../migrations/sqlite/0015_paused.sql")),
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
