//! What is wrong with definitions, and what is drawn of them.

use asl::{Definition, Severity, validate};
use serde_json::{Value, json};

#[path = "support/everything.rs"]
mod everything;

use everything::everything;

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
        ("/States/Call it/Arguments/Qualifier", json!("7"), REFUSED, "/States/Call it/Arguments/Qualifier"),
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
        ("/States/Plain", json!({"Type": "Map", "Next": "Which"}), SCHEMA, "/States/Plain"),
        ("/States/Plain", json!({"Type": "Parallel", "Next": "Which"}), SCHEMA, "/States/Plain/Branches"),
        ("/States/Both/Branches", json!([]), SCHEMA, "/States/Both/Branches"),
        ("/States/Both/Branches", json!([1, {}]), SCHEMA, "/States/Both/Branches/1"),
        ("/States/Both/Branches/0/Color", json!(1), SCHEMA, "/States/Both/Branches/0/Color"),
        ("/States/Both/Branches/0/StartAt", json!("Right"), TARGET, "/States/Both/Branches/0/StartAt"),
        (
            "/States/Both/Branches/1/States/Right/Next",
            json!("Each"),
            TARGET,
            "/States/Both/Branches/1/States/Right/Next",
        ),
        (
            "/States/Both/Branches/0/States/Later",
            json!({"Type": "Succeed"}),
            "DUPLICATE_STATE_NAME",
            "/States/Both/Branches/0/States/Later",
        ),
        ("/States/Each/Items", json!("[1]"), SCHEMA, "/States/Each/Items"),
        ("/States/Each/MaxConcurrency", json!(-1), SCHEMA, "/States/Each/MaxConcurrency"),
        ("/States/Each/ToleratedFailurePercentage", json!(101), SCHEMA, "/States/Each/ToleratedFailurePercentage"),
        ("/States/Each/ItemReader", json!({}), SCHEMA, "/States/Each/ItemReader"),
        ("/States/Each/ResultWriter", json!({}), SCHEMA, "/States/Each/ResultWriter"),
        ("/States/Each/Label", json!("l"), SCHEMA, "/States/Each/Label"),
        ("/States/Each/ItemProcessor/ProcessorConfig", json!(1), SCHEMA, "/States/Each/ItemProcessor/ProcessorConfig"),
        (
            "/States/Each/ItemProcessor/ProcessorConfig/Mode",
            json!("DISTRIBUTED"),
            SCHEMA,
            "/States/Each/ItemProcessor/ProcessorConfig",
        ),
        (
            "/States/Each/ItemProcessor/ProcessorConfig/ExecutionType",
            json!("STANDARD"),
            SCHEMA,
            "/States/Each/ItemProcessor/ProcessorConfig/ExecutionType",
        ),
        (
            "/States/Children/ItemProcessor/ProcessorConfig/ExecutionType",
            json!("EXPRESS"),
            REFUSED,
            "/States/Children/ItemProcessor/ProcessorConfig/ExecutionType",
        ),
        (
            "/States/Children/ItemProcessor/QueryLanguage",
            json!("JSONPath"),
            REFUSED,
            "/States/Children/ItemProcessor/QueryLanguage",
        ),
        ("/States/Children/ItemBatcher", json!({"MaxItemsPerBatch": 2}), REFUSED, "/States/Children/ItemBatcher"),
        ("/States/Children/Items", json!([]), SCHEMA, "/States/Children/Items"),
        ("/States/Children/Label", json!("l".repeat(41)), SCHEMA, "/States/Children/Label"),
        (
            "/States/Children/ItemReader/Resource",
            json!("arn:aws:states:::s3:listObjectsV2"),
            REFUSED,
            "/States/Children/ItemReader/Resource",
        ),
        ("/States/Children/ItemReader/ReaderConfig", json!(1), SCHEMA, "/States/Children/ItemReader/ReaderConfig"),
        (
            "/States/Children/ItemReader/ReaderConfig/InputType",
            json!("MANIFEST"),
            REFUSED,
            "/States/Children/ItemReader/ReaderConfig/InputType",
        ),
        (
            "/States/Children/ItemReader/ReaderConfig/InputType",
            json!("XML"),
            SCHEMA,
            "/States/Children/ItemReader/ReaderConfig/InputType",
        ),
        (
            "/States/Children/ItemReader/ReaderConfig/CSVHeaderLocation",
            json!("FIRST_ROW"),
            SCHEMA,
            "/States/Children/ItemReader/ReaderConfig/CSVHeaders",
        ),
        (
            "/States/Children/ItemReader/ReaderConfig/CSVHeaders",
            json!([1]),
            SCHEMA,
            "/States/Children/ItemReader/ReaderConfig/CSVHeaders",
        ),
        (
            "/States/Children/ItemReader/ReaderConfig/CSVDelimiter",
            json!(";"),
            SCHEMA,
            "/States/Children/ItemReader/ReaderConfig/CSVDelimiter",
        ),
        (
            "/States/Children/ResultWriter/Resource",
            json!("arn:aws:states:::s3:getObject"),
            REFUSED,
            "/States/Children/ResultWriter/Resource",
        ),
        ("/States/Children/ResultWriter", json!({}), SCHEMA, "/States/Children/ResultWriter"),
        (
            "/States/Children/ResultWriter/WriterConfig",
            json!({"OutputType": "JSONL"}),
            REFUSED,
            "/States/Children/ResultWriter/WriterConfig",
        ),
        (
            "/States/Each/ItemProcessor/States/Inner/ItemProcessor/States/Innermost/Next",
            json!("Inner"),
            SCHEMA,
            "/States/Each/ItemProcessor/States/Inner/ItemProcessor/States/Innermost/Next",
        ),
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
fn an_inner_scope_that_assigns_an_outer_name_is_pointed_at() {
    let map = |mode: &str, states: Value| {
        json!({
            "Type": "Map", "Items": [1], "Assign": {"mapped": 1}, "Next": "Last",
            "ItemProcessor": {
                "ProcessorConfig": if mode == "INLINE" { json!({"Mode": mode}) } else { json!({"Mode": mode, "ExecutionType": "STANDARD"}) },
                "StartAt": "Inner", "States": states
            }
        })
    };
    let inner = |name: &str| {
        json!({
            "Inner": {
                "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": {"FunctionName": "f"},
                "Assign": {"own": 1, name: 1}, "Catch": [{"ErrorEquals": ["E"], "Assign": {name: 2}, "Next": "Choose"}],
                "Next": "Choose"
            },
            "Choose": {
                "Type": "Choice", "Choices": [{"Condition": true, "Assign": {name: 3, "own": 2}, "Next": "Done"}],
                "Default": "Done"
            },
            "Done": {"Type": "Succeed"}
        })
    };
    for (mode, name, expected) in [
        ("INLINE", "else", &[][..]),
        // Also what is assigned behind it, or nowhere but in a catcher.
        ("INLINE", "first", &["Inner/Assign", "Inner/Catch/0/Assign", "Choose/Choices/0/Assign"]),
        ("DISTRIBUTED", "last", &["Inner/Assign", "Inner/Catch/0/Assign", "Choose/Choices/0/Assign"]),
        ("INLINE", "mapped", &["Inner/Assign", "Inner/Catch/0/Assign", "Choose/Choices/0/Assign"]),
    ] {
        let definition = json!({
            "QueryLanguage": "JSONata", "StartAt": "First",
            "States": {
                "First": {"Type": "Pass", "Assign": {"first": 1}, "Next": "Each"},
                "Each": map(mode, inner(name)),
                "Last": {"Type": "Pass", "Assign": {"last": 1}, "End": true}
            }
        });
        let found = validate(&definition.to_string());
        assert!(found.0.iter().all(|found| found.severity == Severity::Warning), "{found}");
        let mut places: Vec<_> = found.0.into_iter().map(|found| (found.code, found.location)).collect();
        let place = |at| format!("/States/Each/ItemProcessor/States/{at}/{name}");
        let mut expected: Vec<_> =
            expected.iter().map(|at| ("VARIABLE_OF_OUTER_SCOPE".to_owned(), place(at))).collect();
        places.sort();
        expected.sort();
        assert_eq!(places, expected, "{mode} {name}");
    }
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
            "Both",
            "Both/Retry/0",
            "Both/Catch/0",
            "Each",
            "Each/Retry/0",
            "Children",
            "Children/Catch/0",
            "end",
            "Left",
            "Right",
            "Right again",
            "Inner",
            "Child",
            "Innermost",
            "Grandchild"
        ]
    );
}

