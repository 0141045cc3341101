//! What every store promises of the audit log.

use contracts::WorkflowKind;
use contracts::audit::{AuditAction, AuditOutcome};
use serde_json::json;

use super::driver::{Driver, Ends};
use super::{KIND, TENANT, at, create, ok, with_key};
use crate::{
    Audit, AuditFilter, AuditPage, AuditRow, Control, Controlled, Created, Executions, NewAuditRow, NewExecution,
};

pub(super) async fn run<S: Executions + Audit>(open: &impl AsyncFn() -> S, driver: &impl Driver<S>) {
    a_row_is_read_as_it_was_written(&open().await).await;
    a_start_has_one_row_and_a_repetition_none(&open().await).await;
    a_control_has_a_row_if_it_changes_something(&open().await, driver).await;
    rows_are_filtered_and_paged(&open().await).await;
}

/// A row of what happened to this execution at a moment.
pub(super) fn row(id: &str, action: AuditAction, second: i64) -> NewAuditRow {
    NewAuditRow {
        tenant_id: TENANT.to_owned(),
        at: at(second),
        actor: Some("user-1".to_owned()),
        is_admin: false,
        action,
        outcome: AuditOutcome::Accepted,
        workflow_id: Some(id.to_owned()),
        workflow_kind: Some(KIND),
        request_id: format!("request-{second}"),
        reason: None,
        details: json!({ "method": "POST" }),
    }
}

/// All rows of the tenant, newest first: what they tell of and when.
pub(super) async fn log<S: Audit>(store: &S) -> Vec<(String, AuditAction)> {
    let AuditPage { rows, next } = ok(store.rows(TENANT, &AuditFilter::default(), None, 100).await);
    assert_eq!(next, None);
    rows.into_iter().map(|AuditRow { row, .. }| (row.request_id, row.action)).collect()
}

/// Of rows that tell of these actions at these moments, newest first.
pub(super) fn told(rows: &[(i64, AuditAction)]) -> Vec<(String, AuditAction)> {
    rows.iter().map(|(second, action)| (format!("request-{second}"), *action)).collect()
}

async fn a_row_is_read_as_it_was_written<S: Audit>(store: &S) {
    let full = NewAuditRow {
        is_admin: true,
        reason: Some("it hangs".to_owned()),
        details: json!({ "n": [1, { "b": null, "a": "ü" }] }),
        ..row("e-1", AuditAction::TerminateWorkflow, 1)
    };
    let empty = NewAuditRow {
        actor: None,
        outcome: AuditOutcome::Denied,
        workflow_id: None,
        workflow_kind: None,
        ..row("e-1", AuditAction::Read, 2)
    };
    ok(store.record(full.clone()).await);
    ok(store.record(empty.clone()).await);
    let found = ok(store.rows(TENANT, &AuditFilter::default(), None, 9).await).rows;
    assert_ne!(found[0].id, found[1].id, "each has an id of its own");
    assert_eq!(found.into_iter().map(|found| found.row).collect::<Vec<_>>(), [empty, full], "newest first");
    assert_eq!(ok(store.rows("tenant-b", &AuditFilter::default(), None, 9).await).rows, [], "each tenant has its own");
}

async fn a_start_has_one_row_and_a_repetition_none<S: Executions + Audit>(store: &S) {
    let start = |id: &str, body: &str, second| {
        let audit = Some(row(id, AuditAction::StartWorkflow, second));
        NewExecution { audit, ..with_key(id, body) }
    };
    assert!(matches!(ok(store.create(start("e-1", "same", 1)).await), Created::New(_)));
    assert!(matches!(ok(store.create(start("e-2", "same", 2)).await), Created::Existing(_)));
    assert_eq!(ok(store.create(start("e-3", "another", 3)).await), Created::KeyReused);
    assert_eq!(log(store).await, told(&[(1, AuditAction::StartWorkflow)]));
    create(store, "of-nobody").await;
    assert_eq!(log(store).await.len(), 1, "what nobody asked for is not told");
}

