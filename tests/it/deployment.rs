//! The lists that must agree: what is generated, binaries, template, routes, state machines, what functions may do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use api::{ENDPOINTS, Endpoint, Port};
use contracts::{Status, WorkflowKind};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use store_aws::Holds;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::aws::{self, Options, Stack, StatusEvents, root};
use crate::process::pause;
use crate::proxy::{Answer, Rule, Seen};
use crate::subjects::{COMPLIANCE, DATA_MIGRATION, ERASURE};
use crate::world::{Door, Site, full_request, full_request_of};

/// The template, with CloudFormation's functions as plain objects: `!GetAtt A.B` is `{"!GetAtt": "A.B"}`.
fn template() -> Value {
    let text = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    plain(yaml)
}

fn plain(yaml: serde_yaml_ng::Value) -> Value {
    use serde_yaml_ng::Value as Yaml;
    match yaml {
        Yaml::Tagged(tagged) => serde_json::json!({ tagged.tag.to_string(): plain(tagged.value) }),
        Yaml::Mapping(mapping) => mapping
            .into_iter()
            .map(|(name, value)| (name.as_str().unwrap().to_owned(), plain(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Yaml::Sequence(items) => items.into_iter().map(plain).collect(),
        other => serde_json::to_value(other).unwrap(),
    }
}

/// The functions of the template, by their binaries: logical id without `Function`, properties.
fn functions(template: &Value) -> BTreeMap<String, (String, Value)> {
    let resources = template["Resources"].as_object().unwrap();
    let functions = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
    functions
        .map(|(id, function)| {
            let binary = function["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap().to_owned();
            (binary, (id.strip_suffix("Function").unwrap().to_owned(), function["Properties"].clone()))
        })
        .collect()
}

fn pascal(kebab: &str) -> String {
    kebab.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[test]
fn what_is_generated_is_committed() {
    let stale = generate::stale(&root()).unwrap();
    assert!(stale.is_empty(), "`cargo xtask generate` writes other than: {stale:?}");
}

#[test]
fn every_binary_is_a_function_of_its_name() {
    let functions = functions(&template());
    assert_eq!(functions.keys().cloned().collect::<BTreeSet<_>>(), crate::lambda::names());
    for (binary, (id, properties)) in &functions {
        assert_eq!(*id, pascal(binary));
        assert_eq!(properties["FunctionName"]["!Sub"], format!("${{AWS::StackName}}-{binary}"));
        assert_eq!(properties["Role"]["!GetAtt"], format!("{id}Role.Arn"), "{binary}");
        assert_eq!(properties["LoggingConfig"]["LogGroup"]["!Ref"], format!("{id}LogGroup"), "{binary}");
    }
}

#[test]
fn routes_are_the_same_everywhere() {
    let expected: BTreeSet<(String, String, String)> = ENDPOINTS
        .iter()
        .map(|Endpoint { method, path, name, .. }| (method.to_string(), path.to_string(), name.to_string()))
        .collect();
    assert_eq!(expected.len(), ENDPOINTS.len(), "each endpoint has a name and a route of its own");
    let mut templated = BTreeSet::new();
    for (binary, (_, properties)) in functions(&template()) {
        for event in properties["Events"].as_object().into_iter().flat_map(|events| events.values()) {
            if event["Type"] == "HttpApi" {
                let text = |name: &str| event["Properties"][name].as_str().unwrap().to_owned();
                templated.insert((text("Method"), text("Path"), binary.clone()));
            }
        }
    }
    assert_eq!(templated, expected, "the template's routes");
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let router = manifest["workspace"]["metadata"]["lambda"]["watch"]["router"].as_table().unwrap();
    let mut watched = BTreeSet::new();
    for (path, routes) in router {
        for route in routes.as_array().unwrap() {
            let text = |name: &str| route[name].as_str().unwrap().to_owned();
            watched.insert((text("method"), path.clone(), text("function")));
        }
    }
    assert_eq!(watched, expected, "cargo lambda watch's routes");
    // Each endpoint's file serves what the tables say, and no file serves anything else. Those that start something share
    // one handler, for a path that each says.
    let shared = "start.rs";
    // A server's own links are none of the deployment's routes: there they lead to the bucket.
    let apart = [shared, "signed_links.rs"];
    let sources = std::fs::read_dir(root().join("shared/api/src")).unwrap().map(|file| file.unwrap().path());
    let is_apart = |file: &std::path::PathBuf| apart.iter().any(|name| file.file_name().unwrap() == *name);
    let served = sources.filter(|file| !is_apart(file)).map(|file| {
        let source = std::fs::read_to_string(file).unwrap();
        source.matches(".route(").count() + source.matches("start::route::<").count()
    });
    assert_eq!(served.sum::<usize>(), expected.len(), "routes in shared/api");
    let handler = std::fs::read_to_string(root().join("shared/api/src").join(shared)).unwrap();
    assert_eq!(handler.matches(".route(").count(), handler.matches(".route(path, post(handle))").count());
    for (method, path, function) in &expected {
        let file = root().join("shared/api/src").join(format!("{}.rs", function.replace('-', "_")));
        let source = std::fs::read_to_string(&file).unwrap();
        let is_start = method == "POST" && source.contains("start::route::<");
        let is_own = source.contains(&format!("{}(handle)", method.to_lowercase()));
        assert!(source.contains(&format!("\"{path}\"")) && is_start != is_own, "{}", file.display());
    }
}

/// What API Gateway asks a token for.
#[test]
fn every_route_says_who_may_call() {
    let template = template();
    let api = &template["Resources"]["Api"]["Properties"];
    assert_eq!(api["FailOnWarnings"], true, "without it a deployment goes on without the authorizer");
    assert!(api["Auth"]["Authorizers"]["Jwt"].is_object());
    assert_eq!(api["Auth"]["DefaultAuthorizer"], "Jwt");
    let mut open = BTreeSet::new();
    for (binary, (_, properties)) in functions(&template) {
        let events = properties["Events"].as_object().into_iter().flat_map(|events| events.values());
        for event in events.filter(|event| event["Type"] == "HttpApi") {
            match event["Properties"]["Auth"]["Authorizer"].as_str() {
                Some("Jwt") => {}
                Some("NONE") => drop(open.insert(binary.clone())),
                other => panic!("{binary}: {other:?}"),
            }
        }
    }
    assert_eq!(open, ["health", "ready"].map(str::to_owned).into());
}

#[test]
fn the_state_machines_get_the_functions_they_name() {
    let template = template();
    let mut machines = BTreeSet::new();
    for workflow in &workflows::ALL {
        let name = workflow.kind.as_str().replace('_', "-");
        let id = pascal(&name);
        let machine = &template["Resources"][format!("{id}StateMachine")]["Properties"];
        assert_eq!(machine["Name"]["!Sub"], format!("${{AWS::StackName}}-{name}"));
        let file = machine["DefinitionUri"].as_str().unwrap();
        let definition = std::fs::read_to_string(root().join(file)).unwrap();
        let mut named: BTreeSet<String> =
            definition.split("${").skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect();
        let mut substituted = machine["DefinitionSubstitutions"].as_object().unwrap().clone();
        assert_eq!(substituted.keys().cloned().collect::<BTreeSet<_>>(), named, "{name}");
        // Where a distributed Map reads its batches.
        if named.remove("BucketName") {
            assert_eq!(substituted.remove("BucketName").unwrap()["!Ref"], "Bucket");
            let may_read = statements(&template, &format!("{id}Role")).remove("s3:GetObject").unwrap_or_default();
            assert_eq!(may_read.into_iter().collect::<Vec<_>>(), ["${Bucket.Arn}/*/bulk/*/manifest.json"], "{name}");
        }
        for (placeholder, value) in &substituted {
            assert_eq!(value["!GetAtt"], format!("{}.Arn", placeholder.strip_suffix("Arn").unwrap()), "{name}");
        }
        let of_steps = workflow.activities();
        let of_steps =
            of_steps.iter().map(|activity| format!("{}FunctionArn", pascal(&workflows::function_of(activity))));
        assert_eq!(named, of_steps.collect(), "{name}");
        let may_invoke = statements(&template, &format!("{id}Role"));
        let invoked: BTreeSet<String> = may_invoke["lambda:InvokeFunction"].iter().cloned().collect();
        let named = named.iter().map(|placeholder| placeholder.replace("FunctionArn", "Function.Arn"));
        assert_eq!(invoked, named.collect(), "{name}");
        machines.insert(machine_arn(&name));
    }
    // The end of each becomes the end of a record.
    let projector = &template["Resources"]["ProjectExecutionStatusFunction"]["Properties"];
    let pattern = &projector["Events"]["StatusChange"]["Properties"]["Pattern"]["detail"]["stateMachineArn"];
    let told = pattern.as_array().unwrap().iter().map(|arn| arn["!Sub"].as_str().unwrap().to_owned());
    assert_eq!(told.collect::<BTreeSet<_>>(), machines);
}

/// The ARN of a state machine, as the template puts it together.
fn machine_arn(name: &str) -> String {
    format!(
        "arn:${{AWS::Partition}}:states:${{AWS::Region}}:${{AWS::AccountId}}:stateMachine:${{AWS::StackName}}-{name}"
    )
}

/// Lambda takes 64 characters, Step Functions 80.
#[test]
fn names_have_room_for_the_stacks() {
    let settings: toml::Table = std::fs::read_to_string(root().join("samconfig.toml")).unwrap().parse().unwrap();
    let stages = template()["Parameters"]["Stage"]["AllowedValues"].clone();
    let longest = functions(&template()).keys().map(String::len).max().unwrap();
    for stage in stages.as_array().unwrap() {
        let stack = settings[stage.as_str().unwrap()]["deploy"]["parameters"]["stack_name"].as_str().unwrap();
        assert!(stack.len() + 1 + longest <= 64, "{stack}");
        // What infra/README.md says.
        assert!(stack.len() <= 31 && longest <= 32, "{stack}");
    }
}

/// What a role allows: for each action the resources, by the name that the template has for them.
fn statements(template: &Value, role: &str) -> BTreeMap<String, Vec<String>> {
    let policies = template["Resources"][role]["Properties"]["Policies"].as_array().unwrap();
    let mut allowed = BTreeMap::<String, Vec<String>>::new();
    for statement in policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap()) {
        // What is there under a condition only.
        let statement = statement.get("!If").map_or(statement, |parts| &parts[1]);
        assert_eq!(statement["Effect"], "Allow");
        let list = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for action in list(&statement["Action"]) {
            let resources = list(&statement["Resource"]).into_iter().map(|resource| match resource {
                Value::Object(function) => function.values().next().unwrap().as_str().unwrap().to_owned(),
                other => other.as_str().unwrap().to_owned(),
            });
            allowed.entry(action.as_str().unwrap().to_owned()).or_default().extend(resources);
        }
    }
    allowed
}

/// The actions that a request needs; a transaction is authorized by what it is made of.
pub(crate) fn actions(seen: &Seen) -> BTreeSet<&'static str> {
    let action = |operation: &str| match operation {
        "Put" | "PutItem" => "dynamodb:PutItem",
        "Update" | "UpdateItem" => "dynamodb:UpdateItem",
        "Delete" | "DeleteItem" => "dynamodb:DeleteItem",
        "GetItem" => "dynamodb:GetItem",
        "BatchGetItem" => "dynamodb:BatchGetItem",
        "BatchWriteItem" => "dynamodb:BatchWriteItem",
        "Query" => "dynamodb:Query",
        "StartExecution" => "states:StartExecution",
        "DescribeExecution" => "states:DescribeExecution",
        "StopExecution" => "states:StopExecution",
        "GetObject" => "s3:GetObject",
        "HeadObject" => "s3:GetObject",
        "DeleteObjects" => "s3:DeleteObject",
        "ListObjectsV2" => "s3:ListBucket",
        "PutObject" => "s3:PutObject",
        other => panic!("{other} has no rule: add one"),
    };
    match seen.target.rsplit('.').next().unwrap() {
        "TransactWriteItems" => seen.writes.iter().map(|write| action(write)).collect(),
        operation => [action(operation)].into(),
    }
}

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
fn environment(template: &Value) -> &serde_json::Map<String, Value> {
    template["Globals"]["Function"]["Environment"]["Variables"].as_object().unwrap()
}

/// Whether it is the function of an activity that uses the installation's keys.
fn has_keys(binary: &str) -> bool {
    activities::ALL.iter().any(|known| known.function.keys && known.name.replace('_', "-") == binary)
}

/// What the function of an activity with keys has besides.
fn environment_with_keys() -> serde_json::Map<String, Value> {
    let names = [("KMS_KEY", "BackupKey"), ("SIGNING_KEY", "BackupSigningKey")];
    let arn = |key: &str| serde_json::json!({ "!GetAtt": format!("{key}.Arn") });
    names.map(|(name, key)| (format!("WORKFLOW__KEYS__{name}"), arn(key))).into_iter().collect()
}

/// What the function that makes backups on its own has besides: nothing where no tenant has any.
fn environment_with_schedule() -> serde_json::Map<String, Value> {
    let if_any = |value: Value| serde_json::json!({ "!If": ["HasBackupSchedule", value, { "!Ref": "AWS::NoValue" }] });
    let parameter = |name: &str| serde_json::json!({ "!Ref": name });
    let every = serde_json::json!({ "!Sub": "${BackupEveryHours}h" });
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
        let folder = crate::lambda::built().await;
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

/// Lets every function do all that it can do, each with a key of its own, and sees what they ask for.
#[test]
fn functions_ask_for_what_they_may_and_for_all_of_it() {
    aws::run(|aws| async move {
        let overrides = crate::lambda::names().into_iter().map(|binary| (&*binary.leak(), "AWS_ACCESS_KEY_ID"));
        // DynamoDB Local takes letters and digits only.
        // Those that deny nothing but what a token does not allow.
        let lists = [
            "list-workflows",
            "list-audit-rows",
            "list-backups",
            "list-data-requests",
            "list-holds",
            "stream-workflow",
            "check-services-health",
            "create-bulk-upload",
        ];
        let gateway = [("MODE", "gateway"), ("TENANTS_CLAIM", "tenants"), ("ROLES_CLAIM", "roles")];
        let gateway = gateway.map(|(name, value)| (&*format!("WORKFLOW__AUTH__{name}").leak(), value.to_owned()));
        let gateway = lists.into_iter().flat_map(|list| gateway.clone().map(|(name, value)| (list, name, value)));
        let overrides = overrides.map(|(binary, name)| (binary, name, pascal(binary))).chain(gateway).collect();
        let status_events = StatusEvents::FirstLost;
        let settings = [
            ("BACKUPS__TENANTS", "tenant-123"),
            ("BACKUPS__EVERY", "24h"),
            ("COMPLIANCE__NOTIFY", "officer@example.com"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let stack =
            aws.stack(Options { overrides, status_events, proxied: true, settings, ..Options::default() }).await;
        let site = &stack.site;
        let proxies = stack.proxies.as_ref().unwrap();
        stack.claim(Some(serde_json::json!({ "sub": "user-1", "tenants": "[tenant-123]" })));
        // One whose end and one whose start are the reconciler's business.
        let key = [("idempotency-key", "key-1")];
        let (_, started) = site.post("/api/v1/workflows/user-onboarding", &full_request(), &key).await;
        let id = started["workflow_id"].as_str().unwrap();
        site.post("/api/v1/workflows/user-onboarding", &full_request(), &key).await;
        let full = Answer::Error("ExecutionLimitExceeded", 400);
        proxies.sfn.script(vec![Rule { operation: "StartExecution", skip: 0, times: 1, answer: full }]);
        let mut request = full_request();
        request["user_email"] = serde_json::json!("late@example.com");
        let late = site.start(&request).await;
        assert!(site.cancel(&late).await.is_ok(), "it has not begun");
        // What is open is asked for one by one.
        site.get("/api/v1/workflows/history").await;
        let found = crate::aws_faults::reconciled(&stack, 2).await;
        assert_eq!(found, serde_json::json!({ "started": 1, "ended": 1, "failed": 0 }));
        for id in [id, &late] {
            site.until_ended(id).await;
        }
        let operated = operate(site).await;
        let switch = serde_json::json!({
            "user_id": "user-123", "current_tenant_id": "tenant-123", "target_tenant_id": "tenant-456",
        });
        let (_, switching) = site.post("/api/v1/workflows/tenant-switching", &switch, &key).await;
        site.post("/api/v1/workflows/tenant-switching", &switch, &key).await;
        let switched = site.until_ended(switching["workflow_id"].as_str().unwrap()).await;
        assert_eq!(switched.status, Status::Completed, "{:?}", switched.error);
        let jobs =
            bulk(site).await + backups(site, &stack).await + migrations(site).await + exports(site, &stack).await;
        // An event that leaves something out.
        let brief = serde_json::json!({ "detail": { "name": id, "status": "SUCCEEDED" } });
        let recorded = stack.invoke("project-execution-status", brief).await.unwrap();
        assert_eq!(recorded, serde_json::json!({ "recorded": false }), "the reconciler was there before");
        for filter in ["", "?status=Completed", "?workflow_type=user_onboarding", "?user_id=user-123"] {
            assert!(site.get(&format!("/api/v1/workflows{filter}")).await.0.is_success(), "{filter}");
        }
        for path in ["/ready", "/health", "/api/v1/workflows/history"] {
            assert!(site.get(path).await.0.is_success(), "{path}");
        }
        let (_, health) = site.post("/api/v1/coordination/health-check", &serde_json::json!({}), &[]).await;
        assert_eq!(health["overall_healthy"], true, "{health}");
        let (refused, problem) = site.get(&format!("/api/v1/workflows/{id}/stream")).await;
        assert_eq!(refused, 501, "what is in front waits for whole answers: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("/status?wait=25s"), "{problem}");
        let first = site.get(&format!("/api/v1/workflows/history?workflow_id={id}&page_size=3")).await.1;
        let token = first["next_page_token"].as_str().unwrap();
        site.get(&format!("/api/v1/workflows/history?workflow_id={id}&page_size=3&page_token={token}")).await;
        assert!(site.cancel(id).await.is_err());
        // What is archived, and what is nowhere.
        let archived = stack.invoke("archive-executions", Value::Null).await.unwrap();
        assert_eq!(archived, serde_json::json!({ "executions": 3 + operated + jobs, "failed": 0 }));
        site.get(&format!("/api/v1/workflows/history?workflow_id={id}")).await;
        site.get("/api/v1/workflows/nowhere/status").await;
        site.get("/api/v1/coordination/backups/nowhere").await;
        holds(site).await;
        for path in ["/api/v1/compliance/requests/nowhere", "/api/v1/compliance/requests/nowhere/certificate"] {
            assert_eq!(site.get(path).await.0, 404, "{path}");
        }
        site.get("/api/v1/workflows/nowhere/results/failed.csv").await;
        site.get("/api/v1/workflows/history?workflow_id=nowhere").await;
        for asked in ["cancel", "pause", "resume", "terminate", "retry", "reverse"] {
            let (missing, problem) = site.post(&format!("/api/v1/workflows/nowhere/{asked}"), &Value::Null, &[]).await;
            assert_eq!(missing, 404, "{asked}: {problem}");
        }
        assert_eq!(act(site, "cancel", &["nowhere"]).await[0]["outcome"], "not_found");
        // What is denied, and what tells of it.
        for (method, path) in [
            ("GET", "/api/v1/workflows"),
            ("GET", "/api/v1/audit"),
            ("GET", "/api/v1/workflows/nowhere/stream"),
            ("POST", "/api/v1/coordination/health-check"),
            ("POST", "/api/v1/workflows/bulk-operation/uploads"),
            ("GET", "/api/v1/coordination/backups"),
            ("GET", "/api/v1/compliance/holds"),
            ("GET", "/api/v1/compliance/requests"),
        ] {
            let request = http::Request::builder().method(method).uri(path).header("x-tenant-id", "tenant-456");
            let request = request.body(axum::body::Body::empty()).unwrap();
            let (status, _, answer) = site.call(request).await;
            assert_eq!(status.as_u16(), 403, "{path}: {answer}");
        }
        let denied = site.get("/api/v1/audit?outcome=denied").await.1;
        assert_eq!(denied["entries"].as_array().map(Vec::len), Some(22), "{denied}");

        let mut used = BTreeMap::<String, BTreeSet<&str>>::new();
        let mut queried = BTreeMap::<String, BTreeSet<String>>::new();
        for seen in [proxies.dynamodb.take(), proxies.sfn.take(), proxies.s3.take()].concat() {
            let actions = actions(&seen);
            if actions.contains("dynamodb:Query") {
                let index = if seen.index.is_empty() { String::new() } else { format!("/index/{}", seen.index) };
                queried.entry(seen.key.clone()).or_default().insert(format!("Table.Arn{index}"));
            }
            used.entry(seen.key).or_default().extend(actions);
        }
        let template = template();
        // Those of Temporal have nothing to do here.
        for binary in crate::lambda::names().into_iter().filter(|binary| !binary.starts_with("temporal-")) {
            let id = pascal(&binary);
            let mut needed: BTreeSet<&str> = &needed(&binary) - &needed_for_large_requests(&binary);
            // Where a tenant has as many holds as it may have, those whose time is up make room.
            if binary == "place-hold" {
                needed.remove("dynamodb:DeleteItem");
            }
            // Only one that goes on where an earlier one ended reads what that has done.
            if binary == "plan-erasure" {
                needed.remove("s3:GetObject");
            }
            // Of a workflow in batches it reads how many there were.
            if binary == "terminate-workflow" {
                needed.remove("dynamodb:BatchGetItem");
            }
            // It stops at no number of failures, so it never reads how many there are.
            if binary == "erase-data-set" {
                needed.remove("dynamodb:BatchGetItem");
            }
            needed.extend(removes_folders(&binary).then_some("s3:ListBucket"));
            assert_eq!(used.get(&id).cloned().unwrap_or_default(), needed, "{binary}");
            let allowed = statements(&template, &format!("{id}Role")).remove("dynamodb:Query").unwrap_or_default();
            let allowed = allowed.into_iter().map(|resource| resource.replace("${Table.Arn}", "Table.Arn")).collect();
            assert_eq!(queried.remove(&id).unwrap_or_default(), allowed, "{binary}: what it queries");
        }
    });
}

/// Does all that bulk operations do; how many executions there are from it.
async fn bulk(site: &Site) -> u64 {
    let path = "/api/v1/workflows/bulk-operation";
    let upload = async |text: &str| {
        let size = serde_json::json!({ "size_bytes": text.len() });
        let (created, answer) = site.post(&format!("{path}/uploads"), &size, &[]).await;
        assert_eq!(created, 201, "{answer}");
        let mut put = reqwest::Client::new().put(answer["upload_url"].as_str().unwrap()).body(text.to_owned());
        for (name, value) in answer["headers"].as_object().unwrap() {
            put = put.header(name, value.as_str().unwrap());
        }
        let stored = put.send().await.unwrap();
        assert!(stored.status().is_success(), "{}", stored.text().await.unwrap());
        answer["upload_id"].as_str().unwrap().to_owned()
    };
    let job = async |id: &str, upload_id: String| {
        let asked = serde_json::json!({
            "operation_id": id, "tenant_id": "tenant-123", "operation_type": "UserCreation",
            "input": { "upload_id": upload_id }, "operation_data": { "name": "N", "role": "user" },
            "batch_options": { "failure_threshold": { "count": 2 }, "batch_size": 2, "max_retries": 1 },
        });
        let (accepted, answer) = site.post(path, &asked, &[]).await;
        assert_eq!(accepted, 202, "{answer}");
        site.until_ended(answer["workflow_id"].as_str().unwrap()).await
    };
    // One call fails, so that the batch is called again.
    let once = FaultRule {
        times: Some(1),
        ..FaultRule::on(
            "POST",
            "/api/v1/operations/{operation}",
            Fault::Status { status: 503, retry_after_seconds: None },
        )
    };
    site.services.set_faults(ServiceKind::Auth, vec![once]);
    let rows = "service,entity_type,entity_id,email\nauth,account,b-1,b1@example.com\nauth,account,b-2,\n";
    let done = job("job-1", upload(rows).await).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.error);
    let result = done.result.unwrap();
    assert_eq!((&result["successful_operations"], &result["failed_operations"]), (&1.into(), &1.into()), "{result}");
    // The client follows the link, which is all that it takes.
    let Door::Http(client, base) = &site.door else { panic!("it is deployed") };
    let file = format!("{base}{}", result["files"]["failed.csv"].as_str().unwrap());
    let table = client.get(file).header("x-tenant-id", "tenant-123").send().await.unwrap().text().await.unwrap();
    assert!(table.contains("b-2") && table.lines().count() == 2, "{table}");
    let refused = job("job-2", upload("entity_id\n").await).await;
    assert_eq!(refused.failure.unwrap().error, "InvalidInput");
    2
}

/// Does all that backups and restores do; how many executions there are from it.
async fn backups(site: &Site, stack: &Stack) -> u64 {
    let asked = async |what: &str, id: &str, field: &str, value: Value| {
        let mut request = serde_json::json!({ "backup_id": id, "tenant_id": "tenant-123" });
        request[field] = value;
        let (_, answer) = site.post(&format!("/api/v1/coordination/{what}"), &request, &[]).await;
        site.until_ended(answer["workflow_id"].as_str().unwrap_or_else(|| panic!("{answer}"))).await
    };
    let ended = async |what: &str, id: &str| asked(what, id, "keep_count", Value::from(1)).await;
    let refused = Fault::Status { status: 400, retry_after_seconds: None };
    site.services.set_faults(ServiceKind::User, vec![FaultRule::on("GET", "/api/v1/data/{type}", refused)]);
    assert_eq!(ended("backup", "refused").await.status, Status::Failed);
    site.services.set_faults(ServiceKind::User, Vec::new());
    assert_eq!(ended("backup", "backup-1").await.status, Status::Completed);
    // What is undone notes how far it is.
    let refused = Fault::Status { status: 400, retry_after_seconds: None };
    let rule = FaultRule::on("POST", "/api/v1/data/{type}/import", refused);
    site.services.set_faults(ServiceKind::User, vec![rule]);
    assert_eq!(ended("restore", "backup-1").await.status, Status::Failed);
    site.services.set_faults(ServiceKind::User, Vec::new());
    let status = ended("restore", "backup-1").await;
    assert_eq!(status.status, Status::Completed, "{:?}", status.error);
    let drill = asked("restore", "backup-1", "drill", Value::Bool(true)).await;
    assert_eq!(drill.status, Status::Completed, "{:?}", drill.error);
    let path = "/api/v1/coordination/backups";
    let (_, backup) = site.get(&format!("{path}/backup-1")).await;
    assert_eq!(backup["last_drill"]["passed"], true, "{backup}");
    // One too many: the older one goes.
    assert_eq!(ended("backup", "backup-2").await.status, Status::Completed);
    let kept = stack.invoke("keep-backups", Value::Null).await.unwrap();
    assert_eq!(kept, serde_json::json!({ "begun": 1, "removed": 1, "left": 0 }));
    let (_, list) = site.get(path).await;
    let names: Vec<_> = list["backups"].as_array().unwrap().iter().map(|backup| &backup["backup_id"]).collect();
    assert!(names.contains(&&Value::from("backup-2")) && !names.contains(&&Value::from("backup-1")), "{list}");
    let removed = http::Request::delete(format!("{path}/backup-2")).header("x-tenant-id", "tenant-123");
    let (status, _, answer) = site.call(removed.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    // The scheduled one.
    let (_, list) = site.get("/api/v1/workflows?workflow_type=cross_service_backup&status=Running").await;
    for scheduled in list["workflows"].as_array().unwrap() {
        site.until_ended(scheduled["workflow_id"].as_str().unwrap()).await;
    }
    7
}

/// Does all that is done with legal holds.
async fn holds(site: &Site) {
    let path = "/api/v1/compliance/holds";
    let hold = json!({ "hold_id": "case-1", "subject_user_id": "user-124", "reason": "a lawsuit" });
    for expected in [201, 200] {
        let (status, answer) = site.post(path, &hold, &[]).await;
        assert_eq!(status, expected, "{answer}");
    }
    let (_, list) = site.get(path).await;
    assert_eq!(list["holds"][0]["hold_id"], "case-1", "{list}");
    assert_eq!(site.get(&format!("{path}/case-1")).await.0, 200);
    assert_eq!(site.get(&format!("{path}/nowhere")).await.0, 404);
    // What is kept because of the hold is erased when it is released.
    let mut erasure = (ERASURE.request)(1);
    erasure["subject_user_id"] = json!("user-124");
    let (_, answer) = site.post(ERASURE.path, &erasure, &[]).await;
    completed(site, &answer, "workflow_id").await;
    let certificate = "/api/v1/compliance/requests/erasure-0001/certificate";
    // It leads to the file among the results, and that to S3.
    let (status, answer) = site.get(certificate).await;
    assert_eq!((status.as_u16(), &answer["document"]["compliance_id"]), (200, &json!("erasure-0001")), "{answer}");
    let release = http::Request::delete(format!("{path}/case-1")).header("x-tenant-id", "tenant-123");
    let release = release.header("content-type", "application/json");
    let reason = axum::body::Body::from(json!({ "reason": "it is over" }).to_string());
    let (status, _, answer) = site.call(release.body(reason).unwrap()).await;
    assert_eq!((status.as_u16(), &answer["state"]), (200, &json!("released")), "{answer}");
    let deferred = json!({ "workflow_id": answer["deferred"][0] });
    completed(site, &deferred, "workflow_id").await;
}

/// Does all that migrations do; how many executions there are from it.
async fn migrations(site: &Site) -> u64 {
    let usage = json!([{ "service": "user", "entity_type": "usage" }]);
    let profiles = json!([{ "service": "user", "entity_type": "profile" }]);
    let mut last = String::new();
    for (number, (migration_type, selectors, restore_from)) in [
        ("CrossServiceSync", &profiles, Value::Null),
        ("SystemUpgrade", &profiles, Value::Null),
        ("DataArchival", &usage, Value::Null),
        ("DataRestore", &usage, json!("archive_migration-0002")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut request = (DATA_MIGRATION.request)(number);
        request["migration_type"] = json!(migration_type);
        request["data_selectors"] = selectors.clone();
        request["restore_from"] = restore_from;
        let (_, answer) = site.post(DATA_MIGRATION.path, &request, &[]).await;
        last = completed(site, &answer, "workflow_id").await;
    }
    let (_, answer) = site.post(&format!("/api/v1/workflows/{last}/reverse"), &Value::Null, &[]).await;
    completed(site, &answer, "new_workflow_id").await;
    5
}

/// Waits for an execution that an answer names; its id.
async fn completed(site: &Site, answer: &Value, member: &str) -> String {
    let id = answer[member].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let ended = site.until_ended(&id).await;
    assert_eq!(ended.status, Status::Completed, "{:?}", ended.error);
    id
}

/// Does all that exports do; how many executions there are from it.
async fn exports(site: &Site, stack: &Stack) -> u64 {
    let (_, answer) = site.post(COMPLIANCE.path, &(COMPLIANCE.request)(0), &[]).await;
    completed(site, &answer, "workflow_id").await;
    // Two that are not answered yet, one of them too late.
    let slow = FaultRule::on("GET", "/api/v1/data/{type}", Fault::Delay { delay_ms: 8_000 });
    site.services.set_faults(ServiceKind::Auth, vec![slow]);
    let mut late = (COMPLIANCE.request)(1);
    late["received_at"] = json!("2020-01-01T00:00:00Z");
    let (_, late) = site.post(COMPLIANCE.path, &late, &[]).await;
    let (_, open) = site.post(COMPLIANCE.path, &(COMPLIANCE.request)(2), &[]).await;
    let told = stack.invoke("notify-due-requests", Value::Null).await.unwrap();
    assert_eq!(told, json!({ "sent": 1, "logged": 0 }));
    let path = "/api/v1/compliance/requests";
    for (query, count) in [("", 3), ("?state=overdue", 1)] {
        let (_, list) = site.get(&format!("{path}{query}")).await;
        assert_eq!(list["requests"].as_array().map(Vec::len), Some(count), "{list}");
    }
    let extension = format!("{path}/export-0002/extension");
    let (status, extended) = site.post(&extension, &json!({ "reason": "much data" }), &[]).await;
    assert_eq!((status.as_u16(), &extended["state"]), (200, &json!("open")), "{extended}");
    site.services.set_faults(ServiceKind::Auth, Vec::new());
    for answer in [late, open] {
        completed(site, &answer, "workflow_id").await;
    }
    assert_eq!(site.get(&format!("{path}/export-0002")).await.1["state"], "completed");
    let (_, answer) = site.post(ERASURE.path, &(ERASURE.request)(0), &[]).await;
    completed(site, &answer, "workflow_id").await;
    4
}

/// Does to executions all that operators can do, to one and to many; how many executions there are from it.
async fn operate(site: &Site) -> u64 {
    let slow = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 4_000 });
    site.services.set_faults(ServiceKind::User, vec![slow]);
    let [one, another, cancelled] = [1, 2, 3].map(full_request_of);
    let [one, another, cancelled] = [site.start(&one).await, site.start(&another).await, site.start(&cancelled).await];
    for id in [&one, &another, &cancelled] {
        while site.status(id).await.progress.unwrap().current_step != "CreateUserProfile" {
            pause(Duration::from_millis(100)).await;
        }
    }
    for asked in ["pause", "resume", "terminate"] {
        let (status, answer) = site.post(&format!("/api/v1/workflows/{one}/{asked}"), &Value::Null, &[]).await;
        assert_eq!(status, 200, "{asked}: {answer}");
        assert_eq!(act(site, asked, &[&another]).await[0]["outcome"], "done", "{asked}");
    }
    assert_eq!(act(site, "cancel", &[&cancelled]).await[0]["outcome"], "done");
    // What was on its way arrives.
    pause(Duration::from_secs(5)).await;
    site.services.set_faults(ServiceKind::User, Vec::new());
    assert_eq!(site.until_ended(&cancelled).await.status, Status::Cancelled);
    let (status, retried) = site.post(&format!("/api/v1/workflows/{one}/retry"), &Value::Null, &[]).await;
    assert_eq!(status, 202, "{retried}");
    let undone = act(site, "undo", &[&another]).await.remove(0);
    let again = act(site, "retry", &[&cancelled]).await.remove(0);
    for (retry, expected) in [(retried, Status::Completed), (undone, Status::Cancelled), (again, Status::Completed)] {
        let id = retry["new_workflow_id"].as_str().unwrap_or_else(|| panic!("{retry}"));
        let ended = site.until_ended(id).await;
        assert_eq!(ended.status, expected, "{retry}: {:?}", ended.failure);
    }
    // By every index, and without doing anything.
    for filter in [
        serde_json::json!({}),
        serde_json::json!({ "status": ["Completed"] }),
        serde_json::json!({ "workflow_type": "user_onboarding" }),
        serde_json::json!({ "user_id": "user-123" }),
    ] {
        let body = serde_json::json!({ "action": "cancel", "filter": filter, "dry_run": true });
        let (status, answer) = site.post("/api/v1/workflows/actions", &body, &[]).await;
        assert_eq!(status, 200, "{answer}");
    }
    6
}

/// Acts on these executions; what became of each.
async fn act(site: &Site, action: &str, ids: &[&str]) -> Vec<Value> {
    let body = serde_json::json!({ "action": action, "ids": ids });
    let (status, answer) = site.post("/api/v1/workflows/actions", &body, &[]).await;
    assert_eq!(status, 200, "{answer}");
    answer["results"].as_array().unwrap().clone()
}

/// What each function asks AWS for, by the ports of its handler; logs, traces and the key of what is encrypted apart.
pub(crate) fn needed(binary: &str) -> BTreeSet<&'static str> {
    if let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.name == binary) {
        // Who asks who calls adds to the audit log what it denies.
        let denies = endpoint.needs_token().then_some("dynamodb:PutItem");
        return endpoint.ports.iter().flat_map(|port| needed_for(*port)).copied().chain(denies).collect();
    }
    let verbs: &[&str] = match binary {
        "project-execution-status" => {
            &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "states:DescribeExecution"]
        }
        "archive-executions" => &[
            // How far batches were.
            "dynamodb:BatchGetItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "s3:PutObject",
        ],
        "reconcile-executions" => &[
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "states:DescribeExecution",
            "states:StartExecution",
        ],
        "notify-due-requests" => &["dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"],
        "temporal-gateway" => &[],
        // The files of distributed Maps are in the bucket.
        "temporal-worker" => {
            &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:PutObject"]
        }
        "process-bulk-batch" => {
            &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:PutObject"]
        }
        "plan-bulk-operation" => {
            &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:PutObject"]
        }
        "erase-data-set" => &[
            "dynamodb:BatchGetItem",
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "s3:GetObject",
            "s3:PutObject",
        ],
        "back-up-data-set" | "restore-part" | "migrate-batch" | "collect-data-set" => {
            &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:PutObject"]
        }
        "complete-backup" => &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:PutObject",
        ],
        "complete-compliance" => &[
            "dynamodb:BatchGetItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:PutObject",
        ],
        "complete-bulk-operation"
        | "complete-restore"
        | "complete-migration"
        | "end-drill"
        | "verify-restore"
        | "pack-export"
        | "verify-erasure" => &["dynamodb:PutItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:PutObject"],
        "begin-erasure" => &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "s3:GetObject"],
        "forget-person" => &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:PutObject",
        ],
        // Restores look who has been erased, erasures what is held.
        "plan-restore" | "plan-migration" | "plan-erasure" => &[
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "s3:GetObject",
            "s3:PutObject",
        ],
        "keep-backups" => &[
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "s3:DeleteObject",
            "s3:PutObject",
            "states:StartExecution",
        ],
        "plan-backup" | "plan-export" => {
            &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "s3:GetObject", "s3:PutObject"]
        }
        activity if is_activity(activity) => &["dynamodb:PutItem", "dynamodb:UpdateItem", "s3:GetObject"],
        other => panic!("{other} has no rule: add one"),
    };
    verbs.iter().copied().collect()
}

