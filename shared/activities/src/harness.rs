//! What every attempt of every activity goes through, on every engine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::SharedClock;
use contracts::effect::Effect;
use contracts::limits::{MAX_RETRY_AFTER_SECONDS, MAX_STEP_RESULT_BYTES};
use contracts::step::{StepCall, StepKind};
use contracts::{ActivityError, ErrorName};
use downstream::{Downstream, effects};
use engine::{ActivityCall, ActivityRunner};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{
    AttemptOutcome, Backups, Begin, Blobs, Effects, Erasures, Finish, Holds, Leases, RequestError, StepOutcome,
    StepRecorder, StepRef, StoreError, StoredRequest,
};
use vault::Keys;

use crate::context::Surroundings;
use crate::{ALL, Activity, Context, DatasetSource, input};

/// Runs activities by name.
pub struct Activities {
    downstream: Downstream,
    /// Where large requests are, and the files of activities.
    blobs: Arc<dyn Blobs>,
    records: Arc<dyn Records>,
    keys: Arc<dyn Keys>,
    dataset: DatasetSource,
    clock: SharedClock,
}

/// What activities remember, and what they ask of records that others write.
pub trait Records: Backups + Erasures + Holds + Leases {}

impl<R: Backups + Erasures + Holds + Leases> Records for R {}

impl Activities {
    /// All activities, on these services.
    pub fn new(
        downstream: Downstream,
        blobs: Arc<dyn Blobs>,
        records: Arc<dyn Records>,
        keys: Arc<dyn Keys>,
        dataset: DatasetSource,
        clock: SharedClock,
    ) -> Self {
        Self { downstream, blobs, records, keys, dataset, clock }
    }

    /// One attempt: asks the recorder, does or undoes, tells the recorder.
    pub async fn attempt(&self, activity: &Activity, payload: Value, recorder: &dyn StepRecorder) -> StepOutcome {
        let call: StepCall = serde_json::from_value(payload)
            .map_err(|error| ActivityError::new(ErrorName::Internal, format!("the payload is malformed: {error}")))?;
        let step = StepRef::of(&call, activity.name);
        let begun = match recorder.begin_step(&step).await.map_err(store_failed)? {
            Begin::Proceed { attempt, request, effect_scope, effects } => (attempt, request, effect_scope, effects),
            Begin::Refused(refusal) => return Err(ActivityError::new(refusal.error_name(), refusal.message())),
            Begin::AlreadyDone(result) => return Ok(result),
            Begin::Closed => return Err(closed()),
        };
        let (attempt, request, effect_scope, effects) = begun;
        let ended = self.act(activity, &call, &request, &effect_scope, effects).await;
        match recorder.finish_step(&step, &attempt, &ended).await.map_err(store_failed)? {
            Finish::Recorded => ended.outcome,
            // Repeated, so that the newer attempt's outcome is what counts.
            Finish::Superseded => Err(ActivityError::new(ErrorName::ServiceUnavailable, "a newer attempt has begun")),
            Finish::Closed => Err(closed()),
        }
    }

    async fn act(
        &self,
        activity: &Activity,
        call: &StepCall,
        request: &StoredRequest,
        effect_scope: &str,
        effects: Effects,
    ) -> AttemptOutcome {
        let downstream = self.downstream.traced(call.workflow.traceparent.clone());
        let (outcome, report) = match (effects, self.input(call, request).await) {
            (Effects::Answered(answer), _) => (answer, None),
            (_, Err(error)) => (Err(error), None),
            (_, Ok(_)) if !call.when => (Ok(json!({ "skipped": true })), None),
            (effects, Ok(input)) => {
                let surroundings = Surroundings {
                    downstream: &downstream,
                    blobs: &*self.blobs,
                    records: &*self.records,
                    keys: &*self.keys,
                    dataset: &self.dataset,
                    clock: &self.clock,
                };
                let attempt = Attempt { activity, surroundings, call, input };
                match call.step.kind {
                    StepKind::Compensation if call.step.undoes.is_some() => {
                        (attempt.undo(effects, effect_scope).await, None)
                    }
                    // A compensation that undoes no step tells what became of the execution.
                    StepKind::Forward | StepKind::Compensation => attempt.forward(effects, effect_scope).await,
                }
            }
        };
        match outcome.and_then(|result| self.stamped(result)) {
            Ok(result) => AttemptOutcome { outcome: Ok(result), report },
            Err(mut error) => {
                error.cause.step = Some(call.step.path().to_string());
                // The one layer that retries knows only fixed intervals, so a service's wish is granted here.
                let is_unfinished = error.error == ErrorName::BatchUnfinished.as_str();
                if let Some(seconds) = error.cause.retry_after_seconds.filter(|_| !is_unfinished) {
                    clock::sleep(&*self.clock, Duration::from_secs(seconds.min(MAX_RETRY_AFTER_SECONDS))).await;
                }
                AttemptOutcome { outcome: Err(error), report }
            }
        }
    }

