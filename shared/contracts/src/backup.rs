//! Backup and restore: their requests, and what is known of a backup that was completed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Timestamp;
use crate::compliance::ERASURE_BACKUP;
use crate::data_migration::{ARCHIVE, MIGRATION_BACKUP};
use crate::fields::Fields;
use crate::ids::WorkflowKind;
use crate::limits::MAX_TENANT_CHARS;
use crate::request::Request;
use crate::services::{SERVICES, service_named};

/// Everything that these services hold of a tenant is read into a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRequest {
    /// What the backup is called; a tenant has one of each name.
    pub backup_id: String,
    /// Whose data.
    pub tenant_id: String,
    /// Which services, in the contract's names; all of them unless given.
    pub services: Vec<String>,
    /// For how many days it is kept; until somebody deletes it unless given.
    pub keep_days: Option<u32>,
    /// Of the tenant's backups that have such a number, the newest so many stay; all of them unless given.
    pub keep_count: Option<u32>,
}

/// A backup is written back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// Which backup of the tenant.
    pub backup_id: String,
    /// Whose backup.
    pub tenant_id: String,
    /// Into which tenant it goes; into the same one unless given.
    pub target_tenant_id: Option<String>,
    /// Whether it goes into a tenant of its own, is compared, and is removed again.
    pub drill: bool,
    /// What becomes of things that are there already.
    pub on_conflict: RestoreConflict,
    /// Whether it is only told what would come of it.
    pub dry_run: bool,
}

/// What becomes of things that are there already and are not what the backup says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreConflict {
    /// They stay.
    Skip,
    /// They become what the backup says.
    Overwrite,
    /// The restore fails, and all of it is undone.
    Fail,
}

impl RestoreConflict {
    const ALL: [Self; 3] = [Self::Skip, Self::Overwrite, Self::Fail];

    fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Overwrite => "overwrite",
            Self::Fail => "fail",
        }
    }

    /// Reads `on_conflict`; they are overwritten unless it is given.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Self {
        let given = fields.is_given("on_conflict").then(|| fields.one_of("on_conflict", &Self::ALL, Self::as_str));
        given.flatten().unwrap_or(Self::Overwrite)
    }
}

/// What a completed backup holds. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// Its name.
    pub backup_id: String,
    /// The execution that made it.
    pub workflow_id: String,
    /// Where its files are: a folder below the blobs.
    pub backup_location: String,
    /// The size of its files, as they are stored.
    pub backup_size_bytes: u64,
    /// Things in it; files' bytes are none.
    pub records_backed_up: u64,
    /// What it holds, service by service.
    pub services: Vec<BackedUpService>,
    /// Whether something changed while it was made.
    pub changed_during: bool,
    /// References to things that are not in it.
    pub dangling_references: u64,
    /// When it was begun.
    pub began_at: Timestamp,
    /// When it was completed.
    pub created_at: Timestamp,
    /// Of the tenant's backups that have such a number, the newest so many stay.
    pub keep_count: Option<u32>,
}

/// What a backup holds of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpService {
    /// The service, in the contract's name.
    pub service: String,
    /// Its types of things.
    pub types: Vec<BackedUpType>,
}

/// What a backup holds of a type of things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpType {
    /// The type.
    pub entity_type: String,
    /// How many of them.
    pub items: u64,
}

/// What the last drill of a backup came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// The execution.
    pub workflow_id: String,
    /// When it was over.
    pub at: Timestamp,
    /// Whether all of the backup came back.
    pub passed: bool,
    /// Why not: the name of an error.
    pub error: Option<String>,
    /// How long it took until everything was back and compared.
    pub recovery_seconds: Option<u64>,
}

/// Backups that are made again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSchedule {
    /// How often: at the multiples of this since 1970-01-01T00:00Z.
    pub every: Duration,
    /// Of these tenants.
    pub tenants: Vec<String>,
    /// For how many days each is kept; until somebody deletes it if there is none.
    pub keep_days: Option<u32>,
    /// How many of a tenant's are kept; all of them if there is none.
    pub keep_count: Option<u32>,
}

/// What the names of backups begin with that migrations, archivals and erasures make.
const OWN_BACKUPS: [&str; 3] = [MIGRATION_BACKUP, ARCHIVE, ERASURE_BACKUP];

/// A hundred years.
const MAX_KEEP_DAYS: u32 = 36_525;
const MAX_KEEP_COUNT: u32 = 10_000;

fn optional_number(fields: &mut Fields<'_>, name: &str, most: u32) -> Option<u32> {
    fields.is_given(name).then(|| fields.number_or(name, 1..=u64::from(most), 1) as u32)
}

