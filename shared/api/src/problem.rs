//! RFC 9457 problem documents, which at the same time hold `message` and the `error` object that existing clients read.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contracts::ErrorName;
use contracts::fields::BadField;
use engine::EngineError;
use serde_json::{Value, json};
use store::{Full, StoreError};

/// When to come back after a start that was refused: what is open ends all the time.
const ROOM_EXPECTED_SECONDS: u64 = 5;

/// An answer that is not a success. `instance` and `request_id` are filled in on the way out.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: ErrorName,
    /// `error.type` as existing clients know it.
    error_type: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<BadField>,
    workflow_id: Option<String>,
    retry_after_seconds: Option<u64>,
    is_denial: bool,
}

/// Most bad fields that one answer names: a body can be wrong in very many places.
const MAX_ERRORS: usize = 200;

impl Problem {
    fn new(
        status: StatusCode,
        code: ErrorName,
        error_type: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        Self {
            status,
            code,
            error_type,
            title,
            detail,
            errors: vec![],
            workflow_id: None,
            retry_after_seconds: None,
            is_denial: false,
        }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorName::InvalidInput, "Validation", "Malformed request", detail)
    }

    pub(crate) fn tenant_context(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorName::InvalidInput, "TenantContext", "No usable tenant", detail)
            .denying()
    }

    pub(crate) fn invalid(mut errors: Vec<BadField>) -> Self {
        let more = errors.len().saturating_sub(MAX_ERRORS);
        errors.truncate(MAX_ERRORS);
        let mut named: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        // One may be wrong in two ways.
        named.dedup();
        let named = named.join(", ");
        let detail = match (errors.len(), more) {
            (1, 0) => format!("A field cannot be used: {named}"),
            (_, 0) => format!("Fields cannot be used: {named}"),
            (_, more) => format!("Fields cannot be used: {named}, and {more} more"),
        };
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self { errors, ..Self::new(status, ErrorName::InvalidInput, "Validation", "Invalid fields", detail) }
    }

    /// `what` makes a request the same as another one: the header, or the field of the request's own id.
    pub(crate) fn key_reused(what: &str) -> Self {
        let detail = format!("This {what} came with another body before.");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, ErrorName::InvalidInput, "UnprocessableEntity", "Idempotency key reused", detail)
    }

    /// An upload is used once.
    pub(crate) fn upload_used(by: &str) -> Self {
        Self::taken(format!("An upload is used once, and {by} uses this one: upload the file again.")).about(by)
    }

    /// The request of a person keeps its name for ever.
    pub(crate) fn name_used(what: &str, by: &str) -> Self {
        let detail = format!("This {what} stands for an earlier request, which {by} answered: choose another one.");
        Self::taken(detail).about(by)
    }

    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        Self::new(status, ErrorName::AccessDenied, "Authentication", "Not authenticated", detail).denying()
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorName::AccessDenied, "Authorization", "Not allowed", detail).denying()
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorName::NotFound, "NotFound", "Not found", detail)
    }

    /// What was there, and was destroyed.
    pub(crate) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, ErrorName::NotFound, "NotFound", "Gone", detail)
    }

    /// A missing execution and one of another tenant answer the same, and nobody here can tell which it is: so it may be
    /// a denial, and is recorded as one.
    pub(crate) fn no_workflow(id: &str) -> Self {
        Self::not_found("There is no such workflow.").denying().about(id)
    }

    pub(crate) fn conflict(id: &str, detail: impl Into<String>) -> Self {
        Self::not_now(detail).about(id)
    }

    /// What is in no state for it, and is no execution.
    pub(crate) fn not_now(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorName::Conflict, "Conflict", "Not possible now", detail)
    }

    pub(crate) fn taken(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorName::Conflict, "Conflict", "Taken", detail)
    }

    /// The same, about this execution.
    pub(crate) fn about(self, id: &str) -> Self {
        Self { workflow_id: Some(id.to_owned()), ..self }
    }

    pub(crate) fn method_not_allowed() -> Self {
        let detail = "This path does not take this method; see the Allow header.";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, ErrorName::InvalidInput, "Validation", "Method not allowed", detail)
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(status, ErrorName::PayloadTooLarge, "Validation", "Body too large", detail)
    }

    /// The rest of a body has not come in time. Nothing of it was used.
    pub(crate) fn body_too_late(time: Duration) -> Self {
        Self::of_http(StatusCode::REQUEST_TIMEOUT, format!("The body did not arrive within {} s.", time.as_secs_f32()))
    }

    /// What is wrong with a request as HTTP has it, whatever it asks for: a header that is too long, a `Host` that is not
    /// served here.
    pub fn of_http(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = match status {
            StatusCode::REQUEST_TIMEOUT => "Request timeout",
            StatusCode::URI_TOO_LONG => "Address too long",
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "Header too large",
            StatusCode::MISDIRECTED_REQUEST => "Host not served",
            _ => "Malformed request",
        };
        Self::new(status, ErrorName::InvalidInput, "Validation", title, detail)
    }

    /// More is asked at once than this process has room for. The request has had no effect.
    pub fn busy(detail: impl Into<String>) -> Self {
        let problem = Self::unavailable(detail);
        Self { retry_after_seconds: Some(1), ..problem }
    }

    pub(crate) fn unsupported_media_type(detail: &str) -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, ErrorName::InvalidInput, "Validation", "Unsupported content type", detail)
    }

    pub(crate) fn unsupported_coding() -> Self {
        let detail = "The body must not be compressed: send it without Content-Encoding.";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, ErrorName::InvalidInput, "Validation", "Unsupported content coding", detail)
    }

    pub(crate) fn not_implemented(detail: impl Into<String>) -> Self {
        let status = StatusCode::NOT_IMPLEMENTED;
        Self::new(status, ErrorName::InvalidInput, "NotImplemented", "Not possible here", detail)
    }

    /// Too many executions are open. No denial: it is not for want of a right, and a log that grew with each such answer would
    /// be one more load.
    pub(crate) fn full(full: Full) -> Self {
        let why = match full {
            Full::Tenant(limit) => format!("This tenant has {limit} open executions or more, and may have {limit}."),
            Full::Service => {
                "All tenants together have so many open executions that this one may have no more.".to_owned()
            }
        };
        let detail = format!("{why} Nothing was accepted: repeat the request once some of them have ended.");
        let status = StatusCode::TOO_MANY_REQUESTS;
        let title = "Too many open executions";
        let problem = Self::new(status, ErrorName::LimitReached, "TooManyRequests", title, detail);
        Self { retry_after_seconds: Some(ROOM_EXPECTED_SECONDS), ..problem }
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, ErrorName::ServiceUnavailable, "Unavailable", "Not available now", detail);
        Self { retry_after_seconds: Some(5), ..problem }
    }

    /// What is stored of an execution cannot be read or written, so that nothing was done.
    pub(crate) fn damaged(id: &str, detail: impl Into<String>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, ErrorName::Internal, "Internal", "Damaged record", detail).about(id)
    }

    pub(crate) fn internal() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, ErrorName::Internal, "Internal", "Internal error", "Something went wrong on our side.")
    }

    /// What is stored is not what was.
    pub(crate) fn damaged_file() -> Self {
        let detail = "The file is damaged where it is stored, so it is not handed out.";
        Self { detail: detail.into(), ..Self::internal() }
    }

    /// The same, with another sentence.
    pub(crate) fn with(self, sentence: &str) -> Self {
        Self { detail: format!("{} {sentence}", self.detail), ..self }
    }

    /// The same as one that keeps a caller from what is not theirs.
    pub(crate) fn denying(self) -> Self {
        Self { is_denial: true, ..self }
    }

    /// Whether the audit log tells of it.
    pub(crate) fn is_denial(&self) -> bool {
        self.is_denial
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> ErrorName {
        self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn workflow_id(&self) -> Option<&str> {
        self.workflow_id.as_deref()
    }

    /// The document.
    pub(crate) fn document(&self, instance: &str, request_id: &str) -> Value {
        let mut document = json!({
            "type": format!("urn:workflow-service:problem:{}", self.title.to_lowercase().replace(' ', "-")),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "retryable": matches!(self.status.as_u16(), 408 | 429 | 503),
            "request_id": request_id,
            "message": self.detail,
            "error": { "message": self.detail, "type": self.error_type },
        });
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(|bad| json!({ "pointer": bad.pointer, "detail": bad.detail }));
            document["errors"] = errors.collect();
        }
        if let Some(id) = &self.workflow_id {
            document["workflow_id"] = id.as_str().into();
        }
        document
    }
}