    /// The result, with when it came; an error in its place that a state machine can catch if an engine could not take it.
    fn stamped(&self, mut result: Value) -> StepOutcome {
        result["finished_at"] = self.clock.now().to_string().into();
        let bytes = result.to_string().len();
        if bytes > MAX_STEP_RESULT_BYTES {
            let message = format!("the step's result has {bytes} bytes, and {MAX_STEP_RESULT_BYTES} are the limit");
            return Err(ActivityError::new(ErrorName::PayloadTooLarge, message));
        }
        Ok(result)
    }

    /// The activity's input. The request is read only if fields of it are asked for.
    async fn input(&self, call: &StepCall, request: &StoredRequest) -> Result<Value, ActivityError> {
        if !call.when || !input::needs_request(&call.input) {
            return Ok(call.input.clone());
        }
        let request = request.load(&call.workflow.tenant_id, &*self.blobs).await;
        let request = request.map_err(|error| match error {
            RequestError::Lost(_) => ActivityError::new(ErrorName::IntegrityViolation, error.to_string()),
            RequestError::Store(error) => store_failed(error),
        })?;
        Ok(input::resolve(&call.input, &request))
    }
}

/// The input of an undoing.
#[derive(Default, Deserialize)]
struct Undoing {
    /// The tenant on whose behalf the doing was.
    tenant_id: Option<String>,
}

/// One attempt, with its input.
struct Attempt<'a> {
    activity: &'a Activity,
    surroundings: Surroundings<'a>,
    call: &'a StepCall,
    input: Value,
}

/// What an attempt came to, and what it reports.
type Acted = (StepOutcome, Option<Map<String, Value>>);

impl Attempt<'_> {
    /// Does it, after what an earlier execution left of it.
    async fn forward(&self, effects: Effects, own_scope: &str) -> Acted {
        let acted = match effects {
            Effects::First(scopes) => self.done_before(&scopes).await,
            Effects::Undone(scopes) => self.clear(&scopes).await.err().map(|error| (Err(error), None)),
            Effects::Renewed(scopes) => self.cleared_or_done(&scopes).await,
            Effects::Own | Effects::Answered(_) => None,
        };
        match acted {
            Some(acted) => acted,
            None => self.run(own_scope).await,
        }
    }

    async fn run(&self, scope: &str) -> Acted {
        let context = Context::new(&self.surroundings, self.call, self.input.clone(), scope);
        let outcome = (self.activity.forward)(&context).await;
        (outcome, context.into_report())
    }

    /// Asks the service for what an earlier execution may have done: the same call with the same key is the same effect.
    /// None if it is to be done anew: the service refused, and what was there under the old keys is undone.
    async fn done_before(&self, scopes: &[String]) -> Option<Acted> {
        for scope in scopes {
            let acted = self.run(scope).await;
            match &acted.0 {
                Err(error) if !error.is_retryable() => {}
                Ok(_) | Err(_) => return Some(acted),
            }
            if let Err(error) = self.clear(std::slice::from_ref(scope)).await {
                return Some((Err(error), None));
            }
        }
        None
    }

    /// Undoes what an earlier execution did, whose own undoing may still arrive, before the step is done anew. What the
    /// service refuses to undo stands, so the same call with the same key tells what it came to.
    async fn cleared_or_done(&self, scopes: &[String]) -> Option<Acted> {
        for scope in scopes {
            let Err(error) = self.clear(std::slice::from_ref(scope)).await else { continue };
            if error.is_retryable() {
                return Some((Err(error), None));
            }
            let acted = self.run(scope).await;
            let is_refused = acted.0.as_ref().is_err_and(|refused| !refused.is_retryable());
            return Some(if is_refused { (Err(error), None) } else { acted });
        }
        None
    }

    /// Undoes what an earlier execution did, before the step is done anew.
    async fn clear(&self, scopes: &[String]) -> Result<(), ActivityError> {
        let Some(service) = self.activity.undone_at else { return Ok(()) };
        let named = self.activity.tenant_field.and_then(|field| self.input[field].as_str());
        let tenant_id = named.unwrap_or(&self.call.workflow.tenant_id);
        let step = self.call.step.path();
        for scope in scopes {
            let effect = Effect { tenant_id: &self.call.workflow.tenant_id, scope, step: &step };
            effects::undo(
                self.surroundings.downstream,
                service,
                tenant_id,
                &effect.idempotency_key(),
                effect.undo_key(),
            )
            .await?;
        }
        Ok(())
    }

    /// Undoes what the step's doing did, whether or not it is known to have done anything.
    async fn undo(&self, effects: Effects, own_scope: &str) -> StepOutcome {
        let malformed = |what: &str| ActivityError::new(ErrorName::Internal, format!("{} {what}", self.activity.name));
        let service = self.activity.undone_at.ok_or_else(|| malformed("has nothing to undo"))?;
        let step = self.call.step.undone_path().ok_or_else(|| malformed("is not told which step to undo"))?;
        let scopes = match effects {
            Effects::Undone(scopes) => scopes,
            Effects::Own | Effects::Answered(_) | Effects::First(_) | Effects::Renewed(_) => vec![own_scope.to_owned()],
        };
        let mut undone = false;
        for scope in scopes {
            let context = Context::new(&self.surroundings, self.call, self.input.clone(), &scope);
            let effect = context.effect_of(&step).idempotency_key();
            // The doing may have been on behalf of another tenant than the execution's own.
            let Undoing { tenant_id } = context.input::<Option<Undoing>>()?.unwrap_or_default();
            let tenant_id = tenant_id.as_deref().unwrap_or(context.tenant_id());
            let own_key = context.effect().idempotency_key();
            undone |= effects::undo(self.surroundings.downstream, service, tenant_id, &effect, own_key).await?.undone;
        }
        Ok(json!({ "undone": undone }))
    }
}

