//! Runs cases recorded on AWS Step Functions, where they are present: `../shared/conformance/asl-jsonata.json` beside
//! the repository, or the file that `ASL_CONFORMANCE` names.
//!
//! A case is compared by its result and by the states entered and left, with their inputs, outputs and variables.
//! Besides, every execution is replayed from its events, and taken through JSON and back between any two of them:
//! both must give the same commands.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use asl::{Command, Definition, Event, Execution, Outcome, Start, TaskId, Trace};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Cases that do not pass, with the reason. Only ever gets shorter.
const KNOWN: [(&str, &str); 0] = [];

enum Verdict {
    Passed,
    Failed(String),
    NotBuilt,
    OutOfScope(&'static str),
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    not_built: usize,
    out_of_scope: usize,
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn main() -> ExitCode {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance/asl-jsonata.json");
    let file = std::env::var("ASL_CONFORMANCE").unwrap_or_else(|_| beside.to_owned());
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("no recorded cases here (ASL_CONFORMANCE names a file of them): nothing to compare with");
        println!("0 passed, 0 failed");
        return ExitCode::SUCCESS;
    };
    let suite: Value = serde_json::from_str(&text).expect("the suite is JSON");
    let mut areas: BTreeMap<String, Tally> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for vector in suite["vectors"].as_array().expect("the suite has vectors") {
        let name = vector["name"].as_str().unwrap_or_default();
        let tally = areas.entry(vector["area"].as_str().unwrap_or("none").to_owned()).or_default();
        match verdict(vector) {
            Verdict::Passed => tally.passed += 1,
            Verdict::Failed(_) if KNOWN.iter().any(|(known, _)| *known == name) => tally.out_of_scope += 1,
            Verdict::Failed(why) => {
                tally.failed += 1;
                println!("FAILED {name}\n{why}\n");
            }
            Verdict::NotBuilt => tally.not_built += 1,
            Verdict::OutOfScope(reason) => {
                tally.out_of_scope += 1;
                *reasons.entry(reason).or_default() += 1;
            }
        }
    }
    for (area, tally) in &areas {
        let Tally { passed, failed, not_built, out_of_scope } = tally;
        println!("{area}: {passed} passed, {failed} failed, {not_built} not built yet, {out_of_scope} out of scope");
    }
    for (reason, count) in reasons {
        println!("out of scope: {count} {reason}");
    }
    let passed: usize = areas.values().map(|tally| tally.passed).sum();
    let failed: usize = areas.values().map(|tally| tally.failed).sum();
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(vector: &Value) -> Verdict {
    let text = match &vector["definition_text"] {
        Value::String(text) => text.clone(),
        _ => vector["definition"].to_string(),
    };
    if let Some(reason) = out_of_scope(vector) {
        return Verdict::OutOfScope(reason);
    }
    if any_state(&vector["definition"], &|state| matches!(state["Type"].as_str(), Some("Map" | "Parallel"))) {
        return Verdict::NotBuilt;
    }
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
    let resource = |part: &'static str| {
        any_state(definition, &|state| state["Resource"].as_str().is_some_and(|resource| resource.contains(part)))
    };
    if vector["kind"] == "state" {
        return Some("single states under inspection");
    }
    if vector["kind"] == "execution" {
        if resource(":states:startExecution") {
            return Some("nested executions");
        }
        if resource(":aws-sdk:") {
            return Some("SDK integrations");
        }
        if any_state(definition, &|state| state.get("Credentials").is_some()) {
            return Some("Credentials");
        }
        if any_state(definition, &|state| state.get("ItemBatcher").is_some()) {
            return Some("ItemBatcher");
        }
    }
    let is_jsonpath = |value: &Value| value["QueryLanguage"] == "JSONPath";
    let whole_jsonata = definition["QueryLanguage"] == "JSONata";
    if !whole_jsonata
        && definition.get("States").is_some()
        && (is_jsonpath(definition) || any_state(definition, &is_jsonpath))
    {
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

fn invalid(expected: &Value, text: &str) -> Result<(), String> {
    match Definition::load(text) {
        Ok(_) => Err(format!("loads, but AWS refuses it: {}", expected["message"])),
        Err(_) => Ok(()),
    }
}

fn validate(expected: &Value, text: &str) -> Result<(), String> {
    let diagnostics = asl::validate(text);
    let status = if diagnostics.has_errors() { "INVALID" } else { "VALID" };
    if expected["status"] != status {
        return Err(format!("{status}, expected {}: {diagnostics}", expected["status"]));
    }
    let found: Vec<_> = diagnostics.0.iter().map(|found| found.code.as_str()).collect();
    let wanted: Vec<_> =
        expected["diagnostics"].as_array().into_iter().flatten().map(|d| d["code"].as_str().unwrap_or("")).collect();
    if found != wanted {
        return Err(format!("diagnostics {found:?}, expected {wanted:?}"));
    }
    for (found, wanted) in diagnostics.0.iter().zip(expected["diagnostics"].as_array().into_iter().flatten()) {
        // A position in text that is no JSON is each parser's own.
        let is_pointer = wanted["location"].as_str().is_some_and(|location| location.starts_with('/'));
        if is_pointer && wanted["location"] != found.location.as_str() {
            return Err(format!("location {}, expected {}", found.location, wanted["location"]));
        }
    }
    Ok(())
}

fn execution(vector: &Value, text: &str) -> Result<(), String> {
    let definition = Arc::new(Definition::load(text).map_err(|diagnostics| format!("does not load:\n{diagnostics}"))?);
    let run = Run::of(vector, &definition);
    let mut actual = json!({});
    match &run.outcome {
        Outcome::Succeeded { output } => {
            actual["status"] = json!("SUCCEEDED");
            actual["output"] = output.clone();
        }
        Outcome::Failed { error, cause } => {
            actual["status"] = json!("FAILED");
            for (name, value) in [("error", error), ("cause", cause)] {
                if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                    actual[name] = json!(value);
                }
            }
        }
    }
    compare(&vector["expected"], &actual)
        .map_err(|at| format!("result differs at {at}:\n  expected {}\n  actual   {actual}", vector["expected"]))?;
    let wanted: Vec<Value> = vector["events"].as_array().into_iter().flatten().filter_map(recorded).collect();
    for (index, wanted) in wanted.iter().enumerate() {
        let found = run.events.get(index).unwrap_or(&Value::Null);
        compare(wanted, found)
            .map_err(|at| format!("event {index} differs at {at}:\n  expected {wanted}\n  actual   {found}"))?;
    }
    if run.events.len() != wanted.len() {
        return Err(format!("{} events, expected {}", run.events.len(), wanted.len()));
    }
    run.replay(vector, &definition)
}

/// A recorded event, if it is of the kinds that are compared.
fn recorded(event: &Value) -> Option<Value> {
    let name = event["type"].as_str()?;
    if !(name.ends_with("StateEntered") || name.ends_with("StateExited") || name == "EvaluationFailed") {
        return None;
    }
    let fields = ["type", "state", "input", "output", "assignedVariables", "error"];
    Some(fields.iter().filter_map(|field| Some(((*field).to_owned(), event.get(*field)?.clone()))).collect())
}

fn traced(trace: Trace) -> Option<Value> {
    match trace {
        Trace::StateEntered { state, state_type, input } => {
            Some(json!({ "type": format!("{state_type}StateEntered"), "state": state, "input": input }))
        }
        Trace::StateExited { state, state_type, output, assigned } => {
            let mut event = json!({ "type": format!("{state_type}StateExited"), "state": state, "output": output });
            if !assigned.is_empty() {
                event["assignedVariables"] = Value::Object(assigned);
            }
            Some(event)
        }
        Trace::EvaluationFailed { state, error, .. } => {
            Some(json!({ "type": "EvaluationFailed", "state": state, "error": error }))
        }
        Trace::EdgeTaken(_) => None,
    }
}

/// What an execution was told.
#[derive(Clone)]
enum Told {
    Event(Event),
    Timeout,
}

/// One run against the scripted tasks, on a clock of its own.
struct Run {
    outcome: Outcome,
    events: Vec<Value>,
    told: Vec<(Timestamp, Told)>,
    commands: Vec<Command>,
}

impl Run {
    fn start(vector: &Value, definition: &Arc<Definition>) -> Execution {
        let start = Start {
            input: vector["input"].clone(),
            execution_id: "arn:aws:states:us-east-1:111111111111:execution:machine:execution".to_owned(),
            execution_name: "execution".to_owned(),
            state_machine_id: "arn:aws:states:us-east-1:111111111111:stateMachine:machine".to_owned(),
            state_machine_name: "machine".to_owned(),
            role_arn: "arn:aws:iam::111111111111:role/role".to_owned(),
            seed: 7,
        };
        Execution::start(Arc::clone(definition), start, Timestamp::UNIX_EPOCH)
    }

    fn of(vector: &Value, definition: &Arc<Definition>) -> Self {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut execution = Self::start(vector, definition);
        let (mut told, mut commands, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        let mut due: Vec<(Timestamp, Event)> = Vec::new();
        loop {
            while let Some(command) = execution.poll_command() {
                if let Command::ScheduleTask { id, function, payload, timeout, heartbeat, .. } = &command {
                    let (delay, event) = answer(vector, &mut calls, *id, function, payload);
                    let limit = [*timeout, *heartbeat].into_iter().flatten().min();
                    due.push(match limit {
                        Some(limit) if delay >= limit => {
                            let error = "States.Timeout".to_owned();
                            (now + limit, Event::TaskFailed { id: *id, error, cause: String::new() })
                        }
                        _ => (now + delay, event),
                    });
                }
                commands.push(command);
            }
            while let Some(trace) = execution.poll_trace() {
                events.extend(traced(trace));
            }
            if let Some(outcome) = execution.outcome() {
                return Self { outcome: outcome.clone(), events, told, commands };
            }
            let first = due.iter().map(|(at, _)| *at).min();
            let timer = execution.poll_timeout();
            if timer.is_some_and(|timer| first.is_none_or(|first| timer <= first)) {
                now = timer.unwrap_or(now).max(now);
                told.push((now, Told::Timeout));
                execution.handle_timeout(now);
            } else {
                let index =
                    due.iter().position(|(at, _)| Some(*at) == first).expect("an execution waits for something");
                let (at, event) = due.remove(index);
                now = now.max(at);
                told.push((now, Told::Event(event.clone())));
                execution.handle_event(event, now);
            }
        }
    }

    /// The same events give the same commands, also through JSON and back between any two of them.
    fn replay(&self, vector: &Value, definition: &Arc<Definition>) -> Result<(), String> {
        let mut execution = Self::start(vector, definition);
        let mut commands = Vec::new();
        for (now, told) in &self.told {
            commands.extend(std::iter::from_fn(|| execution.poll_command()));
            let at_rest = serde_json::to_string(&execution.snapshot()).map_err(|error| error.to_string())?;
            let at_rest = serde_json::from_str(&at_rest).map_err(|error| error.to_string())?;
            execution = Execution::restore(Arc::clone(definition), at_rest);
            match told {
                Told::Event(event) => execution.handle_event(event.clone(), *now),
                Told::Timeout => execution.handle_timeout(*now),
            }
        }
        commands.extend(std::iter::from_fn(|| execution.poll_command()));
        if commands == self.commands { Ok(()) } else { Err("a replay gives other commands".to_owned()) }
    }
}

/// What the script says to a call, and how long it takes.
fn answer(
    vector: &Value,
    calls: &mut BTreeMap<String, usize>,
    id: TaskId,
    function: &str,
    payload: &Value,
) -> (Duration, Event) {
    let script = vector["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|task| task["function"] == function || task["arn"] == function);
    let Some(script) = script else {
        let error = "Lambda.ResourceNotFoundException".to_owned();
        let cause = format!(
            "Function not found: {function}:$LATEST (Service: AWSLambda; Status Code: 404; Error Code: \
             ResourceNotFoundException; Request ID: r; Proxy: null)"
        );
        return (Duration::ZERO, Event::TaskFailed { id, error, cause });
    };
    let entries = script["calls"].as_array().expect("a script has calls");
    let number = calls.entry(script["function"].to_string()).or_default();
    let entry = &entries[(*number).min(entries.len() - 1)];
    *number += 1;
    let delay = Duration::from_secs(entry["delay_seconds"].as_u64().unwrap_or_default());
    let event = if let Some(fail) = entry.get("fail") {
        let text = |name: &str| fail[name].as_str().unwrap_or_default().to_owned();
        let cause = match &fail["payload"] {
            Value::Null => match &fail["cause"] {
                Value::String(cause) => cause.clone(),
                pattern => sample(pattern),
            },
            payload => strip(payload).to_string(),
        };
        Event::TaskFailed { id, error: text("error"), cause }
    } else if let Some(text) = entry.get("return_text") {
        let times = text["times"].as_u64().unwrap_or_default() as usize;
        Event::TaskSucceeded { id, result: json!(text["repeat"].as_str().unwrap_or_default().repeat(times)) }
    } else if let Some(value) = entry.get("return") {
        Event::TaskSucceeded { id, result: value.clone() }
    } else {
        Event::TaskSucceeded { id, result: payload.clone() }
    };
    (delay, event)
}

/// A text that a pattern of the script matches.
fn sample(pattern: &Value) -> String {
    match pattern {
        Value::Object(object) if object.contains_key("$like") => {
            let pieces = object["$like"].as_array().into_iter().flatten().filter_map(Value::as_str);
            pieces.collect::<Vec<_>>().join("x")
        }
        Value::Object(object) if object.contains_key("$json") => strip(&object["$json"]).to_string(),
        _ => String::new(),
    }
}

/// A value that a pattern matches.
fn strip(pattern: &Value) -> Value {
    match pattern {
        Value::Object(object) if object.contains_key("$any") => json!("x"),
        Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), strip(value))).collect(),
        Value::Array(items) => items.iter().map(strip).collect(),
        other => other.clone(),
    }
}

/// Whether the value matches the pattern; where it does not, otherwise.
fn compare(pattern: &Value, value: &Value) -> Result<(), String> {
    let differs = || Err(String::new());
    let below = |name: &str| {
        let name = name.to_owned();
        move |at: String| format!("/{name}{at}")
    };
    match (pattern, value) {
        (Value::Object(object), _) if object.len() == 1 && object.contains_key("$any") => Ok(()),
        (Value::Object(object), _) if object.len() == 1 && object.contains_key("$like") => {
            let pieces: Vec<_> = object["$like"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if value.as_str().is_some_and(|text| is_like(&pieces, text)) { Ok(()) } else { differs() }
        }
        (Value::Object(object), _) if object.len() == 1 && object.contains_key("$json") => {
            match value.as_str().and_then(|text| serde_json::from_str(text).ok()) {
                Some(value) => compare(&object["$json"], &value),
                None => differs(),
            }
        }
        (Value::Object(pattern), Value::Object(value)) => {
            for (name, wanted) in pattern {
                match value.get(name) {
                    Some(found) => compare(wanted, found).map_err(below(name))?,
                    None if wanted.get("$any").is_some() => {}
                    None => return Err(format!("/{name} (missing)")),
                }
            }
            match value.keys().find(|name| !pattern.contains_key(*name)) {
                Some(name) => Err(format!("/{name} (not expected)")),
                None => Ok(()),
            }
        }
        (Value::Array(pattern), Value::Array(value)) if pattern.len() == value.len() => {
            for (index, (wanted, found)) in pattern.iter().zip(value).enumerate() {
                compare(wanted, found).map_err(below(&index.to_string()))?;
            }
            Ok(())
        }
        (Value::Number(wanted), Value::Number(found)) if wanted.as_f64() == found.as_f64() => Ok(()),
        (Value::String(wanted), Value::String(found)) if unnumbered(wanted) == unnumbered(found) => Ok(()),
        (wanted, found) if wanted == found => Ok(()),
        _ => differs(),
    }
}

fn is_like(pieces: &[&str], text: &str) -> bool {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return false;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for piece in &pieces[1..pieces.len().max(2) - 1] {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    pieces.len() == 1 || rest.ends_with(last)
}

/// The number of a history event in a cause is AWS's own.
fn unnumbered(text: &str) -> String {
    let mut parts = text.split("event id #");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "event id #N" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}
