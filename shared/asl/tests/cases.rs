//! Our own cases, for what no recording shows: `tests/cases/*.json`, in the form of the recorded ones. `about` says what
//! a case shows; besides `expected` there may be `attempts` (the calls, with the second of each), `edges`, and `written`
//! (the objects below `results/` at the end).
//! And what cannot be said as a case: what comes at the wrong time, and how jitter spreads.

use std::path::Path;
use std::sync::Arc;

use asl::{Command, Definition, Event, Execution, ExecutionStart, ExecutionTree, Outcome, TaskId, Told, Trace};
use jiff::Timestamp;
use serde_json::{Value, json};

#[expect(unreachable_pub, reason = "shared by several tests")]
#[allow(dead_code, reason = "each of them uses a part")]
mod support;

use support::pattern::compare;
use support::run::{RunRecord, start_of};

#[test]
fn every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        count += 1;
        if let Err(why) = check(&case) {
            failures.push(format!("{}: {why}", path.file_stem().unwrap_or_default().display()));
        }
    }
    assert!(count > 0);
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

fn check(case: &Value) -> Result<(), String> {
    let definition =
        Definition::load(&case["definition"].to_string()).map_err(|diagnostics| diagnostics.to_string())?;
    let definition = Arc::new(definition);
    let run = RunRecord::of(case, &definition)?;
    run.check_result(case)?;
    let found = [("attempts", attempts(&run)), ("edges", edges(&run)), ("written", written(&run))];
    for (what, found) in found {
        if let Some(wanted) = case.get(what) {
            compare(wanted, &found)
                .map_err(|at| format!("{what} differ at {at}:\n  expected {wanted}\n  actual   {found}"))?;
        }
    }
    run.check_replay(case, &definition)
}

/// The objects that a ResultWriter wrote.
fn written(run: &RunRecord) -> Value {
    let written = run.objects.iter().filter(|((_, key), _)| key.starts_with("results/"));
    let parsed = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap_or_default();
    written.map(|((_, key), body)| (key.clone(), parsed(body))).collect()
}

fn attempts(run: &RunRecord) -> Value {
    let attempts = run.commands.iter().filter_map(|(at, path, command)| match command {
        Command::ScheduleTask { state, retry_count, timeout, heartbeat, .. } => {
            let mut attempt = json!({ "state": state, "retry_count": retry_count, "at": at.as_second() });
            if !path.is_root() {
                attempt["child"] = json!(path.to_string());
            }
            for (name, limit) in [("timeout", timeout), ("heartbeat", heartbeat)] {
                if let Some(limit) = limit {
                    attempt[name] = json!(limit.as_secs());
                }
            }
            Some(attempt)
        }
        _ => None,
    });
    attempts.collect()
}

fn edges(run: &RunRecord) -> Value {
    let edges = run.traces.iter().filter_map(|trace| match trace {
        Trace::EdgeTaken(edge) => Some(edge.to_string()),
        _ => None,
    });
    edges.collect()
}

fn start(case: &Value, definition: &Arc<Definition>) -> Execution {
    Execution::start(Arc::clone(definition), start_of(case), Timestamp::UNIX_EPOCH)
}

/// A machine of one Task that is retried for ever.
fn patient() -> Arc<Definition> {
    let definition = json!({"QueryLanguage": "JSONata", "StartAt": "Call", "States": {"Call": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": {"FunctionName": "f", "Payload": 1},
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "BackoffRate": 2, "MaxDelaySeconds": 60,
            "MaxAttempts": 99_999_999, "JitterStrategy": "FULL"}],
        "Output": "{% $states.result.Payload %}", "End": true
    }}});
    Arc::new(Definition::load(&definition.to_string()).expect("a sound machine"))
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn failed(id: u64) -> Event {
    Event::TaskFailed { id: TaskId(id), error: "Busy".to_owned(), cause: String::new() }
}

fn succeeded(id: u64, result: Value) -> Event {
    Event::TaskSucceeded { id: TaskId(id), result }
}