fn needed_for(port: Port) -> &'static [&'static str] {
    match port {
        Port::Create => &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"],
        Port::Keep => &["s3:PutObject"],
        Port::Start(_) => &["states:StartExecution"],
        Port::Read => &["dynamodb:BatchGetItem"],
        Port::List => &["dynamodb:BatchGetItem", "dynamodb:Query"],
        Port::History => &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"],
        Port::Control => &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
        Port::Retried => &["dynamodb:GetItem", "dynamodb:Query"],
        Port::Terminate => &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "states:StopExecution"],
        Port::Check => &["dynamodb:GetItem"],
        Port::Archive | Port::Request | Port::Results | Port::Uploaded => &["s3:GetObject"],
        // The client does what a link says, with the rights of who signed it.
        Port::Upload => &["s3:PutObject"],
        Port::Audit => &["dynamodb:Query"],
        Port::Erasure => &["dynamodb:GetItem"],
        Port::Erasures => &["dynamodb:Query"],
        Port::Backup => &["dynamodb:GetItem"],
        Port::Backups => &["dynamodb:BatchGetItem", "dynamodb:Query"],
        Port::PlaceHold => &["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"],
        Port::Hold => &["dynamodb:GetItem"],
        Port::Holds => &["dynamodb:BatchGetItem", "dynamodb:Query"],
        Port::DataRequest => &["dynamodb:BatchGetItem", "dynamodb:GetItem"],
        Port::DataRequests => &["dynamodb:BatchGetItem", "dynamodb:Query"],
        Port::ExtendRequest => {
            &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        }
        Port::ReleaseHold => {
            &["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]
        }
        Port::RemoveBackup => {
            &["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "s3:DeleteObject"]
        }
    }
}

/// Whether it removes all that is in a folder, whatever that is.
fn removes_folders(binary: &str) -> bool {
    ["complete-backup", "delete-backup", "keep-backups", "forget-person", "complete-compliance"].contains(&binary)
}

fn is_activity(binary: &str) -> bool {
    activities::ALL.iter().any(|known| known.name.replace('_', "-") == binary)
}

fn has_port(binary: &str, is_it: impl Fn(&Port) -> bool) -> bool {
    ENDPOINTS.iter().any(|endpoint| endpoint.name == binary && endpoint.ports.iter().any(&is_it))
}

/// Of that what only a request needs that is too large for the table.
fn needed_for_large_requests(binary: &str) -> BTreeSet<&'static str> {
    let keeps = has_port(binary, |port| *port == Port::Keep) || binary == "keep-backups";
    let puts = keeps.then_some("s3:PutObject");
    let activity = activities::ALL.iter().find(|activity| activity.name.replace('_', "-") == binary);
    let reads = activity.is_some_and(|activity| activity.function.reads.is_empty());
    puts.into_iter().chain(reads.then_some("s3:GetObject")).collect()
}

