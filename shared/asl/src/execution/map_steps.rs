//! How an execution goes through a distributed Map: what it asks for, and what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Execution;
use super::ids::MapRunId;
use super::map_run::{MapRun, OpenMapRun, Parent};
use super::messages::{Command, Trace};
use super::thread::{Thread, ThreadId, WaitsFor};
use crate::definition::Kind;
use crate::error::StateError;
use crate::states::{Children, Items};

impl Execution {
    /// A distributed Map begins.
    pub(super) fn begin_map_run(&mut self, key: ThreadId, thread: Thread, children: Children, now: Timestamp) {
        // MapStateStarted and MapRunStarted.
        self.at_rest.events += 2;
        self.traces.push_back(Trace::MapRunStarted { state: thread.state.clone() });
        self.at_rest.map_runs += 1;
        let id = MapRunId(self.at_rest.map_runs);
        let label = self.label(&thread.state);
        let machine = self.at_rest.start.state_machine_id.replacen(":stateMachine:", ":mapRun:", 1);
        let run = self.at_rest.random.uuid();
        let (source, given) = match children.items {
            Items::Here(items) => (None, Some(items)),
            Items::There(source) => (Some(source), None),
        };
        let waiting = OpenMapRun {
            id,
            arn: format!("{machine}/{label}:{run}"),
            label,
            max_concurrency: children.max_concurrency,
            tolerated: children.tolerated,
            target: children.target,
            source,
            items: None,
            ended: BTreeMap::new(),
            bytes: 0,
            failed: 0,
            is_writing: false,
        };
        match given {
            Some(items) => self.start_children(key, thread, waiting, items.len() as u64, items, now),
            None => {
                let source = waiting.source.clone();
                self.at_rest.commands.extend(source.map(|source| Command::ReadItems { map_run: id, source }));
                self.wait_for_children(key, thread, waiting);
            }
        }
    }

    /// The items of a Map run are counted.
    pub(super) fn items_read(&mut self, id: MapRunId, count: u64, now: Timestamp) {
        self.with_map_run(id, now, |execution, key, thread, waiting| {
            if waiting.items.is_some() {
                return execution.wait_for_children(key, thread, waiting);
            }
            execution.start_children(key, thread, waiting, count, Vec::new(), now);
        });
    }

    /// A child ended.
    pub(super) fn child_ended(&mut self, id: MapRunId, index: u64, has_failed: bool, result: Value, now: Timestamp) {
        self.with_map_run(id, now, |execution, key, thread, mut waiting| {
            waiting.put(index, has_failed, result);
            execution.go_on_if_over(key, thread, waiting, now);
        });
    }

    /// The results of a Map run are written.
    pub(super) fn results_written(&mut self, id: MapRunId, result: Value, now: Timestamp) {
        self.with_map_run(id, now, |execution, key, thread, waiting| {
            if !waiting.is_writing {
                return execution.wait_for_children(key, thread, waiting);
            }
            execution.end_map_run(key, thread, &waiting, Some(result), now);
        });
    }

    /// A Map run cannot go on.
    pub(super) fn map_run_failed(&mut self, id: MapRunId, error: StateError, now: Timestamp) {
        self.with_map_run(id, now, |execution, key, thread, waiting| {
            if waiting.items.is_some() && !waiting.is_writing {
                execution.at_rest.commands.push_back(Command::CancelChildren { map_run: id });
            }
            execution.fail_map_run(key, thread, error, now);
        });
    }

    /// Takes the thread that waits for a Map run out of its rest, if there is one.
    fn with_map_run(
        &mut self,
        id: MapRunId,
        now: Timestamp,
        go_on: impl FnOnce(&mut Self, ThreadId, Thread, OpenMapRun),
    ) {
        let Some(key) = self.thread(|thread| thread.map_run() == Some(id)) else { return };
        let Some(mut thread) = self.at_rest.threads.remove(&key) else { return };
        let WaitsFor::MapRun(waiting) = std::mem::replace(&mut thread.waits_for, WaitsFor::Nothing) else { return };
        go_on(self, key, thread, *waiting);
        self.run(now);
    }

