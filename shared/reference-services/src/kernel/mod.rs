//! What all services have in common: one SQLite file each, and around every mutation idempotency, before-images, the
//! effects ledger and the answer, in one transaction.

mod control;
mod faults;
mod ledger;
mod mutation;
mod page;
mod problem;
mod query;
mod request;
mod table;
mod transaction;
mod undo;

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use clock::SharedClock;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard};

use crate::ServiceKind;
pub(crate) use faults::Faults;
pub use faults::{Fault, FaultRule};
pub use ledger::{LedgerEntry, Outcome};
pub(crate) use mutation::{Done, Mutation};
pub(crate) use page::Page;
pub(crate) use problem::Problem;
pub(crate) use query::Query;
pub(crate) use request::{Call, Fields};
pub(crate) use table::{Derived, Row, Table, row};
pub(crate) use transaction::{Reader, Tx};

/// The tables of the kernel itself, the same in every service's file.
const SCHEMA: &str = include_str!("schema.sql");

/// What makes a service.
pub(crate) struct Definition {
    /// How its tables came to be what they are, step by step; a file remembers how many of the steps it has.
    pub(crate) schema: &'static [&'static str],
    /// Its tables.
    pub(crate) tables: &'static [&'static Table],
    /// Its routes.
    pub(crate) routes: fn(Routes) -> Routes,
    /// Its part of the demo data, created at the given time.
    pub(crate) demo: fn(&str) -> Vec<(&'static Table, Row)>,
}

/// Why a service's data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be created.
    #[error("the directory of the services' data cannot be created")]
    Directory(#[source] std::io::Error),
    /// A database cannot be opened, read or written.
    #[error("the data of the {service} service cannot be used")]
    Storage {
        /// Whose.
        service: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
}

/// One running service; clones share it.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

struct Inner {
    kind: ServiceKind,
    clock: SharedClock,
    faults: Faults,
    /// The Tenant service, for the others to ask who belongs to a tenant; it has none itself.
    tenants: Option<Service>,
    /// The one connection: SQLite has one writer anyway, and a queue in front of it is fair where its lock is not.
    connection: Mutex<SqliteConnection>,
}

impl Service {
    /// Opens the service's file, or a database in memory.
    pub(crate) async fn open(
        kind: ServiceKind,
        file: Option<&Path>,
        clock: SharedClock,
        tenants: Option<Self>,
    ) -> Result<Self, OpenError> {
        let storage = |source| OpenError::Storage { service: kind.name(), source };
        let connection = connect(kind.definition(), file).await.map_err(storage)?;
        Ok(Self(Arc::new(Inner {
            kind,
            clock,
            faults: Faults::default(),
            tenants,
            connection: Mutex::new(connection),
        })))
    }

    pub(crate) fn kind(&self) -> ServiceKind {
        self.0.kind
    }

    pub(crate) fn definition(&self) -> &'static Definition {
        self.0.kind.definition()
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The Tenant service; never asked by itself, whose connection is taken while a call is under way.
    fn tenants(&self) -> &Self {
        self.0.tenants.as_ref().unwrap_or(self)
    }

    fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    /// The row with this key, for another service that asks.
    pub(crate) async fn find(&self, table: &Table, key: &[&str]) -> Result<Option<Row>, Problem> {
        let key: Vec<_> = key.iter().copied().map(str::to_owned).collect();
        Ok(table.find(&mut *self.connection().await, &key).await?)
    }

    /// The connection. Nobody waits for the clock while holding it; only the Tenant service's may be waited for.
    async fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        self.0.connection.lock().await
    }

    /// The complete service: its routes, `/health`, undo, and the control routes that no fault touches.
    pub(crate) fn router(&self) -> Router {
        let routes = Routes(Router::new()).mutation::<undo::Undo>();
        let routes = (self.definition().routes)(routes);
        let faults = axum::middleware::from_fn_with_state(self.clone(), faults::inject);
        routes
            .0
            .route("/health", axum::routing::get(health))
            .route_layer(faults)
            .merge(control::routes())
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such route"))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the route has no such method")
            })
            .with_state(self.clone())
    }

    /// Writes the rows that `rows` makes for the current time, unless a seed of this name has been written before. What
    /// is there already stays as it is.
    pub(crate) async fn seed(
        &self,
        name: &str,
        rows: impl FnOnce(&str) -> Vec<(&'static Table, Row)>,
    ) -> Result<bool, OpenError> {
        let rows = rows(&self.clock().now().to_string());
        self.write_seed(name, rows).await.map_err(|source| self.storage(source))
    }

    async fn write_seed(&self, name: &str, rows: Vec<(&'static Table, Row)>) -> sqlx::Result<bool> {
        let mut connection = self.connection().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let marked = sqlx::query("INSERT INTO seeds (name) VALUES (?) ON CONFLICT DO NOTHING")
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        if marked.rows_affected() == 0 {
            return Ok(false);
        }
        for (table, row) in rows {
            table.insert_if_absent(&mut transaction, &row).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The business data, by table; rows by key.
    pub(crate) async fn snapshot(&self, tenant: Option<&str>) -> Result<Value, OpenError> {
        let mut connection = self.connection().await;
        let mut snapshot = serde_json::Map::new();
        for table in self.definition().tables {
            let rows = table.dump(&mut connection, tenant).await;
            let rows = rows.map_err(|source| self.storage(source))?;
            snapshot.insert(table.name.to_owned(), rows.into_iter().map(Value::Object).collect());
        }
        Ok(Value::Object(snapshot))
    }

    fn storage(&self, source: sqlx::Error) -> OpenError {
        OpenError::Storage { service: self.kind().name(), source }
    }
}

async fn connect(definition: &Definition, file: Option<&Path>) -> sqlx::Result<SqliteConnection> {
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
            .synchronous(SqliteSynchronous::Full),
        None => options.filename(":memory:"),
    };
    let mut connection = options.connect().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    migrate(&mut transaction, definition.schema).await?;
    for table in definition.tables {
        table.derive_missing(&mut transaction).await?;
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

/// Takes the steps that the file does not have yet.
async fn migrate(connection: &mut SqliteConnection, steps: &'static [&'static str]) -> sqlx::Result<()> {
    let taken: u32 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    for (step, number) in steps.iter().zip(1_u32..).filter(|(_, number)| *number > taken) {
        sqlx::raw_sql(*step).execute(&mut *connection).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {number}"))).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Collects a service's routes.
pub(crate) struct Routes(Router<Service>);

impl Routes {
    /// Adds a route that changes something.
    pub(crate) fn mutation<M: Mutation>(self) -> Self {
        Self(self.0.route(M::ROUTE, axum::routing::on(M::METHOD, mutation::handle::<M>)))
    }

    /// Adds a route that reads.
    pub(crate) fn query<Q: Query>(self) -> Self {
        Self(self.0.route(Q::ROUTE, axum::routing::get(query::handle::<Q>)))
    }
}

async fn health(State(service): State<Service>) -> Response {
    let alive = sqlx::query("SELECT 1").execute(&mut *service.connection().await).await.is_ok();
    let (status, word) =
        if alive { (StatusCode::OK, "healthy") } else { (StatusCode::SERVICE_UNAVAILABLE, "unhealthy") };
    let body = json!({ "status": word, "service": service.kind().name(), "timestamp": service.clock().now() });
    (status, Json(body)).into_response()
}
