//! What all services share: storage, idempotency, undo, faults, problem answers.

mod control;
mod effects;
mod entities;
mod faults;
mod problem;
mod request;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get};
use axum::{Json, Router};
use clock::SharedClock;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub(crate) use effects::{Answer, mutation};
pub use effects::{LedgerEntry, Outcome};
pub(crate) use entities::Entities;
pub use faults::{Fault, FaultRule};
pub(crate) use problem::Problem;
pub(crate) use request::{Body, Tenant};

use faults::Armed;

/// Everything a service stores. Business data is in `entities`; the rest is what makes calls repeatable and undoable.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS entities (
        kind TEXT NOT NULL, tenant_id TEXT NOT NULL, id TEXT NOT NULL,
        version INTEGER NOT NULL, body TEXT NOT NULL, bytes BLOB,
        PRIMARY KEY (kind, tenant_id, id));
    CREATE UNIQUE INDEX IF NOT EXISTS one_account_per_address
        ON entities (lower(json_extract(body, '$.email'))) WHERE kind = 'accounts';
    CREATE TABLE IF NOT EXISTS effects (
        tenant_id TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT, is_undone INTEGER NOT NULL,
        status INTEGER, answer TEXT, changes TEXT NOT NULL,
        PRIMARY KEY (tenant_id, key));
    CREATE TABLE IF NOT EXISTS ledger (seq INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL);";

/// One service.
#[derive(Clone)]
pub(crate) struct Service {
    name: &'static str,
    /// One connection: a service is one writer, and its answers are in one order.
    database: SqlitePool,
    clock: SharedClock,
    faults: Arc<Mutex<Vec<Armed>>>,
}

impl Service {
    pub(crate) async fn open(name: &'static str, file: Option<&Path>, clock: SharedClock) -> Result<Self, sqlx::Error> {
        let options = match file {
            Some(file) => SqliteConnectOptions::new()
                .filename(file)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full),
            None => SqliteConnectOptions::new().in_memory(true),
        };
        let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        let database = pool.connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&database).await?;
        Ok(Self { name, database, clock, faults: Arc::default() })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn set_faults(&self, rules: Vec<FaultRule>) {
        *self.faults() = rules.into_iter().map(Armed::new).collect();
    }

    fn faults(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Completes a service's routes: health, undo, faults, control.
pub(crate) fn complete(routes: Router<Service>, service: Service) -> Router {
    routes
        .route("/health", get(health))
        .route("/api/v1/effects/{key}", delete(effects::undo))
        .route_layer(from_fn_with_state(service.clone(), faults::around))
        .merge(control::routes())
        .fallback(async || Problem::not_found("there is nothing at this path"))
        .with_state(service)
}

async fn health(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "status": "healthy", "service": service.name, "timestamp": service.clock.now() }))
}
