//! Branches and iterations: threads that another one waits for.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Execution;
use super::thread::{InnerThreads, Thread, ThreadId, WaitsFor, Within};
use crate::definition::{Kind, State};
use crate::error::StateError;
use crate::scope::Visit;
use crate::size;
use crate::states::{Iterations, StateOutcome};

impl Execution {
    /// All branches of a Parallel state begin.
    pub(super) fn begin_branches(&mut self, key: ThreadId, mut thread: Thread, input: &Arc<Value>, now: Timestamp) {
        let definition = Arc::clone(&self.definition);
        let Some(Kind::Parallel(parallel)) = definition.state(&thread.state).map(|state| &state.kind) else {
            return self.fail_for_good(StateError::no_such_state(&thread.state));
        };
        for (index, branch) in parallel.branches.iter().enumerate() {
            self.begin_inner(Within { parent: key, index }, &thread, &branch.start_at, Arc::clone(input), now);
        }
        // ParallelStateStarted.
        self.at_rest.events += 1;
        thread.waits_for = WaitsFor::Inner(InnerThreads::branches(parallel.branches.len()));
        self.rest(key, thread);
    }

    /// As many iterations of a Map begin as may at the same time.
    pub(super) fn begin_iterations(
        &mut self,
        key: ThreadId,
        mut thread: Thread,
        iterations: Iterations,
        now: Timestamp,
    ) {
        // MapStateStarted.
        self.at_rest.events += 1;
        thread.waits_for = WaitsFor::Inner(InnerThreads::iterations(iterations.items));
        for _ in 0..iterations.max_concurrency {
            match self.begin_iteration(key, &mut thread, now) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.fail_with_all(key, thread, error, now),
            }
        }
        self.go_on_if_complete(key, thread, now);
    }

    /// The iteration of the next item begins, if there is one.
    fn begin_iteration(&mut self, key: ThreadId, thread: &mut Thread, now: Timestamp) -> Result<bool, StateError> {
        let WaitsFor::Inner(inner) = &mut thread.waits_for else { return Ok(false) };
        let Some((index, item)) = inner.next_item() else { return Ok(false) };
        let definition = Arc::clone(&self.definition);
        let Some(state @ State { kind: Kind::Map(map), .. }) = definition.state(&thread.state) else {
            return Err(StateError::no_such_state(&thread.state));
        };
        let mut visit: Visit<'_> = self.visit(state, thread, now);
        visit.context.item = Some((index as u64, &item));
        let input = map.select(&mut visit, Arc::clone(&item))?;
        if size::is_too_large(&input) {
            return Err(StateError::too_large(&thread.state));
        }
        // MapIterationStarted, and what tells of its end.
        self.at_rest.events += 2;
        self.begin_inner(Within { parent: key, index }, thread, &map.processor.start_at, input, now);
        Ok(true)
    }

    /// A thread beside its parent, with a copy of its variables.
    fn begin_inner(&mut self, within: Within, parent: &Thread, start_at: &str, input: Arc<Value>, now: Timestamp) {
        self.at_rest.spawned += 1;
        let key = ThreadId(self.at_rest.spawned);
        let thread = Thread::new(Some(within), start_at, Arc::clone(&input), parent.variables.clone(), now);
        self.rest(key, thread);
        self.ready.push_back((key, start_at.to_owned(), input));
    }

    /// A branch or an iteration has ended: its output is its parent's.
    pub(super) fn join(&mut self, within: Within, output: Arc<Value>, now: Timestamp) {
        let Some(mut parent) = self.at_rest.threads.remove(&within.parent) else { return };
        if let WaitsFor::Inner(inner) = &mut parent.waits_for {
            inner.put(within.index, output);
        }
        match self.begin_iteration(within.parent, &mut parent, now) {
            Ok(_) => self.go_on_if_complete(within.parent, parent, now),
            Err(error) => self.fail_with_all(within.parent, parent, error, now),
        }
    }

    /// Leaves the state if all branches or iterations have ended.
    fn go_on_if_complete(&mut self, key: ThreadId, thread: Thread, now: Timestamp) {
        let WaitsFor::Inner(inner) = &thread.waits_for else { return self.rest(key, thread) };
        if !inner.is_complete() {
            return self.rest(key, thread);
        }
        let result = inner.result();
        self.leave_with(key, thread, result, now);
    }

    /// Leaves a state with what its branches, iterations or children came to; none is more than a state may hand on.
    pub(super) fn leave_with(&mut self, key: ThreadId, thread: Thread, result: Option<Value>, now: Timestamp) {
        let definition = Arc::clone(&self.definition);
        let Some(state) = definition.state(&thread.state) else {
            return self.fail_for_good(StateError::no_such_state(&thread.state));
        };
        // ParallelStateSucceeded, MapStateSucceeded.
        self.at_rest.events += 1;
        let step = match result {
            Some(result) => {
                let result = Arc::new(result);
                StateOutcome::of_leave(state.exit.with_result(&mut self.visit(state, &thread, now), &result))
            }
            None => StateOutcome::Failed(StateError::too_large(&thread.state)),
        };
        self.settle(key, thread, step, now);
    }

    /// A thread fails and nobody in it catches that: so does the state that waits for it, or the machine.
    pub(super) fn give_up(&mut self, thread: &Thread, mut error: StateError, now: Timestamp) {
        let Some(within) = thread.within else { return self.fail_for_good(error) };
        let Some(parent) = self.at_rest.threads.remove(&within.parent) else { return };
        // It has been told already, of the state where it happened.
        error.evaluation = None;
        self.fail_with_all(within.parent, parent, error, now);
    }

    /// Fails a thread after giving up everything inside of it.
    fn fail_with_all(&mut self, key: ThreadId, thread: Thread, error: StateError, now: Timestamp) {
        let mut given_up = BTreeSet::from([key]);
        loop {
            let is_inside = |thread: &Thread| thread.within.is_some_and(|within| given_up.contains(&within.parent));
            let threads = self.at_rest.threads.iter();
            let Some(inside) = threads.filter(|(_, thread)| is_inside(thread)).map(|(key, _)| *key).next() else {
                break;
            };
            given_up.insert(inside);
            if let Some(thread) = self.at_rest.threads.remove(&inside) {
                self.abandon(&thread);
            }
        }
        self.fail(key, thread, error, now);
    }
}