/// What it asks for besides where Temporal is the engine.
fn needed_with_temporal(binary: &str) -> &'static [&'static str] {
    match binary {
        "reconcile-executions" | "keep-backups" => &["lambda:InvokeFunction"],
        "temporal-gateway" => &["secretsmanager:GetSecretValue"],
        "temporal-worker" => &["lambda:InvokeFunction", "secretsmanager:GetSecretValue"],
        binary if has_port(binary, |port| matches!(port, Port::Start(_) | Port::Terminate)) => {
            &["lambda:InvokeFunction"]
        }
        _ => &[],
    }
}

/// The resources of an action, none where other tests say which.
fn resources_of(binary: &str, action: &str) -> Option<BTreeSet<String>> {
    let machines = |kinds: &[WorkflowKind]| -> BTreeSet<String> {
        let available = WorkflowKind::ALL.into_iter().filter(|kind| workflows::workflow(*kind).is_some());
        let named = available.filter(|kind| kinds.contains(kind)).map(|kind| kind.as_str().replace('_', "-"));
        named.map(|name| machine_arn(&name)).collect()
    };
    let one = |resource: &str| Some([resource.to_owned()].into());
    match action.split_once(':')? {
        ("dynamodb", "Query") => None,
        ("dynamodb", _) => one("Table.Arn"),
        ("s3", "ListBucket") => one("Bucket.Arn"),
        // A machine says which files its distributed Map reads and writes.
        ("s3", _) if binary == "temporal-worker" => one("${Bucket.Arn}/*"),
        ("s3", _)
            if [
                "bulk",
                "backup",
                "back-up",
                "restore",
                "migrat",
                "drill",
                "export",
                "collect",
                "compliance",
                "eras",
                "forget",
            ]
            .iter()
            .any(|word| binary.contains(word)) =>
        {
            folders_of(binary, action)
        }
        ("s3", "GetObject") if binary == "get-workflow-results" => {
            Some(["executions", "results"].map(|folder| format!("${{Bucket.Arn}}/*/{folder}/*")).into())
        }
        ("s3", "GetObject") if is_activity(binary) => one("${Bucket.Arn}/*/requests/*"),
        ("s3", "GetObject") if has_port(binary, |port| *port == Port::Request) => {
            Some(["executions", "requests"].map(|folder| format!("${{Bucket.Arn}}/*/{folder}/*")).into())
        }
        ("s3", "PutObject") if has_port(binary, |port| *port == Port::Keep) => one("${Bucket.Arn}/*/requests/*"),
        ("s3", _) => one("${Bucket.Arn}/*/executions/*"),
        ("states", "StartExecution") => {
            let started = ENDPOINTS.iter().find(|endpoint| endpoint.name == binary).map(|endpoint| {
                let kinds = endpoint.ports.iter().filter_map(|port| match port {
                    Port::Start(kinds) => Some(*kinds),
                    _ => None,
                });
                machines(&kinds.flatten().copied().collect::<Vec<_>>())
            });
            let of_events = match binary {
                "keep-backups" => machines(&[WorkflowKind::CrossServiceBackup]),
                _ => machines(&WorkflowKind::ALL),
            };
            Some(started.unwrap_or(of_events))
        }
        ("states", "DescribeExecution" | "StopExecution") => {
            let executions = machines(&WorkflowKind::ALL).into_iter();
            Some(executions.map(|arn| arn.replace(":stateMachine:", ":execution:") + ":*").collect())
        }
        ("lambda", _) if binary == "temporal-worker" => {
            let functions = activities::ALL.iter().map(|activity| pascal(&activity.name.replace('_', "-")));
            Some(functions.map(|id| format!("{id}Function.Arn")).collect())
        }
        ("lambda", _) => one("TemporalGatewayFunction.Arn"),
        ("secretsmanager", _) => one("TemporalApiKeySecretArn"),
        ("sqs", _) => one(&format!("{}DeadLetters.Arn", pascal(binary))),
        _ => None,
    }
}

