//! The Tenant service: tenants and who belongs to them.

use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{self, Call, Definition, Done, Fields, Mutation, Problem, Query, Reader, Row, Service, Table, Tx};

pub(crate) static DEFINITION: Definition = Definition {
    schema: &[
        "
        CREATE TABLE IF NOT EXISTS tenants (
            tenant_id TEXT NOT NULL PRIMARY KEY,
            tenant_name TEXT NOT NULL,
            subscription_tier TEXT NOT NULL,
            features TEXT NOT NULL,
            quotas TEXT NOT NULL,
            settings TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT;
        CREATE TABLE IF NOT EXISTS memberships (
            tenant_id TEXT NOT NULL REFERENCES tenants ON DELETE CASCADE,
            user_id TEXT NOT NULL,
            role TEXT NOT NULL,
            permissions TEXT NOT NULL,
            active INTEGER NOT NULL,
            updated_at TEXT NOT NULL,
            PRIMARY KEY (tenant_id, user_id)
        ) STRICT;
        CREATE INDEX IF NOT EXISTS memberships_by_user ON memberships (user_id);
        ",
        "
        ALTER TABLE tenants ADD COLUMN status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended'));
        ",
    ],
    tables: &[&TENANTS, &MEMBERSHIPS],
    routes: |routes| {
        routes
            .query::<ListTenants>()
            .query::<GetContext>()
            .query::<GetAccess>()
            .mutation::<PutMember>()
            .query::<ListMembers>()
    },
    demo,
};

static TENANTS: Table =
    Table { json: &["features", "quotas", "settings"], ..Table::new("tenants", &["tenant_id"], "the tenant exists") };
static MEMBERSHIPS: Table = Table {
    json: &["permissions"],
    booleans: &["active"],
    ..Table::new("memberships", &["tenant_id", "user_id"], "the user is a member")
};

/// `GET /api/v1/tenants?page&page_size`: the header's tenant and, if `X-User-ID` is sent, the others that this user
/// belongs to; by id.
struct ListTenants;

impl Query for ListTenants {
    const ROUTE: &'static str = "/api/v1/tenants";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let page = reader.call.page()?;
        let mut ids = vec![reader.call.tenant_id.clone()];
        if let Some(user_id) = reader.call.user_id.as_deref() {
            let memberships = reader.list_of_all_tenants(&MEMBERSHIPS, &[("user_id", user_id)]).await?;
            let active = memberships.iter().filter(|member| member["active"] == true);
            ids.extend(active.filter_map(|member| member["tenant_id"].as_str().map(str::to_owned)));
        }
        ids.sort();
        ids.dedup();
        let mut tenants = Vec::new();
        for id in &ids {
            let found = reader.list_of_all_tenants(&TENANTS, &[("tenant_id", id)]).await?;
            tenants.extend(found.into_iter().map(listed));
        }
        let body = json!({
            "tenants": page.of(&tenants), "total_count": tenants.len(), "page": page.page, "page_size": page.page_size,
        });
        Ok(Json(body).into_response())
    }
}

/// `GET /api/v1/tenants/{tenant_id}/context`
struct GetContext;

impl Query for GetContext {
    const ROUTE: &'static str = "/api/v1/tenants/{tenant_id}/context";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let tenant = own_tenant(&mut reader).await?;
        Ok(Json(json!({ "tenant_context": context(tenant) })).into_response())
    }
}

/// `GET /api/v1/tenants/{tenant_id}/access/{user_id}`
struct GetAccess;

impl Query for GetAccess {
    const ROUTE: &'static str = "/api/v1/tenants/{tenant_id}/access/{user_id}";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let tenant = own_tenant(&mut reader).await?;
        let member = reader.find(&MEMBERSHIPS, &[reader.call.param("user_id")]).await?;
        let body = match access(&tenant, member) {
            Ok(member) => json!({
                "has_access": true, "role": member["role"], "permissions": member["permissions"], "reason": null,
            }),
            Err(reason) => json!({ "has_access": false, "role": null, "permissions": [], "reason": reason }),
        };
        Ok(Json(body).into_response())
    }
}

/// `PUT /api/v1/tenants/{tenant_id}/users/{user_id}`
struct PutMember {
    user_id: String,
    role: String,
    permissions: Value,
    active: bool,
}

impl Mutation for PutMember {
    const METHOD: MethodFilter = MethodFilter::PUT;
    const ROUTE: &'static str = "/api/v1/tenants/{tenant_id}/users/{user_id}";

