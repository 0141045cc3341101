//! The command line: here `workflow-service run`, what people see of a state machine that runs against mocks.

mod actions;
mod against_server;
mod health;
mod keys;
mod outputs;
mod scripted;
mod waiting;
mod worker;

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::process;

/// The variables that commands read besides settings.
const VARIABLES: [&str; 6] = [
    "WORKFLOW_SERVICE_URL",
    "WORKFLOW_SERVICE_TENANT",
    "WORKFLOW_SERVICE_USER",
    "WORKFLOW_SERVICE_TOKEN",
    "RUST_LOG",
    "NO_COLOR",
];

/// A command that knows nothing of where these tests run.
async fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary().await);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.args(arguments).kill_on_drop(true);
    command
}

/// The binary, built once for all of these tests.
async fn binary() -> PathBuf {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    BINARY.get_or_init(process::binary).await.clone()
}

/// What a command said, and its exit code.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    async fn of(mut command: Command) -> Self {
        let output = command.output().await.unwrap();
        let (stdout, stderr) = (text(&output.stdout).to_owned(), text(&output.stderr).to_owned());
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code().unwrap(), stdout, stderr }
    }

    /// The one document on standard output.
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    fn assert(&self, code: i32, stdout: &str, stderr: &str) {
        let said = format!("exit code {}\n{}\n{}", self.code, self.stdout, self.stderr);
        assert!(self.code == code && self.stdout.contains(stdout) && self.stderr.contains(stderr), "{said}");
    }
}

fn machine() -> Value {
    let reader = json!({
        "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "JSONL" },
        "Arguments": { "Bucket": "b", "Key": "rows.jsonl" },
    });
    let row = json!({ "Type": "Pass", "Output": "{% $states.input.n * 2 %}", "End": true });
    json!({
        "QueryLanguage": "JSONata", "StartAt": "Reserve",
        "States": {
            "Reserve": {
                "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
                "Arguments": { "FunctionName": "reserve-seat", "Payload": "{% $states.input %}" },
                "Retry": [{ "ErrorEquals": ["Busy"], "IntervalSeconds": 2 }],
                "Output": "{% $states.result.Payload %}", "Next": "Mail",
            },
            "Mail": {
                "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:mail", "TimeoutSeconds": 5,
                "Catch": [{ "ErrorEquals": ["States.Timeout"], "Next": "Later" }], "Next": "Later",
            },
            "Later": { "Type": "Wait", "Seconds": 3_600, "Next": "Each" },
            "Each": {
                "Type": "Map", "ItemReader": reader, "End": true,
                "ItemProcessor": {
                    "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
                    "StartAt": "Row", "States": { "Row": row },
                },
            },
        },
    })
}

fn mock() -> Value {
    json!({
        "Tasks": {
            "reserve-seat": [{ "Throw": { "Error": "Busy" } }, { "Return": { "booking": 7 } }],
            "Mail": { "Return": null, "DelaySeconds": 9 },
        },
        "Objects": { "b/rows.jsonl": "{\"n\": 1}\n{\"n\": 2}\n" },
    })
}

