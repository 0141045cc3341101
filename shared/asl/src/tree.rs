//! An execution together with its children, and theirs.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::children::Children;
use crate::definition::Definition;
use crate::execution::{Command, Event, Execution, InFlight, MapRunId, Outcome, Trace};
use crate::items::ItemSource;
use crate::start::ExecutionStart;

/// Which execution of a tree: the way from the root, by Map run and item.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChildPath(Vec<(MapRunId, u64)>);

impl ChildPath {
    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is that execution, or a child of it, or one of theirs.
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// A child of this one.
    pub fn child(&self, map_run: MapRunId, index: u64) -> Self {
        let mut path = self.0.clone();
        path.push((map_run, index));
        Self(path)
    }

    /// The same way from the parent of the root.
    pub(crate) fn below(mut self, map_run: MapRunId, index: u64) -> Self {
        self.0.insert(0, (map_run, index));
        self
    }

    pub(crate) fn split_first(&self) -> Option<((MapRunId, u64), Self)> {
        let (first, rest) = self.0.split_first()?;
        Some((*first, Self(rest.to_vec())))
    }
}

impl fmt::Display for ChildPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (map_run, index)) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "/" };
            write!(f, "{separator}{}:{index}", map_run.0)?;
        }
        Ok(())
    }
}

/// Something that an execution of a tree is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// Something happened outside.
    #[serde(alias = "Attempt")]
    Event(Event),
    /// An item that was wanted: its child begins.
    Item {
        /// The run that the child belongs to.
        map_run: MapRunId,
        /// The item's index.
        index: u64,
        /// The item.
        item: Value,
    },
    /// A child ended in an earlier life: in place of all that it was told then.
    End {
        /// The run that the child belongs to.
        map_run: MapRunId,
        /// Its item's index.
        index: u64,
        /// Whether it failed.
        has_failed: bool,
        /// Its output, or a description in the words of AWS.
        result: Value,
    },
    /// Time has passed; for all of the tree.
    Timer,
    /// What led to this error has changed, so retries after it need not wait any longer; for all of the tree.
    Hasten {
        /// The error's name.
        error: String,
    },
}

/// A child ended. What its end means to the tree is done; whoever keeps a journal may replace all that the child was
/// told by its end.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildEnd {
    /// The parent.
    pub path: ChildPath,
    /// The run that the child belongs to.
    pub map_run: MapRunId,
    /// Its item's index.
    pub index: u64,
    /// Whether it failed.
    pub has_failed: bool,
    /// Its output, or a description in the words of AWS.
    pub result: Value,
}

impl ChildEnd {
    /// The child.
    pub fn child(&self) -> ChildPath {
        self.path.child(self.map_run, self.index)
    }

    /// For another life: whom to tell, and what.
    pub fn into_told(self) -> (ChildPath, Told) {
        let Self { path, map_run, index, has_failed, result } = self;
        (path, Told::End { map_run, index, has_failed, result })
    }
}

/// An item that a child waits to begin with.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedItem {
    /// The parent.
    pub path: ChildPath,
    /// The run that the child will belong to.
    pub map_run: MapRunId,
    /// The item's index.
    pub index: u64,
    /// How many items there are.
    pub items: u64,
    /// Where it is.
    pub source: ItemSource,
}

/// An execution that runs the children of its distributed Maps itself, and they theirs.
///
/// It is polled as [`Execution`] is; every command and every event has the path of the execution that it is for.
/// Besides, [`ExecutionTree::wanted_item`] names items to read. Commands to start children are never seen.
pub struct ExecutionTree {
    definition: Arc<Definition>,
    execution: Execution,
    runs: BTreeMap<MapRunId, Children>,
    commands: VecDeque<(ChildPath, Command)>,
    traces: VecDeque<(ChildPath, Trace)>,
    ends: VecDeque<ChildEnd>,
    stalled: Option<String>,
}

impl ExecutionTree {
    /// Begins an execution.
    pub fn start(definition: Arc<Definition>, start: ExecutionStart, now: Timestamp) -> Self {
        let execution = Execution::start(Arc::clone(&definition), start, now);
        Self::of(definition, execution, now)
    }

    pub(crate) fn of(definition: Arc<Definition>, execution: Execution, now: Timestamp) -> Self {
        let mut tree = Self {
            definition,
            execution,
            runs: BTreeMap::new(),
            commands: VecDeque::new(),
            traces: VecDeque::new(),
            ends: VecDeque::new(),
            stalled: None,
        };
        tree.collect(now);
        tree
    }

