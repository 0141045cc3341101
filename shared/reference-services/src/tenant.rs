//! Tenant: tenants and memberships.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kernel::{Answer, Body, Problem, Service, Tenant, mutation};

pub(crate) const TENANTS: &str = "tenants";
pub(crate) const MEMBERS: &str = "members";

pub(crate) fn routes() -> Router<Service> {
    Router::new()
        .route("/api/v1/tenants", get(list_tenants))
        .route("/api/v1/tenants/{tenant_id}/context", get(context))
        .route("/api/v1/tenants/{tenant_id}/access/{user_id}", get(access))
        .route("/api/v1/tenants/{tenant_id}/users", get(members))
        .route("/api/v1/tenants/{tenant_id}/users/{user_id}", put(put_member))
}

/// The tenant of the path, which must be that of the header: anybody else's does not exist.
fn own(tenant: Tenant, path: &str) -> Result<Tenant, Problem> {
    if tenant.0 == path { Ok(tenant) } else { Err(Problem::not_found("there is no such tenant here")) }
}

async fn list_tenants(State(service): State<Service>, tenant: Tenant) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "tenants": service.read_all(tenant, TENANTS).await? })))
}

async fn context(
    State(service): State<Service>,
    tenant: Tenant,
    Path(tenant_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let context = service.read(own(tenant, &tenant_id)?, TENANTS, &tenant_id).await?;
    Ok(Json(json!({ "tenant_context": context })))
}

async fn access(
    State(service): State<Service>,
    tenant: Tenant,
    Path((tenant_id, user_id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let member = service.read(own(tenant, &tenant_id)?, MEMBERS, &user_id).await.unwrap_or_default();
    let permissions = if member.is_null() { json!([]) } else { member["permissions"].clone() };
    let has_access = member["active"] == true;
    Ok(Json(json!({ "has_access": has_access, "role": member["role"], "permissions": permissions })))
}

async fn members(
    State(service): State<Service>,
    tenant: Tenant,
    Path(tenant_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "users": service.read_all(own(tenant, &tenant_id)?, MEMBERS).await? })))
}

#[derive(Deserialize)]
struct Membership {
    role: String,
    permissions: Vec<String>,
    active: bool,
}

async fn put_member(
    State(service): State<Service>,
    tenant: Tenant,
    Path((tenant_id, user_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<Membership>,
) -> Result<Response, Problem> {
    let tenant = own(tenant, &tenant_id)?;
    let membership = body.value;
    let operation = format!("PUT /api/v1/tenants/{{tenant_id}}/users/{user_id}");
    mutation(&service, &headers, tenant, &operation, &body.raw, |entities| {
        Box::pin(async move {
            if entities.get(TENANTS, &tenant_id).await?.is_none() {
                return Err(Problem::not_found("there is no such tenant here"));
            }
            let member = json!({
                "user_id": user_id, "role": membership.role, "permissions": membership.permissions,
                "active": membership.active, "updated_at": entities.now,
            });
            entities.put(MEMBERS, &user_id, &member).await?;
            Ok(Answer::ok(json!({ "updated_at": entities.now })))
        })
    })
    .await
}
