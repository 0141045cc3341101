//! The manifest of a package: what is in it, where that comes from, and what is missing.

use contracts::ActivityError;
use contracts::compliance::ComplianceType;
use contracts::dataset::Category;
use serde::Serialize;

use super::Entry;
use crate::compliance::{Closed, Plan};
use crate::files::lost;

/// The version of the manifest's form.
const SCHEMA_VERSION: u32 = 1;
/// The file's name; in a package that others follow, it has the package's number.
pub(in super::super) const MANIFEST: &str = "manifest.json";

/// The manifest. It tells no request and no time: the same data, asked for in the same way, gives the same bytes.
#[derive(Serialize)]
pub(in super::super) struct Manifest<'a> {
    schema_version: u32,
    compliance_type: ComplianceType,
    tenant_id: &'a str,
    subject_user_id: &'a str,
    legal_basis: Option<&'a str>,
    categories: &'a [Category],
    /// Which package it is of, from 1 on.
    package: usize,
    earlier_packages: &'a [Closed],
    /// Of the last package: those of all of them.
    sources: &'a [SourceEntry],
    not_read: &'a [NotRead],
    files: &'a [Entry],
}

/// A data set that is in the package.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct SourceEntry {
    pub(in super::super) service: String,
    pub(in super::super) entity_type: String,
    /// What there is of it, as far as it was asked for.
    pub(in super::super) categories: Vec<Category>,
    /// The person's own things, files or entries.
    pub(in super::super) records: u64,
    /// Others' things that mention the person.
    pub(in super::super) mentions: u64,
    /// The files with it.
    pub(in super::super) files: Vec<String>,
    /// Fields that the dataset map does not name, and that are not in the package.
    pub(in super::super) fields_not_exported: Vec<String>,
}

/// A data set that is missing.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct NotRead {
    pub(in super::super) service: String,
    pub(in super::super) entity_type: String,
    /// The error for which it was given up.
    pub(in super::super) error: String,
    /// What of it is missing, if not all is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in super::super) ids: Vec<String>,
}

impl<'a> Manifest<'a> {
    pub(in super::super) fn new(
        tenant_id: &'a str,
        plan: &'a Plan,
        earlier_packages: &'a [Closed],
        sources: &'a [SourceEntry],
        not_read: &'a [NotRead],
        files: &'a [Entry],
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            compliance_type: ComplianceType::GdprDataExport,
            tenant_id,
            subject_user_id: &plan.subject,
            legal_basis: plan.legal_basis.as_deref(),
            categories: &plan.categories,
            package: earlier_packages.len() + 1,
            earlier_packages,
            sources,
            not_read,
            files,
        }
    }

    pub(in super::super) fn text(&self) -> Result<Vec<u8>, ActivityError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| lost(&error.to_string()))?;
        text.push(b'\n');
        Ok(text)
    }
}
