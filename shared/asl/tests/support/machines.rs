//! Random machines of all types of states, and what their functions answer.
//!
//! Every state's input is `{"n": number, "k": key}`; the key names the iteration, so that an answer depends on the state,
//! the iteration and how often it was asked, and not on who is faster. All errors are alike for the same reason,
//! unless the machine is a varied one.
//!
//! A machine with variables, and a varied one, has these besides: the first state of every scope assigns one, named after the
//! scope, and what follows reads it and insists that the variables of scopes around it are there, and those of others are
//! not.

use serde_json::{Map, Value, json};

use super::dice::Dice;

/// How states may be nested.
const MAX_DEPTH: usize = 2;

/// A machine whose Tasks call `function`.
pub(crate) fn machine(dice: &mut Dice, function: &str) -> Value {
    whole(dice, function, Extent::Plain)
}

/// The same with variables.
pub(crate) fn machine_with_variables(dice: &mut Dice, function: &str) -> Value {
    whole(dice, function, Extent::Variables)
}

/// The same with variables, errors that differ, evaluations that fail, and more retries and fields.
pub(crate) fn varied_machine(dice: &mut Dice, function: &str) -> Value {
    whole(dice, function, Extent::Varied)
}

/// What such a machine says when variables are not where they should be.
pub(crate) const OUT_OF_SCOPE: &str = "variables are out of scope";

fn whole(dice: &mut Dice, function: &str, extent: Extent) -> Value {
    let mut maker = Maker { dice, function, states: 0, extent, visible: Vec::new(), hidden: Vec::new() };
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
        let names = if payload["varied"] == true { &["Failed", "Other", "Third"][..] } else { &["Failed"] };
        return Err(((*dice.one_of(names)).to_owned(), "as it was told".to_owned()));
    }
    Ok(json!({ "n": payload["n"].as_i64().unwrap_or_default() + dice.below(5) as i64 }))
}

/// What a machine may have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Plain,
    Variables,
    Varied,
}

struct Maker<'a> {
    dice: &'a mut Dice,
    function: &'a str,
    states: usize,
    extent: Extent,
    /// The variables that can be read, and some of those that cannot.
    visible: Vec<String>,
    hidden: Vec<String>,
}

