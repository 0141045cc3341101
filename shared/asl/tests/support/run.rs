//! One execution of a case against its scripts, on a clock of its own; and the proofs that every execution owes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use asl::{
    ChildEnd, ChildPath, Command, Definition, Event, Execution, ExecutionStart, ExecutionTree, Happening, Outcome,
    Told, Trace, World, simulate,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::pattern::compare;
use super::script::Script;

/// Commands of one execution at most: a case that never ends is a failure, not a hang.
const MAX_COMMANDS: usize = 40_000;

/// Runs longer than this are not cut at every point.
const MAX_CUTS: usize = 100;

/// One run.
pub struct RunRecord {
    pub outcome: Outcome,
    /// Of the execution itself; AWS tells nothing of children either.
    pub traces: Vec<Trace>,
    pub told: Vec<(Timestamp, ChildPath, Told)>,
    /// With the time of each.
    pub commands: Vec<(Timestamp, ChildPath, Command)>,
    /// The children that ended, and behind how many things told.
    ends: Vec<(usize, ChildEnd)>,
    /// By bucket and key.
    pub objects: BTreeMap<(String, String), Vec<u8>>,
}

/// What a case scripts, and what came of it.
struct Scripted<'a> {
    script: Script<'a>,
    run: RunRecord,
}

impl World for Scripted<'_> {
    fn call(&mut self, task: &Command) -> (Duration, Result<Value, (String, String)>) {
        let Command::ScheduleTask { function, payload, .. } = task else { panic!("{task:?} is no call") };
        self.script.answer(function, payload)
    }

    fn read(&mut self, arguments: &Value) -> Result<Vec<u8>, String> {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let object = self.run.objects.get(&(text("Bucket"), text("Key")));
        object.cloned().ok_or_else(|| "There is no such object.".to_owned())
    }

    fn write(&mut self, bucket: &str, key: &str, body: Vec<u8>) {
        self.run.objects.insert((bucket.to_owned(), key.to_owned()), body);
    }

    fn hear(&mut self, at: Timestamp, happening: Happening<'_>) -> bool {
        let run = &mut self.run;
        match happening {
            Happening::Traced(path, trace) if path.is_root() => run.traces.push(trace.clone()),
            Happening::Traced(..) => {}
            Happening::Wanted(path, command) => run.commands.push((at, path.clone(), command.clone())),
            Happening::Told(path, told) => run.told.push((at, path.clone(), told.clone())),
            Happening::Ended(end) => run.ends.push((run.told.len(), end.clone())),
        }
        run.commands.len() <= MAX_COMMANDS
    }
}

