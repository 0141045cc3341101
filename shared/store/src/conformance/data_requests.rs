//! What every store promises of the requests of persons.

use contracts::audit::AuditAction;
use contracts::compliance::ComplianceType;
use contracts::data_requests::{Extension, Notice, NoticeKind, RequestState, extended_due_at};
use contracts::{Status, Timestamp, WorkflowKind};
use futures::future::join_all;
use serde_json::json;

use super::audit::{log, row};
use super::{TENANT, at, new, ok};
use crate::{
    Audit, Created, DataRequests, EndRecorder, EngineEnd, Executions, Extended, KnownRequest, NewAuditRow,
    NewExecution, RequestFilter, RetryOf, StoredRequest,
};

/// The suite of a store of requests; `open` gives an empty store each time.
pub async fn data_requests<S: DataRequests + Executions + EndRecorder + Audit>(open: impl AsyncFn() -> S) {
    a_start_is_remembered_with_its_end(&open().await).await;
    a_retry_is_of_the_same_request(&open().await).await;
    a_name_stands_for_one_request(&open().await).await;
    lists_begin_with_what_is_due_first(&open().await).await;
    a_request_is_extended_once(&open().await).await;
    a_notice_is_given_once(&open().await).await;
}

const DAY: i64 = 24 * 3_600;

/// An execution that answers the request of this name.
fn answers(compliance_id: &str, number: u32, day: i64) -> NewExecution {
    let options = json!({ "compliance_id": compliance_id, "type": "GdprDataExport", "received_at": null });
    NewExecution {
        kind: WorkflowKind::Compliance,
        started_at: at(day * DAY),
        input: json!({ "options": options }),
        request: StoredRequest::Inline(json!({ "subject_user_id": "user-9", "legal_basis": "a secret" })),
        ..new(&format!("compliance_{compliance_id}-{number}"))
    }
}

async fn start<S: Executions>(store: &S, new: NewExecution) {
    assert!(matches!(ok(store.create(new).await), Created::New(_)));
}

async fn end<S: EndRecorder>(store: &S, id: &str, end: EngineEnd, day: i64) {
    assert!(ok(store.record_end(TENANT, id, &end, at(day * DAY), None).await));
}

async fn known<S: DataRequests>(store: &S, compliance_id: &str) -> KnownRequest {
    ok(store.request(TENANT, compliance_id).await).expect("it is remembered")
}

fn completed() -> EngineEnd {
    EngineEnd::Succeeded(json!({ "n": 1 }))
}

async fn a_start_is_remembered_with_its_end<S: DataRequests + Executions + EndRecorder>(store: &S) {
    start(store, new("of-nobody")).await;
    assert_eq!(ok(store.request(TENANT, "c-1").await), None);
    start(store, answers("c-1", 1, 0)).await;
    let KnownRequest { request, subject_user_id } = known(store, "c-1").await;
    assert_eq!((request.compliance_type, &*request.workflow_id), (ComplianceType::GdprDataExport, "compliance_c-1-1"));
    assert_eq!((request.received_at, request.due_at), (at(0), contracts::compliance::due_at(at(0))));
    assert_eq!((request.state(at(1)), subject_user_id.as_deref()), (RequestState::Open, Some("user-9")));
    assert_eq!(ok(store.request("tenant-b", "c-1").await), None, "another tenant's is another one");
    end(store, "compliance_c-1-1", completed(), 2).await;
    let ended = known(store, "c-1").await.request;
    assert_eq!(ended.ended.as_ref().map(|end| (end.status, end.at)), Some((Status::Completed, at(2 * DAY))));
    assert_eq!(ended.state(at(100 * DAY)), RequestState::Completed);
    for (id, engine_end, state) in [
        ("c-2", EngineEnd::Terminated, RequestState::Failed),
        ("c-3", EngineEnd::Failed { error: Some("Conflict".to_owned()), cause: None }, RequestState::Failed),
    ] {
        start(store, answers(id, 1, 0)).await;
        end(store, &format!("compliance_{id}-1"), engine_end, 1).await;
        assert_eq!(known(store, id).await.request.state(at(2 * DAY)), state, "{id}");
    }
}

async fn a_retry_is_of_the_same_request<S: DataRequests + Executions + EndRecorder + Audit>(store: &S) {
    start(store, answers("c-1", 1, 0)).await;
    let extension = extension(5, "many data");
    assert_eq!(ok(store.extend("c-1", &extension, told(5)).await), Extended::Now);
    end(store, "compliance_c-1-1", EngineEnd::Terminated, 6).await;
    let retry = RetryOf { id: "compliance_c-1-1".to_owned(), undoes: false };
    start(store, NewExecution { retry_of: Some(retry), ..answers("c-1", 2, 7) }).await;
    let KnownRequest { request, subject_user_id } = known(store, "c-1").await;
    assert_eq!((&*request.workflow_id, request.state(at(7 * DAY))), ("compliance_c-1-2", RequestState::Open));
    assert_eq!((request.received_at, request.extension), (at(0), Some(extension)), "what was asked is the same");
    assert_eq!(subject_user_id.as_deref(), Some("user-9"));
    assert_eq!(ok(store.due_notices(at(8 * DAY), 9).await).len(), 1, "it is looked at again");
    end(store, "compliance_c-1-2", completed(), 9).await;
    assert_eq!(known(store, "c-1").await.request.state(at(9 * DAY)), RequestState::Completed);
    assert_eq!(ok(store.due_notices(at(200 * DAY), 9).await), []);
}

