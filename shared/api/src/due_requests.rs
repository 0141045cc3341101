//! What is done about requests of persons without anybody asking: somebody is told when the time for an answer is nearly over,
//! and when it is.

use std::collections::BTreeMap;
use std::time::Duration;

use clock::Clock;
use contracts::ActivityError;
use contracts::data_requests::{DataRequest, Notice, NoticeKind};
use contracts::effect::sha256_hex;
use downstream::Downstream;
use downstream::notifications::{self, Notification};
use store::{ClaimedNotice, DataRequests, DueNotice, StoreError};

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notified {
    /// Notices that were sent.
    pub sent: usize,
    /// Notices that are in the log only, as nobody is named who is to be told.
    pub logged: usize,
    /// Notices that could not be sent, which was logged; they are tried again in [`CLAIMED_FOR`].
    pub failed: usize,
}

/// Notices that are looked for at once.
const DUE_AT_ONCE: u32 = 100;

/// How long a notice is left to who gives it: longer than a call to a service may take.
const CLAIMED_FOR: Duration = Duration::from_secs(600);

/// Gives the notices that are due, to the address `to`. May be called as often as one likes, by several processes too: each
/// notice is claimed before, and carries a key of its own, by which the receiver knows it again.
///
/// # Errors
/// It is not known which notices are due.
pub async fn notify_due_requests(
    requests: &dyn DataRequests,
    downstream: &Downstream,
    to: Option<&str>,
    clock: &dyn Clock,
) -> Result<Notified, StoreError> {
    let mut notified = Notified::default();
    loop {
        let due = requests.due_notices(clock.now(), DUE_AT_ONCE).await?;
        for due in &due {
            match notify(requests, downstream, to, clock, due).await {
                Ok(Some(true)) => notified.sent += 1,
                Ok(Some(false)) => notified.logged += 1,
                Ok(None) => {}
                Err(error) => {
                    notified.failed += 1;
                    let DueNotice { tenant_id, compliance_id } = due;
                    tracing::error!(tenant_id, compliance_id, error, "nobody is told that a request is due");
                }
            }
        }
        // Each that was looked at is due later, or not any more; one that cannot be read stays where it is.
        if due.len() < DUE_AT_ONCE as usize || notified.failed > 0 {
            return Ok(notified);
        }
    }
}

/// Gives the notice that is due, if one is: whether it was sent. None if there is none, or somebody else gives it.
async fn notify(
    requests: &dyn DataRequests,
    downstream: &Downstream,
    to: Option<&str>,
    clock: &dyn Clock,
    due: &DueNotice,
) -> Result<Option<bool>, String> {
    let now = clock.now();
    let claimed = requests.claim_notice(due, now, now + CLAIMED_FOR).await.map_err(|error| error.to_string())?;
    let Some(claimed) = claimed else { return Ok(None) };
    let ClaimedNotice { request, notice, .. } = &claimed;
    let DataRequest { tenant_id, compliance_id, .. } = request;
    match to {
        Some(to) => send(downstream, to, request, notice).await.map_err(|error| error.cause_text())?,
        None => tracing::warn!(
            tenant_id,
            compliance_id,
            kind = notice.kind.as_str(),
            due_at = %notice.due_at,
            "a request of a person must be answered, and compliance.notify names nobody who is to be told"
        ),
    }
    requests.note_notice(&claimed).await.map_err(|error| error.to_string())?;
    Ok(Some(to.is_some()))
}

async fn send(downstream: &Downstream, to: &str, request: &DataRequest, notice: &Notice) -> Result<(), ActivityError> {
    let DataRequest { tenant_id, compliance_id, compliance_type, workflow_id, .. } = request;
    let (compliance_type, due_at) = (compliance_type.as_str(), format!("{:.0}", notice.due_at));
    let (notification_type, message) = match notice.kind {
        NoticeKind::DueSoon => (
            "data_request_due_soon",
            format!("The request {compliance_id} must be answered by {due_at}: 75 % of the time are over."),
        ),
        NoticeKind::Overdue => {
            ("data_request_overdue", format!("The request {compliance_id} had to be answered by {due_at}, and is not."))
        }
    };
    let metadata = BTreeMap::from([
        ("compliance_id", compliance_id.as_str()),
        ("compliance_type", compliance_type),
        ("workflow_id", workflow_id),
        ("due_at", &due_at),
    ]);
    let notification = Notification { notification_type, recipient: to, subject_id: None, message: &message, metadata };
    let of = format!("{tenant_id} {compliance_id} {} {}", notice.kind.as_str(), notice.due_at);
    notifications::send(downstream, tenant_id, &notification, sha256_hex(of.as_bytes())).await.map(drop)
}
