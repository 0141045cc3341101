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
            "Until": {"Type": "Wait", "Timestamp": "2030-01-01T00:00:00Z", "Next": "Both"},
            "Broken": {"Type": "Fail", "Error": "E", "Cause": "{% $string($n) %}"},
            "Both": {
                "Type": "Parallel", "Arguments": {"n": "{% $n %}"}, "Next": "Each",
                "Branches": [
                    {"Comment": "c", "StartAt": "Left", "States": {"Left": {"Type": "Pass", "End": true}}},
                    {"StartAt": "Right", "States": {
                        "Right": {"Type": "Wait", "Seconds": 1, "Next": "Right again"},
                        "Right again": {
                            "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:g", "End": true
                        }
                    }}
                ],
                "Retry": [{"ErrorEquals": ["A"]}], "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Each"}],
                "Assign": {"both": "{% $states.result %}"}, "Output": "{% $states.result[0] %}"
            },
            "Each": {
                "Type": "Map", "Items": [1, "{% $n %}", {"a": []}], "MaxConcurrency": "{% 1 + 1 %}",
                "ItemSelector": {"index": "{% $states.context.Map.Item.Index %}", "value": "{% $states.context.Map.Item.Value %}"},
                "ToleratedFailureCount": 1, "ToleratedFailurePercentage": 2.5,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Inner",
                    "States": {"Inner": {
                        "Type": "Map", "Items": "{% [1..3] %}", "End": true,
                        "ItemProcessor": {"StartAt": "Innermost", "States": {"Innermost": {"Type": "Succeed"}}}
                    }}
                },
                "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}], "Next": "Children"
            },
            "Children": {
                "Type": "Map", "Label": "l", "MaxConcurrency": 2, "ToleratedFailurePercentage": "{% 10 %}",
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject", "Arguments": {"Bucket": "b", "Key": "{% $states.input.key %}"},
                    "ReaderConfig": {
                        "InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["a", "b"], "CSVDelimiter": "TAB",
                        "MaxItems": "{% 3 %}"
                    }
                },
                "ItemSelector": {"value": "{% $states.context.Map.Item.Value %}", "n": "{% $n %}"},
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Child",
                    "States": {"Child": {
                        "Type": "Map", "Items": [1, 2], "End": true,
                        "ItemProcessor": {
                            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Grandchild",
                            "States": {"Grandchild": {
                                "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:g", "End": true
                            }}
                        }
                    }}
                },
                "ResultWriter": {
                    "Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": "b", "Prefix": "{% 'p' %}"}
                },
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "end"}], "Next": "end"
            },
            "end": {"Type": "Succeed", "Output": "{% $states.context %}"}
        }
    })
}