/// Also without the key under which the first one was started: that goes when its execution is archived.
async fn a_name_stands_for_one_request<S: DataRequests + Executions + EndRecorder + Audit>(store: &S) {
    start(store, answers("c-1", 1, 0)).await;
    end(store, "compliance_c-1-1", completed(), 2).await;
    let before = known(store, "c-1").await;
    let used = Created::NameUsed { by: "compliance_c-1-1".to_owned() };
    assert_eq!(ok(store.create(answers("c-1", 2, 200)).await), used);
    assert_eq!(known(store, "c-1").await, before);
    assert_eq!(ok(store.get(TENANT, "compliance_c-1-2").await), None, "nothing was stored");
    start(store, NewExecution { tenant_id: "tenant-b".to_owned(), ..answers("c-1", 3, 0) }).await;
}

async fn lists_begin_with_what_is_due_first<S: DataRequests + Executions + EndRecorder + Audit>(store: &S) {
    for (id, day) in [("b", 10), ("a", 30), ("c", 20), ("d", 20), ("e", 5)] {
        start(store, answers(id, 1, day)).await;
    }
    start(store, NewExecution { tenant_id: "tenant-b".to_owned(), ..answers("x", 1, 1) }).await;
    end(store, "compliance_c-1", completed(), 31).await;
    end(store, "compliance_d-1", EngineEnd::Terminated, 31).await;
    assert_eq!(ok(store.extend("b", &extension_of(10, 31, "r"), told(31)).await), Extended::Now);
    // The first one of all is due.
    let now = contracts::compliance::due_at(at(5 * DAY));
    let of = |state| RequestFilter { state, due_before: None };
    let before = RequestFilter { due_before: Some(contracts::compliance::due_at(at(30 * DAY))), ..of(None) };
    for (filter, expected) in [
        (of(None), "e c d a b"),
        (of(Some(RequestState::Open)), "a b"),
        (of(Some(RequestState::Overdue)), "e"),
        (of(Some(RequestState::Completed)), "c"),
        (of(Some(RequestState::Failed)), "d"),
        (of(Some(RequestState::Cancelled)), ""),
        (before.clone(), "e c d"),
        (RequestFilter { state: Some(RequestState::Open), ..before.clone() }, ""),
        (RequestFilter { state: Some(RequestState::Overdue), ..before }, "e"),
    ] {
        for size in [1, 2, 3, 9] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = ok(store.requests(TENANT, &filter, now, after.as_deref(), size).await);
                assert!(page.requests.len() <= size as usize);
                assert!(page.requests.iter().all(|known| known.subject_user_id.as_deref() == Some("user-9")));
                found.extend(page.requests.into_iter().map(|known| known.request.compliance_id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found.join(" "), expected, "pages of {size}, {filter:?}");
        }
    }
}

/// An extension, on a day, of a request of another day.
fn extension_of(received: i64, day: i64, reason: &str) -> Extension {
    Extension {
        until: extended_due_at(at(received * DAY)),
        reason: reason.to_owned(),
        at: at(day * DAY),
        by: Some("user-1".to_owned()),
    }
}

fn extension(day: i64, reason: &str) -> Extension {
    extension_of(0, day, reason)
}

fn told(second: i64) -> NewAuditRow {
    NewAuditRow { workflow_id: None, workflow_kind: None, ..row("", AuditAction::ExtendRequest, second) }
}

