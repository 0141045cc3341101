//! What every store promises of legal holds.

use contracts::audit::AuditAction;
use contracts::dataset::Category;
use contracts::holds::{HeldRecord, Hold, HoldScope, HoldState, Release};
use futures::future::join_all;

use super::audit::{log, row};
use super::{TENANT, at, ok};
use crate::{Audit, AuditFilter, HoldFilter, Holds, NewAuditRow, Placed, Released};

/// The suite of a store of holds; `open` gives an empty store each time.
pub async fn legal_holds<S: Holds + Audit>(open: impl AsyncFn() -> S) {
    a_hold_is_read_as_it_was_placed(&open().await).await;
    a_name_is_used_once(&open().await).await;
    of_many_at_once_one_is_new(&open().await).await;
    a_hold_is_released_once(&open().await).await;
    those_that_hold_are_read_together(&open().await).await;
    lists_begin_with_the_newest(&open().await).await;
}

fn of(scope: HoldScope, id: &str, placed: i64, until: Option<i64>) -> Hold {
    Hold {
        hold_id: id.to_owned(),
        tenant_id: TENANT.to_owned(),
        scope,
        reason: "a lawsuit".to_owned(),
        until: until.map(at),
        placed_at: at(placed),
        placed_by: Some("user-1".to_owned()),
        released: None,
    }
}

fn subject(id: &str) -> HoldScope {
    HoldScope::Subject { subject_user_id: id.to_owned(), data_categories: Vec::new() }
}

fn hold(id: &str, placed: i64, until: Option<i64>) -> Hold {
    of(subject("user-9"), id, placed, until)
}

fn told(action: AuditAction, second: i64) -> NewAuditRow {
    NewAuditRow { workflow_id: None, workflow_kind: None, ..row("", action, second) }
}

async fn place<S: Holds>(store: &S, hold: &Hold) -> Placed {
    let second = hold.placed_at.as_second() - super::epoch().as_second();
    let audit = NewAuditRow { tenant_id: hold.tenant_id.clone(), ..told(AuditAction::PlaceHold, second) };
    ok(store.place(hold, audit).await)
}

fn release_at(second: i64) -> Release {
    Release { at: at(second), by: None, reason: "it is over".to_owned() }
}

async fn release<S: Holds>(store: &S, id: &str, second: i64) -> Released {
    ok(store.release(id, &release_at(second), told(AuditAction::ReleaseHold, second)).await)
}

async fn a_hold_is_read_as_it_was_placed<S: Holds + Audit>(store: &S) {
    assert_eq!(ok(store.hold(TENANT, "h-1").await), None);
    let categories = vec![Category::Contact, Category::Usage];
    let record = HeldRecord {
        service: "auth".to_owned(),
        entity_type: "account".to_owned(),
        entity_id: "an id: with #, \"quotes\" and ü".to_owned(),
    };
    for (number, scope) in (1..).zip([
        subject("user-9"),
        HoldScope::Subject { subject_user_id: "auth0|9".to_owned(), data_categories: categories.clone() },
        HoldScope::Categories { data_categories: categories },
        HoldScope::Record { record },
    ]) {
        let hold = of(scope, &format!("h-{number}"), number, (number % 2 == 0).then_some(100));
        assert_eq!(place(store, &hold).await, Placed::New);
        assert_eq!(ok(store.hold(TENANT, &hold.hold_id).await), Some(hold));
    }
    assert_eq!(ok(store.hold("tenant-b", "h-1").await), None, "another tenant's is another one");
    assert_eq!(ok(store.active("tenant-b", at(5)).await), []);
    let rows = ok(store.rows(TENANT, &AuditFilter::default(), None, 9).await).rows;
    assert_eq!(rows.len(), 4, "each has its row");
}

