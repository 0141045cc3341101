//! What a retry takes over, by what the history of an execution says.

use contracts::Timestamp;
use serde_json::json;

use super::*;

/// The history of a story: one event after another, each in a few words about a step.
fn history(story: &[&str]) -> Vec<Event> {
    let mut attempts = BTreeMap::<String, u64>::new();
    let mut history = vec![(EventType::WorkflowExecutionStarted, json!({ "input": {} }))];
    for line in story {
        history.extend(events(line, &mut attempts));
    }
    let event = |(event_id, (event_type, details)): (u64, (EventType, Value))| Event {
        event_id,
        event_type: event_type.as_str().to_owned(),
        timestamp: Timestamp::UNIX_EPOCH,
        details,
    };
    (1..).zip(history).map(event).collect()
}

fn events(line: &str, attempts: &mut BTreeMap<String, u64>) -> Vec<(EventType, Value)> {
    use EventType as Type;

    let (step, what) = line.split_once(' ').expect("a step, and what happens to it");
    let undo = format!("Undo{step}");
    let mut next = || {
        let number = attempts.entry(step.to_owned()).or_default();
        *number += 1;
        *number
    };
    let of = |path: &str, more: Value| {
        let mut details = json!({ "activity_id": path });
        details.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        details
    };
    let completed = |result: Value| vec![(Type::ActivityTaskCompleted, of(step, json!({ "result": result })))];
    let refused = |attempt: u64, error: &str| {
        let failed = of(step, json!({ "error": error, "attempt": attempt }));
        vec![(Type::ActivityTaskScheduled, of(step, json!({}))), (Type::ActivityTaskFailed, failed)]
    };
    match what {
        "begins" => {
            let attempt = json!({ "attempt": next() });
            vec![
                (Type::ActivityTaskScheduled, of(step, attempt.clone())),
                (Type::ActivityTaskStarted, of(step, attempt)),
            ]
        }
        "is done" => completed(json!({ "of": step })),
        "is done again" => completed(json!({ "of": step, "anew": true })),
        "is skipped" => completed(json!({ "skipped": true })),
        "is answered" => completed(json!({ "of": step, "already_done": true })),
        "fails" => vec![(Type::ActivityTaskFailed, of(step, json!({ "error": "ServiceUnavailable", "attempt": 1 })))],
        "is lost" => vec![(Type::ActivityTaskTimedOut, of(step, json!({ "error": "States.Timeout" })))],
        "is refused by a cancel" => refused(next(), "WorkflowCancelled"),
        "is refused by the deadline" => refused(next(), "WorkflowTimedOut"),
        "undoing begins" => vec![(Type::CompensationScheduled, of(&undo, json!({ "undoes": step })))],
        "is undone" => vec![(Type::CompensationCompleted, of(&undo, json!({ "result": { "undone": true } })))],
        "had nothing to undo" => {
            vec![(Type::CompensationCompleted, of(&undo, json!({ "result": { "undone": false } })))]
        }
        "undoing fails" => vec![(Type::CompensationFailed, of(&undo, json!({ "error": "Conflict" })))],
        other => panic!("{other}"),
    }
}

/// A step in a few words: `A Sure s0 own = result`.
fn text(step: &InheritedStep) -> String {
    let mut words = vec![step.path.to_string(), format!("{:?}", step.standing)];
    words.extend(step.scopes.iter().cloned());
    match &step.result {
        Some(result) if was_skipped(result) => words.push("= skipped".to_owned()),
        Some(result) if result["anew"] == true => words.push("= anew".to_owned()),
        Some(_) => words.push("= done".to_owned()),
        None => {}
    }
    words.extend(step.is_tolerated.then(|| "tolerated".to_owned()));
    words.join(" ")
}

/// What the execution took over itself.
fn earlier(steps: &[(&str, Standing, &[&str], bool)]) -> Inherited {
    let one = |(path, standing, scopes, is_done): &(&str, Standing, &[&str], bool)| InheritedStep {
        path: path.parse().expect("a path"),
        result: is_done.then(|| json!({ "of": path })),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        standing: *standing,
        is_tolerated: false,
        is_lasting: false,
    };
    Inherited(steps.iter().map(one).collect())
}