#[test]
fn what_comes_too_late_changes_nothing() {
    let mut execution = start(&json!({"input": {}}), &patient());
    assert!(matches!(execution.poll_command(), Some(Command::ScheduleTask { id: TaskId(1), .. })));
    let unchanged = |execution: &mut Execution, event: Option<Event>, now| {
        let before = execution.snapshot();
        match event {
            Some(event) => execution.handle_event(event, now),
            None => execution.handle_timeout(now),
        }
        assert_eq!(execution.snapshot(), before);
    };
    // Nothing is due, and nobody asked for these.
    unchanged(&mut execution, None, second(1_000));
    unchanged(&mut execution, Some(succeeded(0, json!(1))), second(0));
    unchanged(&mut execution, Some(succeeded(2, json!(1))), second(0));
    execution.handle_event(failed(1), second(0));
    // The attempt is over; its answer is late, and delivered twice.
    unchanged(&mut execution, Some(succeeded(1, json!("late"))), second(0));
    unchanged(&mut execution, Some(failed(1)), second(0));
    let at = execution.poll_timeout().unwrap();
    unchanged(&mut execution, None, at.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap());
    execution.handle_timeout(at);
    assert!(matches!(execution.poll_command(), Some(Command::ScheduleTask { id: TaskId(2), retry_count: 1, .. })));
    unchanged(&mut execution, Some(failed(1)), at);
    execution.handle_event(succeeded(2, json!("answer")), at);
    assert_eq!(execution.outcome(), Some(&Outcome::Succeeded { output: json!("answer") }));
    assert_eq!(execution.poll_command(), Some(Command::Succeed { output: json!("answer") }));
    assert_eq!((execution.poll_command(), execution.poll_timeout()), (None, None));
    unchanged(&mut execution, Some(failed(2)), at);
}

#[test]
fn jitter_spreads_over_the_whole_delay_and_no_further() {
    let mut execution = start(&json!({"input": {}, "seed": 3}), &patient());
    let mut now = second(0);
    let (mut low, mut high) = (0, 0);
    for retry in 0..400 {
        execution.handle_event(failed(retry + 1), now);
        let at = execution.poll_timeout().unwrap();
        let delay = at.duration_since(now).as_secs_f64();
        let longest = 2_f64.powi(i32::try_from(retry).unwrap() + 1).min(60.0);
        assert!((0.0..=longest).contains(&delay), "retry {retry} after {delay} s of at most {longest}");
        low += usize::from(delay < longest / 4.0);
        high += usize::from(delay > longest * 3.0 / 4.0);
        now = at;
        execution.handle_timeout(now);
    }
    assert!((60..=140).contains(&low) && (60..=140).contains(&high), "{low} low and {high} high of 400");
}

#[test]
fn seeds_differ() {
    let delay = |seed: u64| {
        let mut execution = start(&json!({"input": {}, "seed": seed}), &patient());
        execution.handle_event(failed(1), second(0));
        execution.poll_timeout()
    };
    assert_eq!(delay(1), delay(1));
    assert_ne!(delay(1), delay(2));
}

#[test]
fn an_input_that_is_too_large_ends_the_execution() {
    let start = ExecutionStart { input: json!("x".repeat(asl::MAX_PAYLOAD_BYTES)), ..ExecutionStart::default() };
    let mut execution = Execution::start(patient(), start, second(0));
    assert!(matches!(execution.poll_command(), Some(Command::Fail { error: Some(error), .. })
        if error == "States.DataLimitExceeded"));
    assert!(execution.outcome().is_some());
}

#[test]
fn a_snapshot_of_another_definition_fails() {
    let other = json!({"QueryLanguage": "JSONata", "StartAt": "Other", "States": {"Other": {"Type": "Succeed"}}});
    let other = Arc::new(Definition::load(&other.to_string()).unwrap());
    let mut execution = Execution::restore(other, start(&json!({"input": {}}), &patient()).snapshot());
    execution.handle_event(failed(1), second(0));
    assert!(
        matches!(execution.outcome(), Some(Outcome::Failed { error: Some(error), .. }) if error == "States.Runtime")
    );
}

