//! What the template gives functions is what they read, and fits.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::{functions, template};
use crate::{aws, lambda};

/// What the template's parameters and resources become, with Temporal.
fn deployed(value: &Value) -> String {
    let Value::Object(function) = value else {
        return value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    };
    match function.iter().next().map(|(name, value)| (name.as_str(), value)).unwrap() {
        ("!If", parts) => deployed(&parts[1]),
        // A key, the only kind of resource whose ARN is asked for.
        ("!GetAtt", _) => format!("arn:aws:kms:ap-southeast-1:123456789012:key/{:036}", 0),
        ("!Sub", text) => [
            ("${AWS::Partition}", "aws"),
            ("${AWS::Region}", "us-east-1"),
            ("${AWS::AccountId}", "123456789012"),
            ("${AWS::StackName}", "workflow-service-dev"),
            ("${BackupEveryHours}", "24"),
        ]
        .iter()
        .fold(text.as_str().unwrap().to_owned(), |text, (name, value)| text.replace(name, value)),
        ("!Ref", resource) => match resource.as_str().unwrap() {
            "Engine" => "temporal".to_owned(),
            "Stage" => "dev".to_owned(),
            "DefaultTimeoutSeconds"
            | "LongestWaitSeconds"
            | "OpenExecutionsPerTenant"
            | "RetentionDays"
            | "BackupKeepDays"
            | "BackupKeepCount" => "90".to_owned(),
            "ComplianceNotify" => "officer@example.com".to_owned(),
            "TemporalServerUrl" => "https://temporal.example.com:7233".to_owned(),
            url if url.ends_with("Url") => "https://service.example.com".to_owned(),
            _ => "deployed".to_owned(),
        },
        other => panic!("{other:?} has no rule: add one"),
    }
}

/// The environment of all functions.
pub(super) fn environment(template: &Value) -> &serde_json::Map<String, Value> {
    template["Globals"]["Function"]["Environment"]["Variables"].as_object().unwrap()
}

/// Whether it is the function of an activity that uses the installation's keys.
pub(super) fn has_keys(binary: &str) -> bool {
    activities::ALL.iter().any(|known| known.function.keys && known.name.replace('_', "-") == binary)
}

/// What the function of an activity with keys has besides.
fn environment_with_keys() -> serde_json::Map<String, Value> {
    let names = [("KMS_KEY", "BackupKey"), ("SIGNING_KEY", "BackupSigningKey")];
    let arn = |key: &str| json!({ "!GetAtt": format!("{key}.Arn") });
    names.map(|(name, key)| (format!("WORKFLOW__KEYS__{name}"), arn(key))).into_iter().collect()
}

/// What the function that makes backups on its own has besides: nothing where no tenant has any.
fn environment_with_schedule() -> serde_json::Map<String, Value> {
    let if_any = |value: Value| json!({ "!If": ["HasBackupSchedule", value, { "!Ref": "AWS::NoValue" }] });
    let parameter = |name: &str| json!({ "!Ref": name });
    let every = json!({ "!Sub": "${BackupEveryHours}h" });
    [
        ("TENANTS", parameter("BackupTenants")),
        ("EVERY", every),
        ("KEEP_DAYS", parameter("BackupKeepDays")),
        ("KEEP_COUNT", parameter("BackupKeepCount")),
    ]
    .into_iter()
    .map(|(name, value)| (format!("WORKFLOW__BACKUPS__{name}"), if_any(value)))
    .collect()
}

/// Lambda takes 4 KB, whatever the parameters are.
#[test]
fn the_environment_has_room() {
    let template = template();
    let parameters = template["Parameters"].as_object().unwrap();
    let longest = |value: &Value| match value.pointer("/!Ref").or(value.pointer("/!If/1/!Ref")) {
        // A bucket's name has at most 63 characters, a table's those of a stack and some more.
        Some(name) if !parameters.contains_key(name.as_str().unwrap()) => 64,
        Some(_) => 120,
        // A stack's name has at most 31 characters, a region's 20.
        None => deployed(value).len() + 31 + 20,
    };
    let size: usize = environment(&template)
        .iter()
        .chain(&environment_with_keys())
        .map(|(name, value)| name.len() + longest(value))
        .sum();
    println!("{size} bytes of 4,096");
    assert!(size <= 4_096, "{size} bytes");
    for (binary, (_, properties)) in functions(&template) {
        let own = properties.get("Environment").map(|own| own["Variables"].clone());
        let expected = match binary.as_str() {
            "keep-backups" => Some(environment_with_schedule().into()),
            "notify-due-requests" => {
                let to = json!({ "!If": ["HasComplianceNotify", { "!Ref": "ComplianceNotify" }, { "!Ref": "AWS::NoValue" }] });
                Some(json!({ "WORKFLOW__COMPLIANCE__NOTIFY": to }))
            }
            _ => has_keys(&binary).then(|| environment_with_keys().into()),
        };
        assert_eq!(own, expected, "{binary}: what it has besides the environment of all");
    }
}

/// A function that misses a variable ends before it asks for its first event.
#[test]
fn every_function_starts_with_what_the_template_gives_it() {
    aws::run(|_| async move {
        let template = template();
        let folder = lambda::built().await;
        for (binary, (_, properties)) in functions(&template) {
            let own = properties["Environment"]["Variables"].as_object().cloned().unwrap_or_default();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let runtime = listener.local_addr().unwrap().to_string();
            let mut function = tokio::process::Command::new(folder.join(&binary))
                .env_clear()
                .envs(environment(&template).iter().chain(&own).map(|(name, value)| (name, deployed(value))))
                // What Lambda itself sets.
                .envs(["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, "us-east-1")))
                .envs(["NAME", "VERSION"].map(|name| (format!("AWS_LAMBDA_FUNCTION_{name}"), "1")))
                .envs([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"), ("AWS_LAMBDA_RUNTIME_API", &*runtime)])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let asks = async {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = [0; 64];
                let length = connection.read(&mut request).await.unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            };
            let asked = tokio::select! {
                asked = asks => asked,
                _ = function.wait() => {
                    let output = function.wait_with_output().await.unwrap();
                    panic!("{binary} does not start: {}", String::from_utf8_lossy(&output.stderr));
                }
            };
            assert!(asked.starts_with("GET /2018-06-01/runtime/invocation/next"), "{binary}: {asked}");
        }
    });
}
