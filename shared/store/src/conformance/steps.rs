//! What a record of attempts and ends promises.

use contracts::audit::AuditAction;
use contracts::responses::Items;
use contracts::{ActivityError, ErrorName, Status, Timestamp};
use serde_json::{Value, json};

use super::audit::{log, row, told};
use super::driver::{details, step, types};
use super::{TENANT, at, create, holds, new, ok, request};
use crate::{
    AttemptOutcome, Audit, Begin, BegunAttempt, Control, DueExecution, EndRecorder, EngineEnd, Executions, Finish,
    History, HistoryRow, NewExecution, Progress, Refusal, StepOutcome, StepRecorder, StepRef,
};

pub(super) async fn run<S, W: Future<Output = ()>>(open: &impl AsyncFn() -> S, wait: &impl Fn(Timestamp) -> W)
where
    S: Audit + Executions + History + StepRecorder + EndRecorder,
{
    an_attempt_is_recorded_whole(&open().await).await;
    what_is_done_is_not_done_again(&open().await).await;
    a_lost_attempt_is_closed_by_the_next(&open().await).await;
    an_undoing_closes_its_step(&open().await).await;
    what_never_began_is_told_from_what_did(&open().await).await;
    waiting_for_an_engine_is_not_in_the_time_limit(&open().await, wait).await;
    refusals_are_in_the_history_but_for_pauses(&open().await).await;
    an_end_says_what_was_undone_and_closes_what_is_open(&open().await).await;
    items_of_a_state_are_steps_of_their_own(&open().await).await;
    a_failure_that_is_tolerated_counts_as_a_step(&open().await).await;
    batches_are_recorded_and_are_no_events(&open().await).await;
    the_deadline_holds_back_batches(&open().await, wait).await;
    what_steps_report_is_the_result(&open().await).await;
}

async fn completed<S: Executions>(store: &S) -> u32 {
    ok(store.get(TENANT, "e-1").await).expect("it is there").progress.completed_steps
}

async fn items_of_a_state_are_steps_of_their_own<S>(store: &S)
where
    S: Executions + History + StepRecorder + EndRecorder,
{
    create(store, "e-1").await;
    let first = begin(store, "e-1", "Copy[1]").await;
    let second = begin(store, "e-1", "Copy[2.1]").await;
    assert_eq!((first.number, second.number), (1, 1), "both are under way");
    finish(store, "e-1", "Copy[2.1]", &second, Ok(json!({ "n": 2 }))).await;
    finish(store, "e-1", "Copy[1]", &first, Ok(json!({ "n": 1 }))).await;
    for (path, n) in [("Copy[1]", 1), ("Copy[2.1]", 2)] {
        let again = ok(store.begin_step(&step("e-1", path)).await);
        assert!(matches!(&again, Begin::AlreadyDone(result) if result["n"] == n), "{path}: {again:?}");
    }
    let third = begin(store, "e-1", "Copy[2.2]").await;
    finish(store, "e-1", "Copy[2.2]", &third, unavailable()).await;
    assert_eq!(completed(store).await, 2);
    let undo = begin(store, "e-1", "UndoCopy[1]").await;
    finish(store, "e-1", "UndoCopy[1]", &undo, Ok(json!({ "undone": true }))).await;
    assert!(matches!(ok(store.begin_step(&step("e-1", "Copy[2.2]")).await), Begin::Proceed { .. }), "another item");
    let rows = history(store, "e-1").await;
    let ids: Vec<&Value> = details(&rows, "activity_id");
    for path in ["Copy[1]", "Copy[2.1]", "Copy[2.2]", "UndoCopy[1]"] {
        assert!(ids.contains(&&json!(path)), "{path} is missing in {ids:?}");
    }
    let end = EngineEnd::Failed { error: Some("Conflict".to_owned()), cause: None };
    assert!(ok(store.record_end(TENANT, "e-1", &end, at(50), None).await));
    let record = ok(store.get(TENANT, "e-1").await).expect("it is there");
    assert_eq!(record.failure.expect("it failed").undone, ["Copy[1]"]);
}

