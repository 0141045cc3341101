//! How attempts go about what an earlier execution left.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use clock::{Clock as _, SystemClock};
use contracts::step::StepPath;
use downstream::{Call, Endpoints, Service, Transport, TransportFault};
use http::StatusCode;
use store::BegunAttempt;

use super::tests::activities;
use super::*;

/// A call as a service sees it: what it does, for which tenant, and under which key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    what: String,
    tenant_id: String,
    key: String,
}

/// Services that answer with these statuses, one after another.
struct Services {
    answers: Mutex<VecDeque<(u16, Value)>>,
    seen: Mutex<Vec<Seen>>,
}

#[async_trait]
impl Transport for Services {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let header = |name: &str| request.headers()[name].to_str().expect("text").to_owned();
        let what = format!("{} {}", request.method(), request.uri().path());
        let seen = Seen { what, tenant_id: header("x-tenant-id"), key: header("idempotency-key") };
        let (status, answer) = self.answers.lock().expect("nobody panicked").pop_front().expect("one call too many");
        self.seen.lock().expect("nobody panicked").push(seen);
        let mut response = http::Response::new(Bytes::from(answer.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        Ok(response)
    }
}

/// Lets every attempt go about it like this, under the scope `own`.
struct Recorder {
    effects: Effects,
    ended: Mutex<Vec<AttemptOutcome>>,
}

#[async_trait]
impl StepRecorder for Recorder {
    async fn begin_step(&self, _: &StepRef) -> Result<Begin, StoreError> {
        Ok(Begin::Proceed {
            attempt: BegunAttempt { number: 1, began_at: SystemClock.now(), history_len: 3 },
            request: Arc::new(StoredRequest::Inline(json!({}))),
            effect_scope: "own".into(),
            effects: self.effects.clone(),
        })
    }

