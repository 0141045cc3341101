//! Every case comes out on Step Functions as it does on the embedded engine: status, result, failure, history, ledger.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::aws::{self, Aws, Options};
use crate::cases::{self, Case};
use crate::fault_matrix::in_real_time;

/// Cases under way at once: most of what they do is wait.
const AT_ONCE: usize = 8;

async fn play(aws: &'static Aws, mut case: Case) -> Result<Value, String> {
    let (script, settings) = (case.script.clone(), case.settings.clone());
    let options = Options { script, settings, ..Options::default() };
    let mut stack = aws.stack(options).await;
    for rule in case.faults.values_mut().flatten() {
        in_real_time(&mut rule.fault, &mut stack.site.settling_time);
    }
    let (_, _, outcome) = cases::play_on(&stack.site, &case).await?;
    Ok(comparable(&case, outcome))
}

/// What engines agree on. The ledger is in the order of each service: between services, two things at the same moment
/// have none. An attempt that ends in a way of the engine's own is not seen by the functions: of a step that has such
/// attempts the history is left out, and so is what counts attempts.
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
fn every_case_comes_out_as_on_the_embedded_engine() {
    aws::run(|aws| async move {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let tasks: Vec<_> = cases::files("user-onboarding")
            .into_iter()
            .map(|file| {
                let turns = Arc::clone(&turns);
                let name = file.file_stem().unwrap().to_string_lossy().into_owned();
                let task = tokio::spawn(async move {
                    let _turn = turns.acquire().await.unwrap();
                    let case = cases::read(&file);
                    let expected = comparable(&case, case.expected.clone());
                    let outcome = play(aws, case).await?;
                    if expected == outcome { Ok(()) } else { Err(difference(&expected, &outcome)) }
                });
                (name, task)
            })
            .collect();
        let (count, mut wrong) = (tasks.len(), Vec::new());
        for (name, task) in tasks {
            if let Err(why) = task.await.unwrap_or_else(|panic| Err(panic.to_string())) {
                wrong.push(format!("{name}: {why}"));
            }
        }
        println!("{} of {count} cases come out the same", count - wrong.len());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

pub(crate) fn difference(expected: &Value, actual: &Value) -> String {
    let fields = expected.as_object().unwrap().keys().filter(|field| expected[*field] != actual[*field]);
    let lines = fields
        .map(|field| format!("{field}\n  embedded       {}\n  Step Functions {}", expected[field], actual[field]));
    lines.collect::<Vec<_>>().join("\n")
}
