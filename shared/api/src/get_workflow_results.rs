//! `GET /api/v1/workflows/{workflow_id}/results/{name}`: leads to a file that an execution left, by a link that expires.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use store::{BlobKey, RESULTS};

use crate::access::Caller;
use crate::{Files, Problem, get_workflow_status};

/// Long enough to begin a download.
const VALID_FOR: Duration = Duration::from_secs(900);

/// The route.
pub fn route() -> Router<Files> {
    Router::new().route("/api/v1/workflows/{workflow_id}/results/{name}", get(handle))
}

async fn handle(
    State(files): State<Files>,
    caller: Caller,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant_id = &caller.tenant_id;
    // The tenant's own, or it is as if there were none.
    let found = get_workflow_status::read(&files.api, tenant_id, &id).await?;
    let why = match found.record.status.is_open() {
        true => "The execution has no such file yet: it has not ended.",
        false => "The execution has no such file: its result lists those that it left.",
    };
    let none = || Problem::not_found(why).about(&id);
    let key = BlobKey::new(tenant_id, &[RESULTS, &id, &name]).ok_or_else(none)?;
    files.blobs.size(&key).await?.ok_or_else(none)?;
    let link = files.links.download(&key, &name, VALID_FOR).await?;
    let location = HeaderValue::from_str(&link.url).map_err(|_| Problem::internal())?;
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}
