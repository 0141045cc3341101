//! What a server or a worker reads, and what is refused.

use contracts::access::Access;
use workflows::RetryPolicy;

use super::{load, load_toml};
use crate::{ActivityPlace, Limits, StoreKind, Temporal};

#[test]
fn without_any_setting_it_is_open_on_loopback() {
    let settings = load(&[("PATH", "/bin")]).expect("the defaults are good");
    assert!(settings.host.is_loopback());
    assert_eq!((settings.port, settings.access), (8084, Access::Open));
    let Temporal { task_queue, max_concurrent_activities, max_concurrent_workflows, .. } = settings.temporal;
    assert_eq!(
        (task_queue.as_str(), max_concurrent_activities, max_concurrent_workflows),
        ("workflow-service-queue", 100, 50)
    );
}

#[test]
fn every_problem_is_listed_by_its_path() {
    let problems = load_toml(
        "[server]\nport = 0\nhost = \"no where\"\ncolour = 1\n[services]\nauth_service = \"http://auth.example\"\n\
         [auth]\nmode = \"jwt\"\nroles_claim = \"roles\"\n[workflows.retry_policy]\nmaximum_attempts = \"many\"\n\
         [engine]\nkind = \"stepfunctions\"",
    )
    .expect_err("eight problems")
    .to_string();
    for problem in [
        "server.port: expected 1 to 65535, got 0",
        "server.host: expected an IP address or a host name, got \"no where\"",
        "server.colour: there is no such setting",
        "services.auth_service: 'http://auth.example' must use https",
        "auth.mode: 'jwt' is not available yet",
        "auth.roles_claim: is read by functions only",
        "workflows.retry_policy.maximum_attempts: expected 1 or more, got \"many\"",
        "engine.kind: expected 'embedded' or 'temporal', got \"stepfunctions\"",
    ] {
        assert!(problems.contains(problem), "{problem} is missing in:\n{problems}");
    }
}

#[test]
fn a_worker_beside_the_deployment_needs_its_names() {
    let problems = |text: &str| load_toml(text).expect_err("much is missing").to_string();
    let missing = problems("[store]\nkind = \"dynamodb\"\n[temporal]\nactivities = \"lambda\"");
    for path in ["store.table: is missing", "store.bucket: is missing", "engine.function_prefix: is missing"] {
        assert!(missing.contains(path), "{path} is missing in:\n{missing}");
    }
    let alone = problems("[temporal]\nactivities = \"lambda\"");
    assert!(alone.contains("temporal.activities: 'lambda' needs store.kind = 'dynamodb'"), "{alone}");
    let useless = problems("[store]\ntable = \"t\"\n[engine]\nfunction_prefix = \"stack-\"");
    for path in ["store.table: is of no use without", "engine.function_prefix: is of no use without"] {
        assert!(useless.contains(path), "{path} is missing in:\n{useless}");
    }
    let whole = load_toml(
        "[store]\nkind = \"dynamodb\"\ntable = \"t\"\nbucket = \"b\"\n[engine]\nfunction_prefix = \"stack-\"\n\
         [temporal]\nactivities = \"lambda\"",
    )
    .expect("nothing is missing");
    assert_eq!(whole.store, StoreKind::Dynamodb { table: "t".to_owned(), bucket: "b".to_owned() });
    assert_eq!(whole.temporal.activities, ActivityPlace::InFunctions { prefix: "stack-".to_owned() });
}

#[test]
fn the_environment_overrides_and_durations_have_two_forms() {
    let settings = load(&[
        ("WORKFLOW__SERVER__PORT", "9999"),
        ("WORKFLOW__WORKFLOWS__DEFAULT_TIMEOUT", "5m"),
        ("WORKFLOW__WORKFLOWS__RETRY_POLICY__MAXIMUM_ATTEMPTS", "5"),
        ("WORKFLOW__WORKFLOWS__UNREACHABLE__INITIAL_INTERVAL", "3"),
        ("WORKFLOW__WORKFLOWS__UNREACHABLE__BACKOFF_COEFFICIENT", "1.25"),
        ("WORKFLOW__WORKFLOWS__UNREACHABLE__MAXIMUM_INTERVAL", "1m"),
        ("WORKFLOW__WORKFLOWS__UNREACHABLE__MAXIMUM_ATTEMPTS", "50"),
        ("SSL_CERT_FILE", "/roots.pem"),
    ])
    .expect("good");
    assert_eq!((settings.port, settings.default_timeout.as_secs()), (9999, 300));
    assert_eq!((settings.retry_policies.answered.maximum_attempts, settings.has_own_roots), (5, true));
    let unreachable = RetryPolicy {
        initial_interval_seconds: 3,
        backoff_coefficient: 1.25,
        maximum_interval_seconds: 60,
        maximum_attempts: 50,
    };
    assert_eq!(settings.retry_policies.unreachable, unreachable);
}

#[test]
fn who_mistypes_a_setting_is_told_what_may_be_meant() {
    let problems = load_toml("[workflow]\nbatch_size = 5\n[server]\nprot = 1").expect_err("two are unknown");
    let expected = [
        "server.prot: there is no such setting; server.port may be meant",
        "workflow.batch_size: there is no such setting; workflows.batch_size may be meant",
    ];
    assert_eq!(problems.problems(), expected);
}

#[test]
fn a_longest_wait_is_longer_than_the_first() {
    for (variable, section) in [("RETRY_POLICY", "retry_policy"), ("UNREACHABLE", "unreachable")] {
        let variable = format!("WORKFLOW__WORKFLOWS__{variable}__INITIAL_INTERVAL");
        let problems = load(&[(&variable, "2m")]).expect_err("it is not");
        let expected = format!("workflows.{section}.maximum_interval: must be longer than initial_interval");
        assert_eq!(problems.problems(), [expected]);
    }
}

#[test]
fn another_address_needs_a_word_to_be_open() {
    let everywhere = ("WORKFLOW__SERVER__HOST", "0.0.0.0");
    assert!(matches!(load(&[everywhere]).expect("it starts").access, Access::Closed(_)));
    let open = load(&[everywhere, ("WORKFLOW__AUTH__ALLOW_OPEN", "true")]).expect("it starts");
    assert_eq!(open.access, Access::Open);
    assert!(load(&[everywhere, ("WORKFLOW__AUTH__MODE", "off")]).is_err());
}

#[test]
fn a_tenant_may_have_half_of_what_may_be_open() {
    let limits = |text: &str| load_toml(text).map(|settings| settings.limits);
    assert_eq!(limits(""), Ok(Limits { open_executions: 2_000, open_executions_per_tenant: 500 }));
    let half = Limits { open_executions: 7, open_executions_per_tenant: 3 };
    assert_eq!(limits("[limits]\nopen_executions = 7\nopen_executions_per_tenant = 3"), Ok(half));
    for (text, path) in [
        (
            "[limits]\nopen_executions = 999",
            "limits.open_executions_per_tenant: must be at most half of open_executions",
        ),
        ("[limits]\nopen_executions = 0", "limits.open_executions: expected 1 or more, got 0"),
        ("[limits]\nopen_executions_per_tenant = \"no\"", "limits.open_executions_per_tenant: expected 1 or more, got"),
    ] {
        let problems = limits(text).expect_err("it cannot be used");
        assert!(problems.problems().len() == 1 && problems.problems()[0].starts_with(path), "{problems}");
    }
}
