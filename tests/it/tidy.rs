//! What the architecture promises, as absences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use contracts::ErrorName;
use contracts::compliance::ComplianceType;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What each crate of ours may depend on, of our own crates.
fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("asl", &[][..]),
        ("clock", &[]),
        ("contracts", &[]),
        ("workflows", &["contracts"]),
        ("store", &["contracts", "workflows"]),
        ("engine", &["clock", "contracts", "store", "workflows"]),
        ("store-sql", &["clock", "contracts", "store", "vault", "workflows"]),
        ("store-aws", &["clock", "contracts", "store", "workflows"]),
        ("downstream", &["clock", "contracts"]),
        ("engine-embedded", &["asl", "clock", "contracts", "engine", "store", "workflows"]),
        ("engine-stepfunctions", &["clock", "contracts", "engine", "store", "workflows"]),
        ("engine-temporal", &["clock", "contracts", "engine", "store", "workflows"]),
        // The two halves of one engine have the way to the server and what is said on it in common.
        ("engine-temporal-worker", &["asl", "clock", "contracts", "engine", "engine-temporal", "store", "workflows"]),
        ("activities", &["clock", "contracts", "downstream", "engine", "store", "vault"]),
        ("api", &["activities", "clock", "contracts", "downstream", "engine", "store", "workflows"]),
        ("settings", &["contracts", "downstream", "workflows"]),
        ("aws-clients", &["clock", "contracts", "engine", "settings", "store", "vault"]),
        ("reference-services", &["clock"]),
        ("vault", &["contracts"]),
    ])
}

