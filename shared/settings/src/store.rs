//! Where records are kept.

use crate::declarations::{BUCKET, IS_DYNAMODB, TABLE};
use crate::keys::Keys;

/// Where a process keeps records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// In the data directory.
    Sqlite,
    /// On AWS, by the deployment.
    Dynamodb {
        /// `store.table`
        table: String,
        /// `store.bucket`
        bucket: String,
    },
}

pub(crate) fn store(keys: &mut Keys) -> StoreKind {
    if keys.value(&IS_DYNAMODB) {
        return StoreKind::Dynamodb { table: keys.required(&TABLE), bucket: keys.required(&BUCKET) };
    }
    for setting in [&TABLE, &BUCKET] {
        keys.refuse_without(setting, "store.kind = 'dynamodb'");
    }
    StoreKind::Sqlite
}
