//! More starts than can be carried out: what is too much is refused before anything is written, what is accepted ends in
//! time, and other tenants notice little.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use contracts::Status;
use http::{HeaderMap, Method, Request, StatusCode};
use reference_services::{Fault, FaultRule};
use serde_json::{Value, json};

use crate::subjects::USER_ONBOARDING;
use crate::world::{Control, ControlAction, Script, TENANT, World, full_request_of, run};

const OTHER_TENANT: &str = "tenant-456";

/// Sends something for a tenant, under a key if there is one.
async fn post(
    world: &World,
    tenant: &str,
    path: &str,
    body: &Value,
    key: Option<&str>,
) -> (StatusCode, HeaderMap, Value) {
    let request = Request::builder().method(Method::POST).uri(path);
    let mut request = request.header("x-tenant-id", tenant).header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    world.call(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn onboard(world: &World, tenant: &str, number: usize) -> (StatusCode, HeaderMap, Value) {
    let mut request = full_request_of(number);
    request["tenant_id"] = json!(tenant);
    post(world, tenant, USER_ONBOARDING.path, &request, Some(&format!("key-{number}"))).await
}

fn id_of(answer: &Value) -> String {
    answer["workflow_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// How many executions a tenant has in each status, as clients see them.
async fn counts(world: &World, tenant: &str) -> BTreeMap<String, u64> {
    let request = Request::builder().uri("/api/v1/workflows?page_size=1").header("x-tenant-id", tenant);
    let (_, _, list) = world.call(request.body(Body::empty()).unwrap()).await;
    serde_json::from_value(list["counts"].clone()).unwrap()
}

fn open(counts: &BTreeMap<String, u64>) -> u64 {
    counts["Running"] + counts["Paused"]
}

/// The problem document of a start that is too much.
fn assert_refused((status, headers, body): &(StatusCode, HeaderMap, Value)) {
    assert_eq!(*status, StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert_eq!(headers["content-type"], "application/problem+json");
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds} s");
    assert_eq!((body["code"].as_str(), body["retryable"].as_bool()), (Some("LimitReached"), Some(true)), "{body}");
    assert_eq!(body["error"]["type"], "TooManyRequests");
}

/// Lets every call to a service take this long.
fn slow_down(world: &World, delay_ms: u64) {
    let mut rules = BTreeMap::<String, Vec<FaultRule>>::new();
    for site in USER_ONBOARDING.sites.iter().filter(|site| site.skip == 0) {
        for (service, slow) in site.faulty(Fault::Delay { delay_ms }, None) {
            rules.entry(service).or_default().extend(slow);
        }
    }
    world.faults(&rules);
}

/// Clients of one tenant, and how much each of them starts: together more than ends within the time limit.
const CLIENTS: usize = 64;
const OF_EACH: usize = 3;
const LIMIT_SECONDS: u64 = 60;
/// Ten steps of a second each at a time are about 1.4 onboardings a second, and 86 within the limit; so half of that.
const ACTIVITIES: u64 = 10;
const OPEN: u64 = 40;

/// Starts this one, however often it takes; how often it was refused.
async fn persist(world: &World, number: usize) -> usize {
    let mut refused = 0;
    loop {
        let answer = onboard(world, TENANT, number).await;
        if answer.0 == StatusCode::ACCEPTED {
            return refused;
        }
        assert_refused(&answer);
        refused += 1;
        let seconds = answer.1["retry-after"].to_str().unwrap().parse().unwrap();
        clock::sleep(&*world.clock, Duration::from_secs(seconds)).await;
    }
}

/// How long another tenant's onboarding takes, which is accepted at once.
async fn of_another(world: &World, number: usize) -> Duration {
    let began = world.clock.now();
    let (status, _, answer) = onboard(world, OTHER_TENANT, number).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let path = format!("/api/v1/workflows/{}/status", id_of(&answer));
    loop {
        let request = Request::builder().uri(&path).header("x-tenant-id", OTHER_TENANT);
        let (_, _, status) = world.call(request.body(Body::empty()).unwrap()).await;
        if status["status"] != "Running" {
            assert_eq!(status["status"], "Completed", "{status}");
            return world.clock.now().duration_since(began).unsigned_abs();
        }
        clock::sleep(&*world.clock, Duration::from_millis(100)).await;
    }
}

#[test]
fn what_a_flood_gets_accepted_ends_in_time_and_others_go_on_beside_it() {
    let settings = [
        ("LIMITS__OPEN_EXECUTIONS_PER_TENANT", OPEN.to_string()),
        ("LIMITS__OPEN_EXECUTIONS", (4 * OPEN).to_string()),
        ("ENGINE__MAX_CONCURRENT_ACTIVITIES", ACTIVITIES.to_string()),
        ("WORKFLOWS__DEFAULT_TIMEOUT", LIMIT_SECONDS.to_string()),
    ];
    run(async {
        let world = Arc::new(World::with(Script::default(), &settings).await);
        slow_down(&world, 1_000);
        let alone = of_another(&world, 10_000).await;
        let began = world.clock.now();
        let refused = Arc::new(AtomicUsize::new(0));
        let client = |client: usize| {
            let (world, refused) = (Arc::clone(&world), Arc::clone(&refused));
            clock::spawn(&Arc::clone(&world.clock), async move {
                for number in 0..OF_EACH {
                    refused.fetch_add(persist(&world, client * OF_EACH + number).await, Ordering::Relaxed);
                }
            })
        };
        let flood: Vec<_> = (0..CLIENTS).map(client).collect();
        let (mut slowest, mut most) = (Duration::ZERO, 0);
        for number in 1..=4 {
            clock::sleep(&*world.clock, Duration::from_secs(5)).await;
            most = open(&counts(&world, TENANT).await).max(most);
            slowest = of_another(&world, 10_000 + number).await.max(slowest);
        }
        for client in flood {
            clock::park(&*world.clock, client).await.unwrap();
        }
        let took = world.clock.now().duration_since(began).unsigned_abs();
        let refused = refused.load(Ordering::Relaxed);
        println!("{refused} refused, {most} open at most, {took:?}; another tenant's: {slowest:?}, alone {alone:?}");
        assert!(refused > CLIENTS, "{refused} were refused");
        assert!((OPEN / 2..=OPEN).contains(&most), "{most} open executions");
        assert!(took.as_secs() > LIMIT_SECONDS, "so much at once would not end in time: {took:?}");
        assert!(slowest <= alone * 4, "{slowest:?} beside the flood, {alone:?} alone");

        while open(&counts(&world, TENANT).await) > 0 {
            clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        }
        let counts = counts(&world, TENANT).await;
        assert_eq!(counts["Completed"], (CLIENTS * OF_EACH) as u64, "{counts:?}");
        assert_eq!(counts.values().sum::<u64>(), counts["Completed"], "{counts:?}");
    });
}

/// A world with room for two executions of a tenant, which are held once they have created an account.
async fn full_world() -> (World, Vec<String>) {
    let settings =
        [("LIMITS__OPEN_EXECUTIONS_PER_TENANT", "2".to_owned()), ("LIMITS__OPEN_EXECUTIONS", "4".to_owned())];
    let world = World::with(Script::default(), &settings).await;
    let ids = vec![hold(&world, 0).await, hold(&world, 1).await];
    (world, ids)
}

/// Starts one that is held once it has created an account; its id.
async fn hold(world: &World, number: usize) -> String {
    let pause = Control { during: "CreateUserAccount".to_owned(), what: ControlAction::Pause, after_seconds: 0 };
    world.script.lock().unwrap().control = vec![pause];
    let (status, _, answer) = onboard(world, TENANT, number).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let id = id_of(&answer);
    while world.status(&id).await.status != Status::Paused {
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
    }
    id
}

async fn audited(world: &World) -> Vec<Value> {
    let (_, log) = world.get("/api/v1/audit?page_size=200").await;
    log["entries"].as_array().unwrap().clone()
}

#[test]
fn a_start_beyond_the_limit_writes_nothing_and_a_repetition_is_none() {
    run(async {
        let (world, ids) = full_world().await;
        let (before, log, calls) =
            (counts(&world, TENANT).await, audited(&world).await, world.calls.lock().unwrap().len());
        assert_refused(&onboard(&world, TENANT, 2).await);
        assert_refused(&post(&world, TENANT, USER_ONBOARDING.path, &full_request_of(3), None).await);
        let mut waits = full_request_of(4);
        waits["synchronous"] = json!(true);
        assert_refused(&post(&world, TENANT, USER_ONBOARDING.path, &waits, None).await);
        assert_eq!((counts(&world, TENANT).await, audited(&world).await), (before, log), "nothing was written");
        assert_eq!(world.calls.lock().unwrap().len(), calls, "no service was called");

        // What is wrong with a request is told all the same, and what came before is answered as it was then.
        let (status, _, _) = post(&world, TENANT, USER_ONBOARDING.path, &json!({}), None).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        for (number, id) in ids.iter().enumerate() {
            let (status, _, answer) = onboard(&world, TENANT, number).await;
            assert_eq!((status, &id_of(&answer)), (StatusCode::ACCEPTED, id));
        }
        let (status, _, _) = post(&world, TENANT, USER_ONBOARDING.path, &full_request_of(9), Some("key-0")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "the key came with another body");

        let (status, _, answer) = onboard(&world, OTHER_TENANT, 4).await;
        assert_eq!(status, StatusCode::ACCEPTED, "another tenant has room: {answer}");

        // Of what was refused no key is left: it may come with another body.
        assert!(world.cancel(&ids[0]).await.is_ok());
        world.until_ended(&ids[0]).await;
        let (status, _, answer) = post(&world, TENANT, USER_ONBOARDING.path, &full_request_of(7), Some("key-2")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    });
}

#[test]
fn a_retry_is_a_start_and_what_ends_or_undoes_something_gets_through() {
    run(async {
        let (world, ids) = full_world().await;
        let of = |id: &str, action: &str| format!("/api/v1/workflows/{id}/{action}");
        let asked =
            async |id: &str, action: &str, body: Value| post(&world, TENANT, &of(id, action), &body, None).await;
        assert_eq!(asked(&ids[0], "terminate", Value::Null).await.0, StatusCode::OK);
        let third = hold(&world, 2).await;

        let before = (counts(&world, TENANT).await, audited(&world).await);
        assert_refused(&asked(&ids[0], "retry", json!({})).await);
        let many = json!({ "action": "retry", "ids": [&ids[0]] });
        let (status, _, answer) = post(&world, TENANT, "/api/v1/workflows/actions", &many, None).await;
        let result = &answer["results"][0];
        assert_eq!((status, &result["outcome"]), (StatusCode::OK, &json!("failed")), "{answer}");
        assert!(result["detail"].as_str().unwrap().contains("repeat the request"), "{answer}");
        assert_eq!((counts(&world, TENANT).await, audited(&world).await), before, "nothing was written");
        assert_eq!(world.status(&ids[0]).await.retried_as, None);

        let undoing = asked(&ids[0], "retry", json!({ "undo": true })).await;
        assert_eq!(undoing.0, StatusCode::ACCEPTED, "{undoing:?}");
        let undoing = undoing.2["new_workflow_id"].as_str().unwrap().to_owned();
        assert_eq!(world.until_ended(&undoing).await.status, Status::Cancelled);
        for (id, action) in [(&third, "pause"), (&third, "resume"), (&ids[1], "cancel")] {
            let (status, _, answer) = asked(id, action, Value::Null).await;
            assert_eq!(status, StatusCode::OK, "{action}: {answer}");
        }
        assert_eq!(world.until_ended(&ids[1]).await.status, Status::Cancelled);
        assert_eq!(world.until_ended(&third).await.status, Status::Completed);
    });
}