fn metadata() -> Value {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let mut forbidden = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let is_library = package["manifest_path"].as_str().unwrap().contains("/shared/");
        if !is_library {
            continue;
        }
        let allowed = allowed().get(name).copied().unwrap_or_else(|| panic!("{name} has no rule: add one"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let dependency_name = dependency["name"].as_str().unwrap();
            let is_normal = dependency["kind"].is_null();
            if is_normal && ours.contains(dependency_name) && !allowed.contains(&dependency_name) {
                forbidden.push(format!("{name} -> {dependency_name}"));
            }
            // The interpreter has no runtime, and the vocabulary no input or output.
            if is_normal
                && matches!(name, "asl" | "contracts" | "workflows")
                && matches!(dependency_name, "tokio" | "reqwest" | "sqlx" | "axum")
            {
                forbidden.push(format!("{name} -> {dependency_name}"));
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden: {forbidden:?}");
}

fn sources() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()).output().unwrap();
    let listed: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(|line| root().join(line)).collect();
    assert!(listed.len() > 50, "git lists the sources");
    listed.into_iter().filter(|file| file.exists()).collect()
}

#[test]
fn every_module_says_what_it_is_and_none_has_left_overs() {
    let mut untidy = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.starts_with("//!") {
            untidy.push(format!("{} does not begin with //!", file.display()));
        }
        for (number, line) in text.lines().enumerate() {
            // Put together here, so that this file does not find itself.
            for left_over in
                ["to\u{64}o!(", "unimplement\u{65}d!(", "db\u{67}!(", "FIX\u{4d}E", "TO\u{44}O", "#[ign\u{6f}re"]
            {
                if line.contains(left_over) {
                    untidy.push(format!("{}:{} has {left_over}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(untidy.is_empty(), "{}", untidy.join("\n"));
}

/// The conventions of `statemachines/README.md`.
#[test]
fn state_machines_keep_their_conventions() {
    for workflow in &workflows::ALL {
        let definition: Value = serde_json::from_str(&workflow.definition(&Default::default())).unwrap();
        let states = definition["States"].as_object().unwrap();
        let is = |state: &Value, kind: &str| state["Arguments"]["Payload"]["step"]["kind"] == kind;
        let unreachable = serde_json::json!(["ServiceUnreachable"]);
        for (name, state) in states.iter().filter(|(_, state)| state["Type"] == "Task") {
            assert!(state["TimeoutSeconds"].is_u64(), "{name} has no time limit");
            let function = state["Arguments"]["FunctionName"].as_str().unwrap();
            assert!(activities::ALL.iter().any(|activity| activity.name == function), "{name} calls {function}");
            let catches = |catcher: &Value| catcher["ErrorEquals"] == serde_json::json!(["States.ALL"]);
            assert!(catches(state["Catch"].as_array().unwrap().last().unwrap()), "{name} does not catch everything");
            if is(state, "compensation") {
                match state["Arguments"]["Payload"]["step"]["undoes"].as_str() {
                    Some(undoes) => {
                        assert_eq!(*name, format!("Undo{undoes}"));
                        assert_eq!(states[undoes]["Arguments"]["FunctionName"], function, "{name} is another activity");
                    }
                    None => assert!(name.starts_with("Conclude"), "{name} undoes nothing"),
                }
                assert_eq!(state["Catch"][0]["Next"], state["Next"], "{name} goes on, undone or not");
                let retried: Vec<&Value> =
                    state["Retry"].as_array().unwrap().iter().map(|retrier| &retrier["ErrorEquals"]).collect();
                assert_eq!(retried, [&unreachable, &serde_json::json!(["States.ALL"])], "{name}");
                continue;
            }
            assert!(is(state, "forward"), "{name} neither does nor undoes");
            let step = &state["Arguments"]["Payload"]["step"];
            assert!(step["title"].is_string(), "{name} does not say what goes on");
            let retriers = state["Retry"].as_array().unwrap();
            assert_eq!(retriers[0]["ErrorEquals"], serde_json::json!(["WorkflowPaused"]), "{name}");
            let retryable: BTreeSet<&str> =
                retriers[2]["ErrorEquals"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            let named = ErrorName::ALL.into_iter().filter(|name| name.is_retryable()).map(ErrorName::as_str);
            assert_eq!(retriers[3]["ErrorEquals"], unreachable, "{name}");
            let others = named.filter(|name| unreachable[0] != *name);
            assert_eq!(retryable, others.chain(["States.Timeout"]).collect(), "{name}");
            let own_undo = format!("Undo{name}");
            if states.contains_key(&own_undo) {
                assert!(state["Catch"].as_array().unwrap().iter().all(|c| c["Next"] == own_undo.as_str()), "{name}");
            }
        }
        let closing = states.values().filter(|state| state["Arguments"]["Payload"]["step"]["closes"] == true);
        let closing: BTreeSet<String> = closing.map(|state| state["Arguments"]["FunctionName"].to_string()).collect();
        assert_eq!(closing.len(), 1, "{} has one last activity", workflow.name);
        let forward: Vec<&str> =
            states.iter().filter(|(_, state)| is(state, "forward")).map(|(name, _)| name.as_str()).collect();
        let types = ComplianceType::ALL.map(|of| workflow.steps_with(&serde_json::json!({ "type": of })).into_owned());
        let steps: BTreeSet<&str> = types.iter().flatten().map(|step| step.state.as_str()).collect();
        assert_eq!(forward.into_iter().collect::<BTreeSet<_>>(), steps, "steps and states");
    }
}

/// A Task that is entered several times has an item, or the second one would be taken for the first.
#[test]
fn steps_within_maps_and_branches_have_items() {
    fn check(workflow: &str, machine: &Value, is_inner: bool) {
        for (name, state) in machine["States"].as_object().into_iter().flatten() {
            let step = &state["Arguments"]["Payload"]["step"];
            let has_item = !step["item"].is_null();
            assert!(!is_inner || state["Type"] != "Task" || has_item, "{workflow}: {name} has no item");
            check(workflow, &state["ItemProcessor"], true);
            state["Branches"].as_array().into_iter().flatten().for_each(|branch| check(workflow, branch, true));
        }
    }
    let without = serde_json::json!({ "States": { "Each": { "Type": "Map", "ItemProcessor": { "States": {
        "Call": { "Type": "Task" } } } } } });
    assert!(std::panic::catch_unwind(|| check("an example", &without, false)).is_err());
    for workflow in &workflows::ALL {
        check(workflow.name, &serde_json::from_str(&workflow.definition(&Default::default())).unwrap(), false);
    }
}

/// One feature, one word: activity, file, state.
#[test]
fn activities_are_named_alike_everywhere() {
    for activity in activities::ALL {
        let file = root().join(format!("shared/activities/src/{}.rs", activity.name));
        assert!(file.exists(), "{}", file.display());
    }
    for workflow in &workflows::ALL {
        for step in workflow.steps() {
            let words: String = step.activity.split('_').map(|w| w[..1].to_uppercase() + &w[1..]).collect();
            assert_eq!(words, step.state);
        }
    }
}

#[test]
fn the_statemachines_lint_clean() {
    for entry in std::fs::read_dir(root().join("statemachines")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "json") {
            let diagnostics = asl::validate(&std::fs::read_to_string(&file).unwrap());
            assert!(diagnostics.0.is_empty(), "{}: {diagnostics}", file.display());
        }
    }
}