/// The folders of blobs that a function of jobs does this to.
fn folders_of(binary: &str, action: &str) -> Option<BTreeSet<String>> {
    let folders: &[&str] = match (binary, action) {
        ("plan-bulk-operation", "s3:GetObject") => &["bulk", "requests", "uploads"],
        ("process-bulk-batch", _) => &["bulk"],
        ("plan-bulk-operation", "s3:PutObject" | "s3:AbortMultipartUpload") => &["bulk", "uploads"],
        ("complete-bulk-operation", "s3:GetObject") => &["bulk", "requests"],
        ("complete-bulk-operation", "s3:PutObject" | "s3:AbortMultipartUpload") => &["results", "uploads"],
        (
            "start-bulk-operation" | "start-backup" | "start-restore" | "start-data-migration" | "start-compliance",
            "s3:PutObject",
        ) => &["requests"],
        ("keep-backups", "s3:PutObject") => &["requests"],
        ("migrate-batch", "s3:GetObject") => &["backups", "bulk"],
        ("migrate-batch", _) => &["bulk"],
        ("plan-migration", "s3:GetObject") => &["backups", "bulk", "requests"],
        ("complete-migration", "s3:GetObject") => &["backups", "bulk", "requests", "results"],
        ("plan-migration" | "complete-migration", _) => &["bulk", "results"],
        ("plan-export", "s3:GetObject") => &["requests"],
        ("plan-export" | "collect-data-set", _) => &["bulk"],
        ("pack-export", "s3:GetObject") => &["bulk", "requests", "results"],
        ("complete-compliance", "s3:GetObject") => &["bulk", "requests", "results"],
        ("complete-compliance", "s3:PutObject" | "s3:AbortMultipartUpload") => &["results"],
        ("pack-export" | "complete-compliance", _) => &["bulk", "results"],
        ("erase-data-set", "s3:GetObject") => &["bulk"],
        ("plan-erasure" | "begin-erasure" | "verify-erasure", "s3:GetObject") => &["bulk", "requests"],
        ("forget-person", "s3:GetObject") => &["bulk", "executions", "requests", "results"],
        ("forget-person", "s3:DeleteObject") => &["bulk", "requests", "results"],
        ("forget-person", _) => &["bulk", "executions", "results"],
        ("plan-erasure" | "erase-data-set" | "verify-erasure", _) => &["bulk"],
        ("delete-backup" | "keep-backups", _) => &["backups"],
        ("plan-backup" | "plan-restore", "s3:GetObject") => &["backups", "requests"],
        ("back-up-data-set", "s3:GetObject") => &["bulk"],
        ("restore-part", "s3:GetObject") => &["backups", "bulk"],
        ("complete-backup" | "complete-restore" | "end-drill" | "verify-restore", "s3:GetObject") => {
            &["backups", "bulk", "requests"]
        }
        ("back-up-data-set", _) => &["backups", "bulk"],
        ("complete-backup", _) => &["backups"],
        ("plan-backup" | "plan-restore" | "restore-part", _) => &["bulk"],
        ("verify-restore" | "end-drill" | "complete-restore", _) => &["bulk"],
        (_, "s3:DeleteObject") | ("create-bulk-upload" | "start-bulk-operation", _) => &["uploads"],
        other => panic!("{other:?} has no rule: add one"),
    };
    Some(folders.iter().map(|folder| format!("${{Bucket.Arn}}/*/{folder}/*")).collect())
}

