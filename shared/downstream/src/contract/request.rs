//! What a rule sends.

use std::fmt;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

/// Whom the service's logs name as the acting user.
pub(super) const ACTOR: &str = "contract-check";

/// One request. Ids of the rules need no percent-encoding.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// From the base URL on.
    pub(super) path: String,
    /// Whose data it is about, if that is not the tenant that is checked.
    pub(super) tenant: Tenant,
    pub(super) key: Option<String>,
    /// The number of a lease.
    pub(super) fence: Option<u64>,
    pub(super) body: Option<Bytes>,
    pub(super) content_type: &'static str,
    /// What sets it apart from others of the same rule.
    remark: Option<&'static str>,
}

/// Whose data a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tenant {
    /// The one that is checked.
    Own,
    /// Another one.
    Other,
    /// It does not say.
    Unnamed,
}

impl Request {
    /// Reads what is under `/api/v1`.
    pub(super) fn get(path: impl fmt::Display) -> Self {
        Self {
            method: Method::GET,
            path: format!("/api/v1{path}"),
            tenant: Tenant::Own,
            key: None,
            fence: None,
            body: None,
            content_type: "application/json",
            remark: None,
        }
    }

    /// Asks how the service is, which it tells everybody.
    pub(super) fn health() -> Self {
        Self { path: "/health".to_owned(), tenant: Tenant::Unnamed, ..Self::get("") }
    }

    /// Changes something.
    pub(super) fn new(method: Method, path: impl fmt::Display) -> Self {
        Self { method, ..Self::get(path) }
    }

    pub(super) fn post(path: impl fmt::Display, body: &Value) -> Self {
        Self::new(Method::POST, path).with_body(body)
    }

    pub(super) fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    pub(super) fn with_fence(self, fence: u64) -> Self {
        Self { fence: Some(fence), ..self }
    }

    pub(super) fn with_body(self, body: &Value) -> Self {
        Self { body: Some(body.to_string().into()), ..self }
    }

    /// With these bytes.
    pub(super) fn with_bytes(self, bytes: &'static [u8], content_type: &'static str) -> Self {
        Self { body: Some(Bytes::from_static(bytes)), content_type, ..self }
    }

    pub(super) fn of(self, tenant: Tenant) -> Self {
        Self { tenant, ..self }
    }

    /// With something to tell it from others by, for people.
    pub(super) fn noted(self, remark: &'static str) -> Self {
        Self { remark: Some(remark), ..self }
    }
}

/// As people are told of it. Everything in it is the rules' own.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        match self.tenant {
            Tenant::Own => {}
            Tenant::Other => write!(f, ", X-Tenant-ID {}", super::probe::OTHER_TENANT)?,
            Tenant::Unnamed => f.write_str(", no X-Tenant-ID")?,
        }
        if let Some(key) = &self.key {
            write!(f, ", Idempotency-Key {key}")?;
        }
        if let Some(fence) = self.fence {
            write!(f, ", X-Fence {fence}")?;
        }
        if let Some(remark) = self.remark {
            write!(f, " ({remark})")?;
        }
        Ok(())
    }
}