    fn read(call: &Call, body: &mut Fields<'_>) -> Self {
        Self {
            user_id: call.param("user_id").to_owned(),
            role: body.text("role"),
            permissions: body.texts("permissions"),
            active: body.flag("active"),
        }
    }

    async fn apply(self, tx: &mut Tx<'_>) -> Result<Done, Problem> {
        own_tenant(tx).await?;
        let updated_at = tx.now();
        let member = json!({
            "user_id": self.user_id, "role": self.role, "permissions": self.permissions, "active": self.active,
            "updated_at": updated_at,
        });
        tx.put(&MEMBERSHIPS, kernel::row(member)).await?;
        Ok(Done::ok("membership", &self.user_id, json!({ "updated_at": updated_at })))
    }
}

/// `GET /api/v1/tenants/{tenant_id}/users`
struct ListMembers;

impl Query for ListMembers {
    const ROUTE: &'static str = "/api/v1/tenants/{tenant_id}/users";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        own_tenant(&mut reader).await?;
        let members = reader.list(&MEMBERSHIPS, &[]).await?;
        Ok(Json(json!({ "users": members })).into_response())
    }
}

/// The tenant that the path names, which must be the header's.
async fn own_tenant(reader: &mut Reader<'_>) -> Result<Row, Problem> {
    if reader.call.param("tenant_id") != reader.call.tenant_id {
        return Err(Problem::not_found());
    }
    reader.get(&TENANTS, &[]).await
}

/// The membership by which a user may work in the tenant, or why there is no access.
fn access(tenant: &Row, member: Option<Row>) -> Result<Row, &'static str> {
    if tenant["status"] != "active" {
        return Err("tenant_suspended");
    }
    let member = member.ok_or("not_a_member")?;
    if member["active"] == true { Ok(member) } else { Err("membership_inactive") }
}

/// The membership by which a user may work in a tenant, for the other services to ask.
pub(crate) async fn membership(tenants: &Service, tenant_id: &str, user_id: &str) -> Result<Option<Row>, Problem> {
    let Some(tenant) = tenants.find(&TENANTS, &[tenant_id]).await? else { return Ok(None) };
    let member = tenants.find(&MEMBERSHIPS, &[tenant_id, user_id]).await?;
    Ok(access(&tenant, member).ok())
}

/// The settings of a tenant, for the other services to ask.
pub(crate) async fn settings(tenants: &Service, tenant_id: &str) -> Result<Value, Problem> {
    let tenant = tenants.find(&TENANTS, &[tenant_id]).await?;
    Ok(tenant.ok_or_else(Problem::not_found)?["settings"].clone())
}

/// A tenant as lists show it.
fn listed(mut tenant: Row) -> Row {
    tenant.remove("created_at");
    tenant
}

/// What a tenant offers those who work in it.
fn context(tenant: Row) -> Row {
    let mut context = listed(tenant);
    context.remove("status");
    context
}

/// The row of a new tenant.
pub(crate) fn row(tenant_id: &str, tenant_name: &str, tier: &str, at: &str) -> (&'static Table, Row) {
    let tenant = json!({
        "tenant_id": tenant_id, "tenant_name": tenant_name, "subscription_tier": tier,
        "features": ["workflows", "file_sharing"],
        "quotas": { "users": 100, "storage_gb": 500, "api_calls_per_hour": 10_000 },
        "settings": { "language": "en", "time_zone": "UTC" },
        "status": "active", "created_at": at,
    });
    (&TENANTS, kernel::row(tenant))
}

fn demo(at: &str) -> Vec<(&'static Table, Row)> {
    let tenant = |tenant_id, tenant_name, tier, changes: Value| {
        let (table, mut row) = row(tenant_id, tenant_name, tier, at);
        row.append(&mut kernel::row(changes));
        (table, row)
    };
    let member = |tenant_id: &str, user_id: &str| {
        let member = json!({
            "tenant_id": tenant_id, "user_id": user_id, "role": "user",
            "permissions": ["tenant:read", "user:read", "file:read", "file:write"], "active": true, "updated_at": at,
        });
        (&MEMBERSHIPS, kernel::row(member))
    };
    let german = json!({
        "features": ["workflows", "file_sharing", "audit"],
        "settings": { "language": "de", "time_zone": "Europe/Berlin" },
    });
    vec![
        tenant("tenant-123", "Acme Corporation", "enterprise", json!({})),
        tenant("tenant-456", "Globex", "professional", german),
        tenant("tenant-789", "Initech", "standard", json!({ "status": "suspended" })),
        member("tenant-123", "user-123"),
        member("tenant-123", "user-124"),
        member("tenant-456", "user-123"),
    ]
}
