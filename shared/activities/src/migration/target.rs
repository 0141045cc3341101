//! Whether the tenant that things are copied into takes them: it is there, or comes along, and has room for its users and files.

use std::collections::BTreeMap;

use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{DigestOf, PageOf, Thing, Within, digest, page};

use serde_json::Value;

use super::sets::Known;
use super::{Plan, Set};
use crate::Context;

/// Whose number the quota `users` of a tenant limits.
const ACCOUNT: &str = "account";
/// Whose bytes the quota `storage_gb` limits.
const FILE: &str = "file";
const BYTES_OF_A_GB: u64 = 1_000_000_000;
const TENANT: &str = "tenant";

pub(super) fn is_tenant(service: &str, entity_type: &str) -> bool {
    service == Service::Tenant.as_str() && entity_type == TENANT
}

/// Users, and bytes of files.
#[derive(Default)]
pub(super) struct Used {
    pub(super) users: u64,
    pub(super) bytes: u64,
}

impl Used {
    /// Adds a thing that a set brings.
    pub(super) fn add(&mut self, set: &Set, data: &Value) {
        self.users += u64::from(set.to_service == Service::Auth.as_str() && set.to_type == ACCOUNT);
        if set.to_service == Service::File.as_str() && set.to_type == FILE {
            self.bytes = self.bytes.saturating_add(size(data));
        }
    }
}

fn size(file: &Value) -> u64 {
    file["size_bytes"].as_u64().unwrap_or_default()
}

/// How much the target may have, where that is limited.
#[derive(Default)]
pub(super) struct Quotas {
    users: Option<u64>,
    bytes: Option<u64>,
}

impl Quotas {
    /// Why there is no room for so much more in the target.
    pub(super) async fn exceeded(
        &self,
        context: &Context<'_>,
        tenant_id: &str,
        new: &Used,
    ) -> Result<Vec<String>, ActivityError> {
        let mut exceeded = Vec::new();
        if let Some(quota) = self.users.filter(|_| new.users > 0) {
            let there = users(context, tenant_id).await?;
            if there + new.users > quota {
                exceeded
                    .push(format!("has {there} users and may have {quota}: there is no room for {} more", new.users));
            }
        }
        if let Some(quota) = self.bytes.filter(|_| new.bytes > 0) {
            let there = stored_bytes(context, tenant_id).await?;
            if there.saturating_add(new.bytes) > quota {
                let new = new.bytes;
                exceeded.push(format!(
                    "has files of {there} bytes and may have {quota}: there is no room for {new} bytes more"
                ));
            }
        }
        Ok(exceeded)
    }
}

/// How much the target may have.
///
/// # Errors
/// `NotFound` if there is no such tenant, and none of these sets brings it along.
pub(super) async fn quotas(
    context: &Context<'_>,
    plan: &Plan,
    known: &Known,
    sets: &[Set],
) -> Result<Quotas, ActivityError> {
    let is_known = known.keys().any(|(service, entity_type)| is_tenant(service, entity_type));
    if !is_known || sets.iter().any(|set| is_tenant(&set.to_service, &set.to_type)) {
        return Ok(Quotas::default());
    }
    match tenant(context, &plan.target).await? {
        Some(tenant) => {
            let quotas = &tenant.data["quotas"];
            let bytes = quotas["storage_gb"].as_u64().map(|gb| gb.saturating_mul(BYTES_OF_A_GB));
            Ok(Quotas { users: quotas["users"].as_u64(), bytes })
        }
        None => {
            let message = format!("there is no tenant {}: select tenant/tenant too, or create it first", plan.target);
            Err(ActivityError::new(ErrorName::NotFound, message))
        }
    }
}

/// A tenant, if there is one of this name.
pub(super) async fn tenant(context: &Context<'_>, tenant_id: &str) -> Result<Option<Thing>, ActivityError> {
    let found = page(context.downstream, Service::Tenant, TENANT, tenant_id, PageOf::default()).await?;
    Ok(found.items.into_iter().next())
}

async fn users(context: &Context<'_>, tenant_id: &str) -> Result<u64, ActivityError> {
    let of = DigestOf { within: &Within::default(), names: &BTreeMap::new(), limit: None };
    Ok(digest(context.downstream, Service::Auth, ACCOUNT, tenant_id, of).await?.count)
}

async fn stored_bytes(context: &Context<'_>, tenant_id: &str) -> Result<u64, ActivityError> {
    let (mut cursor, mut bytes) = (None::<String>, 0);
    loop {
        let of = PageOf { cursor: cursor.as_deref(), ..PageOf::default() };
        let files = page(context.downstream, Service::File, FILE, tenant_id, of).await?;
        bytes = files.items.iter().map(|file| size(&file.data)).fold(bytes, u64::saturating_add);
        cursor = files.next_cursor;
        if cursor.is_none() {
            return Ok(bytes);
        }
    }
}