/// Runs the machine with this mock, if there is one.
async fn run(mock: Option<&Value>, options: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &Value| {
        let path = directory.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path.display().to_string()
    };
    let mut command = Command::new(binary().await);
    command.args([
        "run",
        &file("machine.asl.json", &machine()),
        "--input",
        &file("input.json", &json!({ "seat": "4A" })),
    ]);
    if let Some(mock) = mock {
        command.args(["--mock", &file("mock.json", mock)]);
    }
    command.args(options).output().await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn the_timeline_tells_what_happened_when() {
    let output = run(Some(&mock()), &[]).await;
    let expected = r#"   1     0.000 s  ExecutionStarted                           input {"seat":"4A"}
   2     0.000 s  TaskStateEntered      Reserve              input {"seat":"4A"}
   3     0.000 s  TaskScheduled         Reserve              function reserve-seat  payload {"seat":"4A"}
   4     0.000 s  TaskFailed            Reserve              error Busy
   5     2.000 s  TaskScheduled         Reserve              function reserve-seat  payload {"seat":"4A"}  retry 1
   6     2.000 s  TaskSucceeded         Reserve              result {"booking":7}
   7     2.000 s  TaskStateExited       Reserve              output {"booking":7}
   8     2.000 s  TaskStateEntered      Mail                 input {"booking":7}
   9     2.000 s  TaskScheduled         Mail                 function arn:aws:lambda:us-east-1:111111111111:function:mail  payload {"booking":7}
  10     7.000 s  TaskTimedOut          Mail                 error States.Timeout
  11     7.000 s  TaskStateExited       Mail                 output {"Error":"States.Timeout","Cause":""}
  12     7.000 s  WaitStateEntered      Later                input {"Error":"States.Timeout","Cause":""}
  13  3607.000 s  WaitStateExited       Later                output {"Error":"States.Timeout","Cause":""}
  14  3607.000 s  MapStateEntered       Each                 input {"Error":"States.Timeout","Cause":""}
  15  3607.000 s  MapRunStarted         Each
  16  3607.000 s  MapRunSucceeded       Each                 items 2  failed 0
  17  3607.000 s  MapStateExited        Each                 output [2,4]
  18  3607.000 s  ExecutionSucceeded                         output [2,4]
"#;
    assert_eq!(text(&output.stdout), expected);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
}

#[tokio::test]
async fn programs_read_it_as_json_lines_and_children_are_there_for_the_asking() {
    let output = run(Some(&mock()), &["--json", "--children"]).await;
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 22);
    let retry = json!({
        "id": 5, "seconds": 2.0, "type": "TaskScheduled", "state": "Reserve", "function": "reserve-seat",
        "payload": { "seat": "4A" }, "retry": 1,
    });
    assert_eq!(lines[4], retry);
    let child =
        json!({ "id": 19, "seconds": 3_607.0, "type": "PassStateExited", "state": "Row", "child": "1:1", "output": 4 });
    assert!(lines.contains(&child), "{lines:#?}");
}

#[tokio::test]
async fn programs_may_have_it_as_one_document() {
    let output = run(Some(&mock()), &["-o", "json"]).await;
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["events"].as_array().unwrap().len(), 18);
    assert_eq!(document["events"][17]["type"], "ExecutionSucceeded");
}

#[tokio::test]
async fn what_is_missing_or_wrong_in_a_mock_is_said() {
    let says = async |mock: Option<Value>, wanted: &[&str]| {
        let output = run(mock.as_ref(), &[]).await;
        assert_eq!(output.status.code(), Some(1));
        for wanted in wanted {
            assert!(text(&output.stderr).contains(wanted), "{}", text(&output.stderr));
        }
    };
    says(
        None,
        &[
            "'Reserve' calls the function 'reserve-seat' with {\"seat\":\"4A\"}",
            "\"Tasks\": {\"Reserve\": {\"Return\": ...}}",
        ],
    )
    .await;
    says(Some(json!({ "Taskz": {} })), &["mock.json: unknown field `Taskz`, expected `Tasks` or `Objects`"]).await;
    let both = json!({ "Return": 1, "Throw": { "Error": "E" } });
    let wrong = json!({ "Tasks": { "a": [], "b": [{}, both], "c": { "Return": 1, "DelaySeconds": -1 } } });
    says(Some(wrong), &["Tasks/a: ", "Tasks/b/0: ", "Tasks/b/1: ", "Tasks/c/0/DelaySeconds: "]).await;
    let mut unreadable = mock();
    unreadable["Objects"] = json!({});
    unreadable["Tasks"]["nobody"] = json!({ "Return": 1 });
    says(Some(unreadable), &["never called: nobody"]).await;
}