/// What the case's execution begins with.
pub fn start_of(case: &Value) -> ExecutionStart {
    ExecutionStart {
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

impl RunRecord {
    /// Runs the case to its end.
    pub fn of(case: &Value, definition: &Arc<Definition>) -> Result<Self, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let objects = case["s3"].as_array().into_iter().flatten();
        let objects = objects
            .map(|object| ((text(&object["bucket"]), text(&object["key"])), text(&object["body"]).into_bytes()))
            .collect();
        let run = Self {
            outcome: Outcome::Failed { error: None, cause: None },
            traces: Vec::new(),
            told: Vec::new(),
            commands: Vec::new(),
            ends: Vec::new(),
            objects,
        };
        let mut world = Scripted { script: Script::of(case), run };
        let outcome = simulate(tree(case, definition), Timestamp::UNIX_EPOCH, &mut world);
        let outcome = outcome.ok_or_else(|| format!("no end after {} commands", world.run.commands.len()))?;
        Ok(Self { outcome, ..world.run })
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
            commands.len()
        };
        let mut asked = vec![drain(&mut replay, Timestamp::UNIX_EPOCH)];
        for (now, path, told) in &self.told {
            replay.tell(path, told.clone(), *now);
            asked.push(drain(&mut replay, *now));
        }
        if commands != self.commands || replay.outcome() != Some(&self.outcome) {
            return Err("a replay goes another way".to_owned());
        }
        self.check_snapshots(case, definition)?;
        let has_children = case["definition"].to_string().contains("DISTRIBUTED");
        if has_children { self.check_cuts(case, definition, &asked) } else { Ok(()) }
    }

    /// With the execution itself, without its children, taken through JSON and back before its commands are polled and
    /// after.
    fn check_snapshots(&self, case: &Value, definition: &Arc<Definition>) -> Result<(), String> {
        // What a tree tells its root of such a failure is told by nobody outside.
        let is_hidden = |trace: &Trace| matches!(trace, Trace::MapRunFailed { error, .. } if error == "States.QueryEvaluationError");
        if self.traces.iter().any(is_hidden) {
            return Ok(());
        }
        let children_ended = |execution: &mut Execution, behind: usize, now| {
            for (_, end) in self.ends.iter().filter(|(number, end)| *number == behind && end.path.is_root()) {
                let ChildEnd { map_run, index, has_failed, result, .. } = end.clone();
                execution.handle_event(Event::ChildEnded { map_run, index, has_failed, result }, now);
            }
        };
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
        children_ended(&mut execution, 0, Timestamp::UNIX_EPOCH);
        drain(&mut execution);
        for (number, (now, path, told)) in self.told.iter().enumerate() {
            execution = reload(execution)?;
            match told {
                Told::Event(event) if path.is_root() => execution.handle_event(event.clone(), *now),
                Told::Timer => execution.handle_timeout(*now),
                Told::Hasten { error } => execution.hasten_retries(error, *now),
                Told::End { .. } => return Err("nobody tells an end in the first life".to_owned()),
                Told::Event(_) | Told::Item { .. } => {}
            }
            children_ended(&mut execution, number + 1, *now);
            execution = reload(execution)?;
            drain(&mut execution);
        }
        commands.retain(|command| !matches!(command, Command::StartChildren(_)));
        let of_root = self.commands.iter().filter(|(_, path, _)| path.is_root());
        let is_alike = commands.iter().eq(of_root.map(|(.., command)| command));
        if is_alike { Ok(()) } else { Err("a replay by snapshots goes another way".to_owned()) }
    }

    /// A life that ends anywhere, and another that begins with what the journal holds then: it goes on with the same
    /// commands, of which so many were asked for before, by what was told.
    fn check_cuts(&self, case: &Value, definition: &Arc<Definition>, asked: &[usize]) -> Result<(), String> {
        let cuts = (0..=self.told.len()).step_by(self.told.len().div_ceil(MAX_CUTS).max(1));
        for cut in cuts {
            let mut journal: Vec<(Timestamp, ChildPath, Told)> = Vec::new();
            for (number, record) in self.told[..cut].iter().enumerate() {
                journal.push(record.clone());
                for (_, end) in self.ends.iter().filter(|(behind, _)| *behind == number + 1) {
                    let child = end.child();
                    journal.retain(|(_, path, told)| match told {
                        Told::Item { map_run, index, .. } => !path.child(*map_run, *index).starts_with(&child),
                        _ => !path.starts_with(&child),
                    });
                    let (path, told) = end.clone().into_told();
                    journal.push((record.0, path, told));
                }
            }
            let mut replay = tree(case, definition);
            for (now, path, told) in journal {
                replay.tell(&path, told, now);
            }
            while replay.poll_command().is_some() {}
            let mut commands = Vec::new();
            for (now, path, told) in &self.told[cut..] {
                replay.tell(path, told.clone(), *now);
                commands.extend(std::iter::from_fn(|| replay.poll_command()));
            }
            let wanted = self.commands[asked[cut]..].iter().map(|(_, path, command)| (path, command));
            if !commands.iter().map(|(path, command)| (path, command)).eq(wanted) {
                return Err(format!("a life cut after {cut} events goes another way"));
            }
            if replay.outcome() != Some(&self.outcome) {
                return Err(format!("a life cut after {cut} events ends otherwise: {:?}", replay.outcome()));
            }
        }
        Ok(())
    }
}