impl IntoResponse for Problem {
    /// Without a body yet: [`crate::serve`] writes it, knowing the request.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::REQUEST_TIMEOUT {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // RFC 9110, section 15.5.16.
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            response.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(HeaderName::from_static("www-authenticate"), bearer);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request could not be served");
        match error {
            StoreError::Unavailable(_) => {
                Self::unavailable("The store cannot be used now, so nothing was accepted. /ready tells when it can.")
            }
            StoreError::InDoubt(_) => Self::unavailable(
                "It is not known whether this was accepted: repeat it with the same Idempotency-Key, or list what \
                 there is, once /ready says so.",
            ),
            StoreError::Inconsistent(_) => Self::internal(),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Unavailable(_) => {
                tracing::error!(%error, "a request could not be served");
                Self::unavailable("The engine cannot be used now. /ready tells when it can.")
            }
            EngineError::Definition(_) => {
                tracing::error!(%error, "a request could not be served");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(count: usize) -> Value {
        let bad = |number| BadField { pointer: format!("/{number}"), detail: "is bad".to_owned() };
        Problem::invalid((0..count).map(bad).collect()).document("", "")
    }

    #[test]
    fn what_would_be_accepted_is_told() {
        for problem in [Problem::unsupported_media_type(""), Problem::unsupported_coding()] {
            let response = problem.into_response();
            assert_eq!(response.status(), 415);
            assert_eq!(response.headers()["accept"], "application/json");
            assert_eq!(response.headers()["accept-encoding"], "identity");
        }
    }

    #[test]
    fn bad_fields_are_named_as_far_as_an_answer_goes() {
        assert_eq!(invalid(1)["detail"], "A field cannot be used: /0");
        assert_eq!(invalid(2)["detail"], "Fields cannot be used: /0, /1");
        for (count, named, more) in [(MAX_ERRORS, MAX_ERRORS, None), (MAX_ERRORS + 7, MAX_ERRORS, Some(", and 7 more"))]
        {
            let document = invalid(count);
            assert_eq!(document["errors"].as_array().map(Vec::len), Some(named));
            let detail = document["detail"].as_str().unwrap_or_default();
            assert!(detail.ends_with(more.unwrap_or("/199")), "{detail}");
        }
    }
}
