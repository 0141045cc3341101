//! The request of a compliance workflow: what the law gives people, and what it asks of those who keep their data.

use std::ops::RangeInclusive;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dataset::Category;
use crate::fields::{BadField, Fields};
use crate::ids::{SUBJECT, WorkflowKind, is_subject};
use crate::limits::MAX_TENANT_CHARS;
use crate::recipient::{RECIPIENT, is_recipient};
use crate::request::Request;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComplianceType {
    /// A person gets everything that is kept of them (GDPR, articles 15 and 20).
    GdprDataExport,
    /// A person's data is erased (GDPR, article 17).
    GdprDataDeletion,
    /// What has been kept long enough is removed.
    DataRetentionEnforcement,
    /// Who did what with whose data is put together.
    AuditLogGeneration,
    /// It is told how well the rules are kept.
    ComplianceReport,
    /// Data is looked through for what is personal.
    DataClassification,
}

impl ComplianceType {
    /// Every type.
    pub const ALL: [Self; 6] = [
        Self::GdprDataExport,
        Self::GdprDataDeletion,
        Self::DataRetentionEnforcement,
        Self::AuditLogGeneration,
        Self::ComplianceReport,
        Self::DataClassification,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GdprDataExport => "GdprDataExport",
            Self::GdprDataDeletion => "GdprDataDeletion",
            Self::DataRetentionEnforcement => "DataRetentionEnforcement",
            Self::AuditLogGeneration => "AuditLogGeneration",
            Self::ComplianceReport => "ComplianceReport",
            Self::DataClassification => "DataClassification",
        }
    }

    /// Whether it is about one person, may be about one, or never is.
    fn subject(self) -> SubjectRule {
        match self {
            Self::GdprDataExport | Self::GdprDataDeletion => SubjectRule::Required,
            Self::AuditLogGeneration | Self::ComplianceReport => SubjectRule::Optional,
            Self::DataRetentionEnforcement | Self::DataClassification => SubjectRule::Refused,
        }
    }
}

enum SubjectRule {
    Required,
    Optional,
    Refused,
}

/// How long data is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// For so many days.
    pub retention_period_days: u64,
    /// Whether it is deleted after that.
    pub auto_delete: bool,
    /// Whether it is archived before.
    pub archive_before_delete: bool,
    /// How many days before people are told.
    pub notification_before_deletion_days: u64,
}

/// From when on, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateRange {
    /// From then on.
    pub start_date: Timestamp,
    /// Before then.
    pub end_date: Timestamp,
}

/// Which logs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRequirements {
    /// Who saw what.
    pub include_access_logs: bool,
    /// Who changed what.
    pub include_modification_logs: bool,
    /// Who deleted what.
    pub include_deletion_logs: bool,
    /// Who took out what.
    pub include_export_logs: bool,
    /// Only entries of this time.
    pub date_range: Option<DateRange>,
}

/// Something that the law asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplianceWorkflowRequest {
    /// What it is called; a tenant has one of each name.
    pub compliance_id: String,
    /// Whose data.
    pub tenant_id: String,
    /// What is done.
    pub compliance_type: ComplianceType,
    /// Whom it is about.
    pub subject_user_id: Option<String>,
    /// With which data.
    pub data_categories: Vec<Category>,
    /// How long data is kept. An export does not look at it.
    pub retention_policy: Option<RetentionPolicy>,
    /// With which logs.
    pub audit_requirements: AuditRequirements,
    /// When the person asked for it; when it was started, unless given.
    pub received_at: Option<Timestamp>,
    /// On what it is based, for people.
    pub legal_basis: Option<String>,
    /// Whose key opens what is exported.
    pub encrypt_to: Option<String>,
    /// Whether what can be read is enough.
    pub allow_partial: bool,
    /// Whether an erasure waits for another one, a backup or an export that is under way, and does not fail because of it.
    #[serde(default)]
    pub waits_for_others: bool,
    /// A package of an export that has so many bytes is followed by another one; [`MAX_PACKAGE_BYTES`], unless given.
    #[serde(default)]
    pub max_package_bytes: Option<u64>,
}

