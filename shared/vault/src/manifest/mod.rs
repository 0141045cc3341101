//! The manifest of a backup: what is in it, signed.
//!
//! Only a manifest tells whether a backup is complete: each part opens by itself, but a missing part does not say so.

mod check;

use contracts::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::{DocumentError, SignError, sign_document, verify_document};
use crate::keys::{Keys, WrappedKey};
use crate::part::PartSummary;
use crate::public_key::PublicKey;

/// What [`Manifest::format`] is.
pub const MANIFEST_FORMAT: &str = "workflow-service-backup";

/// What [`Manifest::version`] is.
pub const MANIFEST_VERSION: u32 = 1;

/// The kind of document that a manifest is signed as.
pub const MANIFEST_KIND: &str = "backup-manifest";

/// What a manifest's file is called in a folder with a backup.
pub const MANIFEST_FILE: &str = "manifest.json";

/// How many dangling references a manifest names. It counts all.
pub const MAX_DANGLING: usize = 1_000;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: String,
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// Which backup.
    pub backup_id: String,
    /// Whose data.
    pub tenant_id: String,
    /// When the first thing was read.
    pub began_at: Timestamp,
    /// When the backup was complete.
    pub created_at: Timestamp,
    /// The key of all parts, wrapped for [`key_context`].
    pub data_key: WrappedKey,
    /// What was backed up.
    pub services: Vec<ServiceSummary>,
    /// The files.
    pub parts: Vec<PartEntry>,
    /// The first [`MAX_DANGLING`] references to things that are not in the backup.
    pub dangling: Vec<Dangling>,
    /// How many such references there are.
    pub dangling_count: u64,
    /// Whether data changed while it was read, so that the backup is of no single moment.
    pub changed_during: bool,
    /// How often the data was read, or what had changed of it.
    pub rounds: u32,
}

/// What of a service is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSummary {
    /// Which service, e.g. `auth`.
    pub service: String,
    /// Each type of things it holds.
    pub types: Vec<TypeSummary>,
}

/// What of a type is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeSummary {
    /// Which type, e.g. `account`.
    pub entity_type: String,
    /// The version of the type's schema.
    pub schema_version: u64,
    /// How many lines its parts have in all.
    pub items: u64,
    /// The service's digest of all of them, 64 lower-case hexadecimal digits.
    pub digest: String,
}

/// A part of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartEntry {
    /// The name of its file, e.g. [`part_name`]; also in the context by which it opens.
    pub name: String,
    /// The service its things come from.
    pub service: String,
    /// The type of its things.
    pub entity_type: String,
    /// Which part of this type, from 1 on.
    pub number: u32,
    /// See [`PartSummary::items`].
    pub items: u64,
    /// See [`PartSummary::bytes`].
    pub bytes: u64,
    /// See [`PartSummary::stored_bytes`].
    pub stored_bytes: u64,
    /// See [`PartSummary::sha256`].
    pub sha256: String,
}

/// A reference to a thing that is not in the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dangling {
    /// The service of the thing that refers.
    pub service: String,
    /// Its type.
    pub entity_type: String,
    /// Its id.
    pub id: String,
    /// Its field.
    pub field: String,
    /// The id of what is missing.
    pub refers_to: String,
}

/// Why a manifest is not to be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not signed, or not by whom it should be.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A newer version of this program has to read it.
    #[error("the manifest is of format '{format}', version {version}, which this version does not know")]
    UnknownVersion {
        /// The format it says it has.
        format: String,
        /// The version it says it has.
        version: u64,
    },
    /// The caller has another backup's manifest.
    #[error("the manifest is of backup '{backup_id}' of tenant '{tenant_id}', which is another one")]
    AnotherBackup {
        /// Which backup it is of.
        backup_id: String,
        /// Whose backup it is.
        tenant_id: String,
    },
    /// Whoever signed it was wrong.
    #[error("the manifest contradicts itself: {}", problems.join("; "))]
    Inconsistent {
        /// Everything that is wrong.
        problems: Vec<String>,
    },
}

/// A part is not what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartMismatch {
    /// It belongs to something else.
    #[error("the manifest has no part '{name}'")]
    UnknownPart {
        /// The part's name.
        name: String,
    },
    /// It was changed, or it is another one.
    #[error("part '{name}' is not what the manifest says: {}", differences.join(", "))]
    Differs {
        /// The part's name.
        name: String,
        /// What differs, with both values.
        differences: Vec<String>,
    },
}

