//! What all services have in common: one SQLite file each, and around every mutation idempotency, before-images, the
//! effects ledger, the logs and the answer, in one transaction; and the data port, by which everything that a service holds
//! is listed, compared, taken out, taken in and changed, whatever it is.

mod attempt;
mod batch;
mod blob;
mod bulk;
mod catalog;
mod control;
mod cursor;
mod digest;
mod doc;
mod entity;
mod exchange;
mod fault_rule;
mod faults;
mod fence;
mod fields;
mod forget;
mod item;
mod ledger;
mod log;
mod mask;
mod mutation;
mod open;
mod openapi;
mod operations;
mod page;
mod pages;
mod problem;
mod query;
mod request;
mod routes;
mod seed;
mod selection;
mod table;
mod transaction;
mod undo;
mod upload;
mod version;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodFilter, get};
use clock::SharedClock;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard};

use crate::ServiceKind;
pub(crate) use attempt::Work;
pub(crate) use blob::{Content, Stored, sha256};
pub(crate) use doc::{Doc, Member, NOT_FOUND, Shape};
pub(crate) use entity::{EntityType, Field, Kind, Reference, Replica};
pub use fault_rule::{Fault, FaultRule};
pub(crate) use faults::Faults;
pub(crate) use fields::Fields;
pub(crate) use item::{Item, ItemDone, ItemOutcome, Operation, OperationOf};
pub use ledger::{LedgerEntry, Outcome};
pub(crate) use mutation::{Done, Mutation};
pub(crate) use open::create_private;
pub(crate) use openapi::document;
pub(crate) use page::Page;
pub(crate) use problem::Problem;
pub(crate) use query::Query;
pub(crate) use request::Call;
pub(crate) use routes::Routes;
use routes::{Described, Keys};
pub(crate) use seed::{Rows, Seeded};
pub(crate) use table::{Dependent, Derived, Row, Table, row};
pub(crate) use transaction::{Reader, Tx};
pub(crate) use upload::Upload;

/// What makes a service.
pub(crate) struct Definition {
    /// How its tables came to be what they are, step by step; a file remembers how many of the steps it has.
    pub(crate) schema: &'static [&'static str],
    /// Its tables.
    pub(crate) tables: &'static [&'static Table],
    /// What it holds, for everybody who moves data from service to service.
    pub(crate) entity_types: &'static [&'static EntityType],
    /// Its routes.
    pub(crate) routes: fn(Routes) -> Routes,
    /// Its part of the demo data, created at the given time; then what came to them later.
    pub(crate) demo: [fn(&str) -> Rows; 2],
}

impl Definition {
    fn entity_type(&self, name: &str) -> Result<&'static EntityType, Problem> {
        self.entity_types.iter().find(|entity| entity.name == name).copied().ok_or_else(Problem::not_found)
    }
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
        let connection = open::connect(kind.definition(), file, &clock).await.map_err(storage)?;
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

    /// Writes the journal into the database's file, and empties it.
    async fn empty_journal(&self) -> sqlx::Result<()> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *self.connection().await).await.map(drop)
    }

    /// Begins a transaction that writes.
    async fn begin<'c>(&self, connection: &'c mut SqliteConnection) -> sqlx::Result<Transaction<'c, Sqlite>> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        version::set_moment(&mut transaction, self.clock().now()).await?;
        Ok(transaction)
    }

    fn reader<'c>(&'c self, connection: &'c mut SqliteConnection, call: &'c Call) -> Reader<'c> {
        Reader { connection, call, tenants: self.tenants(), service: self }
    }

    /// The complete service: its routes, and the control routes that no fault touches.
    pub(crate) fn router(&self) -> Router {
        let faults = axum::middleware::from_fn_with_state(self.clone(), faults::inject);
        Self::routes(self.definition())
            .router
            .route_layer(faults)
            .merge(control::routes())
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such route"))
            .with_state(self.clone())
    }

    /// The routes of such a service: its own, and those that every service has.
    fn routes(definition: &Definition) -> Routes {
        let health = Described::new(MethodFilter::GET, "/health", Keys::None, &HEALTH);
        let routes = (definition.routes)(Routes::new().add(health, get(self::health)));
        let routes = routes.query::<catalog::Catalog>().query::<pages::Pages>().query::<digest::Digest>();
        let routes = bulk::routes(routes);
        let routes = operations::routes(routes).mutation::<undo::Undo>().mutation::<forget::Forget>();
        routes.query::<log::Logs>()
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

const HEALTH: Doc = Doc::new(
    "Whether the service works.",
    "The health check of the coordination API and GET /ready. It asks for no tenant and no key.",
    Shape::Object(&[
        Member::required("status", Shape::Words(&["healthy", "unhealthy"]), ""),
        Member::required("service", Shape::Text, "its name"),
        Member::required("timestamp", Shape::Time, ""),
    ]),
);

async fn health(State(service): State<Service>) -> Response {
    let alive = sqlx::query("SELECT 1").execute(&mut *service.connection().await).await.is_ok();
    let (status, word) =
        if alive { (StatusCode::OK, "healthy") } else { (StatusCode::SERVICE_UNAVAILABLE, "unhealthy") };
    let body = json!({ "status": word, "service": service.kind().name(), "timestamp": service.clock().now() });
    (status, Json(body)).into_response()
}
