//! One attempt of an activity.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clock::{Busy, Reading, SharedClock};
use contracts::{ActivityError, ErrorName};
use engine::ActivityCall;
use futures::FutureExt as _;
use serde_json::{Map, Value};
use store::{AttemptOutcome, Begin, BegunAttempt, Effects, Finish, StepRecorder, StepRef, StoreError, StoredRequest};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::fair_queue::Permit;
use crate::{Shared, answers};

/// An attempt of the execution itself, or of one below it.
pub(crate) type AttemptId = (asl::ChildPath, asl::TaskId);

/// What the attempt needs to know.
pub(crate) struct AttemptTask {
    pub(crate) id: AttemptId,
    pub(crate) tenant_id: String,
    pub(crate) call: ActivityCall,
    /// The Task's `Resource`.
    pub(crate) resource: String,
    pub(crate) limit: Option<TimeLimit>,
    pub(crate) recorder: Arc<JournalRecorder>,
}

/// How long an attempt may take from its real beginning, and the error when it takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeLimit {
    after: Duration,
    error: &'static str,
}

impl TimeLimit {
    /// The shorter one of a Task's limits. An activity in this process is silent until it ends, so it may be silent for
    /// as long as it may take.
    pub(crate) fn of(timeout: Option<Duration>, heartbeat: Option<Duration>) -> Option<Self> {
        let timeout = timeout.map(|after| Self { after, error: "States.Timeout" });
        let heartbeat = heartbeat.map(|after| Self { after, error: store::events::HEARTBEAT_TIMEOUT });
        heartbeat.into_iter().chain(timeout).min_by_key(|limit| limit.after)
    }
}

/// The attempts under way. They are given up together with whoever drives them: nothing begins after the end of an
/// execution, and what hangs gives its turn back.
#[derive(Default)]
pub(crate) struct Running(HashMap<AttemptId, AbortHandle>);

impl Running {
    pub(crate) fn insert(&mut self, id: AttemptId, attempt: AbortHandle) {
        self.0.insert(id, attempt);
    }

    /// An attempt has ended.
    pub(crate) fn remove(&mut self, id: &AttemptId) {
        self.0.remove(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ends of these are of no interest any more.
    pub(crate) fn give_up(&mut self, ids: impl Iterator<Item = AttemptId>) {
        ids.filter_map(|id| self.0.remove(&id)).for_each(|attempt| attempt.abort());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.drain().for_each(|(_, attempt)| attempt.abort());
    }
}

/// How it ended.
pub(crate) struct AttemptEnd {
    pub(crate) id: AttemptId,
    pub(crate) began: Reading,
    pub(crate) outcome: Result<Value, (String, String)>,
    /// What it reports of the execution's result.
    pub(crate) report: Option<Map<String, Value>>,
    /// A failure keeps its turn until it is known what it means: what it gives up must not begin in its place.
    pub(crate) _permit: Option<Permit>,
    /// Keeps virtual time still until the message has been taken.
    pub(crate) _busy: Busy,
}

/// Runs the attempt in a task of its own and reports its end.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    attempt: AttemptTask,
    ended: mpsc::UnboundedSender<AttemptEnd>,
) -> AbortHandle {
    let shared = Arc::clone(shared);
    let clock = Arc::clone(&shared.clock);
    clock::spawn(&clock, async move {
        let permit = shared.queue.acquire(&attempt.tenant_id).await;
        let recorder = Arc::clone(&attempt.recorder);
        // The time limit counts from here: waiting for a turn is not the activity's fault.
        let began = Reading::of(&*shared.clock);
        let run = AssertUnwindSafe(shared.runner.run(attempt.call, attempt.recorder)).catch_unwind();
        let outcome = match attempt.limit {
            Some(limit) => clock::timeout(&*shared.clock, limit.after, run).await.ok_or(limit.error),
            None => Ok(run.await),
        };
        let outcome = match outcome {
            Err(limit) => Err((limit.to_owned(), String::new())),
            Ok(Ok(Ok(result))) => match answers::refusal(&result, &attempt.resource) {
                None => Ok(result),
                Some(refusal) => Err(refusal),
            },
            Ok(Ok(Err(error))) => Err((error.error.clone(), error.cause_text())),
            Ok(Err(_panic)) => {
                let error = ActivityError::new(ErrorName::Internal, "the activity panicked");
                Err((error.error.clone(), error.cause_text()))
            }
        };
        let permit = Some(permit).filter(|_| outcome.is_err());
        // Nobody listens when the process is stopping; the attempt is then delivered again.
        let report = recorder.take_report();
        let busy = shared.clock.busy();
        let _ = ended.send(AttemptEnd { id: attempt.id, began, outcome, report, _permit: permit, _busy: busy });
    })
    .abort_handle()
}

/// The embedded engine's recorder: the begin was written by the commit that scheduled the attempt, and the outcome is
/// written by the commit that follows it, so neither costs a write of its own.
pub(crate) struct JournalRecorder {
    attempt: u32,
    clock: SharedClock,
    request: Arc<StoredRequest>,
    effect_scope: Arc<str>,
    effects: Effects,
    report: Mutex<Option<Map<String, Value>>>,
}

impl JournalRecorder {
    pub(crate) fn new(
        attempt: u32,
        clock: SharedClock,
        request: Arc<StoredRequest>,
        effect_scope: Arc<str>,
        effects: Effects,
    ) -> Self {
        Self { attempt, clock, request, effect_scope, effects, report: Mutex::default() }
    }

    fn take_report(&self) -> Option<Map<String, Value>> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl StepRecorder for JournalRecorder {
    async fn begin_step(&self, _step: &StepRef) -> Result<Begin, StoreError> {
        Ok(Begin::Proceed {
            attempt: BegunAttempt { number: self.attempt, began_at: self.clock.now(), history_len: 0 },
            request: Arc::clone(&self.request),
            effect_scope: Arc::clone(&self.effect_scope),
            effects: self.effects.clone(),
        })
    }

    async fn finish_step(
        &self,
        _step: &StepRef,
        _attempt: &BegunAttempt,
        ended: &AttemptOutcome,
    ) -> Result<Finish, StoreError> {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = ended.report.clone();
        Ok(Finish::Recorded)
    }
}
