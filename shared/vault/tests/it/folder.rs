//! A whole backup in a folder: it is read again, and everything that is wrong with a copy is named.

use std::fs;
use std::path::Path;

use futures::executor::block_on;
use tempfile::TempDir;
use vault::{
    DocumentError, FileKeys, FolderFault, Keys as _, MANIFEST_FILE, Manifest, ManifestError, VerifyError, key_context,
    part_context, verify_folder,
};

use crate::manifest::example;
use crate::support::{Dice, file_keys, open, seal};

const SEED: u64 = 20_261_202;

/// Writes a backup with three parts, and gives their lines.
fn backup(folder: &Path, keys: &FileKeys) -> Vec<Vec<Vec<u8>>> {
    let mut dice = Dice::new(SEED);
    let mut manifest = example();
    let (tenant_id, backup_id) = (manifest.tenant_id.clone(), manifest.backup_id.clone());
    let (key, wrapped) = block_on(keys.new_data_key(&key_context(&tenant_id, &backup_id))).unwrap();
    manifest.data_key = wrapped;
    let mut all = Vec::new();
    for part in &mut manifest.parts {
        let lines: Vec<_> = (0..part.items).map(|_| dice.line(50_000)).collect();
        let (stored, summary) = seal(&key, &part_context(&tenant_id, &backup_id, &part.name), &lines);
        fs::write(folder.join(&part.name), stored).unwrap();
        (part.bytes, part.stored_bytes, part.sha256) = (summary.bytes, summary.stored_bytes, summary.sha256);
        all.push(lines);
    }
    manifest.check().unwrap();
    fs::write(folder.join(MANIFEST_FILE), block_on(manifest.sign(keys)).unwrap()).unwrap();
    all
}

fn problems(folder: &TempDir, keys: &FileKeys) -> Vec<String> {
    let report = verify_folder(folder.path(), &keys.public_keys()).unwrap();
    report.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_backup_is_read_again() {
    let (keys, folder) = (file_keys(), tempfile::tempdir().unwrap());
    let lines = backup(folder.path(), &keys);
    let report = verify_folder(folder.path(), &keys.public_keys()).unwrap();
    assert_eq!((report.good_parts, report.problems), (3, Vec::new()));

    let bytes = fs::read(folder.path().join(MANIFEST_FILE)).unwrap();
    let manifest = Manifest::open(&bytes, &keys.public_keys(), "backup-1", "tenant-123").unwrap();
    assert_eq!(manifest, report.manifest);
    let context = key_context(&manifest.tenant_id, &manifest.backup_id);
    let key = block_on(keys.unwrap(&manifest.data_key, &context)).unwrap();
    for (part, lines) in manifest.parts.iter().zip(lines) {
        let stored = fs::read(folder.path().join(&part.name)).unwrap();
        let context = part_context(&manifest.tenant_id, &manifest.backup_id, &part.name);
        let (found, summary) = open(&key, &context, &stored, 10_000);
        assert!(found == lines);
        manifest.compare(&part.name, &summary.unwrap()).unwrap();
    }
}

#[test]
fn everything_that_is_wrong_is_named() {
    let (keys, folder) = (file_keys(), tempfile::tempdir().unwrap());
    backup(folder.path(), &keys);
    let path = |name: &str| folder.path().join(name);
    let names = ["auth.account.00001.part", "auth.account.00002.part", "user.profile.00001.part"];
    let good = names.map(|name| fs::read(path(name)).unwrap());
    let restore = || names.iter().zip(&good).for_each(|(name, bytes)| fs::write(path(name), bytes).unwrap());

    // One part in another's place.
    fs::write(path(names[0]), &good[1]).unwrap();
    fs::write(path(names[1]), &good[0]).unwrap();
    let found = problems(&folder, &keys);
    assert_eq!(found.len(), 2, "{found:?}");
    restore();

    let mut dice = Dice::new(SEED);
    for _ in 0..100 {
        let mut changed = good[0].clone();
        let at = dice.below(changed.len());
        changed[at] ^= 1 << dice.below(8);
        fs::write(path(names[0]), changed).unwrap();
        assert_eq!(problems(&folder, &keys), [format!("{} was changed: its SHA-256 is another one", names[0])]);
    }
    restore();
    assert!(problems(&folder, &keys).is_empty());

    let last = good[0].len() - 1;
    fs::write(path(names[0]), &good[0][..last]).unwrap();
    fs::remove_file(path(names[1])).unwrap();
    fs::remove_file(path(names[2])).unwrap();
    fs::create_dir(path(names[2])).unwrap();
    fs::write(path("notes.txt"), "").unwrap();
    let report = verify_folder(folder.path(), &keys.public_keys()).unwrap();
    assert_eq!(report.good_parts, 0);
    assert_eq!(
        report.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            format!("{} has {last} bytes instead of {}", names[0], last + 1),
            format!("{} is missing", names[1]),
            "notes.txt does not belong to the backup".to_owned(),
            format!("{} cannot be read: it is not a file", names[2]),
        ]
    );
    assert_eq!(report.problems[1].fault, FolderFault::Missing);
}

#[test]
fn nothing_is_said_without_a_manifest() {
    let (keys, folder) = (file_keys(), tempfile::tempdir().unwrap());
    let error = verify_folder(folder.path(), &keys.public_keys()).unwrap_err();
    assert!(matches!(error, VerifyError::Unreadable { .. }) && error.to_string().contains(MANIFEST_FILE), "{error}");
    backup(folder.path(), &keys);
    let error = verify_folder(folder.path(), &file_keys().public_keys()).unwrap_err();
    let is_unknown = matches!(error, VerifyError::Manifest(ManifestError::Document(DocumentError::UnknownKey { .. })));
    assert!(is_unknown, "{error}");
    let path = folder.path().join(MANIFEST_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"changed_during\":false", "\"changed_during\":true")).unwrap();
    let error = verify_folder(folder.path(), &keys.public_keys()).unwrap_err();
    let is_bad = matches!(error, VerifyError::Manifest(ManifestError::Document(DocumentError::BadSignature { .. })));
    assert!(is_bad, "{error}");
}
