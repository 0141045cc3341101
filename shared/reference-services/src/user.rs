//! User: profiles.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kernel::{Answer, Body, Problem, Service, Tenant, mutation};

pub(crate) const PROFILES: &str = "profiles";

pub(crate) fn routes() -> Router<Service> {
    Router::new().route("/api/v1/profiles", post(create_profile)).route("/api/v1/profiles/{user_id}", get(get_profile))
}

#[derive(Deserialize)]
struct NewProfile {
    #[serde(default)]
    profile_id: Option<String>,
    user_id: String,
    profile_data: BTreeMap<String, String>,
    #[serde(default)]
    preferences: BTreeMap<String, String>,
}

async fn create_profile(
    State(service): State<Service>,
    tenant: Tenant,
    headers: HeaderMap,
    body: Body<NewProfile>,
) -> Result<Response, Problem> {
    let profile = body.value;
    mutation(&service, &headers, tenant, "POST /api/v1/profiles", &body.raw, |entities| {
        Box::pin(async move {
            if entities.get(PROFILES, &profile.user_id).await?.is_some() {
                return Err(Problem::conflict("this user has a profile"));
            }
            let profile_id = profile.profile_id.unwrap_or_else(|| contracts::ids::new_request_id(entities.now));
            let stored = json!({
                "profile_id": profile_id, "user_id": profile.user_id, "profile_data": profile.profile_data,
                "preferences": profile.preferences, "created_at": entities.now,
            });
            entities.put(PROFILES, &profile.user_id, &stored).await?;
            Ok(Answer::created(json!({ "profile_id": profile_id, "created_at": entities.now })))
        })
    })
    .await
}

async fn get_profile(
    State(service): State<Service>,
    tenant: Tenant,
    Path(user_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    service.read(tenant, PROFILES, &user_id).await.map(Json)
}
