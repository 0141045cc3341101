//! `workflow-service doctor`: what it says beside a server, without one, and of what is broken.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::process::{Site, binary, pause};
use crate::temporal::{self, fresh};

/// What it says about this data directory: the exit code, and outcome and detail by check.
async fn doctor(directory: &Path, variables: &[(&str, String)]) -> (Option<i32>, BTreeMap<String, (String, String)>) {
    let mut command = Command::new(binary().await);
    command.args(["doctor", "-o", "json", "--data-dir"]).arg(directory);
    let output = command.envs(variables.iter().cloned()).output().await.unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = document["findings"].as_array().unwrap().iter();
    let by_check =
        findings.map(|finding| (word(finding, "check"), (word(finding, "outcome"), word(finding, "detail"))));
    (output.status.code(), by_check.collect())
}

/// Every file below, with its size and the time of its last change.
fn files(directory: &Path) -> BTreeMap<String, (u64, i64, i64)> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.metadata().unwrap();
        files.insert(path.display().to_string(), (metadata.size(), metadata.mtime(), metadata.mtime_nsec()));
        if metadata.is_dir() {
            files.extend(self::files(&path));
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn it_finds_nothing_wrong_beside_a_server_and_writes_nothing() {
    let site = Site::new().await;
    std::fs::set_permissions(site.data_dir(), Permissions::from_mode(0o700)).unwrap();
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let before = files(site.data_dir());
    let (code, said) = doctor(site.data_dir(), site.environment()).await;
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(said.values().all(|(outcome, _)| outcome != "problem"), "{said:#?}");
    for (check, detail) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("settings", "6 from variables"),
        ("data directory", "is writable and private"),
        ("disk", " MiB are free"),
        ("lock", "is in use by "),
        ("database", "of format "),
        ("port", "is served by workflow-service"),
        ("auth", " answers in "),
        ("notifications", " answers in "),
        ("clock", "as the services have it"),
    ] {
        let (outcome, found) = &said[check];
        assert!(found.contains(detail), "{check}: {found}");
        assert!(outcome == "ok" || check == "disk", "{check}: {outcome}, {found}");
    }
    let (outcome, found) = &said["key file"];
    assert!(outcome == "warning" && found.starts_with("there is no "), "{outcome}, {found}");
    assert_eq!(files(site.data_dir()), before);
    server.kill().await.unwrap();
    let (code, said) = doctor(site.data_dir(), site.environment()).await;
    assert_eq!(code, Some(0), "{said:#?}");
    assert!(said["port"].1.ends_with("is free") && !said.contains_key("lock"), "{said:#?}");
    let keys = site.data_dir().join("keys.json");
    for (text, mode, outcome) in [("{}", 0o600, "problem"), ("", 0o644, "problem"), ("new", 0o600, "ok")] {
        match text {
            "new" => vault::FileKeys::init(&keys, clock::Clock::now(&clock::SystemClock)).unwrap(),
            text => std::fs::write(&keys, text).unwrap(),
        }
        std::fs::set_permissions(&keys, Permissions::from_mode(mode)).unwrap();
        let (_, said) = doctor(site.data_dir(), site.environment()).await;
        assert_eq!(said["key file"].0, outcome, "{said:#?}");
        if outcome == "problem" {
            std::fs::remove_file(&keys).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_a_problem_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let missing = directory.path().join("data");
    let (code, said) = doctor(&missing, &[("WORKFLOW__SERVER__PORT", port)]).await;
    assert_eq!(code, Some(1));
    assert_eq!(said["port"].0, "problem", "{said:#?}");
    assert!(!missing.exists());

    let mut command = Command::new(binary().await);
    command.args(["doctor"]).env("WORKFLOW__SERVER__PORT", "0").env("WORKFLOW__STORE__COLOUR", "red");
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let problems: Vec<&str> = text.lines().filter(|line| line.starts_with("problem  settings")).collect();
    assert_eq!(problems.len(), 2, "{text}");
    assert!(problems.iter().all(|line| line.contains("; correct it: `workflow-service config`")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn few_open_files_are_a_problem() {
    let binary = binary().await;
    let output =
        Command::new("bash").args(["-c", "ulimit -n 100; exec \"$0\" doctor"]).arg(binary).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("problem  open files      at most 100; raise the limit"), "{text}");
}

/// Server, namespace, task queue and identity are as the settings say: the server lists the worker by them.
#[test]
fn it_asks_temporal_for_its_version_and_workers() {
    temporal::run(|server| async move {
        let site = Site::new().await;
        let settings = [
            ("WORKFLOW__ENGINE__KIND", "temporal".to_owned()),
            ("WORKFLOW__TEMPORAL__SERVER_URL", server.to_owned()),
            ("WORKFLOW__TEMPORAL__TASK_QUEUE", fresh("doctor")),
            ("WORKFLOW__TEMPORAL__WORKER_IDENTITY", "worker-of-the-test".to_owned()),
        ];
        let variables = [site.environment(), &settings].concat();
        let (code, said) = doctor(site.data_dir(), &variables).await;
        assert_eq!((code, said["worker"].0.as_str()), (Some(0), "warning"), "{said:#?}");
        let (outcome, detail) = &said["temporal"];
        assert!(outcome == "ok" && detail.starts_with("server 1.") && detail.contains(server), "{detail}");
        let mut worker = site.spawn_as("worker", &settings);
        for _ in 0..100 {
            let (_, said) = doctor(site.data_dir(), &variables).await;
            if said["worker"].0 == "ok" {
                assert!(said["worker"].1.contains("worker-of-the-test work for the task queue doctor"), "{said:#?}");
                worker.kill().await.unwrap();
                return;
            }
            pause(std::time::Duration::from_millis(100)).await;
        }
        panic!("the server does not list the worker");
    });
}