    fn start_children(
        &mut self,
        key: ThreadId,
        thread: Thread,
        mut waiting: OpenMapRun,
        count: u64,
        given: Vec<Arc<Value>>,
        now: Timestamp,
    ) {
        waiting.items = Some(count);
        if count > 0 {
            let run = MapRun {
                id: waiting.id,
                state: thread.state.clone(),
                items: count,
                max_concurrency: waiting.max_concurrency,
                source: waiting.source.take(),
                given,
                given_from: 0,
                has_writer: waiting.target.is_some(),
                label: waiting.label.clone(),
                arn: waiting.arn.clone(),
                seed: self.at_rest.random.next(),
                parent: Parent {
                    start: self.at_rest.start.clone(),
                    started_at: self.at_rest.started_at,
                    entered_at: thread.entered_at,
                    entered_event: thread.entered_event,
                    retry_count: thread.retry_count(),
                    input: Arc::clone(&thread.input),
                    variables: thread.variables.clone(),
                },
            };
            self.at_rest.commands.push_back(Command::StartChildren(Box::new(run)));
        }
        self.go_on_if_over(key, thread, waiting, now);
    }

    /// Leaves the Map if all children have ended, or too many have failed.
    fn go_on_if_over(&mut self, key: ThreadId, thread: Thread, mut waiting: OpenMapRun, now: Timestamp) {
        let is_over = waiting.has_failed() || waiting.are_all_over();
        if waiting.is_writing || !is_over {
            return self.wait_for_children(key, thread, waiting);
        }
        if !waiting.are_all_over() {
            self.at_rest.commands.push_back(Command::CancelChildren { map_run: waiting.id });
        }
        let Some(target) = waiting.target.clone() else {
            let result = waiting.result();
            return self.end_map_run(key, thread, &waiting, result, now);
        };
        let (map_run, map_run_arn) = (waiting.id, waiting.arn.clone());
        self.at_rest.commands.push_back(Command::WriteResults { map_run, map_run_arn, target });
        waiting.is_writing = true;
        self.wait_for_children(key, thread, waiting);
    }

    fn end_map_run(
        &mut self,
        key: ThreadId,
        thread: Thread,
        waiting: &OpenMapRun,
        result: Option<Value>,
        now: Timestamp,
    ) {
        if waiting.has_failed() {
            let cause = "The specified tolerated failure threshold was exceeded";
            let error = StateError::new("States.ExceedToleratedFailureThreshold", cause);
            return self.fail_map_run(key, thread, error, now);
        }
        let (state, items) = (thread.state.clone(), waiting.items.unwrap_or_default());
        self.traces.push_back(Trace::MapRunSucceeded { state, items, failed: waiting.failed });
        self.at_rest.events += 1;
        self.leave_with(key, thread, result, now);
    }

    fn fail_map_run(&mut self, key: ThreadId, thread: Thread, error: StateError, now: Timestamp) {
        let (state, name) = (thread.state.clone(), error.name().to_owned());
        let cause = error.cause.clone().unwrap_or_default();
        self.traces.push_back(Trace::MapRunFailed { state, error: name, cause });
        self.at_rest.events += 1;
        self.fail(key, thread, error, now);
    }

    fn wait_for_children(&mut self, key: ThreadId, mut thread: Thread, waiting: OpenMapRun) {
        thread.waits_for = WaitsFor::MapRun(Box::new(waiting));
        self.rest(key, thread);
    }

    /// What AWS calls the runs of a Map: by its `Label`, or its name.
    fn label(&self, state: &str) -> String {
        let label = match self.definition.state(state).map(|state| &state.kind) {
            Some(Kind::Map(map)) => map.distributed.as_ref().and_then(|distributed| distributed.label.clone()),
            _ => None,
        };
        label.unwrap_or_else(|| state.to_owned())
    }
}