#[test]
fn a_function_may_do_what_its_ports_ask_for_and_nothing_else() {
    let template = template();
    for (binary, (id, _)) in functions(&template) {
        let allowed = statements(&template, &format!("{id}Role"));
        let implied = |action: &str| ["logs:", "xray:", "kms:"].iter().any(|service| action.starts_with(service));
        let mut verbs: BTreeSet<&str> = allowed.keys().map(String::as_str).filter(|action| !implied(action)).collect();
        let mut needed = needed(&binary);
        needed.extend(needed_with_temporal(&binary));
        // S3 says that something is missing only to who may list; whoever removes a folder lists it.
        let lists = needed.contains("s3:GetObject") || removes_folders(&binary);
        assert_eq!(verbs.remove("s3:ListBucket"), lists, "{binary}");
        // Only a history, or the files of a distributed Map, may be long enough to have parts.
        let activity = activities::ALL.iter().find(|activity| activity.name.replace('_', "-") == binary);
        let uploads = ["archive-executions", "temporal-worker"].contains(&&*binary)
            || activity.is_some_and(|activity| !activity.function.writes.is_empty());
        assert_eq!(verbs.remove("s3:AbortMultipartUpload"), uploads, "{binary}");
        // Lambda sends in the function's name what it has failed at.
        assert_eq!(verbs.remove("sqs:SendMessage"), is_event_function(&binary), "{binary}");
        assert_eq!(verbs, needed, "{binary}");
        assert!(verbs.iter().all(|verb| !verb.contains('*')), "{binary}");
        let role = format!("{id}Role");
        for (service, key) in [("dynamodb", &["kms:Decrypt", "kms:GenerateDataKey*"][..]), ("s3", &["kms:Decrypt"])] {
            let is_keyed = |verb: &&str| verb.starts_with(&format!("{service}:")) && *verb != "s3:DeleteObject";
            let uses = verbs.iter().any(is_keyed);
            assert_eq!(uses_the_key_through(&template, &role, service, key), uses, "{binary}: {service} and the key");
        }
        let stores = verbs.contains("s3:PutObject");
        assert_eq!(uses_the_key_through(&template, &role, "s3", &["kms:GenerateDataKey*"]), stores, "{binary}");
        for (action, resources) in &allowed {
            if let Some(expected) = resources_of(&binary, action) {
                assert_eq!(resources.iter().cloned().collect::<BTreeSet<_>>(), expected, "{binary}: {action}");
            }
        }
        let only_denies = ENDPOINTS.iter().any(|endpoint| endpoint.name == binary && endpoint.needs_token())
            && !has_port(&binary, |port| {
                matches!(
                    port,
                    Port::Create
                        | Port::Control
                        | Port::Terminate
                        | Port::RemoveBackup
                        | Port::PlaceHold
                        | Port::ReleaseHold
                        | Port::ExtendRequest
                )
            });
        assert_eq!(puts_audit_rows_only(&template, &role), only_denies, "{binary}");
        for (action, key) in [
            ("kms:GenerateDataKey", "BackupKey.Arn"),
            ("kms:Decrypt", "BackupKey.Arn"),
            ("kms:GetPublicKey", "BackupSigningKey.Arn"),
            ("kms:Sign", "BackupSigningKey.Arn"),
        ] {
            let on_key = allowed.get(action).is_some_and(|resources| resources.iter().any(|resource| resource == key));
            assert_eq!(on_key, has_keys(&binary), "{binary}: {action}");
        }
        let wide: Vec<_> = allowed.iter().filter(|(_, resources)| resources.iter().any(|name| name == "*")).collect();
        assert!(wide.iter().all(|(action, _)| action.starts_with("xray:")), "{binary}: {wide:?}");
    }
}

