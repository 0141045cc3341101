//! How a service's database is opened, and how one of an older program becomes one of this.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::SharedClock;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::{Definition, version};

/// The tables of the kernel itself, the same in every service's file.
const SCHEMA: &str = include_str!("schema.sql");

/// Opens a service's file, or a database in memory, and gives it all the tables that it lacks.
pub(super) async fn connect(
    definition: &Definition,
    file: Option<&Path>,
    clock: &SharedClock,
) -> sqlx::Result<SqliteConnection> {
    let options =
        SqliteConnectOptions::new().foreign_keys(true).busy_timeout(Duration::from_secs(5)).disable_statement_logging();
    if let Some(file) = file {
        make_private(file)?;
    }
    let options = match file {
        // FULL: what has been acknowledged survives a power cut, not only the end of the process.
        Some(file) => options
            .filename(std::path::absolute(file)?)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What is deleted is overwritten: what was a person's must not be found in the file.
            .pragma("secure_delete", "ON"),
        None => options.filename(":memory:"),
    };
    let mut connection = options.connect().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    create_own(&mut transaction).await?;
    migrate(&mut transaction, definition.schema).await?;
    for table in definition.tables {
        table.derive_missing(&mut transaction).await?;
    }
    version::set_moment(&mut transaction, clock.now()).await?;
    for entity in definition.entity_types {
        version::count(&mut transaction, entity).await?;
    }
    transaction.commit().await?;
    Ok(connection)
}

/// Creates a directory that only this user can look into.
pub(crate) fn create_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Creates a database's file, if need be, that only this user can read, and takes from others what an earlier program gave
/// them of it and of those beside it, which SQLite gives the mode of the first.
fn make_private(file: &Path) -> io::Result<()> {
    const MODE: u32 = 0o600;
    if let Err(error) = File::options().create_new(true).write(true).mode(MODE).open(file)
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    for ending in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        let path = PathBuf::from(name);
        if path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
            // There are file systems without modes.
            let _ = std::fs::set_permissions(&path, Permissions::from_mode(MODE));
        }
    }
    Ok(())
}

/// Creates the kernel's own tables.
async fn create_own(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let select = "SELECT sql FROM sqlite_schema WHERE name = 'effects'";
    let effects: Option<String> = sqlx::query_scalar(select).fetch_optional(&mut *connection).await?;
    // There was a time when nothing was deleted but by an undo, and the table says so.
    let is_older = effects.is_some_and(|sql| !sql.contains("'delete'"));
    if is_older {
        let rename =
            "ALTER TABLE effects RENAME TO older_effects; DROP INDEX effects_by_key; DROP INDEX effects_by_row;";
        sqlx::raw_sql(rename).execute(&mut *connection).await?;
    }
    sqlx::raw_sql(SCHEMA).execute(&mut *connection).await?;
    if is_older {
        let copy = "INSERT INTO effects SELECT * FROM older_effects ORDER BY seq; DROP TABLE older_effects;";
        sqlx::raw_sql(copy).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Takes the steps that the file does not have yet.
async fn migrate(connection: &mut SqliteConnection, steps: &'static [&'static str]) -> sqlx::Result<()> {
    let taken: u32 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    for (step, number) in steps.iter().zip(1_u32..).filter(|(_, number)| *number > taken) {
        sqlx::raw_sql(*step).execute(&mut *connection).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {number}"))).execute(&mut *connection).await?;
    }
    Ok(())
}
