//! One attempt of an activity.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::{Busy, SharedClock};
use contracts::{ActivityError, ErrorName, Timestamp};
use engine::ActivityCall;
use futures::FutureExt as _;
use serde_json::Value;
use store::{Begin, Finish, StepOutcome, StepRecorder, StepRef, StoreError};
use tokio::sync::mpsc;

use crate::Shared;

/// An attempt of the execution itself, or of one below it.
pub(crate) type AttemptId = (asl::ChildPath, asl::TaskId);

/// What the attempt needs to know.
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) tenant_id: String,
    pub(crate) call: ActivityCall,
    pub(crate) timeout: Option<Duration>,
    pub(crate) recorder: Arc<JournalRecorder>,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) id: AttemptId,
    pub(crate) began_at: Timestamp,
    pub(crate) outcome: Result<Value, (String, String)>,
    /// Keeps virtual time still until the message has been taken.
    pub(crate) _busy: Busy,
}

/// Runs the attempt in a task of its own and reports its end.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    attempt: Attempt,
    ended: mpsc::UnboundedSender<Ended>,
) -> tokio::task::AbortHandle {
    let shared = Arc::clone(shared);
    let clock = Arc::clone(&shared.clock);
    clock::spawn(&clock, async move {
        let permit = shared.queue.acquire(&attempt.tenant_id).await;
        // The time limit counts from here: waiting for a turn is not the activity's fault.
        let began_at = shared.clock.now();
        let run = AssertUnwindSafe(shared.runner.run(attempt.call, attempt.recorder)).catch_unwind();
        let outcome = match attempt.timeout {
            Some(limit) => clock::timeout(&*shared.clock, limit, run).await,
            None => Some(run.await),
        };
        drop(permit);
        let outcome = match outcome {
            None => Err(("States.Timeout".to_owned(), String::new())),
            Some(Ok(Ok(result))) => Ok(result),
            Some(Ok(Err(error))) => Err((error.error.clone(), error.cause_text())),
            Some(Err(_panic)) => {
                let error = ActivityError::new(ErrorName::Internal, "the activity panicked");
                Err((error.error.clone(), error.cause_text()))
            }
        };
        // Nobody listens when the process is stopping; the attempt is then delivered again.
        let _ = ended.send(Ended { id: attempt.id, began_at, outcome, _busy: shared.clock.busy() });
    })
    .abort_handle()
}

/// The embedded engine's recorder: the begin was written by the commit that scheduled the attempt, and the outcome is
/// written by the commit that follows it, so neither costs a write of its own.
pub(crate) struct JournalRecorder {
    pub(crate) attempt: u32,
    pub(crate) clock: SharedClock,
    pub(crate) request: Arc<Value>,
    pub(crate) effect_scope: Arc<str>,
}

#[async_trait]
impl StepRecorder for JournalRecorder {
    async fn begin_step(&self, _step: &StepRef) -> Result<Begin, StoreError> {
        Ok(Begin::Proceed {
            attempt: store::Attempt { number: self.attempt, began_at: self.clock.now(), history_len: 0 },
            request: Arc::clone(&self.request),
            effect_scope: Arc::clone(&self.effect_scope),
        })
    }

    async fn finish_step(
        &self,
        _step: &StepRef,
        _attempt: &store::Attempt,
        _outcome: &StepOutcome,
    ) -> Result<Finish, StoreError> {
        Ok(Finish::Recorded)
    }
}
