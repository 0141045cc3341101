//! Backups that were completed: what is known of each, how long it is kept, and its removal.

use async_trait::async_trait;
use contracts::Timestamp;
use contracts::audit::{AuditAction, AuditOutcome};
use contracts::backup::{BackupSummary, Drill};
use serde_json::json;

use crate::{BACKUPS, Blobs, NewAuditRow, StoreError};

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Whose data it holds.
    pub tenant_id: String,
    /// What it holds.
    pub summary: BackupSummary,
    /// When it is removed; none: when somebody asks for it.
    pub keep_until: Option<Timestamp>,
    /// Since when it is being removed: it is no backup any more.
    pub removing_since: Option<Timestamp>,
    /// What its last drill came to.
    pub last_drill: Option<Drill>,
}

/// A part of a tenant's backups, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPage {
    /// The backups.
    pub backups: Vec<Backup>,
    /// Where the next part begins, as only the store understands it; none at the end.
    pub next: Option<String>,
}

/// What became of the wish to remove a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is no backup any more, and its files may be removed. So too if its removal had begun before.
    Begun,
    /// An execution that has not ended works with it.
    InUse {
        /// The execution.
        by: String,
    },
    /// There is no such backup.
    Missing,
}

/// A backup whose time is up, or whose removal has begun and is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueBackup {
    /// Whose.
    pub tenant_id: String,
    /// Which.
    pub backup_id: String,
}

/// Backups. Whoever works with one holds its lease ([`lease_of_backup`]) and then looks whether it is being removed; a removal
/// begins only while nobody holds that lease.
#[async_trait]
pub trait Backups: Send + Sync {
    /// Remembers a backup that was completed. Of one that is there already only the summary changes.
    async fn keep_backup(&self, backup: &Backup) -> Result<(), StoreError>;

    /// The backup, if there is one.
    async fn backup(&self, tenant_id: &str, backup_id: &str) -> Result<Option<Backup>, StoreError>;

    /// The tenant's backups, newest first: `limit` of them at most, those older than `before` (a [`BackupPage::next`]).
    async fn backups(&self, tenant_id: &str, before: Option<&str>, limit: u32) -> Result<BackupPage, StoreError>;

    /// Keeps a backup until this moment at the longest.
    async fn keep_until(&self, tenant_id: &str, backup_id: &str, until: Timestamp) -> Result<(), StoreError>;

    /// Notes what a drill came to; nothing if the backup is gone.
    async fn note_drill(&self, tenant_id: &str, backup_id: &str, drill: &Drill) -> Result<(), StoreError>;

    /// Begins the removal of a backup, together with its row of the audit log.
    async fn begin_removal(&self, backup_id: &str, audit: NewAuditRow) -> Result<Removal, StoreError>;

    /// Forgets a backup whose files are removed.
    async fn end_removal(&self, tenant_id: &str, backup_id: &str) -> Result<(), StoreError>;

    /// The backups whose time is up by now, `limit` of them at most.
    async fn due_backups(&self, now: Timestamp, limit: u32) -> Result<Vec<DueBackup>, StoreError>;
}

/// The lease that whoever works with a backup holds.
pub fn lease_of_backup(backup_id: &str) -> String {
    format!("backup/{backup_id}")
}

/// Removes the files of a backup whose removal has begun, and forgets it. May be repeated.
pub async fn remove_backup(
    backups: &(impl Backups + ?Sized),
    blobs: &(impl Blobs + ?Sized),
    tenant_id: &str,
    backup_id: &str,
) -> Result<(), StoreError> {
    blobs.remove_folder(tenant_id, &[BACKUPS, backup_id]).await?;
    backups.end_removal(tenant_id, backup_id).await
}

/// What became of the backups whose time was up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Removed.
    pub backups: usize,
    /// In use, or not removed for an error, which was logged; still due.
    pub left: usize,
}

/// Backups that are looked for at once.
const DUE_AT_ONCE: u32 = 100;

/// Removes the backups whose time is up, the oldest first.
pub async fn remove_due_backups(
    backups: &(impl Backups + ?Sized),
    blobs: &(impl Blobs + ?Sized),
    now: Timestamp,
) -> Result<Removed, StoreError> {
    let mut removed = Removed::default();
    for DueBackup { tenant_id, backup_id } in backups.due_backups(now, DUE_AT_ONCE).await? {
        match remove_due(backups, blobs, &tenant_id, &backup_id, now).await {
            Ok(true) => removed.backups += 1,
            Ok(false) => removed.left += 1,
            Err(error) => {
                removed.left += 1;
                tracing::error!(tenant_id, backup_id, %error, "a backup whose time is up is not removed");
            }
        }
    }
    Ok(removed)
}

async fn remove_due(
    backups: &(impl Backups + ?Sized),
    blobs: &(impl Blobs + ?Sized),
    tenant_id: &str,
    backup_id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let is_begun = backups.backup(tenant_id, backup_id).await?.is_some_and(|backup| backup.removing_since.is_some());
    // Who began it has its row already.
    if !is_begun
        && let Removal::InUse { .. } = backups.begin_removal(backup_id, expiry(tenant_id, backup_id, now)).await?
    {
        return Ok(false);
    }
    remove_backup(backups, blobs, tenant_id, backup_id).await?;
    Ok(true)
}

/// The row of the audit log about a backup whose time is up.
fn expiry(tenant_id: &str, backup_id: &str, at: Timestamp) -> NewAuditRow {
    NewAuditRow {
        tenant_id: tenant_id.to_owned(),
        at,
        actor: None,
        is_admin: false,
        action: AuditAction::DeleteBackup,
        outcome: AuditOutcome::Accepted,
        workflow_id: None,
        workflow_kind: None,
        request_id: "retention".to_owned(),
        reason: None,
        details: json!({ "backup_id": backup_id }),
    }
}
