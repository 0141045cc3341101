//! Random machines of all types of states, and what their functions answer.
//!
//! Every state's input is `{"n": number, "k": key}`; the key names the iteration, so that an answer depends on the state,
//! the iteration and how often it was asked, and not on who is faster. All errors are alike for the same reason.

use serde_json::{Map, Value, json};

use super::dice::Dice;

/// How states may be nested.
const MAX_DEPTH: usize = 2;

/// A machine whose Tasks call `function`.
pub(crate) fn machine(dice: &mut Dice, function: &str) -> Value {
    let mut maker = Maker { dice, function, states: 0 };
    let mut machine = maker.states(0);
    machine["QueryLanguage"] = json!("JSONata");
    machine
}

/// What a function answers to the payload of such a machine's Task, asked for the n-th time (from 0).
pub(crate) fn answer(seed: u64, payload: &Value, call: usize) -> Result<Value, (String, String)> {
    let text = format!("{seed} {} {}", payload["state"], payload["k"]);
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut dice = Dice(hash);
    // How often it fails before it does not.
    let failures = *dice.one_of(&[0, 0, 0, 1, 2, 9]);
    if call < failures {
        return Err(("Failed".to_owned(), "as it was told".to_owned()));
    }
    Ok(json!({ "n": payload["n"].as_i64().unwrap_or_default() + dice.below(5) as i64 }))
}

struct Maker<'a> {
    dice: &'a mut Dice,
    function: &'a str,
    states: usize,
}

impl Maker<'_> {
    /// A chain, in which a Choice may jump ahead and a catcher does.
    fn states(&mut self, depth: usize) -> Value {
        let count = 1 + self.dice.below(4);
        let names: Vec<String> = (0..count)
            .map(|_| {
                self.states += 1;
                format!("S{}", self.states)
            })
            .collect();
        let mut states = Map::new();
        for (index, name) in names.iter().enumerate() {
            let ahead = &names[index + 1..];
            states.insert(name.clone(), self.state(name, ahead, depth));
        }
        json!({ "StartAt": names[0], "States": states })
    }

    fn state(&mut self, name: &str, ahead: &[String], depth: usize) -> Value {
        let kinds = match (ahead.is_empty(), depth < MAX_DEPTH) {
            (true, true) => &["Pass", "Task", "Parallel", "Map", "Succeed", "Fail", "Task", "Map"][..],
            (true, false) => &["Pass", "Task", "Succeed", "Fail", "Task"],
            (false, true) => &["Pass", "Choice", "Wait", "Task", "Parallel", "Map", "Children", "Task", "Map"],
            (false, false) => &["Pass", "Choice", "Wait", "Task", "Task"],
        };
        let mut state = match *self.dice.one_of(kinds) {
            "Pass" => self.pass(name),
            "Choice" => return self.choice(ahead),
            "Wait" => json!({ "Type": "Wait", "Seconds": self.dice.below(2) }),
            "Task" => self.task(name),
            "Parallel" => self.parallel(depth),
            "Map" => self.map(depth, false),
            "Children" => self.map(depth, true),
            "Succeed" => return json!({ "Type": "Succeed", "Output": { "n": "{% $states.input.n * 10 %}" } }),
            _ => return json!({ "Type": "Fail", "Error": "Failed", "Cause": "as it was told" }),
        };
        match ahead.first() {
            Some(next) => state["Next"] = json!(next),
            None => state["End"] = json!(true),
        }
        if matches!(state["Type"].as_str(), Some("Task" | "Parallel" | "Map")) {
            self.guard(&mut state, name, ahead);
        }
        state
    }

    fn pass(&mut self, name: &str) -> Value {
        match self.dice.below(3) {
            0 => json!({ "Type": "Pass" }),
            1 => {
                json!({ "Type": "Pass", "Output": { "n": "{% $states.input.n + 1 %}", "k": "{% $states.input.k %}" } })
            }
            _ => json!({
                "Type": "Pass", "Assign": { format!("v{name}"): "{% [$states.input.n, 'say \"hi\"'] %}" },
                "Output": { "n": "{% $length($states.context.State.Name) + $states.input.n %}", "k": "{% $states.input.k %}" },
            }),
        }
    }

    fn choice(&mut self, ahead: &[String]) -> Value {
        let divisor = 2 + self.dice.below(3);
        json!({
            "Type": "Choice", "Default": ahead[0],
            "Choices": [
                { "Condition": format!("{{% $states.input.n % {divisor} = 0 %}}"), "Next": self.dice.one_of(ahead) },
                {
                    "Condition": "{% $states.input.n > 20 and $contains($states.input.k, '1') %}",
                    "Output": { "n": 0, "k": "{% $states.input.k & 'c' %}" }, "Next": self.dice.one_of(ahead),
                },
            ],
        })
    }

    fn task(&mut self, name: &str) -> Value {
        json!({
            "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": { "FunctionName": self.function, "Payload": {
                "state": name, "n": "{% $states.input.n %}", "k": "{% $states.input.k %}",
            } },
            "Output": { "n": "{% $states.result.Payload.n %}", "k": "{% $states.input.k %}" },
        })
    }

    fn parallel(&mut self, depth: usize) -> Value {
        let branches: Vec<Value> = (0..1 + self.dice.below(3)).map(|_| self.states(depth + 1)).collect();
        json!({
            "Type": "Parallel", "Branches": branches,
            "Output": { "n": "{% $sum($states.result.n) %}", "k": "{% $states.input.k & 'p' %}" },
        })
    }

    fn map(&mut self, depth: usize, is_distributed: bool) -> Value {
        let mut processor = self.states(depth + 1);
        let mut state = json!({
            "Type": "Map", "Items": format!("{{% [1..{}] %}}", 2 + self.dice.below(3)),
            "MaxConcurrency": 1 + self.dice.below(3),
            "ItemSelector": {
                "n": "{% $states.context.Map.Item.Value + $states.input.n %}",
                "k": "{% $states.input.k & '.' & $string($states.context.Map.Item.Index) %}",
            },
            "Output": { "n": "{% $sum($states.result.n) %}", "k": "{% $states.input.k & 'm' %}" },
        });
        if is_distributed {
            processor["ProcessorConfig"] = json!({ "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" });
        }
        state["ItemProcessor"] = processor;
        state
    }

    /// Retries and catches, or not.
    fn guard(&mut self, state: &mut Value, name: &str, ahead: &[String]) {
        let error = (*self.dice.one_of(&["Failed", "States.ALL", "States.TaskFailed", "Other"])).to_owned();
        // A Map or Parallel that starts over asks all of its Tasks again.
        if state["Type"] == "Task" && self.dice.below(2) == 0 {
            let attempts = self.dice.below(3);
            state["Retry"] =
                json!([{ "ErrorEquals": [error], "IntervalSeconds": 1, "BackoffRate": 1.0, "MaxAttempts": attempts }]);
        }
        if !ahead.is_empty() && self.dice.below(2) == 0 {
            state["Catch"] = json!([{
                "ErrorEquals": ["States.ALL"], "Next": self.dice.one_of(ahead),
                "Assign": { format!("e{name}"): "{% $states.errorOutput.Error %}" },
                "Output": { "n": 100, "k": "{% $states.input.k & 'e' %}" },
            }]);
        }
    }
}