/// How many bytes a package of an export has before another one begins, unless the request says something else: file systems
/// and programs for zip files that know no larger files are still in use.
pub const MAX_PACKAGE_BYTES: u64 = 4_000_000_000;

const PACKAGE_BYTES: RangeInclusive<u64> = 1_000_000..=1_000_000_000_000;

const MAX_SUBJECT_CHARS: usize = 128;
const MAX_LEGAL_BASIS_CHARS: usize = 200;
const MAX_RECIPIENT_CHARS: usize = 100;
const MAX_DAYS: u64 = 36_525;

/// What the name of the backup begins with that an erasure makes; the id of the request follows.
pub const ERASURE_BACKUP: &str = "gdpr_deletion_backup_";
/// For how many days that backup is kept.
pub const ERASURE_BACKUP_DAYS: u32 = 30;

/// What kind of signed document a certificate of erasure is.
pub const ERASURE_CERTIFICATE: &str = "erasure-certificate";

/// Longest such that the name of the backup that an erasure makes is a plain id.
pub const MAX_COMPLIANCE_ID_CHARS: usize = MAX_TENANT_CHARS - ERASURE_BACKUP.len();

impl RetentionPolicy {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            retention_period_days: fields.number("retention_period_days", 1..=MAX_DAYS),
            auto_delete: fields.flag("auto_delete"),
            archive_before_delete: fields.flag("archive_before_delete"),
            notification_before_deletion_days: fields.number_or("notification_before_deletion_days", 0..=MAX_DAYS, 0),
        }
    }
}

impl DateRange {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (start, end) = (fields.time("start_date"), fields.time("end_date"));
        let range = Self { start_date: start?, end_date: end? };
        if range.end_date <= range.start_date {
            fields.bad("end_date", "must be after start_date");
        }
        Some(range)
    }
}

impl AuditRequirements {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            include_access_logs: fields.flag("include_access_logs"),
            include_modification_logs: fields.flag("include_modification_logs"),
            include_deletion_logs: fields.flag("include_deletion_logs"),
            include_export_logs: fields.flag("include_export_logs"),
            date_range: optional(fields, "date_range", DateRange::read).flatten(),
        }
    }
}

/// An object that may be left out or null.
fn optional<'a, T>(fields: &mut Fields<'a>, name: &str, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
    if fields.is_given(name) { fields.object(name, read) } else { None }
}

impl ComplianceWorkflowRequest {
    fn check(&self, fields: &mut Fields<'_>) {
        let name = self.compliance_type.as_str();
        match self.compliance_type.subject() {
            SubjectRule::Required if !fields.is_given("subject_user_id") => {
                fields.bad("subject_user_id", format!("is missing; {name} is about one person"));
            }
            SubjectRule::Refused if fields.is_given("subject_user_id") => {
                fields.bad("subject_user_id", format!("must be left out; {name} is about no person"));
            }
            _ => {}
        }
        if self.compliance_type != ComplianceType::GdprDataDeletion && fields.is_given("waits_for_others") {
            fields.bad("waits_for_others", "is of GdprDataDeletion only");
        }
        if self.compliance_type == ComplianceType::GdprDataExport {
            return;
        }
        for field in ["encrypt_to", "allow_partial", "max_package_bytes"] {
            if fields.is_given(field) {
                fields.bad(field, "is of GdprDataExport only");
            }
        }
    }
}

/// By when a person must have an answer: one month after the request came (GDPR, article 12 (3)). In a month that has no such
/// day it is the last one.
pub fn due_at(received_at: Timestamp) -> Timestamp {
    received_at.to_zoned_datetime(TimeZone::UTC).saturating_add(1.month()).timestamp()
}

impl Request for ComplianceWorkflowRequest {
    const KIND: WorkflowKind = WorkflowKind::Compliance;
    const HAS_DEADLINE: bool = false;