/// A secret may be encrypted with a key of the customer's own: who reads it must be allowed to use that.
#[test]
fn who_reads_the_secret_may_use_its_key() {
    let template = template();
    let mut readers = BTreeSet::new();
    for (binary, (id, _)) in functions(&template) {
        let role = &template["Resources"][format!("{id}Role")]["Properties"]["Policies"];
        let statements = role[0]["PolicyDocument"]["Statement"].as_array().unwrap();
        let under = |condition: &str| {
            let parts = statements.iter().filter_map(|statement| statement["!If"].as_array());
            parts.filter(|parts| parts[0] == condition).map(|parts| parts[1].clone()).collect::<Vec<_>>()
        };
        let reads = under("HasTemporalApiKey");
        let expected: Vec<Value> = reads
            .iter()
            .map(|_| {
                let via = "secretsmanager.${AWS::Region}.amazonaws.com";
                serde_json::json!({
                    "Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": { "!Ref": "TemporalApiKeyKmsKeyArn" },
                    "Condition": { "StringEquals": { "kms:ViaService": { "!Sub": via } } },
                })
            })
            .collect();
        assert_eq!(under("HasTemporalApiKeyKmsKey"), expected, "{binary}");
        readers.extend((!reads.is_empty()).then_some(binary));
    }
    assert_eq!(readers, ["temporal-gateway", "temporal-worker"].map(str::to_owned).into());
}

