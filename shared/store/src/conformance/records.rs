//! What every store promises of records and histories.

use contracts::responses::Failure;
use contracts::{EngineKind, EventType, Status, WorkflowKind};
use futures::future::join_all;
use serde_json::{Value, json};

use super::driver::{Begins, Driver, Ends};
use super::{KIND, TENANT, at, create, holds, new, ok, with_key};
use crate::{Control, Controlled, Created, Executions, History, ListFilter, ListPage, NewExecution, Refusal};

pub(super) async fn run<S: Executions + History>(open: &impl AsyncFn() -> S, driver: &impl Driver<S>) {
    a_start_is_whole(&open().await).await;
    a_key_starts_one_execution(&open().await).await;
    an_upload_is_used_by_one_start(&open().await).await;
    lists_are_ordered_filtered_and_paged(&open().await, driver).await;
    lists_are_narrowed_by_user_and_time(&open().await, driver).await;
    gates_let_through_and_refuse(&open().await, driver).await;
    a_tolerated_failure_interrupts_nothing_but_new_controls(&open().await, driver).await;
    a_pause_stops_the_deadline(&open().await, driver).await;
    a_cancel_has_one_answer(&open().await, driver).await;
    an_end_is_final(&open().await, driver).await;
    histories_grow_and_are_the_tenants_own(&open().await, driver).await;
    histories_are_narrowed_by_type(&open().await, driver).await;
}

async fn a_start_is_whole<S: Executions>(store: &S) {
    create(store, "e-1").await;
    let record = ok(store.get(TENANT, "e-1").await).expect("what was created is there");
    assert_eq!((record.status, record.started_at), (Status::Running, at(0)));
    assert_eq!((record.input, record.engine), (json!({ "workflow": "e-1" }), EngineKind::Temporal));
    assert_eq!(ok(store.get("tenant-b", "e-1").await), None, "another tenant has no such execution");
    let ids = async |before| {
        let open = super::all_open(store, at(before)).await;
        open.into_iter().map(|open| open.id).collect::<Vec<_>>()
    };
    assert_eq!((ids(1).await, ids(0).await), (vec!["e-1".to_owned()], vec![]), "those from before");
    ok(store.check().await);
}

async fn a_key_starts_one_execution<S: Executions>(store: &S) {
    let ids: Vec<String> = (0..20).map(|number| format!("e-{number}")).collect();
    let created = join_all(ids.iter().map(|id| store.create(with_key(id, "same")))).await;
    let new = created.iter().filter(|created| matches!(created, Ok(Created::New(_)))).count();
    assert_eq!(new, 1, "of twenty at once one is new");
    let started: Vec<String> = created
        .into_iter()
        .map(|created| match ok(created) {
            Created::New(record) | Created::Existing(record) => record.id,
            Created::KeyReused => panic!("the body was the same"),
            other => panic!("there is neither a limit nor an upload: {other:?}"),
        })
        .collect();
    assert!(started.iter().all(|id| id == &started[0]), "all are answered with the same execution");
    assert_eq!(ok(store.create(with_key("other", "another")).await), Created::KeyReused);
    assert_eq!(ok(store.get(TENANT, "other").await), None, "nothing was stored");
    assert_eq!(ok(store.list(TENANT, &ListFilter::default(), None, 0, 9).await).total, 1, "nothing was counted");
    let foreign = NewExecution { tenant_id: "tenant-b".to_owned(), ..with_key("foreign", "another") };
    assert!(matches!(ok(store.create(foreign).await), Created::New(_)), "a key is one tenant's own");
}

