//! The requests of persons that compliance workflows answer: until when, and what became of them.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compliance::{ComplianceType, due_at};
use crate::ids::{UnknownName, WorkflowKind};
use crate::status::Status;

/// The request of a person, as it is remembered. Who the person is, only the request of its execution says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRequest {
    /// Whose data.
    pub tenant_id: String,
    /// What it is called; a tenant has one of each name.
    pub compliance_id: String,
    /// What is asked for.
    pub compliance_type: ComplianceType,
    /// The execution that answers it; of one and its retries the newest.
    pub workflow_id: String,
    /// When the person asked.
    pub received_at: Timestamp,
    /// By when it must be answered, unless it was extended.
    pub due_at: Timestamp,
    /// The extension, if there is one.
    pub extension: Option<Extension>,
    /// How the execution ended, if it has.
    pub ended: Option<RequestEnd>,
    /// The last notice that it is due soon, or due.
    pub last_notice: Option<Notice>,
}

/// More time for an answer (GDPR, article 12 (3)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// By when it must be answered.
    pub until: Timestamp,
    /// Why, for people.
    pub reason: String,
    /// When it was extended.
    pub at: Timestamp,
    /// By whom, where that is known.
    pub by: Option<String>,
}

/// How the execution of a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEnd {
    /// How.
    pub status: Status,
    /// When.
    pub at: Timestamp,
    /// Whether only a part of what was asked for was done.
    #[serde(default)]
    pub is_partial: bool,
}

impl RequestEnd {
    /// The end of an execution, by its status and its result.
    pub fn of(status: Status, result: Option<&Value>, at: Timestamp) -> Self {
        let is_partial = result.is_some_and(|result| result["status"] == "PartiallyCompleted");
        Self { status, at, is_partial }
    }

    /// Whether nobody waits for an answer any more. What failed, or is done in part, must still be answered in time.
    pub fn is_settled(&self) -> bool {
        matches!(self.state(), RequestState::Completed | RequestState::Cancelled)
    }

    /// What became of the request by that.
    pub fn state(&self) -> RequestState {
        match self.status {
            Status::Completed if self.is_partial => RequestState::PartiallyCompleted,
            Status::Completed => RequestState::Completed,
            Status::Cancelled => RequestState::Cancelled,
            _ => RequestState::Failed,
        }
    }
}

/// How much of the time for an answer is over when somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// 75 %.
    DueSoon,
    /// All of it.
    Overdue,
}

impl NoticeKind {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DueSoon => "due_soon",
            Self::Overdue => "overdue",
        }
    }
}

/// A notice that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Which.
    pub kind: NoticeKind,
    /// By when an answer was due then: an extension has notices of its own.
    pub due_at: Timestamp,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// Its execution has not ended, and there is time.
    Open,
    /// Its execution has not ended, and the time is up.
    Overdue,
    /// It is answered.
    Completed,
    /// It is answered in part: something could not be read or erased.
    PartiallyCompleted,
    /// Its execution failed, ran out of time or was terminated.
    Failed,
    /// Its execution was cancelled.
    Cancelled,
}

impl RequestState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Overdue, Self::Completed, Self::PartiallyCompleted, Self::Failed, Self::Cancelled];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Overdue => "overdue",
            Self::Completed => "completed",
            Self::PartiallyCompleted => "partially_completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for RequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RequestState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

/// The longest time for an answer: three months after the request came (GDPR, article 12 (3)).
pub fn extended_due_at(received_at: Timestamp) -> Timestamp {
    received_at.to_zoned_datetime(TimeZone::UTC).saturating_add(3.months()).timestamp()
}

