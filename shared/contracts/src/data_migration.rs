//! The request of a data migration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::backup::RestoreConflict;
use crate::fields::Fields;
use crate::ids::WorkflowKind;
use crate::limits::MAX_TENANT_CHARS;
use crate::request::Request;
use crate::services::{SERVICES, service_named};

/// What is done with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationType {
    /// It is copied into another tenant, with new ids.
    TenantToTenant,
    /// It is brought to a newer version of its schema.
    SystemUpgrade,
    /// It is moved into an archive.
    DataArchival,
    /// It is taken out of an archive or a backup.
    DataRestore,
    /// What other services keep copies of is made the same there.
    CrossServiceSync,
}

impl MigrationType {
    /// Every type.
    pub const ALL: [Self; 5] =
        [Self::TenantToTenant, Self::SystemUpgrade, Self::DataArchival, Self::DataRestore, Self::CrossServiceSync];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenantToTenant => "TenantToTenant",
            Self::SystemUpgrade => "SystemUpgrade",
            Self::DataArchival => "DataArchival",
            Self::DataRestore => "DataRestore",
            Self::CrossServiceSync => "CrossServiceSync",
        }
    }
}

/// Which data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSelector {
    /// The service, in the contract's name.
    pub service: String,
    /// A type of its things.
    pub entity_type: String,
    /// Only things with these values, by field.
    pub filters: BTreeMap<String, String>,
    /// Whether what they refer to comes with them.
    pub include_relationships: bool,
}

/// How.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationOptions {
    /// Things in a batch.
    pub batch_size: u64,
    /// Batches at a time.
    pub parallel_workers: u64,
    /// Whether it is tried first whether the target takes everything.
    pub validate_data: bool,
    /// Whether the target is backed up before.
    pub create_backup: bool,
    /// Whether everything is undone if something fails.
    pub rollback_on_error: bool,
    /// Whether it is only told what would come of it.
    pub dry_run: bool,
    /// Of `DataRestore`: what becomes of things that are there already; they are overwritten unless given.
    #[serde(default)]
    pub on_conflict: Option<RestoreConflict>,
    /// For how many days after its end it can be reversed; 0: it cannot.
    #[serde(default)]
    pub reversible_days: u32,
}

/// Data is moved, copied or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataMigrationRequest {
    /// What it is called; a tenant has one of each name.
    pub migration_id: String,
    /// Where the data is; in the target itself unless given.
    pub source_tenant_id: Option<String>,
    /// Where it goes.
    pub target_tenant_id: String,
    /// What is done.
    pub migration_type: MigrationType,
    /// With which data.
    pub data_selectors: Vec<DataSelector>,
    /// Of `DataRestore`: the archive or the backup.
    #[serde(default)]
    pub restore_from: Option<String>,
    /// How.
    pub migration_options: MigrationOptions,
}

const MAX_SELECTORS: usize = 100;
const MAX_BATCH_SIZE: u64 = 1_000;
const MAX_WORKERS: u64 = 100;
const MAX_TYPE_CHARS: usize = 64;
/// What services keep of what was there before, and executions of their requests.
const MAX_REVERSIBLE_DAYS: u64 = 90;
const REVERSIBLE_DAYS: u32 = 30;

impl Default for MigrationOptions {
    fn default() -> Self {
        Self {
            batch_size: 100,
            parallel_workers: 4,
            validate_data: true,
            create_backup: true,
            rollback_on_error: true,
            dry_run: false,
            on_conflict: None,
            reversible_days: REVERSIBLE_DAYS,
        }
    }
}

impl MigrationOptions {
    /// What a restore does with things that are there already.
    pub fn restore_conflict(&self) -> RestoreConflict {
        self.on_conflict.unwrap_or(RestoreConflict::Overwrite)
    }

