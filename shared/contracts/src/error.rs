//! One enum of stable error names: the Lambda `errorType`, what `ErrorEquals` matches, and the problem's `code`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Errors named by what the caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ErrorName {
    /// The request cannot be carried out as it is: fix the input.
    InvalidInput,
    /// The caller may not do this.
    AccessDenied,
    /// What the request names does not exist.
    NotFound,
    /// The present state forbids it, e.g. an e-mail address that already has an account.
    Conflict,
    /// A service answered 5xx or nonsense, or broke off its answer: retry.
    ServiceUnavailable,
    /// A service did not answer in time: retry.
    ServiceTimeout,
    /// A service asked us to slow down: retry later.
    ServiceThrottled,
    /// A service gave no answer, because there was no connection to it or the connection broke: retry for as long as a
    /// restart takes.
    ServiceUnreachable,
    /// A service refused for good: give up.
    ServiceRejected,
    /// As much is under way as may be: start it later.
    LimitReached,
    /// Somebody cancelled the execution.
    WorkflowCancelled,
    /// Somebody paused the execution.
    WorkflowPaused,
    /// The execution's deadline has passed.
    WorkflowTimedOut,
    /// So many items of batches have failed that no further batch begins.
    BatchesStopped,
    /// A batch is to be called again, after the seconds that its cause tells: no attempt has failed.
    BatchUnfinished,
    /// What it must have for itself is in use by others: it is to be called again later.
    WaitingForOthers,
    /// Something could not be undone: call a human.
    CompensationFailed,
    /// A payload is larger than its limit.
    PayloadTooLarge,
    /// A service answered with another identity than the one asked for: call a human.
    IntegrityViolation,
    /// A fault of ours.
    Internal,
}

impl ErrorName {
    /// Every name.
    pub const ALL: [Self; 20] = [
        Self::InvalidInput,
        Self::AccessDenied,
        Self::NotFound,
        Self::Conflict,
        Self::ServiceUnavailable,
        Self::ServiceTimeout,
        Self::ServiceThrottled,
        Self::ServiceUnreachable,
        Self::ServiceRejected,
        Self::LimitReached,
        Self::WorkflowCancelled,
        Self::WorkflowPaused,
        Self::WorkflowTimedOut,
        Self::BatchesStopped,
        Self::BatchUnfinished,
        Self::WaitingForOthers,
        Self::CompensationFailed,
        Self::PayloadTooLarge,
        Self::IntegrityViolation,
        Self::Internal,
    ];

    /// The name as it stands in state machines and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "InvalidInput",
            Self::AccessDenied => "AccessDenied",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::ServiceTimeout => "ServiceTimeout",
            Self::ServiceThrottled => "ServiceThrottled",
            Self::ServiceUnreachable => "ServiceUnreachable",
            Self::ServiceRejected => "ServiceRejected",
            Self::LimitReached => "LimitReached",
            Self::WorkflowCancelled => "WorkflowCancelled",
            Self::WorkflowPaused => "WorkflowPaused",
            Self::WorkflowTimedOut => "WorkflowTimedOut",
            Self::BatchesStopped => "BatchesStopped",
            Self::BatchUnfinished => "BatchUnfinished",
            Self::WaitingForOthers => "WaitingForOthers",
            Self::CompensationFailed => "CompensationFailed",
            Self::PayloadTooLarge => "PayloadTooLarge",
            Self::IntegrityViolation => "IntegrityViolation",
            Self::Internal => "Internal",
        }
    }

    /// The error of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.as_str() == name)
    }

    /// Whether trying the same thing again can help. The standard retrier of the state machines lists exactly these, but
    /// for `ServiceUnreachable`, which has a more patient retrier of its own.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::ServiceUnavailable | Self::ServiceTimeout | Self::ServiceThrottled | Self::ServiceUnreachable
        )
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a step failed, as the engine carries it. No personal data: engines keep causes for months.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// `auth`, `user`, `tenant`, `file`, `notifications`; null where no service was involved.
    #[serde(default)]
    pub service: Option<String>,
    /// The step that failed.
    #[serde(default)]
    pub step: Option<String>,
    /// What happened, in our own words; never the service's text.
    #[serde(default)]
    pub message: String,
    /// The service's HTTP status, where it answered.
    #[serde(default)]
    pub http_status: Option<u16>,
    /// The service's `Retry-After`, in seconds.
    #[serde(default)]
    pub retry_after_seconds: Option<u64>,
    /// The service's `X-Request-ID`, to find the call in its logs.
    #[serde(default)]
    pub upstream_request_id: Option<String>,
}

/// How an activity fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityError {
    /// What the state machine's `Retry` and `Catch` look at. Free text, because an engine has names of its own
    /// (`States.Timeout`, `Lambda.Unknown`).
    pub error: String,
    /// The details; travels as JSON text.
    pub cause: Box<Cause>,
}

impl ActivityError {
    /// An error with one of our names and a message.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self { error: name.to_string(), cause: Box::new(Cause { message: message.into(), ..Cause::default() }) }
    }

    /// Whether trying the same thing again can help.
    pub fn is_retryable(&self) -> bool {
        ErrorName::named(&self.error).is_some_and(ErrorName::is_retryable)
    }

    /// The cause as it travels: JSON text.
    pub fn cause_text(&self) -> String {
        serde_json::to_string(&self.cause).unwrap_or_default()
    }
}

impl fmt::Display for ActivityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.cause.message)
    }
}

impl std::error::Error for ActivityError {}