#[test]
fn what_engines_rely_on_of_the_types() {
    fn is_shared<T: Send + Sync>() {}
    fn is_sent<T: Send + Clone>() {}
    is_shared::<Definition>();
    is_sent::<Execution>();
    is_sent::<Command>();
    is_sent::<Event>();
}

/// 40 iterations of 40: all of them want to call at once.
#[test]
fn attempts_under_way_have_a_limit() {
    let task = json!({
        "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "Arguments": 1, "End": true
    });
    let inner = json!({
        "Type": "Map", "Items": "{% [1..40] %}", "End": true,
        "ItemProcessor": { "StartAt": "Call", "States": { "Call": task } }
    });
    let outer = json!({
        "Type": "Map", "Items": "{% [1..40] %}", "Output": "{% $count($states.result) %}", "End": true,
        "ItemProcessor": { "StartAt": "Inner", "States": { "Inner": inner } }
    });
    let machine = json!({ "QueryLanguage": "JSONata", "StartAt": "Outer", "States": { "Outer": outer } });
    let definition = Arc::new(Definition::load(&machine.to_string()).unwrap());
    let now = Timestamp::UNIX_EPOCH;
    let mut execution = Execution::start(definition, ExecutionStart::default(), now);
    let (mut under_way, mut most, mut all) = (std::collections::VecDeque::new(), 0, 0);
    while execution.outcome().is_none() {
        while let Some(command) = execution.poll_command() {
            if let Command::ScheduleTask { id, .. } = command {
                under_way.push_back(id);
                all += 1;
            }
        }
        most = most.max(under_way.len());
        if let Some(id) = under_way.pop_front() {
            execution.handle_event(Event::TaskSucceeded { id, result: json!(1) }, now);
        }
    }
    assert_eq!((most, all), (500, 1_600));
    assert_eq!(execution.outcome(), Some(&Outcome::Succeeded { output: json!(40) }));
}

/// Children do not begin while those before them have so many attempts under way; one of them may go over the limit.
#[test]
fn attempts_of_children_under_way_have_a_limit() {
    let task = json!({
        "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "Arguments": 1, "End": true
    });
    let inner = json!({
        "Type": "Map", "Items": "{% [1..40] %}", "Output": 1, "End": true,
        "ItemProcessor": { "StartAt": "Call", "States": { "Call": task } }
    });
    let outer = json!({
        "Type": "Map", "Items": "{% [1..60] %}", "Output": "{% $count($states.result) %}", "End": true,
        "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
            "StartAt": "Inner", "States": { "Inner": inner }
        }
    });
    let machine = json!({ "QueryLanguage": "JSONata", "StartAt": "Outer", "States": { "Outer": outer } });
    let definition = Arc::new(Definition::load(&machine.to_string()).unwrap());
    let now = Timestamp::UNIX_EPOCH;
    let mut tree = ExecutionTree::start(definition, ExecutionStart::default(), now);
    let (mut under_way, mut most, mut all) = (std::collections::VecDeque::new(), 0, 0);
    while tree.outcome().is_none() {
        while let Some((path, command)) = tree.poll_command() {
            if let Command::ScheduleTask { id, .. } = command {
                under_way.push_back((path, id));
                all += 1;
            }
        }
        most = most.max(under_way.len());
        let (path, id) = under_way.pop_front().expect("something is under way");
        tree.tell(&path, Told::Event(Event::TaskSucceeded { id, result: json!(1) }), now);
    }
    assert_eq!((most, all), (539, 2_400));
    assert_eq!(tree.outcome(), Some(&Outcome::Succeeded { output: json!(60) }));
}

