//! What every attempt of every activity goes through, on every engine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::SharedClock;
use contracts::limits::MAX_RETRY_AFTER_SECONDS;
use contracts::step::{StepCall, StepKind};
use contracts::{ActivityError, ErrorName};
use downstream::{Downstream, effects};
use engine::{ActivityCall, ActivityRunner};
use serde_json::{Value, json};
use store::{Begin, Finish, Refusal, StepOutcome, StepRecorder, StepRef, StoreError};

use crate::{ALL, Activity, Context};

/// Runs activities by name.
pub struct Activities {
    downstream: Downstream,
    clock: SharedClock,
}

impl Activities {
    /// All activities, on these services.
    pub fn new(downstream: Downstream, clock: SharedClock) -> Self {
        Self { downstream, clock }
    }

    /// One attempt: asks the recorder, does or undoes, tells the recorder.
    pub async fn attempt(&self, activity: &Activity, payload: Value, recorder: &dyn StepRecorder) -> StepOutcome {
        let call: StepCall = serde_json::from_value(payload)
            .map_err(|error| ActivityError::new(ErrorName::Internal, format!("the payload is malformed: {error}")))?;
        let step = StepRef {
            tenant_id: call.workflow.tenant_id.clone(),
            execution_id: call.workflow.id.clone(),
            workflow: call.workflow.kind,
            step: call.step.name.clone(),
            kind: call.step.kind,
            undoes: call.step.undoes.clone(),
            activity: activity.name.to_owned(),
            accepted_at: call.workflow.started_at,
        };
        let (attempt, request, effect_scope) = match recorder.begin_step(&step).await.map_err(store_failed)? {
            Begin::Proceed { attempt, request, effect_scope } => (attempt, request, effect_scope),
            Begin::Cancelled => {
                return Err(ActivityError::new(ErrorName::WorkflowCancelled, Refusal::Cancelled.message()));
            }
            Begin::Paused => return Err(ActivityError::new(ErrorName::WorkflowPaused, Refusal::Paused.message())),
            Begin::TimedOut => {
                return Err(ActivityError::new(ErrorName::WorkflowTimedOut, Refusal::TimedOut.message()));
            }
            Begin::AlreadyDone(result) => return Ok(result),
            Begin::Closed => return Err(closed()),
        };
        let downstream = self.downstream.traced(call.workflow.traceparent.clone());
        let context = Context { downstream: &downstream, call: &call, request: &request, effect_scope: &effect_scope };
        let outcome = self.act(activity, &context).await;
        match recorder.finish_step(&step, &attempt, &outcome).await.map_err(store_failed)? {
            Finish::Recorded => outcome,
            // Repeated, so that the newer attempt's outcome is what counts.
            Finish::Superseded => Err(ActivityError::new(ErrorName::ServiceUnavailable, "a newer attempt has begun")),
            Finish::Closed => Err(closed()),
        }
    }

    async fn act(&self, activity: &Activity, context: &Context<'_>) -> StepOutcome {
        let outcome = match (context.call.when, context.call.step.kind) {
            (false, _) => Ok(json!({ "skipped": true })),
            (true, StepKind::Forward) => (activity.forward)(context).await,
            (true, StepKind::Compensation) => undo(activity, context).await,
        };
        match outcome {
            Ok(mut result) => {
                result["finished_at"] = self.clock.now().to_string().into();
                Ok(result)
            }
            Err(mut error) => {
                error.cause.step = Some(context.call.step.name.clone());
                // The one layer that retries knows only fixed intervals, so a service's wish is granted here.
                if let Some(seconds) = error.cause.retry_after_seconds {
                    clock::sleep(&*self.clock, Duration::from_secs(seconds.min(MAX_RETRY_AFTER_SECONDS))).await;
                }
                Err(error)
            }
        }
    }
}

/// Undoes what the step's doing did, whether or not it is known to have done anything.
async fn undo(activity: &Activity, context: &Context<'_>) -> StepOutcome {
    let malformed = |what: &str| ActivityError::new(ErrorName::Internal, format!("{} {what}", activity.name));
    let service = activity.undone_at.ok_or_else(|| malformed("has nothing to undo"))?;
    let step = context.call.step.undoes.as_deref().ok_or_else(|| malformed("is not told which step to undo"))?;
    let effect = context.effect_of(step).idempotency_key();
    let own_key = context.effect().idempotency_key();
    let undone = effects::undo(context.downstream, service, context.tenant_id(), &effect, own_key).await?;
    Ok(json!({ "undone": undone.undone }))
}

fn closed() -> ActivityError {
    ActivityError::new(ErrorName::Conflict, "too late: the step is being undone, or the execution has ended")
}

fn store_failed(error: StoreError) -> ActivityError {
    ActivityError::new(ErrorName::ServiceUnavailable, error.to_string())
}

#[async_trait]
impl ActivityRunner for Activities {
    async fn run(&self, call: ActivityCall, recorder: Arc<dyn StepRecorder>) -> StepOutcome {
        match ALL.iter().find(|activity| activity.name == call.activity) {
            Some(activity) => self.attempt(activity, call.payload, &*recorder).await,
            None => Err(ActivityError::new(ErrorName::Internal, format!("there is no activity '{}'", call.activity))),
        }
    }
}