    async fn finish_step(&self, _: &StepRef, _: &BegunAttempt, ended: &AttemptOutcome) -> Result<Finish, StoreError> {
        self.ended.lock().expect("nobody panicked").push(ended.clone());
        Ok(Finish::Recorded)
    }
}

/// Makes one call, and reports its answer.
static DO: Activity = Activity {
    name: "do",
    forward: |context| {
        Box::pin(async move {
            let key = context.effect().idempotency_key();
            let call = Call::post(Service::Auth, &["things"], context.tenant_id(), key);
            let made: Value = context.downstream.call(call).await?;
            context.report(Map::from_iter([("made".to_owned(), made.clone())]))?;
            Ok(made)
        })
    },
    calls: &[Service::Auth],
    undone_at: Some(Service::Auth),
    ..Activity::NOTHING
};

/// The same, on behalf of the tenant that its input names.
static DO_FOR_TENANT: Activity = Activity { tenant_field: Some("target_tenant_id"), ..copy(&DO) };

/// The same, with nothing to undo.
static DO_FOR_GOOD: Activity = Activity { undone_at: None, ..copy(&DO) };

const fn copy(activity: &Activity) -> Activity {
    *activity
}

/// What an attempt came to, what it reported, and what services saw of it.
struct Attempted {
    outcome: StepOutcome,
    report: Option<Map<String, Value>>,
    seen: Vec<Seen>,
}

async fn attempt(activity: &Activity, payload: Value, effects: Effects, answers: &[(u16, Value)]) -> Attempted {
    let services = Arc::new(Services { answers: Mutex::new(answers.to_vec().into()), seen: Mutex::default() });
    let clock: SharedClock = Arc::new(SystemClock);
    let endpoints = Endpoints::new(["http://127.0.0.1:1"; 5]).expect("loopback");
    let downstream = Downstream::new(services.clone(), endpoints, Arc::clone(&clock), Duration::from_secs(1));
    let recorder = Recorder { effects, ended: Mutex::default() };
    let outcome = activities(downstream, clock).attempt(activity, payload, &recorder).await;
    let mut ended = recorder.ended.into_inner().expect("nobody panicked");
    assert_eq!(ended.len(), 1, "its end is recorded once");
    let AttemptOutcome { outcome: recorded, report } = ended.remove(0);
    assert_eq!(recorded, outcome, "what is recorded is what the engine sees");
    assert!(services.answers.lock().expect("nobody panicked").is_empty(), "a call is missing");
    Attempted { outcome, report, seen: services.seen.lock().expect("nobody panicked").clone() }
}

fn payload(step: Value, input: Value) -> Value {
    json!({
        "workflow": {
            "id": "user_onboarding_1", "type": "user_onboarding", "tenant_id": "t", "user_id": null,
            "started_at": "2026-01-01T00:00:00Z", "traceparent": null,
        },
        "step": step, "input": input,
    })
}

fn forward() -> Value {
    payload(json!({ "name": "Do", "kind": "forward" }), json!({ "target_tenant_id": "another" }))
}

fn compensation(input: Value) -> Value {
    payload(json!({ "name": "UndoDo", "kind": "compensation", "undoes": "Do" }), input)
}

fn effect<T>(scope: &str, step: &str, read: impl Fn(Effect<'_>) -> T) -> T {
    read(Effect { tenant_id: "t", scope, step: &StepPath::of_state(step) })
}

fn key(scope: &str) -> String {
    effect(scope, "Do", |effect| effect.idempotency_key())
}

fn done(scope: &str) -> Seen {
    Seen { what: "POST /api/v1/things".to_owned(), tenant_id: "t".to_owned(), key: key(scope) }
}

/// An undoing before the step is done anew.
fn cleared(scope: &str, tenant_id: &str) -> Seen {
    let what = format!("DELETE /api/v1/effects/{}", key(scope));
    Seen { what, tenant_id: tenant_id.to_owned(), key: effect(scope, "Do", |effect| effect.undo_key()) }
}

/// An undoing by a step of its own.
fn undone(scope: &str, tenant_id: &str) -> Seen {
    let what = format!("DELETE /api/v1/effects/{}", key(scope));
    Seen { what, tenant_id: tenant_id.to_owned(), key: effect(scope, "UndoDo", |effect| effect.idempotency_key()) }
}

fn made(number: u32) -> (u16, Value) {
    (200, json!({ "n": number }))
}

fn refused(status: u16) -> (u16, Value) {
    (status, json!({}))
}

fn was_undone(undone: bool) -> (u16, Value) {
    (200, json!({ "undone": undone, "undone_at": "2026-03-01T08:00:00Z" }))
}

fn first(scopes: &[&str]) -> Effects {
    Effects::First(scopes.iter().map(|scope| (*scope).to_owned()).collect())
}

fn undo(scopes: &[&str]) -> Effects {
    Effects::Undone(scopes.iter().map(|scope| (*scope).to_owned()).collect())
}

#[tokio::test]
async fn what_is_answered_calls_nobody() {
    let answer = json!({ "n": 7, "already_done": true });
    let attempted = attempt(&DO, forward(), Effects::Answered(Ok(answer)), &[]).await;
    let mut result = attempted.outcome.expect("that is the answer");
    let finished_at = result.as_object_mut().and_then(|result| result.remove("finished_at"));
    assert!(finished_at.is_some_and(|at| at.is_string()));
    assert_eq!((result, attempted.report), (json!({ "n": 7, "already_done": true }), None));
    let error = ActivityError::new(ErrorName::Conflict, "it failed then");
    let attempted = attempt(&DO, forward(), Effects::Answered(Err(error)), &[]).await;
    let error = attempted.outcome.expect_err("that is the answer");
    assert_eq!((error.error.as_str(), error.cause.step.as_deref()), ("Conflict", Some("Do")));
}

/// How a forward attempt with these effects goes: what services answer and see, and what it comes to.
#[tokio::test]
async fn a_step_meets_what_was_left_before_it_is_done() {
    struct Case {
        why: &'static str,
        effects: Effects,
        answers: Vec<(u16, Value)>,
        seen: Vec<Seen>,
        comes_to: Result<u32, &'static str>,
    }
    let cases = [
        Case {
            why: "the usual case",
            effects: Effects::Own,
            answers: vec![made(1)],
            seen: vec![done("own")],
            comes_to: Ok(1),
        },
        Case {
            why: "under the old key it is the same effect",
            effects: first(&["old"]),
            answers: vec![made(1)],
            seen: vec![done("old")],
            comes_to: Ok(1),
        },
        Case {
            why: "what the service does not take any more is undone and done anew",
            effects: first(&["old"]),
            answers: vec![refused(409), was_undone(true), made(2)],
            seen: vec![done("old"), cleared("old", "t"), done("own")],
            comes_to: Ok(2),
        },
        Case {
            why: "each old key has its turn",
            effects: first(&["old", "older"]),
            answers: vec![refused(404), was_undone(false), made(2)],
            seen: vec![done("old"), cleared("old", "t"), done("older")],
            comes_to: Ok(2),
        },
        Case {
            why: "and the own one is the last",
            effects: first(&["old", "older"]),
            answers: vec![refused(400), was_undone(false), refused(409), was_undone(true), refused(409)],
            seen: vec![done("old"), cleared("old", "t"), done("older"), cleared("older", "t"), done("own")],
            comes_to: Err("Conflict"),
        },
        Case {
            why: "an unknown outcome is asked for again",
            effects: first(&["old", "older"]),
            answers: vec![refused(503)],
            seen: vec![done("old")],
            comes_to: Err("ServiceUnavailable"),
        },
        Case {
            why: "nothing is done anew while the old may stand",
            effects: first(&["old"]),
            answers: vec![refused(409), refused(503)],
            seen: vec![done("old"), cleared("old", "t")],
            comes_to: Err("ServiceUnavailable"),
        },
        Case {
            why: "what does not fit any more is undone, then it is done",
            effects: undo(&["old", "older"]),
            answers: vec![was_undone(true), was_undone(false), made(3)],
            seen: vec![cleared("old", "t"), cleared("older", "t"), done("own")],
            comes_to: Ok(3),
        },
        Case {
            why: "it is not done while what does not fit may stand",
            effects: undo(&["old", "older"]),
            answers: vec![refused(409)],
            seen: vec![cleared("old", "t")],
            comes_to: Err("Conflict"),
        },
    ];
    for Case { why, effects, answers, seen, comes_to } in cases {
        let attempted = attempt(&DO, forward(), effects, &answers).await;
        assert_eq!(attempted.seen, seen, "{why}");
        match (attempted.outcome, comes_to) {
            (Ok(result), Ok(number)) => {
                assert_eq!(result["n"], number, "{why}");
                assert_eq!(attempted.report, Some(Map::from_iter([("made".to_owned(), json!({ "n": number }))])));
            }
            (Err(error), Err(name)) => {
                assert_eq!((error.error.as_str(), error.cause.step.as_deref()), (name, Some("Do")), "{why}");
            }
            (outcome, _) => panic!("{why}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_done_for_another_tenant_is_undone_there() {
    let attempted = attempt(&DO_FOR_TENANT, forward(), undo(&["old"]), &[was_undone(true), made(1)]).await;
    assert_eq!(attempted.seen, [cleared("old", "another"), done("own")]);
    let unnamed = payload(json!({ "name": "Do", "kind": "forward" }), json!({}));
    let attempted = attempt(&DO_FOR_TENANT, unnamed, undo(&["old"]), &[was_undone(true), made(1)]).await;
    assert_eq!(attempted.seen, [cleared("old", "t"), done("own")]);
    let answers = [refused(409), was_undone(true), made(1)];
    let attempted = attempt(&DO_FOR_TENANT, forward(), first(&["old"]), &answers).await;
    assert_eq!(attempted.seen, [done("old"), cleared("old", "another"), done("own")]);
}

#[tokio::test]
async fn what_cannot_be_undone_is_done_all_the_same() {
    let attempted = attempt(&DO_FOR_GOOD, forward(), undo(&["old"]), &[made(1)]).await;
    assert_eq!(attempted.seen, [done("own")]);
    let attempted = attempt(&DO_FOR_GOOD, forward(), first(&["old"]), &[refused(409), made(2)]).await;
    assert_eq!(attempted.seen, [done("old"), done("own")]);
}

#[tokio::test]
async fn what_is_skipped_calls_nobody() {
    for effects in [Effects::Own, first(&["old"]), undo(&["old"])] {
        let mut skipped = forward();
        skipped["when"] = false.into();
        let attempted = attempt(&DO, skipped, effects, &[]).await;
        assert_eq!(attempted.outcome.expect("it is skipped")["skipped"], true);
    }
}

#[tokio::test]
async fn an_undoing_reaches_every_scope() {
    for (answers, expected) in [([true, true], true), ([true, false], true), ([false, true], true), ([false; 2], false)]
    {
        let attempted = attempt(&DO, compensation(Value::Null), undo(&["own", "old"]), &answers.map(was_undone)).await;
        assert_eq!(attempted.seen, [undone("own", "t"), undone("old", "t")]);
        assert_eq!(attempted.outcome.expect("it is undone")["undone"], expected, "{answers:?}");
    }
    let attempted = attempt(&DO, compensation(Value::Null), undo(&[]), &[]).await;
    assert_eq!(attempted.outcome.expect("there is nothing")["undone"], false);
    let attempted = attempt(&DO, compensation(Value::Null), Effects::Own, &[was_undone(true)]).await;
    assert_eq!(attempted.seen, [undone("own", "t")]);
}

#[tokio::test]
async fn an_undoing_that_fails_is_tried_again_as_a_whole() {
    let answers = [was_undone(true), refused(503)];
    let attempted = attempt(&DO, compensation(Value::Null), undo(&["own", "old", "older"]), &answers).await;
    assert_eq!(attempted.seen, [undone("own", "t"), undone("old", "t")]);
    assert_eq!(attempted.outcome.expect_err("one may stand").error, "ServiceUnavailable");
}

#[tokio::test]
async fn an_undoing_is_for_the_tenant_that_its_input_names() {
    let input = json!({ "tenant_id": "another" });
    let attempted =
        attempt(&DO, compensation(input), undo(&["own", "old"]), &[was_undone(true), was_undone(true)]).await;
    assert_eq!(attempted.seen, [undone("own", "another"), undone("old", "another")]);
}