async fn a_failure_that_is_tolerated_counts_as_a_step<S: Executions + StepRecorder>(store: &S) {
    create(store, "e-1").await;
    let done = begin(store, "e-1", "CreateUserAccount").await;
    finish(store, "e-1", "CreateUserAccount", &done, Ok(json!({ "skipped": true }))).await;
    let sample = begin(store, "e-1", "CreateSampleData").await;
    finish(store, "e-1", "CreateSampleData", &sample, unavailable()).await;
    let undo = begin(store, "e-1", "UndoCreateSampleData").await;
    finish(store, "e-1", "UndoCreateSampleData", &undo, Ok(json!({ "undone": false }))).await;
    assert_eq!(completed(store).await, 1, "nobody knows yet whether it goes on");
    let mail = begin(store, "e-1", "SendNotification").await;
    assert_eq!(completed(store).await, 2, "it does");
    finish(store, "e-1", "SendNotification", &mail, Ok(json!({}))).await;
    assert_eq!(completed(store).await, 3);
}

async fn batches_are_recorded_and_are_no_events<S>(store: &S)
where
    S: Executions + History + StepRecorder + EndRecorder,
{
    create(store, "e-1").await;
    let batch = |path: &str| StepRef { is_batch: true, batches: Some(9), ..step("e-1", path) };
    let items = async || {
        let items = ok(store.get_estimated(TENANT, "e-1").await).expect("it is there").items;
        items.map(|items| (items.total, items.completed, items.failed))
    };
    let begun = async |path: &str| match ok(store.begin_step(&batch(path)).await) {
        Begin::Proceed { attempt, request: found, effect_scope, .. } => {
            assert_eq!((&*found, &*effect_scope), (&request(), "e-1"));
            attempt
        }
        other => panic!("{path}: {other:?}"),
    };
    let ended = async |path: &str, attempt: &BegunAttempt, outcome: StepOutcome| {
        ok(store.finish_step(&batch(path), attempt, &outcome.into()).await)
    };
    let (first, second) = (begun("Batch[1]").await, begun("Batch[2]").await);
    assert_eq!(items().await, None, "none is over");
    assert_eq!(ended("Batch[1]", &first, Ok(json!({ "n": 1 }))).await, Finish::Recorded);
    assert_eq!(ended("Batch[2]", &second, unavailable()).await, Finish::Recorded);
    assert_eq!(items().await, Some((9, 1, 1)));
    let again = begun("Batch[2]").await;
    assert_eq!(again.number, 2);
    assert_eq!(ended("Batch[2]", &second, Ok(json!({}))).await, Finish::Superseded, "a newer attempt has begun");
    assert_eq!(ended("Batch[2]", &again, unavailable()).await, Finish::Recorded);
    assert_eq!(items().await, Some((9, 1, 1)), "it has failed once, however often it is tried");
    let again = begun("Batch[2]").await;
    assert_eq!(again.number, 3);
    let lost = begun("Batch[2]").await;
    assert_eq!(lost.number, 4, "one that says nothing is repeated");
    assert_eq!(ended("Batch[2]", &lost, Ok(json!({ "n": 2 }))).await, Finish::Recorded);
    assert_eq!(items().await, Some((9, 2, 0)), "a later attempt has done it");
    let done = ok(store.begin_step(&batch("Batch[1]")).await);
    assert!(matches!(&done, Begin::AlreadyDone(result) if result["n"] == 1), "{done:?}");
    assert!(holds(store, "e-1", Control::Cancel, 5).await, "a batch closes no window");
    let refused = ok(store.begin_step(&batch("Batch[3]")).await);
    assert!(matches!(refused, Begin::Refused(Refusal::Cancelled)), "{refused:?}");
    let undo = begun("UndoBatch[1]").await;
    assert_eq!(ended("UndoBatch[1]", &undo, Ok(json!({ "undone": true }))).await, Finish::Recorded);
    assert!(matches!(ok(store.begin_step(&batch("Batch[1]")).await), Begin::Closed), "it is undone");
    assert_eq!(items().await, Some((9, 2, 0)), "progress does not go back");
    assert_eq!(types(&history(store, "e-1").await), ["WorkflowExecutionStarted"]);
    let record = ok(store.get(TENANT, "e-1").await).expect("it is there");
    assert_eq!(record.progress.completed_steps, 0);
    assert!(ok(store.record_end(TENANT, "e-1", &EngineEnd::Terminated, at(60), None).await));
    assert!(matches!(ok(store.begin_step(&batch("Batch[9]")).await), Begin::Closed));
}