    fn read(fields: &mut Fields<'_>, migration_type: Option<MigrationType>) -> Self {
        let default = Self::default();
        let restores = migration_type.is_none_or(|of| of == MigrationType::DataRestore);
        let on_conflict = match (fields.is_given("on_conflict"), restores) {
            (true, true) => Some(RestoreConflict::read(fields)),
            (true, false) => {
                fields.bad("on_conflict", "must be left out: only DataRestore has one");
                None
            }
            (false, _) => None,
        };
        Self {
            batch_size: fields.number_or("batch_size", 1..=MAX_BATCH_SIZE, default.batch_size),
            parallel_workers: fields.number_or("parallel_workers", 1..=MAX_WORKERS, default.parallel_workers),
            validate_data: fields.flag_or("validate_data", default.validate_data),
            create_backup: fields.flag_or("create_backup", default.create_backup),
            rollback_on_error: fields.flag_or("rollback_on_error", default.rollback_on_error),
            dry_run: fields.flag("dry_run"),
            on_conflict,
            reversible_days: fields.number_or(
                "reversible_days",
                0..=MAX_REVERSIBLE_DAYS,
                u64::from(default.reversible_days),
            ) as u32,
        }
    }
}

impl DataSelector {
    fn read(fields: &mut Fields<'_>) -> Self {
        let given = fields.text("service", 1..=MAX_TYPE_CHARS);
        let service = service_named(given);
        if service.is_none() && !given.is_empty() {
            fields.bad("service", format!("must be one of {}", SERVICES.join(", ")));
        }
        let entity_type = fields.plain_id("entity_type", MAX_TYPE_CHARS);
        let mut filters = BTreeMap::new();
        for (field, value) in fields.optional_map("filters") {
            match value {
                Value::String(text) => drop(filters.insert(field, text)),
                _ => fields.bad("filters", format!("must have strings, and {field} is none")),
            }
        }
        Self {
            service: service.unwrap_or_default().to_owned(),
            entity_type,
            filters,
            include_relationships: fields.flag("include_relationships"),
        }
    }
}

impl DataMigrationRequest {
    /// What the backup is called that is made before.
    pub fn backup_id(&self) -> String {
        format!("{MIGRATION_BACKUP}{}", self.migration_id)
    }

    /// What the archive is called that it makes.
    pub fn archive_id(&self) -> String {
        format!("{ARCHIVE}{}", self.migration_id)
    }

    /// Whether what it removes is archived before.
    pub fn archives(&self) -> bool {
        self.migration_type == MigrationType::DataArchival
    }

    fn check(&self, fields: &mut Fields<'_>) {
        match (self.migration_type == MigrationType::DataRestore, &self.restore_from) {
            (true, None) => fields.bad("restore_from", "is missing: the id of an archive or a backup"),
            (false, Some(_)) => fields.bad("restore_from", "must be left out: only DataRestore has one"),
            _ => {}
        }
        let source = self.source_tenant_id.as_deref();
        let is_other = source.is_some_and(|source| source != self.target_tenant_id);
        match self.migration_type {
            MigrationType::TenantToTenant if source.is_none() => fields.bad("source_tenant_id", "is missing"),
            MigrationType::TenantToTenant if !is_other => {
                fields.bad("source_tenant_id", "must be another tenant than target_tenant_id");
            }
            MigrationType::TenantToTenant => {}
            _ if is_other => fields.bad("source_tenant_id", "must be target_tenant_id, or be left out"),
            _ => {}
        }
        let types: Vec<_> =
            self.data_selectors.iter().map(|selector| (&selector.service, &selector.entity_type)).collect();
        if types.iter().enumerate().any(|(place, of)| types[..place].contains(of)) {
            fields.bad("data_selectors", "must not have a type twice");
        }
    }
}

/// Longest such that the name of the backup is a plain id.
const MAX_MIGRATION_ID_CHARS: usize = MAX_TENANT_CHARS - MIGRATION_BACKUP.len();
/// What the name of a migration's backup begins with.
pub const MIGRATION_BACKUP: &str = "migration_backup_";
/// What the name of an archive begins with.
pub const ARCHIVE: &str = "archive_";

impl Request for DataMigrationRequest {
    const KIND: WorkflowKind = WorkflowKind::DataMigration;
    const HAS_DEADLINE: bool = false;

