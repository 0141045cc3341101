//! File: workspaces and files.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kernel::{Answer, Body, Entities, Problem, Service, Tenant, mutation};

pub(crate) const WORKSPACES: &str = "workspaces";
pub(crate) const FILES: &str = "files";

pub(crate) fn routes() -> Router<Service> {
    Router::new()
        .route("/api/v1/workspaces", post(create_workspace))
        .route("/api/v1/workspaces/{workspace_id}", get(get_workspace))
        .route("/api/v1/workspaces/{workspace_id}/sample-data", post(create_sample_data))
        .route("/api/v1/users/{user_id}/files", get(list_files))
        .route("/api/v1/files/{file_id}", get(get_bytes))
}

#[derive(Deserialize)]
struct NewWorkspace {
    #[serde(default)]
    workspace_id: Option<String>,
    user_id: String,
    workspace_config: BTreeMap<String, String>,
}

async fn create_workspace(
    State(service): State<Service>,
    tenant: Tenant,
    headers: HeaderMap,
    body: Body<NewWorkspace>,
) -> Result<Response, Problem> {
    let workspace = body.value;
    mutation(&service, &headers, tenant, "POST /api/v1/workspaces", &body.raw, |entities| {
        Box::pin(async move {
            let id = workspace.workspace_id.unwrap_or_else(|| contracts::ids::new_request_id(entities.now));
            if entities.get(WORKSPACES, &id).await?.is_some() {
                return Err(Problem::conflict("this workspace id is taken"));
            }
            let stored = json!({
                "workspace_id": id, "user_id": workspace.user_id, "workspace_config": workspace.workspace_config,
                "created_at": entities.now,
            });
            entities.put(WORKSPACES, &id, &stored).await?;
            Ok(Answer::created(json!({ "workspace_id": id, "created_at": entities.now })))
        })
    })
    .await
}

async fn get_workspace(
    State(service): State<Service>,
    tenant: Tenant,
    Path(workspace_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    service.read(tenant, WORKSPACES, &workspace_id).await.map(Json)
}

#[derive(Deserialize)]
struct SampleData {
    user_id: String,
}

async fn create_sample_data(
    State(service): State<Service>,
    tenant: Tenant,
    Path(workspace_id): Path<String>,
    headers: HeaderMap,
    body: Body<SampleData>,
) -> Result<Response, Problem> {
    let user_id = body.value.user_id;
    let operation = format!("POST /api/v1/workspaces/{workspace_id}/sample-data");
    mutation(&service, &headers, tenant, &operation, &body.raw, |entities| {
        Box::pin(async move {
            if entities.get(WORKSPACES, &workspace_id).await?.is_none() {
                return Err(Problem::not_found("there is no such workspace here"));
            }
            let files_created = put_samples(entities, &workspace_id, &user_id).await?;
            Ok(Answer::created(json!({ "files_created": files_created, "created_at": entities.now })))
        })
    })
    .await
}

/// Writes the sample files into a workspace; how many.
pub(crate) async fn put_samples(
    entities: &mut Entities<'_>,
    workspace_id: &str,
    user_id: &str,
) -> Result<usize, sqlx::Error> {
    let samples: [(&str, &[u8]); 3] = [
        ("welcome.md", b"# Welcome\n\nThis workspace is yours.\n"),
        ("budget.csv", b"month,amount\n2026-01,1200\n2026-02,1350\n"),
        ("notes.txt", b"Everything in here can be deleted.\n"),
    ];
    for (name, bytes) in samples {
        let id = format!("{workspace_id}-{}", name.replace('.', "-"));
        let file = json!({
            "file_id": id, "workspace_id": workspace_id, "user_id": user_id, "name": name,
            "size_bytes": bytes.len(), "created_at": entities.now,
        });
        entities.put_bytes(FILES, &id, &file, Some(bytes)).await?;
    }
    Ok(samples.len())
}

async fn list_files(
    State(service): State<Service>,
    tenant: Tenant,
    Path(user_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let files = service.read_all(tenant, FILES).await?;
    Ok(Json(json!({ "files": files.into_iter().filter(|file| file["user_id"] == user_id).collect::<Vec<_>>() })))
}

async fn get_bytes(
    State(service): State<Service>,
    tenant: Tenant,
    Path(file_id): Path<String>,
) -> Result<Vec<u8>, Problem> {
    service.read_bytes(tenant, FILES, &file_id).await
}
