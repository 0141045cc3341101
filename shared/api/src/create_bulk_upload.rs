//! `POST /api/v1/workflows/bulk-operation/uploads`: a link by which a file of entities is uploaded, for a job that is about
//! more of them than a request's body holds.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use contracts::effect::sha256_hex;
use contracts::ids::new_upload_id;
use contracts::limits::MAX_UPLOAD_BYTES;
use contracts::responses::UploadResponse;
use store::{BlobKey, UPLOADS};

use crate::access::Caller;
use crate::start::idempotency_key;
use crate::{Files, Problem, body};

pub(crate) const PATH: &str = "/api/v1/workflows/bulk-operation/uploads";

/// Long enough for the largest file on a slow line.
const VALID_FOR: Duration = Duration::from_secs(3_600);

/// The route.
pub fn route() -> Router<Files> {
    Router::new().route(PATH, post(handle))
}

async fn handle(
    State(files): State<Files>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::json(&headers, body).await?;
    let mut fields = body.fields();
    // Zero stands for a missing one, and is refused as it is.
    let bytes = match fields.is_given("size_bytes") {
        true => fields.number_or("size_bytes", 1..=MAX_UPLOAD_BYTES, 0),
        false => {
            fields.bad("size_bytes", "is missing: the link is for a file of exactly so many bytes");
            0
        }
    };
    fields.finish().map_err(Problem::invalid)?;
    let key = idempotency_key(&headers, PATH, body.value())?;
    // The same key is the same upload, which another size cannot be.
    let upload_id = match key {
        Some(key) => format!("upload_{}", &sha256_hex(format!("{} {bytes}", key.key).as_bytes())[..32]),
        None => new_upload_id(files.api.clock.now()),
    };
    let blob = BlobKey::new(&caller.tenant_id, &[UPLOADS, &upload_id]).ok_or_else(Problem::internal)?;
    let link = files.links.upload(&blob, bytes, VALID_FOR).await?;
    let answer = UploadResponse {
        upload_id,
        upload_url: link.url,
        method: "PUT".to_owned(),
        headers: link.headers.into_iter().collect(),
        size_bytes: bytes,
        expires_at: link.expires_at,
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}
