//! A state machine driven by hand: the interpreter says what to do, and this program does it.
//!
//! `cargo run -p asl --example drive`

#![expect(clippy::disallowed_methods, reason = "the one place that has a clock")]

use std::sync::Arc;
use std::thread::sleep;

use asl::{ChildPath, Command, Definition, Event, ExecutionStart, ExecutionTree, Told};
use jiff::Timestamp;
use serde_json::{Value, json};

const MACHINE: &str = r#"{
    "QueryLanguage": "JSONata", "StartAt": "Each",
    "States": {
        "Each": {
            "Type": "Map", "MaxConcurrency": 2, "End": true,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Greet",
                "States": {"Greet": {
                    "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
                    "Arguments": {"FunctionName": "greet", "Payload": {"name": "{% $states.input %}"}},
                    "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1}],
                    "Output": "{% $states.result.Payload %}"
                }}
            }
        }
    }
}"#;

fn main() -> Result<(), asl::Diagnostics> {
    let definition = Arc::new(Definition::load(MACHINE)?);
    let start = ExecutionStart {
        input: json!(["Ada", "Grace", "Barbara"]),
        execution_id: "e-1".into(),
        ..ExecutionStart::default()
    };
    let mut execution = ExecutionTree::start(definition, start, Timestamp::now());
    let mut calls = 0;
    while execution.outcome().is_none() {
        while let Some((path, command)) = execution.poll_command() {
            if let Command::ScheduleTask { id, function, payload, .. } = command {
                calls += 1;
                println!("[{path}] {function}({payload})");
                let event = match greet(&payload, calls) {
                    Ok(result) => Event::TaskSucceeded { id, result },
                    Err(error) => Event::TaskFailed { id, error, cause: String::new() },
                };
                execution.tell(&path, Told::Event(event), Timestamp::now());
            }
        }
        if let Some(at) = execution.poll_timeout() {
            sleep(at.duration_since(Timestamp::now()).try_into().unwrap_or_default());
            execution.tell(&ChildPath::default(), Told::Timer, Timestamp::now());
        }
    }
    println!("{:?}", execution.outcome());
    Ok(())
}

/// The function: its second call finds it busy.
fn greet(payload: &Value, calls: u32) -> Result<Value, String> {
    if calls == 2 {
        Err("Busy".to_owned())
    } else {
        Ok(json!(format!("Hello, {}!", payload["name"].as_str().unwrap_or("you"))))
    }
}
