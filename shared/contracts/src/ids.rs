//! Workflow kinds and ids.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The kinds of workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowKind {
    /// A new user of a tenant.
    UserOnboarding,
    /// A user moves to another of their tenants.
    TenantSwitching,
    /// Data moves between tenants or services.
    DataMigration,
    /// One operation on many entities.
    BulkOperation,
    /// Export, erasure, retention, audit.
    Compliance,
    /// Everything that services hold of a tenant is read into a backup.
    CrossServiceBackup,
    /// A backup is written back.
    CrossServiceRestore,
}

impl WorkflowKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::UserOnboarding,
        Self::TenantSwitching,
        Self::DataMigration,
        Self::BulkOperation,
        Self::Compliance,
        Self::CrossServiceBackup,
        Self::CrossServiceRestore,
    ];

    /// The name in lists and ids, e.g. `user_onboarding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserOnboarding => "user_onboarding",
            Self::TenantSwitching => "tenant_switching",
            Self::DataMigration => "data_migration",
            Self::BulkOperation => "bulk_operation",
            Self::Compliance => "compliance",
            Self::CrossServiceBackup => "cross_service_backup",
            Self::CrossServiceRestore => "cross_service_restore",
        }
    }

    /// A fresh execution id, e.g. `user_onboarding_<uuid v7>`: under 80 characters of `[A-Za-z0-9_-]`, so that it
    /// serves as Step Functions execution name and Temporal workflow id unchanged.
    pub fn new_execution_id(self, now: Timestamp) -> String {
        format!("{}_{}", self.as_str(), uuid_v7(now))
    }

    /// The kind of an execution, going by its id.
    pub fn of_execution(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| id.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with('_')))
    }
}

impl fmt::Display for WorkflowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WorkflowKind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

/// The engines: what runs an execution from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The interpreter over a journal of ours.
    Embedded,
    /// AWS Step Functions.
    StepFunctions,
    /// Temporal.
    Temporal,
}

impl EngineKind {
    /// Every engine.
    pub const ALL: [Self; 3] = [Self::Embedded, Self::StepFunctions, Self::Temporal];

    /// The name in settings, e.g. `stepfunctions`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::StepFunctions => "stepfunctions",
            Self::Temporal => "temporal",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EngineKind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|engine| engine.as_str() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

/// A name that is none of an enum's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName(pub String);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown name '{}'", self.0)
    }
}

impl std::error::Error for UnknownName {}

/// A fresh `X-Request-ID`.
pub fn new_request_id(now: Timestamp) -> String {
    uuid_v7(now).to_string()
}

/// A fresh id of a row of the audit log.
pub fn new_audit_id(now: Timestamp) -> String {
    uuid_v7(now).to_string()
}

/// A fresh id of an upload.
pub fn new_upload_id(now: Timestamp) -> String {
    format!("upload_{}", uuid_v7(now))
}

fn uuid_v7(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

/// What [`is_plain_id`] asks for, for people.
pub const PLAIN_ID: &str = "1 to 64 letters, digits, '-' or '_'";

/// Whether `id` has the form of a tenant id: 1 to 64 of `[A-Za-z0-9_-]`.
pub fn is_plain_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// What [`is_subject`] asks for, for people.
pub const SUBJECT: &str = "a user's id: 1 to 128 letters, digits or '-', '_', '.', ':', '|', '~', no e-mail address";

/// Whether `id` has the form of a user's id as identity providers give them (`auth0|5f7c8ec7`). An e-mail address has
/// not: ids reach engines and logs, which keep no personal data.
pub fn is_subject(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:|~".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(allowed)
}

/// The trace context that a `traceparent` holds, as it is handed on: `00-<32 hex>-<16 hex>-<2 hex>` (W3C Trace Context,
/// section 3.2.2). Of a version to come it is what this version knows. None if it is none, or all zeros.
pub fn traceparent(value: &str) -> Option<String> {
    let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = value.splitn(5, '-');
    let mut hex = |length: usize| parts.next().filter(|part| part.len() == length).filter(is_hex);
    let (version, trace, parent, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let has_more = parts.next().is_some();
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    if version == "ff" || version == "00" && has_more || is_zero(trace) || is_zero(parent) {
        return None;
    }
    let known = if version == "00" { 0xff } else { SAMPLED };
    let flags = u8::from_str_radix(flags, 16).ok()? & known;
    Some(format!("00-{trace}-{parent}-{flags:02x}"))
}

/// The flag of a trace context that every version knows.
const SAMPLED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_execution_id_fits_every_engine() {
        for kind in WorkflowKind::ALL {
            let id = kind.new_execution_id(Timestamp::UNIX_EPOCH);
            assert!(id.len() < 80 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'), "{id}");
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }

    #[test]
    fn subjects_and_trace_contexts() {
        for good in ["user-123", "auth0|5f7c8ec7", "google-oauth2|1.2", "urn:x:y"] {
            assert!(is_subject(good), "{good}");
        }
        for bad in ["", "user@example.com", "a b", "a/b", &"x".repeat(129)] {
            assert!(!is_subject(bad), "{bad}");
        }
        const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        for (given, handed_on) in [
            (format!("00-{IDS}-01"), Some("01")),
            (format!("00-{IDS}-ff"), Some("ff")),
            (format!("cc-{IDS}-03"), Some("01")),
            (format!("cc-{IDS}-02-what-comes"), Some("00")),
            (format!("00-{IDS}-01-more"), None),
            (format!("ff-{IDS}-01"), None),
            (format!("00-{IDS}"), None),
            (format!("00-{IDS}-1"), None),
            (format!("00-{}-01", IDS.to_uppercase()), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)), None),
            ("00-4bf9-00f0-01".to_owned(), None),
            ("a@example.com".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(traceparent(&given), handed_on.map(|flags| format!("00-{IDS}-{flags}")), "{given}");
        }
    }
}