/// Two branches: one has eight calls of almost 256 KiB under way until something fails beside them, which is caught; the
/// other wants to call when there is no room left.
fn crowded(trouble: &Value) -> Execution {
    let call = |size: usize| {
        json!({
            "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f",
            "Arguments": format!("{{% $pad('', {size}, 'x') %}}"), "End": true
        })
    };
    let trouble_starts = trouble.as_object().expect("a sound machine").keys().next().expect("a sound machine");
    let calls = json!({
        "Type": "Map", "Items": "{% [1..8] %}", "End": true,
        "ItemProcessor": { "StartAt": "Large", "States": { "Large": call(262_000) } }
    });
    let inner = json!({
        "Type": "Parallel", "End": true, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        "Branches": [
            { "StartAt": "Calls", "States": { "Calls": calls } },
            { "StartAt": trouble_starts, "States": trouble }
        ]
    });
    let machine = json!({
        "QueryLanguage": "JSONata", "StartAt": "Both", "States": { "Both": { "Type": "Parallel", "End": true, "Branches": [
            { "StartAt": "Inner", "States": { "Inner": inner, "Caught": { "Type": "Pass", "Output": "caught", "End": true } } },
            { "StartAt": "Later", "States": {
                "Later": { "Type": "Wait", "Seconds": 5, "Next": "Small" }, "Small": call(2_000)
            } }
        ] } }
    });
    let definition = Definition::load(&machine.to_string()).expect("a sound machine");
    Execution::start(Arc::new(definition), ExecutionStart::default(), second(0))
}

fn commands(execution: &mut Execution) -> Vec<Command> {
    std::iter::from_fn(|| execution.poll_command()).collect()
}

/// How many attempts are asked for, and how many given up.
fn asked_and_given_up(execution: &mut Execution) -> (usize, usize) {
    let commands = commands(execution);
    let count = |is_it: fn(&Command) -> bool| commands.iter().filter(|command| is_it(command)).count();
    (count(|c| matches!(c, Command::ScheduleTask { .. })), count(|c| matches!(c, Command::CancelTask { .. })))
}

#[test]
fn payloads_under_way_have_a_limit() {
    let mut execution = crowded(&json!({"Trouble": {"Type": "Wait", "Seconds": 100, "End": true}}));
    assert_eq!(asked_and_given_up(&mut execution), (8, 0));
    // 8 * 262,002 bytes leave less room than 2,002.
    execution.handle_timeout(second(5));
    assert_eq!(asked_and_given_up(&mut execution), (0, 0));
    execution.handle_event(succeeded(1, json!(1)), second(6));
    assert_eq!(asked_and_given_up(&mut execution), (1, 0));
}

#[test]
fn attempts_given_up_leave_room_for_others() {
    let fails_in_time = json!({
        "Trouble": {"Type": "Wait", "Seconds": 10, "Next": "Fails"}, "Fails": {"Type": "Fail", "Error": "E"}
    });
    let fails_by_its_items = json!({"Trouble": {
        "Type": "Map", "End": true,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"},
            "Arguments": {"Bucket": "b", "Key": "k"}
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Child", "States": {"Child": {"Type": "Pass", "End": true}}
        }
    }});
    for trouble in [fails_in_time, fails_by_its_items] {
        let mut execution = crowded(&trouble);
        assert_eq!(asked_and_given_up(&mut execution), (8, 0));
        execution.handle_timeout(second(5));
        assert_eq!(asked_and_given_up(&mut execution), (0, 0));
        execution.handle_timeout(second(10));
        let (error, cause) = ("States.ItemReaderFailed".to_owned(), String::new());
        execution.handle_event(Event::MapRunFailed { map_run: asl::MapRunId(1), error, cause }, second(10));
        assert_eq!(asked_and_given_up(&mut execution), (1, 8), "{trouble}");
        execution.handle_event(succeeded(9, json!(1)), second(11));
        let output = json!(["caught", 1]);
        assert_eq!(execution.outcome(), Some(&Outcome::Succeeded { output }));
    }
}

fn failure(definition: &Value) -> (Option<String>, Execution) {
    let definition = Definition::load(&definition.to_string()).expect("a sound machine");
    let execution = Execution::start(Arc::new(definition), ExecutionStart::default(), second(0));
    let error = match execution.outcome() {
        Some(Outcome::Failed { error, .. }) => error.clone(),
        other => panic!("{other:?}"),
    };
    (error, execution)
}

