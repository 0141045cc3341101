//! Every story comes out on Step Functions as it does on the embedded engine: status, result, failure, history, ledger.

use std::iter;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::aws::{self, Aws, Options};
use crate::cases::{self, Case};
use crate::fault_matrix::{all, in_real_time};
use crate::generated::{self, Generated};
use crate::retries::{self, Story};
use crate::subjects::{self, Subject};

async fn play(aws: &'static Aws, subject: &'static Subject, mut case: Case) -> Result<Value, String> {
    let (script, settings) = (case.script.clone(), case.settings.clone());
    let options = Options { script, settings, ..Options::default() };
    let mut stack = aws.stack(options).await;
    for rule in case.faults.values_mut().flatten() {
        in_real_time(&mut rule.fault, &mut stack.site.settling_time);
    }
    let (_, _, outcome) = cases::play_on(&stack.site, subject, &case).await?;
    Ok(outcome)
}

/// What engines agree on. The ledger is in the order of each service: between services, two things at the same moment
/// have none. An attempt that ends in a way of the engine's own is not seen by the functions: of a step that has such
/// attempts the history is left out, and so is what counts attempts, or whether the step was done.
pub(crate) fn comparable(case: &Case, mut outcome: Value) -> Value {
    let ledger = outcome["ledger"].as_array_mut().unwrap();
    ledger.sort_by_key(|entry| entry.as_str().unwrap().split(' ').next().map(str::to_owned));
    if !case.script.dispatch.is_empty() {
        ledger.retain(|entry| !entry.as_str().unwrap().ends_with("Replayed"));
        let failure = &outcome["failure"];
        let failure = json!([failure["error"], failure["step"], failure["undone"], failure["residue"]]);
        let steps: Vec<&str> = case.script.dispatch.iter().map(|dispatch| dispatch.step.as_str()).collect();
        let lines = outcome["history"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let others = lines.filter(|line| !line.split(' ').nth(1).is_some_and(|step| steps.contains(&step)));
        let history: Vec<String> = others.map(uncounted).collect();
        assert!(history.len() > 1, "{history:?}");
        outcome = json!({
            "status": outcome["status"], "result": outcome["result"],
            "ledger": outcome["ledger"], "failure": failure, "history": history,
        });
    }
    outcome
}

/// A line of a history without the attempt's number.
fn uncounted(line: &str) -> String {
    let words = line.split(' ').enumerate();
    let kept = words.map(|(number, word)| if number == 2 { word.trim_start_matches(char::is_numeric) } else { word });
    kept.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_story_comes_out_as_on_the_embedded_engine() {
    async fn story(aws: &'static Aws, subject: &'static Subject, file: PathBuf) -> Result<(), String> {
        let case = cases::read(&file);
        let expected = comparable(&case, case.expected.clone());
        let outcome = comparable(&case, play(aws, subject, case.clone()).await?);
        if expected == outcome { Ok(()) } else { Err(difference(&expected, &outcome)) }
    }
    aws::run(|aws| async move {
        let stories = subjects::EVERY
            .into_iter()
            .flat_map(|subject| cases::files(subject).into_iter().zip(iter::repeat(subject)));
        let tasks: Vec<_> = stories
            .map(|(file, subject)| (format!("{}/{}", subject.name(), cases::name(&file)), story(aws, subject, file)))
            .collect();
        let count = tasks.len();
        let wrong = all(tasks.into_iter()).await;
        println!("{} of {count} stories come out the same", count - wrong.len());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// One generated case of each pattern and workflow; all of them with `AWS_MATRIX=full`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn generated_cases_end_as_on_the_embedded_engine() {
    async fn generated(aws: &'static Aws, subject: &'static Subject, of: Generated) -> Result<(), String> {
        of.expected.check(&play(aws, subject, of.case).await?)
    }
    let is_full = std::env::var("AWS_MATRIX").is_ok_and(|matrix| matrix == "full");
    aws::run(|aws| async move {
        let tasks: Vec<_> = generated::selected(is_full)
            .map(|(subject, of)| (format!("{}/{}", subject.name(), of.name), generated(aws, subject, of)))
            .collect();
        println!("{} generated cases", tasks.len());
        let wrong = all(tasks.into_iter()).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// One story of retries of each kind and workflow; all of them with `AWS_MATRIX=full`.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn whatever_did_not_complete_can_be_retried_or_undone() {
    async fn play(aws: &'static Aws, story: Story, completed: Value) -> Result<(), String> {
        let stack = aws.stack(Options::default()).await;
        retries::play(&stack.site, story, &completed, retries::REAL_PACE).await
    }
    let is_full = std::env::var("AWS_MATRIX").is_ok_and(|matrix| matrix == "full");
    let completed = retries::completed();
    aws::run(|aws| async move {
        let stories = retries::selected(is_full);
        let tasks: Vec<_> = stories
            .into_iter()
            .map(|story| (story.to_string(), play(aws, story, completed[&story.subject.name()].clone())))
            .collect();
        println!("{} stories of retries", tasks.len());
        let wrong = all(tasks.into_iter()).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

pub(crate) fn difference(expected: &Value, actual: &Value) -> String {
    let fields = expected.as_object().unwrap().keys().filter(|field| expected[*field] != actual[*field]);
    let lines = fields
        .map(|field| format!("{field}\n  embedded       {}\n  Step Functions {}", expected[field], actual[field]));
    lines.collect::<Vec<_>>().join("\n")
}
