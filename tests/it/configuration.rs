//! The settings of the specification's file have their effects, and `config` shows them all.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use http::StatusCode;
use reference_services::ServiceKind;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use workflow_service::{Settings, Surroundings, Worker};

use crate::process::{SERVICE_VARIABLES, binary};
use crate::world::{Script, World, full_request, run};

const START: &str = "/api/v1/workflows/user-onboarding";

/// The file of the specification.
pub(crate) fn specification() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/settings/fixtures/specification.toml")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

async fn config(arguments: &[&OsStr], variables: &[(&str, OsString)]) -> Output {
    let mut command = Command::new(binary().await);
    command.arg("config").args(arguments).envs(variables.iter().cloned()).output().await.unwrap()
}

/// A settings file with this content.
fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[tokio::test]
async fn what_config_prints_is_a_file_that_says_the_same() {
    let specification = specification();
    let arguments = ["--config".as_ref(), specification.as_os_str(), "--data-dir".as_ref(), "/srv/data".as_ref()];
    let variables = [("WORKFLOW__SERVER__PORT", "9000".into())];
    let first = config(&arguments, &variables).await;
    assert_eq!((first.status.code(), text(&first.stderr)), (Some(0), ""));
    let lines: Vec<String> =
        text(&first.stdout).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "[server]",
        "host = \"0.0.0.0\" # file",
        "port = 9000 # WORKFLOW__SERVER__PORT",
        "[workflows.retry_policy]",
        "maximum_interval = \"60s\" # file",
        "kind = \"embedded\" # default",
        "data_dir = \"/srv/data\" # --data-dir",
        "# key_file is not set",
        "# table is not set",
    ] {
        assert!(lines.iter().any(|printed| printed == line), "{line} is missing in {lines:#?}");
    }
    let printed = file(text(&first.stdout));
    let second = config(&["--config".as_ref(), printed.path().as_os_str()], &[]).await;
    let values = |output: &Output| text(&output.stdout).parse::<toml::Table>().unwrap();
    assert_eq!(values(&first), values(&second));
}

