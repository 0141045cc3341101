//! The lists that must agree: what is generated, binaries, template, routes, state machines, what functions may do.

mod asked;
mod environment;
mod operation;
mod rights;

use std::collections::{BTreeMap, BTreeSet};

use api::{ENDPOINTS, Endpoint};
use serde_json::{Value, json};

use crate::aws::root;
use crate::lambda;

use rights::statements;
pub(crate) use rights::{actions, needed};

/// The template, with CloudFormation's functions as plain objects: `!GetAtt A.B` is `{"!GetAtt": "A.B"}`.
fn template() -> Value {
    let text = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    plain(yaml)
}

fn plain(yaml: serde_yaml_ng::Value) -> Value {
    use serde_yaml_ng::Value as Yaml;
    match yaml {
        Yaml::Tagged(tagged) => json!({ tagged.tag.to_string(): plain(tagged.value) }),
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
    assert_eq!(functions.keys().cloned().collect::<BTreeSet<_>>(), lambda::names());
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

/// A default, or what a stage has in its place.
fn parameter(template: &Value, stage: &str, name: &str) -> u64 {
    let settings: toml::Table = std::fs::read_to_string(root().join("samconfig.toml")).unwrap().parse().unwrap();
    let given = settings[stage]["deploy"]["parameters"]["parameter_overrides"].as_array().unwrap();
    let prefix = format!("{name}=");
    let given = given.iter().find_map(|given| given.as_str().unwrap().strip_prefix(&prefix)?.parse().ok());
    given.unwrap_or_else(|| template["Parameters"][name]["Default"].as_u64().unwrap())
}
