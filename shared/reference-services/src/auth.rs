//! Auth: accounts and sessions.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kernel::{Answer, Body, Problem, Service, Tenant, mutation};

pub(crate) const ACCOUNTS: &str = "accounts";
pub(crate) const SESSIONS: &str = "sessions";

pub(crate) fn routes() -> Router<Service> {
    Router::new()
        .route("/api/v1/users", post(create_user))
        .route("/api/v1/users/{user_id}", get(get_user))
        .route("/api/v1/users/{user_id}/validate", get(validate))
        .route("/api/v1/users/{user_id}/sessions", get(sessions))
}

#[derive(Deserialize)]
struct NewUser {
    #[serde(default)]
    user_id: Option<String>,
    email: String,
    name: String,
    role: String,
    tenant_id: String,
    #[serde(default)]
    #[expect(dead_code, reason = "existing callers send it; the mail is a call of its own")]
    send_welcome_email: bool,
}

async fn create_user(
    State(service): State<Service>,
    tenant: Tenant,
    headers: HeaderMap,
    body: Body<NewUser>,
) -> Result<Response, Problem> {
    let user = body.value;
    if user.tenant_id != tenant.0 {
        return Err(Problem::not_found("there is no such tenant here"));
    }
    mutation(&service, &headers, tenant, "POST /api/v1/users", &body.raw, |entities| {
        Box::pin(async move {
            let user_id = user.user_id.unwrap_or_else(|| contracts::ids::new_request_id(entities.now));
            if entities.get(ACCOUNTS, &user_id).await?.is_some() {
                return Err(Problem::conflict("this user id is taken"));
            }
            let account = json!({
                "user_id": user_id, "email": user.email, "name": user.name, "role": user.role,
                "tenant_id": user.tenant_id, "created_at": entities.now,
            });
            match entities.put(ACCOUNTS, &user_id, &account).await {
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                    Err(Problem::conflict("this address already has an account"))
                }
                Err(error) => Err(error.into()),
                Ok(()) => Ok(Answer::created(json!({
                    "user_id": user_id, "email": account["email"], "created_at": entities.now,
                }))),
            }
        })
    })
    .await
}

async fn get_user(
    State(service): State<Service>,
    tenant: Tenant,
    Path(user_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    service.read(tenant, ACCOUNTS, &user_id).await.map(Json)
}

async fn validate(
    State(service): State<Service>,
    tenant: Tenant,
    Path(user_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let account = service.read(tenant, ACCOUNTS, &user_id).await;
    Ok(Json(json!({ "valid": account.is_ok(), "user_id": user_id, "permissions": [] })))
}

async fn sessions(
    State(service): State<Service>,
    tenant: Tenant,
    Path(user_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let sessions = service.read_all(tenant, SESSIONS).await?;
    Ok(Json(json!({ "sessions": sessions.into_iter().filter(|s| s["user_id"] == user_id).collect::<Vec<_>>() })))
}
