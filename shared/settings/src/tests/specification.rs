//! The file of the specification, taken as it is.

use std::path::Path;
use std::time::Duration;

use contracts::EngineKind;
use contracts::access::Access;
use downstream::Service;
use workflows::{RetryPolicies, RetryPolicy};

use super::load_toml;
use crate::{Host, Origin, Settings, Sources, StoreKind, Survey};

fn file() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/specification.toml"))
}

fn sources() -> Sources {
    Sources::new(Some(file()), [("PATH", "/bin")])
}

#[test]
fn every_key_is_read() {
    let settings = Settings::of(&sources()).expect("the file is accepted as it is");
    assert_eq!(Some(settings.host), Host::parse("0.0.0.0"));
    assert_eq!((settings.port, settings.request_timeout), (8084, Duration::from_secs(30)));
    let ports = settings.service_urls.map(|url| url.rsplit_once(':').map(|(_, port)| port.to_owned()));
    assert_eq!(ports.map(Option::unwrap), ["8081", "8082", "8085", "8083", "8080"]);
    assert_eq!((settings.default_timeout, settings.batch_size), (Duration::from_secs(300), 100));
    assert_eq!(settings.retry_policies, RetryPolicies::default());
    let temporal = settings.temporal;
    assert_eq!(temporal.server.url.as_deref(), Some("http://localhost:7233"));
    assert_eq!(temporal.server.namespace.as_deref(), Some("default"));
    assert_eq!(temporal.server.identity.as_deref(), Some("workflow-service-worker"));
    assert_eq!(temporal.task_queue, "workflow-service-queue");
    assert_eq!((temporal.max_concurrent_activities, temporal.max_concurrent_workflows), (100, 50));
}

#[test]
fn every_key_has_an_effect_of_its_own() {
    let text = std::fs::read_to_string(file()).expect("the fixture");
    let other = [
        ("host = \"0.0.0.0\"", "host = \"localhost\""),
        ("port = 8084", "port = 9084"),
        ("timeout_seconds = 30", "timeout_seconds = 31"),
        ("http://localhost:7233", "https://temporal.example.com:7233"),
        ("namespace = \"default\"", "namespace = \"other\""),
        ("\"workflow-service-queue\"", "\"other-queue\""),
        ("\"workflow-service-worker\"", "\"other-worker\""),
        ("max_concurrent_activities = 100", "max_concurrent_activities = 7"),
        ("max_concurrent_workflows = 50", "max_concurrent_workflows = 8"),
        ("http://localhost:8081", "https://auth.example.com"),
        ("http://localhost:8082", "https://user.example.com"),
        ("http://localhost:8085", "https://tenant.example.com"),
        ("http://localhost:8083", "https://file.example.com"),
        ("http://localhost:8080", "https://api.example.com"),
        ("\"300s\"", "\"5m 1s\""),
        ("batch_size = 100", "batch_size = 9"),
        ("\"1s\"", "\"2s\""),
        ("backoff_coefficient = 2.0", "backoff_coefficient = 3"),
        ("\"60s\"", "\"2m\""),
        ("maximum_attempts = 3", "maximum_attempts = 4"),
    ];
    assert_eq!(other.len(), text.lines().filter(|line| line.contains(" = ")).count(), "one for each key");
    let text = other.iter().fold(text, |text, (old, new)| {
        assert_eq!(text.matches(old).count(), 1, "{old}");
        text.replace(old, new)
    });
    let settings = load_toml(&text).expect("good");
    assert_eq!(settings.host.to_string(), "127.0.0.1");
    assert_eq!(settings.access, Access::Open);
    assert_eq!((settings.port, settings.request_timeout), (9084, Duration::from_secs(31)));
    let names = ["auth", "user", "tenant", "file", "api"];
    for (service, name) in Service::ALL.into_iter().zip(names) {
        assert_eq!(settings.service_url(service), format!("https://{name}.example.com"));
    }
    assert_eq!((settings.default_timeout, settings.batch_size), (Duration::from_secs(301), 9));
    let policy = RetryPolicy {
        initial_interval_seconds: 2,
        backoff_coefficient: 3.0,
        maximum_interval_seconds: 120,
        maximum_attempts: 4,
    };
    assert_eq!(settings.retry_policies, RetryPolicies { answered: policy, ..RetryPolicies::default() });
    let temporal = settings.temporal;
    assert_eq!(temporal.server.url.as_deref(), Some("https://temporal.example.com:7233"));
    assert_eq!(temporal.server.namespace.as_deref(), Some("other"));
    assert_eq!(temporal.server.identity.as_deref(), Some("other-worker"));
    assert_eq!(temporal.task_queue, "other-queue");
    assert_eq!((temporal.max_concurrent_activities, temporal.max_concurrent_workflows), (7, 8));
}

#[test]
fn it_names_a_temporal_server_and_runs_on_the_embedded_engine_until_told_otherwise() {
    let settings = Settings::of(&sources()).expect("good");
    assert_eq!((settings.engine, &settings.store), (EngineKind::Embedded, &StoreKind::Sqlite));
    assert_eq!(settings.unused_temporal(), Some("http://localhost:7233"));
    for engine in ["embedded", "temporal"] {
        let chosen = Settings::of(&sources().with_option("--engine", "engine.kind", Some(engine))).expect("good");
        assert_eq!((chosen.engine.as_str(), chosen.unused_temporal()), (engine, None));
    }
    assert_eq!(load_toml("").expect("good").unused_temporal(), None);
}

#[test]
fn it_says_what_the_defaults_are_but_for_the_address_and_what_temporal_has_defaults_for() {
    let defaults = Survey::new(&Sources::new(None, [("PATH", "/bin")])).effective;
    for given in Survey::new(&sources()).effective.into_iter().filter(|setting| setting.origin == Origin::File) {
        let default = defaults.iter().find(|default| default.path == given.path).and_then(|found| found.value.clone());
        let text = |value: &toml::Value| value.to_string().replace("localhost", "127.0.0.1").replace(['"', 's'], "");
        match given.path {
            "server.host" | "temporal.server_url" | "temporal.namespace" | "temporal.worker_identity" => {}
            path => assert_eq!(default.as_ref().map(text), given.value.as_ref().map(text), "{path}"),
        }
    }
}