impl Maker<'_> {
    fn has_variables(&self) -> bool {
        self.extent >= Extent::Variables
    }

    fn is_varied(&self) -> bool {
        self.extent == Extent::Varied
    }

    /// The states of a scope inside of another.
    fn inner_states(&mut self, depth: usize, sees_outer: bool) -> Value {
        let (outer, hidden) = (self.visible.clone(), self.hidden.clone());
        if !sees_outer {
            self.hidden.append(&mut self.visible);
        }
        let machine = self.states(depth);
        // What it assigned is gone.
        let gone = self.visible.iter().filter(|name| !outer.contains(name)).cloned().collect::<Vec<_>>();
        self.hidden = hidden.into_iter().chain(gone).collect();
        self.visible = outer;
        machine
    }

    /// A number, which is this one but for what variables do to it.
    fn number(&mut self, number: &str) -> String {
        let Some(last) = self.visible.last().filter(|_| self.has_variables()) else {
            return format!("{{% {number} %}}");
        };
        let visible = self.visible.iter().map(|name| format!("${name}.name = '{name}'"));
        let hidden = self.hidden.iter().map(|name| format!("$not($exists(${name}))"));
        let all = visible.chain(hidden).collect::<Vec<_>>().join(" and ");
        format!("{{% ($assert({all}, '{OUT_OF_SCOPE}'); {number} + ${last}.n) %}}")
    }

    /// Begins a scope: assigns its variable.
    fn first(&mut self, name: &str) -> Value {
        let variable = format!("v{name}");
        let assign = json!({ &variable: { "name": variable, "n": "{% $states.input.n % 5 %}" } });
        self.visible.push(variable);
        json!({ "Type": "Pass", "Assign": assign, "Next": name })
    }

    /// The variable of the scope again, with another number.
    fn assign(&mut self) -> Value {
        match self.visible.last() {
            Some(name) => json!({ name: { "name": name, "n": format!("{{% (${name}.n + 1) % 5 %}}") } }),
            None => json!({}),
        }
    }

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
        let mut start_at = names[0].clone();
        if self.has_variables() {
            start_at = format!("First{}", names[0]);
            states.insert(start_at.clone(), self.first(&names[0]));
        }
        for (index, name) in names.iter().enumerate() {
            let ahead = &names[index + 1..];
            states.insert(name.clone(), self.state(name, ahead, depth));
        }
        json!({ "StartAt": start_at, "States": states })
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
            // What a distributed Map makes of them is for the varied ones.
            "Children" => self.map(depth, self.extent != Extent::Variables),
            "Succeed" => return json!({ "Type": "Succeed", "Output": { "n": self.number("$states.input.n * 10") } }),
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
                let n = self.number("$states.input.n + 1");
                json!({ "Type": "Pass", "Output": { "n": n, "k": "{% $states.input.k %}" } })
            }
            2 if self.extent == Extent::Variables => {
                // Whether an Output sees what its own state assigns, is for the varied ones.
                json!({ "Type": "Pass", "Assign": self.assign(), "Output": "{% $states.input %}" })
            }
            2 if self.is_varied() => {
                let (n, assign) = (self.number("$states.input.n"), self.assign());
                let mut state =
                    json!({ "Type": "Pass", "Assign": assign, "Output": { "n": n, "k": "{% $states.input.k %}" } });
                if self.dice.below(12) == 0 {
                    state["Output"]["n"] = json!("{% $error('as it was told') %}");
                }
                state
            }
            _ => json!({
                "Type": "Pass", "Assign": { format!("v{name}"): "{% [$states.input.n, 'say \"hi\"'] %}" },
                "Output": { "n": "{% $length($states.context.State.Name) + $states.input.n %}", "k": "{% $states.input.k %}" },
            }),
        }
    }

    fn choice(&mut self, ahead: &[String]) -> Value {
        let divisor = 2 + self.dice.below(3);
        let mut choice = json!({
            "Type": "Choice", "Default": ahead[0],
            "Choices": [
                { "Condition": format!("{{% $states.input.n % {divisor} = 0 %}}"), "Next": self.dice.one_of(ahead) },
                {
                    "Condition": "{% $states.input.n > 20 and $contains($states.input.k, '1') %}",
                    "Output": { "n": 0, "k": "{% $states.input.k & 'c' %}" }, "Next": self.dice.one_of(ahead),
                },
            ],
        });
        if self.has_variables() {
            let read = self.number("$states.input.n").replace("{%", "").replace("%}", "");
            let condition = format!("{{% ({read}) % {divisor} = 0 %}}");
            choice["Choices"][0] =
                json!({ "Condition": condition, "Assign": self.assign(), "Next": self.dice.one_of(ahead) });
        }
        choice
    }

    fn task(&mut self, name: &str) -> Value {
        let mut task = json!({
            "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": { "FunctionName": self.function, "Payload": {
                "state": name, "n": "{% $states.input.n %}", "k": "{% $states.input.k %}",
            } },
            "Output": { "n": "{% $states.result.Payload.n %}", "k": "{% $states.input.k %}" },
        });
        if self.has_variables() {
            task["Arguments"]["Payload"]["n"] = json!(self.number("$states.input.n"));
            task["Assign"] = self.assign();
        }
        if self.is_varied() {
            let payload = &mut task["Arguments"]["Payload"];
            payload["varied"] = json!(true);
            if self.dice.below(12) == 0 {
                payload["n"] = json!("{% $states.input.nothing %}");
            }
            task["TimeoutSeconds"] = json!("{% 1 + $states.input.n %}");
        }
        task
    }

    fn parallel(&mut self, depth: usize) -> Value {
        let branches: Vec<Value> = (0..1 + self.dice.below(3)).map(|_| self.inner_states(depth + 1, true)).collect();
        let mut parallel = json!({
            "Type": "Parallel", "Branches": branches,
            "Output": { "n": "{% $sum($states.result.n) %}", "k": "{% $states.input.k & 'p' %}" },
        });
        if self.has_variables() {
            parallel["Arguments"] = json!({ "n": self.number("$states.input.n"), "k": "{% $states.input.k & 'a' %}" });
            parallel["Output"]["n"] = json!(self.number("$sum($states.result.n)"));
        }
        parallel
    }

    fn map(&mut self, depth: usize, is_distributed: bool) -> Value {
        let mut processor = self.inner_states(depth + 1, !is_distributed);
        let mut state = json!({
            "Type": "Map", "Items": format!("{{% [1..{}] %}}", 2 + self.dice.below(3)),
            "MaxConcurrency": 1 + self.dice.below(3),
            "ItemSelector": {
                "n": "{% $states.context.Map.Item.Value + $states.input.n %}",
                "k": "{% $states.input.k & '.' & $string($states.context.Map.Item.Index) %}",
            },
            "Output": { "n": "{% $sum($states.result.n) %}", "k": "{% $states.input.k & 'm' %}" },
        });
        if self.has_variables() {
            state["ItemSelector"]["n"] = json!(self.number("$states.context.Map.Item.Value + $states.input.n"));
        }
        if self.is_varied() && self.dice.below(2) == 0 {
            state["ToleratedFailureCount"] = json!(self.dice.below(3));
        }
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
        if (state["Type"] == "Task" || self.is_varied()) && self.dice.below(2) == 0 {
            let attempts = self.dice.below(3);
            state["Retry"] =
                json!([{ "ErrorEquals": [error], "IntervalSeconds": 1, "BackoffRate": 1.0, "MaxAttempts": attempts }]);
        }
        if !ahead.is_empty() && self.dice.below(2) == 0 {
            let errors: &[&str] = if self.is_varied() {
                &["Other", "States.QueryEvaluationError", "States.ALL"]
            } else {
                &["States.ALL"]
            };
            state["Catch"] = json!([{
                "ErrorEquals": [self.dice.one_of(errors)], "Next": self.dice.one_of(ahead),
                "Assign": { format!("e{name}"): "{% $states.errorOutput.Error %}" },
                "Output": { "n": 100, "k": "{% $states.input.k & 'e' %}" },
            }]);
        }
    }
}