    fn read(fields: &mut Fields<'_>) -> Self {
        let categories = match fields.is_given("data_categories") {
            true => fields.distinct(
                "data_categories",
                0..=Category::ASKED_FOR.len(),
                |name| Category::ASKED_FOR.into_iter().find(|category| category.as_str() == name),
                &format!("one of {}", Category::ASKED_FOR.map(Category::as_str).join(", ")),
            ),
            false => Vec::new(),
        };
        let categories: Vec<Category> = categories.into_iter().map(|(_, category)| category).collect();
        let request = Self {
            compliance_id: fields.plain_id("compliance_id", MAX_COMPLIANCE_ID_CHARS),
            tenant_id: fields.plain_id("tenant_id", MAX_TENANT_CHARS),
            compliance_type: fields
                .one_of("compliance_type", &ComplianceType::ALL, ComplianceType::as_str)
                .unwrap_or(ComplianceType::AuditLogGeneration),
            subject_user_id: fields
                .is_given("subject_user_id")
                .then(|| fields.text_like("subject_user_id", 1..=MAX_SUBJECT_CHARS, is_subject, SUBJECT).to_owned()),
            data_categories: if categories.is_empty() { Category::ASKED_FOR.to_vec() } else { categories },
            retention_policy: optional(fields, "retention_policy", RetentionPolicy::read),
            audit_requirements: optional(fields, "audit_requirements", AuditRequirements::read).unwrap_or_default(),
            received_at: if fields.is_given("received_at") { fields.time("received_at") } else { None },
            legal_basis: fields.optional_text("legal_basis", 1..=MAX_LEGAL_BASIS_CHARS).map(str::to_owned),
            encrypt_to: fields
                .is_given("encrypt_to")
                .then(|| fields.text_like("encrypt_to", 1..=MAX_RECIPIENT_CHARS, is_recipient, RECIPIENT).to_owned()),
            allow_partial: fields.flag("allow_partial"),
            waits_for_others: fields.flag("waits_for_others"),
            max_package_bytes: fields
                .is_given("max_package_bytes")
                .then(|| fields.number("max_package_bytes", PACKAGE_BYTES)),
        };
        request.check(fields);
        request
    }

    fn options(&self) -> Value {
        let is_erasure = self.compliance_type == ComplianceType::GdprDataDeletion;
        json!({
            "compliance_id": self.compliance_id,
            "type": self.compliance_type,
            "allow_partial": self.allow_partial,
            "received_at": self.received_at,
            "backup_id": is_erasure.then(|| format!("{ERASURE_BACKUP}{}", self.compliance_id)),
            "backup_days": is_erasure.then_some(ERASURE_BACKUP_DAYS),
        })
    }

    fn tenants(&self) -> Vec<(&'static str, &str)> {
        vec![("tenant_id", &self.tenant_id)]
    }

    fn own_tenant(&self) -> Option<(&'static str, &str)> {
        Some(("tenant_id", &self.tenant_id))
    }

    fn own_id(&self) -> Option<(&'static str, &str)> {
        Some(("compliance_id", &self.compliance_id))
    }

    fn bad_at(&self, now: Timestamp) -> Vec<BadField> {
        let Some(received_at) = self.received_at else { return Vec::new() };
        let detail = if received_at > now {
            "must not be in the future"
        } else if received_at < EARLIEST_RECEIPT {
            "must not be before 2000-01-01"
        } else {
            return Vec::new();
        };
        vec![BadField { pointer: "/received_at".to_owned(), detail: detail.to_owned() }]
    }

    fn warnings(&self) -> Vec<String> {
        let id = self.compliance_id.as_str();
        let is_in = |subject: &&str| {
            id.match_indices(*subject).any(|(at, _)| {
                let (before, after) = (&id[..at], &id[at + subject.len()..]);
                !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
            })
        };
        let subject = self.subject_user_id.as_deref().filter(is_in);
        let warning = "compliance_id contains the subject_user_id: it stays when the person is erased.";
        subject.map(|_| warning.to_owned()).into_iter().collect()
    }

    fn unavailable(&self) -> Option<String> {
        let is_there =
            [ComplianceType::GdprDataExport, ComplianceType::GdprDataDeletion].contains(&self.compliance_type);
        (!is_there)
            .then(|| format!("Compliance workflows of the type {} are not there yet.", self.compliance_type.as_str()))
    }
}

