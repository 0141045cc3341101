//! Rows that are there from the start.

use serde_json::{Value, json};

use super::{MEMBERSHIPS, TENANTS, profile_copies};
use crate::kernel::{Row, Rows, Table, row};

/// The row of a new tenant.
pub(crate) fn tenant(tenant_id: &str, tenant_name: &str, tier: &str, at: &str) -> (&'static Table, Row) {
    let tenant = json!({
        "tenant_id": tenant_id, "tenant_name": tenant_name, "subscription_tier": tier,
        "features": ["workflows", "file_sharing"],
        "quotas": { "users": 100, "storage_gb": 500, "api_calls_per_hour": 10_000 },
        "settings": { "language": "en", "time_zone": "UTC" },
        "status": "active", "created_at": at,
    });
    (&TENANTS, row(tenant))
}

/// The row of a user's membership.
fn member(tenant_id: &str, user_id: &str, at: &str) -> (&'static Table, Row) {
    let member = json!({
        "tenant_id": tenant_id, "user_id": user_id, "role": "user",
        "permissions": ["tenant:read", "user:read", "file:read", "file:write"], "active": true, "updated_at": at,
    });
    (&MEMBERSHIPS, row(member))
}

/// The row of a membership of a user of whom nothing but the id is known.
pub(crate) fn seeded(tenant_id: &str, id: &str, at: &str) -> (&'static Table, Row) {
    member(tenant_id, id, at)
}

pub(super) fn later_demo(at: &str) -> Rows {
    let mut rows = profile_copies::demo();
    rows.extend([member("tenant-123", "user-125", at), member("tenant-123", "user-126", at)]);
    rows
}

pub(super) fn demo(at: &str) -> Rows {
    let changed = |tenant_id, tenant_name, tier, changes: Value| {
        let (table, mut tenant) = tenant(tenant_id, tenant_name, tier, at);
        tenant.append(&mut row(changes));
        (table, tenant)
    };
    let german = json!({
        "features": ["workflows", "file_sharing", "audit"],
        "settings": { "language": "de", "time_zone": "Europe/Berlin" },
    });
    vec![
        changed("tenant-123", "Acme Corporation", "enterprise", json!({})),
        changed("tenant-456", "Globex", "professional", german),
        changed("tenant-789", "Initech", "standard", json!({ "status": "suspended" })),
        member("tenant-123", "user-123", at),
        member("tenant-123", "user-124", at),
        member("tenant-456", "user-123", at),
    ]
}
