//! The key file, and copies of backups that are verified without a server.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clock::{Clock as _, SystemClock};
use serde_json::json;
use tempfile::TempDir;
use vault::{
    Dangling, FileKeys, Keys as _, MANIFEST_FILE, MANIFEST_FORMAT, MANIFEST_VERSION, Manifest, PartEntry, PartWriter,
    PublicKey, ServiceSummary, TypeSummary, key_context, part_context, part_name,
};

use super::{Ended, command};
use crate::process::{SERVICE_VARIABLES, Site, free_port};

/// This command, for the installation in `directory`.
async fn run(directory: &Path, arguments: &[&str]) -> Ended {
    let mut command = command(arguments).await;
    command.arg("--data-dir").arg(directory);
    Ended::of(command).await
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_key_file_is_created_once_rotated_and_shown() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let file = data.join("keys.json");
    run(&data, &["keys", "show"]).await.assert(1, "", "keys.json cannot be opened");
    run(&data, &["keys", "rotate"]).await.assert(1, "", "keys.json cannot be opened");
    let created = run(&data, &["keys", "init"]).await;
    created.assert(0, &format!("created {}", file.display()), "");
    created.assert(0, "-----END PUBLIC KEY-----\nKeep a copy of this file apart from the backups", "");
    assert_eq!((mode(&data), mode(&file)), (0o700, 0o600));
    let first = FileKeys::open(&file).unwrap().public_keys()[0];
    created.assert(0, &format!("public key {}, created at 2", first.key_id()), "");
    let before = std::fs::read(&file).unwrap();
    run(&data, &["keys", "init"]).await.assert(1, "", "exists, and keys are never overwritten");
    assert!(std::fs::read(&file).unwrap() == before);

    let rotated = run(&data, &["keys", "rotate"]).await;
    rotated.assert(0, "the old ones stay", "");
    let second = FileKeys::open(&file).unwrap().public_keys()[0];
    assert!(rotated.stdout.contains(&second.to_pem()) && !rotated.stdout.contains(&first.to_pem()));
    let pem = run(&data, &["keys", "show", "--pem"]).await;
    assert_eq!((pem.code, pem.stdout), (0, second.to_pem()));
    let shown = run(&data, &["keys", "show", "-o", "json"]).await.json();
    assert_eq!(shown["key_file"], json!(file));
    let keys: Vec<_> =
        shown["public_keys"].as_array().unwrap().iter().map(|key| (&key["pem"], &key["current"])).collect();
    assert_eq!(keys, [(&json!(second.to_pem()), &json!(true)), (&json!(first.to_pem()), &json!(false))]);
    let shown = run(&data, &["keys", "show"]).await;
    shown.assert(0, &format!("key file {}\npublic key {}", file.display(), second.key_id()), "");
    shown.assert(0, ", the current one\n-----BEGIN PUBLIC KEY-----", "");
    run(&data, &["keys", "show", "--pem", "-o", "json"]).await.assert(2, "", "cannot be used with");

    // Nothing that is secret is shown, whatever goes wrong.
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    run(&data, &["keys", "show"]).await.assert(1, "", "others may read or change");
}

#[tokio::test]
async fn the_key_file_is_where_its_setting_says() {
    let directory = tempfile::tempdir().unwrap();
    let (data, file) = (directory.path().join("data"), directory.path().join("elsewhere.json"));
    let mut init = command(&["keys", "init", "--data-dir"]).await;
    init.arg(&data).env("WORKFLOW__STORE__KEY_FILE", &file);
    Ended::of(init).await.assert(0, &format!("created {}", file.display()), "");
    assert!(file.exists() && !data.exists());
}

/// A trial needs no command before it; a server's keys are its operator's matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_creates_its_key_file_once() {
    let site = Site::new().await;
    let mut ports = Vec::new();
    for variable in SERVICE_VARIABLES {
        ports.push((variable, format!("http://127.0.0.1:{}", free_port().await)));
    }
    let file = site.data_dir().join("keys.json");
    let mut first = None;
    for command in ["server", "dev", "dev"] {
        let mut process = site.spawn_as(command, &ports);
        site.until_up(&mut process).await;
        process.kill().await.unwrap();
        if command == "server" {
            assert!(!file.exists());
            continue;
        }
        let found = FileKeys::open(&file).unwrap().public_keys();
        assert_eq!(*first.get_or_insert(found.clone()), found);
    }
}

/// A backup of two types in a folder, and the key that signed it.
async fn backup(keys: &FileKeys) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (tenant_id, backup_id) = ("tenant-123", "backup-1");
    let (key, data_key) = keys.new_data_key(&key_context(tenant_id, backup_id)).await.unwrap();
    let (mut parts, mut types) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
    for (service, entity_type, items) in [("auth", "account", [2, 1]), ("user", "profile", [1, 0])] {
        for (number, items) in (1..).zip(items.into_iter().filter(|items| *items > 0)) {
            let name = part_name(service, entity_type, number);
            let mut writer = PartWriter::new(&key, &part_context(tenant_id, backup_id, &name)).unwrap();
            (0..items).for_each(|_| writer.write_line(b"{}").unwrap());
            let mut stored = writer.take();
            let (rest, summary) = writer.finish().unwrap();
            stored.extend(rest);
            std::fs::write(folder.path().join(&name), &stored).unwrap();
            let (service, entity_type) = (service.to_owned(), entity_type.to_owned());
            let (bytes, stored_bytes, sha256) = (summary.bytes, summary.stored_bytes, summary.sha256);
            parts.push(PartEntry { name, service, entity_type, number, items, bytes, stored_bytes, sha256 });
        }
        let (entity_type, digest) = (entity_type.to_owned(), "ab".repeat(32));
        let items = items.into_iter().sum();
        types.entry(service).or_default().push(TypeSummary { entity_type, schema_version: 1, items, digest });
    }
    let services = types.into_iter().map(|(service, types)| ServiceSummary { service: service.to_owned(), types });
    let dangling = Dangling {
        service: "user".to_owned(),
        entity_type: "profile".to_owned(),
        id: "p1".to_owned(),
        field: "user_id".to_owned(),
        refers_to: "u9".to_owned(),
    };
    let manifest = Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        version: MANIFEST_VERSION,
        backup_id: backup_id.to_owned(),
        tenant_id: tenant_id.to_owned(),
        began_at: SystemClock.now(),
        created_at: SystemClock.now(),
        data_key,
        services: services.collect(),
        parts,
        dangling: vec![dangling],
        dangling_count: 1,
        changed_during: true,
        rounds: 1,
    };
    manifest.check().unwrap();
    std::fs::write(folder.path().join(MANIFEST_FILE), manifest.sign(keys).await.unwrap()).unwrap();
    folder
}

