//! What every store promises of tenants: nothing that one of them reads depends on what others do.

use contracts::audit::AuditOutcome;
use contracts::{EventType, Status};

use super::audit::row;
use super::driver::{Begins, Driver, Ends};
use super::{TENANT, at, new, ok};
use crate::{Audit, AuditFilter, Executions, History, ListFilter, NewAuditRow, NewExecution};

const OTHER: &str = "tenant-b";

pub(super) async fn run<S: Audit + Executions + History>(open: &impl AsyncFn() -> S, driver: &impl Driver<S>) {
    let alone = all_that_is_read(&open().await, driver, 0).await;
    let beside_another = all_that_is_read(&open().await, driver, 7).await;
    assert_eq!(alone, beside_another, "pages, counts and where the next page begins");
}

/// All that the tenant reads once it has done this and that, with so many executions of another tenant before each of its
/// own.
async fn all_that_is_read<S>(store: &S, driver: &impl Driver<S>, others: usize) -> Vec<String>
where
    S: Audit + Executions + History,
{
    for number in 0..6 {
        for other in 0..others {
            let id = format!("other-{number}-{other}");
            let audit = Some(NewAuditRow { tenant_id: OTHER.to_owned(), ..started(&id, number) });
            let user_id = Some("ann".to_owned());
            ok(store.create(NewExecution { tenant_id: OTHER.to_owned(), user_id, audit, ..new(&id) }).await);
        }
        let id = format!("e-{number}");
        let (user_id, started_at) = (Some("ann".to_owned()), at(number));
        let audit = Some(started(&id, number));
        ok(store.create(NewExecution { user_id, started_at, audit, ..new(&id) }).await);
        assert_eq!(driver.step(store, &id, Begins::Forward, at(20 + number)).await, None);
    }
    assert!(driver.end(store, "e-2", Ends::Well, at(40)).await);
    let mut read = Vec::new();
    let all = ListFilter::default();
    for filter in [
        all.clone(),
        ListFilter { statuses: vec![Status::Running], ..all.clone() },
        ListFilter { user_id: Some("ann".to_owned()), ..all.clone() },
        ListFilter { started_after: Some(at(1)), started_before: Some(at(5)), ..all },
    ] {
        pages(&mut read, async |before| {
            let page = ok(store.list(TENANT, &filter, before.as_deref(), 0, 2).await);
            (format!("{page:?}"), page.next)
        })
        .await;
    }
    for types in [&[][..], &[EventType::ActivityTaskScheduled]] {
        pages(&mut read, async |before| {
            let page = ok(store.tenant_events(TENANT, types, before.as_deref(), 2).await);
            (format!("{page:?}"), page.next)
        })
        .await;
    }
    pages(&mut read, async |after| {
        let page = ok(store.events(TENANT, "e-2", &[], after.as_deref(), 1).await).expect("it is there");
        (format!("{page:?}"), page.next)
    })
    .await;
    let accepted = AuditFilter { outcome: Some(AuditOutcome::Accepted), ..AuditFilter::default() };
    for filter in [AuditFilter::default(), accepted] {
        pages(&mut read, async |before| {
            let page = ok(store.rows(TENANT, &filter, before.as_deref(), 2).await);
            // The ids of the rows are all that is random.
            let mut told = format!("{page:?}");
            for row in &page.rows {
                told = told.replace(&row.id, "ID");
            }
            (told, page.next)
        })
        .await;
    }
    let estimated = ok(store.get_estimated(TENANT, "e-1").await);
    read.extend([format!("{estimated:?}"), format!("{:?}", ok(store.mean_duration_ms(TENANT, super::KIND).await))]);
    read
}

/// Reads page after page to the end.
async fn pages(read: &mut Vec<String>, page: impl AsyncFn(Option<String>) -> (String, Option<String>)) {
    let mut before = None;
    loop {
        let (told, next) = page(before).await;
        read.push(told);
        before = next;
        if before.is_none() {
            return;
        }
        assert!(read.len() < 100, "it has an end");
    }
}

fn started(id: &str, second: i64) -> NewAuditRow {
    row(id, contracts::audit::AuditAction::StartWorkflow, second)
}
