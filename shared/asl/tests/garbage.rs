//! No definition makes the interpreter panic, however spoiled, whatever it is then told.

use std::sync::Arc;

use asl::{ChildPath, Command, Definition, Event, Execution, ExecutionStart, ExecutionTree, Told, validate};
use jiff::Timestamp;
use serde_json::{Value, json};

#[path = "support/dice.rs"]
mod dice;
#[path = "support/everything.rs"]
mod everything;

use dice::Dice;
use everything::everything;

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
        json!("{% [1..1000] %}"),
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
        Value::String(text) if text.starts_with("{%") && dice.below(5) == 0 => {
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
    for _ in 0..4_000 {
        let mut definition = everything();
        if dice.below(2) == 0 {
            // The other way round, or few would get as far as the children.
            definition["StartAt"] = json!("Children");
            definition["States"]["Children"]["Next"] = json!("Call it");
            definition["States"]["Children"]["ItemSelector"]["n"] = json!(1);
            definition["States"]["Each"]["Next"] = json!("end");
        }
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
    assert!(ran > 400, "only {ran} could be run");
}

/// Tells the execution this and that.
fn run(definition: Arc<Definition>, dice: &mut Dice) {
    let start =
        ExecutionStart { input: json!({"a": 1, "heartbeat": 3, "key": "k"}), seed: 1, ..ExecutionStart::default() };
    run_tree(Arc::clone(&definition), start.clone(), dice);
    let mut now = Timestamp::UNIX_EPOCH;
    let mut execution = Execution::start(Arc::clone(&definition), start, now);
    let mut may_come: Vec<Event> = Vec::new();
    for _ in 0..30 {
        while let Some(command) = execution.poll_command() {
            may_come.extend(answers(command, dice));
        }
        while execution.poll_trace().is_some() {}
        let at_rest = serde_json::to_string(&execution.snapshot()).expect("a snapshot is JSON");
        execution =
            Execution::restore(Arc::clone(&definition), serde_json::from_str(&at_rest).expect("the same snapshot"));
        if execution.outcome().is_some() {
            return;
        }
        if let Some(at) = execution.poll_timeout() {
            now = now.max(at);
            execution.handle_timeout(now);
        } else {
            assert!(!may_come.is_empty(), "it waits for nothing");
            // Also what came before, or is not waited for any more.
            execution.handle_event(dice.one_of(&may_come).clone(), now);
        }
    }
}

/// The same with its children.
fn run_tree(definition: Arc<Definition>, start: ExecutionStart, dice: &mut Dice) {
    let mut now = Timestamp::UNIX_EPOCH;
    let mut tree = ExecutionTree::start(definition, start, now);
    let mut may_come = Vec::new();
    for _ in 0..30 {
        while let Some((path, command)) = tree.poll_command() {
            may_come.extend(answers(command, dice).into_iter().map(|event| (path.clone(), event)));
        }
        while tree.poll_trace().is_some() || tree.poll_end().is_some() {}
        if tree.outcome().is_some() {
            return;
        }
        if let Some(wanted) = tree.wanted_item() {
            let item = dice.one_of(&others()).clone();
            let (map_run, index) = (wanted.map_run, wanted.index);
            tree.tell(&wanted.path, Told::Item { map_run, index, item }, now);
        } else if let Some(at) = tree.poll_timeout() {
            now = now.max(at);
            tree.tell(&ChildPath::default(), Told::Timer, now);
        } else {
            assert!(!may_come.is_empty(), "it waits for nothing");
            let (path, event) = dice.one_of(&may_come).clone();
            tree.tell(&path, Told::Event(event), now);
        }
    }
}

/// What may come of a command.
fn answers(command: Command, dice: &mut Dice) -> Vec<Event> {
    let error = (*dice.one_of(&["A", "", "States.Timeout", "States.Runtime"])).to_owned();
    let result = dice.one_of(&[json!(null), json!([1, [2]]), json!({"text": "x:y;z"}), json!("x")]).clone();
    let cause = "c".to_owned();
    match command {
        Command::ScheduleTask { id, .. } => {
            vec![Event::TaskSucceeded { id, result }, Event::TaskFailed { id, error, cause }]
        }
        Command::ReadItems { map_run, .. } => {
            vec![Event::ItemsRead { map_run, count: 3 }, Event::MapRunFailed { map_run, error, cause }]
        }
        Command::StartChildren(run) => {
            let ended = |index| Event::ChildEnded { map_run: run.id, index, has_failed: index == 0, result: json!(1) };
            (0..=run.items.min(9)).map(ended).collect()
        }
        Command::WriteResults { map_run, .. } => {
            vec![Event::ResultsWritten { map_run, result }, Event::MapRunFailed { map_run, error, cause }]
        }
        _ => Vec::new(),
    }
}