/// An installation with a key file, and its keys.
fn installation() -> (TempDir, FileKeys) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    FileKeys::init(&file, SystemClock.now()).unwrap();
    let keys = FileKeys::open(&file).unwrap();
    (directory, keys)
}

#[tokio::test]
async fn a_whole_backup_is_told_from_one_that_is_not() {
    let (site, keys) = installation();
    let folder = backup(&keys).await;
    let path = folder.path().display().to_string();
    let verify = ["backup", "verify", path.as_str()];
    let whole = run(site.path(), &verify).await;
    whole.assert(0, "backup backup-1 of the tenant tenant-123, made from 2", "");
    whole.assert(0, "SERVICE  TYPE     ITEMS  PARTS\nauth     account  3      2\nuser     profile  1      1\n", "");
    whole.assert(0, "no single moment.\nReferences to things that are not in the backup: 1.", "");
    whole.assert(0, &format!("{path} is whole: all 3 parts"), "");

    std::fs::write(folder.path().join("notes.txt"), "").unwrap();
    std::fs::remove_file(folder.path().join("user.profile.00001.part")).unwrap();
    let broken = run(site.path(), &verify).await;
    broken.assert(
        1,
        "problem: notes.txt does not belong to the backup\nproblem: user.profile.00001.part is missing\n",
        "",
    );
    broken.assert(1, "is not whole: 2 of 3 parts are as they were signed, 2 problems", "");
    std::fs::write(folder.path().join("notes\nit is whole"), "").unwrap();
    run(site.path(), &verify).await.assert(1, "problem: notes\u{fffd}it is whole does not belong", "");
    std::fs::remove_file(folder.path().join("notes\nit is whole")).unwrap();
    let document = run(site.path(), &[&verify[..], &["-o", "json"]].concat()).await;
    assert_eq!(document.code, 1);
    let document = document.json();
    assert_eq!((&document["whole"], &document["good_parts"]), (&json!(false), &json!(2)));
    assert_eq!(document["problems"][0]["name"], "notes.txt");
    let account = json!({ "service": "auth", "entity_type": "account", "items": 3, "parts": 2 });
    assert_eq!(document["types"][0], account);

    std::fs::remove_file(folder.path().join(MANIFEST_FILE)).unwrap();
    run(site.path(), &verify).await.assert(1, "", "manifest.json cannot be read");
}

#[tokio::test]
async fn the_key_comes_from_who_verifies() {
    let (_, keys) = installation();
    let folder = backup(&keys).await;
    let path = folder.path().display().to_string();
    let elsewhere = tempfile::tempdir().unwrap();
    let pem = |name: &str, key: &PublicKey| {
        let file = elsewhere.path().join(name);
        std::fs::write(&file, key.to_pem()).unwrap();
        file.display().to_string()
    };
    let right = pem("right.pem", &keys.public_keys()[0]);
    let (other_site, other_keys) = installation();
    let other = pem("other.pem", &other_keys.public_keys()[0]);
    let verify = |keys: &[&str]| {
        let keys: Vec<&str> = keys.iter().flat_map(|key| ["--key", *key]).collect();
        [&["backup", "verify", path.as_str()], &keys[..]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let verify = async |site: &Path, keys: &[&str]| {
        let arguments = verify(keys);
        run(site, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    // No key file, and none is needed.
    verify(elsewhere.path(), &[&right]).await.assert(0, "is whole", "");
    verify(elsewhere.path(), &[&other, &right]).await.assert(0, "is whole", "");
    verify(elsewhere.path(), &[&other]).await.assert(1, "", "which is none of the given public keys");
    verify(other_site.path(), &[]).await.assert(1, "", "which is none of the given public keys");
    verify(elsewhere.path(), &[]).await.assert(2, "", "or give --key with a public key");
    verify(elsewhere.path(), &["/nowhere.pem"]).await.assert(2, "", "--key /nowhere.pem: No such file");
    let secret = other_site.path().join("keys.json").display().to_string();
    verify(elsewhere.path(), &[&secret]).await.assert(2, "", "BEGIN PUBLIC KEY");
    // A key that came with the backup does not belong there.
    std::fs::write(folder.path().join("public.pem"), other_keys.public_keys()[0].to_pem()).unwrap();
    let beside = folder.path().join("public.pem").display().to_string();
    verify(elsewhere.path(), &[&beside]).await.assert(1, "", "which is none of the given public keys");
    verify(elsewhere.path(), &[&right]).await.assert(1, "problem: public.pem does not belong to the backup", "");
}
