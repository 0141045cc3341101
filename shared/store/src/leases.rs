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
    Granted,
    /// Another execution that has not ended holds one.
    Held {
        /// Of this data set.
        data_set: String,
        /// The execution.
        by: String,
    },
}

/// Leases of data sets. An execution loses its leases when it ends, however it ends: nothing of it begins any more, so what
/// the next holder does meets at most calls that were already on their way.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Lets an execution hold the leases of these data sets of a tenant, unless another execution holds one of them. It may
    /// ask again, and keeps what it has.
    async fn lease(&self, tenant_id: &str, data_sets: &[String], holder: Holder<'_>) -> Result<Leased, StoreError>;
}
