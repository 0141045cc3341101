//! Auth, User, Tenant and File services and the notification endpoint as real, persistent services with fault
//! switches: what `workflow-service dev` serves, what the tests call, and the example of the downstream contract.
//!
//! A service's file holds its routes, its tables and what it says about the things in them. Everything a caller may rely on
//! whichever service it talks to (idempotency, undo by key, ledger, problem answers, faults on demand, and the data port) is
//! the [`kernel`]'s, once.

mod auth;
mod file;
mod kernel;
mod notifications;
mod tenant;
mod user;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use clock::SharedClock;
use serde_json::Value;

use kernel::Service;
pub use kernel::{Fault, FaultRule, LedgerEntry, OpenError, Outcome};

/// How many entities [`Services::seed_entities`] can create: three of each user, whose ids have seven digits.
pub const MAX_SEEDED_ENTITIES: u64 = 3 * 9_999_999;

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// Accounts, credentials, sessions.
    Auth,
    /// Profiles.
    User,
    /// Tenants and memberships.
    Tenant,
    /// Workspaces and files.
    File,
    /// The outbox of mail and other notices.
    Notifications,
}

impl ServiceKind {
    /// Every service.
    pub const ALL: [Self; 5] = [Self::Auth, Self::User, Self::Tenant, Self::File, Self::Notifications];

    /// The name in snapshots, ledgers, health answers and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::File => "file",
            Self::Notifications => "notifications",
        }
    }

    /// The port that it is served on unless configured otherwise; notifications sit behind the API gateway's.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Auth => 8081,
            Self::User => 8082,
            Self::Tenant => 8085,
            Self::File => 8083,
            Self::Notifications => 8080,
        }
    }

    fn definition(self) -> &'static kernel::Definition {
        match self {
            Self::Auth => &auth::DEFINITION,
            Self::User => &user::DEFINITION,
            Self::Tenant => &tenant::DEFINITION,
            Self::File => &file::DEFINITION,
            Self::Notifications => &notifications::DEFINITION,
        }
    }
}

/// The service's contract in OpenAPI 3.1, as YAML.
pub fn openapi(kind: ServiceKind) -> String {
    kernel::document(kind)
}

/// All five services of one installation; clones share them.
#[derive(Clone)]
pub struct Services(Arc<[Service]>);

impl Services {
    /// Opens the services whose data lie in `dir` (`auth.db`, `user.db`, ...), which is created if absent. Only this
    /// user can read them.
    pub async fn open(dir: &Path, clock: SharedClock) -> Result<Self, OpenError> {
        kernel::create_private(dir).map_err(OpenError::Directory)?;
        Self::open_each(Some(dir), &clock).await
    }

    /// Services that forget everything when the last clone goes.
    pub async fn in_memory(clock: SharedClock) -> Result<Self, OpenError> {
        Self::open_each(None, &clock).await
    }

    async fn open_each(dir: Option<&Path>, clock: &SharedClock) -> Result<Self, OpenError> {
        let open = async |kind: ServiceKind, tenants: Option<Service>| {
            let file = dir.map(|dir| dir.join(format!("{}.db", kind.name())));
            Service::open(kind, file.as_deref(), Arc::clone(clock), tenants).await
        };
        let tenants = open(ServiceKind::Tenant, None).await?;
        let each = ServiceKind::ALL.map(async |kind| match kind {
            ServiceKind::Tenant => Ok(tenants.clone()),
            other => open(other, Some(tenants.clone())).await,
        });
        let services = futures::future::try_join_all(each).await?;
        Ok(Self(services.into()))
    }

    /// The complete service, to be served or to be called in process.
    pub fn router(&self, kind: ServiceKind) -> Router {
        self.service(kind).router()
    }

    /// Creates the demo data, once: the tenants `tenant-123` and `tenant-456`, and `tenant-789`, which is suspended; the
    /// user `user-123`, at home and signed in to the first and a member of the second, with workspace and files in both;
    /// the users `user-124`, `user-125` and `user-126`, who has no profile, in the first one only; and copies of the
    /// profiles, of which one has another name, one is missing, and one is of the profile that `user-126` does not have.
    /// `false` if they have been created before.
    pub async fn seed_demo(&self) -> Result<bool, OpenError> {
        // The numbers count the versions of the demo data: what a later one adds comes to an older directory too.
        const NAMES: [&str; 2] = ["demo 2", "demo 3"];
        let mut created = false;
        for service in self.0.iter() {
            for (name, rows) in NAMES.iter().zip(service.definition().demo) {
                created |= service.seed(name, rows).await?;
            }
        }
        Ok(created)
    }

    /// Creates a tenant without members; `false` if it has been created before.
    pub async fn add_tenant(&self, tenant_id: &str, tenant_name: &str) -> Result<bool, OpenError> {
        let seed = format!("tenant {tenant_id}");
        let rows = |at: &str| vec![tenant::rows::tenant(tenant_id, tenant_name, "standard", at)];
        self.service(ServiceKind::Tenant).seed(&seed, rows).await
    }

    /// Creates the tenant, if need be, and in it so many entities in all: accounts, profiles and memberships of the users
    /// `seed-0000001` and so on, a third each. What is there already counts, so that a second call goes on where a first one
    /// stopped. `progress` is told how many entities are there.
    pub async fn seed_entities(
        &self,
        tenant: &str,
        entities: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<(), OpenError> {
        self.add_tenant(tenant, tenant).await?;
        let parts: [(ServiceKind, kernel::Seeded); 3] = [
            (ServiceKind::Auth, auth::seeded),
            (ServiceKind::User, user::seeded),
            (ServiceKind::Tenant, tenant::rows::seeded),
        ];
        let mut done = 0;
        for ((kind, seeded), more) in parts.into_iter().zip([2, 1, 0]) {
            let count = (entities + more) / 3;
            self.service(kind).seed_many(tenant, count, seeded, |part| progress(done + part)).await?;
            done += count;
        }
        Ok(())
    }

    /// Replaces the fault rules of a service; counts start anew.
    pub fn set_faults(&self, kind: ServiceKind, rules: Vec<FaultRule>) {
        self.service(kind).faults().replace(rules);
    }

    /// How often each of a service's fault rules has fired.
    pub fn faults_fired(&self, kind: ServiceKind) -> Vec<u64> {
        self.service(kind).faults().fired()
    }

    /// The effects ledgers of all services, by time; within a service in order.
    pub async fn ledger(&self) -> Result<Vec<LedgerEntry>, OpenError> {
        let mut entries = Vec::new();
        for service in self.0.iter() {
            entries.extend(service.ledger().await?);
        }
        entries.sort_by_key(|entry| entry.at);
        Ok(entries)
    }

    /// The business data of all services by service and table, without logs, ledgers, keys and tombstones.
    pub async fn snapshot(&self, tenant: Option<&str>) -> Result<Value, OpenError> {
        let mut snapshot = serde_json::Map::new();
        for service in self.0.iter() {
            snapshot.insert(service.kind().name().to_owned(), service.snapshot(tenant).await?);
        }
        Ok(Value::Object(snapshot))
    }

    fn service(&self, kind: ServiceKind) -> &Service {
        &self.0[kind as usize]
    }
}

#[cfg(test)]
mod tests;
