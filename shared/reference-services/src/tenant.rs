//! The Tenant service: tenants and who belongs to them.

mod operations;
mod profile_copies;
pub(crate) mod rows;

use axum::response::{IntoResponse, Json, Response};
use axum::routing::MethodFilter;
use serde_json::{Value, json};

use crate::kernel::{
    self, Call, Definition, Dependent, Doc, Done, EntityType, Field, Fields, Kind, Member, Mutation, Problem, Query,
    Reader, Reference, Row, Service, Shape, Table, Tx,
};

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
        profile_copies::SCHEMA,
    ],
    tables: &[&TENANTS, &MEMBERSHIPS, &profile_copies::PROFILE_COPIES],
    entity_types: &[&TENANT, &MEMBERSHIP, &profile_copies::PROFILE_COPY],
    routes: |routes| {
        routes
            .query::<ListTenants>()
            .query::<GetContext>()
            .query::<GetAccess>()
            .mutation::<PutMember>()
            .query::<ListMembers>()
    },
    demo: [rows::demo, rows::later_demo],
};

static TENANTS: Table = Table {
    json: &["features", "quotas", "settings"],
    dependents: &[
        Dependent { table: &MEMBERSHIPS, columns: &["tenant_id"], or: None },
        Dependent { table: &profile_copies::PROFILE_COPIES, columns: &["tenant_id"], or: None },
    ],
    ..Table::new("tenants", &["tenant_id"], "the tenant exists")
};
static MEMBERSHIPS: Table = Table {
    json: &["permissions"],
    booleans: &["active"],
    ..Table::new("memberships", &["tenant_id", "user_id"], "the user is a member")
};

static TENANT: EntityType = EntityType::new(
    "tenant",
    &TENANTS,
    "tenant_id",
    &[
        Field::new("tenant_id", Kind::Id),
        Field::new("tenant_name", Kind::Text),
        Field::new("subscription_tier", Kind::Text),
        Field::new("features", Kind::Texts),
        Field::new("quotas", Kind::Object),
        Field::new("settings", Kind::Object),
        Field::new("status", Kind::OneOf(&["active", "suspended"])),
        Field::new("created_at", Kind::Time),
    ],
);
static MEMBERSHIP: EntityType = EntityType {
    subject_field: Some("user_id"),
    written_at: Some("updated_at"),
    references: &[Reference::new("user_id", "auth", "account")],
    operations: operations::OF_MEMBERSHIPS,
    ..EntityType::new(
        "membership",
        &MEMBERSHIPS,
        "user_id",
        &[
            Field::new("user_id", Kind::Id),
            Field::new("role", Kind::Text),
            Field::new("permissions", Kind::Texts),
            Field::new("active", Kind::Flag),
        ],
    )
};

/// `GET /api/v1/tenants?page&page_size`: the header's tenant and, if `X-User-ID` is sent, the others that this user
/// belongs to; by id.
struct ListTenants;

impl Query for ListTenants {
    const ROUTE: &'static str = "/api/v1/tenants";
    const DOC: Doc = Doc {
        query: &[
            Member::optional("page", Shape::Count, "from 1"),
            Member::optional("page_size", Shape::Count, "1 to 1000; 50 unless given"),
        ],
        ..Doc::new(
            "The header's tenant and, with X-User-ID, the others that this user belongs to; by id.",
            "No workflow at present: retention that runs for every tenant, and people who look for one, list tenants \
             so.",
            Shape::Object(&[
                Member::required(
                    "tenants",
                    Shape::List(&[
                        Member::required("tenant_id", Shape::Text, ""),
                        Member::required("tenant_name", Shape::Text, ""),
                        Member::required("subscription_tier", Shape::Text, ""),
                        Member::required("features", Shape::Texts, ""),
                        Member::required("quotas", Shape::AnyObject, "numbers"),
                        Member::required("settings", Shape::TextMap, ""),
                        Member::required("status", Shape::Words(&["active", "suspended"]), ""),
                    ]),
                    "",
                ),
                Member::required("total_count", Shape::Count, ""),
                Member::required("page", Shape::Count, ""),
                Member::required("page_size", Shape::Count, ""),
            ]),
        )
    };

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
    const DOC: Doc = Doc {
        refuses: &[(404, "there is no such tenant, or it is not the header's")],
        ..Doc::new(
            "What a tenant offers those who work in it.",
            "get_tenant_context (user onboarding, tenant switching), and send_notification for the tenant's name.",
            Shape::Object(&[Member::required(
                "tenant_context",
                Shape::Object(&[
                    Member::required("tenant_id", Shape::Text, ""),
                    Member::required("tenant_name", Shape::Text, ""),
                    Member::required("subscription_tier", Shape::Text, ""),
                    Member::required("features", Shape::Texts, ""),
                    Member::required("quotas", Shape::AnyObject, "numbers"),
                    Member::required("settings", Shape::TextMap, ""),
                ]),
                "",
            )]),
        )
    };

    fn is_logged(_: &Call) -> bool {
        true
    }

    async fn answer(mut reader: Reader<'_>) -> Result<Response, Problem> {
        let tenant = own_tenant(&mut reader).await?;
        reader.log_access(&TENANT, &tenant).await?;
        Ok(Json(json!({ "tenant_context": context(tenant) })).into_response())
    }
}

/// `GET /api/v1/tenants/{tenant_id}/access/{user_id}`
struct GetAccess;

impl Query for GetAccess {
    const ROUTE: &'static str = "/api/v1/tenants/{tenant_id}/access/{user_id}";
    const DOC: Doc = Doc {
        refuses: &[(404, "there is no such tenant, or it is not the header's")],
        ..Doc::new(
            "Whether a user may work in the tenant, and as what.",
            "validate_tenant_access (tenant switching). Somebody without access is an answer, not a refusal.",
            Shape::Object(&[
                Member::required("has_access", Shape::Flag, ""),
                Member::nullable("role", Shape::Text, ""),
                Member::required("permissions", Shape::Texts, ""),
                Member::nullable(
                    "reason",
                    Shape::Words(&["tenant_suspended", "not_a_member", "membership_inactive"]),
                    "why there is no access",
                ),
            ]),
        )
    };

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
    const DOC: Doc = Doc {
        takes: &[
            Member::required("role", Shape::Text, ""),
            Member::required("permissions", Shape::Texts, ""),
            Member::required("active", Shape::Flag, ""),
        ],
        refuses: &[(404, "there is no such tenant, or it is not the header's")],
        ..Doc::new(
            "Makes a user a member of the tenant, or changes the membership.",
            "update_tenant_user_membership (user onboarding, tenant switching). An undo restores the membership that \
             was there before.",
            Shape::Object(&[Member::required("updated_at", Shape::Time, "")]),
        )
    };

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

/// What the list answers.
const LISTED: &[Member] = &[Member::required("users", Shape::AllOwned(&MEMBERSHIP), "at most 1,000")];

/// `GET /api/v1/tenants/{tenant_id}/users`
struct ListMembers;

impl Query for ListMembers {
    const ROUTE: &'static str = "/api/v1/tenants/{tenant_id}/users";
    const DOC: Doc = Doc {
        refuses: &[(404, "there is no such tenant, or it is not the header's")],
        ..Doc::new(
            "The members of the tenant.",
            "No workflow: they read memberships by the data port. It is what people look at.",
            Shape::Object(LISTED),
        )
    };

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
