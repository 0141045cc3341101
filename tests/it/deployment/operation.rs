//! What operators rely on: alarms, queues of what failed, logs, room, tags, and a template that the linters pass.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use store_aws::Holds;

use super::environment::environment;
use super::rights::{is_event_function, statements, uses_the_key_through};
use super::{functions, parameter, template};
use crate::aws::root;

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
        assert_eq!(choice[1], json!({ "WriteUnitsPerSecond": { "!Ref": "WarmWriteUnits" } }));
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
        let arn = json!({ "!GetAtt": format!("{queue}.Arn") });
        let destination = json!({ "Type": "SQS", "Destination": arn });
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
        assert_eq!(alarm["Properties"]["AlarmActions"], json!([{ "!Ref": "Alarms" }]), "{alarm}");
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
        Holds::Keys => json!({ "ProjectionType": "KEYS_ONLY" }),
        Holds::Attributes(names) => json!({ "ProjectionType": "INCLUDE", "NonKeyAttributes": names }),
        Holds::All => json!({ "ProjectionType": "ALL" }),
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