impl DataRequest {
    /// The request that an execution of this kind answers, going by its input, which has nothing personal; none if it answers
    /// no person.
    pub fn of_execution(
        tenant_id: &str,
        workflow_id: &str,
        kind: WorkflowKind,
        input: &Value,
        started_at: Timestamp,
    ) -> Option<Self> {
        if kind != WorkflowKind::Compliance {
            return None;
        }
        let options = &input["options"];
        let compliance_type = ComplianceType::deserialize(&options["type"]).ok()?;
        if !is_of_a_person(compliance_type) {
            return None;
        }
        let received_at = Timestamp::deserialize(&options["received_at"]).unwrap_or(started_at);
        Some(Self {
            tenant_id: tenant_id.to_owned(),
            compliance_id: options["compliance_id"].as_str()?.to_owned(),
            compliance_type,
            workflow_id: workflow_id.to_owned(),
            received_at,
            due_at: due_at(received_at),
            extension: None,
            ended: None,
            last_notice: None,
        })
    }

    /// By when it must be answered.
    pub fn due(&self) -> Timestamp {
        self.extension.as_ref().map_or(self.due_at, |extension| extension.until)
    }

    /// What became of it so far.
    pub fn state(&self, now: Timestamp) -> RequestState {
        match &self.ended {
            Some(end) => end.state(),
            None if self.due() <= now => RequestState::Overdue,
            None => RequestState::Open,
        }
    }

    /// Whether somebody waits for an answer: it is open, or was not answered in full.
    pub fn is_waited_for(&self) -> bool {
        !self.ended.as_ref().is_some_and(RequestEnd::is_settled)
    }

    /// Whole days until it must be answered, less than none if that was before; none if nobody waits for that.
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        let seconds = self.due().duration_since(now).as_secs();
        self.is_waited_for().then(|| seconds.div_euclid(24 * 3_600))
    }

    /// When somebody is to be told next; none if nobody is.
    pub fn next_notice_at(&self) -> Option<Timestamp> {
        if !self.is_waited_for() {
            return None;
        }
        match self.last_notice.filter(|notice| notice.due_at == self.due()).map(|notice| notice.kind) {
            None => Some(self.due_soon_at()),
            Some(NoticeKind::DueSoon) => Some(self.due()),
            Some(NoticeKind::Overdue) => None,
        }
    }

    /// What is to be told now, if anything is.
    pub fn notice(&self, now: Timestamp) -> Option<Notice> {
        self.next_notice_at().filter(|at| *at <= now)?;
        let kind = if self.due() <= now { NoticeKind::Overdue } else { NoticeKind::DueSoon };
        Some(Notice { kind, due_at: self.due() })
    }

    /// When 75 % of the time is over.
    fn due_soon_at(&self) -> Timestamp {
        let time = self.due().duration_since(self.received_at).as_millis();
        let part = SignedDuration::from_millis(i64::try_from(time * 3 / 4).unwrap_or(i64::MAX));
        self.received_at.saturating_add(part).unwrap_or(self.due())
    }
}

