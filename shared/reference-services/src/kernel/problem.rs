//! Answers that say why not, in the form of RFC 9457.

use std::borrow::Cow;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// A refusal. It never holds internals, nor anything of another tenant.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    /// Tells it from others of the same status.
    code: Option<&'static str>,
    errors: Vec<FieldError>,
}

/// What is wrong with one field of the body.
#[derive(Debug, Serialize)]
pub(crate) struct FieldError {
    /// JSON pointer to the field.
    pub(crate) pointer: String,
    /// What is wrong.
    pub(crate) detail: Cow<'static, str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), code: None, errors: Vec::new() }
    }

    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// The caller writes under a lease that another one has got since.
    pub(super) fn fenced() -> Self {
        let detail = "somebody with a higher X-Fence has written things of this type since";
        Self { code: Some("Fenced"), ..Self::conflict(detail) }
    }

    pub(super) fn other_version() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "the thing has another version than the expected one")
    }

    /// The same for what never existed and for what is another tenant's.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such object")
    }

    pub(crate) fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(super) fn fields(errors: Vec<FieldError>) -> Self {
        let listed: Vec<_> = errors.iter().map(|e| format!("{} {}", e.pointer, e.detail)).collect();
        Self { errors, ..Self::unprocessable(listed.join("; ")) }
    }

    /// What a batch answers for an item of which this became.
    pub(super) fn code(&self) -> &'static str {
        match self.status {
            StatusCode::NOT_FOUND => "NotFound",
            StatusCode::CONFLICT => "Conflict",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::PRECONDITION_FAILED => "VersionMismatch",
            _ => "InvalidInput",
        }
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the database refuses");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the service cannot use its data")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(code) = self.code {
            body["code"] = json!(code);
        }
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, content_type, body.to_string()).into_response()
    }
}
