//! Every case comes out on Step Functions as it does on the embedded engine.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::aws::{self, Aws, Options};
use crate::cases::{self, Case};

/// Cases under way at once: most of what they do is wait.
const AT_ONCE: usize = 8;

async fn play(aws: &'static Aws, case: Case) -> Result<Value, String> {
    let stack = aws.stack(Options { script: case.script.clone(), settings: case.settings.clone() }).await;
    let (_, _, outcome) = cases::play_on(&stack.site, &case).await?;
    Ok(outcome)
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
                    let outcome = play(aws, case.clone()).await?;
                    if case.expected == outcome { Ok(()) } else { Err(difference(&case.expected, &outcome)) }
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

fn difference(expected: &Value, actual: &Value) -> String {
    let fields = expected.as_object().unwrap().keys();
    let different = fields.filter(|field| expected[*field] != actual[*field]);
    let lines = different
        .map(|field| format!("{field}\n  embedded       {}\n  Step Functions {}", expected[field], actual[field]));
    lines.collect::<Vec<_>>().join("\n")
}