async fn a_request_is_extended_once<S: DataRequests + Executions + EndRecorder + Audit>(store: &S) {
    let extend = async |id: &str, extension: &Extension| ok(store.extend(id, extension, told(1)).await);
    assert_eq!(extend("c-1", &extension(1, "r")).await, Extended::Missing);
    for id in ["c-1", "c-2", "c-3", "c-4"] {
        start(store, answers(id, 1, 0)).await;
    }
    let first = extension(1, "many data");
    let extended = join_all((0..20).map(|_| extend("c-1", &first))).await;
    assert_eq!(extended.iter().filter(|extended| **extended == Extended::Now).count(), 1);
    assert_eq!(extended.iter().filter(|extended| **extended == Extended::Before).count(), 19);
    assert_eq!(extend("c-1", &extension(2, "many data")).await, Extended::Before);
    assert_eq!(extend("c-1", &extension(200, "many data")).await, Extended::Before, "also when its time is up");
    assert_eq!(extend("c-1", &extension(2, "another")).await, Extended::Again);
    let request = known(store, "c-1").await.request;
    assert_eq!((request.due(), request.extension), (first.until, Some(first)));
    assert_eq!(extend("c-2", &extension(31, "r")).await, Extended::Over(RequestState::Overdue));
    end(store, "compliance_c-3-1", completed(), 2).await;
    assert_eq!(extend("c-3", &extension(3, "r")).await, Extended::Over(RequestState::Completed));
    // The person waits for what failed, too.
    end(store, "compliance_c-4-1", EngineEnd::Terminated, 2).await;
    assert_eq!(extend("c-4", &extension(31, "r")).await, Extended::Over(RequestState::Failed), "its time is up");
    assert_eq!(extend("c-4", &extension(3, "r")).await, Extended::Now);
    let elsewhere = NewAuditRow { tenant_id: "tenant-b".to_owned(), ..told(1) };
    assert_eq!(ok(store.extend("c-2", &extension(1, "r"), elsewhere).await), Extended::Missing);
    assert_eq!(log(store).await.len(), 2, "what changes nothing has no row");
}

async fn a_notice_is_given_once<S: DataRequests + Executions + EndRecorder + Audit>(store: &S) {
    for (id, day) in [("c-1", 0), ("c-2", 0), ("later", 9)] {
        start(store, answers(id, 1, day)).await;
    }
    end(store, "compliance_c-2-1", completed(), 2).await;
    // 30 days, of which 22.5 are three quarters.
    let due_at = contracts::compliance::due_at(at(0));
    let soon = at(22 * DAY + DAY / 2);
    let minutes = |moment: Timestamp, minutes: u64| moment + std::time::Duration::from_secs(60 * minutes);
    assert_eq!(ok(store.due_notices(at(22 * DAY), 9).await), []);
    let due = ok(store.due_notices(soon, 9).await);
    assert_eq!(due.iter().map(|due| &*due.compliance_id).collect::<Vec<_>>(), ["c-1"]);
    let until = minutes(soon, 10);
    let claims = join_all((0..20).map(|_| store.claim_notice(&due[0], soon, until))).await;
    let mut claimed: Vec<_> = claims.into_iter().filter_map(ok).collect();
    assert_eq!(claimed.len(), 1, "of several at once one gets it");
    let claimed = claimed.remove(0);
    assert_eq!(claimed.notice, Notice { kind: NoticeKind::DueSoon, due_at });
    assert_eq!(ok(store.due_notices(minutes(soon, 9), 9).await), []);
    // Who has claimed it is gone.
    let due = ok(store.due_notices(until, 9).await);
    let again = ok(store.claim_notice(&due[0], until, minutes(until, 10)).await).expect("it was not given");
    ok(store.note_notice(&claimed).await);
    assert_eq!(known(store, "c-1").await.request.last_notice, None, "its claim counts no more");
    ok(store.note_notice(&again).await);
    assert_eq!(known(store, "c-1").await.request.last_notice, Some(again.notice));
    assert_eq!(ok(store.due_notices(minutes(until, 20), 9).await), []);
    assert_eq!(ok(store.claim_notice(&due[0], minutes(until, 20), minutes(until, 30)).await), None);

    // More time has notices of its own, and what was claimed before counts no more.
    let due = ok(store.due_notices(due_at, 1).await);
    assert_eq!(due[0].compliance_id, "c-1");
    let overdue = ok(store.claim_notice(&due[0], due_at, minutes(due_at, 10)).await).expect("it is overdue");
    assert_eq!(overdue.notice.kind, NoticeKind::Overdue);
    assert_eq!(ok(store.extend("c-1", &extension(29, "r"), told(1)).await), Extended::Now);
    ok(store.note_notice(&overdue).await);
    let request = known(store, "c-1").await.request;
    assert_eq!((request.last_notice, request.due()), (Some(again.notice), extended_due_at(at(0))));
    end(store, "compliance_later-1", completed(), 40).await;
    assert_eq!(ok(store.due_notices(minutes(due_at, 20), 9).await), []);
    let end_of_time = extended_due_at(at(0));
    let due = ok(store.due_notices(end_of_time, 9).await);
    let last = ok(store.claim_notice(&due[0], end_of_time, minutes(end_of_time, 10)).await).expect("it is overdue");
    assert_eq!(last.notice, Notice { kind: NoticeKind::Overdue, due_at: end_of_time }, "one notice, not two");
    end(store, "compliance_c-1-1", completed(), 100).await;
    ok(store.note_notice(&last).await);
    assert_eq!(ok(store.due_notices(at(400 * DAY), 9).await), [], "nobody is told of what is over");
}
