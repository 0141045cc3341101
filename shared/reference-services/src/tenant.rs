//! The Tenant service: tenants and who belongs to them.

use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{self, Call, Definition, Done, Fields, Mutation, Problem, Query, Reader, Row, Table, Tx};

pub(crate) static DEFINITION: Definition = Definition {
    schema: "
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

/// `GET /api/v1/tenants`: the header's tenant and, if `X-User-ID` is sent, the others that this user belongs to.
struct ListTenants;

impl Query for ListTenants {
    const ROUTE: &'static str = "/api/v1/tenants";

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
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
            tenants.extend(found.into_iter().map(context));
        }
        Ok(Json(json!({ "tenants": tenants })).into_response())
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
        own_tenant(&mut reader).await?;
        let member = reader.find(&MEMBERSHIPS, &[reader.call.param("user_id")]).await?;
        let body = match member.filter(|member| member["active"] == true) {
            Some(member) => json!({ "has_access": true, "role": member["role"], "permissions": member["permissions"] }),
            None => json!({ "has_access": false, "role": null, "permissions": [] }),
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

/// What a tenant is, as callers know it.
fn context(mut tenant: Row) -> Row {
    tenant.remove("created_at");
    tenant
}

/// The row of a new tenant.
pub(crate) fn row(tenant_id: &str, tenant_name: &str, tier: &str, at: &str) -> (&'static Table, Row) {
    let tenant = json!({
        "tenant_id": tenant_id, "tenant_name": tenant_name, "subscription_tier": tier,
        "features": ["workflows", "file_sharing"],
        "quotas": { "users": 100, "storage_gb": 500, "api_calls_per_hour": 10_000 },
        "settings": { "language": "en", "time_zone": "UTC" },
        "created_at": at,
    });
    (&TENANTS, kernel::row(tenant))
}

fn demo(at: &str) -> Vec<(&'static Table, Row)> {
    let member = |tenant_id: &str, role: &str, permissions: &[&str]| {
        kernel::row(json!({
            "tenant_id": tenant_id, "user_id": "user-123", "role": role, "permissions": permissions, "active": true,
            "updated_at": at,
        }))
    };
    let admin = ["tenant:read", "tenant:write", "user:read", "user:write", "file:read", "file:write"];
    let user = ["tenant:read", "user:read", "file:read", "file:write"];
    vec![
        row("tenant-123", "Acme Corporation", "enterprise", at),
        row("tenant-456", "Globex", "professional", at),
        (&MEMBERSHIPS, member("tenant-123", "admin", &admin)),
        (&MEMBERSHIPS, member("tenant-456", "user", &user)),
    ]
}
