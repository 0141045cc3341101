//! An execution on a clock of its own: nothing really waits, and whoever runs it answers for the world outside.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::execution::{Command, Event, MapRunId, Outcome, TaskId, Trace};
use crate::items::{ItemDecoder, ItemSource, ItemsError};
use crate::results::ResultFiles;
use crate::tree::{ChildEnd, ChildPath, ExecutionTree, Told};

/// The world outside of an execution.
pub trait World {
    /// Answers a [`Command::ScheduleTask`]: how long the function takes, and its result, or an error's name and cause.
    fn call(&mut self, task: &Command) -> (Duration, Result<Value, (String, String)>);

    /// The object that an `ItemReader` names by its `Arguments`, or why it cannot be read.
    fn read(&mut self, arguments: &Value) -> Result<Vec<u8>, String>;

    /// Stores an object that a `ResultWriter` writes.
    fn write(&mut self, bucket: &str, key: &str, body: Vec<u8>);

    /// Hears of all that happens, in order; false stops the execution where it is.
    fn hear(&mut self, _at: Timestamp, _happening: Happening<'_>) -> bool {
        true
    }
}

/// Something that happens while an execution runs.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// One of the executions entered or left a state.
    Traced(&'a ChildPath, &'a Trace),
    /// It wants something done.
    Wanted(&'a ChildPath, &'a Command),
    /// It is told something.
    Told(&'a ChildPath, &'a Told),
    /// A child ended.
    Ended(&'a ChildEnd),
}

/// Runs an execution to its end; none if it was stopped, or waits for nothing.
pub fn simulate(mut tree: ExecutionTree, mut now: Timestamp, world: &mut dyn World) -> Option<Outcome> {
    let mut due = Vec::new();
    let mut results: Vec<ChildEnd> = Vec::new();
    let mut items = Items::new();
    loop {
        while let Some((path, trace)) = tree.poll_trace() {
            world.hear(now, Happening::Traced(&path, &trace)).then_some(())?;
        }
        while let Some(end) = tree.poll_end() {
            world.hear(now, Happening::Ended(&end)).then_some(())?;
            results.push(end);
        }
        while let Some((path, command)) = tree.poll_command() {
            world.hear(now, Happening::Wanted(&path, &command)).then_some(())?;
            if let Command::CancelTask { id } = &command {
                due.retain(|due: &Due| due.path != path || due.attempt() != Some(*id));
            }
            let coming = carry_out(&path, &command, &results, &mut items, world);
            due.extend(coming.map(|(delay, event)| Due { at: now + delay, path, event }));
        }
        if let Some(outcome) = tree.outcome() {
            return Some(outcome.clone());
        }
        let (path, told) = if let Some(wanted) = tree.wanted_item() {
            let (path, map_run, index) = (wanted.path, wanted.map_run, wanted.index);
            let position = usize::try_from(index).ok()?;
            let item = items.get(&(path.clone(), map_run))?.get(position)?.clone();
            (path, Told::Item { map_run, index, item })
        } else {
            let first = due.iter().map(|due| due.at).min();
            match (tree.poll_timeout(), first) {
                (Some(timer), first) if first.is_none_or(|first| timer <= first) => {
                    now = now.max(timer);
                    (ChildPath::default(), Told::Timer)
                }
                (_, first) => {
                    let next = due.remove(due.iter().position(|due| Some(due.at) == first)?);
                    now = now.max(next.at);
                    (next.path, Told::Event(next.event))
                }
            }
        };
        world.hear(now, Happening::Told(&path, &told)).then_some(())?;
        tree.tell(&path, told, now);
    }
}

/// The items of each Map run that reads some.
type Items = BTreeMap<(ChildPath, MapRunId), Vec<Value>>;

/// Something that will happen outside.
struct Due {
    at: Timestamp,
    path: ChildPath,
    event: Event,
}

impl Due {
    fn attempt(&self) -> Option<TaskId> {
        match &self.event {
            Event::TaskSucceeded { id, .. } | Event::TaskFailed { id, .. } => Some(*id),
            _ => None,
        }
    }
}

/// What comes of a command, and when.
fn carry_out(
    path: &ChildPath,
    command: &Command,
    results: &[ChildEnd],
    items: &mut Items,
    world: &mut dyn World,
) -> Option<(Duration, Event)> {
    match command {
        Command::ScheduleTask { id, timeout, heartbeat, .. } => {
            let (delay, result) = world.call(command);
            let timeout = timeout.map(|limit| (limit, "States.Timeout"));
            let heartbeat = heartbeat.map(|limit| (limit, "States.HeartbeatTimeout"));
            let id = *id;
            Some(match ([timeout, heartbeat].into_iter().flatten().min(), result) {
                (Some((limit, error)), _) if delay >= limit => {
                    (limit, Event::TaskFailed { id, error: error.to_owned(), cause: String::new() })
                }
                (_, Ok(result)) => (delay, Event::TaskSucceeded { id, result }),
                (_, Err((error, cause))) => (delay, Event::TaskFailed { id, error, cause }),
            })
        }
        Command::ReadItems { map_run, source } => {
            let event = match read(source, world) {
                Ok(read) => {
                    let count = read.len() as u64;
                    items.insert((path.clone(), *map_run), read);
                    Event::ItemsRead { map_run: *map_run, count }
                }
                Err(cause) => Event::MapRunFailed { map_run: *map_run, error: ItemsError::NAME.to_owned(), cause },
            };
            Some((Duration::ZERO, event))
        }
        Command::WriteResults { map_run, map_run_arn, target } => {
            let event = match ResultFiles::new(map_run_arn, target) {
                Ok(files) => {
                    let ends = results.iter().filter(|end| end.path == *path && end.map_run == *map_run);
                    write(&files, ends.collect(), world);
                    Event::ResultsWritten { map_run: *map_run, result: files.result() }
                }
                Err(cause) => Event::MapRunFailed { map_run: *map_run, error: ResultFiles::ERROR.to_owned(), cause },
            };
            Some((Duration::ZERO, event))
        }
        _ => None,
    }
}

fn read(source: &ItemSource, world: &mut dyn World) -> Result<Vec<Value>, String> {
    let body = world.read(&source.arguments)?;
    let mut decoder = ItemDecoder::new(source).map_err(|error| error.to_string())?;
    decoder.push(&body).and_then(|()| decoder.finish()).map_err(|error| error.to_string())?;
    Ok(std::iter::from_fn(|| decoder.poll_item()).collect())
}

fn write(files: &ResultFiles, mut ends: Vec<&ChildEnd>, world: &mut dyn World) {
    ends.sort_by_key(|end| end.index);
    let mut size = |has_failed: bool| {
        let results: Vec<&Value> =
            ends.iter().filter(|end| end.has_failed == has_failed).map(|end| &end.result).collect();
        let body = (!results.is_empty()).then(|| serde_json::json!(results).to_string())?;
        let size = body.len() as u64;
        world.write(files.bucket(), &files.key(has_failed), body.into_bytes());
        Some(size)
    };
    let manifest = files.manifest(size(false), size(true));
    world.write(files.bucket(), &files.manifest_key(), manifest.to_string().into_bytes());
}
