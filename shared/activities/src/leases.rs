//! Leases of data sets: of those who change many things of a type, one works at a time.

use std::collections::BTreeSet;
use std::ops::Range;

use contracts::{ActivityError, ErrorName};
use store::{Holder, Leased};

use crate::Context;
use crate::harness::store_failed;

/// Holds these data sets of a tenant (`auth/account`) until the execution ends. The number under which it writes to them, see
/// [`downstream::Downstream::fenced`].
///
/// # Errors
/// `Conflict` with the execution that holds one of them.
pub(crate) async fn hold(
    context: &Context<'_>,
    tenant_id: &str,
    data_sets: BTreeSet<String>,
) -> Result<u64, ActivityError> {
    let data_sets: Vec<String> = data_sets.into_iter().collect();
    let holder = Holder { tenant_id: context.tenant_id(), execution_id: context.execution_id() };
    let leased = context.leases.lease(tenant_id, &data_sets, holder).await;
    match leased.map_err(store_failed)? {
        Leased::Granted { fence } => Ok(fence),
        Leased::Held { data_set, by } => {
            let what = match data_set.starts_with(READER) {
                true => "reads or erases data of the tenant".to_owned(),
                false => format!("works with {data_set}"),
            };
            let message = format!("{by} {what}; retry this one when that has ended");
            Err(ActivityError::new(ErrorName::Conflict, message))
        }
    }
}

/// How many backups and exports of a tenant may be under way at once.
const READERS: Range<u32> = 0..8;

/// What the names of their leases begin with.
const READER: &str = "reader/";

fn reader(number: u32) -> String {
    format!("{READER}{number}")
}

/// Keeps erasures away until the execution ends: what is read of a person must not go meanwhile.
///
/// # Errors
/// `Conflict` if an erasure is under way, or too many others read.
pub(crate) async fn hold_shared(context: &Context<'_>) -> Result<(), ActivityError> {
    let mut refused = None;
    for number in READERS {
        match hold(context, context.tenant_id(), BTreeSet::from([reader(number)])).await {
            Err(error) if error.error == ErrorName::Conflict.as_str() => refused = Some(error),
            held => return held.map(drop),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Keeps backups, exports and other erasures away until the execution ends.
///
/// # Errors
/// `Conflict` with one that is under way.
pub(crate) async fn hold_alone(context: &Context<'_>) -> Result<(), ActivityError> {
    hold(context, context.tenant_id(), READERS.map(reader).collect()).await.map(drop)
}
