//! What handlers read from a request.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problem;

const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The tenant that a request is for.
#[derive(Debug, Clone)]
pub(crate) struct Tenant(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let tenant = parts.headers.get("x-tenant-id").and_then(|value| value.to_str().ok());
        tenant
            .filter(|tenant| contracts::ids::is_plain_id(tenant))
            .map(|tenant| Self(tenant.to_owned()))
            .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "send one X-Tenant-ID header"))
    }
}

/// A JSON body; 422 names the field that is missing or of the wrong type.
pub(crate) struct Body<T> {
    pub(crate) value: T,
    /// The body as it came, for telling repetitions from other requests.
    pub(crate) raw: Value,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let collected = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await;
        let bytes = collected
            .map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB"))?
            .to_bytes();
        let raw: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))?;
        let value =
            T::deserialize(&raw).map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
        Ok(Self { value, raw })
    }
}
