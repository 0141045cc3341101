//! What the roles of functions allow is what their ports need, and the keys are used for nothing else.

use std::collections::{BTreeMap, BTreeSet};

use api::{ENDPOINTS, Port};
use contracts::WorkflowKind;
use serde_json::{Value, json};

use super::environment::has_keys;
use super::{functions, machine_arn, pascal, template};
use crate::aws::root;
use crate::proxy::Seen;

/// What a role allows: for each action the resources, by the name that the template has for them.
pub(super) fn statements(template: &Value, role: &str) -> BTreeMap<String, Vec<String>> {
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
        "complete-backup" | "forget-person" => &[
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
pub(super) fn removes_folders(binary: &str) -> bool {
    ["complete-backup", "delete-backup", "keep-backups", "forget-person", "complete-compliance"].contains(&binary)
}

fn is_activity(binary: &str) -> bool {
    activities::ALL.iter().any(|known| known.name.replace('_', "-") == binary)
}

fn has_port(binary: &str, is_it: impl Fn(&Port) -> bool) -> bool {
    ENDPOINTS.iter().any(|endpoint| endpoint.name == binary && endpoint.ports.iter().any(&is_it))
}

/// Of that what only a request needs that is too large for the table.
pub(super) fn needed_for_large_requests(binary: &str) -> BTreeSet<&'static str> {
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
                json!({
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

/// Whether events or a schedule start it, so that nobody waits for its answer.
pub(super) fn is_event_function(binary: &str) -> bool {
    // Other functions wait for the gateway's.
    binary != "temporal-gateway" && root().join("functions/event-lambdas/src/bin").join(format!("{binary}.rs")).exists()
}

/// Whether a role may put items, but into audit logs only.
pub(super) fn puts_audit_rows_only(template: &Value, role: &str) -> bool {
    let policies = template["Resources"][role]["Properties"]["Policies"].as_array().unwrap();
    let statements = policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap());
    let puts = statements.filter(|statement| {
        statement["Action"].as_array().into_iter().flatten().any(|action| action == "dynamodb:PutItem")
    });
    let only = json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["*#A"] } });
    let conditions: Vec<&Value> = puts.map(|statement| &statement["Condition"]).collect();
    conditions == [&only]
}

/// Whether a role may do this with the key for what a service encrypts.
pub(super) fn uses_the_key_through(template: &Value, role: &str, service: &str, does: &[&str]) -> bool {
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