/// The limit is 1,000 s.
async fn the_deadline_holds_back_batches<S: Executions + StepRecorder, W: Future<Output = ()>>(
    store: &S,
    wait: &impl Fn(Timestamp) -> W,
) {
    create(store, "e-1").await;
    let plan = begin(store, "e-1", "Plan").await;
    finish(store, "e-1", "Plan", &plan, Ok(json!({}))).await;
    let begun = async |path: &str| ok(store.begin_step(&StepRef { is_batch: true, ..step("e-1", path) }).await);
    assert!(matches!(begun("Batch[1]").await, Begin::Proceed { .. }));
    wait(at(2_000)).await;
    for path in ["Batch[1]", "Batch[2]"] {
        let late = begun(path).await;
        assert!(matches!(late, Begin::Refused(Refusal::TimedOut)), "{path}: {late:?}");
    }
}

async fn what_steps_report_is_the_result<S: Executions + History + StepRecorder + EndRecorder>(store: &S) {
    let report = |name: &str, value: u32| Some([(name.to_owned(), json!(value))].into_iter().collect());
    for (id, closes) in [("open", false), ("closed", true), ("failed", false), ("rolled-back", true)] {
        create(store, id).await;
        for (path, name, value) in [("First", "a", 1), ("Second", "b", 2)] {
            let step = StepRef { closes: closes && path == "Second", ..step(id, path) };
            let Begin::Proceed { attempt, .. } = ok(store.begin_step(&step).await) else { panic!("{path}") };
            let ended = AttemptOutcome { outcome: Ok(json!({})), report: report(name, value) };
            assert_eq!(ok(store.finish_step(&step, &attempt, &ended).await), Finish::Recorded);
        }
    }
    let items = async |id: &str| ok(store.get_estimated(TENANT, id).await).expect("it is there").items;
    assert_eq!(items("open").await, None);
    create(store, "planned").await;
    let plan = begin(store, "planned", "Plan").await;
    let ended = AttemptOutcome { outcome: Ok(json!({})), report: report("total_entities", 9) };
    assert_eq!(ok(store.finish_step(&step("planned", "Plan"), &plan, &ended).await), Finish::Recorded);
    assert_eq!(items("planned").await, Some(Items { total: 9, completed: 0, failed: 0 }), "no batch is over yet");
    let result = async |id: &str, end: &EngineEnd| {
        assert!(ok(store.record_end(TENANT, id, end, at(50), None).await));
        let last = history(store, id).await.pop().expect("an end");
        let record = ok(store.get(TENANT, id).await).expect("it is there");
        assert_eq!(
            last.event.details["result"],
            record.result.clone().unwrap_or_default(),
            "the history says the same"
        );
        record.result
    };
    let succeeded = EngineEnd::Succeeded(json!({ "c": 3 }));
    let failed = EngineEnd::Failed { error: Some("Conflict".to_owned()), cause: None };
    let all = json!({ "a": 1, "b": 2, "c": 3 });
    assert_eq!(result("open", &succeeded).await, Some(all.clone()));
    assert_eq!(result("closed", &succeeded).await, Some(all));
    assert_eq!(result("failed", &failed).await, None);
    assert_eq!(result("rolled-back", &failed).await, Some(json!({ "a": 1, "b": 2 })));
}

async fn begin<S: StepRecorder>(store: &S, id: &str, name: &str) -> BegunAttempt {
    match ok(store.begin_step(&step(id, name)).await) {
        Begin::Proceed { attempt, request: found, effect_scope, .. } => {
            assert_eq!((&*found, &*effect_scope), (&request(), id));
            attempt
        }
        other => panic!("{name}: {other:?}"),
    }
}

async fn finish<S: StepRecorder>(
    store: &S,
    id: &str,
    name: &str,
    attempt: &BegunAttempt,
    outcome: StepOutcome,
) -> Finish {
    ok(store.finish_step(&step(id, name), attempt, &outcome.into()).await)
}

fn unavailable() -> StepOutcome {
    Err(ActivityError::new(ErrorName::ServiceUnavailable, "down"))
}

