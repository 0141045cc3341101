//! Who calls, and for which tenant.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use contracts::ids::{PLAIN_ID, SUBJECT, is_plain_id, is_subject, is_traceparent};

use crate::{Api, Problem};

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody who can reach the server, for any tenant (`auth.mode = "off"`).
    Open,
    /// Nobody, for this reason.
    Closed(String),
}

/// Who calls, as far as it is known.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant_id: String,
    pub(crate) user_id: Option<String>,
    pub(crate) traceparent: Option<String>,
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        if let Access::Closed(reason) = &api.access {
            return Err(Problem::unauthenticated(reason.as_str()));
        }
        let tenant_id = single(&parts.headers, "x-tenant-id", is_plain_id, PLAIN_ID)
            .map_err(Problem::tenant_context)?
            .ok_or_else(|| Problem::tenant_context("Say for which tenant: send one X-Tenant-ID header."))?;
        let user_id = single(&parts.headers, "x-user-id", is_subject, SUBJECT).map_err(Problem::malformed)?;
        let traceparent = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
        let traceparent = traceparent.filter(|value| is_traceparent(value)).map(str::to_owned);
        Ok(Self { tenant_id, user_id, traceparent })
    }
}

/// The value of a header that holds an id and may come once.
fn single(
    headers: &HeaderMap,
    name: &str,
    is_good: fn(&str) -> bool,
    expected: &str,
) -> Result<Option<String>, String> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("The header {name} came more than once."));
    }
    match value.to_str() {
        Ok(id) if is_good(id) => Ok(Some(id.to_owned())),
        _ => Err(format!("The header {name} must be {expected}.")),
    }
}