/// What is older is a mistake: no law of today had a time limit then.
const EARLIEST_RECEIPT: Timestamp = Timestamp::constant(946_684_800, 0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::request::read;

    fn of(body: &str) -> Result<ComplianceWorkflowRequest, Vec<String>> {
        let document = Document::parse(body.as_bytes()).expect("JSON");
        read(&document).map_err(|bad: Vec<BadField>| bad.into_iter().map(|bad| bad.pointer).collect())
    }

    #[test]
    fn every_bad_field_is_told() {
        let body = r#"{"compliance_id":"a/b","tenant_id":"","compliance_type":"Export","subject_user_id":"a@example.com",
            "data_categories":["usage","secrets","usage"],"retention_policy":{"auto_delete":1},
            "audit_requirements":{"include_access_logs":1,
            "date_range":{"start_date":"2026-01-02T00:00:00Z","end_date":"yesterday"}},"received_at":"now",
            "legal_basis":"","encrypt_to":"age1abc","allow_partial":"yes"}"#;
        assert_eq!(
            of(body),
            Err([
                "/data_categories/1",
                "/data_categories/2",
                "/compliance_id",
                "/tenant_id",
                "/compliance_type",
                "/subject_user_id",
                "/retention_policy/retention_period_days",
                "/retention_policy/auto_delete",
                "/audit_requirements/include_access_logs",
                "/audit_requirements/date_range/end_date",
                "/received_at",
                "/legal_basis",
                "/encrypt_to",
                "/allow_partial",
                "/encrypt_to",
                "/allow_partial",
            ]
            .map(str::to_owned)
            .to_vec())
        );
    }

    fn typed(compliance_type: ComplianceType, rest: &str) -> Result<ComplianceWorkflowRequest, Vec<String>> {
        let name = compliance_type.as_str();
        of(&format!(r#"{{"compliance_id":"c","tenant_id":"t","compliance_type":"{name}"{rest}}}"#))
    }

    #[test]
    fn a_type_is_about_a_person_or_not() {
        let (with, without) = (r#","subject_user_id":"u""#, "");
        for compliance_type in ComplianceType::ALL {
            let (takes, needs) = match compliance_type.subject() {
                SubjectRule::Required => (true, true),
                SubjectRule::Optional => (true, false),
                SubjectRule::Refused => (false, false),
            };
            assert_eq!(typed(compliance_type, with).is_ok(), takes, "{compliance_type:?}");
            assert_eq!(typed(compliance_type, without).is_ok(), !needs, "{compliance_type:?}");
        }
        assert_eq!(
            typed(ComplianceType::DataClassification, r#","subject_user_id":"u","allow_partial":true"#),
            Err(vec!["/subject_user_id".to_owned(), "/allow_partial".to_owned()])
        );
    }

    #[test]
    fn without_categories_all_are_meant() {
        for rest in ["", r#","data_categories":[]"#, r#","data_categories":null"#] {
            let request = typed(ComplianceType::GdprDataExport, &format!(r#","subject_user_id":"u"{rest}"#));
            assert_eq!(request.expect("good").data_categories, Category::ASKED_FOR, "{rest}");
        }
    }

    #[test]
    fn an_answer_is_due_one_month_later() {
        for (received, due) in [
            ("2026-01-15T10:00:00Z", "2026-02-15T10:00:00Z"),
            ("2026-01-31T23:59:59Z", "2026-02-28T23:59:59Z"),
            ("2028-01-30T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("2026-03-31T12:00:00Z", "2026-04-30T12:00:00Z"),
            ("2026-12-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ] {
            assert_eq!(due_at(received.parse().expect("a time")).to_string(), due, "{received}");
        }
    }

    #[test]
    fn nobody_asks_in_the_future() {
        let request =
            typed(ComplianceType::GdprDataExport, r#","subject_user_id":"u","received_at":"2026-01-02T00:00:00Z""#);
        let request = request.expect("good");
        let pointers = |now: &str| request.bad_at(now.parse().expect("a time")).len();
        assert_eq!([pointers("2026-01-02T00:00:00Z"), pointers("2026-01-01T23:59:59Z")], [0, 1]);
    }
}
