//! Keys in a file: who may read it, what a rotation keeps, what is refused.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::executor::block_on;
use serde_json::Value;
use vault::{FileKeys, FileKeysError, KeyError, Keys as _, PublicKey, WrappedKey};

use crate::support::{Dice, key_file, now};

const SEED: u64 = 20_261_201;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn error_of(path: &Path) -> FileKeysError {
    FileKeys::open(path).err().unwrap_or_else(|| panic!("{} opens", path.display()))
}

#[test]
fn a_file_is_created_once_and_for_its_owner() {
    let (folder, path) = key_file();
    assert_eq!(mode(&path), 0o600);
    let before = fs::read(&path).unwrap();
    let error = FileKeys::init(&path, now()).unwrap_err();
    assert!(matches!(&error, FileKeysError::Exists { .. }), "{error}");
    assert!(error.to_string().ends_with("keys.json exists, and keys are never overwritten"));
    let dangling = folder.path().join("link");
    symlink("nowhere", &dangling).unwrap();
    assert!(matches!(FileKeys::init(&dangling, now()), Err(FileKeysError::Exists { .. })));
    let missing = folder.path().join("missing/keys.json");
    assert!(matches!(FileKeys::init(&missing, now()), Err(FileKeysError::Io { .. })));
    assert!(matches!(error_of(&missing), FileKeysError::Io { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn others_may_not_read_it() {
    let (_folder, path) = key_file();
    for open in [0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
        let error = error_of(&path);
        assert!(matches!(error, FileKeysError::OpenToOthers { mode, .. } if mode == open), "{error}");
        assert!(error.to_string().contains(&format!("(its mode is {open:04o}): run chmod 600")), "{error}");
        assert!(matches!(FileKeys::rotate(&path, now()), Err(FileKeysError::OpenToOthers { .. })));
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    FileKeys::open(&path).unwrap();
}

#[test]
fn a_rotation_keeps_what_exists() {
    let (folder, path) = key_file();
    let link = folder.path().join("link");
    symlink("keys.json", &link).unwrap();
    let before = FileKeys::open(&path).unwrap();
    let (old_key, old_wrapped) = block_on(before.new_data_key("backup/t/1")).unwrap();
    let old_signature = block_on(before.sign(b"a message")).unwrap();
    let later = "2027-01-01T00:00:00Z".parse().unwrap();
    FileKeys::rotate(&link, later).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");

    let after = FileKeys::open(&link).unwrap();
    let unwrapped = block_on(after.unwrap(&old_wrapped, "backup/t/1")).unwrap();
    assert_eq!(unwrapped.as_bytes(), old_key.as_bytes());
    let keys = after.public_keys();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[1..], before.public_keys());
    assert_eq!([after.created_at(&keys[0]), after.created_at(&keys[1])], [Some(later), Some(now())]);
    assert_eq!(block_on(vault::Keys::public_keys(&after)), Ok(keys.clone()));
    assert!(keys[1].verifies(b"a message", &old_signature));
    assert!(!keys[0].verifies(b"a message", &old_signature));

    let (_, new_wrapped) = block_on(after.new_data_key("backup/t/1")).unwrap();
    assert_ne!(new_wrapped.key_id, old_wrapped.key_id);
    let signature = block_on(after.sign(b"a message")).unwrap();
    assert!(keys[0].verifies(b"a message", &signature) && !keys[0].verifies(b"another", &signature));
    let lost = block_on(before.unwrap(&new_wrapped, "backup/t/1")).unwrap_err();
    assert_eq!(lost, KeyError::Lost { provider: "file".to_owned(), key_id: new_wrapped.key_id.clone() });
    assert!(lost.to_string().contains(&new_wrapped.key_id));
}

#[test]
fn rotations_at_once_lose_no_key() {
    let (_folder, path) = key_file();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Err(error) = FileKeys::rotate(&path, now()) {
                    assert!(matches!(error, FileKeysError::Busy { .. }), "{error}");
                    thread::yield_now();
                }
            });
        }
    });
    assert_eq!(FileKeys::open(&path).unwrap().public_keys().len(), 7);
    let other = File::open(&path).unwrap();
    other.lock().unwrap();
    let error = FileKeys::rotate(&path, now()).unwrap_err();
    assert!(matches!(error, FileKeysError::Busy { .. }), "{error}");
}