async fn history<S: History>(store: &S, id: &str) -> Vec<HistoryRow> {
    ok(store.events(TENANT, id, &[], None, 200).await).expect("it is there").rows
}

async fn what_never_began_is_told_from_what_did<S: Executions + StepRecorder>(store: &S) {
    for id in ["begun", "refused", "paused"] {
        ok(store.create(NewExecution { status: Status::Pending, ..new(id) }).await);
    }
    let due = async || {
        let due = super::all_open(store, at(100)).await;
        due.into_iter().map(|due| (due.id, due.has_begun)).collect::<Vec<_>>()
    };
    let all = due().await;
    assert!(all.len() == 3 && all.iter().all(|(_, has_begun)| !has_begun), "{all:?}");
    begin(store, "begun", "GetTenantContext").await;
    assert!(holds(store, "refused", Control::Cancel, 1).await);
    let refused = ok(store.begin_step(&step("refused", "GetTenantContext")).await);
    assert!(matches!(refused, Begin::Refused(Refusal::Cancelled)), "{refused:?}");
    assert!(holds(store, "paused", Control::Pause, 1).await);
    let found = due().await;
    assert_eq!(found[0], ("paused".to_owned(), false), "whatever its status is");
    let mut begun = found[1..].to_vec();
    begun.sort_unstable();
    assert_eq!(begun, [("begun".to_owned(), true), ("refused".to_owned(), true)]);
    let paused = DueExecution { tenant_id: TENANT.to_owned(), id: "paused".to_owned(), has_begun: true };
    ok(store.put_off(&paused, at(200)).await);
    assert_eq!(due().await.len(), 2, "its next turn has not come");
    let later = super::all_open(store, at(300)).await;
    assert!(later.contains(&paused), "it is remembered: {later:?}");
}

/// The limit is 1,000 s.
async fn waiting_for_an_engine_is_not_in_the_time_limit<S: Executions + StepRecorder, W: Future<Output = ()>>(
    store: &S,
    wait: &impl Fn(Timestamp) -> W,
) {
    let unlimited = NewExecution { deadline_at: None, ..new("unlimited") };
    for new in [new("e-1"), new("cancelled"), unlimited] {
        ok(store.create(NewExecution { status: Status::Pending, ..new }).await);
    }
    assert!(holds(store, "cancelled", Control::Cancel, 1).await);
    for (control, second) in [(Control::Pause, 2), (Control::Resume, 4_000)] {
        assert!(holds(store, "e-1", control, second).await);
    }
    wait(at(5_000)).await;
    let refused = ok(store.begin_step(&step("cancelled", "GetTenantContext")).await);
    assert!(matches!(refused, Begin::Refused(Refusal::Cancelled)), "{refused:?}");
    begin(store, "unlimited", "GetTenantContext").await;
    let first = begin(store, "e-1", "GetTenantContext").await;
    finish(store, "e-1", "GetTenantContext", &first, unavailable()).await;
    wait(at(5_900)).await;
    let again = begin(store, "e-1", "GetTenantContext").await;
    finish(store, "e-1", "GetTenantContext", &again, Ok(json!({}))).await;
    begin(store, "e-1", "CreateUserAccount").await;
    wait(at(6_100)).await;
    let late = ok(store.begin_step(&step("e-1", "CreateUserProfile")).await);
    assert!(matches!(late, Begin::Refused(Refusal::TimedOut)), "{late:?}");
    begin(store, "unlimited", "CreateUserAccount").await;

    let brief = NewExecution { started_at: at(6_100), deadline_at: Some(at(6_101)), ..new("brief") };
    ok(store.create(NewExecution { status: Status::Pending, ..brief }).await);
    wait(at(6_103)).await;
    let step = StepRef { accepted_at: at(6_100), ..step("brief", "GetTenantContext") };
    let first = ok(store.begin_step(&step).await);
    assert!(matches!(first, Begin::Proceed { .. }), "{first:?}");
}

