//! A definition for tests to spoil.

use serde_json::{Value, json};

/// A machine that uses everything.
pub(crate) fn everything() -> Value {
    json!({
        "Comment": "c", "QueryLanguage": "JSONata", "StartAt": "Call it",
        "States": {
            "Call it": {
                "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
                "Arguments": {"FunctionName": "f", "Payload": {"a": "{% $states.input.a %}", "b": [1, "{% $uuid() %}"]}},
                "TimeoutSeconds": 30, "HeartbeatSeconds": "{% $states.input.heartbeat %}",
                "Retry": [
                    {"ErrorEquals": ["A", "B", "C", "D", "E"], "IntervalSeconds": 1, "BackoffRate": 1.5, "MaxAttempts": 2,
                     "MaxDelaySeconds": 9, "JitterStrategy": "FULL"},
                    {"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}
                ],
                "Catch": [{"ErrorEquals": ["States.ALL"], "Assign": {"e": "{% $states.errorOutput %}"}, "Next": "Call-it"}],
                "Assign": {"n": "{% $count($states.result.Payload) %}"}, "Output": "{% $states.result %}", "Next": "Which"
            },
            "Call-it": {"Type": "Pass", "Output": {"x": [{"y": "{% $e.Error %}"}]}, "Next": "Plain"},
            "Plain": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:g", "Next": "Which"},
            "Which": {
                "Type": "Choice", "Default": "Later",
                "Choices": [
                    {"Condition": "{% $n > 1 and $states.input.text = \"x:y;z\" %}", "Assign": {"k": 1}, "Next": "Later"},
                    {"Condition": false, "Output": {}, "Next": "Broken"}
                ]
            },
            "Later": {"Type": "Wait", "Seconds": "{% 1 + 1 %}", "Next": "Until"},
            "Until": {"Type": "Wait", "Timestamp": "2030-01-01T00:00:00Z", "Next": "end"},
            "Broken": {"Type": "Fail", "Error": "E", "Cause": "{% $string($n) %}"},
            "end": {"Type": "Succeed", "Output": "{% $states.context %}"}
        }
    })
}