#[test]
fn a_data_key_belongs_to_its_context() {
    let (_folder, path) = key_file();
    FileKeys::rotate(&path, now()).unwrap();
    let keys = FileKeys::open(&path).unwrap();
    let (key, wrapped) = block_on(keys.new_data_key("backup/t/1")).unwrap();
    let (other_key, other) = block_on(keys.new_data_key("backup/t/1")).unwrap();
    assert!(key.as_bytes() != other_key.as_bytes() && wrapped.value != other.value);
    assert_eq!(format!("{key:?}"), "DataKey(..)");
    let text = serde_json::to_string(&wrapped).unwrap();
    assert_eq!(serde_json::from_str::<WrappedKey>(&text).unwrap(), wrapped);

    let unwrap = |wrapped: &WrappedKey, context| block_on(keys.unwrap(wrapped, context)).map(|key| *key.as_bytes());
    assert_eq!(unwrap(&wrapped, "backup/t/1"), Ok(*key.as_bytes()));
    for context in ["backup/t/2", "backup/t/1/", ""] {
        let error = unwrap(&wrapped, context).unwrap_err();
        assert_eq!(error, KeyError::Wrong { context: context.to_owned() });
    }
    let wrong = Err(KeyError::Wrong { context: "backup/t/1".to_owned() });
    let bytes = STANDARD.decode(&wrapped.value).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = WrappedKey { value: STANDARD.encode(changed), ..wrapped.clone() };
        assert_eq!(unwrap(&changed, "backup/t/1"), wrong, "bit {bit}");
    }
    for length in 0..bytes.len() {
        let changed = WrappedKey { value: STANDARD.encode(&bytes[..length]), ..wrapped.clone() };
        assert_eq!(unwrap(&changed, "backup/t/1"), wrong, "{length} bytes");
    }
    let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let older = file["wrapping"][1]["key_id"].as_str().unwrap().to_owned();
    assert_eq!(unwrap(&WrappedKey { key_id: older, ..wrapped.clone() }, "backup/t/1"), wrong);
    assert_eq!(unwrap(&WrappedKey { value: "?".to_owned(), ..wrapped.clone() }, "backup/t/1"), wrong);
    let foreign = WrappedKey { provider: "aws-kms".to_owned(), ..wrapped };
    let error = unwrap(&foreign, "backup/t/1").unwrap_err();
    assert!(matches!(&error, KeyError::Lost { provider, .. } if provider == "aws-kms"), "{error}");
}

#[test]
fn a_damaged_file_is_refused_or_has_the_same_keys() {
    let (_folder, path) = key_file();
    FileKeys::rotate(&path, now()).unwrap();
    let text = fs::read(&path).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let lists = ["wrapping", "signing"].map(|list| file[list].as_array().unwrap().clone());
    let secrets: Vec<_> = lists.iter().flatten().map(|key| key["secret"].as_str().unwrap()).collect();
    let keys = FileKeys::open(&path).unwrap().public_keys();
    let mut dice = Dice::new(SEED);
    let (mut refused, mut rounds) = (0, 0);
    let mut check = |changed: &[u8]| {
        fs::write(&path, changed).unwrap();
        rounds += 1;
        match FileKeys::open(&path) {
            // The time of creation may have become another one.
            Ok(found) => assert_eq!(found.public_keys(), keys),
            Err(error) => {
                refused += 1;
                let told = error.to_string();
                assert!(told.contains("keys.json is ") && secrets.iter().all(|secret| !told.contains(&secret[..8])));
            }
        }
    };
    for _ in 0..1_000 {
        let mut changed = text.clone();
        let at = dice.below(changed.len());
        changed[at] ^= 1 << dice.below(8);
        check(&changed);
        check(&text[..dice.below(text.len() - 2)]);
    }
    assert!(refused > rounds * 9 / 10, "{refused} of {rounds}");
}

#[test]
fn other_files_are_refused() {
    let (folder, path) = key_file();
    let text = fs::read_to_string(&path).unwrap();
    let reason_of = |text: &str| {
        fs::write(&path, text).unwrap();
        error_of(&path).to_string()
    };
    assert!(reason_of("").contains("it is not JSON, at line 1"));
    assert!(reason_of("{}").contains("it does not have what a key file has"));
    assert!(reason_of(&text.replace("service-keys", "service-locks")).contains("'format'"));
    assert!(reason_of(&text.replace("created_at", "made_at")).contains("does not have what"));
    assert!(reason_of(&text.replace("\"version\": 1", "\"version\": 2")).contains("version 2, which this version"));
    assert!(reason_of(&" ".repeat(2_000_000)).contains("over 1048576 bytes"));
    let file: Value = serde_json::from_str(&text).unwrap();
    for list in ["wrapping", "signing"] {
        let mut file = file.clone();
        file[list] = Value::Array(Vec::new());
        assert!(reason_of(&file.to_string()).contains("no key in"));
        let mut swapped: Value = serde_json::from_str(&text).unwrap();
        swapped[list][0]["secret"] = STANDARD.encode([1; 32]).into();
        assert!(reason_of(&swapped.to_string()).contains(&format!("the key 1 of '{list}'")));
    }
    assert!(error_of(folder.path()).to_string().contains("it is not a file"));
}

fn openssl(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let command = Command::new("openssl").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = command.ok()?;
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    Some(output.stdout)
}

/// The texts of RFC 8410 are tested in any case.
#[test]
fn openssl_agrees() {
    let Some(private) = openssl(&["genpkey", "-algorithm", "ed25519"], b"") else {
        println!("skipped: there is no openssl");
        return;
    };
    let pem = String::from_utf8(openssl(&["pkey", "-pubout"], &private).unwrap()).unwrap();
    assert_eq!(PublicKey::from_pem(&pem).unwrap().to_pem(), pem);

    let (folder, path) = key_file();
    let keys = FileKeys::open(&path).unwrap();
    let pem = keys.public_keys()[0].to_pem();
    assert_eq!(openssl(&["pkey", "-pubin", "-pubout"], pem.as_bytes()).unwrap(), pem.as_bytes());
    let signature = block_on(keys.sign(b"a message")).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (key, message) = (file("key", pem.as_bytes()), file("message", b"a message"));
    let signature = file("signature", &STANDARD.decode(signature.value).unwrap());
    let verify = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", &key, "-in", &message, "-sigfile", &signature];
    openssl(&verify, b"").unwrap();
}