async fn a_control_has_a_row_if_it_changes_something<S: Executions + Audit>(store: &S, driver: &impl Driver<S>) {
    create(store, "e-1").await;
    let mut expected = Vec::new();
    for (second, control, action, changes) in [
        (1, Control::Resume, AuditAction::ResumeWorkflow, false),
        (2, Control::Pause, AuditAction::PauseWorkflow, true),
        (3, Control::Pause, AuditAction::PauseWorkflow, false),
        (4, Control::Resume, AuditAction::ResumeWorkflow, true),
        (5, Control::Cancel, AuditAction::CancelWorkflow, true),
        (6, Control::Cancel, AuditAction::CancelWorkflow, false),
    ] {
        ok(store.control(TENANT, "e-1", control, at(second), Some(row("e-1", action, second))).await);
        if changes {
            expected.insert(0, (second, action));
        }
        assert_eq!(log(store).await, told(&expected), "{control:?} at {second}");
    }
    assert!(driver.end(store, "e-1", Ends::Well, at(7)).await);
    for (id, is_known) in [("e-1", true), ("nobody", false)] {
        let cancel = Some(row(id, AuditAction::CancelWorkflow, 8));
        let cancelled = ok(store.control(TENANT, id, Control::Cancel, at(8), cancel).await);
        assert_eq!(matches!(cancelled, Controlled::Refused(_)), is_known, "{cancelled:?}");
    }
    assert_eq!(log(store).await, told(&expected), "what is refused is no change");
}

async fn rows_are_filtered_and_paged<S: Audit>(store: &S) {
    let rows: Vec<NewAuditRow> = (0..7)
        .map(|number| NewAuditRow {
            actor: Some(format!("user-{}", number % 2)),
            outcome: if number % 3 == 0 { AuditOutcome::Denied } else { AuditOutcome::Accepted },
            workflow_kind: Some(WorkflowKind::UserOnboarding),
            ..row(
                &format!("e-{number}"),
                if number < 4 { AuditAction::StartWorkflow } else { AuditAction::CancelWorkflow },
                // Two of each moment.
                i64::from(number / 2),
            )
        })
        .collect();
    for row in &rows {
        ok(store.record(row.clone()).await);
    }
    for (filter, expected) in [
        (AuditFilter::default(), vec![0, 1, 2, 3, 4, 5, 6]),
        (AuditFilter { action: Some(AuditAction::CancelWorkflow), ..AuditFilter::default() }, vec![4, 5, 6]),
        (AuditFilter { outcome: Some(AuditOutcome::Denied), ..AuditFilter::default() }, vec![0, 3, 6]),
        (AuditFilter { actor: Some("user-1".to_owned()), ..AuditFilter::default() }, vec![1, 3, 5]),
        (AuditFilter { workflow_id: Some("e-5".to_owned()), ..AuditFilter::default() }, vec![5]),
        (AuditFilter { from: Some(at(2)), ..AuditFilter::default() }, vec![4, 5, 6]),
        (AuditFilter { to: Some(at(2)), ..AuditFilter::default() }, vec![0, 1, 2, 3]),
        (AuditFilter { from: Some(at(1)), to: Some(at(2)), ..AuditFilter::default() }, vec![2, 3]),
        (AuditFilter { from: Some(at(2)), to: Some(at(2)), ..AuditFilter::default() }, vec![]),
        (AuditFilter { actor: Some("nobody".to_owned()), ..AuditFilter::default() }, vec![]),
        (
            AuditFilter {
                action: Some(AuditAction::StartWorkflow),
                outcome: Some(AuditOutcome::Denied),
                from: Some(at(1)),
                ..AuditFilter::default()
            },
            vec![3],
        ),
    ] {
        let whole = ok(store.rows(TENANT, &filter, None, 100).await);
        let mut found: Vec<&str> = whole.rows.iter().filter_map(|found| found.row.workflow_id.as_deref()).collect();
        found.sort_unstable();
        let expected: Vec<String> = expected.into_iter().map(|number| format!("e-{number}")).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert!(whole.rows.is_sorted_by(|newer, older| newer.row.at >= older.row.at), "newest first");
        let (mut parts, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let AuditPage { rows, next } = ok(store.rows(TENANT, &filter, before.as_deref(), 2).await);
            assert!(rows.len() <= 2 && pages < 9, "{filter:?}");
            parts.extend(rows);
            pages += 1;
            before = next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(parts, whole.rows, "in parts it is the same: {filter:?}");
    }
}
