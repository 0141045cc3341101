//! What a transition costs. `cargo xtask bench interpreter`; writes `target/bench/interpreter.json` and fails when the goal
//! is missed.
//!
//! The machine goes round three states (Task, Choice, Pass) with some 4 KB of state, half of it in a variable and half in
//! the input. In the first measure the states pick and add fields, as workflows do; in the second each transition
//! copies what there is.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use asl::{Command, Definition, Event, Execution, Outcome, Start, Trace};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Rounds of one execution.
const ROUNDS: u64 = 500;
/// Executions; the median counts.
const EXECUTIONS: usize = 7;
/// Of CPU, for a transition that picks and adds fields.
const MAX_MICROSECONDS: f64 = 30.0;

fn main() -> ExitCode {
    let fields = json!({
        "Assign": {"step": {"n": "{% $states.result.Payload.n %}", "count": "{% $step.count + 1 %}"}},
        "Output": {"n": "{% $states.result.Payload.n %}", "user": "{% $result.user_id %}", "first": "{% $result.field_3.id %}"}
    });
    let copies = json!({
        "Assign": {"result": "{% $merge([$result, {'n': $states.result.Payload.n}]) %}",
            "step": {"n": "{% $states.result.Payload.n %}", "count": "{% $step.count + 1 %}"}},
        "Output": {"n": "{% $states.result.Payload.n %}", "rest": "{% $states.context.Execution.Input.rest %}"}
    });
    let picks = measure("picks and adds fields", &fields);
    let copies = measure("copies everything", &copies);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("n = {EXECUTIONS} executions of {ROUNDS} rounds, load {}", load.trim());
    let report = json!({ "picks_us": picks, "copies_us": copies, "executions": EXECUTIONS, "load": load.trim() });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).expect("a folder for the report");
    std::fs::write(folder.join("interpreter.json"), format!("{report:#}\n")).expect("the report is written");
    if picks <= MAX_MICROSECONDS { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Microseconds of CPU: the median of some executions.
fn measure(what: &str, call: &Value) -> f64 {
    let definition = Arc::new(Definition::load(&machine(call).to_string()).expect("a sound machine"));
    let many = |count: usize| -> Value {
        let field = |i| (format!("field_{i}"), json!({ "id": format!("01890000-{i:04}"), "ok": true, "n": i }));
        Value::Object((0..count).map(field).collect::<Map<_, _>>())
    };
    let mut result = many(38);
    result["user_id"] = json!("u");
    let input = json!({"workflow": {"id": "w", "type": "t", "tenant_id": "t"}, "result": result, "rest": many(38)});
    let mut costs: Vec<f64> = (0..EXECUTIONS).map(|_| cost(&definition, &input)).collect();
    costs.sort_by(f64::total_cmp);
    let cost = costs[EXECUTIONS / 2];
    println!("{what}: {cost:.1} us per transition, with {} bytes of state", input.to_string().len());
    cost
}

fn machine(call: &Value) -> Value {
    let mut task = json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 45, "Next": "Enough",
        "Arguments": {"FunctionName": "f", "Payload": {
            "workflow": "{% $states.context.Execution.Input.workflow %}",
            "step": {"name": "{% $states.context.State.Name %}", "kind": "forward"}, "input": "{% $result.user_id %}"
        }}
    });
    for field in ["Assign", "Output"] {
        task[field] = call[field].clone();
    }
    json!({
        "QueryLanguage": "JSONata", "StartAt": "Begin",
        "States": {
            "Begin": {"Type": "Pass", "Next": "Call",
                "Assign": {"result": "{% $states.input.result %}", "step": {"count": 0}}},
            "Call": task,
            "Enough": {"Type": "Choice", "Default": "Again",
                "Choices": [{"Condition": format!("{{% $step.count >= {ROUNDS} %}}"), "Next": "End"}]},
            "Again": {"Type": "Pass", "Next": "Call",
                "Assign": {"last": "{% $states.input.n %}"}, "Output": {"n": "{% $states.input.n + 1 %}"}},
            "End": {"Type": "Succeed"}
        }
    })
}

/// Microseconds for each state entered.
fn cost(definition: &Arc<Definition>, input: &Value) -> f64 {
    let start = Start { input: input.clone(), ..Start::default() };
    let (now, mut entered, mut n) = (Timestamp::UNIX_EPOCH, 0_u32, 0);
    let began = cpu_nanoseconds();
    let mut execution = Execution::start(Arc::clone(definition), start, now);
    while execution.outcome().is_none() {
        while let Some(command) = execution.poll_command() {
            if let Command::ScheduleTask { id, payload, .. } = black_box(command) {
                n += 1;
                drop(payload);
                execution.handle_event(Event::TaskSucceeded { id, result: json!({ "n": n }) }, now);
            }
        }
        while let Some(trace) = execution.poll_trace() {
            entered += u32::from(matches!(trace, Trace::StateEntered { .. }));
        }
    }
    let took = cpu_nanoseconds() - began;
    assert!(matches!(execution.outcome(), Some(Outcome::Succeeded { .. })), "{:?}", execution.outcome());
    took / 1e3 / f64::from(entered)
}

/// What this thread has had of a CPU.
fn cpu_nanoseconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    stat.split_whitespace().next().and_then(|time| time.parse().ok()).expect("a number")
}
