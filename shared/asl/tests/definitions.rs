//! What is wrong with definitions, what is drawn of them, and that no garbage makes the interpreter panic.

use std::sync::Arc;

use asl::{Command, Definition, Event, Execution, Severity, Start, validate};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A machine that uses everything.
fn everything() -> Value {
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

/// The codes and places of what is wrong with the machine after a change.
fn wrong(change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
    let mut definition = everything();
    change(&mut definition);
    let diagnostics = validate(&definition.to_string());
    assert_eq!(Definition::load(&definition.to_string()).is_err(), diagnostics.has_errors());
    diagnostics.0.into_iter().map(|found| (found.code, found.location)).collect()
}

#[test]
fn a_sound_definition_has_nothing_wrong() {
    assert_eq!(wrong(|_| {}), []);
}

#[test]
fn everything_wrong_is_found_in_its_place() {
    const SCHEMA: &str = "SCHEMA_VALIDATION_FAILED";
    const TARGET: &str = "MISSING_TRANSITION_TARGET";
    const REFUSED: &str = "NOT_SUPPORTED";
    const NOT_HERE: &str = "STATES_FIELD_NOT_AVAILABLE";
    // Where, what to put there, and the code and place of what is then wrong.
    let cases = [
        ("/States/Later/Color", json!(1), SCHEMA, "/States/Later/Color"),
        ("/States/Later/InputPath", json!("$"), SCHEMA, "/States/Later/InputPath"),
        ("/Color", json!(1), SCHEMA, "/Color"),
        ("/QueryLanguage", json!("XPath"), SCHEMA, "/QueryLanguage"),
        ("/TimeoutSeconds", json!(1), REFUSED, "/TimeoutSeconds"),
        ("/StartAt", json!("Nowhere"), TARGET, "/StartAt"),
        ("/States/Call-it/Next", json!("Nowhere"), TARGET, "/States/Call-it/Next"),
        ("/States/Which/Default", json!("Nowhere"), TARGET, "/States/Which/Default"),
        ("/States/Which/Choices/1/Next", json!("Nowhere"), TARGET, "/States/Which/Choices/1/Next"),
        ("/States/Call it/Catch/0/Next", json!("Nowhere"), TARGET, "/States/Call it/Catch/0/Next"),
        ("/States/Lonely", json!({"Type": "Succeed"}), TARGET, "/States/Lonely"),
        ("/States/Later/End", json!(true), SCHEMA, "/States/Later"),
        ("/States/Later/Seconds", json!(-1), SCHEMA, "/States/Later/Seconds"),
        ("/States/Later/Seconds", json!("{% 1 + %}"), SCHEMA, "/States/Later/Seconds"),
        ("/States/Later/Timestamp", json!("2030-01-01T00:00:00Z"), SCHEMA, "/States/Later"),
        ("/States/Until/Timestamp", json!("tomorrow"), SCHEMA, "/States/Until/Timestamp"),
        ("/States/end/Output", json!({"a/b": ["{% ( %}"]}), SCHEMA, "/States/end/Output/a~1b/0"),
        ("/States/end/Assign", json!({}), SCHEMA, "/States/end/Assign"),
        ("/States/Call-it/Assign", json!({"states": 1}), SCHEMA, "/States/Call-it/Assign/states"),
        ("/States/Call-it/Assign", json!({"1st": 1}), SCHEMA, "/States/Call-it/Assign/1st"),
        ("/States/Broken/Error", json!(1), SCHEMA, "/States/Broken/Error"),
        ("/States/Which/Choices", json!([]), SCHEMA, "/States/Which/Choices"),
        ("/States/Which/Choices/1/Condition", json!("true"), SCHEMA, "/States/Which/Choices/1/Condition"),
        ("/States/Call it/TimeoutSeconds", json!(0), SCHEMA, "/States/Call it/TimeoutSeconds"),
        ("/States/Call it/HeartbeatSeconds", json!(30), SCHEMA, "/States/Call it/HeartbeatSeconds"),
        ("/States/Call it/Credentials", json!({}), SCHEMA, "/States/Call it/Credentials"),
        ("/States/Call it/Credentials", json!({"RoleArn": "r"}), REFUSED, "/States/Call it/Credentials"),
        ("/States/Call it/Arguments", json!({"Payload": 1}), SCHEMA, "/States/Call it/Arguments"),
        ("/States/Call it/Arguments", json!({"FunctionName": "f", "Input": 1}), SCHEMA, "/States/Call it/Arguments"),
        (
            "/States/Call it/Arguments/InvocationType",
            json!("Event"),
            REFUSED,
            "/States/Call it/Arguments/InvocationType",
        ),
        ("/States/Call it/Retry/0/MaxAttempts", json!(100_000_000), SCHEMA, "/States/Call it/Retry/0/MaxAttempts"),
        ("/States/Call it/Retry/0/MaxAttempts", json!(-1), SCHEMA, "/States/Call it/Retry/0/MaxAttempts"),
        ("/States/Call it/Retry/0/IntervalSeconds", json!(0), SCHEMA, "/States/Call it/Retry/0/IntervalSeconds"),
        ("/States/Call it/Retry/0/BackoffRate", json!(0.9), SCHEMA, "/States/Call it/Retry/0/BackoffRate"),
        ("/States/Call it/Retry/0/MaxDelaySeconds", json!(1), SCHEMA, "/States/Call it/Retry/0/MaxDelaySeconds"),
        (
            "/States/Call it/Retry/0/MaxDelaySeconds",
            json!(31_622_401),
            SCHEMA,
            "/States/Call it/Retry/0/MaxDelaySeconds",
        ),
        ("/States/Call it/Retry/0/JitterStrategy", json!("SOME"), SCHEMA, "/States/Call it/Retry/0/JitterStrategy"),
        ("/States/Call it/Retry/0/ErrorEquals", json!(["States.ALL"]), SCHEMA, "/States/Call it/Retry/0/ErrorEquals"),
        ("/States/Call it/Retry/1/ErrorEquals", json!([]), SCHEMA, "/States/Call it/Retry/1/ErrorEquals"),
        (
            "/States/Call it/Catch/0/ErrorEquals",
            json!(["States.ALL", "A"]),
            SCHEMA,
            "/States/Call it/Catch/0/ErrorEquals",
        ),
        ("/States/Plain/Resource", json!("arn:aws:states:::sqs:sendMessage"), REFUSED, "/States/Plain/Resource"),
        (
            "/States/Plain/Resource",
            json!("arn:aws:states:::lambda:invoke.waitForTaskToken"),
            REFUSED,
            "/States/Plain/Resource",
        ),
        (
            "/States/Plain/Resource",
            json!("arn:aws:states:::states:startExecution.sync"),
            REFUSED,
            "/States/Plain/Resource",
        ),
        ("/States/Plain", json!({"Type": "Map", "Next": "Which"}), REFUSED, "/States/Plain"),
        ("/States/Plain", json!({"Type": "Parallel", "Next": "Which"}), REFUSED, "/States/Plain"),
        ("/States/Plain/Type", json!("Job"), SCHEMA, "/States/Plain/Type"),
        ("/States/Plain", json!(1), SCHEMA, "/States/Plain"),
        ("/States/Plain/Arguments", json!("{% $states.result %}"), NOT_HERE, "/States/Plain/Arguments"),
        ("/States/Plain/Output", json!("{% $states.errorOutput.Error %}"), NOT_HERE, "/States/Plain/Output"),
        ("/States/Call-it/Output", json!("{% $states.result %}"), NOT_HERE, "/States/Call-it/Output"),
    ];
    for (at, value, code, place) in cases {
        let found = wrong(|definition| {
            let (parent, name) = at.rsplit_once('/').unwrap();
            match definition.pointer_mut(parent).unwrap() {
                Value::Object(object) => object.insert(name.to_owned(), value.clone()).map(drop),
                _ => panic!("{at}"),
            };
        });
        // Besides, some changes leave states behind that nothing leads to any more.
        assert!(found.contains(&(code.to_owned(), place.to_owned())), "{at} = {value}: {found:?}");
    }
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let found = wrong(|definition| {
        definition["States"]["Later"]["Seconds"] = json!("{% ( %}");
        definition["States"]["end"]["Next"] = json!("Later");
        definition["States"]["Plain"]["Next"] = json!("Nowhere");
        definition["Color"] = json!(1);
    });
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn a_warning_does_not_stop_a_definition() {
    let mut definition = everything();
    definition["States"]["Call-it"]["Output"] = json!("{% $states.result %}");
    let diagnostics = validate(&definition.to_string());
    assert_eq!(diagnostics.0.iter().map(|found| found.severity).collect::<Vec<_>>(), [Severity::Warning]);
    assert!(Definition::load(&definition.to_string()).is_ok());
}

#[test]
fn text_that_is_no_definition_is_refused() {
    for (text, code) in [
        (String::new(), "INVALID_JSON_DESCRIPTION"),
        ("[".repeat(500_000), "INVALID_JSON_DESCRIPTION"),
        ("[]".to_owned(), "SCHEMA_VALIDATION_FAILED"),
        (format!("{{\"Comment\": \"{}\"}}", "x".repeat(1024 * 1024)), "SCHEMA_VALIDATION_FAILED"),
        (r#"{"StartAt": "A", "States": {}}"#.to_owned(), "SCHEMA_VALIDATION_FAILED"),
    ] {
        let found = validate(&text);
        assert!(found.has_errors() && found.0.iter().any(|found| found.code == code), "{found}");
    }
}

#[test]
fn an_expression_nested_too_deeply_is_refused() {
    let deep = [
        "(".repeat(100_000),
        format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("1{}", "+1".repeat(100_000)),
    ];
    // Engines run on threads with small stacks.
    let load = std::thread::Builder::new().stack_size(512 * 1024).spawn(move || {
        for text in deep {
            let found = wrong(|definition| definition["States"]["end"]["Output"] = json!(format!("{{% {text} %}}")));
            assert_eq!(found.len(), 1);
        }
    });
    load.unwrap().join().unwrap();
}

#[test]
fn edges_are_all_there_is_to_take() {
    let definition = Definition::load(&everything().to_string()).unwrap();
    let edges: Vec<String> = definition.edges().iter().map(ToString::to_string).collect();
    assert_eq!(
        edges,
        [
            "Call it",
            "Call it/Retry/0",
            "Call it/Retry/1",
            "Call it/Catch/0",
            "Call-it",
            "Plain",
            "Which",
            "Which/Choices/0",
            "Which/Choices/1",
            "Which/Default",
            "Later",
            "Until",
            "Broken",
            "end"
        ]
    );
}

#[test]
fn the_picture_shows_what_leads_where_and_why() {
    let picture = Definition::load(&everything().to_string()).unwrap().to_mermaid();
    let wanted = r#"stateDiagram-v2
    state "Call it" as Call_it
    state "Call-it" as Call_it_
    state "end" as end_
    [*] --> Call_it
    Call_it --> Call_it : retry on A, B, C and 2 more, at most 2 times
    Call_it --> Call_it : retry on any error, at most 1 times
    Call_it --> Which
    Call_it --> Call_it_ : on any error
    Call_it_ --> Plain
    Plain --> Which
    Which --> Later : $n › 1 and $states.input.text = 'x y z'
    Which --> Broken : false
    Which --> Later : otherwise
    Later --> Until
    Until --> end_
    Broken --> [*] : fails
    end_ --> [*]
"#;
    assert_eq!(picture, wanted);
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What a value may be changed to.
fn others() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("Later"),
        json!("Which"),
        json!("{% $states %}"),
        json!("{% $states.input ~> |$|{'a': $}| %}"),
        json!("{% %}"),
        json!("{%%}"),
        json!("{% function($x){$x} %}"),
        json!("{% $nothing %}"),
        json!("{% 1e400 %}"),
        json!("{% [1..100000] %}"),
        json!("{% ($f := function($n){$f($n)}; $f(1)) %}"),
        json!([]),
        json!({}),
        json!("2030-13-01T00:00:00Z"),
        json!("9999-12-31T23:59:59Z"),
        json!([[], {}, ""]),
        json!({"Type": "Map"}),
        json!("{% $millis() %}"),
        json!(["States.ALL"]),
        json!(99_999_999),
        json!("{% $$.a.%.b %}"),
    ]
}

/// Changes some expressions to others, so that the definition mostly still loads.
fn spoil_expressions(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(object) => object.values_mut().for_each(|value| spoil_expressions(value, dice)),
        Value::Array(items) => items.iter_mut().for_each(|item| spoil_expressions(item, dice)),
        Value::String(text) if text.starts_with("{%") && dice.below(3) == 0 => {
            let is_expression = |other: &Value| other.as_str().is_some_and(|text| text.starts_with("{% "));
            let expressions: Vec<_> = others().into_iter().filter(is_expression).collect();
            *value = dice.one_of(&expressions).clone();
        }
        _ => {}
    }
}

/// Changes something somewhere.
fn spoil(value: &mut Value, dice: &mut Dice) {
    let deeper = dice.below(8) > 0;
    match value {
        Value::Object(object) if deeper && !object.is_empty() => {
            let names: Vec<String> = object.keys().cloned().collect();
            let name = dice.one_of(&names);
            match dice.below(12) {
                0 => drop(object.remove(name)),
                1 => {
                    let moved = object.remove(name).unwrap_or_default();
                    object.insert((*dice.one_of(&["Next", "Type", "Output", "", "Assign", "ä/~"])).to_owned(), moved);
                }
                _ => spoil(&mut object[name.as_str()], dice),
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let index = dice.below(items.len());
            spoil(&mut items[index], dice);
        }
        _ => {
            let others = others();
            *value = dice.one_of(&others).clone();
        }
    }
}

#[test]
fn garbage_is_refused_or_runs_but_never_panics() {
    const SEED: u64 = 20_260_101;
    println!("seed {SEED}");
    let mut dice = Dice(SEED);
    let mut ran = 0;
    for _ in 0..3_000 {
        let mut definition = everything();
        if dice.below(2) == 0 {
            spoil_expressions(&mut definition, &mut dice);
        } else {
            (0..=dice.below(4)).for_each(|_| spoil(&mut definition, &mut dice));
        }
        let mut text = definition.to_string();
        if dice.below(10) == 0 {
            let at =
                (0..text.len()).filter(|at| text.is_char_boundary(*at)).nth(dice.below(text.chars().count())).unwrap();
            text.insert_str(at, dice.one_of::<&str>(&["\"", "{", "}", "[", "\\", "\u{0}", ",", "{%", "ä"]));
        }
        let diagnostics = validate(&text);
        assert_eq!(diagnostics.has_errors(), Definition::load(&text).is_err());
        let Ok(definition) = Definition::load(&text) else { continue };
        let _ = (definition.to_mermaid(), definition.edges());
        run(Arc::new(definition), &mut dice);
        ran += 1;
    }
    assert!(ran > 300, "only {ran} could be run");
}

/// Tells the execution this and that.
fn run(definition: Arc<Definition>, dice: &mut Dice) {
    let start = Start { input: json!({"a": 1, "heartbeat": 3}), seed: 1, ..Start::default() };
    let mut now = Timestamp::UNIX_EPOCH;
    let mut execution = Execution::start(Arc::clone(&definition), start, now);
    let mut last = None;
    for _ in 0..30 {
        while let Some(command) = execution.poll_command() {
            if let Command::ScheduleTask { id, .. } = command {
                last = Some(id);
            }
        }
        while execution.poll_trace().is_some() {}
        let at_rest = serde_json::to_string(&execution.snapshot()).unwrap();
        execution = Execution::restore(Arc::clone(&definition), serde_json::from_str(&at_rest).unwrap());
        if execution.outcome().is_some() {
            return;
        }
        match (execution.poll_timeout(), last) {
            (Some(at), _) => {
                now = now.max(at);
                execution.handle_timeout(now);
            }
            (None, Some(id)) if dice.below(2) == 0 => {
                let result = dice.one_of(&[json!(null), json!([1, [2]]), json!({"text": "x:y;z"}), json!("x")]).clone();
                execution.handle_event(Event::TaskSucceeded { id, result }, now);
            }
            (None, Some(id)) => {
                let error = (*dice.one_of(&["A", "", "States.Timeout", "States.Runtime"])).to_owned();
                execution.handle_event(Event::TaskFailed { id, error, cause: "c".to_owned() }, now);
            }
            (None, None) => panic!("it waits for nothing"),
        }
    }
}
