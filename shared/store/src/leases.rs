//! Leases: one execution at a time changes many entities of a tenant's data set.

use async_trait::async_trait;

use crate::StoreError;

/// Who wants to hold leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The tenant that owns the execution. The data sets may be another tenant's.
    pub tenant_id: &'a str,
    /// The execution.
    pub execution_id: &'a str,
}

/// What became of the wish to hold a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// The execution holds all of them.
    Granted {
        /// The number under which it writes: that of the newest of these leases. Whoever gets a lease of the tenant later has
        /// a higher one, so that a service can refuse what comes from an earlier holder. 0 for no data set.
        fence: u64,
    },
    /// Another execution that has not ended holds one.
    Held {
        /// Of this data set.
        data_set: String,
        /// The execution.
        by: String,
    },
}

/// Leases of data sets. An execution loses its leases when it ends, however it ends: nothing of it begins any more. An attempt
/// that is still under way may go on, so each lease has a number, which services compare.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Lets an execution hold the leases of these data sets of a tenant, unless another execution holds one of them. It may
    /// ask again, and keeps what it has, with its numbers. The numbers of a tenant grow with each new lease, and none comes twice.
    /// They are milliseconds since 1970, or follow each other within one: a store that begins anew gives no number again that
    /// services have seen.
    async fn lease(&self, tenant_id: &str, data_sets: &[String], holder: Holder<'_>) -> Result<Leased, StoreError>;
}