async fn an_upload_is_used_by_one_start<S: Executions>(store: &S) {
    let using = |upload_id: &str, new: NewExecution| NewExecution { upload_id: Some(upload_id.to_owned()), ..new };
    let ids: Vec<String> = (0..20).map(|number| format!("e-{number}")).collect();
    let created = join_all(ids.iter().map(|id| store.create(using("upload-1", new(id))))).await;
    let created: Vec<Created> = created.into_iter().map(ok).collect();
    let winners: Vec<&String> = created
        .iter()
        .filter_map(|created| if let Created::New(record) = created { Some(&record.id) } else { None })
        .collect();
    let [winner] = winners[..] else { panic!("of twenty at once one wins, and not {winners:?}") };
    let used = Created::UploadUsed { by: winner.clone() };
    assert_eq!(created.iter().filter(|created| **created == used).count(), 19, "the others are told by whom");
    assert_eq!(ok(store.list(TENANT, &ListFilter::default(), None, 0, 99).await).total, 1, "they are not stored");
    // The same start is the same execution, and no other one.
    let first = ok(store.create(using("upload-2", with_key("first", "same"))).await);
    let Created::New(first) = first else { panic!("{first:?}") };
    let repeated = ok(store.create(using("upload-2", with_key("again", "same"))).await);
    assert_eq!(repeated, Created::Existing(first.clone()));
    assert_eq!(ok(store.create(using("upload-2", with_key("again", "another"))).await), Created::KeyReused);
    assert_eq!(ok(store.used_by(TENANT, "upload-2").await), Some(first.id.clone()));
    assert_eq!(ok(store.used_by(TENANT, "upload-3").await), None);
    assert_eq!(ok(store.used_by("tenant-b", "upload-2").await), None, "it is another tenant's");
    assert_eq!(ok(store.create(using("upload-2", new("another"))).await), Created::UploadUsed { by: first.id });
    let foreign = NewExecution { tenant_id: "tenant-b".to_owned(), ..using("upload-1", new("foreign")) };
    assert!(matches!(ok(store.create(foreign).await), Created::New(_)), "an upload is one tenant's own");
}

async fn lists_are_ordered_filtered_and_paged<S: Executions>(store: &S, driver: &impl Driver<S>) {
    for number in 0..5 {
        create(store, &format!("e-{number}")).await;
    }
    assert!(driver.end(store, "e-1", Ends::Well, at(10)).await);
    let all = ListFilter::default();
    let first = ok(store.list(TENANT, &all, None, 0, 2).await);
    let ids = |page: &ListPage| page.executions.iter().map(|record| record.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&first), first.total), (vec!["e-4".to_owned(), "e-3".to_owned()], 5), "newest first");
    let second = ok(store.list(TENANT, &all, first.next.as_deref(), 0, 2).await);
    assert_eq!(ids(&second), ["e-2", "e-1"]);
    assert_eq!(ids(&ok(store.list(TENANT, &all, None, 2, 2).await)), ids(&second), "skipping is the same");
    let last = ok(store.list(TENANT, &all, second.next.as_deref(), 0, 2).await);
    assert_eq!((ids(&last), last.next), (vec!["e-0".to_owned()], None));
    let of = |status, kind| ListFilter { statuses: vec![status], kind, ..ListFilter::default() };
    let completed = ok(store.list(TENANT, &of(Status::Completed, Some(KIND)), None, 0, 9).await);
    assert_eq!((ids(&completed), completed.total), (vec!["e-1".to_owned()], 1));
    let running = ok(store.list(TENANT, &of(Status::Running, None), None, 0, 2).await);
    assert_eq!((ids(&running), running.total), (vec!["e-4".to_owned(), "e-3".to_owned()], 4));
    let rest = ok(store.list(TENANT, &of(Status::Running, None), running.next.as_deref(), 0, 2).await);
    assert_eq!((ids(&rest), rest.next), (vec!["e-2".to_owned(), "e-0".to_owned()], None));
    let of_kind = ListFilter { kind: Some(KIND), ..ListFilter::default() };
    assert_eq!(ok(store.list(TENANT, &of_kind, None, 0, 9).await).executions.len(), 5);
    let compliance = ListFilter { kind: Some(WorkflowKind::Compliance), ..ListFilter::default() };
    assert_eq!(ok(store.list(TENANT, &compliance, None, 0, 9).await).total, 0);
    assert_eq!(ok(store.list("tenant-b", &all, None, 0, 9).await).total, 0, "another tenant sees nothing");
}

