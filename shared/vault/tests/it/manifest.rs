//! The manifest of a backup: no field can be changed, and it makes sense.

use futures::executor::block_on;
use serde_json::{Value, json};
use vault::{
    Dangling, DocumentError, MANIFEST_FORMAT, MANIFEST_KIND, MANIFEST_VERSION, Manifest, ManifestError, PartEntry,
    PartMismatch, PartSummary, ServiceSummary, TypeSummary, WrappedKey, part_name, sign_document, verify_document,
};

use crate::support::{file_keys, now};

/// A manifest with three parts.
pub(crate) fn example() -> Manifest {
    let part = |service: &str, entity_type: &str, number, items| PartEntry {
        name: part_name(service, entity_type, number),
        service: service.to_owned(),
        entity_type: entity_type.to_owned(),
        number,
        items,
        bytes: items * 100,
        stored_bytes: items * 30,
        sha256: format!("{number:064x}"),
    };
    let summary = |entity_type: &str, items| TypeSummary {
        entity_type: entity_type.to_owned(),
        schema_version: 1,
        items,
        digest: "ab".repeat(32),
    };
    let service =
        |service: &str, types: &[TypeSummary]| ServiceSummary { service: service.to_owned(), types: types.to_vec() };
    Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        version: MANIFEST_VERSION,
        backup_id: "backup-1".to_owned(),
        tenant_id: "tenant-123".to_owned(),
        began_at: now(),
        created_at: now(),
        data_key: WrappedKey { provider: "file".into(), key_id: "aes256-0".into(), value: "AAAA".into() },
        services: vec![
            service("auth", &[summary("account", 7), summary("session", 0)]),
            service("user", &[summary("profile", 2)]),
        ],
        parts: vec![part("auth", "account", 1, 4), part("auth", "account", 2, 3), part("user", "profile", 1, 2)],
        dangling: vec![Dangling {
            service: "user".to_owned(),
            entity_type: "profile".to_owned(),
            id: "p1".to_owned(),
            field: "user_id".to_owned(),
            refers_to: "u9".to_owned(),
        }],
        dangling_count: 1,
        changed_during: false,
        rounds: 2,
    }
}

#[test]
fn a_manifest_comes_back() {
    let keys = file_keys();
    let manifest = example();
    assert_eq!(manifest.check(), Ok(()));
    let bytes = block_on(manifest.sign(&keys)).unwrap();
    let open = |backup_id, tenant_id| Manifest::open(&bytes, &keys.public_keys(), backup_id, tenant_id);
    assert_eq!(open("backup-1", "tenant-123"), Ok(manifest));
    for (backup_id, tenant_id) in [("backup-2", "tenant-123"), ("backup-1", "tenant-124")] {
        let error = open(backup_id, tenant_id).unwrap_err();
        assert!(matches!(error, ManifestError::AnotherBackup { .. }), "{error}");
        assert!(error.to_string().contains("backup 'backup-1' of tenant 'tenant-123'"), "{error}");
    }
    let error = Manifest::open_any(&bytes, &file_keys().public_keys()).unwrap_err();
    assert!(matches!(error, ManifestError::Document(DocumentError::UnknownKey { .. })), "{error}");
}

/// Every value of a JSON document, changed, removed, doubled or with something added to it.
fn changes(value: &Value) -> Vec<Value> {
    let mut changes = Vec::new();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                for change in self::changes(member) {
                    let mut members = members.clone();
                    members[name] = change;
                    changes.push(members.into());
                }
                let mut without = members.clone();
                without.remove(name);
                changes.push(without.into());
            }
            let mut more = members.clone();
            more.insert("more".to_owned(), Value::Null);
            changes.push(more.into());
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                for change in self::changes(item) {
                    let mut items = items.clone();
                    items[index] = change;
                    changes.push(items.into());
                }
                let mut other = items.clone();
                other.remove(index);
                changes.push(other.into());
                let mut other = items.clone();
                other.insert(index, item.clone());
                changes.push(other.into());
                let mut other = items.clone();
                other.rotate_left(index);
                changes.push(other.into());
            }
        }
        Value::String(text) => changes.extend([json!(format!("{text}0")), json!(""), Value::Null]),
        Value::Number(number) => changes.extend([json!(number.as_u64().unwrap() + 1), json!(number.to_string())]),
        Value::Bool(is_true) => changes.extend([json!(!is_true), Value::Null]),
        Value::Null => changes.push(json!(0)),
    }
    changes.retain(|change| change != value);
    changes
}

#[test]
fn no_field_can_be_changed() {
    let keys = file_keys();
    let signed: Value = serde_json::from_slice(&block_on(example().sign(&keys)).unwrap()).unwrap();
    let changes = changes(&signed["document"]);
    assert!(changes.len() > 150, "{}", changes.len());
    for document in changes {
        let changed = json!({ "document": document, "signature": signed["signature"] }).to_string();
        let error = Manifest::open_any(changed.as_bytes(), &keys.public_keys()).unwrap_err();
        assert!(matches!(error, ManifestError::Document(DocumentError::BadSignature { .. })), "{changed}: {error}");
        let verified = verify_document(MANIFEST_KIND, changed.as_bytes(), &keys.public_keys());
        assert!(verified.is_err(), "{changed}");
    }
}

