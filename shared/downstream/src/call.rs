//! What one request to a service says.

use http::Method;
use serde_json::Value;

use crate::Service;

/// One request to a service, under `/api/v1`.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    pub(crate) service: Service,
    pub(crate) method: Method,
    /// Percent-encoded; absent if an id cannot stand in a path.
    pub(crate) path: Option<String>,
    pub(crate) tenant_id: &'a str,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) body: Option<Value>,
}

impl<'a> Call<'a> {
    /// Reads what is at the path of these segments, for the tenant.
    pub fn get(service: Service, path: &[&str], tenant_id: &'a str) -> Self {
        Self {
            service,
            method: Method::GET,
            path: encode(path),
            tenant_id,
            user_id: None,
            idempotency_key: None,
            body: None,
        }
    }

    /// Creates something. Every mutating call has an `Idempotency-Key`.
    pub fn post(service: Service, path: &[&str], tenant_id: &'a str, idempotency_key: String) -> Self {
        Self::get(service, path, tenant_id).mutating(Method::POST, idempotency_key)
    }

    /// Does something to many entities, each of which has a key of its own in the body.
    pub fn post_each(service: Service, path: &[&str], tenant_id: &'a str) -> Self {
        Self { method: Method::POST, ..Self::get(service, path, tenant_id) }
    }

    /// Changes something, or creates it in its place.
    pub fn put(service: Service, path: &[&str], tenant_id: &'a str, idempotency_key: String) -> Self {
        Self::get(service, path, tenant_id).mutating(Method::PUT, idempotency_key)
    }

    /// Removes something.
    pub fn delete(service: Service, path: &[&str], tenant_id: &'a str, idempotency_key: String) -> Self {
        Self::get(service, path, tenant_id).mutating(Method::DELETE, idempotency_key)
    }

    fn mutating(self, method: Method, idempotency_key: String) -> Self {
        Self { method, idempotency_key: Some(idempotency_key), ..self }
    }

    /// With the acting user (`X-User-ID`).
    pub fn of_user(self, user_id: &'a str) -> Self {
        Self { user_id: Some(user_id), ..self }
    }

    /// With this query.
    pub fn with_query(mut self, query: &str) -> Self {
        if let Some(path) = &mut self.path {
            path.push('?');
            path.push_str(query);
        }
        self
    }

    /// With this JSON.
    pub fn with_body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// The path of these segments. Of the ids that identity providers give, those of dots alone have no place in one: they
/// would name another path.
fn encode(segments: &[&str]) -> Option<String> {
    let mut path = "/api/v1".to_owned();
    for segment in segments {
        if matches!(*segment, "" | "." | "..") {
            return None;
        }
        path.push('/');
        path.push_str(&percent_encoded(segment));
    }
    Some(path)
}

/// A text as it stands in a segment of a path, or as a value in a query.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_in_their_segment() {
        let path = |user_id| encode(&["users", user_id, "session"]);
        for (user_id, expected) in [
            ("user-123", "/api/v1/users/user-123/session"),
            ("auth0|5f7c", "/api/v1/users/auth0%7C5f7c/session"),
            ("urn:x:y", "/api/v1/users/urn%3Ax%3Ay/session"),
            ("a/../b?c#d%", "/api/v1/users/a%2F..%2Fb%3Fc%23d%25/session"),
        ] {
            assert_eq!(path(user_id).as_deref(), Some(expected));
        }
        for user_id in ["", ".", ".."] {
            assert_eq!(path(user_id), None, "{user_id}");
        }
    }
}