/// Each line of `story` is an event or two; every step whose name begins with `Read` changes nothing.
#[track_caller]
fn takes_over(earlier: &Inherited, story: &[&str], expected: &[&str]) {
    let inherited = inherit(&history(story), earlier, "own", effect_of);
    assert_eq!(inherited.0.iter().map(text).collect::<Vec<_>>(), expected, "{story:?}");
}

fn nothing() -> Inherited {
    Inherited::default()
}

#[test]
fn of_what_was_terminated_everything_stands_that_was_done() {
    takes_over(&nothing(), &[], &[]);
    takes_over(&nothing(), &["A begins"], &["A Unsure own"]);
    takes_over(&nothing(), &["A begins", "A is done"], &["A Sure own = done"]);
    takes_over(&nothing(), &["A begins", "A is done", "B begins", "B is lost"], &["A Sure own = done", "B Unsure own"]);
    takes_over(&nothing(), &["A begins", "A fails"], &["A Unsure own"]);
    takes_over(&nothing(), &["A begins", "A fails", "A begins", "A is done"], &["A Sure own = done"]);
}

#[test]
fn of_what_is_undone_nothing_stands() {
    let undone = ["B undoing begins", "B had nothing to undo", "A undoing begins", "A is undone"];
    let failed = [&["A begins", "A is done", "B begins", "B fails"][..], &undone].concat();
    takes_over(&nothing(), &failed, &["A Gone = done", "B Gone"]);
    let tried_again =
        ["A begins", "A is done", "A undoing begins", "A undoing fails", "A undoing begins", "A is undone"];
    takes_over(&nothing(), &tried_again, &["A Gone = done"]);
}

#[test]
fn what_could_not_be_undone_may_stand() {
    let story = ["A begins", "A is done", "B begins", "B fails", "B undoing begins", "B is undone"];
    for rest in [&["A undoing begins"][..], &["A undoing begins", "A undoing fails"]] {
        takes_over(&nothing(), &[&story[..], rest].concat(), &["A Undoing own = done", "B Gone"]);
    }
}