async fn a_name_is_used_once<S: Holds + Audit>(store: &S) {
    let first = hold("h-1", 1, Some(100));
    assert_eq!(place(store, &first).await, Placed::New);
    let again = Hold { placed_at: at(2), placed_by: None, ..first.clone() };
    assert_eq!(
        place(store, &again).await,
        Placed::Before(Box::new(first.clone())),
        "who places it again gets the first one"
    );
    for other in [
        Hold { scope: subject("user-8"), ..again.clone() },
        Hold { reason: "another".to_owned(), ..again.clone() },
        Hold { until: None, ..again.clone() },
    ] {
        assert_eq!(place(store, &other).await, Placed::Taken);
    }
    assert_eq!(place(store, &Hold { tenant_id: "tenant-b".to_owned(), ..again.clone() }).await, Placed::New);
    assert_eq!(ok(store.hold(TENANT, "h-1").await), Some(first.clone()));
    let Released::Now(released) = release(store, "h-1", 3).await else { panic!("it is released") };
    assert_eq!(place(store, &again).await, Placed::Before(Box::new(released)), "what was released stays so");
    assert_eq!(ok(store.active(TENANT, at(4)).await), []);
    let expected = [(3, AuditAction::ReleaseHold), (1, AuditAction::PlaceHold)];
    assert_eq!(log(store).await, super::audit::told(&expected), "what changes nothing has no row");
}

async fn of_many_at_once_one_is_new<S: Holds + Audit>(store: &S) {
    let first = hold("h-1", 1, None);
    let placed = join_all((0..20).map(|_| place(store, &first))).await;
    assert_eq!(placed.iter().filter(|placed| **placed == Placed::New).count(), 1);
    assert_eq!(placed.iter().filter(|placed| **placed == Placed::Before(Box::new(first.clone()))).count(), 19);
    let released = join_all((0..20).map(|number| release(store, "h-1", 10 + number))).await;
    let of_now = released.iter().filter_map(|released| match released {
        Released::Now(hold) => Some(hold.clone()),
        _ => None,
    });
    let of_now: Vec<Hold> = of_now.collect();
    assert_eq!(of_now.len(), 1);
    for released in released {
        assert!(
            matches!(&released, Released::Now(hold) | Released::Before(hold) if *hold == of_now[0]),
            "{released:?}"
        );
    }
    assert_eq!(log(store).await.len(), 2);
}

async fn a_hold_is_released_once<S: Holds + Audit>(store: &S) {
    assert_eq!(release(store, "h-1", 1).await, Released::Missing);
    let (first, short) = (hold("h-1", 1, Some(100)), hold("h-2", 1, Some(50)));
    for hold in [&first, &short] {
        assert_eq!(place(store, hold).await, Placed::New);
    }
    let released = Hold { released: Some(release_at(10)), ..first };
    assert_eq!(release(store, "h-1", 10).await, Released::Now(released.clone()));
    assert_eq!(ok(store.hold(TENANT, "h-1").await), Some(released.clone()));
    for second in [11, 200] {
        assert_eq!(release(store, "h-1", second).await, Released::Before(released.clone()), "at {second}");
    }
    assert_eq!(release(store, "h-2", 50).await, Released::Expired(short.clone()));
    assert_eq!(ok(store.hold(TENANT, "h-2").await), Some(short));
    let elsewhere = NewAuditRow { tenant_id: "tenant-b".to_owned(), ..told(AuditAction::ReleaseHold, 12) };
    assert_eq!(ok(store.release("h-2", &release_at(12), elsewhere).await), Released::Missing);
    let rows = log(store).await;
    assert_eq!(rows.iter().filter(|(_, action)| *action == AuditAction::ReleaseHold).count(), 1, "{rows:?}");
}

async fn those_that_hold_are_read_together<S: Holds>(store: &S) {
    for (id, until) in [("c", None), ("a", Some(50)), ("b", Some(51)), ("d", Some(49)), ("e", None)] {
        assert_eq!(place(store, &hold(id, 10, until)).await, Placed::New);
    }
    assert_eq!(place(store, &Hold { tenant_id: "tenant-b".to_owned(), ..hold("x", 10, None) }).await, Placed::New);
    assert!(matches!(release(store, "e", 20).await, Released::Now(_)));
    let names = async |second| -> Vec<String> {
        ok(store.active(TENANT, at(second)).await).into_iter().map(|hold| hold.hold_id).collect()
    };
    assert_eq!(names(11).await, ["a", "b", "c", "d"], "by name; what is released holds nothing");
    assert_eq!(names(49).await, ["a", "b", "c"]);
    assert_eq!(names(50).await, ["b", "c"]);
    assert_eq!(names(51).await, ["c"]);
}

