//! Whether the tenant that things are copied into takes them: it is there, or comes along, and has room for its users.

use std::collections::BTreeMap;

use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{DigestOf, PageOf, Within, digest, page};

use super::sets::Known;
use super::{Plan, Set};
use crate::Context;

/// Whose number the quota `users` of a tenant limits.
const ACCOUNT: &str = "account";
const TENANT: &str = "tenant";

pub(super) fn is_tenant(service: &str, entity_type: &str) -> bool {
    service == Service::Tenant.as_str() && entity_type == TENANT
}

pub(super) fn is_account(set: &Set) -> bool {
    set.to_service == Service::Auth.as_str() && set.to_type == ACCOUNT
}

/// How many users the target may have, if that is limited.
///
/// # Errors
/// `NotFound` if there is no such tenant, and none of these sets brings it along.
pub(super) async fn user_quota(
    context: &Context<'_>,
    plan: &Plan,
    known: &Known,
    sets: &[Set],
) -> Result<Option<u64>, ActivityError> {
    let is_known = known.keys().any(|(service, entity_type)| is_tenant(service, entity_type));
    if !is_known || sets.iter().any(|set| is_tenant(&set.to_service, &set.to_type)) {
        return Ok(None);
    }
    let found = page(context.downstream, Service::Tenant, TENANT, &plan.target, PageOf::default()).await?;
    match found.items.first() {
        Some(tenant) => Ok(tenant.data["quotas"]["users"].as_u64()),
        None => {
            let message = format!("there is no tenant {}: select tenant/tenant too, or create it first", plan.target);
            Err(ActivityError::new(ErrorName::NotFound, message))
        }
    }
}

/// How many users there are in the target.
pub(super) async fn users(context: &Context<'_>, plan: &Plan) -> Result<u64, ActivityError> {
    let of = DigestOf { within: &Within::default(), names: &BTreeMap::new(), limit: None };
    Ok(digest(context.downstream, Service::Auth, ACCOUNT, &plan.target, of).await?.count)
}
