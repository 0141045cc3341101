//! What functions answer, as the cases script it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::machines::answer;

/// A result, or an error's name and cause.
type Answer = Result<Value, (String, String)>;

/// The scripts of one case, and how often each was called.
pub struct Script<'a> {
    case: &'a Value,
    calls: BTreeMap<String, usize>,
}

impl<'a> Script<'a> {
    pub fn of(case: &'a Value) -> Self {
        Self { case, calls: BTreeMap::new() }
    }

    /// What the function says to a call, and how long it takes.
    pub fn answer(&mut self, function: &str, payload: &Value) -> (Duration, Answer) {
        if let Some(seed) = self.case["random"].as_u64() {
            let call = self.calls.entry(format!("{} {}", payload["state"], payload["k"])).or_default();
            *call += 1;
            return (
                Duration::from_secs(payload["n"].as_u64().unwrap_or_default() % 3),
                answer(seed, payload, *call - 1),
            );
        }
        let mut scripts = self.case["tasks"].as_array().into_iter().flatten();
        let Some(script) = scripts.find(|task| task["function"] == function || task["arn"] == function) else {
            return (Duration::ZERO, Err(no_such_function(function)));
        };
        let entries = script["calls"].as_array().expect("a script has calls");
        let number = self.calls.entry(script["function"].to_string()).or_default();
        let entry = &entries[(*number).min(entries.len() - 1)];
        *number += 1;
        let delay = Duration::from_secs(entry["delay_seconds"].as_u64().unwrap_or_default());
        (delay, scripted(entry, payload))
    }
}

fn scripted(entry: &Value, payload: &Value) -> Answer {
    if let Some(fail) = entry.get("fail") {
        let error = fail["error"].as_str().unwrap_or_default().to_owned();
        let cause = match &fail["payload"] {
            Value::Null => fail["cause"].as_str().map_or_else(|| sample(&fail["cause"]), str::to_owned),
            payload => strip(payload).to_string(),
        };
        return Err((error, cause));
    }
    let result = if let Some(text) = entry.get("return_text") {
        let times = usize::try_from(text["times"].as_u64().unwrap_or_default()).unwrap_or_default();
        json!(text["repeat"].as_str().unwrap_or_default().repeat(times))
    } else {
        entry.get("return").unwrap_or(payload).clone()
    };
    Ok(result)
}

/// What Lambda says of a function that nobody scripted.
fn no_such_function(function: &str) -> (String, String) {
    let error = "Lambda.ResourceNotFoundException".to_owned();
    let cause = format!(
        "Function not found: {function}:$LATEST (Service: AWSLambda; Status Code: 404; Error Code: \
         ResourceNotFoundException; Request ID: r; Proxy: null)"
    );
    (error, cause)
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
