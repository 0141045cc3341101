//! What values may be, and that nothing secret is shown of those that are refused.

use std::time::Duration;

use super::{load_toml, survey};

fn problems(text: &str) -> String {
    load_toml(text).expect_err(text).to_string()
}

#[test]
fn durations_are_whole_seconds_however_they_are_written() {
    for (value, seconds) in [("300", 300), ("\"300\"", 300), ("\"300s\"", 300), ("\"5m\"", 300), ("\"1h 1s\"", 3_601)] {
        let settings = load_toml(&format!("[workflows]\ndefault_timeout = {value}")).expect(value);
        assert_eq!(settings.default_timeout, Duration::from_secs(seconds), "{value}");
    }
    for value in ["\"500ms\"", "\"1500ms\"", "\"1.5s\"", "0", "\"0s\"", "\"-1s\"", "1.5", "\"soon\"", "\"\"", "true"] {
        let sections = [
            ("server", "timeout_seconds"),
            ("workflows", "default_timeout"),
            ("workflows.retry_policy", "initial_interval"),
            ("workflows.retry_policy", "maximum_interval"),
            ("workflows.unreachable", "initial_interval"),
            ("workflows.unreachable", "maximum_interval"),
        ];
        for (section, key) in sections {
            let problems = problems(&format!("[{section}]\n{key} = {value}"));
            let expected = format!("{section}.{key}: expected whole seconds");
            assert!(problems.contains(&expected) && problems.lines().count() == 2, "{value}: {problems}");
        }
    }
}

#[test]
fn a_batch_has_one_item_or_more() {
    for value in ["0", "-1", "\"many\"", "5000000000"] {
        let problems = problems(&format!("[workflows]\nbatch_size = {value}"));
        assert!(problems.contains("workflows.batch_size: expected 1 or more"), "{problems}");
    }
}

#[test]
fn urls_with_more_than_a_place_are_refused_by_name_and_without_their_secrets() {
    let text = "[services]\nauth_service = \"https://auth.example.com?key=hunter2\"\n\
                user_service = \"https://user.example.com/#hunter2\"\n\
                tenant_service = \"https://me:hunter2@tenant.example.com\"\n\
                file_service = \"http://me:hunt er2@file.example.com:80:80\"\n\
                [temporal]\nserver_url = \"me:hunter2@temporal.example.com:7233\"\n\
                [server]\nport = \"http://me:hunter2@example.com\"";
    let survey = survey(text, &[]);
    let problems = survey.settings.expect_err("six problems").to_string();
    for problem in [
        "services.auth_service: 'https://auth.example.com?***' has a query",
        "services.user_service: 'https://user.example.com/#***' has a fragment",
        "services.tenant_service: 'https://***@tenant.example.com' has user information",
        "services.file_service: 'http://***@file.example.com:80:80' has user information",
        "temporal.server_url: expected the address of a server",
        "got \"***@temporal.example.com:7233\"",
        "server.port: expected 1 to 65535",
    ] {
        assert!(problems.contains(problem), "{problem} is missing in:\n{problems}");
    }
    let shown = format!("{problems}{:?}", survey.effective);
    assert!(!shown.contains("hunt"), "{shown}");
}

#[test]
fn a_temporal_server_has_an_address() {
    for good in
        ["localhost:7233", "ns.acct.tmprl.cloud:7233", "[::1]:7233", "http://127.0.0.1:7233", "https://t.example"]
    {
        let settings = load_toml(&format!("[temporal]\nserver_url = \"{good}\"")).expect(good);
        assert_eq!(settings.temporal.server.url.as_deref(), Some(good));
    }
    for bad in ["", "localhost", "a b", "ftp://host:1", "http://", "host:port", "host:7233?tls=1", "host:7233#a"] {
        let problems = problems(&format!("[temporal]\nserver_url = \"{bad}\""));
        assert!(problems.contains("temporal.server_url: expected the address of a server"), "{bad}: {problems}");
    }
}