impl Request for BackupRequest {
    const KIND: WorkflowKind = WorkflowKind::CrossServiceBackup;
    const HAS_DEADLINE: bool = false;
    const IS_AWAITED: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        let (backup_id, tenant_id) =
            (fields.plain_id("backup_id", MAX_TENANT_CHARS), fields.plain_id("tenant_id", MAX_TENANT_CHARS));
        if let Some(own) = OWN_BACKUPS.into_iter().find(|own| backup_id.starts_with(own)) {
            fields.bad("backup_id", format!("must not begin with '{own}': such backups are made by other workflows"));
        }
        let expected = format!("one of {}", SERVICES.join(", "));
        let services = match fields.is_given("services") {
            true => fields.distinct("services", 1..=SERVICES.len(), service_named, &expected),
            false => SERVICES.map(|name| (name, name)).to_vec(),
        };
        Self {
            backup_id,
            tenant_id,
            services: services.into_iter().map(|(_, name)| name.to_owned()).collect(),
            keep_days: optional_number(fields, "keep_days", MAX_KEEP_DAYS),
            keep_count: optional_number(fields, "keep_count", MAX_KEEP_COUNT),
        }
    }

    fn options(&self) -> Value {
        json!({ "backup_id": self.backup_id })
    }

    fn tenants(&self) -> Vec<(&'static str, &str)> {
        vec![("tenant_id", &self.tenant_id)]
    }

    fn own_id(&self) -> Option<(&'static str, &str)> {
        Some(("backup_id", &self.backup_id))
    }

    fn made_backup(&self) -> Option<(&str, &str)> {
        Some((&self.tenant_id, &self.backup_id))
    }
}

impl Request for RestoreRequest {
    const KIND: WorkflowKind = WorkflowKind::CrossServiceRestore;
    const HAS_DEADLINE: bool = false;
    const IS_AWAITED: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        let target_tenant_id =
            fields.is_given("target_tenant_id").then(|| fields.plain_id("target_tenant_id", MAX_TENANT_CHARS));
        let drill = fields.flag("drill");
        for name in ["target_tenant_id", "on_conflict", "dry_run"] {
            if drill && fields.is_given(name) {
                fields.bad(name, "must be left out: a drill writes into a tenant of its own");
            }
        }
        Self {
            backup_id: fields.plain_id("backup_id", MAX_TENANT_CHARS),
            tenant_id: fields.plain_id("tenant_id", MAX_TENANT_CHARS),
            target_tenant_id,
            drill,
            on_conflict: RestoreConflict::read(fields),
            dry_run: fields.flag("dry_run"),
        }
    }

    fn options(&self) -> Value {
        json!({ "backup_id": self.backup_id, "dry_run": self.dry_run, "drill": self.drill })
    }

    fn tenants(&self) -> Vec<(&'static str, &str)> {
        let target = self.target_tenant_id.as_deref().map(|target| ("target_tenant_id", target));
        std::iter::once(("tenant_id", self.tenant_id.as_str())).chain(target).collect()
    }

    fn read_backup(&self) -> Option<(&str, &str)> {
        Some((&self.tenant_id, &self.backup_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::request::read;

    #[test]
    fn every_bad_field_is_told() {
        let body = br#"{"backup_id":"a/b","services":["auth","auth-service","billing"],"tenant_id":7}"#;
        let bad = read::<BackupRequest>(&Document::parse(body).expect("JSON")).expect_err("it is bad");
        let pointers: Vec<&str> = bad.iter().map(|bad| bad.pointer.as_str()).collect();
        assert_eq!(pointers, ["/backup_id", "/tenant_id", "/services/1", "/services/2"]);
        let body = br#"{"backup_id":"b-1","tenant_id":"t","on_conflict":"merge","dry_run":"yes"}"#;
        let bad = read::<RestoreRequest>(&Document::parse(body).expect("JSON")).expect_err("it is bad");
        let pointers: Vec<&str> = bad.iter().map(|bad| bad.pointer.as_str()).collect();
        assert_eq!(pointers, ["/on_conflict", "/dry_run"]);
        let body = br#"{"backup_id":"b-1","tenant_id":"t","drill":true,"target_tenant_id":"u","dry_run":true}"#;
        let bad = read::<RestoreRequest>(&Document::parse(body).expect("JSON")).expect_err("it is bad");
        let pointers: Vec<&str> = bad.iter().map(|bad| bad.pointer.as_str()).collect();
        assert_eq!(pointers, ["/target_tenant_id", "/dry_run"]);
        let body = br#"{"backup_id":"b-1","tenant_id":"t","keep_days":0,"keep_count":1.5}"#;
        let bad = read::<BackupRequest>(&Document::parse(body).expect("JSON")).expect_err("it is bad");
        let pointers: Vec<&str> = bad.iter().map(|bad| bad.pointer.as_str()).collect();
        assert_eq!(pointers, ["/keep_days", "/keep_count"]);
    }

    #[test]
    fn all_services_unless_some_are_named() {
        let of =
            |body: &str| read::<BackupRequest>(&Document::parse(body.as_bytes()).expect("JSON")).expect("it is good");
        assert_eq!(of(r#"{"backup_id":"b","tenant_id":"t"}"#).services, SERVICES);
        assert_eq!(of(r#"{"backup_id":"b","tenant_id":"t","services":["user_service"]}"#).services, ["user"]);
    }
}