#[test]
fn what_stands_behind_a_step_that_is_done_anew_is_outdated() {
    let done = ["A begins", "A is done", "B begins", "B is done", "C begins", "C is done"];
    let undone = |steps: &[&'static str]| [&done[..], steps].concat();
    let a_is_undone = undone(&["A undoing begins", "A is undone"]);
    takes_over(&nothing(), &a_is_undone, &["A Gone = done", "B Outdated own = done", "C Outdated own = done"]);
    let b_is_undone = undone(&["C undoing begins", "C undoing fails", "B undoing begins", "B is undone"]);
    takes_over(&nothing(), &b_is_undone, &["A Sure own = done", "B Gone = done", "C Outdated own = done"]);
}

#[test]
fn steps_stand_in_the_order_of_their_first_begin() {
    let story =
        ["B begins", "A begins", "A is done", "B fails", "B begins", "B is done", "A undoing begins", "A is undone"];
    takes_over(&nothing(), &story, &["B Sure own = done", "A Gone = done"]);
    let items = ["Copy[2] begins", "Copy[1] begins", "Copy[2] is done"];
    takes_over(&nothing(), &items, &["Copy[2] Sure own = done", "Copy[1] Unsure own"]);
}

#[test]
fn a_failure_is_tolerated_if_a_step_begins_behind_its_undoing() {
    let failed = ["A begins", "A is done", "B begins", "B fails", "B undoing begins", "B is undone"];
    takes_over(&nothing(), &failed, &["A Sure own = done", "B Gone"]);
    let went_on = [&failed[..], &["C begins", "C is done"]].concat();
    let expected = ["A Sure own = done", "B Gone tolerated", "C Sure own = done"];
    takes_over(&nothing(), &went_on, &expected);
    let stands = ["B begins", "B fails", "B undoing begins", "B undoing fails", "C begins", "C is done"];
    takes_over(&nothing(), &stands, &["B Undoing own tolerated", "C Sure own = done"]);
    let done = ["B begins", "B is done", "B undoing begins", "B is undone", "C begins"];
    takes_over(&nothing(), &done, &["B Gone = done", "C Outdated own"]);
}

#[test]
fn what_was_skipped_or_changes_nothing_does_not_stand() {
    let skipped = ["A begins", "A is skipped", "B begins", "B is done"];
    takes_over(&nothing(), &skipped, &["A Gone = skipped", "B Sure own = done"]);
    let read = ["A begins", "A is done", "ReadA begins", "ReadA is done", "B begins", "B is done"];
    takes_over(&nothing(), &read, &["A Sure own = done", "ReadA Gone = done", "B Sure own = done"]);
    let lost = ["ReadA begins", "ReadA is lost", "B begins", "B is done"];
    takes_over(&nothing(), &lost, &["ReadA Gone", "B Sure own = done"]);
}

#[test]
fn what_was_refused_never_began() {
    for refused in ["B is refused by a cancel", "B is refused by the deadline"] {
        let story = ["A begins", "A is done", refused];
        takes_over(&nothing(), &story, &["A Sure own = done", "B Gone"]);
        let undone = [&story[..], &["B undoing begins", "B undoing fails", "A undoing begins", "A is undone"]].concat();
        takes_over(&nothing(), &undone, &["A Gone = done", "B Gone"]);
        let tried_before = ["A begins", "A is done", "B begins", "B fails", refused];
        takes_over(&nothing(), &tried_before, &["A Sure own = done", "B Unsure own"]);
        let before = earlier(&[("B", Standing::Unsure, &["s0"], false)]);
        takes_over(&before, &story, &["A Sure own = done", "B Unsure s0"]);
    }
}

#[test]
fn a_retry_of_a_retry_adds_its_own_scope_to_what_was_there() {
    let before = earlier(&[("A", Standing::Unsure, &["s0"], false), ("B", Standing::Gone, &[], true)]);
    takes_over(&before, &["A begins", "A fails"], &["A Undoing s0 own", "B Gone = done"]);
    takes_over(&before, &["A begins", "A is done"], &["A Sure s0 own = done", "B Gone = done"]);
    let done = ["A begins", "A is done", "B begins", "B is done again"];
    takes_over(&before, &done, &["A Sure s0 own = done", "B Sure own = anew"]);
    let undone = [&done[..], &["B undoing begins", "B is undone", "A undoing begins", "A undoing fails"]].concat();
    takes_over(&before, &undone, &["A Undoing s0 own = done", "B Gone = anew"]);
    let failed = ["A begins", "A is done", "B begins", "B fails"];
    takes_over(&before, &failed, &["A Sure s0 own = done", "B Unsure own = done"]);
}

#[test]
fn what_a_retry_never_came_to_stands_as_it_did() {
    let before = earlier(&[
        ("A", Standing::Sure, &["s0"], true),
        ("B", Standing::Unsure, &["s0", "s1"], false),
        ("C", Standing::Gone, &[], true),
        ("D", Standing::Outdated, &["s0"], true),
    ]);
    let all = ["A Sure s0 = done", "B Unsure s0 s1", "C Gone = done", "D Outdated s0 = done"];
    takes_over(&before, &[], &all);
    takes_over(&before, &["A begins", "A is answered"], &all);
    let anew = ["A begins", "A is answered", "B begins", "B is done", "C begins", "C is done again"];
    let expected = ["A Sure s0 = done", "B Sure s0 s1 own = done", "C Sure own = anew", "D Undoing s0 = done"];
    takes_over(&before, &anew, &expected);
    let new_step = ["A begins", "A is answered", "New begins"];
    let expected = ["A Sure s0 = done", "New Unsure own", "B Unsure s0 s1", "C Gone = done", "D Outdated s0 = done"];
    takes_over(&before, &new_step, &expected);
}

#[test]
fn an_answer_says_nothing_new_of_an_effect() {
    let before = earlier(&[
        ("A", Standing::Sure, &["s0"], true),
        ("B", Standing::Unsure, &["s0"], true),
        ("C", Standing::Gone, &[], true),
        ("D", Standing::Outdated, &["s0"], true),
    ]);
    let answered: Vec<String> = ["A", "B", "C", "D"]
        .iter()
        .flat_map(|step| [format!("{step} begins"), format!("{step} is answered")])
        .collect();
    let answered: Vec<&str> = answered.iter().map(String::as_str).collect();
    let all = ["A Sure s0 = done", "B Unsure s0 = done", "C Gone = done", "D Outdated s0 = done"];
    takes_over(&before, &answered, &all);
    let undone = [&answered[..], &["D undoing begins", "D is undone", "B undoing begins", "B undoing fails"]].concat();
    takes_over(&before, &undone, &["A Sure s0 = done", "B Undoing s0 = done", "C Gone = done", "D Gone = done"]);
    let begun = [&answered[..], &["A undoing begins"]].concat();
    let expected = ["A Undoing s0 = done", "B Outdated s0 = done", "C Gone = done", "D Outdated s0 = done"];
    takes_over(&before, &begun, &expected);
}

#[test]
fn other_events_say_nothing() {
    let mut history = history(&["A begins", "A is done"]);
    let others = [
        (EventType::WorkflowExecutionPaused, json!({})),
        (EventType::ActivityTaskScheduled, json!({ "activity_id": 7 })),
        (EventType::CompensationScheduled, json!({ "activity_id": "UndoA" })),
        (EventType::CompensationCompleted, json!({ "activity_id": "UndoA" })),
        (EventType::WorkflowExecutionTerminated, json!({ "error": "Terminated" })),
    ];
    for (event_type, details) in others {
        let (event_id, event_type) = (history.len() as u64 + 1, event_type.as_str().to_owned());
        history.push(Event { event_id, event_type, timestamp: Timestamp::UNIX_EPOCH, details });
    }
    let inherited = inherit(&history, &nothing(), "own", |_| StepEffect::Undone);
    assert_eq!(inherited.0.iter().map(text).collect::<Vec<_>>(), ["A Sure own = done"]);
}

#[test]
fn what_may_stand_is_left_unless_it_was_met() {
    let inherited = earlier(&[
        ("A", Standing::Sure, &["s0"], true),
        ("B", Standing::Unsure, &["s0"], false),
        ("C", Standing::Gone, &[], true),
    ]);
    let names = |steps: Vec<&StepPath>| steps.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(inherited.left(|_| false)), ["A", "B"]);
    assert_eq!(names(inherited.left(|path| path.name == "A")), ["B"]);
    assert_eq!(names(inherited.left(|_| true)), [""; 0]);
    assert_eq!(names(inherited.standing()), ["A", "B"]);
}