/// What is encrypted with the key, by who encrypts it.
#[test]
fn the_key_is_used_for_what_is_said_and_for_nobody_else() {
    let template = template();
    let encrypts = |value: &Value| {
        let text = value.to_string();
        text.contains(r#""!Ref":"Key""#) || text.contains(r#""!GetAtt":"Key.Arn""#)
    };
    let resources = template["Resources"].as_object().unwrap().values().filter(|resource| encrypts(resource));
    let encrypted: BTreeSet<&str> = resources.map(|resource| resource["Type"].as_str().unwrap()).collect();
    // Roles allow its use, and the alias names it.
    let encrypted = &encrypted - &["AWS::IAM::Role", "AWS::KMS::Alias"].into();
    let told = [
        ("AWS::DynamoDB::Table", "the table"),
        ("AWS::Logs::LogGroup", "the logs"),
        ("AWS::S3::Bucket", "the bucket"),
        ("AWS::SNS::Topic", "the alarms' topic"),
        ("AWS::SQS::Queue", "the queues"),
    ];
    assert_eq!(encrypted, told.map(|(kind, _)| kind).into());
    let description = template["Outputs"]["KeyArn"]["Description"].as_str().unwrap();
    assert!(told.iter().all(|(_, words)| description.contains(words)), "{description}");
    let policy = template["Resources"]["Key"]["Properties"]["KeyPolicy"]["Statement"].as_array().unwrap();
    for statement in policy.iter().filter(|statement| statement["Principal"]["Service"] != Value::Null) {
        let condition = statement["Condition"].to_string();
        assert!(condition.contains("AWS::AccountId"), "whoever's: {statement}");
    }
    let events = policy.iter().find(|statement| statement["Principal"]["Service"] == "events.amazonaws.com").unwrap();
    let queues = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${AWS::StackName}-*";
    assert_eq!(events["Condition"]["ArnLike"]["kms:EncryptionContext:aws:sqs:arn"]["!Sub"], queues);
    let named =
        template["Resources"].as_object().unwrap().values().filter(|resource| {
            resource["Type"] == "AWS::SQS::Queue" && resource["Properties"].get("QueueName").is_some()
        });
    assert_eq!(named.count(), 0, "CloudFormation's names begin with the stack's");
}

/// Backups outlive the stack, so their keys do.
#[test]
fn the_keys_of_backups_stay() {
    let template = template();
    let [wraps, signs] = ["BackupKey", "BackupSigningKey"].map(|key| &template["Resources"][key]);
    for key in [wraps, signs] {
        assert_eq!(
            (&key["DeletionPolicy"], &key["UpdateReplacePolicy"]),
            (&"RetainExceptOnCreate".into(), &"Retain".into())
        );
        let statements = key["Properties"]["KeyPolicy"]["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 1, "roles say who may use it");
    }
    assert_eq!(wraps["Properties"]["EnableKeyRotation"], true);
    assert_eq!(signs["Properties"]["KeySpec"], "ECC_NIST_EDWARDS25519");
    assert_eq!(template["Outputs"]["BackupSigningKeyArn"]["Value"]["!GetAtt"], "BackupSigningKey.Arn");
}

/// A default, or what a stage has in its place.
fn parameter(template: &Value, stage: &str, name: &str) -> u64 {
    let settings: toml::Table = std::fs::read_to_string(root().join("samconfig.toml")).unwrap().parse().unwrap();
    let given = settings[stage]["deploy"]["parameters"]["parameter_overrides"].as_array().unwrap();
    let prefix = format!("{name}=");
    let given = given.iter().find_map(|given| given.as_str().unwrap().strip_prefix(&prefix)?.parse().ok());
    given.unwrap_or_else(|| template["Parameters"][name]["Default"].as_u64().unwrap())
}

/// Each request that waits takes one of the 1,000 executions that an account may have at once.
#[test]
fn requests_that_wait_leave_room_for_steps() {
    let template = template();
    for stage in ["dev", "staging", "prod"] {
        let [rate, wait] = ["ThrottleRate", "LongestWaitSeconds"].map(|name| parameter(&template, stage, name));
        assert!(rate * wait <= 600, "{stage}: {rate} requests a second wait {wait} s");
    }
    assert_eq!(template["Parameters"]["LongestWaitSeconds"]["MaxValue"], contracts::limits::MAX_WAIT_SECONDS);
    assert_eq!(environment(&template)["WORKFLOW__LIMITS__LONGEST_WAIT"]["!Ref"], "LongestWaitSeconds");
}

/// A new table takes 4,000 write units a second, and so does each index, which would slow the table down.
#[test]
fn the_table_of_production_is_warm() {
    let template = template();
    let [dev, prod] = ["dev", "prod"].map(|stage| parameter(&template, stage, "WarmWriteUnits"));
    assert_eq!(dev, 0, "it costs money");
    assert!(prod > 4_000, "{prod}");
    let table = &template["Resources"]["Table"]["Properties"];
    let indices = table["GlobalSecondaryIndexes"].as_array().unwrap();
    let feed = indices.iter().find(|index| index["IndexName"] == "feed").unwrap();
    for warmed in [table, feed] {
        let choice = warmed["WarmThroughput"]["!If"].as_array().unwrap();
        assert_eq!(choice[0], "HasWarmTable");
        assert_eq!(choice[1], serde_json::json!({ "WriteUnitsPerSecond": { "!Ref": "WarmWriteUnits" } }));
    }
}

/// What AWS delivers logs to under another name takes room in a policy that the account has for all of them.
#[test]
fn logs_that_are_delivered_have_names_that_need_no_policy_each() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let machines = resources.values().filter(|resource| resource["Type"] == "AWS::Serverless::StateMachine");
    let group = "/Logging/Destinations/0/CloudWatchLogsLogGroup/LogGroupArn/!GetAtt";
    let of_machines = machines.map(|machine| machine["Properties"].pointer(group).unwrap());
    let of_api = &resources["Api"]["Properties"]["AccessLogSettings"]["DestinationArn"]["!GetAtt"];
    let groups: BTreeSet<&str> = of_machines.chain([of_api]).map(|arn| arn.as_str().unwrap()).collect();
    assert_eq!(groups.len(), workflows::ALL.len() + 1);
    for arn in groups {
        let name = &resources[arn.strip_suffix(".Arn").unwrap()]["Properties"]["LogGroupName"]["!Sub"];
        assert!(name.as_str().unwrap().starts_with("/aws/vendedlogs/"), "{arn}: {name}");
    }
}

#[test]
fn the_archiver_has_memory_for_its_parts() {
    let (_, archiver) = functions(&template()).remove("archive-executions").unwrap();
    let megabytes = archiver["MemorySize"].as_u64().unwrap_or(256);
    // Besides: the program, its TLS, and what is read of the table.
    let others = 128;
    let parts = store_aws::MAX_ARCHIVING_BYTES as u64 / 1024 / 1024;
    assert!(megabytes >= others + parts, "{megabytes} MB for {parts} MB of parts");
}

#[test]
fn what_lambda_itself_fails_at_is_tried_again() {
    fn retriers(value: &Value) -> Vec<Value> {
        let own = value["Retry"].as_array().cloned().unwrap_or_default();
        let parts = value.as_object().into_iter().flat_map(|object| object.values());
        let items = value.as_array().into_iter().flatten();
        own.into_iter().chain(parts.chain(items).flat_map(retriers)).collect()
    }
    for workflow in &workflows::ALL {
        let definition: Value = serde_json::from_str(&workflow.definition(&Default::default())).unwrap();
        let retriers = retriers(&definition);
        let names =
            |retrier: &Value| -> BTreeSet<String> { serde_json::from_value(retrier["ErrorEquals"].clone()).unwrap() };
        let of_lambda = retriers.iter().map(names).filter(|names| names.contains("Lambda.ServiceException"));
        let of_lambda: Vec<_> = of_lambda.collect();
        assert!(!of_lambda.is_empty(), "{}", workflow.name);
        for names in of_lambda {
            assert!(names.contains("Lambda.ClientExecutionTimeoutException"), "{}: {names:?}", workflow.name);
        }
        // What Step Functions takes at most.
        let attempts = retriers.iter().filter_map(|retrier| retrier["MaxAttempts"].as_u64());
        assert!(attempts.max().unwrap() < 99_999_999, "{}", workflow.name);
    }
}

/// Whether events or a schedule start it, so that nobody waits for its answer.
fn is_event_function(binary: &str) -> bool {
    // Other functions wait for the gateway's.
    binary != "temporal-gateway" && root().join("functions/event-lambdas/src/bin").join(format!("{binary}.rs")).exists()
}

#[test]
fn what_events_start_and_fails_is_kept_and_told() {
    let template = template();
    let resources = &template["Resources"];
    let (mut failing, mut queues) = (BTreeSet::new(), BTreeSet::new());
    for (binary, (id, properties)) in functions(&template) {
        assert_eq!(properties["EventInvokeConfig"].is_object(), is_event_function(&binary), "{binary}");
        if !is_event_function(&binary) {
            continue;
        }
        let queue = format!("{id}DeadLetters");
        let arn = serde_json::json!({ "!GetAtt": format!("{queue}.Arn") });
        let destination = serde_json::json!({ "Type": "SQS", "Destination": arn });
        assert_eq!(properties["EventInvokeConfig"]["DestinationConfig"]["OnFailure"], destination, "{binary}");
        let allowed = statements(&template, &format!("{id}Role"));
        assert_eq!(allowed["sqs:SendMessage"], [format!("{queue}.Arn")], "{binary}");
        assert!(
            uses_the_key_through(&template, &format!("{id}Role"), "sqs", &["kms:Decrypt", "kms:GenerateDataKey*"]),
            "{binary}"
        );
        for source in properties["Events"].as_object().unwrap().values() {
            assert_eq!(source["Properties"]["DeadLetterConfig"]["Arn"], arn, "{binary}");
            if source["Type"] == "ScheduleV2" {
                assert_eq!(source["Properties"]["RoleArn"]["!GetAtt"], "ScheduleRole.Arn", "{binary}");
                assert_eq!(source["Properties"]["OmitName"], true, "{binary}: stacks would take it from each other");
                let may = statements(&template, "ScheduleRole");
                assert!(may["lambda:InvokeFunction"].contains(&format!("{id}Function.Arn")), "{binary}");
                assert!(may["sqs:SendMessage"].contains(&format!("{queue}.Arn")), "{binary}");
            }
        }
        failing.insert(format!("{id}Function"));
        queues.insert(format!("{queue}.QueueName"));
    }
    assert!(uses_the_key_through(&template, "ScheduleRole", "sqs", &["kms:Decrypt", "kms:GenerateDataKey*"]));
    assert_eq!(watched(resources, "Errors").intersection(&failing).count(), failing.len());
    assert_eq!(watched(resources, "ApproximateNumberOfMessagesVisible"), queues);
}

#[test]
fn every_function_has_an_alarm() {
    let template = template();
    let all = functions(&template).into_values().map(|(id, _)| format!("{id}Function")).collect::<BTreeSet<_>>();
    assert_eq!(watched(&template["Resources"], "Errors"), all);
    let alarms = template["Resources"].as_object().unwrap().values();
    for alarm in alarms.filter(|resource| resource["Type"] == "AWS::CloudWatch::Alarm") {
        assert_eq!(alarm["Properties"]["AlarmActions"], serde_json::json!([{ "!Ref": "Alarms" }]), "{alarm}");
        // CloudWatch's own limit for an expression.
        let metrics = alarm["Properties"]["Metrics"].as_array().map_or(1, Vec::len);
        assert!(metrics <= 11, "{metrics} metrics");
    }
}

/// Whose metric of this name the alarms watch.
fn watched(resources: &Value, metric: &str) -> BTreeSet<String> {
    let alarms = resources.as_object().unwrap().values();
    let alarms = alarms.filter(|resource| resource["Type"] == "AWS::CloudWatch::Alarm");
    let metrics = alarms.flat_map(|alarm| match alarm["Properties"]["Metrics"].as_array() {
        Some(metrics) => metrics.iter().map(|each| each["MetricStat"]["Metric"].clone()).collect(),
        None => vec![alarm["Properties"].clone()],
    });
    let of_metric = metrics.filter(|each| each["MetricName"] == metric);
    let name = |each: Value| each["Dimensions"][0]["Value"].as_object().unwrap().values().next().unwrap().clone();
    of_metric.map(|each| name(each).as_str().unwrap().to_owned()).collect()
}

/// Whether a role may put items, but into audit logs only.
fn puts_audit_rows_only(template: &Value, role: &str) -> bool {
    let policies = template["Resources"][role]["Properties"]["Policies"].as_array().unwrap();
    let statements = policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
    let puts = statements.filter(|statement| {
        statement["Action"].as_array().into_iter().flatten().any(|action| action == "dynamodb:PutItem")
    });
    let only = serde_json::json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["*#A"] } });
    let conditions: Vec<&Value> = puts.map(|statement| &statement["Condition"]).collect();
    conditions == [&only]
}