#[test]
fn other_versions_and_documents_are_refused() {
    let keys = file_keys();
    let open = |change: &dyn Fn(&mut Value)| {
        let mut document = serde_json::to_value(example()).unwrap();
        change(&mut document);
        let signed = block_on(sign_document(MANIFEST_KIND, &document, &keys)).unwrap();
        Manifest::open_any(signed.to_string().as_bytes(), &keys.public_keys()).map(|_| ())
    };
    assert_eq!(open(&|_| ()), Ok(()));
    let unknown = |format: &str, version| ManifestError::UnknownVersion { format: format.to_owned(), version };
    assert_eq!(open(&|document| document["version"] = json!(2)), Err(unknown(MANIFEST_FORMAT, 2)));
    assert_eq!(open(&|document| document["format"] = json!("other")), Err(unknown("other", 1)));
    let mut other = example();
    other.version = 3;
    assert_eq!(other.check(), Err(unknown(MANIFEST_FORMAT, 3)));
    for change in [
        &(|document: &mut Value| document["more"] = json!(1)) as &dyn Fn(&mut Value),
        &|document| document["rounds"] = json!(-1),
        &|document| document["version"] = Value::Null,
    ] {
        let error = open(change).unwrap_err();
        assert!(matches!(error, ManifestError::Document(DocumentError::NotADocument { .. })), "{error}");
    }
    assert!(matches!(open(&|document| document["dangling_count"] = json!(0)), Err(ManifestError::Inconsistent { .. })));
}

#[test]
fn contradictions_are_named() {
    type Change = fn(&mut Manifest);
    let cases: &[(Change, &str)] = &[
        (|m| m.backup_id = "../x".into(), "'../x' is not a valid id of a backup"),
        (|m| m.tenant_id = "a/b".into(), "'a/b' is not a valid id of a tenant"),
        (|m| m.began_at = "2027-01-01T00:00:00Z".parse().unwrap(), "complete before it began"),
        (|m| m.dangling_count = 0, "it names 1 dangling references and counts 0"),
        (|m| m.dangling_count = 2, "it names 1 dangling references and counts 2"),
        (|m| m.dangling = vec![m.dangling[0].clone(); 1_001], "it names 1001"),
        (|m| m.parts[0].name = "../../etc/passwd".into(), "'../../etc/passwd' is not a valid name of a part"),
        (|m| m.parts[0].name = ".hidden".into(), "'.hidden' is not a valid name"),
        (|m| m.parts[0].name = "x".repeat(201), "is not a valid name"),
        (|m| m.parts[0].name = "Manifest.json".into(), "the name 'Manifest.json' occurs twice"),
        (|m| m.parts[0].name = "AUTH.account.00002.part".into(), "'auth.account.00002.part' occurs twice"),
        (|m| m.parts[0].sha256 = "AB".repeat(32), "the SHA-256 of part 'auth.account.00001.part' is not 64"),
        (|m| m.parts[0].number = 3, "the parts of 'auth/account' have gaps or occur twice: [2, 3]"),
        (|m| m.parts[0].number = 2, "have gaps or occur twice: [2, 2]"),
        (|m| m.parts[0].number = 0, "have gaps or occur twice: [0, 2]"),
        (|m| m.parts[0].items = 5, "'auth/account' has 7 items, and its parts have 8"),
        (|m| m.parts[0].items = u64::MAX, "its parts have too many"),
        (|m| drop(m.parts.pop()), "'user/profile' has 2 items, and its parts have 0"),
        (|m| m.parts[2].service = "file".into(), "1 parts are of 'file/profile', which it does not list"),
        (|m| m.services[0].types[0].digest = String::new(), "the digest of 'auth/account' is not 64"),
        (|m| m.services[1].service = "auth".into(), "the service 'auth' occurs twice"),
        (|m| m.services[0].types[1].entity_type = "account".into(), "the type 'auth/account' occurs twice"),
        (|m| m.services[0].types[1].entity_type = "a b".into(), "the type 'auth/a b' occurs twice or has no plain"),
    ];
    let mut all = example();
    for (change, expected) in cases {
        let mut manifest = example();
        change(&mut manifest);
        let error = manifest.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    all.dangling = vec![all.dangling[0].clone(); 1_000];
    all.dangling_count = 5_000;
    assert_eq!(all.check(), Ok(()), "not all need to be named");
    all.backup_id.clear();
    all.dangling_count = 0;
    let Err(ManifestError::Inconsistent { problems }) = all.check() else { panic!("it makes no sense") };
    assert_eq!(problems.len(), 2, "all at once: {problems:?}");
}

#[test]
fn a_part_is_compared() {
    let manifest = example();
    let name = "auth.account.00002.part";
    let good = PartSummary { items: 3, bytes: 300, stored_bytes: 90, sha256: format!("{:064x}", 2) };
    assert_eq!(manifest.compare(name, &good), Ok(()));
    let unknown = PartMismatch::UnknownPart { name: "x".to_owned() };
    assert_eq!(manifest.compare("x", &good), Err(unknown));
    for (found, difference) in [
        (PartSummary { items: 4, ..good.clone() }, "4 items instead of 3"),
        (PartSummary { bytes: 1, ..good.clone() }, "1 bytes instead of 300"),
        (PartSummary { stored_bytes: 91, ..good.clone() }, "91 stored bytes instead of 90"),
        (PartSummary { sha256: "0".repeat(64), ..good.clone() }, "SHA-256 0000"),
    ] {
        let error = manifest.compare(name, &found).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(difference), "{error}");
    }
}
