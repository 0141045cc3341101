//! Random machines of all types of states: every one ends, whatever its functions answer; the same events give the same
//! commands; and a life cut off anywhere ends as if it had not been.

use std::sync::Arc;

use asl::{Definition, Trace};
use serde_json::json;

#[expect(unreachable_pub, reason = "shared by several tests")]
#[allow(dead_code, reason = "each of them uses a part")]
mod support;

use support::dice::Dice;
use support::machines::{OUT_OF_SCOPE, machine, varied_machine};
use support::run::RunRecord;

const SEED: u64 = 20_260_101;
const MACHINES: u64 = 1_200;

#[test]
fn random_machines_end_and_replay() {
    println!("seed {SEED}");
    let (mut succeeded, mut failed, mut with_children, mut evaluations_failed) = (0, 0, 0, 0);
    for number in 0..MACHINES {
        let seed = SEED + number;
        let make = if number % 3 == 0 { machine } else { varied_machine };
        let machine = make(&mut Dice(seed), "f");
        let input = json!({ "n": number % 7, "k": "" });
        let case = json!({ "definition": machine, "input": input, "seed": seed, "random": seed });
        let told = |why: String| format!("seed {seed}: {why}\n{machine:#}");
        let definition = Definition::load(&machine.to_string()).map_err(|found| told(found.to_string()));
        let definition = Arc::new(definition.unwrap_or_else(|why| panic!("{why}")));
        let run = RunRecord::of(&case, &definition).unwrap_or_else(|why| panic!("{}", told(why)));
        run.check_replay(&case, &definition).unwrap_or_else(|why| panic!("{}", told(why)));
        match run.result()["status"].as_str() {
            Some("SUCCEEDED") => succeeded += 1,
            _ => failed += 1,
        }
        let causes = run.traces.iter().filter_map(|trace| match trace {
            Trace::EvaluationFailed { cause, .. } => Some(cause),
            _ => None,
        });
        for cause in causes {
            // A failed assertion ends in its message; other errors only quote the expression.
            assert!(!cause.ends_with(OUT_OF_SCOPE), "{}", told(cause.clone()));
            evaluations_failed += 1;
        }
        with_children += u32::from(run.commands.iter().any(|(_, path, _)| !path.is_root()));
    }
    println!(
        "{succeeded} succeeded, {failed} failed, {with_children} with children that called something, \
         {evaluations_failed} evaluations failed"
    );
    assert!(succeeded > 300 && failed > 300 && with_children > 100 && evaluations_failed > 100);
}
