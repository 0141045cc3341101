//! Remembers a backup that was completed, and lets go of those that are too many.

use std::time::Duration;

use contracts::ActivityError;
use contracts::backup::{BackedUpService, BackedUpType, BackupSummary};
use store::Backup;
use vault::Manifest;

use super::Plan;
use crate::Context;
use crate::harness::store_failed;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What there is to know of a backup.
pub(super) fn summary(
    context: &Context<'_>,
    plan: &Plan,
    manifest: &Manifest,
    (manifest_bytes, files): (u64, u64),
) -> BackupSummary {
    // A file's bytes are several lines.
    let items = |of: &vault::TypeSummary| if of.entity_type == super::FILE_CONTENT { files } else { of.items };
    let things = |of: &&vault::TypeSummary| of.entity_type != super::FILE_CONTENT;
    let types = manifest.services.iter().flat_map(|service| &service.types);
    let stored: u64 = manifest.parts.iter().map(|part| part.stored_bytes).sum();
    let services = manifest.services.iter().map(|service| BackedUpService {
        service: service.service.clone(),
        types: service
            .types
            .iter()
            .map(|of| BackedUpType { entity_type: of.entity_type.clone(), items: items(of) })
            .collect(),
    });
    BackupSummary {
        backup_id: manifest.backup_id.clone(),
        workflow_id: context.execution_id().to_owned(),
        backup_location: format!("{}/{}/{}", manifest.tenant_id, store::BACKUPS, manifest.backup_id),
        backup_size_bytes: stored + manifest_bytes,
        records_backed_up: types.filter(things).map(|of| of.items).sum(),
        services: services.collect(),
        changed_during: manifest.changed_during,
        dangling_references: manifest.dangling_count,
        began_at: manifest.began_at,
        created_at: manifest.created_at,
        keep_count: plan.keep_count,
    }
}

/// Remembers a backup for as long as it is to be kept. Of the tenant's backups that have such a number, each stays as long as it
/// is among so many newest ones as its own number says.
pub(super) async fn keep(context: &Context<'_>, plan: &Plan, summary: BackupSummary) -> Result<(), ActivityError> {
    let tenant_id = context.tenant_id();
    let keep_until = plan.keep_days.map(|days| summary.created_at + DAY * days);
    let backup =
        Backup { tenant_id: tenant_id.to_owned(), summary, keep_until, removing_since: None, last_drill: None };
    context.backups.keep_backup(&backup).await.map_err(store_failed)?;
    if plan.keep_count.is_none() {
        return Ok(());
    }
    // This one counts, whether or not it is listed already.
    let (mut newer, mut before) = (1, None);
    loop {
        let page = context.backups.backups(tenant_id, before.as_deref(), PAGE).await.map_err(store_failed)?;
        let is_other = |backup: &&Backup| backup.summary.backup_id != plan.backup_id;
        for backup in page.backups.iter().filter(is_other) {
            let Some(keep_count) = backup.summary.keep_count else { continue };
            newer += 1;
            if newer > keep_count {
                let (id, now) = (&backup.summary.backup_id, context.clock.now());
                context.backups.keep_until(tenant_id, id, now).await.map_err(store_failed)?;
            }
        }
        before = page.next;
        if before.is_none() {
            return Ok(());
        }
    }
}

/// Backups that are looked at at once.
const PAGE: u32 = 200;
