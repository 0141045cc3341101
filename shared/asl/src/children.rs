//! The children of a distributed Map: an execution for every item of a range.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::definition::{Definition, Kind, State};
use crate::error::StateError;
use crate::execution::{Command, Execution, InFlight, MapRun, Outcome, Trace};
use crate::items::ItemSource;
use crate::random::Random;
use crate::scope::{Context, Visit};
use crate::size;
use crate::start::ExecutionStart;
use crate::tree::{ChildEnd, ChildPath, ExecutionTree, Told, WantedItem};

/// Children under way at the same time at most, whatever the Map would allow, and the bytes of their inputs: what runs
/// them must be able to keep them all in memory. None begins either while their attempts are so many, or so large.
const MAX_OPEN: u64 = 500;
const MAX_OPEN_BYTES: usize = 2 * 1024 * 1024;

/// The children of one Map run, or of a part of it.
///
/// Whoever runs them outside of an [`ExecutionTree`] polls in this order, after [`Children::new`] and after everything
/// they are told: [`Children::poll_command`], [`Children::poll_end`] and [`Children::take_failure`] until none says
/// anything; then [`Children::begin_next`], and if that began one, all of it again; then [`Children::wanted_item`] and
/// [`Children::poll_timeout`]. They are done once [`Children::are_over`], or after a failure. Every path begins with
/// the run and the index of one of these children.
pub struct Children {
    definition: Arc<Definition>,
    run: MapRun,
    /// The items that no child has begun with.
    left: Range<u64>,
    /// Those before them that were passed over, and may still be told.
    passed_over: BTreeSet<u64>,
    open: BTreeMap<u64, Child>,
    open_bytes: usize,
    ends: VecDeque<ChildEnd>,
    commands: VecDeque<(ChildPath, Command)>,
    traces: VecDeque<(ChildPath, Trace)>,
    /// Why no further child can begin.
    failure: Option<StateError>,
    stalled: Option<String>,
}

struct Child {
    tree: ExecutionTree,
    input: Arc<Value>,
    began_at: Timestamp,
    bytes: usize,
}

impl Children {
    /// The children of a range of the items; none has begun.
    pub fn new(definition: Arc<Definition>, run: MapRun, range: Range<u64>) -> Self {
        Self {
            definition,
            left: range.start..range.end.min(run.items),
            passed_over: BTreeSet::new(),
            run,
            open: BTreeMap::new(),
            open_bytes: 0,
            ends: VecDeque::new(),
            commands: VecDeque::new(),
            traces: VecDeque::new(),
            failure: None,
            stalled: None,
        }
    }

    /// An item that is wanted, of these or of their own; asked again until it comes.
    pub fn wanted_item(&self) -> Option<WantedItem> {
        let map_run = self.run.id;
        if let Some((index, source)) = self.wanted() {
            let (path, items, source) = (ChildPath::default(), self.run.items, source.clone());
            return Some(WantedItem { path, map_run, index, items, source });
        }
        self.open.iter().find_map(|(index, child)| {
            let wanted = child.tree.wanted_item()?;
            Some(WantedItem { path: wanted.path.below(map_run, *index), ..wanted })
        })
    }

    /// The index of the next item that is wanted, and where it is.
    fn wanted(&self) -> Option<(u64, &ItemSource)> {
        let source = self.run.source.as_ref()?;
        self.has_room().then_some((self.left.start, source))
    }

    /// Tells one of the executions something; the path begins with this run and an index. What begins or ends a child
    /// of this run is told to the run itself: with the path of its parent, which is empty.
    pub fn tell(&mut self, path: &ChildPath, told: Told, now: Timestamp) {
        match (path.split_first(), told) {
            (_, Told::Timer) => self.handle_timeout(now),
            (_, Told::Hasten { error }) => self.hasten_retries(&error, now),
            (None, Told::Item { map_run, index, item }) if map_run == self.run.id => self.begin(index, item, now),
            (None, Told::End { map_run, index, .. }) if map_run == self.run.id => self.forget(index),
            (Some(((map_run, index), rest)), told) if map_run == self.run.id => {
                self.touch(index, now, |tree| tree.tell(&rest, told, now));
            }
            _ => {}
        }
    }

    /// The child of an item that was read begins. Items behind it may still come; those before it, only if they are told.
    /// An item that a child has begun with already changes nothing.
    pub fn begin(&mut self, index: u64, item: Value, now: Timestamp) {
        if self.take(index) {
            self.begin_child(index, Arc::new(item), now);
        }
    }