fn closed() -> ActivityError {
    ActivityError::new(ErrorName::Conflict, "too late: the step is being undone, or the execution has ended")
}

pub(crate) fn store_failed(error: StoreError) -> ActivityError {
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

#[cfg(test)]
mod effects_tests;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use clock::{Clock as _, SystemClock};
    use contracts::Timestamp;
    use contracts::backup::Drill;
    use contracts::holds::{Hold, Release};
    use downstream::{Endpoints, Transport, TransportFault};
    use store::conformance::MemoryBlobs;
    use store::{
        Backup, BackupPage, BegunAttempt, DueBackup, Erasure, Forgotten, HoldFilter, HoldPage, Holder, Leased,
        NamedPage, NewAuditRow, Placed, Released, Removal,
    };
    use vault::NoKeys;

    use super::*;

    /// A recorder that lets every step begin, and says so of every end.
    struct Recorder {
        request: StoredRequest,
        finish: Finish,
        ended: Mutex<Vec<AttemptOutcome>>,
    }

    impl Recorder {
        fn new(request: StoredRequest, finish: Finish) -> Self {
            Self { request, finish, ended: Mutex::default() }
        }

        fn ended(self) -> Vec<AttemptOutcome> {
            self.ended.into_inner().expect("nobody panicked")
        }
    }

    #[async_trait]
    impl StepRecorder for Recorder {
        async fn begin_step(&self, step: &StepRef) -> Result<Begin, StoreError> {
            assert_eq!(step.path.to_string(), "S[7]");
            Ok(Begin::Proceed {
                attempt: BegunAttempt { number: 1, began_at: SystemClock.now(), history_len: 3 },
                request: Arc::new(self.request.clone()),
                effect_scope: "scope".into(),
                effects: Effects::Own,
            })
        }

        async fn finish_step(
            &self,
            _: &StepRef,
            attempt: &BegunAttempt,
            ended: &AttemptOutcome,
        ) -> Result<Finish, StoreError> {
            assert_eq!((attempt.number, attempt.history_len), (1, 3));
            self.ended.lock().expect("nobody panicked").push(ended.clone());
            Ok(self.finish)
        }
    }

    /// No services.
    struct Nothing;

    #[async_trait]
    impl Transport for Nothing {
        async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
            panic!("{} is called", request.uri())
        }
    }

    /// Records that nobody asks for here.
    struct NoRecords;

    #[async_trait]
    impl Leases for NoRecords {
        async fn lease(&self, _: &str, _: &[String], _: Holder<'_>) -> Result<Leased, StoreError> {
            Ok(Leased::Granted { fence: 0 })
        }
    }

    fn nobody_asks<T>() -> Result<T, StoreError> {
        Err(StoreError::Unavailable("nobody asks for it here".to_owned()))
    }

    #[async_trait]
    impl Backups for NoRecords {
        async fn keep_backup(&self, _: &Backup) -> Result<(), StoreError> {
            nobody_asks()
        }

        async fn backup(&self, _: &str, _: &str) -> Result<Option<Backup>, StoreError> {
            nobody_asks()
        }

        async fn backups(&self, _: &str, _: Option<&str>, _: u32) -> Result<BackupPage, StoreError> {
            nobody_asks()
        }

        async fn keep_until(&self, _: &str, _: &str, _: Timestamp) -> Result<(), StoreError> {
            nobody_asks()
        }

        async fn note_drill(&self, _: &str, _: &str, _: &Drill) -> Result<(), StoreError> {
            nobody_asks()
        }

        async fn begin_removal(&self, _: &str, _: NewAuditRow) -> Result<Removal, StoreError> {
            nobody_asks()
        }

        async fn end_removal(&self, _: &str, _: &str) -> Result<(), StoreError> {
            nobody_asks()
        }

        async fn due_backups(&self, _: Timestamp, _: u32) -> Result<Vec<DueBackup>, StoreError> {
            nobody_asks()
        }
    }

    #[async_trait]
    impl Erasures for NoRecords {
        async fn erasure_key(&self, _: &str) -> Result<Option<String>, StoreError> {
            nobody_asks()
        }

        async fn keep_erasure_key(&self, _: &str, _: &str) -> Result<String, StoreError> {
            nobody_asks()
        }

        async fn note_erasure(&self, _: &Erasure) -> Result<(), StoreError> {
            nobody_asks()
        }

        async fn erasure(&self, _: &str, _: &str) -> Result<Option<Erasure>, StoreError> {
            nobody_asks()
        }

        async fn erasures(&self, _: &str, _: Option<&str>, _: u32) -> Result<Vec<Erasure>, StoreError> {
            nobody_asks()
        }

        async fn naming(&self, _: &str, _: &str, _: Option<&str>, _: u32) -> Result<NamedPage, StoreError> {
            nobody_asks()
        }

        async fn forget(&self, _: &str, _: &str, _: Forgotten<'_>) -> Result<(), StoreError> {
            nobody_asks()
        }

        fn recoverable_days(&self) -> u32 {
            0
        }
    }

    #[async_trait]
    impl Holds for NoRecords {
        async fn place(&self, _: &Hold, _: NewAuditRow) -> Result<Placed, StoreError> {
            nobody_asks()
        }

        async fn hold(&self, _: &str, _: &str) -> Result<Option<Hold>, StoreError> {
            nobody_asks()
        }

        async fn holds(
            &self,
            _: &str,
            _: &HoldFilter,
            _: Timestamp,
            _: Option<&str>,
            _: u32,
        ) -> Result<HoldPage, StoreError> {
            nobody_asks()
        }

        async fn active(&self, _: &str, _: Timestamp) -> Result<Vec<Hold>, StoreError> {
            nobody_asks()
        }

        async fn release(&self, _: &str, _: &Release, _: NewAuditRow) -> Result<Released, StoreError> {
            nobody_asks()
        }
    }

    /// All activities, with nothing but services.
    pub(super) fn activities(downstream: Downstream, clock: SharedClock) -> Activities {
        let keys = Arc::new(NoKeys("nobody asks for any here"));
        let blobs = Arc::new(MemoryBlobs::default());
        let dataset: DatasetSource = Arc::new(|| Err("nobody asks for a dataset map here".to_owned()));
        Activities::new(downstream, blobs, Arc::new(NoRecords), keys, dataset, clock)
    }

    static ECHO: Activity = Activity {
        name: "echo",
        forward: |context| {
            Box::pin(async move {
                let input: Value = context.input()?;
                context.report(Map::from_iter([("echo".to_owned(), input.clone())]))?;
                Ok(json!({ "echo": input, "key": context.effect().idempotency_key() }))
            })
        },
        ..Activity::NOTHING
    };

    fn payload(item: &Value, input: &Value) -> Value {
        json!({
            "workflow": {
                "id": "user_onboarding_1", "type": "user_onboarding", "tenant_id": "t", "user_id": null,
                "started_at": "2026-01-01T00:00:00Z", "traceparent": null,
            },
            "step": { "name": "S", "kind": "forward", "item": item }, "input": input,
        })
    }

    async fn attempt(payload: Value, recorder: &Recorder) -> StepOutcome {
        let clock: SharedClock = Arc::new(SystemClock);
        let downstream =
            Downstream::new(Arc::new(Nothing), Endpoints::default(), Arc::clone(&clock), Duration::from_secs(1));
        activities(downstream, clock).attempt(&ECHO, payload, recorder).await
    }

    fn inline() -> StoredRequest {
        StoredRequest::Inline(json!({ "user_email": "u@example.com" }))
    }

    #[tokio::test]
    async fn an_activity_sees_the_request_and_reports_past_the_engine() {
        let recorder = Recorder::new(inline(), Finish::Recorded);
        let input = json!({ "recipient": { "$request": "/user_email" } });
        let result = attempt(payload(&json!(7), &input), &recorder).await.expect("it succeeds");
        assert_eq!(result["echo"], json!({ "recipient": "u@example.com" }));
        assert!(result["finished_at"].is_string());
        let ended = recorder.ended();
        assert_eq!(ended[0].outcome, Ok(result));
        assert_eq!(
            ended[0].report,
            Some(Map::from_iter([("echo".to_owned(), json!({ "recipient": "u@example.com" }))]))
        );
    }

    #[tokio::test]
    async fn a_malformed_item_is_named_and_nothing_begins() {
        let recorder = Recorder::new(inline(), Finish::Recorded);
        for item in [json!("a/b"), json!(""), json!({}), json!(1.5)] {
            let error = attempt(payload(&item, &Value::Null), &recorder).await.expect_err("it is malformed");
            assert_eq!(error.error, "Internal");
            assert!(error.cause.message.contains("the step's item must be"), "{item}: {error}");
        }
        assert_eq!(recorder.ended(), []);
    }

    /// Step Functions' own error for it could not be caught, and nothing would be undone.
    #[tokio::test]
    async fn a_result_that_is_too_large_for_an_engine_is_an_error_with_a_name() {
        let recorder = Recorder::new(inline(), Finish::Recorded);
        let sized = |bytes: usize| payload(&json!(7), &json!("x".repeat(bytes)));
        let result = attempt(sized(MAX_STEP_RESULT_BYTES / 2), &recorder).await;
        assert!(result.is_ok(), "{result:?}");
        let error = attempt(sized(MAX_STEP_RESULT_BYTES), &recorder).await.expect_err("it is too large");
        assert_eq!((error.error.as_str(), error.cause.step.as_deref()), ("PayloadTooLarge", Some("S[7]")));
        assert!(error.cause.message.contains("32768 are the limit") && !error.is_retryable(), "{error}");
        assert_eq!(recorder.ended()[1].outcome, Err(error), "it is recorded, so that the step is undone");
    }

    #[tokio::test]
    async fn a_lost_request_is_named() {
        let recorder = Recorder::new(StoredRequest::Blob("abc".to_owned()), Finish::Recorded);
        let plain = attempt(payload(&json!(7), &json!({ "n": 1 })), &recorder).await;
        assert!(plain.is_ok(), "it needs no request: {plain:?}");
        let input = json!({ "recipient": { "$request": "/user_email" } });
        let error = attempt(payload(&json!(7), &input), &recorder).await.expect_err("there is no blob");
        assert_eq!((error.error.as_str(), error.cause.step.as_deref()), ("IntegrityViolation", Some("S[7]")));
        assert!(error.cause.message.contains("the stored request abc is missing"), "{error}");
        assert_eq!(recorder.ended()[1].outcome, Err(error), "it is recorded");
    }

    #[tokio::test]
    async fn what_a_superseded_or_closed_attempt_found_out_counts_for_nothing() {
        for (finish, expected) in [(Finish::Superseded, "ServiceUnavailable"), (Finish::Closed, "Conflict")] {
            let recorder = Recorder::new(inline(), finish);
            let error = attempt(payload(&json!(7), &json!({})), &recorder).await.expect_err("it counts for nothing");
            assert_eq!(error.error, expected, "{finish:?}");
        }
    }
}