async fn lists_are_narrowed_by_user_and_time<S: Executions>(store: &S, driver: &impl Driver<S>) {
    let (ann, bob) = (Some("ann"), Some("bob"));
    for (id, second, user_id, kind) in [
        ("e-1", 0, ann, KIND),
        ("e-2", 10, bob, KIND),
        ("e-3", 20, ann, WorkflowKind::Compliance),
        ("e-4", 30, ann, KIND),
        ("e-5", 40, None, KIND),
    ] {
        let user_id = user_id.map(str::to_owned);
        ok(store.create(NewExecution { started_at: at(second), user_id, kind, ..new(id) }).await);
    }
    let foreign = NewExecution { tenant_id: "tenant-b".to_owned(), user_id: Some("ann".to_owned()), ..new("foreign") };
    ok(store.create(foreign).await);
    assert!(driver.end(store, "e-1", Ends::Well, at(50)).await);
    assert!(holds(store, "e-4", Control::Pause, 51).await);

    let listed = async |filter: &ListFilter| {
        let page = ok(store.list(TENANT, filter, None, 0, 9).await);
        let ids = page.executions.iter().map(|record| record.id.clone()).collect::<Vec<_>>();
        assert_eq!((page.total, page.counts.is_exact), (ids.len() as u64, true), "{filter:?}");
        let counts = [Status::Running, Status::Paused, Status::Completed].map(|status| page.counts.by_status[&status]);
        (ids, counts)
    };
    let all = ListFilter::default();
    assert_eq!(listed(&all).await.1, [3, 1, 1]);
    let of_ann = ListFilter { user_id: Some("ann".to_owned()), ..all.clone() };
    assert_eq!(listed(&of_ann).await, (vec!["e-4".to_owned(), "e-3".to_owned(), "e-1".to_owned()], [1, 1, 1]));
    let window = ListFilter { started_after: Some(at(10)), started_before: Some(at(40)), ..all.clone() };
    let in_window = listed(&window).await;
    assert_eq!(
        in_window,
        (vec!["e-4".to_owned(), "e-3".to_owned(), "e-2".to_owned()], [2, 1, 0]),
        "its end is not in it"
    );
    let since = ListFilter { started_after: Some(at(30)), ..all.clone() };
    assert_eq!(listed(&since).await, (vec!["e-5".to_owned(), "e-4".to_owned()], [1, 1, 0]));
    let until = ListFilter { started_before: Some(at(1)), ..all.clone() };
    assert_eq!(listed(&until).await, (vec!["e-1".to_owned()], [0, 0, 1]));
    let nothing = ListFilter { started_after: Some(at(40)), started_before: Some(at(40)), ..all.clone() };
    assert_eq!(listed(&nothing).await, (vec![], [0, 0, 0]));

    // All together; the counts are those without the status.
    let kind = Some(KIND);
    let running = vec![Status::Pending, Status::Running];
    assert_eq!(
        listed(&ListFilter { kind, ..of_ann.clone() }).await,
        (vec!["e-4".to_owned(), "e-1".to_owned()], [0, 1, 1])
    );
    let open = ListFilter { statuses: running.clone(), ..of_ann.clone() };
    assert_eq!(listed(&open).await, (vec!["e-3".to_owned()], [1, 1, 1]));
    let open = ListFilter { statuses: running, kind, ..window.clone() };
    assert_eq!(listed(&open).await, (vec!["e-2".to_owned()], [1, 1, 0]));
    let paused = ListFilter { statuses: vec![Status::Paused, Status::Completed], kind, ..of_ann.clone() };
    let paused = ListFilter { started_after: Some(at(5)), ..paused };
    assert_eq!(listed(&paused).await, (vec!["e-4".to_owned()], [0, 1, 0]));

    // Page by page it is the same.
    for filter in [of_ann, window] {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = ok(store.list(TENANT, &filter, before.as_deref(), 0, 1).await);
            assert_eq!(page.total, 3, "whatever the page");
            seen.extend(page.executions.into_iter().map(|record| record.id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, listed(&filter).await.0);
        let third = ok(store.list(TENANT, &filter, None, 2, 1).await);
        assert_eq!((third.executions[0].id.as_str(), third.next), (seen[2].as_str(), None), "skipping is the same");
    }
}

async fn gates_let_through_and_refuse<S: Executions>(store: &S, driver: &impl Driver<S>) {
    create(store, "paused").await;
    assert!(holds(store, "paused", Control::Pause, 5).await);
    assert_eq!(driver.step(store, "paused", Begins::Forward, at(6)).await, Some(Refusal::Paused));
    assert!(holds(store, "paused", Control::Resume, 7).await);
    assert_eq!(driver.step(store, "paused", Begins::Forward, at(8)).await, None);
    let foreign = ok(store.control("tenant-b", "paused", Control::Pause, at(9), None).await);
    assert_eq!(foreign, Controlled::NotFound, "a foreign execution");

    create(store, "cancelled").await;
    ok(store.control(TENANT, "cancelled", Control::Cancel, at(10), None).await);
    assert_eq!(driver.step(store, "cancelled", Begins::Pivot, at(11)).await, Some(Refusal::Cancelled));
    assert_eq!(driver.step(store, "cancelled", Begins::Undo, at(12)).await, None);

    create(store, "past-the-pivot").await;
    assert_eq!(driver.step(store, "past-the-pivot", Begins::Pivot, at(13)).await, None);
    assert!(!holds(store, "past-the-pivot", Control::Pause, 14).await, "nothing to hold");
    create(store, "late").await;
    assert_eq!(driver.step(store, "late", Begins::Forward, at(14)).await, None);
    assert_eq!(driver.step(store, "late", Begins::Forward, at(2_000)).await, Some(Refusal::TimedOut));
    let past_the_pivot = driver.step(store, "past-the-pivot", Begins::Pivot, at(2_000)).await;
    assert_eq!(past_the_pivot, None, "nothing interrupts any more");
}

/// A forward step may follow an undoing. What was asked before the undoing began still holds it.
async fn a_tolerated_failure_interrupts_nothing_but_new_controls<S: Executions>(store: &S, driver: &impl Driver<S>) {
    create(store, "cancelled").await;
    ok(store.control(TENANT, "cancelled", Control::Cancel, at(1), None).await);
    assert_eq!(driver.step(store, "cancelled", Begins::Undo, at(2)).await, None);
    assert_eq!(driver.step(store, "cancelled", Begins::Pivot, at(3)).await, Some(Refusal::Cancelled));

    create(store, "paused").await;
    assert!(holds(store, "paused", Control::Pause, 4).await);
    assert_eq!(driver.step(store, "paused", Begins::Undo, at(5)).await, None);
    assert_eq!(driver.step(store, "paused", Begins::Pivot, at(6)).await, Some(Refusal::Paused));
    assert!(holds(store, "paused", Control::Resume, 7).await);
    for control in [Control::Cancel, Control::Pause] {
        let refused = ok(store.control(TENANT, "paused", control, at(8), None).await);
        assert!(matches!(refused, Controlled::Refused(_)), "{control:?}");
    }
    assert_eq!(driver.step(store, "paused", Begins::Pivot, at(9)).await, None);

    create(store, "late").await;
    assert_eq!(driver.step(store, "late", Begins::Undo, at(10)).await, None);
    assert_eq!(driver.step(store, "late", Begins::Pivot, at(2_000)).await, Some(Refusal::TimedOut));
}

async fn a_pause_stops_the_deadline<S: Executions>(store: &S, driver: &impl Driver<S>) {
    ok(store.create(NewExecution { engine: driver.engine(), ..new("e-1") }).await);
    let status = async || ok(store.get(TENANT, "e-1").await).expect("it is there").status;
    assert!(holds(store, "e-1", Control::Pause, 900).await);
    assert_eq!(status().await, Status::Paused);
    assert_eq!(ok(store.get(TENANT, "e-1").await).expect("it is there").paused_at, Some(at(900)));
    assert!(holds(store, "e-1", Control::Pause, 950).await, "held since 900 all the same");
    let late = driver.step(store, "e-1", Begins::Forward, at(2_000)).await;
    assert_eq!(late, Some(Refusal::Paused), "its deadline was at 1000");
    assert_eq!(driver.step(store, "e-1", Begins::Undo, at(2_001)).await, None);
    assert_eq!(status().await, Status::Paused, "what goes on meanwhile does not release it");
    assert!(holds(store, "e-1", Control::Resume, 3_000).await);
    assert_eq!(status().await, Status::Running);
    let Controlled::Refused(record) = ok(store.control(TENANT, "e-1", Control::Resume, at(3_050), None).await) else {
        panic!("it is not paused");
    };
    assert_eq!((record.status, record.paused_at), (Status::Running, None));
    assert_eq!(driver.step(store, "e-1", Begins::Forward, at(3_100)).await, None);
    let late = driver.step(store, "e-1", Begins::Forward, at(3_101)).await;
    assert_eq!(late, Some(Refusal::TimedOut), "100 seconds were left");
}

async fn a_cancel_has_one_answer<S: Executions>(store: &S, driver: &impl Driver<S>) {
    assert_eq!(ok(store.control(TENANT, "nobody", Control::Cancel, at(1), None).await), Controlled::NotFound);
    create(store, "e-1").await;
    assert_eq!(ok(store.control("tenant-b", "e-1", Control::Cancel, at(1), None).await), Controlled::NotFound);
    for second in [1, 2] {
        let Controlled::Accepted(record) = ok(store.control(TENANT, "e-1", Control::Cancel, at(second), None).await)
        else {
            panic!("a running execution can be cancelled");
        };
        assert_eq!(record.cancel_requested_at, Some(at(1)), "the first request counts");
    }
    create(store, "e-2").await;
    assert_eq!(driver.step(store, "e-2", Begins::Undo, at(1)).await, None);
    let too_late = ok(store.control(TENANT, "e-2", Control::Cancel, at(2), None).await);
    assert!(matches!(too_late, Controlled::Refused(_)), "compensation is not interrupted");
    let closed = NewExecution { begins_pivot: true, ..new("e-3") };
    ok(store.create(closed).await);
    let too_late = ok(store.control(TENANT, "e-3", Control::Cancel, at(1), None).await);
    assert!(matches!(too_late, Controlled::Refused(_)), "its first step is not interrupted");
}

async fn an_end_is_final<S: Executions>(store: &S, driver: &impl Driver<S>) {
    let mean = async |id| {
        let estimated = ok(store.get_estimated(TENANT, id).await).expect("it is there");
        let mean = ok(store.mean_duration_ms(TENANT, estimated.record.kind).await);
        assert_eq!(mean, estimated.mean_duration_ms);
        mean
    };
    create(store, "good").await;
    assert_eq!(mean("good").await, None);
    assert!(driver.end(store, "good", Ends::Well, at(10)).await);
    let record = ok(store.get(TENANT, "good").await).expect("it is there");
    assert_eq!(
        (record.status, record.result, record.ended_at),
        (Status::Completed, Some(json!({ "n": 1 })), Some(at(10)))
    );
    assert!(!driver.end(store, "good", Ends::Badly, at(11)).await, "an ended execution does not end again");
    assert_eq!(ok(store.get(TENANT, "good").await).expect("it is there").status, Status::Completed);
    assert!(matches!(ok(store.control(TENANT, "good", Control::Cancel, at(11), None).await), Controlled::Refused(_)));
    assert!(!holds(store, "good", Control::Pause, 12).await);
    assert_eq!(mean("good").await, Some(10_000));
    assert_eq!(super::all_open(store, at(100)).await, []);

    create(store, "bad").await;
    assert!(driver.end(store, "bad", Ends::Badly, at(20)).await);
    let record = ok(store.get(TENANT, "bad").await).expect("it is there");
    let failure = Failure { error: "Conflict".to_owned(), ..Failure::default() };
    assert_eq!((record.status, record.failure), (Status::Failed, Some(failure)));
    assert_eq!(mean("bad").await, Some(10_000), "only what completed counts");

    let foreign = NewExecution { tenant_id: "tenant-b".to_owned(), ..new("foreign") };
    ok(store.create(foreign).await);
    let foreign = ok(store.get_estimated("tenant-b", "foreign").await).expect("it is there");
    assert_eq!(foreign.mean_duration_ms, None, "another tenant's past says nothing");
}

async fn histories_grow_and_are_the_tenants_own<S: Executions + History>(store: &S, driver: &impl Driver<S>) {
    create(store, "e-1").await;
    create(store, "e-2").await;
    assert_eq!(driver.step(store, "e-1", Begins::Forward, at(10)).await, None);
    assert_eq!(ok(store.events("tenant-b", "e-1", &[], None, 9).await), None);
    let page = ok(store.events(TENANT, "e-1", &[], None, 9).await).expect("it is there");
    let ids: Vec<u64> = page.rows.iter().map(|row| row.event.event_id).collect();
    assert_eq!((ids, page.next), ((1..=page.total).collect(), None), "from 1 without gaps");
    assert!(page.total >= 2, "what happened is there");
    assert_eq!(page.rows[0].event.details["input"], json!({ "secret": "of the request" }), "read from the request");
    assert_eq!(page.rows[1].event.details.get("input"), None::<&Value>);
    let mut parts = Vec::new();
    let mut after = None;
    loop {
        let part = ok(store.events(TENANT, "e-1", &[], after.as_deref(), 1).await).expect("it is there");
        assert!(part.rows.len() <= 1 && part.total == page.total);
        parts.extend(part.rows);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(parts, page.rows, "in parts it is the same");

    let newest = ok(store.tenant_events(TENANT, &[], None, 2).await);
    assert_eq!((newest.rows[0].execution_id.as_str(), newest.total), ("e-1", page.total + 1), "newest first");
    assert_eq!(newest.rows[0].event, page.rows[page.rows.len() - 1].event);
    let (mut seen, mut before) = (newest.rows.len(), newest.next);
    while let Some(from) = before {
        let part = ok(store.tenant_events(TENANT, &[], Some(&from), 2).await);
        seen += part.rows.len();
        before = part.next;
    }
    assert_eq!(seen as u64, newest.total, "over all executions, each once");
    assert_eq!(ok(store.tenant_events("tenant-b", &[], None, 2).await).total, 0);
}

async fn histories_are_narrowed_by_type<S: Executions + History>(store: &S, driver: &impl Driver<S>) {
    create(store, "e-1").await;
    create(store, "e-2").await;
    for second in [10, 11, 12] {
        assert_eq!(driver.step(store, "e-1", Begins::Forward, at(second)).await, None);
    }
    let all = ok(store.events(TENANT, "e-1", &[], None, 99).await).expect("it is there");
    let scheduled = EventType::ActivityTaskScheduled;
    let wanted: Vec<_> = all.rows.iter().filter(|row| row.event.event_type == scheduled.as_str()).cloned().collect();
    assert_eq!(wanted.len(), 3);
    let page = ok(store.events(TENANT, "e-1", &[scheduled], None, 99).await).expect("it is there");
    assert_eq!((&page.rows, page.total, page.total_is_exact, page.next), (&wanted, 3, true, None));
    let (mut parts, mut after) = (Vec::new(), None);
    loop {
        let part = ok(store.events(TENANT, "e-1", &[scheduled], after.as_deref(), 2).await).expect("it is there");
        assert_eq!(part.total, 3);
        parts.extend(part.rows);
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(parts, wanted, "in parts it is the same");
    let two = [EventType::WorkflowExecutionStarted, scheduled];
    let page = ok(store.events(TENANT, "e-1", &two, None, 99).await).expect("it is there");
    assert_eq!((page.total, &page.rows[0]), (4, &all.rows[0]), "with the request in it");
    let none = ok(store.events(TENANT, "e-1", &[EventType::CompensationFailed], None, 99).await).expect("it is there");
    assert_eq!((none.rows, none.total, none.next), (vec![], 0, None));
    assert_eq!(ok(store.events("tenant-b", "e-1", &[scheduled], None, 9).await), None);

    // Over all executions, newest first.
    let (mut parts, mut before) = (Vec::new(), None);
    loop {
        let part = ok(store.tenant_events(TENANT, &two, before.as_deref(), 2).await);
        assert_eq!((part.total, part.total_is_exact), (5, true));
        parts.extend(part.rows);
        before = part.next;
        if before.is_none() {
            break;
        }
    }
    assert!(parts.iter().all(|row| two.iter().any(|kind| kind.as_str() == row.event.event_type)));
    let started = parts.iter().filter(|row| row.event.details.get("input").is_some()).count();
    assert_eq!((parts.len(), started), (5, 2), "each once");
    assert_eq!(parts[0].event, wanted[2].event);
    assert_eq!(ok(store.tenant_events("tenant-b", &two, None, 9).await).rows, []);
}