#[test]
fn the_picture_shows_what_leads_where_and_why() {
    let picture = Definition::load(&everything().to_string()).unwrap().to_mermaid();
    let wanted = r#"stateDiagram-v2
    state "Call it" as Call_it
    state "Call-it" as Call_it_
    state Both {
        [*] --> Left
        Left --> [*]
        --
        state "Right (waits 1 s)" as Right
        state "Right again" as Right_again
        [*] --> Right
        Right --> Right_again
        Right_again --> [*]
    }
    state "Each (for each item)" as Each
    state Each {
        state "Inner (for each item)" as Inner
        state Inner {
            [*] --> Innermost
            Innermost --> [*]
        }
        [*] --> Inner
        Inner --> [*]
    }
    state "Children (an execution for each item)" as Children
    state Children {
        state "Child (an execution for each item)" as Child
        state Child {
            [*] --> Grandchild
            Grandchild --> [*]
        }
        [*] --> Child
        Child --> [*]
    }
    state "end" as end_
    [*] --> Call_it
    Call_it --> Call_it : retries A and 4 more (at most 2), any error (at most 1)
    Call_it --> Which
    Call_it --> Call_it_ : on any error
    Call_it_ --> Plain
    Plain --> Which
    Which --> Later : $n › 1 and $states.input.text = 'x y z'
    Which --> Broken : false
    Which --> Later : otherwise
    Later --> Until
    Until --> Both
    Broken --> [*] : fails
    Both --> Both : retries A (at most 3)
    Both --> Each
    Both --> Each : on any error
    Each --> Each : retries any error (at most 1)
    Each --> Children
    Children --> end_
    Children --> end_ : on any error
    end_ --> [*]
"#;
    assert_eq!(picture, wanted);
}
