//! Runs cases recorded on AWS Step Functions, where they are present: `../shared/conformance/asl-jsonata.json` beside
//! the repository, or the file that `ASL_CONFORMANCE` names.
//!
//! A case is compared by its result and by the states entered and left, with their inputs, outputs and variables.
//! Besides, every execution is replayed from its events, also through JSON and back at every point: both must give the
//! same commands.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use asl::{Definition, Diagnostics, Trace};
use serde_json::{Value, json};

#[expect(unreachable_pub, reason = "shared by several tests")]
#[allow(dead_code, reason = "each of them uses a part")]
mod support;

use support::pattern::compare;
use support::run::RunRecord;

/// Cases in scope that do not pass, with the reason. Only ever gets shorter.
const KNOWN: [(&str, &str); 0] = [];

/// Cases out of scope at most, so that no rule for them takes more than it should. Only ever gets smaller.
const MAX_OUT_OF_SCOPE: usize = 29;

enum Verdict {
    Passed,
    Failed(String),
    OutOfScope(&'static str),
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    known: usize,
    out_of_scope: usize,
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn main() -> ExitCode {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance/asl-jsonata.json");
    let named = std::env::var("ASL_CONFORMANCE").ok();
    let file = named.as_deref().unwrap_or(beside);
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        // A file that somebody names has to be there.
        Err(error) if named.is_some() => {
            println!("{file}: {error}");
            return ExitCode::FAILURE;
        }
        Err(_) => {
            println!("skipped: no recorded cases here (ASL_CONFORMANCE names a file of them)");
            println!("0 passed, 0 failed");
            return ExitCode::SUCCESS;
        }
    };
    let suite: Value = serde_json::from_str(&text).expect("the suite is JSON");
    let mut areas: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for vector in suite["vectors"].as_array().expect("the suite has vectors") {
        let name = vector["name"].as_str().unwrap_or_default();
        let tally = areas.entry(vector["area"].as_str().unwrap_or("none")).or_default();
        match verdict(vector) {
            Verdict::Passed if KNOWN.iter().any(|(known, _)| *known == name) => {
                tally.failed += 1;
                println!("FAILED {name}\nis known not to pass, and passes\n");
            }
            Verdict::Passed => tally.passed += 1,
            Verdict::Failed(_) if KNOWN.iter().any(|(known, _)| *known == name) => tally.known += 1,
            Verdict::Failed(why) => {
                tally.failed += 1;
                println!("FAILED {name}\n{why}\n");
            }
            Verdict::OutOfScope(reason) => {
                tally.out_of_scope += 1;
                reasons.entry(reason).or_default().push(name);
            }
        }
    }
    report(&areas, &reasons)
}

fn report(areas: &BTreeMap<&str, Tally>, reasons: &BTreeMap<&str, Vec<&str>>) -> ExitCode {
    for (area, tally) in areas {
        let Tally { passed, failed, known, out_of_scope } = tally;
        let known = if *known == 0 { String::new() } else { format!(", {known} known not to pass") };
        println!("{area}: {passed} passed, {failed} failed{known}, {out_of_scope} out of scope");
    }
    for (name, reason) in KNOWN {
        println!("known not to pass: {name}: {reason}");
    }
    for (reason, names) in reasons {
        println!("out of scope: {} {reason}: {}", names.len(), names.join(", "));
    }
    let sum = |count: fn(&Tally) -> usize| areas.values().map(count).sum::<usize>();
    let failed = sum(|tally| tally.failed);
    let out_of_scope = sum(|tally| tally.out_of_scope);
    println!("{} passed, {failed} failed, {out_of_scope} out of scope", sum(|tally| tally.passed));
    if out_of_scope > MAX_OUT_OF_SCOPE {
        println!("FAILED: more than {MAX_OUT_OF_SCOPE} out of scope");
    }
    if failed == 0 && out_of_scope <= MAX_OUT_OF_SCOPE { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(vector: &Value) -> Verdict {
    if let Some(reason) = out_of_scope(vector) {
        return Verdict::OutOfScope(reason);
    }
    let text = match &vector["definition_text"] {
        Value::String(text) => text.clone(),
        _ => vector["definition"].to_string(),
    };
    let verdict = match vector["kind"].as_str() {
        Some("execution") => execution(vector, &text),
        Some("invalid") => invalid(&vector["expected"], &text),
        Some("validate") => validate(&vector["expected"], &text),
        other => Err(format!("unknown kind {other:?}")),
    };
    verdict.map_or_else(Verdict::Failed, |()| Verdict::Passed)
}

/// Decided from what the case is, never from its name.
fn out_of_scope(vector: &Value) -> Option<&'static str> {
    let definition = &vector["definition"];
    if vector["kind"] == "state" {
        return Some("single states under inspection");
    }
    let resource =
        |holds: &dyn Fn(&str) -> bool| any_state(definition, &|state| state["Resource"].as_str().is_some_and(holds));
    if resource(&|resource| resource.ends_with(".waitForTaskToken")) {
        return Some("task tokens");
    }
    if resource(&|resource| resource.contains(":states:startExecution")) {
        return Some("nested executions");
    }
    if resource(&|resource| !resource.contains(":lambda:") && !resource.contains(":states:::s3:")) {
        return Some("other integrations");
    }
    // Credentials that are wrong in themselves are refused for that.
    if any_state(definition, &|state| state["Credentials"].get("RoleArn").is_some()) {
        return Some("Credentials");
    }
    if any_state(definition, &|state| state.get("ItemBatcher").is_some()) {
        return Some("ItemBatcher");
    }
    let is_jsonpath = |value: &Value| value["QueryLanguage"] == "JSONPath";
    if definition["QueryLanguage"] != "JSONata" && (is_jsonpath(definition) || any_state(definition, &is_jsonpath)) {
        return Some("JSONPath");
    }
    None
}

fn any_state(definition: &Value, holds: &dyn Fn(&Value) -> bool) -> bool {
    match definition {
        Value::Object(object) => {
            (object.contains_key("Type") && holds(definition)) || object.values().any(|value| any_state(value, holds))
        }
        Value::Array(items) => items.iter().any(|item| any_state(item, holds)),
        _ => false,
    }
}

/// AWS puts the code and the place of the first error into its message: `'CODE: what is wrong at /place'`.
fn invalid(expected: &Value, text: &str) -> Result<(), String> {
    let diagnostics = match Definition::load(text) {
        Ok(_) => return Err(format!("loads, but AWS refuses it: {}", expected["message"])),
        Err(diagnostics) => diagnostics,
    };
    let message = expected["message"].as_str().unwrap_or_default();
    let is_named = |code: &str, location: &str| {
        message.contains(&format!("'{code}: ")) && message.ends_with(&format!(" at {location}'"))
    };
    if diagnostics.0.iter().any(|found| is_named(&found.code, &found.location)) {
        return Ok(());
    }
    Err(format!("refused for another reason:\n  expected {message}\n  actual   {diagnostics}"))
}

fn validate(expected: &Value, text: &str) -> Result<(), String> {
    let diagnostics = asl::validate(text);
    let status = if diagnostics.has_errors() { "INVALID" } else { "VALID" };
    let wanted = expected["diagnostics"].as_array().map_or(&[][..], Vec::as_slice);
    let is_alike = expected["status"] == status && is_alike(&diagnostics, wanted);
    let found = json!({ "status": status, "diagnostics": diagnostics });
    if is_alike { Ok(()) } else { Err(format!("differs:\n  expected {expected}\n  actual   {found}")) }
}

fn is_alike(found: &Diagnostics, wanted: &[Value]) -> bool {
    let mut pairs = found.0.iter().zip(wanted);
    found.0.len() == wanted.len()
        && pairs.all(|(found, wanted)| {
            let severity = json!(found.severity);
            let location = wanted["location"].as_str().unwrap_or_default();
            // A position in text that is no JSON is each parser's own.
            let is_there = !location.starts_with('/') || location == found.location;
            wanted["code"] == found.code.as_str() && wanted["severity"] == severity && is_there
        })
}

fn execution(vector: &Value, text: &str) -> Result<(), String> {
    let definition = Arc::new(Definition::load(text).map_err(|diagnostics| format!("does not load:\n{diagnostics}"))?);
    let run = RunRecord::of(vector, &definition)?;
    run.check_result(vector)?;
    let recording = vector["events"].as_array().map_or(&[][..], Vec::as_slice);
    let events: Vec<Value> = run.traces.iter().filter_map(traced).collect();
    let is_ordered = vector["concurrent"] != true && !recording.iter().any(|event| event.get("unordered").is_some());
    if is_ordered {
        in_order(recording, &events)?
    } else {
        in_any_order(recording, &events)?
    }
    run.check_replay(vector, &definition)
}

fn in_order(recording: &[Value], events: &[Value]) -> Result<(), String> {
    let wanted: Vec<Value> = recording.iter().filter_map(recorded).collect();
    for (index, wanted) in wanted.iter().enumerate() {
        let found = events.get(index).unwrap_or(&Value::Null);
        compare(wanted, found)
            .map_err(|at| format!("event {index} differs at {at}:\n  expected {wanted}\n  actual   {found}"))?;
    }
    if events.len() != wanted.len() {
        return Err(format!("{} events, expected {}", events.len(), wanted.len()));
    }
    Ok(())
}

/// Where branches went on at the same time: the same events, and no more besides than the recording lost.
fn in_any_order(recording: &[Value], events: &[Value]) -> Result<(), String> {
    let groups = recording.iter().filter_map(|event| event["unordered"].as_array()).flatten();
    let mut left: Vec<&Value> = events.iter().collect();
    for wanted in recording.iter().chain(groups).filter_map(recorded) {
        let found = left.iter().position(|found| compare(&wanted, found).is_ok());
        left.remove(found.ok_or_else(|| format!("an event is missing:\n  {wanted}"))?);
    }
    let lost: u64 = recording.iter().filter_map(|event| event["unrecorded"].as_u64()).sum();
    if left.len() as u64 > lost {
        return Err(format!("{} events too many, where {lost} were lost: {left:?}", left.len()));
    }
    Ok(())
}

/// A recorded event, if it is of the kinds that are compared.
fn recorded(event: &Value) -> Option<Value> {
    let name = event["type"].as_str()?;
    let is_failure = name == "EvaluationFailed";
    if !(name.ends_with("StateEntered") || name.ends_with("StateExited") || is_failure) {
        return None;
    }
    let fields: &[&str] = if is_failure {
        &["type", "state", "error", "cause", "location"]
    } else {
        &["type", "state", "input", "output", "assignedVariables"]
    };
    Some(fields.iter().filter_map(|field| Some(((*field).to_owned(), event.get(*field)?.clone()))).collect())
}

fn traced(trace: &Trace) -> Option<Value> {
    match trace {
        Trace::StateEntered { state, state_type, input } => {
            Some(json!({ "type": format!("{state_type}StateEntered"), "state": state, "input": **input }))
        }
        Trace::StateExited { state, state_type, output, assigned } => {
            let mut event = json!({ "type": format!("{state_type}StateExited"), "state": state, "output": **output });
            if !assigned.is_empty() {
                event["assignedVariables"] =
                    assigned.iter().map(|(name, value)| (name.clone(), (**value).clone())).collect();
            }
            Some(event)
        }
        Trace::EvaluationFailed { state, error, cause, location } => {
            let mut event = json!({ "type": "EvaluationFailed", "state": state, "error": error, "cause": cause });
            if let Some(location) = location {
                event["location"] = json!(location);
            }
            Some(event)
        }
        Trace::MapRunStarted { .. }
        | Trace::MapRunSucceeded { .. }
        | Trace::MapRunFailed { .. }
        | Trace::EdgeTaken(_) => None,
    }
}