fn with(standing: Standing, scopes: &[&str]) -> Inherited {
    let result = Some(json!({ "user_id": "u", ALREADY_DONE: true }));
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let path = StepPath::of_state("CreateUserAccount");
    Inherited(vec![InheritedStep { path, result, scopes, standing, is_tolerated: false, is_lasting: false }])
}

fn answer_of(effects: Effects) -> Value {
    match effects {
        Effects::Answered(Ok(result)) => result,
        other => panic!("it is not answered: {other:?}"),
    }
}

#[test]
fn an_answer_after_an_attempt_does_not_say_that_nothing_was_done() {
    let path = StepPath::of_state("CreateUserAccount");
    for (standing, scopes) in [(Standing::Gone, &[][..]), (Standing::Unsure, &["old"]), (Standing::Outdated, &["old"])]
    {
        let inherited = with(standing, scopes);
        let first = answer_of(inherited.effects(&path, true, true));
        assert!(is_answered(&first), "{standing:?}");
        let later = answer_of(inherited.effects(&path, true, false));
        assert_eq!((is_answered(&later), &later["user_id"]), (false, &json!("u")), "{standing:?}");
        let undoing = inherited.undoing(&path, "own", is_answered(&later));
        let Effects::Undone(undone) = undoing else { panic!("{undoing:?}") };
        assert_eq!(undone.first().map(String::as_str), Some("own"), "{standing:?}");
    }
    // What surely stands is answered each time, so that no attempt has done anything.
    let sure = with(Standing::Sure, &["old"]);
    assert!(is_answered(&answer_of(sure.effects(&path, false, false))));
}

