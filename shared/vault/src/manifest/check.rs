//! Whether a manifest makes sense.

use std::collections::{BTreeMap, BTreeSet};

use contracts::ids::is_plain_id;

use super::{MANIFEST_FILE, MANIFEST_FORMAT, MANIFEST_VERSION, MAX_DANGLING, Manifest, ManifestError, PartEntry};
use crate::crypto::is_sha256;

/// A name is not longer, in bytes: file systems take 255.
const MAX_NAME_BYTES: usize = 200;

/// The parts of a service's type.
type PartsByType<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a PartEntry>>;

pub(super) fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    if manifest.format != MANIFEST_FORMAT || manifest.version != MANIFEST_VERSION {
        let version = manifest.version.into();
        return Err(ManifestError::UnknownVersion { format: manifest.format.clone(), version });
    }
    let mut problems = Vec::new();
    check_head(manifest, &mut problems);
    check_names(&manifest.parts, &mut problems);
    check_types(manifest, &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(ManifestError::Inconsistent { problems }) }
}

fn check_head(manifest: &Manifest, problems: &mut Vec<String>) {
    if !is_plain(&manifest.backup_id) {
        problems.push(format!("'{}' is not a valid id of a backup", manifest.backup_id));
    }
    if !is_plain_id(&manifest.tenant_id) {
        problems.push(format!("'{}' is not a valid id of a tenant", manifest.tenant_id));
    }
    if manifest.created_at < manifest.began_at {
        problems.push("it was complete before it began".to_owned());
    }
    let (named, counted) = (manifest.dangling.len(), manifest.dangling_count);
    if named as u64 != counted.min(MAX_DANGLING as u64) {
        problems.push(format!("it names {named} dangling references and counts {counted}"));
    }
}

/// Names become paths: each is a file in the backup's folder, also where upper and lower case are the same.
fn check_names(parts: &[PartEntry], problems: &mut Vec<String>) {
    let mut names = BTreeSet::from([MANIFEST_FILE.to_owned()]);
    for PartEntry { name, sha256, .. } in parts {
        if !is_plain(name) {
            problems.push(format!("'{name}' is not a valid name of a part"));
        }
        if !names.insert(name.to_ascii_lowercase()) {
            problems.push(format!("the name '{name}' occurs twice"));
        }
        if !is_sha256(sha256) {
            problems.push(format!("the SHA-256 of part '{name}' is not 64 hexadecimal digits"));
        }
    }
}

fn check_types(manifest: &Manifest, problems: &mut Vec<String>) {
    let mut parts = PartsByType::new();
    for part in &manifest.parts {
        parts.entry((&part.service, &part.entity_type)).or_default().push(part);
    }
    let (mut services, mut types) = (BTreeSet::new(), BTreeSet::new());
    for summary in &manifest.services {
        let service = &summary.service;
        if !is_plain(service) || !services.insert(service) {
            problems.push(format!("the service '{service}' occurs twice or has no plain name"));
        }
        for summary in &summary.types {
            let (entity_type, items) = (&summary.entity_type, summary.items);
            if !is_plain(entity_type) || !types.insert((service, entity_type)) {
                problems.push(format!("the type '{service}/{entity_type}' occurs twice or has no plain name"));
            }
            if !is_sha256(&summary.digest) {
                problems.push(format!("the digest of '{service}/{entity_type}' is not 64 hexadecimal digits"));
            }
            let parts = parts.remove(&(service.as_str(), entity_type.as_str())).unwrap_or_default();
            let sum = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.items));
            if sum != Some(items) {
                let sum = sum.map_or("too many".to_owned(), |sum| sum.to_string());
                problems.push(format!("'{service}/{entity_type}' has {items} items, and its parts have {sum}"));
            }
            let mut numbers: Vec<_> = parts.iter().map(|part| part.number).collect();
            numbers.sort_unstable();
            if !numbers.iter().copied().eq((1..).take(numbers.len())) {
                problems.push(format!("the parts of '{service}/{entity_type}' have gaps or occur twice: {numbers:?}"));
            }
        }
    }
    for ((service, entity_type), parts) in parts {
        let count = parts.len();
        problems.push(format!("{count} parts are of '{service}/{entity_type}', which it does not list"));
    }
}

/// Letters, digits, '-', '_' and '.', the first a letter or digit: no path, no hidden file, no option of a command.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}