async fn an_attempt_is_recorded_whole<S: Executions + History + StepRecorder>(store: &S) {
    ok(store.create(NewExecution { status: Status::Pending, ..new("e-1") }).await);
    let first = begin(store, "e-1", "CreateUserAccount").await;
    let record = ok(store.get(TENANT, "e-1").await).expect("it is there");
    assert_eq!((record.status, record.progress.current_step.as_str()), (Status::Running, "CreateUserAccount"));
    let expected =
        Progress { status_message: Some("At CreateUserAccount".to_owned()), ..super::progress("CreateUserAccount") };
    assert_eq!(record.progress, expected);
    assert_eq!(
        types(&history(store, "e-1").await),
        ["WorkflowExecutionStarted", "ActivityTaskScheduled", "ActivityTaskStarted"],
        "an open attempt is seen"
    );
    assert_eq!(finish(store, "e-1", "CreateUserAccount", &first, unavailable()).await, Finish::Recorded);
    let second = begin(store, "e-1", "CreateUserAccount").await;
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(finish(store, "e-1", "CreateUserAccount", &second, Ok(json!({ "n": 1 }))).await, Finish::Recorded);
    let rows = history(store, "e-1").await;
    assert_eq!(
        types(&rows)[1..],
        [
            "ActivityTaskScheduled",
            "ActivityTaskStarted",
            "ActivityTaskFailed",
            "ActivityTaskScheduled",
            "ActivityTaskStarted",
            "ActivityTaskCompleted"
        ]
    );
    assert_eq!(details(&rows, "attempt")[1..], [1, 1, 1, 2, 2, 2]);
    assert_eq!(rows[3].event.details["error"], "ServiceUnavailable");
    assert_eq!(rows[3].event.details["cause"]["message"], "down");
    assert_eq!(rows[6].event.details["result"], json!({ "n": 1 }));
    assert_eq!(rows[6].event.details["activity_type"], "an_activity");
    let record = ok(store.get(TENANT, "e-1").await).expect("it is there");
    assert_eq!((record.progress.completed_steps, record.progress.total_steps), (1, 7));
}

async fn what_is_done_is_not_done_again<S: Executions + History + StepRecorder>(store: &S) {
    create(store, "e-1").await;
    let attempt = begin(store, "e-1", "CreateUserAccount").await;
    finish(store, "e-1", "CreateUserAccount", &attempt, Ok(json!({ "n": 1 }))).await;
    let before = history(store, "e-1").await;
    let Begin::AlreadyDone(result) = ok(store.begin_step(&step("e-1", "CreateUserAccount")).await) else {
        panic!("it was done");
    };
    assert_eq!((result, history(store, "e-1").await), (json!({ "n": 1 }), before));
    assert!(matches!(ok(store.begin_step(&step("nobody", "CreateUserAccount")).await), Begin::Closed));
}

async fn a_lost_attempt_is_closed_by_the_next<S: Executions + History + StepRecorder>(store: &S) {
    create(store, "e-1").await;
    let lost = begin(store, "e-1", "CreateUserAccount").await;
    let next = begin(store, "e-1", "CreateUserAccount").await;
    assert_eq!(next.number, 2);
    let late = finish(store, "e-1", "CreateUserAccount", &lost, Ok(json!({}))).await;
    assert_eq!(late, Finish::Superseded, "a newer attempt has begun");
    assert_eq!(finish(store, "e-1", "CreateUserAccount", &next, Ok(json!({}))).await, Finish::Recorded);
    let rows = history(store, "e-1").await;
    assert_eq!(types(&rows)[3..5], ["ActivityTaskTimedOut", "ActivityTaskScheduled"]);
    let ids: Vec<u64> = rows.iter().map(|row| row.event.event_id).collect();
    assert_eq!(ids, (1..=7).collect::<Vec<u64>>());
}

async fn an_undoing_closes_its_step<S: Executions + History + StepRecorder>(store: &S) {
    create(store, "e-1").await;
    let under_way = begin(store, "e-1", "CreateUserAccount").await;
    let undo = begin(store, "e-1", "UndoCreateUserAccount").await;
    let late = finish(store, "e-1", "CreateUserAccount", &under_way, Ok(json!({}))).await;
    assert_eq!(late, Finish::Closed, "it is being undone");
    assert!(matches!(ok(store.begin_step(&step("e-1", "CreateUserAccount")).await), Begin::Closed));
    finish(store, "e-1", "UndoCreateUserAccount", &undo, Ok(json!({ "undone": true }))).await;
    let again = begin(store, "e-1", "UndoCreateUserAccount").await;
    assert_eq!(again.number, 2, "undoing may be asked for again");
    assert_eq!(
        types(&history(store, "e-1").await)[1..],
        [
            "ActivityTaskScheduled",
            "ActivityTaskStarted",
            "ActivityTaskTimedOut",
            "CompensationScheduled",
            "CompensationCompleted",
            "CompensationScheduled"
        ]
    );
}

