//! Any expression ends, within the time and the memory that the fuzzer is given, and in what a workflow can handle.

#![no_main]

use std::sync::Arc;

use asl::{Definition, Execution, Outcome, ExecutionStart};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let definition = json!({
        "QueryLanguage": "JSONata", "StartAt": "S",
        "States": {"S": {"Type": "Pass", "Output": format!("{{%{text}%}}"), "End": true}}
    });
    let Ok(definition) = Definition::load(&definition.to_string()) else { return };
    let input = json!({"a": [1, 2, {"b": "c"}], "d": null, "e": {"f": -1.5, "g": true}, "h": "text"});
    let start = ExecutionStart { input, ..ExecutionStart::default() };
    let execution = Execution::start(Arc::new(definition), start, jiff::Timestamp::UNIX_EPOCH);
    match execution.outcome() {
        Some(Outcome::Succeeded { .. }) => {}
        Some(Outcome::Failed { error, .. }) => {
            let known = ["States.QueryEvaluationError", "States.DataLimitExceeded"];
            assert!(error.as_deref().is_some_and(|error| known.contains(&error)), "{error:?}");
        }
        None => panic!("a Pass state waits for nothing"),
    }
});