/// Whether a role may do this with the key for what a service encrypts.
fn uses_the_key_through(template: &Value, role: &str, service: &str, does: &[&str]) -> bool {
    let policies = template["Resources"][role]["Properties"]["Policies"].as_array().unwrap();
    let mut statements = policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
    let via = format!("{service}.${{AWS::Region}}.amazonaws.com");
    statements.any(|statement| {
        let actions = statement["Action"].as_array().map(Vec::as_slice).unwrap_or_default();
        statement["Resource"]["!GetAtt"] == "Key.Arn"
            && statement["Condition"]["StringEquals"]["kms:ViaService"]["!Sub"] == via.as_str()
            && does.iter().all(|action| actions.iter().any(|allowed| allowed == action))
    })
}

#[test]
fn every_stage_tags_what_it_deploys() {
    let settings: toml::Table = std::fs::read_to_string(root().join("samconfig.toml")).unwrap().parse().unwrap();
    for stage in template()["Parameters"]["Stage"]["AllowedValues"].as_array().unwrap() {
        let stage = stage.as_str().unwrap();
        let deploy = &settings[stage]["deploy"]["parameters"];
        let text = |list: &str| deploy[list].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let (tags, parameters): (Vec<&str>, Vec<&str>) = (text("tags"), text("parameter_overrides"));
        assert_eq!(tags, ["service=workflow-service".to_owned(), format!("stage={stage}")]);
        assert!(parameters.contains(&&*format!("Stage={stage}")), "{parameters:?}");
    }
}

#[test]
fn the_table_of_the_template_is_the_stores() {
    let template = template();
    let table = &template["Resources"]["Table"]["Properties"];
    let mut indices = BTreeSet::new();
    for index in table["GlobalSecondaryIndexes"].as_array().unwrap() {
        let key = |number: usize| index["KeySchema"][number]["AttributeName"].as_str().unwrap().to_owned();
        let holds = index["Projection"].clone();
        indices.insert((index["IndexName"].as_str().unwrap().to_owned(), key(0), key(1), holds.to_string()));
    }
    let projection = |holds| match holds {
        Holds::Keys => serde_json::json!({ "ProjectionType": "KEYS_ONLY" }),
        Holds::Attributes(names) => serde_json::json!({ "ProjectionType": "INCLUDE", "NonKeyAttributes": names }),
        Holds::All => serde_json::json!({ "ProjectionType": "ALL" }),
    };
    let expected = store_aws::INDICES.map(|(name, hash, range, holds)| {
        (name.to_owned(), hash.to_owned(), range.to_owned(), projection(holds).to_string())
    });
    assert_eq!(indices, expected.into());
    assert_eq!(table["TimeToLiveSpecification"]["AttributeName"], store_aws::TIME_TO_LIVE);
    assert_eq!(table["TimeToLiveSpecification"]["Enabled"], true);
}

#[test]
fn the_stack_has_room() {
    let template = template();
    // SAM makes of an endpoint a function and a permission, of an event source a rule or schedule, a permission or role.
    let resources = template["Resources"].as_object().unwrap();
    let events: usize = functions(&template)
        .values()
        .map(|(_, properties)| properties["Events"].as_object().map_or(0, |events| 2 * events.len()))
        .sum();
    let deployed = resources.len() + events;
    let functions = functions(&template).len();
    println!("{deployed} resources for {functions} functions");
    // CloudFormation takes 500, and so many functions are planned.
    let (per_function, planned) = (5, 85);
    assert!(deployed + (planned - functions) * per_function < 450, "{deployed} resources, and more to come");
}

/// statelint does not know that these fields take expressions, nor the configuration of an ItemReader, both of which AWS
/// documents (developer guide, "Map state" and "Wait").
fn is_taken_by_aws(line: &str) -> bool {
    let takes_expressions = ["MaxConcurrency is \"{%", "Seconds is \"{%"].iter().any(|field| line.contains(field));
    takes_expressions || line.contains("\"InputType\" not allowed") && line.contains("ItemReader.ReaderConfig")
}

/// The tools' own checks, where they are installed (CI installs them).
#[test]
fn the_template_is_clean() {
    let Some([lint, audit]) = crate::peers::lint() else { return };
    let run = |folder: &Path, program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(folder.join("bin/python"));
        command.arg(folder.join("bin").join(program)).args(arguments).current_dir(root());
        command.envs([("SAM_CLI_TELEMETRY", "0"), ("AWS_DEFAULT_REGION", "us-east-1")]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let wrong = said.lines().filter(|line| !line.trim().is_empty() && !is_taken_by_aws(line)).count();
        // It says first how many errors there are.
        let is_clean = output.status.success() || program == "statelint" && wrong <= 1;
        assert!(is_clean, "{program}: {said}");
    };
    run(&lint, "cfn-lint", &["template.yaml"]);
    run(&lint, "sam", &["validate", "--lint", "--template-file", "template.yaml"]);
    for workflow in &workflows::ALL {
        run(&lint, "statelint", &[&format!("statemachines/{}", workflow.file())]);
    }
    run(&audit, "checkov", &["--file", "template.yaml", "--config-file", ".checkov.yaml", "--compact", "--quiet"]);
}