async fn refusals_are_in_the_history_but_for_pauses<S: Executions + History + StepRecorder>(store: &S) {
    create(store, "e-1").await;
    assert!(holds(store, "e-1", Control::Pause, 1).await);
    assert!(matches!(ok(store.begin_step(&step("e-1", "CreateUserAccount")).await), Begin::Refused(Refusal::Paused)));
    assert_eq!(types(&history(store, "e-1").await)[1..], ["WorkflowExecutionPaused"]);
    assert!(holds(store, "e-1", Control::Cancel, 2).await);
    assert!(matches!(
        ok(store.begin_step(&step("e-1", "CreateUserAccount")).await),
        Begin::Refused(Refusal::Cancelled)
    ));
    let rows = history(store, "e-1").await;
    assert_eq!(types(&rows)[2..], ["WorkflowExecutionResumed", "ActivityTaskScheduled", "ActivityTaskFailed"]);
    assert_eq!(
        (&rows[4].event.details["error"], &rows[4].event.details["attempt"]),
        (&json!("WorkflowCancelled"), &json!(1))
    );
}

async fn an_end_says_what_was_undone_and_closes_what_is_open<S>(store: &S)
where
    S: Audit + Executions + History + StepRecorder + EndRecorder,
{
    create(store, "e-1").await;
    let account = begin(store, "e-1", "CreateUserAccount").await;
    finish(store, "e-1", "CreateUserAccount", &account, Ok(json!({}))).await;
    for _ in 0..2 {
        let profile = begin(store, "e-1", "CreateUserProfile").await;
        finish(store, "e-1", "CreateUserProfile", &profile, unavailable()).await;
    }
    for (undo, undone) in [("UndoCreateUserProfile", false), ("UndoCreateUserAccount", true)] {
        let attempt = begin(store, "e-1", undo).await;
        finish(store, "e-1", undo, &attempt, Ok(json!({ "undone": undone }))).await;
    }
    let cause = json!({ "step": "CreateUserProfile", "error": "ServiceUnavailable", "cause": "", "residue": [] });
    let end = EngineEnd::Failed { error: Some("ServiceUnavailable".to_owned()), cause: Some(cause.to_string()) };
    assert!(ok(store.record_end(TENANT, "e-1", &end, at(50), None).await));
    let record = ok(store.get(TENANT, "e-1").await).expect("it is there");
    let failure = record.failure.expect("it failed");
    assert_eq!((record.status, failure.attempts), (Status::Failed, 2));
    assert_eq!(failure.undone, ["CreateUserAccount"]);
    assert_eq!(types(&history(store, "e-1").await).last(), Some(&"WorkflowExecutionFailed"));

    create(store, "e-2").await;
    let open = begin(store, "e-2", "CreateUserAccount").await;
    for (second, is_recorded) in [(60, true), (61, false)] {
        let audit = Some(row("e-2", AuditAction::TerminateWorkflow, second));
        let recorded = ok(store.record_end(TENANT, "e-2", &EngineEnd::Terminated, at(second), audit).await);
        assert_eq!(recorded, is_recorded);
    }
    assert_eq!(log(store).await, told(&[(60, AuditAction::TerminateWorkflow)]), "of the end that was recorded");
    assert_eq!(
        types(&history(store, "e-2").await)[1..],
        ["ActivityTaskScheduled", "ActivityTaskStarted", "ActivityTaskTimedOut", "WorkflowExecutionTerminated"]
    );
    let record = ok(store.get(TENANT, "e-2").await).expect("it is there");
    assert_eq!((record.status, record.result), (Status::Terminated, None::<Value>));
    assert_eq!(finish(store, "e-2", "CreateUserAccount", &open, Ok(json!({}))).await, Finish::Closed);
    assert!(matches!(ok(store.begin_step(&step("e-2", "CreateUserAccount")).await), Begin::Closed));
    assert!(!ok(store.record_end(TENANT, "nobody", &EngineEnd::Terminated, at(70), None).await));
}