    /// Whether no child has begun with this item, which one does now.
    fn take(&mut self, index: u64) -> bool {
        if !self.left.contains(&index) {
            return self.passed_over.remove(&index);
        }
        self.passed_over.extend(self.left.start..index);
        self.left.start = index + 1;
        true
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let due = |child: &Child| child.tree.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<u64> = self.open.iter().filter(|(_, child)| due(child)).map(|(index, _)| *index).collect();
        for index in due {
            self.touch(index, now, |tree| tree.handle_timeout(now));
        }
    }

    pub(crate) fn hasten_retries(&mut self, error: &str, now: Timestamp) {
        let open: Vec<u64> = self.open.keys().copied().collect();
        for index in open {
            self.touch(index, now, |tree| tree.hasten_retries(error, now));
        }
    }

    /// When they want to be told that time has passed.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.open.values().filter_map(|child| child.tree.poll_timeout()).min()
    }

    /// The next thing to do outside.
    pub fn poll_command(&mut self) -> Option<(ChildPath, Command)> {
        self.commands.pop_front()
    }

    /// The next thing that happened inside.
    pub fn poll_trace(&mut self) -> Option<(ChildPath, Trace)> {
        self.traces.pop_front()
    }

    /// The next child that ended, of these or of their own.
    pub fn poll_end(&mut self) -> Option<ChildEnd> {
        self.ends.pop_front()
    }

    /// Why no further child can begin: an error's name and its cause. The run has failed then, and whoever takes this
    /// gives the others up.
    pub fn take_failure(&mut self) -> Option<(String, String)> {
        if self.stalled.is_some() {
            return None;
        }
        let error = self.failure.take()?;
        Some((error.error.unwrap_or_default(), error.cause.unwrap_or_default()))
    }

    /// Why they cannot go on, as [`Execution::stalled`] says.
    pub fn stalled(&self) -> Option<&str> {
        self.stalled.as_deref()
    }

    /// A child that ended in an earlier life of this run.
    pub(crate) fn forget(&mut self, index: u64) {
        self.take(index);
        if let Some(child) = self.remove(index) {
            let cancelled = child.tree.cancel().into_iter();
            self.commands.extend(cancelled.map(|(path, command)| (path.below(self.run.id, index), command)));
        }
    }

    /// Gives all of them up: the commands that do so outside.
    pub fn cancel(self) -> Vec<(ChildPath, Command)> {
        let id = self.run.id;
        let cancel = |(index, child): (u64, Child)| {
            child.tree.cancel().into_iter().map(move |(path, command)| (path.below(id, index), command))
        };
        self.open.into_iter().flat_map(cancel).collect()
    }

    /// Whether no child is under way and none can begin any more.
    pub fn are_over(&self) -> bool {
        self.left.is_empty() && self.open.is_empty()
    }

    fn has_room(&self) -> bool {
        self.failure.is_none()
            && self.stalled.is_none()
            && !self.left.is_empty()
            && (self.open.len() as u64) < self.run.max_concurrency.min(MAX_OPEN)
            && self.open_bytes < MAX_OPEN_BYTES
            && self.in_flight().is_little()
    }

    pub(crate) fn in_flight(&self) -> InFlight {
        self.open.values().map(|child| child.tree.in_flight()).sum()
    }

    /// The next child begins if it may, and if its item came with the run; whether one did.
    pub fn begin_next(&mut self, now: Timestamp) -> bool {
        let index = self.left.start;
        let position = index.checked_sub(self.run.given_from).and_then(|position| usize::try_from(position).ok());
        let given = position.and_then(|position| self.run.given.get(position));
        let Some(item) = given.filter(|_| self.has_room()).cloned() else { return false };
        self.left.start += 1;
        self.begin_child(index, item, now);
        true
    }

    fn begin_child(&mut self, index: u64, item: Arc<Value>, now: Timestamp) {
        let mut random = Random::new(self.run.seed.wrapping_add(index));
        let definition = Arc::clone(&self.definition);
        let Some(state @ State { kind: Kind::Map(map), .. }) = definition.state(&self.run.state) else {
            self.failure = Some(StateError::no_such_state(&self.run.state));
            return;
        };
        let parent = &self.run.parent;
        let mut visit = Visit {
            context: Context {
                start: &parent.start,
                started_at: parent.started_at,
                state: &self.run.state,
                entered_at: parent.entered_at,
                retry_count: Some(parent.retry_count),
                item: Some((index, &item)),
            },
            input: &parent.input,
            variables: &parent.variables,
            reads: &state.reads,
            now,
            random: &mut random,
            patience: definition.patience,
            stalled: &mut self.stalled,
        };
        let input = match map.select(&mut visit, Arc::clone(&item)) {
            Ok(input) => input,
            Err(mut error) => {
                error.name_state(&self.run.state, parent.entered_event);
                self.failure = Some(error);
                return;
            }
        };
        let (label, run) = (&self.run.label, self.run.id.0);
        let outer = &parent.start;
        let start = ExecutionStart {
            input: Value::clone(&input),
            execution_id: format!("{}/{label}:{run}:{index}", outer.execution_id),
            execution_name: format!("{}:{label}:{run}:{index}", outer.execution_name),
            state_machine_id: format!("{}/{label}", outer.state_machine_id),
            state_machine_name: format!("{}/{label}", outer.state_machine_name),
            role_arn: outer.role_arn.clone(),
            seed: random.next(),
        };
        let execution = Execution::start_at(Arc::clone(&self.definition), &map.processor.start_at, start, now);
        let bytes = size::bytes(&input);
        self.open_bytes += bytes;
        let tree = ExecutionTree::of(Arc::clone(&self.definition), execution, now);
        self.open.insert(index, Child { tree, input, began_at: now, bytes });
        self.collect(index, now);
    }

    /// Tells a child something, and does what follows from it.
    fn touch(&mut self, index: u64, now: Timestamp, tell: impl FnOnce(&mut ExecutionTree)) {
        let Some(child) = self.open.get_mut(&index) else { return };
        tell(&mut child.tree);
        self.collect(index, now);
    }

    /// Takes what a child has to say.
    fn collect(&mut self, index: u64, now: Timestamp) {
        let id = self.run.id;
        let Some(child) = self.open.get_mut(&index) else { return };
        if let Some(reason) = child.tree.stalled() {
            self.stalled.get_or_insert_with(|| format!("child {index}, {reason}"));
            return;
        }
        while let Some((path, command)) = child.tree.poll_command() {
            // Its end is told below, in more words.
            if !(path.is_root() && matches!(command, Command::Succeed { .. } | Command::Fail { .. })) {
                self.commands.push_back((path.below(id, index), command));
            }
        }
        while let Some((path, trace)) = child.tree.poll_trace() {
            self.traces.push_back((path.below(id, index), trace));
        }
        while let Some(end) = child.tree.poll_end() {
            self.ends.push_back(ChildEnd { path: end.path.below(id, index), ..end });
        }
        let Some(outcome) = child.tree.outcome().cloned() else { return };
        let Some(child) = self.remove(index) else { return };
        let has_failed = matches!(outcome, Outcome::Failed { .. });
        let result = match outcome {
            Outcome::Succeeded { output } if !self.run.has_writer => output,
            outcome => describe(&child, &self.run, index, &outcome, now),
        };
        self.ends.push_back(ChildEnd { path: ChildPath::default(), map_run: id, index, has_failed, result });
    }

    fn remove(&mut self, index: u64) -> Option<Child> {
        let child = self.open.remove(&index)?;
        self.open_bytes -= child.bytes;
        Some(child)
    }
}

/// A child in the words of AWS's results.
///
/// <https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html>
fn describe(child: &Child, run: &MapRun, index: u64, outcome: &Outcome, now: Timestamp) -> Value {
    let (label, outer) = (&run.label, &run.parent.start);
    let mut described = json!({
        "ExecutionArn": format!("{}/{label}:{}:{index}", outer.execution_id, run.id.0),
        "Input": child.input.to_string(),
        "InputDetails": {"Included": true},
        "Name": format!("{}:{label}:{}:{index}", outer.execution_name, run.id.0),
        "RedriveCount": 0,
        "StartDate": format!("{:.3}", child.began_at),
        "StateMachineArn": format!("{}/{label}", outer.state_machine_id),
        "StopDate": format!("{now:.3}"),
    });
    match outcome {
        Outcome::Succeeded { output } => {
            described["Status"] = json!("SUCCEEDED");
            described["Output"] = json!(output.to_string());
            described["OutputDetails"] = json!({"Included": true});
        }
        Outcome::Failed { error, cause } => {
            described["Status"] = json!("FAILED");
            described["Error"] = json!(error);
            described["Cause"] = json!(cause);
        }
    }
    described
}