    fn read(fields: &mut Fields<'_>) -> Self {
        let migration_id = fields.plain_id("migration_id", MAX_MIGRATION_ID_CHARS);
        let source = fields.is_given("source_tenant_id").then(|| fields.plain_id("source_tenant_id", MAX_TENANT_CHARS));
        let target_tenant_id = fields.plain_id("target_tenant_id", MAX_TENANT_CHARS);
        let migration_type = fields.one_of("migration_type", &MigrationType::ALL, MigrationType::as_str);
        let request = Self {
            migration_id,
            source_tenant_id: source,
            target_tenant_id,
            migration_type: migration_type.unwrap_or(MigrationType::CrossServiceSync),
            data_selectors: fields.list("data_selectors", 1..=MAX_SELECTORS, DataSelector::read),
            migration_options: match fields.is_given("migration_options") {
                true => fields.object("migration_options", |fields| MigrationOptions::read(fields, migration_type)),
                false => None,
            }
            .unwrap_or_default(),
            restore_from: fields.is_given("restore_from").then(|| fields.plain_id("restore_from", MAX_TENANT_CHARS)),
        };
        request.check(fields);
        request
    }

    fn options(&self) -> Value {
        let MigrationOptions { parallel_workers, create_backup, dry_run, rollback_on_error, reversible_days, .. } =
            self.migration_options;
        let archives = self.archives();
        json!({
            "migration_id": self.migration_id,
            "backup_id": if archives { self.archive_id() } else { self.backup_id() },
            "create_backup": (create_backup || archives) && !dry_run,
            "archives": archives,
            "reverses": null,
            "parallel_workers": parallel_workers,
            "rollback_on_error": rollback_on_error,
            "reversible_days": reversible_days,
        })
    }

    fn tenants(&self) -> Vec<(&'static str, &str)> {
        let source = self.source_tenant_id.as_deref().map(|source| ("source_tenant_id", source));
        std::iter::once(("target_tenant_id", self.target_tenant_id.as_str())).chain(source).collect()
    }

    fn own_tenant(&self) -> Option<(&'static str, &str)> {
        Some(("target_tenant_id", &self.target_tenant_id))
    }

    fn own_id(&self) -> Option<(&'static str, &str)> {
        Some(("migration_id", &self.migration_id))
    }

    fn read_backup(&self) -> Option<(&str, &str)> {
        Some((&self.target_tenant_id, self.restore_from.as_deref()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::request::read;

    fn bad(body: &str) -> Vec<String> {
        let bad =
            read::<DataMigrationRequest>(&Document::parse(body.as_bytes()).expect("JSON")).expect_err("it is bad");
        bad.into_iter().map(|bad| bad.pointer).collect()
    }

    #[test]
    fn every_bad_field_is_told() {
        let body = r#"{"migration_id":"a/b","target_tenant_id":"t","migration_type":"Sync","data_selectors":[
            {"service":"billing","entity_type":"x y","filters":{"a":1},"include_relationships":1}],
            "migration_options":{"batch_size":0,"parallel_workers":101,"dry_run":"no"}}"#;
        assert_eq!(
            bad(body),
            [
                "/migration_id",
                "/migration_type",
                "/data_selectors/0/service",
                "/data_selectors/0/entity_type",
                "/data_selectors/0/filters",
                "/data_selectors/0/include_relationships",
                "/migration_options/batch_size",
                "/migration_options/parallel_workers",
                "/migration_options/dry_run",
            ]
        );
    }

    #[test]
    fn source_and_target_fit_the_type() {
        let of = |migration_type: &str, source: &str| {
            format!(
                r#"{{"migration_id":"m","source_tenant_id":{source},"target_tenant_id":"t",
                "migration_type":"{migration_type}","data_selectors":[{{"service":"user","entity_type":"profile"}}]}}"#
            )
        };
        for (migration_type, source) in
            [("TenantToTenant", "null"), ("TenantToTenant", "\"t\""), ("CrossServiceSync", "\"s\"")]
        {
            assert_eq!(bad(&of(migration_type, source)), ["/source_tenant_id"], "{migration_type} {source}");
        }
    }
}
