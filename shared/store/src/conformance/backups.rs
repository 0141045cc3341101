//! What every store promises of backups.

use contracts::Timestamp;
use contracts::audit::AuditAction;
use contracts::backup::{BackedUpService, BackedUpType, BackupSummary, Drill};

use super::audit::{log, row};
use super::leases::{holder, is_granted};
use super::{MemoryBlobs, TENANT, at, create, ok};
use crate::{
    Audit, Backup, Backups, BlobKey, BlobReader as _, Blobs as _, DueBackup, EndRecorder, EngineEnd, Executions,
    Leases, NewAuditRow, Removal, lease_of_backup, remove_due_backups,
};

/// The suite of a store of backups; `open` gives an empty store each time.
pub async fn backups<S: Backups + Leases + Executions + EndRecorder + Audit>(open: impl AsyncFn() -> S) {
    a_backup_is_read_as_it_was_kept(&open().await).await;
    lists_begin_with_the_newest(&open().await).await;
    one_in_use_is_not_removed(&open().await).await;
    what_is_due_is_removed(&open().await).await;
}

fn backup(id: &str, created: i64, keep_until: Option<i64>) -> Backup {
    let types = vec![BackedUpType { entity_type: "account".to_owned(), items: 3 }];
    let summary = BackupSummary {
        backup_id: id.to_owned(),
        workflow_id: format!("backup-of-{id}"),
        backup_location: format!("{TENANT}/backups/{id}"),
        backup_size_bytes: 5_000_000_000,
        records_backed_up: 3,
        services: vec![BackedUpService { service: "auth".to_owned(), types }],
        changed_during: true,
        dangling_references: 1,
        began_at: at(created - 1),
        created_at: at(created),
        keep_count: Some(7),
    };
    let keep_until = keep_until.map(at);
    Backup { tenant_id: TENANT.to_owned(), summary, keep_until, removing_since: None, last_drill: None }
}

fn removal(second: i64) -> NewAuditRow {
    NewAuditRow { workflow_id: None, workflow_kind: None, ..row("", AuditAction::DeleteBackup, second) }
}

async fn a_backup_is_read_as_it_was_kept<S: Backups>(store: &S) {
    assert_eq!(ok(store.backup(TENANT, "b-1").await), None);
    let mut expected = backup("b-1", 10, Some(100));
    ok(store.keep_backup(&expected).await);
    assert_eq!(ok(store.backup(TENANT, "b-1").await), Some(expected.clone()));
    assert_eq!(ok(store.backup("tenant-b", "b-1").await), None, "another tenant's is another one");
    let drill = Drill {
        workflow_id: "r-1".to_owned(),
        at: at(20),
        passed: false,
        error: Some("IntegrityViolation".to_owned()),
        recovery_seconds: None,
    };
    ok(store.note_drill(TENANT, "b-1", &drill).await);
    expected.last_drill = Some(drill.clone());
    for (until, kept) in [(200, 100), (50, 50), (60, 50)] {
        ok(store.keep_until(TENANT, "b-1", at(until)).await);
        expected.keep_until = Some(at(kept));
        assert_eq!(ok(store.backup(TENANT, "b-1").await), Some(expected.clone()), "until {until}");
    }
    // An attempt that is repeated: nothing that came after it is lost.
    expected.summary.records_backed_up = 4;
    ok(store.keep_backup(&Backup { keep_until: Some(at(300)), last_drill: None, ..expected.clone() }).await);
    assert_eq!(ok(store.backup(TENANT, "b-1").await), Some(expected));
    ok(store.keep_until(TENANT, "b-2", at(1)).await);
    ok(store.note_drill(TENANT, "b-2", &drill).await);
    assert_eq!(ok(store.backup(TENANT, "b-2").await), None, "what is not there is not made");
}