#[tokio::test]
async fn what_is_wrong_is_listed_beside_what_is_in_effect_and_without_secrets() {
    let wrong = file(
        "[server]\nport = 0\ntimeout_seconds = \"500ms\"\n[services]\nauth_service = \"https://me:hunter2@a.example\"\n\
         [colours]\nsky = \"hunter2\"\n",
    );
    let given = ["--config".as_ref(), wrong.path().as_os_str()];
    let people = config(&given, &[]).await;
    assert_eq!(people.status.code(), Some(1));
    let (shown, said) = (text(&people.stdout), text(&people.stderr));
    for problem in [
        "server.port: expected 1 to 65535",
        "server.timeout_seconds: expected whole seconds",
        "services.auth_service: 'https://***@a.example' has user information",
        "colours.sky: there is no such setting",
    ] {
        assert!(said.contains(problem), "{problem} is missing in {said}");
    }
    assert!(
        shown.contains("# port = 0 (file): expected 1 to 65535") && shown.contains("maximum_attempts = 3 "),
        "{shown}"
    );

    let programs = config(&[&given[..], &["-o".as_ref(), "json".as_ref()]].concat(), &[]).await;
    assert_eq!((programs.status.code(), text(&programs.stderr)), (Some(1), ""));
    let document: Value = serde_json::from_slice(&programs.stdout).unwrap();
    assert_eq!(document["problems"].as_array().unwrap().len(), 4);
    let setting = |path: &str| {
        let settings = document["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["path"] == path).unwrap().clone()
    };
    let port = json!({
        "path": "server.port", "value": 0, "origin": "file", "origin_name": wrong.path(),
        "problem": "expected 1 to 65535, got 0",
    });
    assert_eq!(setting("server.port"), port);
    let attempts = json!({
        "path": "workflows.retry_policy.maximum_attempts", "value": 3, "origin": "default", "origin_name": null,
        "problem": null,
    });
    assert_eq!(setting("workflows.retry_policy.maximum_attempts"), attempts);
    for output in [&people, &programs] {
        assert!(!format!("{}{}", text(&output.stdout), text(&output.stderr)).contains("hunter2"));
    }
}

#[tokio::test]
async fn variables_that_are_not_utf_8_are_refused_if_they_are_settings_and_ignored_otherwise() {
    let odd = OsStr::from_bytes(b"\xff");
    let others = [("LESSOPEN", odd.to_owned()), ("TERM", odd.to_owned())];
    assert_eq!(config(&[], &others).await.status.code(), Some(0));
    let refused = config(&[], &[("WORKFLOW__SERVER__HOST", odd.to_owned())]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("WORKFLOW__SERVER__HOST: its value is not UTF-8"));
    assert!(!text(&refused.stderr).contains("panicked"), "{}", text(&refused.stderr));
}

/// Starts it with the specification's file; what it says until it has named the Temporal server.
async fn says_of_temporal(command: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let port = crate::peers::free_port();
    let services = SERVICE_VARIABLES.map(|name| (name, format!("http://localhost:{}", crate::peers::free_port())));
    let mut process = Command::new(binary().await)
        .args([command, "--config"])
        .arg(specification())
        .arg("--data-dir")
        .arg(directory.path())
        .env("WORKFLOW__SERVER__PORT", port.to_string())
        .env("WORKFLOW__SERVER__HOST", "localhost")
        .envs(services)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("which the settings name") {
        said.push_str(&lines.next_line().await.unwrap().expect("it goes on"));
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://127.0.0.1:{port}/health")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn the_specifications_file_starts_a_server_that_says_how_to_use_its_temporal_server() {
    let hint = "To run them on the Temporal server http://localhost:7233, which the settings name, ";
    let server = says_of_temporal("server").await;
    assert!(server.contains(&format!("{hint}set engine.kind")), "{server}");
    let dev = says_of_temporal("dev").await;
    assert!(dev.contains(&format!("{hint}use `dev --engine temporal`")), "{dev}");
}

#[tokio::test]
async fn temporals_settings_reach_the_worker() {
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::read_to_string(specification()).unwrap();
    let file = file.replace("activities = 100", "activities = 7").replace("workflows = 50", "workflows = 8");
    let file = file.replace("namespace = \"default\"", "namespace = \"team\"");
    let settings = file_settings(&file, directory.path());
    let worker = Worker::open(&settings, Surroundings::real().unwrap()).await.unwrap();
    assert_eq!((worker.options.max_concurrent_activities, worker.options.max_concurrent_workflows), (7, 8));
    assert_eq!(worker.options.task_queue, "workflow-service-queue");
    let connector = worker.connector;
    assert_eq!((connector.address(), connector.namespace()), ("http://localhost:7233", "team"));
    assert_eq!(connector.identity(), "workflow-service-worker");
}

fn file_settings(content: &str, data_dir: &Path) -> Settings {
    let file = file(content);
    let mut settings = Settings::load(Some(file.path()), std::iter::empty::<(&str, &str)>()).unwrap();
    settings.data_dir = data_dir.to_owned();
    settings
}

/// A world in which the file service fails for good, with these settings.
async fn failing_world(settings: &[(&str, &str)]) -> World {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let world = World::with(Script::default(), &settings).await;
    let fault = json!([{ "route": "/api/v1/workspaces", "fault": { "kind": "status", "status": 503 } }]);
    world.services.set_faults(ServiceKind::File, serde_json::from_value(fault).unwrap());
    world
}

#[test]
fn the_retry_policy_and_the_deadline_are_kept() {
    run(async {
        let world = failing_world(&[("WORKFLOWS__RETRY_POLICY__MAXIMUM_ATTEMPTS", "2")]).await;
        let ended = world.until_ended(&world.start(&full_request()).await).await;
        assert!(ended.error.as_deref().is_some_and(|error| error.contains("(2 attempts)")), "{ended:?}");

        let taken = async |timeout: &str| {
            let many = [
                ("WORKFLOWS__RETRY_POLICY__MAXIMUM_ATTEMPTS", "1000"),
                ("WORKFLOWS__RETRY_POLICY__INITIAL_INTERVAL", "20s"),
                ("WORKFLOWS__RETRY_POLICY__MAXIMUM_INTERVAL", "21s"),
                ("WORKFLOWS__DEFAULT_TIMEOUT", timeout),
            ];
            let world = failing_world(&many).await;
            let started_at = world.clock.now();
            let ended = world.until_ended(&world.start(&full_request()).await).await;
            assert_eq!(ended.status, contracts::Status::TimedOut);
            world.clock.now().duration_since(started_at).as_secs()
        };
        // What was done is undone after the deadline.
        let (short, long) = (taken("5m").await, taken("1200s").await);
        assert!((300..1_200).contains(&short) && (1_200..2_400).contains(&long), "{short} s, {long} s");
    });
}

#[test]
fn the_intervals_are_in_the_state_machines() {
    let policies = ["retry_policy", "unreachable"].map(|section| {
        format!(
            "[workflows.{section}]\ninitial_interval = \"7s\"\nbackoff_coefficient = 3\nmaximum_interval = \"2m\"\n\
             maximum_attempts = 5\n"
        )
    });
    let policies = file_settings(&policies.concat(), Path::new("unused")).retry_policies;
    for workflow in &workflows::ALL {
        let machine: Value = serde_json::from_str(&workflow.definition(&policies)).unwrap();
        let step = machine["States"].as_object().unwrap().values().find(|state| state["Type"] == "Task").unwrap();
        for (name, retrier) in [("ServiceUnavailable", &step["Retry"][2]), ("ServiceUnreachable", &step["Retry"][3])] {
            assert_eq!(retrier["ErrorEquals"][0], name);
            let interval = (&retrier["IntervalSeconds"], &retrier["MaxDelaySeconds"]);
            assert_eq!(interval, (&json!(7), &json!(120)), "{retrier}");
            assert_eq!((retrier["BackoffRate"].as_f64(), &retrier["MaxAttempts"]), (Some(3.0), &json!(4)), "{retrier}");
        }
    }
}

#[test]
fn a_request_takes_no_longer_than_configured() {
    run(async {
        let waits = async |timeout: &str| {
            let slow = ("WORKFLOWS__RETRY_POLICY__MAXIMUM_ATTEMPTS", "1000");
            let world = failing_world(&[("SERVER__TIMEOUT_SECONDS", timeout), slow]).await;
            let asked_at = world.clock.now();
            let (status, _) = world.post(START, &full_request(), &[("prefer", "wait=20")]).await;
            assert_eq!(status, StatusCode::ACCEPTED);
            world.clock.now().duration_since(asked_at).as_secs()
        };
        assert!((1..=5).contains(&waits("5").await));
        assert_eq!(waits("30s").await, 20);
    });
}

#[test]
fn each_service_is_called_where_its_setting_says() {
    run(async {
        for (kind, name) in ServiceKind::ALL.into_iter().zip(SERVICE_VARIABLES) {
            let setting = name.strip_prefix("WORKFLOW__").unwrap();
            let world = World::with(Script::default(), &[(setting, "http://127.0.0.1:9".to_owned())]).await;
            let ended = world.until_ended(&world.start(&full_request()).await).await;
            let result = ended.result.unwrap_or_default();
            match ended.error {
                Some(error) => {
                    let away = format!(" from {}: ", kind.name());
                    assert!(error.contains(&away) && error.contains("could not be reached"), "{name}: {error}");
                }
                // Nothing fails for the want of a mail.
                None => {
                    let warning = result["warnings"][0].as_str().unwrap_or_default();
                    assert!(kind == ServiceKind::Notifications && warning.contains("mail"), "{name}: {result}");
                }
            }
        }
    });
}
