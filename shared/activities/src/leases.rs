//! Leases of data sets: of those who change many things of a type, one works at a time.

use std::collections::BTreeSet;

use contracts::{ActivityError, ErrorName};
use store::Leased;

use crate::Context;
use crate::harness::store_failed;

/// Holds these data sets (`auth/account`) until the execution ends.
///
/// # Errors
/// `Conflict` with the execution that holds one of them.
pub(crate) async fn hold(context: &Context<'_>, data_sets: BTreeSet<String>) -> Result<(), ActivityError> {
    let data_sets: Vec<String> = data_sets.into_iter().collect();
    let leased = context.leases.lease(context.tenant_id(), &data_sets, context.execution_id()).await;
    match leased.map_err(store_failed)? {
        Leased::Granted => Ok(()),
        Leased::Held { data_set, by } => {
            let message = format!("{by} is changing many entities of {data_set}; start this one when that has ended");
            Err(ActivityError::new(ErrorName::Conflict, message))
        }
    }
}