#[test]
fn all_variables_together_have_a_limit() {
    let entered_before_the_end = |bytes: usize| {
        let states = (0..50).map(|n| {
            let (name, variable) = (format!("S{n}"), format!("v{n}"));
            let state = json!({
                "Type": "Pass", "Assign": {variable: format!("{{% $pad('', {bytes}, 'x') %}}")}, "Next": format!("S{}", n + 1)
            });
            (name, state)
        });
        let mut states: serde_json::Map<String, Value> = states.collect();
        states.insert("S50".to_owned(), json!({"Type": "Fail", "Error": "Enough"}));
        let (error, mut execution) = failure(&json!({"QueryLanguage": "JSONata", "StartAt": "S0", "States": states}));
        let traces = std::iter::from_fn(|| execution.poll_trace());
        (error.unwrap_or_default(), traces.filter(|trace| matches!(trace, asl::Trace::StateEntered { .. })).count())
    };
    // 10 MiB are 41 times 250,002 bytes, and no more.
    assert_eq!(entered_before_the_end(250_000), ("States.DataLimitExceeded".to_owned(), 42));
    assert_eq!(entered_before_the_end(200_000), ("Enough".to_owned(), 51));
}

#[test]
fn an_evaluation_that_fails_is_an_event_of_the_history() {
    let (error, mut execution) = failure(&json!({
        "QueryLanguage": "JSONata", "StartAt": "Again", "States": {"Again": {
            "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "Arguments": "{% $nothing %}",
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Again"}], "End": true
        }}
    }));
    assert_eq!(error.as_deref(), Some("States.Runtime"));
    let traces: Vec<_> = std::iter::from_fn(|| execution.poll_trace()).collect();
    // TaskStateEntered, EvaluationFailed, TaskStateExited: a third of 25,000.
    let failed = traces.iter().filter(|trace| matches!(trace, asl::Trace::EvaluationFailed { .. })).count();
    assert_eq!(failed, 8_333);
}

#[test]
fn an_item_told_twice_begins_one_child() {
    let definition = Definition::load(
        &json!({
            "QueryLanguage": "JSONata", "StartAt": "Each", "States": {"Each": {
                "Type": "Map", "End": true, "Output": "{% $count($states.result) %}",
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"},
                    "Arguments": {"Bucket": "b", "Key": "k"}
                },
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "Call", "States": {"Call": {
                        "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f", "End": true
                    }}
                }
            }}
        })
        .to_string(),
    );
    let definition = Arc::new(definition.expect("a sound machine"));
    let mut tree = asl::ExecutionTree::start(definition, ExecutionStart::default(), second(0));
    let root = asl::ChildPath::default();
    let map_run = asl::MapRunId(1);
    let asked = |tree: &mut asl::ExecutionTree| {
        let commands: Vec<_> = std::iter::from_fn(|| tree.poll_command()).collect();
        commands
            .into_iter()
            .filter(|(_, command)| matches!(command, Command::ScheduleTask { .. }))
            .map(|(path, _)| path)
            .collect::<Vec<_>>()
    };
    tree.tell(&root, asl::Told::Event(Event::ItemsRead { map_run, count: 3 }), second(1));
    let item = |index| asl::Told::Item { map_run, index, item: json!(index) };
    let child = |index| root.child(map_run, index);
    tree.tell(&root, item(1), second(1));
    assert_eq!(asked(&mut tree), [child(1)]);
    // Under way.
    tree.tell(&root, item(1), second(1));
    // Not there.
    tree.tell(&root, item(3), second(1));
    assert_eq!(asked(&mut tree), []);
    // Passed over, but told all the same.
    tree.tell(&root, item(0), second(1));
    tree.tell(&root, item(0), second(1));
    assert_eq!(asked(&mut tree), [child(0)]);
    tree.tell(&child(1), asl::Told::Event(succeeded(1, json!(1))), second(2));
    // Over.
    tree.tell(&root, item(1), second(2));
    assert_eq!(asked(&mut tree), []);
    assert_eq!(tree.wanted_item().map(|wanted| wanted.index), Some(2));
    tree.tell(&root, item(2), second(2));
    for index in [0, 2] {
        tree.tell(&child(index), asl::Told::Event(succeeded(1, json!(1))), second(3));
    }
    assert_eq!(tree.outcome(), Some(&Outcome::Succeeded { output: json!(3) }));
}