async fn lists_begin_with_the_newest<S: Backups>(store: &S) {
    for (id, created) in [("b", 10), ("a", 30), ("c", 20), ("d", 20), ("e", 5)] {
        ok(store.keep_backup(&backup(id, created, None)).await);
    }
    ok(store.keep_backup(&Backup { tenant_id: "tenant-b".to_owned(), ..backup("x", 40, None) }).await);
    for size in [1, 2, 3, 5, 9] {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = ok(store.backups(TENANT, before.as_deref(), size).await);
            assert!(page.backups.len() <= size as usize);
            found.extend(page.backups.into_iter().map(|backup| backup.summary.backup_id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, ["a", "d", "c", "b", "e"], "pages of {size}");
    }
}

async fn one_in_use_is_not_removed<S: Backups + Leases + Executions + EndRecorder + Audit>(store: &S) {
    assert_eq!(ok(store.begin_removal("b-1", removal(1)).await), Removal::Missing);
    ok(store.keep_backup(&backup("b-1", 10, None)).await);
    create(store, "e-1").await;
    create(store, "e-2").await;
    let lease = [lease_of_backup("b-1")];
    assert!(is_granted(&ok(store.lease(TENANT, &lease, holder("e-1")).await)));
    assert_eq!(ok(store.begin_removal("b-1", removal(2)).await), Removal::InUse { by: "e-1".to_owned() });
    assert_eq!(log(store).await, [], "what is refused is not told");
    assert_eq!(ok(store.backup(TENANT, "b-1").await), Some(backup("b-1", 10, None)));
    assert!(ok(store.record_end(TENANT, "e-1", &EngineEnd::Terminated, at(60), None).await));
    assert_eq!(ok(store.begin_removal("b-1", removal(3)).await), Removal::Begun);
    assert_eq!(ok(store.begin_removal("b-1", removal(4)).await), Removal::Begun);
    assert_eq!(log(store).await, [("request-3".to_owned(), AuditAction::DeleteBackup)]);
    let removing = ok(store.backup(TENANT, "b-1").await).expect("its files are still there");
    assert_eq!((removing.removing_since, removing.keep_until), (Some(at(3)), Some(at(3))));
    assert!(is_granted(&ok(store.lease(TENANT, &lease, holder("e-2")).await)), "whoever holds it looks first");
    for _ in 0..2 {
        ok(store.end_removal(TENANT, "b-1").await);
    }
    assert_eq!(ok(store.backup(TENANT, "b-1").await), None);
    assert_eq!(ok(store.begin_removal("b-1", removal(5)).await), Removal::Missing);
}

async fn what_is_due_is_removed<S: Backups + Leases + Executions + EndRecorder + Audit>(store: &S) {
    let blobs = MemoryBlobs::default();
    let part = |id: &str| BlobKey::new(TENANT, &["backups", id, "part"]).expect("it is a key");
    for (id, keep_until) in
        [("kept", None), ("later", Some(101)), ("now", Some(100)), ("past", Some(50)), ("used", Some(50))]
    {
        ok(store.keep_backup(&backup(id, 10, keep_until)).await);
        let body = futures::stream::iter([Ok(bytes::Bytes::from_static(b"x"))]);
        ok(blobs.put(&part(id), Box::pin(body)).await);
    }
    create(store, "e-1").await;
    assert!(is_granted(&ok(store.lease(TENANT, &[lease_of_backup("used")], holder("e-1")).await)));
    let due = ok(store.due_backups(at(100), 9).await);
    let mut due: Vec<String> = due.into_iter().map(|DueBackup { backup_id, .. }| backup_id).collect();
    due.sort();
    assert_eq!(due, ["now", "past", "used"]);
    let remove = async |now: Timestamp| {
        let removed = ok(remove_due_backups(store, &blobs, now).await);
        (removed.backups, removed.left)
    };
    assert_eq!(remove(at(100)).await, (2, 1));
    for (id, is_there) in [("kept", true), ("later", true), ("now", false), ("past", false), ("used", true)] {
        assert_eq!(ok(store.backup(TENANT, id).await).is_some(), is_there, "{id}");
        assert_eq!(ok(blobs.size(&part(id)).await).is_some(), is_there, "{id}");
    }
    assert!(ok(store.record_end(TENANT, "e-1", &EngineEnd::Terminated, at(60), None).await));
    assert_eq!(remove(at(100)).await, (1, 0));
    assert_eq!(remove(at(100)).await, (0, 0));
    let told = log(store).await;
    assert_eq!(told.len(), 3, "each removal has its row: {told:?}");
}