    /// Tells one of the executions something. What is not waited for, or not any more, is ignored.
    pub fn tell(&mut self, path: &ChildPath, told: Told, now: Timestamp) {
        match (path.split_first(), told) {
            (_, Told::Timer) => return self.handle_timeout(now),
            (_, Told::Hasten { error }) => return self.hasten_retries(&error, now),
            (Some(((map_run, _), _)), told) => {
                if let Some(children) = self.runs.get_mut(&map_run) {
                    children.tell(path, told, now);
                }
            }
            (None, Told::Event(event)) => self.execution.handle_event(event, now),
            (None, Told::Item { map_run, index, item }) => {
                if let Some(children) = self.runs.get_mut(&map_run) {
                    children.begin(index, item, now);
                }
            }
            (None, Told::End { map_run, index, has_failed, result }) => {
                if let Some(children) = self.runs.get_mut(&map_run) {
                    children.forget(index);
                }
                self.execution.handle_event(Event::ChildEnded { map_run, index, has_failed, result }, now);
            }
        }
        self.collect(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        self.execution.handle_timeout(now);
        for children in self.runs.values_mut() {
            children.handle_timeout(now);
        }
        self.collect(now);
    }

    pub(crate) fn hasten_retries(&mut self, error: &str, now: Timestamp) {
        self.execution.hasten_retries(error, now);
        for children in self.runs.values_mut() {
            children.hasten_retries(error, now);
        }
        self.collect(now);
    }

    /// The next thing to do outside.
    pub fn poll_command(&mut self) -> Option<(ChildPath, Command)> {
        self.commands.pop_front()
    }

    /// When it wants to be told [`Told::Timer`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let runs = self.runs.values().filter_map(Children::poll_timeout);
        self.execution.poll_timeout().into_iter().chain(runs).min()
    }

    /// The next thing that happened inside.
    pub fn poll_trace(&mut self) -> Option<(ChildPath, Trace)> {
        self.traces.pop_front()
    }

    /// Of the execution, and of all below it.
    pub(crate) fn in_flight(&self) -> InFlight {
        self.runs.values().map(Children::in_flight).chain([self.execution.in_flight()]).sum()
    }

    /// The next child that ended.
    pub fn poll_end(&mut self) -> Option<ChildEnd> {
        self.ends.pop_front()
    }

    /// An item that is wanted; asked again until it comes.
    pub fn wanted_item(&self) -> Option<WantedItem> {
        self.runs.values().find_map(Children::wanted_item)
    }

    /// How the root ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.execution.outcome()
    }

    /// Why it cannot go on, as [`Execution::stalled`] says: of no execution of the tree, what it says now is of any use.
    pub fn stalled(&self) -> Option<&str> {
        self.stalled.as_deref()
    }

    /// Gives everything up that is under way outside.
    pub(crate) fn cancel(self) -> Vec<(ChildPath, Command)> {
        let own = self.execution.under_way().map(|command| (ChildPath::default(), command));
        own.chain(self.runs.into_values().flat_map(Children::cancel)).collect()
    }

    /// Carries out what the execution and its children have to do with each other, until that is done.
    fn collect(&mut self, now: Timestamp) {
        loop {
            let mut stalled = self.runs.values().filter_map(Children::stalled).chain(self.execution.stalled());
            if let Some(reason) = stalled.next() {
                self.stalled.get_or_insert_with(|| reason.to_owned());
                return;
            }
            while let Some(command) = self.execution.poll_command() {
                self.carry_out(command);
            }
            self.traces
                .extend(std::iter::from_fn(|| self.execution.poll_trace()).map(|trace| (ChildPath::default(), trace)));
            let mut told = Vec::new();
            for (map_run, children) in &mut self.runs {
                self.commands.extend(std::iter::from_fn(|| children.poll_command()));
                self.traces.extend(std::iter::from_fn(|| children.poll_trace()));
                while let Some(end) = children.poll_end() {
                    if end.path.is_root() {
                        let ChildEnd { map_run, index, has_failed, ref result, .. } = end;
                        told.push(Event::ChildEnded { map_run, index, has_failed, result: result.clone() });
                    }
                    self.ends.push_back(end);
                }
                if let Some((error, cause)) = children.take_failure() {
                    told.push(Event::MapRunFailed { map_run: *map_run, error, cause });
                }
            }
            self.runs.retain(|_, children| !children.are_over());
            // An end may be the last that the Map waits for, or one failure too many: that goes before the next beginning.
            if told.is_empty() && !self.runs.values_mut().any(|children| children.begin_next(now)) {
                return;
            }
            for event in told {
                self.execution.handle_event(event, now);
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::StartChildren(run) => {
                let (id, items) = (run.id, run.items);
                self.runs.insert(id, Children::new(Arc::clone(&self.definition), *run, 0..items));
            }
            Command::CancelChildren { map_run } => {
                let children = self.runs.remove(&map_run);
                self.commands.extend(children.into_iter().flat_map(Children::cancel));
                self.commands.push_back((ChildPath::default(), Command::CancelChildren { map_run }));
            }
            command => {
                if let Command::WriteResults { map_run, .. } = &command {
                    self.runs.remove(map_run);
                }
                self.commands.push_back((ChildPath::default(), command));
            }
        }
    }
}