async fn lists_begin_with_the_newest<S: Holds>(store: &S) {
    for (id, placed, until) in
        [("b", 10, None), ("a", 30, Some(100)), ("c", 20, None), ("d", 20, Some(60)), ("e", 5, None)]
    {
        assert_eq!(place(store, &hold(id, placed, until)).await, Placed::New);
    }
    let of_all = HoldScope::Categories { data_categories: vec![Category::Usage] };
    assert_eq!(place(store, &of(of_all, "f", 25, None)).await, Placed::New);
    assert_eq!(place(store, &of(subject("user-8"), "g", 26, None)).await, Placed::New);
    assert_eq!(place(store, &Hold { tenant_id: "tenant-b".to_owned(), ..hold("x", 40, None) }).await, Placed::New);
    assert!(matches!(release(store, "c", 50).await, Released::Now(_)));
    let filter = |state, subject: Option<&str>| HoldFilter { state, subject_user_id: subject.map(str::to_owned) };
    for (filter, expected) in [
        (filter(None, None), "a g f d c b e"),
        (filter(Some(HoldState::Active), None), "a g f b e"),
        (filter(Some(HoldState::Released), None), "c"),
        (filter(Some(HoldState::Expired), None), "d"),
        (filter(None, Some("user-9")), "a d c b e"),
        (filter(Some(HoldState::Active), Some("user-9")), "a b e"),
        (filter(None, Some("nobody")), ""),
    ] {
        for size in [1, 2, 3, 6, 9] {
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let page = ok(store.holds(TENANT, &filter, at(60), before.as_deref(), size).await);
                assert!(page.holds.len() <= size as usize);
                found.extend(page.holds.into_iter().map(|hold| hold.hold_id));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(found.join(" "), expected, "pages of {size}, {filter:?}");
        }
    }
}

/// How many holds a tenant has; `open` gives an empty store where that is so many at most. Those whose time is up and those
/// that were released make room again.
pub async fn limit_of_holds<S: Holds + Audit>(open: impl AsyncFn(usize) -> S) {
    let store = &open(30).await;
    for number in 0..30 {
        let until = (number < 10).then_some(50);
        assert_eq!(place(store, &hold(&format!("h-{number:02}"), 1, until)).await, Placed::New);
    }
    assert_eq!(ok(store.active(TENANT, at(2)).await).len(), 30);
    let more = hold("more", 2, None);
    assert_eq!(place(store, &more).await, Placed::Full);
    assert_eq!(ok(store.hold(TENANT, "more").await), None);
    let again = hold("h-20", 2, None);
    assert!(matches!(place(store, &again).await, Placed::Before(_)), "a repetition is told what there is");
    assert_eq!(place(store, &Hold { tenant_id: "tenant-b".to_owned(), ..more.clone() }).await, Placed::New);
    assert!(matches!(release(store, "h-29", 3).await, Released::Now(_)));
    assert_eq!(place(store, &Hold { placed_at: at(4), ..more }).await, Placed::New);
    let late = |number: usize| hold(&format!("late-{number}"), 60, None);
    assert_eq!(place(store, &Hold { placed_at: at(5), ..late(0) }).await, Placed::Full);
    for number in 0..10 {
        assert_eq!(place(store, &late(number)).await, Placed::New, "{number}");
    }
    assert_eq!(place(store, &late(10)).await, Placed::Full);
    assert_eq!(ok(store.active(TENANT, at(61)).await).len(), 30);
    assert!(matches!(release(store, "h-01", 61).await, Released::Expired(_)));
    let rows = log(store).await;
    assert_eq!(rows.len(), 30 + 1 + 1 + 10, "what is refused is not told");
}
