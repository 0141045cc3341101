//! An expression that takes longer than its engine waits for: nothing comes of it, as it would depend on the machine.

use std::sync::Arc;
use std::time::Duration;

use asl::{Command, Definition, Event, Execution, ExecutionStart, ExecutionTree};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Some thousand steps.
const LONG: &str = "{% $count($map([1..1000], function($i){$i + 1})) %}";

fn definition(states: &Value, limit: Duration) -> Arc<Definition> {
    let machine = json!({"QueryLanguage": "JSONata", "StartAt": "First", "States": states});
    Arc::new(Definition::load(&machine.to_string()).expect("a sound machine").stall_after(limit))
}

fn caught(output: &str) -> Value {
    json!({
        "First": {
            "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": {"FunctionName": "f"},
            "Output": output, "Next": "Last",
            "Retry": [{"ErrorEquals": ["States.ALL"]}], "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Last"}]
        },
        "Last": {"Type": "Succeed"}
    })
}

/// An execution whose first Task has been answered.
fn answered(states: &Value, limit: Duration) -> Execution {
    let start = ExecutionStart { input: json!([1, 2]), ..ExecutionStart::default() };
    let mut execution = Execution::start(definition(states, limit), start, Timestamp::UNIX_EPOCH);
    let Some(Command::ScheduleTask { id, .. }) = execution.poll_command() else { panic!("there is a Task") };
    while execution.poll_trace().is_some() {}
    execution.handle_event(Event::TaskSucceeded { id, result: json!({}) }, Timestamp::UNIX_EPOCH);
    execution
}

#[test]
fn an_expression_that_takes_too_long_is_no_error() {
    let mut execution = answered(&caught(LONG), Duration::ZERO);
    let reason = execution.stalled().expect("it stalled");
    assert!(
        reason.starts_with("state 'First': ") && reason.contains(LONG.trim_matches(['{', '%', '}', ' '])),
        "{reason}"
    );
    assert_eq!(execution.poll_timeout(), None, "no retry is due");
    assert_eq!(execution.poll_command(), None);
    assert_eq!(execution.poll_trace(), None, "nothing was caught");
    assert_eq!(execution.outcome(), None);
}

#[test]
fn an_expression_within_its_time_goes_on() {
    for (output, limit) in [(LONG, Duration::from_secs(600)), ("{% 1 + 1 %}", Duration::from_secs(600))] {
        let execution = answered(&caught(output), limit);
        assert_eq!(execution.stalled(), None);
        assert!(execution.outcome().is_some());
    }
}

#[test]
fn a_child_stalls_all_of_its_tree() {
    let map = |selector: &str, output: &str| {
        json!({"First": {
            "Type": "Map", "End": true, "ItemSelector": selector, "ToleratedFailurePercentage": 100,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Child",
                "States": {"Child": {"Type": "Pass", "Output": output, "End": true}}
            }
        }})
    };
    for states in [map(LONG, "{% 1 %}"), map("{% 1 %}", LONG)] {
        let start = || ExecutionStart { input: json!([1, 2]), ..ExecutionStart::default() };
        let tree = |limit| ExecutionTree::start(definition(&states, limit), start(), Timestamp::UNIX_EPOCH);
        let stalled = tree(Duration::ZERO);
        assert!(stalled.stalled().is_some_and(|reason| reason.contains("$count(")), "{:?}", stalled.stalled());
        assert_eq!(stalled.outcome(), None);
        let other = tree(Duration::from_secs(600));
        assert_eq!(other.stalled(), None);
        assert!(other.outcome().is_some());
    }
}
