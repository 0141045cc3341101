//! What happens behind an activity task: an attempt of a step, or a chore of the engine itself.
//!
//! Whoever retries is decided here. What an attempt fails with is marked as not to be retried, so that the state
//! machine's own `Retry` owns it; the server repeats what got lost with a worker, and chores.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use contracts::{ActivityError as Failed, ErrorName};
use engine::{ActivityCall, ActivityRunner};
use futures::FutureExt as _;
use futures::future::{Either, select};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::StepRecorder;
use temporalio_common::ActivityError;
use temporalio_sdk::activities::ActivityContext;

use crate::chores::{Chore, Chores};
use crate::failure::failure;

/// A worker that says nothing for so long is lost, and its activities go to another one.
pub(crate) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an attempt says that it is alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);

/// What the activity of a Task state is called with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AttemptInput {
    /// The Task's payload.
    pub(crate) payload: Value,
    /// How long it may take from here: waiting in a queue is not its fault.
    pub(crate) limit_ms: Option<u64>,
}

/// Handles activity tasks.
pub(crate) struct Handler {
    pub(crate) runner: Arc<dyn ActivityRunner>,
    pub(crate) recorder: Arc<dyn StepRecorder>,
    pub(crate) chores: Chores,
    pub(crate) clock: SharedClock,
}

impl Handler {
    pub(crate) async fn handle(&self, ctx: ActivityContext, input: Value) -> Result<Value, ActivityError> {
        let name = ctx.info().activity_type.clone();
        let work = async {
            match Chore::of(&name) {
                Some(chore) => self.chores.run(chore, input).await,
                None => self.attempt(name, input).await,
            }
        };
        let work = std::pin::pin!(AssertUnwindSafe(work).catch_unwind());
        let interruption = std::pin::pin!(self.until_interrupted(&ctx));
        match select(work, interruption).await {
            Either::Left((Ok(outcome), _)) => outcome,
            Either::Left((Err(_panic), _)) => {
                let error = Failed::new(ErrorName::Internal, "the activity panicked");
                Err(failure(&error.error, &error.cause_text()))
            }
            // Given up by the workflow, or the worker stops: then the server hands it to another one.
            Either::Right(_) => Err(ActivityError::cancelled()),
        }
    }

    /// Says that the attempt is alive, until nobody waits for it any more.
    async fn until_interrupted(&self, ctx: &ActivityContext) {
        loop {
            let cancelled = std::pin::pin!(ctx.cancelled());
            match select(cancelled, std::pin::pin!(clock::sleep(&*self.clock, HEARTBEAT_INTERVAL))).await {
                Either::Left(_) => return,
                Either::Right(_) => {
                    if let Err(error) = ctx.record_heartbeat(Value::Null).await {
                        tracing::warn!(%error, "no heartbeat");
                    }
                }
            }
        }
    }

    async fn attempt(&self, activity: String, input: Value) -> Result<Value, ActivityError> {
        let AttemptInput { payload, limit_ms } = serde_json::from_value(input).map_err(|error| {
            let error = Failed::new(ErrorName::Internal, format!("the activity's input is malformed: {error}"));
            failure(&error.error, &error.cause_text())
        })?;
        let run = self.runner.run(ActivityCall { activity, payload }, Arc::clone(&self.recorder));
        let outcome = match limit_ms {
            Some(limit) => clock::timeout(&*self.clock, Duration::from_millis(limit), run).await,
            None => Some(run.await),
        };
        match outcome {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => Err(failure(&error.error, &error.cause_text())),
            None => Err(failure(store::events::TIMEOUT, "")),
        }
    }
}