/// Whether this is something that a person asks for, and must have an answer to in time.
fn is_of_a_person(compliance_type: ComplianceType) -> bool {
    match compliance_type {
        ComplianceType::GdprDataExport | ComplianceType::GdprDataDeletion => true,
        ComplianceType::DataRetentionEnforcement
        | ComplianceType::AuditLogGeneration
        | ComplianceType::ComplianceReport
        | ComplianceType::DataClassification => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn request() -> DataRequest {
        let options =
            json!({ "compliance_id": "c-1", "type": "GdprDataExport", "received_at": "2026-01-31T12:00:00Z" });
        let input = json!({ "options": options });
        let started = at("2026-02-03T00:00:00Z");
        DataRequest::of_execution("t", "w", WorkflowKind::Compliance, &input, started).expect("it is of a person")
    }

    #[test]
    fn an_execution_answers_a_person_or_nobody() {
        let of = |kind, compliance_type: &str| {
            let input = json!({ "options": { "compliance_id": "c-1", "type": compliance_type } });
            DataRequest::of_execution("t", "w", kind, &input, at("2026-01-15T00:00:00Z"))
        };
        let started = of(WorkflowKind::Compliance, "GdprDataDeletion").expect("of a person");
        assert_eq!((started.received_at, started.due_at), (at("2026-01-15T00:00:00Z"), at("2026-02-15T00:00:00Z")));
        assert_eq!(of(WorkflowKind::Compliance, "DataClassification"), None);
        assert_eq!(of(WorkflowKind::Compliance, "unknown"), None);
        assert_eq!(of(WorkflowKind::BulkOperation, "GdprDataExport"), None);
        assert_eq!(request().received_at, at("2026-01-31T12:00:00Z"), "when the person asked");
    }

    #[test]
    fn an_extension_ends_three_months_after_the_request() {
        for (received, due) in [
            ("2026-01-15T10:00:00Z", "2026-04-15T10:00:00Z"),
            ("2026-01-31T10:00:00Z", "2026-04-30T10:00:00Z"),
            ("2025-11-30T10:00:00Z", "2026-02-28T10:00:00Z"),
        ] {
            assert_eq!(extended_due_at(at(received)), at(due), "{received}");
        }
    }

    #[test]
    fn a_request_is_open_until_it_is_over() {
        let mut request = request();
        assert_eq!(request.state(at("2026-02-28T11:59:59Z")), RequestState::Open);
        assert_eq!(request.state(at("2026-02-28T12:00:00Z")), RequestState::Overdue);
        for (now, days) in [
            ("2026-02-26T12:00:00Z", 2),
            ("2026-02-26T12:00:01Z", 1),
            ("2026-02-28T12:00:00Z", 0),
            ("2026-02-28T12:00:01Z", -1),
        ] {
            assert_eq!(request.days_left(at(now)), Some(days), "{now}");
        }
        let partial = json!({ "status": "PartiallyCompleted" });
        for (status, result, state, is_settled) in [
            (Status::Completed, None, RequestState::Completed, true),
            (Status::Completed, Some(&partial), RequestState::PartiallyCompleted, false),
            (Status::Failed, None, RequestState::Failed, false),
            (Status::TimedOut, None, RequestState::Failed, false),
            (Status::Terminated, None, RequestState::Failed, false),
            (Status::Cancelled, None, RequestState::Cancelled, true),
        ] {
            request.ended = Some(RequestEnd::of(status, result, at("2026-02-01T00:00:00Z")));
            assert_eq!(request.state(at("2030-01-01T00:00:00Z")), state);
            assert_eq!(request.days_left(at("2026-02-01T00:00:00Z")).is_none(), is_settled, "{state}");
            assert_eq!(request.next_notice_at().is_none(), is_settled, "somebody is told of what is not answered");
        }
    }

    #[test]
    fn notices_come_at_three_quarters_and_at_the_end() {
        let mut request = request();
        // 28 days, of which 21 are three quarters.
        assert_eq!(request.next_notice_at(), Some(at("2026-02-21T12:00:00Z")));
        assert_eq!(request.notice(at("2026-02-21T11:59:59Z")), None);
        let soon = request.notice(at("2026-02-21T12:00:00Z")).expect("it is due soon");
        assert_eq!(soon, Notice { kind: NoticeKind::DueSoon, due_at: request.due() });
        request.last_notice = Some(soon);
        assert_eq!(request.next_notice_at(), Some(at("2026-02-28T12:00:00Z")));
        let overdue = request.notice(at("2026-03-28T12:00:00Z")).expect("it is overdue");
        assert_eq!(overdue.kind, NoticeKind::Overdue);
        let until = extended_due_at(request.received_at);
        let extension = Extension { until, reason: "r".to_owned(), at: at("2026-02-22T00:00:00Z"), by: None };
        let extended = DataRequest { extension: Some(extension), ..request.clone() };
        // 89 days.
        assert_eq!(extended.next_notice_at(), Some(at("2026-04-08T06:00:00Z")), "an extension has its own");
        request.last_notice = Some(overdue);
        assert_eq!(request.next_notice_at(), None);
        let never_told = DataRequest { last_notice: None, ..request };
        assert_eq!(never_told.notice(at("2026-03-28T12:00:00Z")), Some(overdue), "what is too late is told once");
    }

    #[test]
    fn states_have_names() {
        for state in RequestState::ALL {
            assert_eq!(serde_json::to_value(state).expect("JSON"), state.as_str());
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
