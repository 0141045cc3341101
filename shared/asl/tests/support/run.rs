//! One execution of a case against its scripts, on a clock of its own; and the proofs that every execution owes.

use std::sync::Arc;
use std::time::Duration;

use asl::{
    ChildEnd, ChildPath, Command, Definition, Event, Execution, ExecutionTree, MapRunId, Outcome, Start, TaskId, Trace,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::bucket::Bucket;
use super::pattern::compare;
use super::script::Script;

/// Commands of one execution at most: a case that never ends is a failure, not a hang.
const MAX_COMMANDS: usize = 40_000;

/// Runs longer than this are not cut at every point.
const MAX_CUTS: usize = 100;

/// What an execution was told.
#[derive(Clone)]
pub enum Told {
    Event(ChildPath, Event),
    Item(ChildPath, MapRunId, u64, Value),
    /// In place of all that a child was told.
    End(ChildEnd),
    Timeout,
}

/// One run.
pub struct Run {
    pub outcome: Outcome,
    /// Of the execution itself; AWS tells nothing of children either.
    pub traces: Vec<Trace>,
    pub told: Vec<(Timestamp, Told)>,
    /// With the time of each.
    pub commands: Vec<(Timestamp, ChildPath, Command)>,
    /// The children that ended, and behind how many things told.
    ends: Vec<(usize, ChildEnd)>,
    pub bucket: Bucket,
}

/// What the case's execution begins with.
pub fn start_of(case: &Value) -> Start {
    Start {
        input: case["input"].clone(),
        execution_id: "arn:aws:states:us-east-1:111111111111:execution:machine:execution".to_owned(),
        execution_name: "execution".to_owned(),
        state_machine_id: "arn:aws:states:us-east-1:111111111111:stateMachine:machine".to_owned(),
        state_machine_name: "machine".to_owned(),
        role_arn: "arn:aws:iam::111111111111:role/role".to_owned(),
        seed: case["seed"].as_u64().unwrap_or(7),
    }
}

fn tree(case: &Value, definition: &Arc<Definition>) -> ExecutionTree {
    ExecutionTree::start(Arc::clone(definition), start_of(case), Timestamp::UNIX_EPOCH)
}

impl Run {
    /// Runs the case to its end.
    pub fn of(case: &Value, definition: &Arc<Definition>) -> Result<Self, String> {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut tree = tree(case, definition);
        let mut script = Script::of(case);
        let mut run = Self {
            outcome: Outcome::Failed { error: None, cause: None },
            traces: Vec::new(),
            told: Vec::new(),
            commands: Vec::new(),
            ends: Vec::new(),
            bucket: Bucket::of(case),
        };
        let mut due: Vec<(Timestamp, ChildPath, Event)> = Vec::new();
        loop {
            run.ends.extend(std::iter::from_fn(|| tree.poll_end()).map(|end| (run.told.len(), end)));
            while let Some((path, command)) = tree.poll_command() {
                let delay = match &command {
                    Command::ScheduleTask { id, function, payload, timeout, heartbeat, .. } => {
                        let (delay, event) = script.answer(*id, function, payload);
                        Some(within(*id, delay, event, *timeout, *heartbeat))
                    }
                    Command::CancelTask { id } => {
                        due.retain(|(_, other, event)| *other != path || attempt(event) != Some(*id));
                        None
                    }
                    Command::ReadItems { map_run, source } => {
                        Some((Duration::ZERO, run.bucket.count(*map_run, source)))
                    }
                    Command::WriteResults { map_run, map_run_arn, target } => {
                        let ends = run.ends.iter().map(|(_, end)| end);
                        let ends = ends.filter(|end| end.path == path && end.map_run == *map_run).collect();
                        Some((Duration::ZERO, run.bucket.write(*map_run, map_run_arn, target, ends)))
                    }
                    _ => None,
                };
                due.extend(delay.map(|(delay, event)| (now + delay, path.clone(), event)));
                run.commands.push((now, path, command));
            }
            let traces = std::iter::from_fn(|| tree.poll_trace());
            run.traces.extend(traces.filter(|(path, _)| path.is_root()).map(|(_, trace)| trace));
            if let Some(outcome) = tree.outcome() {
                run.outcome = outcome.clone();
                return Ok(run);
            }
            if run.commands.len() > MAX_COMMANDS {
                return Err(format!("more than {MAX_COMMANDS} commands"));
            }
            if let Some(wanted) = tree.wanted_item() {
                let item = run.bucket.item(&wanted.source, wanted.index);
                run.tell(&mut tree, Told::Item(wanted.path, wanted.map_run, wanted.index, item), now);
                continue;
            }
            let first = due.iter().map(|(at, ..)| *at).min();
            let timer = tree.poll_timeout();
            if let Some(timer) = timer.filter(|timer| first.is_none_or(|first| *timer <= first)) {
                now = timer.max(now);
                run.tell(&mut tree, Told::Timeout, now);
                continue;
            }
            let Some(index) = due.iter().position(|(at, ..)| Some(*at) == first) else {
                return Err("the execution waits for nothing".to_owned());
            };
            let (at, path, event) = due.remove(index);
            now = now.max(at);
            run.tell(&mut tree, Told::Event(path, event), now);
        }
    }

    fn tell(&mut self, tree: &mut ExecutionTree, told: Told, now: Timestamp) {
        tell(tree, told.clone(), now);
        self.told.push((now, told));
    }

    /// The result, as the conformance suite has it.
    pub fn result(&self) -> Value {
        match &self.outcome {
            Outcome::Succeeded { output } => json!({ "status": "SUCCEEDED", "output": output }),
            Outcome::Failed { error, cause } => {
                let mut result = json!({ "status": "FAILED" });
                for (name, text) in [("error", error), ("cause", cause)] {
                    if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                        result[name] = json!(text);
                    }
                }
                result
            }
        }
    }

    /// Whether it ended as the case says.
    pub fn check_result(&self, case: &Value) -> Result<(), String> {
        let (wanted, found) = (&case["expected"], self.result());
        compare(wanted, &found)
            .map_err(|at| format!("result differs at {at}:\n  expected {wanted}\n  actual   {found}"))
    }

    /// What every execution owes: the same events give the same commands; a journal in which an end stands for all that
    /// a child was told leads to the same end, wherever it is cut; a snapshot that goes through JSON changes nothing.
    pub fn check_replay(&self, case: &Value, definition: &Arc<Definition>) -> Result<(), String> {
        let (mut replay, mut commands) = (tree(case, definition), Vec::new());
        let mut drain = |tree: &mut ExecutionTree, now| {
            commands.extend(std::iter::from_fn(|| tree.poll_command()).map(|(path, command)| (now, path, command)));
        };
        drain(&mut replay, Timestamp::UNIX_EPOCH);
        for (now, told) in &self.told {
            tell(&mut replay, told.clone(), *now);
            drain(&mut replay, *now);
        }
        if commands != self.commands || replay.outcome() != Some(&self.outcome) {
            return Err("a replay goes another way".to_owned());
        }
        let has_children = !self.ends.is_empty() || self.commands.iter().any(|(_, path, _)| !path.is_root());
        if has_children { self.check_cuts(case, definition) } else { self.check_snapshots(case, definition) }
    }

    /// With the execution taken through JSON and back before its commands are polled and after.
    fn check_snapshots(&self, case: &Value, definition: &Arc<Definition>) -> Result<(), String> {
        let reload = |execution: Execution| {
            let at_rest = serde_json::to_string(&execution.snapshot()).map_err(|error| error.to_string())?;
            let at_rest = serde_json::from_str(&at_rest).map_err(|error| error.to_string())?;
            let reloaded = Execution::restore(Arc::clone(definition), at_rest);
            if reloaded.snapshot() != execution.snapshot() {
                return Err("a snapshot changes on its way through JSON".to_owned());
            }
            Ok::<_, String>(reloaded)
        };
        let mut commands = Vec::new();
        let mut drain = |execution: &mut Execution| commands.extend(std::iter::from_fn(|| execution.poll_command()));
        let mut execution = reload(Execution::start(Arc::clone(definition), start_of(case), Timestamp::UNIX_EPOCH))?;
        drain(&mut execution);
        for (now, told) in &self.told {
            execution = reload(execution)?;
            match told {
                Told::Event(_, event) => execution.handle_event(event.clone(), *now),
                Told::Timeout => execution.handle_timeout(*now),
                Told::Item(..) | Told::End(_) => return Err("there are no children".to_owned()),
            }
            execution = reload(execution)?;
            drain(&mut execution);
        }
        let is_alike = commands.iter().eq(self.commands.iter().map(|(.., command)| command));
        if is_alike { Ok(()) } else { Err("a replay by snapshots goes another way".to_owned()) }
    }

    /// A life that ends anywhere, and another that begins with what the journal holds then.
    fn check_cuts(&self, case: &Value, definition: &Arc<Definition>) -> Result<(), String> {
        let cuts = (0..=self.told.len()).step_by(self.told.len().div_ceil(MAX_CUTS).max(1));
        for cut in cuts {
            let mut journal: Vec<(Timestamp, Told)> = Vec::new();
            for (number, (now, told)) in self.told[..cut].iter().enumerate() {
                journal.push((*now, told.clone()));
                for (_, end) in self.ends.iter().filter(|(behind, _)| *behind == number + 1) {
                    let child = end.path.child(end.map_run, end.index);
                    journal.retain(|(_, told)| !told.path().is_some_and(|path| path.starts_with(&child)));
                    journal.retain(|(_, told)| match told {
                        Told::Item(path, map_run, index, _) => path.child(*map_run, *index) != child,
                        _ => true,
                    });
                    journal.push((*now, Told::End(end.clone())));
                }
            }
            let mut replay = tree(case, definition);
            for (now, told) in journal.into_iter().chain(self.told[cut..].iter().cloned()) {
                tell(&mut replay, told, now);
            }
            if replay.outcome() != Some(&self.outcome) {
                return Err(format!("a life cut after {cut} events ends otherwise: {:?}", replay.outcome()));
            }
        }
        Ok(())
    }
}

impl Told {
    fn path(&self) -> Option<&ChildPath> {
        match self {
            Self::Event(path, _) | Self::Item(path, ..) => Some(path),
            Self::End(end) => Some(&end.path),
            Self::Timeout => None,
        }
    }
}

fn tell(tree: &mut ExecutionTree, told: Told, now: Timestamp) {
    match told {
        Told::Event(path, event) => tree.handle_event(&path, event, now),
        Told::Item(path, map_run, index, item) => tree.handle_item(&path, map_run, index, item, now),
        Told::End(end) => tree.handle_end(end, now),
        Told::Timeout => tree.handle_timeout(now),
    }
}

fn attempt(event: &Event) -> Option<TaskId> {
    match event {
        Event::TaskSucceeded { id, .. } | Event::TaskFailed { id, .. } => Some(*id),
        _ => None,
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
