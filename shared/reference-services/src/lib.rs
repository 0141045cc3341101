//! Auth, User, Tenant and File services and the notification endpoint, for `dev`, for tests, and as an example of what
//! workflows expect of the services they call.
//!
//! They are real: each keeps its data in a SQLite file of its own, is idempotent by `Idempotency-Key`, can undo what a
//! key did, and leaves a tombstone so that a late delivery of an undone call is refused. What makes them fit for tests
//! besides is the control surface under `/_control`: faults by route, a ledger of effects, and a snapshot of the
//! business data.

mod auth;
mod file;
mod kernel;
mod notifications;
mod seed;
mod tenant;
mod user;

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use clock::SharedClock;
use serde_json::Value;

use kernel::Service;
pub use kernel::{Fault, FaultRule, LedgerEntry, Outcome};

/// The services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceKind {
    /// Accounts and sessions.
    Auth,
    /// Profiles.
    User,
    /// Tenants and memberships.
    Tenant,
    /// Workspaces and files.
    File,
    /// The outbox of mails and other notices.
    Notifications,
}

impl ServiceKind {
    /// Every service.
    pub const ALL: [Self; 5] = [Self::Auth, Self::User, Self::Tenant, Self::File, Self::Notifications];

    /// The name, as in file names and snapshots.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::File => "file",
            Self::Notifications => "notifications",
        }
    }

    /// The port that the specification gives it.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Auth => 8081,
            Self::User => 8082,
            Self::Tenant => 8085,
            Self::File => 8083,
            Self::Notifications => 8080,
        }
    }
}

/// A service's files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the {service} service's database cannot be used: {source}")]
pub struct DatabaseError {
    service: &'static str,
    source: sqlx::Error,
}

/// All five services.
#[derive(Clone)]
pub struct Services([Service; 5]);

impl Services {
    /// Opens the services' files in this directory, which must exist.
    pub async fn open(directory: &Path, clock: SharedClock) -> Result<Self, DatabaseError> {
        Self::open_each(Some(directory), clock).await
    }

    /// Services that forget everything with the process.
    pub async fn in_memory(clock: SharedClock) -> Result<Self, DatabaseError> {
        Self::open_each(None, clock).await
    }

    async fn open_each(directory: Option<&Path>, clock: SharedClock) -> Result<Self, DatabaseError> {
        let mut services = Vec::new();
        for kind in ServiceKind::ALL {
            let file = directory.map(|directory| directory.join(format!("{}.db", kind.name())));
            let opened = Service::open(kind.name(), file.as_deref(), clock.clone()).await;
            services.push(opened.map_err(|source| DatabaseError { service: kind.name(), source })?);
        }
        // As many as there are kinds, in their order.
        let [auth, user, tenant, file, notifications] = <[Service; 5]>::try_from(services)
            .map_err(|_| DatabaseError { service: "every", source: sqlx::Error::WorkerCrashed })?;
        Ok(Self([auth, user, tenant, file, notifications]))
    }

    /// A complete service, to be served on a port or called in process.
    pub fn router(&self, kind: ServiceKind) -> Router {
        let routes = match kind {
            ServiceKind::Auth => auth::routes(),
            ServiceKind::User => user::routes(),
            ServiceKind::Tenant => tenant::routes(),
            ServiceKind::File => file::routes(),
            ServiceKind::Notifications => notifications::routes(),
        };
        kernel::complete(routes, self.service(kind).clone())
    }

    /// Creates the demo tenants, user and files; false if there are tenants already.
    pub async fn seed_demo(&self) -> Result<bool, DatabaseError> {
        seed::seed(self).await.map_err(|source| DatabaseError { service: "every", source })
    }

    /// Replaces the faults of a service.
    pub fn set_faults(&self, kind: ServiceKind, rules: Vec<FaultRule>) {
        self.service(kind).set_faults(rules);
    }

    /// The effects of all services, each service's in order.
    pub async fn ledger(&self) -> Result<Vec<LedgerEntry>, DatabaseError> {
        let mut entries = Vec::new();
        for service in &self.0 {
            let of_service = service.ledger().await;
            entries.extend(of_service.map_err(|source| DatabaseError { service: service.name(), source })?);
        }
        Ok(entries)
    }

    /// The business data of all services, of one tenant or of all: by service, without logs, keys and tombstones.
    pub async fn snapshot(&self, tenant_id: Option<&str>) -> Result<Value, DatabaseError> {
        let mut services = BTreeMap::new();
        for service in &self.0 {
            let snapshot = service.snapshot(tenant_id).await;
            let snapshot = snapshot.map_err(|source| DatabaseError { service: service.name(), source })?;
            services.insert(service.name(), snapshot);
        }
        Ok(services.into_iter().map(|(name, snapshot)| (name.to_owned(), snapshot)).collect())
    }

    fn service(&self, kind: ServiceKind) -> &Service {
        &self.0[kind as usize]
    }
}