/// Steps whose names begin with Read change nothing.
fn effect_of(path: &StepPath) -> StepEffect {
    if path.name.starts_with("Read") { StepEffect::Nothing } else { StepEffect::Undone }
}

fn events_of(events: &[(EventType, Value)]) -> Vec<Event> {
    let event = |(event_id, (event_type, details)): (u64, &(EventType, Value))| Event {
        event_id,
        event_type: event_type.as_str().to_owned(),
        timestamp: contracts::Timestamp::UNIX_EPOCH,
        details: details.clone(),
    };
    (1..).zip(events).map(event).collect()
}

#[test]
fn what_nothing_undoes_is_neither_undone_nor_left_behind() {
    let [account, mail] = ["CreateUserAccount", "SendNotification"].map(StepPath::of_state);
    let effect_of = |path: &StepPath| if *path == mail { StepEffect::Lasting } else { StepEffect::Undone };
    let terminated = events_of(&[
        (EventType::ActivityTaskScheduled, json!({ "activity_id": account, "attempt": 1 })),
        (EventType::ActivityTaskCompleted, json!({ "activity_id": account, "attempt": 1, "result": {} })),
        (EventType::ActivityTaskScheduled, json!({ "activity_id": mail, "attempt": 1 })),
    ]);
    let first = inherit(&terminated, &Inherited::default(), "first", effect_of);
    assert_eq!((first.standing(), first.undoable()), (vec![&account, &mail], vec![&account]));
    let undone = events_of(&[
        (EventType::ActivityTaskScheduled, json!({ "activity_id": account, "attempt": 1 })),
        (EventType::ActivityTaskCompleted, json!({ "activity_id": account, "result": { ALREADY_DONE: true } })),
        (EventType::CompensationScheduled, json!({ "activity_id": "UndoCreateUserAccount", "undoes": account })),
        (EventType::CompensationCompleted, json!({ "activity_id": "UndoCreateUserAccount", "result": {} })),
    ]);
    let second = inherit(&undone, &first, "second", effect_of);
    assert!(second.undoable().is_empty() && second.left(|_| false).is_empty(), "{second:?}");
}

#[test]
fn what_was_about_to_be_undone_is_not_counted_on() {
    let account = StepPath::of_state("CreateUserAccount");
    let of = |events: &[(EventType, Value)], earlier: &Inherited, scope: &str| {
        inherit(&events_of(events), earlier, scope, |_| StepEffect::Undone)
    };
    let began = || (EventType::ActivityTaskScheduled, json!({ "activity_id": account, "attempt": 1 }));
    let done = (EventType::ActivityTaskCompleted, json!({ "activity_id": account, "result": {} }));
    let undoing =
        (EventType::CompensationScheduled, json!({ "activity_id": "UndoCreateUserAccount", "undoes": account }));
    let none = Inherited::default();
    assert_eq!(of(&[began()], &none, "first").effects(&account, false, true), Effects::First(vec!["first".to_owned()]));
    let closed = of(&[began(), done, undoing], &none, "first");
    assert_eq!(closed.effects(&account, false, true), Effects::Renewed(vec!["first".to_owned()]));
    // The attempt of the retry may have been about to undo it.
    let again = of(&[began()], &closed, "second");
    let both = vec!["first".to_owned(), "second".to_owned()];
    assert_eq!(again.effects(&account, false, true), Effects::Renewed(both));
}
