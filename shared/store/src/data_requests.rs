//! The requests of persons that compliance workflows answer. A start writes one, a retry and an end change it, in the same
//! transaction.

use async_trait::async_trait;
use contracts::Timestamp;
use contracts::data_requests::{DataRequest, Extension, Notice, RequestEnd, RequestState};

use crate::{NewAuditRow, NewExecution, StoreError, StoredRequest};

/// A request, and whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRequest {
    /// The request.
    pub request: DataRequest,
    /// The person, as long as the request of the execution is kept.
    pub subject_user_id: Option<String>,
}

/// Which requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Those in this state.
    pub state: Option<RequestState>,
    /// Those that are due before this moment.
    pub due_before: Option<Timestamp>,
}

/// A part of a tenant's requests: what is due first comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPage {
    /// The requests.
    pub requests: Vec<KnownRequest>,
    /// Where the next part begins, as only the store understands it; none at the end.
    pub next: Option<String>,
}

/// What became of the wish for more time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extended {
    /// There is more time from now on.
    Now,
    /// It was extended before, for the same reason.
    Before,
    /// It was extended before, for another reason: a request is extended once.
    Again,
    /// Its execution has ended, or its time is up.
    Over(RequestState),
    /// There is no such request.
    Missing,
}

/// A request that is to be looked at: whether somebody is to be told that it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotice {
    /// Whose.
    pub tenant_id: String,
    /// Which.
    pub compliance_id: String,
}

/// A notice that nobody else gives until a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedNotice {
    /// What it is about.
    pub request: DataRequest,
    /// What is to be told.
    pub notice: Notice,
    /// Until when nobody else tells it.
    pub until: Timestamp,
}

/// Requests of persons. They are never removed.
#[async_trait]
pub trait DataRequests: Send + Sync {
    /// The request, if there is one.
    async fn request(&self, tenant_id: &str, compliance_id: &str) -> Result<Option<KnownRequest>, StoreError>;

    /// The tenant's requests that fit, those due first before others: `limit` of them at most, those behind `after` (a
    /// [`RequestPage::next`]).
    async fn requests(
        &self,
        tenant_id: &str,
        filter: &RequestFilter,
        now: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<RequestPage, StoreError>;

    /// Gives more time to a request of the row's tenant, together with that row of the audit log.
    async fn extend(
        &self,
        compliance_id: &str,
        extension: &Extension,
        audit: NewAuditRow,
    ) -> Result<Extended, StoreError>;

    /// The requests that are to be looked at by now, `limit` of them at most.
    async fn due_notices(&self, now: Timestamp, limit: u32) -> Result<Vec<DueNotice>, StoreError>;

    /// Claims the notice that is to be given now, until a moment: of several at once one gets it. None if there is none to be
    /// given, or somebody has claimed it; then it is looked at again when there may be one.
    async fn claim_notice(
        &self,
        due: &DueNotice,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ClaimedNotice>, StoreError>;

    /// Notes that a notice was given, so that it is not given again; nothing if the request has changed since it was claimed.
    async fn note_notice(&self, claimed: &ClaimedNotice) -> Result<(), StoreError>;
}

/// The parts of a request that change, each kept by itself.
#[derive(Debug, Clone, Default)]
pub struct RequestParts {
    /// The newest execution.
    pub workflow_id: String,
    /// How it ended.
    pub ended: Option<RequestEnd>,
    /// The extension.
    pub extension: Option<Extension>,
    /// The last notice.
    pub last_notice: Option<Notice>,
}

impl RequestParts {
    /// The request as it is: as it was when it was new, with what has changed since then.
    pub fn of(self, new: DataRequest) -> DataRequest {
        let Self { workflow_id, ended, extension, last_notice } = self;
        DataRequest { workflow_id, ended, extension, last_notice, ..new }
    }
}

/// The request that a start answers, as it is new; none if it answers no person.
pub fn data_request_of(new: &NewExecution) -> Option<DataRequest> {
    DataRequest::of_execution(&new.tenant_id, &new.id, new.kind, &new.input, new.started_at)
}

/// Whether a request may get more time; why not, if it may not.
pub fn extending(request: &DataRequest, extension: &Extension) -> Extended {
    match &request.extension {
        Some(before) if before.reason == extension.reason => Extended::Before,
        Some(_) => Extended::Again,
        None if request.is_waited_for() && extension.at < request.due() => Extended::Now,
        None => Extended::Over(request.state(extension.at)),
    }
}

/// The person whom a stored request is about, if it says so.
pub fn subject_of(request: &StoredRequest) -> Option<String> {
    match request {
        StoredRequest::Inline(request) => request["subject_user_id"].as_str().map(str::to_owned),
        StoredRequest::Blob(_) => None,
    }
}
