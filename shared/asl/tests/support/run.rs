//! One execution of a case against its scripts, on a clock of its own; and the proofs that every execution owes.

use std::sync::Arc;
use std::time::Duration;

use asl::{Command, Definition, Event, Execution, Outcome, Start, TaskId, Trace};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::pattern::compare;
use super::script::Script;

/// Commands of one execution at most: a case that never ends is a failure, not a hang.
const MAX_COMMANDS: usize = 10_000;

/// What an execution was told.
#[derive(Clone)]
pub enum Told {
    Event(Event),
    Timeout,
}

/// One run.
pub struct Run {
    pub outcome: Outcome,
    pub traces: Vec<Trace>,
    pub told: Vec<(Timestamp, Told)>,
    /// With the time of each.
    pub commands: Vec<(Timestamp, Command)>,
    last: asl::Snapshot,
}

/// Begins the case's execution.
pub fn start(case: &Value, definition: &Arc<Definition>) -> Execution {
    let start = Start {
        input: case["input"].clone(),
        execution_id: "arn:aws:states:us-east-1:111111111111:execution:machine:execution".to_owned(),
        execution_name: "execution".to_owned(),
        state_machine_id: "arn:aws:states:us-east-1:111111111111:stateMachine:machine".to_owned(),
        state_machine_name: "machine".to_owned(),
        role_arn: "arn:aws:iam::111111111111:role/role".to_owned(),
        seed: case["seed"].as_u64().unwrap_or(7),
    };
    Execution::start(Arc::clone(definition), start, Timestamp::UNIX_EPOCH)
}

impl Run {
    /// Runs the case to its end.
    pub fn of(case: &Value, definition: &Arc<Definition>) -> Result<Self, String> {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut execution = start(case, definition);
        let mut script = Script::of(case);
        let (mut told, mut commands, mut traces) = (Vec::new(), Vec::new(), Vec::new());
        let mut due: Vec<(Timestamp, Event)> = Vec::new();
        loop {
            while let Some(command) = execution.poll_command() {
                if let Command::ScheduleTask { id, function, payload, timeout, heartbeat, .. } = &command {
                    let (delay, event) = script.answer(*id, function, payload);
                    let (delay, event) = within(*id, delay, event, *timeout, *heartbeat);
                    due.push((now + delay, event));
                }
                if let Command::CancelTask { id } = &command {
                    due.retain(|(_, event)| event.id() != *id);
                }
                commands.push((now, command));
            }
            traces.extend(std::iter::from_fn(|| execution.poll_trace()));
            if let Some(outcome) = execution.outcome() {
                let outcome = outcome.clone();
                return Ok(Self { outcome, traces, told, commands, last: execution.snapshot() });
            }
            if commands.len() > MAX_COMMANDS {
                return Err(format!("more than {MAX_COMMANDS} commands"));
            }
            let first = due.iter().map(|(at, _)| *at).min();
            let timer = execution.poll_timeout();
            if let Some(timer) = timer.filter(|timer| first.is_none_or(|first| *timer <= first)) {
                now = timer.max(now);
                told.push((now, Told::Timeout));
                execution.handle_timeout(now);
                continue;
            }
            let Some(index) = due.iter().position(|(at, _)| Some(*at) == first) else {
                return Err("the execution waits for nothing".to_owned());
            };
            let (at, event) = due.remove(index);
            now = now.max(at);
            told.push((now, Told::Event(event.clone())));
            execution.handle_event(event, now);
        }
    }

    /// How the run ended, as the cases write it.
    pub fn result(&self) -> Value {
        match &self.outcome {
            Outcome::Succeeded { output } => json!({ "status": "SUCCEEDED", "output": output }),
            Outcome::Failed { error, cause } => {
                let mut result = json!({ "status": "FAILED" });
                for (name, value) in [("error", error), ("cause", cause)] {
                    if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                        result[name] = json!(value);
                    }
                }
                result
            }
        }
    }

    /// Compares the end with what the case expects.
    pub fn check_result(&self, case: &Value) -> Result<(), String> {
        let (wanted, found) = (&case["expected"], self.result());
        compare(wanted, &found)
            .map_err(|at| format!("result differs at {at}:\n  expected {wanted}\n  actual   {found}"))
    }

    /// The same events give the same commands and leave the same state: in one go, and with the execution taken
    /// through JSON and back before its commands are polled and after.
    pub fn check_replay(&self, case: &Value, definition: &Arc<Definition>) -> Result<(), String> {
        for through_json in [false, true] {
            let reload = |execution: Execution| {
                if !through_json {
                    return Ok(execution);
                }
                let at_rest = serde_json::to_string(&execution.snapshot()).map_err(|error| error.to_string())?;
                let at_rest = serde_json::from_str(&at_rest).map_err(|error| error.to_string())?;
                let reloaded = Execution::restore(Arc::clone(definition), at_rest);
                if reloaded.snapshot() != execution.snapshot() {
                    return Err("a snapshot changes on its way through JSON".to_owned());
                }
                Ok::<_, String>(reloaded)
            };
            let mut commands = Vec::new();
            let mut drain = |execution: &mut Execution, now| {
                commands.extend(std::iter::from_fn(|| execution.poll_command()).map(|command| (now, command)));
            };
            let mut execution = reload(start(case, definition))?;
            drain(&mut execution, Timestamp::UNIX_EPOCH);
            for (now, told) in &self.told {
                execution = reload(execution)?;
                match told {
                    Told::Event(event) => execution.handle_event(event.clone(), *now),
                    Told::Timeout => execution.handle_timeout(*now),
                }
                execution = reload(execution)?;
                drain(&mut execution, *now);
            }
            if commands != self.commands || execution.snapshot() != self.last {
                return Err(format!("a replay goes another way (through JSON: {through_json})"));
            }
        }
        Ok(())
    }
}

/// Ends an attempt that takes too long, as an engine does.
fn within(
    id: TaskId,
    delay: Duration,
    event: Event,
    timeout: Option<Duration>,
    heartbeat: Option<Duration>,
) -> (Duration, Event) {
    let timeout = timeout.map(|limit| (limit, "States.Timeout"));
    let heartbeat = heartbeat.map(|limit| (limit, "States.HeartbeatTimeout"));
    match [timeout, heartbeat].into_iter().flatten().min() {
        Some((limit, error)) if delay >= limit => {
            (limit, Event::TaskFailed { id, error: error.to_owned(), cause: String::new() })
        }
        _ => (delay, event),
    }
}