/// What the key of a backup is wrapped for.
pub fn key_context(tenant_id: &str, backup_id: &str) -> String {
    format!("backup/{tenant_id}/{backup_id}")
}

/// What a part of a backup is sealed as.
pub fn part_context(tenant_id: &str, backup_id: &str, part_name: &str) -> String {
    format!("backup/{tenant_id}/{backup_id}/{part_name}")
}

/// What a part's file is called, e.g. `auth.account.00001.part`.
pub fn part_name(service: &str, entity_type: &str, number: u32) -> String {
    format!("{service}.{entity_type}.{number:05}.part")
}

impl Manifest {
    /// Whether the manifest makes sense: known version, plain and unique names, parts of a type numbered from 1 on
    /// without a gap, and as many items in a type's parts as in the type.
    ///
    /// # Errors
    /// [`ManifestError::UnknownVersion`] and [`ManifestError::Inconsistent`], with everything that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        check::check(self)
    }

    /// Whether a part that was read is the one that was written.
    ///
    /// # Errors
    /// Everything that differs.
    pub fn compare(&self, name: &str, found: &PartSummary) -> Result<(), PartMismatch> {
        let entry = self.parts.iter().find(|part| part.name == name);
        let entry = entry.ok_or_else(|| PartMismatch::UnknownPart { name: name.to_owned() })?;
        let counts = [
            ("items", entry.items, found.items),
            ("bytes", entry.bytes, found.bytes),
            ("stored bytes", entry.stored_bytes, found.stored_bytes),
        ];
        let counts = counts.iter().filter(|(_, expected, found)| expected != found);
        let mut differences: Vec<_> =
            counts.map(|(what, expected, found)| format!("{found} {what} instead of {expected}")).collect();
        if entry.sha256 != found.sha256 {
            differences.push(format!("SHA-256 {} instead of {}", found.sha256, entry.sha256));
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(PartMismatch::Differs { name: name.to_owned(), differences })
    }

    /// The manifest as a signed document, the text of [`MANIFEST_FILE`]. The caller [`check`](Self::check)s it first.
    ///
    /// # Errors
    /// A number is beyond 2^53 - 1, or the keys do not sign.
    pub async fn sign(&self, keys: &dyn Keys) -> Result<Vec<u8>, SignError> {
        let not_a_document = |error: serde_json::Error| SignError::NotADocument { reason: error.to_string() };
        let document = serde_json::to_value(self).map_err(not_a_document)?;
        let signed = sign_document(MANIFEST_KIND, &document, keys).await?;
        serde_json::to_vec(&signed).map_err(not_a_document)
    }

    /// The manifest that one of `keys` signed, of this backup of this tenant.
    ///
    /// # Errors
    /// Any [`ManifestError`].
    pub fn open(bytes: &[u8], keys: &[PublicKey], backup_id: &str, tenant_id: &str) -> Result<Self, ManifestError> {
        let manifest = Self::open_any(bytes, keys)?;
        if manifest.backup_id != backup_id || manifest.tenant_id != tenant_id {
            let Self { backup_id, tenant_id, .. } = manifest;
            return Err(ManifestError::AnotherBackup { backup_id, tenant_id });
        }
        Ok(manifest)
    }

    /// The manifest that one of `keys` signed, of whatever backup: for people who look at what it says.
    ///
    /// # Errors
    /// Any [`ManifestError`] but `AnotherBackup`.
    pub fn open_any(bytes: &[u8], keys: &[PublicKey]) -> Result<Self, ManifestError> {
        let document = verify_document(MANIFEST_KIND, bytes, keys)?;
        let (format, version) = (document["format"].as_str(), document["version"].as_u64());
        match (format, version) {
            (Some(MANIFEST_FORMAT), Some(version)) if version == u64::from(MANIFEST_VERSION) => {}
            (Some(format), Some(version)) => {
                return Err(ManifestError::UnknownVersion { format: format.to_owned(), version });
            }
            _ => return Err(not_a_manifest("it has no 'format' or no 'version'")),
        }
        let manifest: Self = serde_json::from_value(document).map_err(|error| not_a_manifest(&error.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }
}

fn not_a_manifest(reason: &str) -> ManifestError {
    DocumentError::NotADocument { reason: format!("it is no manifest: {reason}") }.into()
}
