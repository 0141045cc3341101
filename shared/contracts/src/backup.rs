//! The requests of backup and restore.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fields::Fields;
use crate::ids::{PLAIN_ID, WorkflowKind, is_plain_id};
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
}

/// A backup is written back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// Which backup of the tenant.
    pub backup_id: String,
    /// Whose backup, and where it goes.
    pub tenant_id: String,
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
}

fn plain_id(fields: &mut Fields<'_>, name: &str) -> String {
    fields.text_like(name, 1..=MAX_TENANT_CHARS, is_plain_id, PLAIN_ID).to_owned()
}

impl Request for BackupRequest {
    const KIND: WorkflowKind = WorkflowKind::CrossServiceBackup;
    const HAS_DEADLINE: bool = false;
    const IS_AWAITED: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        let (backup_id, tenant_id) = (plain_id(fields, "backup_id"), plain_id(fields, "tenant_id"));
        let expected = format!("one of {}", SERVICES.join(", "));
        let services = match fields.is_given("services") {
            true => fields.distinct("services", 1..=SERVICES.len(), service_named, &expected),
            false => SERVICES.map(|name| (name, name)).to_vec(),
        };
        Self { backup_id, tenant_id, services: services.into_iter().map(|(_, name)| name.to_owned()).collect() }
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
}

impl Request for RestoreRequest {
    const KIND: WorkflowKind = WorkflowKind::CrossServiceRestore;
    const HAS_DEADLINE: bool = false;
    const IS_AWAITED: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            backup_id: plain_id(fields, "backup_id"),
            tenant_id: plain_id(fields, "tenant_id"),
            on_conflict: match fields.is_given("on_conflict") {
                true => fields.one_of("on_conflict", &RestoreConflict::ALL, RestoreConflict::as_str),
                false => None,
            }
            .unwrap_or(RestoreConflict::Overwrite),
            dry_run: fields.flag("dry_run"),
        }
    }

    fn options(&self) -> Value {
        json!({ "backup_id": self.backup_id, "dry_run": self.dry_run })
    }

    fn tenants(&self) -> Vec<(&'static str, &str)> {
        vec![("tenant_id", &self.tenant_id)]
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
    }

    #[test]
    fn all_services_unless_some_are_named() {
        let of =
            |body: &str| read::<BackupRequest>(&Document::parse(body.as_bytes()).expect("JSON")).expect("it is good");
        assert_eq!(of(r#"{"backup_id":"b","tenant_id":"t"}"#).services, SERVICES);
        assert_eq!(of(r#"{"backup_id":"b","tenant_id":"t","services":["user_service"]}"#).services, ["user"]);
    }
}
