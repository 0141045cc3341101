//! What a transition costs. `cargo xtask bench interpreter`; writes `target/bench/interpreter.json` and fails when the goal
//! is missed.
//!
//! The machine goes round one Task, with `Arguments`, `Assign` and `Output`, and some 4 KB of state, half of it in a variable
//! and half in the input. In the first measure the Task picks and adds fields, as workflows do; in the second it copies
//! what there is.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use asl::{Command, Definition, Event, Execution, ExecutionStart, TaskId};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds of one execution.
const ROUNDS: u64 = 500;
/// Executions that are measured together: the system counts a thread's time in steps of some milliseconds.
const TOGETHER: usize = 20;
/// Measures; the median counts.
const MEASURES: usize = 7;
/// Of CPU, for a transition.
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
    println!("n = {MEASURES} times {TOGETHER} executions of {ROUNDS} rounds, load {}", load.trim());
    let report =
        json!({ "picks_us": picks, "copies_us": copies, "executions": MEASURES * TOGETHER, "load": load.trim() });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).expect("a folder for the report");
    std::fs::write(folder.join("interpreter.json"), format!("{report:#}\n")).expect("the report is written");
    if picks.max(copies) <= MAX_MICROSECONDS { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Microseconds of CPU: the median of some measures.
fn measure(what: &str, call: &Value) -> f64 {
    let definition = Arc::new(Definition::load(&machine(call).to_string()).expect("a sound machine"));
    let many = |count: usize| -> Value {
        let field = |i| (format!("field_{i}"), json!({ "id": format!("01890000-{i:04}"), "ok": true, "n": i }));
        Value::Object((0..count).map(field).collect::<Map<_, _>>())
    };
    let mut result = many(38);
    result["user_id"] = json!("u");
    let input = json!({"workflow": {"id": "w", "type": "t", "tenant_id": "t"}, "result": result, "rest": many(38)});
    let mut costs: Vec<f64> = (0..MEASURES).map(|_| cost(&definition, &input)).collect();
    costs.sort_by(f64::total_cmp);
    let cost = costs[MEASURES / 2];
    println!("{what}: {cost:.1} us per transition, with {} bytes of state", input.to_string().len());
    cost
}

fn machine(call: &Value) -> Value {
    let mut task = json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 45, "Next": "Call",
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
            "Call": task
        }
    })
}

/// Microseconds for each time that the Task is left and entered again.
fn cost(definition: &Arc<Definition>, input: &Value) -> f64 {
    let now = Timestamp::UNIX_EPOCH;
    let began = cpu_nanoseconds();
    for _ in 0..TOGETHER {
        let start = ExecutionStart { input: input.clone(), ..ExecutionStart::default() };
        let mut execution = Execution::start(Arc::clone(definition), start, now);
        let mut scheduled = next_attempt(&mut execution).expect("the Task is entered");
        for n in 1..=ROUNDS {
            execution.handle_event(Event::TaskSucceeded { id: scheduled, result: json!({ "n": n }) }, now);
            scheduled = next_attempt(&mut execution).expect("the Task is entered again");
        }
    }
    let took = cpu_nanoseconds() - began;
    took / 1e3 / (ROUNDS * TOGETHER as u64) as f64
}

fn next_attempt(execution: &mut Execution) -> Option<TaskId> {
    while let Some(trace) = execution.poll_trace() {
        black_box(trace);
    }
    match black_box(execution.poll_command()) {
        Some(Command::ScheduleTask { id, .. }) => Some(id),
        _ => None,
    }
}

/// What this thread has had of a CPU.
fn cpu_nanoseconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    stat.split_whitespace().next().and_then(|time| time.parse().ok()).expect("a number")
}
