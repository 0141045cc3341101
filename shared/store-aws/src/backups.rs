//! Backups: items of a partition of their own for each tenant, sorted by name.

use std::cmp::Reverse;
use std::time::Duration;

use async_trait::async_trait;
use contracts::Timestamp;
use contracts::backup::Drill;
use store::{Backup, BackupPage, Backups, DueBackup, NewAuditRow, Removal, StoreError, lease_of_backup};

use crate::DynamoStore;
use crate::audit::put_audit;
use crate::change::Change;
use crate::fault::Tries;
use crate::item::{Item, json, moment, text};
use crate::keys;
use crate::list::cut_page;
use crate::transaction::Transacted;

#[async_trait]
impl Backups for DynamoStore {
    async fn keep_backup(&self, backup: &Backup) -> Result<(), StoreError> {
        let Backup { tenant_id, summary, keep_until, .. } = backup;
        let mut change = Change::default();
        change.set("summary", json(summary));
        change.set("tenant_pk", text(keys::backups(tenant_id)));
        change.set("list_sk", text(place_of(backup)));
        if let Some(until) = keep_until {
            for (name, value) in until_attributes(&summary.backup_id, *until) {
                let (name, value) = (change.name(name), change.value(value));
                change.set_raw(format!("{name} = if_not_exists({name}, {value})"));
            }
        }
        self.update_item(&keys::backups(tenant_id), &summary.backup_id, change).await.map(drop)
    }

    async fn backup(&self, tenant_id: &str, backup_id: &str) -> Result<Option<Backup>, StoreError> {
        let item = self.read(&keys::backups(tenant_id), backup_id).await?;
        item.as_ref().map(backup).transpose()
    }

    async fn backups(&self, tenant_id: &str, before: Option<&str>, limit: u32) -> Result<BackupPage, StoreError> {
        let mut found = self.list_of(keys::backups(tenant_id), before, limit as usize + 1).await?;
        let next = cut_page(&mut found, limit)?;
        let mut backups = self.read_sound(tenant_id, "backup", &found, backup).await?;
        backups.sort_by_cached_key(|backup| Reverse(place_of(backup)));
        Ok(BackupPage { backups, next })
    }

    async fn keep_until(&self, tenant_id: &str, backup_id: &str, until: Timestamp) -> Result<(), StoreError> {
        let mut change = Change::default();
        for (name, value) in until_attributes(backup_id, until) {
            change.set(name, value);
        }
        let (name, value) = (change.name("keep_until"), change.value(moment(until)));
        change.only_if_present("summary");
        change.only_if(format!("(attribute_not_exists({name}) OR {name} > {value})"));
        // One that is not there, or goes earlier anyway.
        self.update_item(&keys::backups(tenant_id), backup_id, change).await.map(drop)
    }

    async fn note_drill(&self, tenant_id: &str, backup_id: &str, drill: &Drill) -> Result<(), StoreError> {
        let mut change = Change::default();
        change.set("last_drill", json(drill));
        change.only_if_present("summary");
        self.update_item(&keys::backups(tenant_id), backup_id, change).await.map(drop)
    }

    async fn begin_removal(&self, backup_id: &str, audit: NewAuditRow) -> Result<Removal, StoreError> {
        let (tenant_id, lease) = (&audit.tenant_id, lease_of_backup(backup_id));
        let Some(item) = self.read(&keys::backups(tenant_id), backup_id).await? else { return Ok(Removal::Missing) };
        if item.has("removing_since") {
            return Ok(Removal::Begun);
        }
        let had = self.had(tenant_id, &lease).await?;
        if let Some(had) = &had
            && self.is_open(had).await?
        {
            return Ok(Removal::InUse { by: had.execution_id.clone() });
        }
        let mut begin = Change::default();
        begin.set("removing_since", moment(audit.at));
        // From now on it is due, so that what is interrupted goes on.
        for (name, value) in until_attributes(backup_id, audit.at) {
            begin.set(name, value);
        }
        begin.only_if_present("summary");
        begin.only_if_absent("removing_since");
        let writes = vec![
            begin.into_write(&self.table, &keys::backups(tenant_id), backup_id),
            self.take_from(tenant_id, &lease, had.as_ref()),
            put_audit(&self.table, &audit),
        ];
        match self.transact(writes).await? {
            Transacted::Done => Ok(Removal::Begun),
            Transacted::Refused(_) => {
                Err(StoreError::Unavailable(format!("somebody else works with the backup {backup_id} just now")))
            }
        }
    }

    async fn end_removal(&self, tenant_id: &str, backup_id: &str) -> Result<(), StoreError> {
        let tries = Tries::default();
        let delete = self.client().delete_item().table_name(&self.table);
        let delete = delete.key("pk", text(keys::backups(tenant_id))).key("sk", text(backup_id));
        let sent = delete.customize().interceptor(tries.clone()).send().await;
        sent.map(drop).map_err(|error| tries.write(error))
    }

    async fn due_backups(&self, now: Timestamp, limit: u32) -> Result<Vec<DueBackup>, StoreError> {
        // What is due at this very moment has a longer key than the moment.
        let found = self.due_items(keys::kept, None, now + Duration::from_micros(1), limit).await?;
        let due = |item: &Item| {
            let tenant_id = keys::parse_backups(item.text("pk")?)
                .ok_or_else(|| StoreError::Inconsistent("what is due is no backup".to_owned()))?;
            Ok(DueBackup { tenant_id: tenant_id.to_owned(), backup_id: item.text("sk")?.to_owned() })
        };
        found.iter().map(due).collect()
    }
}

/// What says until when a backup is kept. Not `expires_at`, by which DynamoDB would remove the item before its files.
fn until_attributes(backup_id: &str, until: Timestamp) -> [(&'static str, aws_sdk_dynamodb::types::AttributeValue); 3] {
    [
        ("keep_until", moment(until)),
        ("due_pk", text(keys::kept_shard(backup_id))),
        ("due_sk", text(keys::list(until, backup_id))),
    ]
}

/// Where a backup stands among its tenant's: a text that sorts by time.
fn place_of(backup: &Backup) -> String {
    keys::list(backup.summary.created_at, &backup.summary.backup_id)
}

fn backup(item: &Item) -> Result<Backup, StoreError> {
    let tenant_id = keys::parse_backups(item.text("pk")?);
    let tenant_id = tenant_id.ok_or_else(|| StoreError::Inconsistent("an item is no backup".to_owned()))?;
    Ok(Backup {
        tenant_id: tenant_id.to_owned(),
        summary: item.json("summary")?,
        keep_until: item.optional_moment("keep_until")?,
        removing_since: item.optional_moment("removing_since")?,
        last_drill: item.optional_json("last_drill")?,
    })
}
