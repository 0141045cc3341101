//! What clients read: long polls, tags, lists, histories, streams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Access, Api, Starting, Streaming};
use axum::body::{Body, BodyDataStream};
use contracts::{EngineKind, Status};
use engine::Engines;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use store::{Control as StoreControl, Executions as _};
use store_sql::FileBlobs;
use tokio::process::Command;
use tower::ServiceExt as _;

use crate::process;
use crate::subjects::TENANT_SWITCHING;
use crate::world::{Control, ControlAction, Door, Script, Site, TENANT, World, full_request, full_request_of, run};

const START: &str = "/api/v1/workflows/user-onboarding";

fn status_of(id: &str) -> String {
    format!("/api/v1/workflows/{id}/status")
}

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("x-tenant-id", TENANT);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

async fn get(site: &Site, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Value) {
    site.call(request(Method::GET, path, headers)).await
}

async fn tag(site: &Site, id: &str) -> String {
    let (_, headers, _) = get(site, &status_of(id), &[]).await;
    headers["etag"].to_str().unwrap().to_owned()
}

/// An execution whose profile takes ten seconds less a bit.
async fn slow(world: &World) -> String {
    let delay = Fault::Delay { delay_ms: 9_000 };
    let rule = FaultRule { times: Some(1), ..FaultRule::on("POST", "/api/v1/profiles", delay) };
    world.services.set_faults(ServiceKind::User, vec![rule]);
    world.start(&full_request()).await
}

/// An execution that is held, and that nothing changes for minutes unless somebody asks for it.
async fn held() -> (World, String) {
    held_with(&[]).await
}

async fn held_with(settings: &[(&str, String)]) -> (World, String) {
    let pause = Control { during: "CreateUserAccount".to_owned(), what: ControlAction::Pause, after_seconds: 0 };
    let world = World::with(Script { control: vec![pause], ..Script::default() }, settings).await;
    let id = world.start(&full_request()).await;
    clock::sleep(&*world.clock, Duration::from_secs(1_000)).await;
    // Its engine looks whether it may go on, at last every five minutes, and each look is a change: behind one of these it
    // is quiet.
    let (mut seen, mut quiet_seconds) = (tag(&world, &id).await, 0);
    for _ in 0..1_000 {
        clock::sleep(&*world.clock, Duration::from_secs(5)).await;
        quiet_seconds += 5;
        let now = tag(&world, &id).await;
        if now != seen && quiet_seconds > 250 {
            break;
        }
        if now != seen {
            (seen, quiet_seconds) = (now, 0);
        }
    }
    clock::sleep(&*world.clock, Duration::from_secs(5)).await;
    assert_eq!(world.status(&id).await.status, Status::Paused);
    (world, id)
}

/// Asks something of an execution after so long, while the test waits for something else.
fn later(world: &World, id: &str, after: Duration, control: StoreControl) {
    let (store, clock, id) = (world.app.store.clone(), Arc::clone(&world.clock), id.to_owned());
    clock::spawn(&world.clock, async move {
        clock::sleep(&*clock, after).await;
        store.control(TENANT, &id, control, clock.now(), None).await.unwrap();
    });
}

/// How long something takes, in seconds of the virtual clock.
async fn seconds<T>(world: &World, what: impl Future<Output = T>) -> (f64, T) {
    let began = world.clock.now();
    let done = what.await;
    (world.clock.now().duration_since(began).as_secs_f64(), done)
}

#[test]
fn a_long_poll_waits_for_the_end_or_for_news() {
    run(async {
        let world = World::new().await;
        let id = slow(&world).await;
        let path = format!("{}?wait=25s", status_of(&id));
        let (took, (status, _, body)) = seconds(&world, get(&world, &path, &[])).await;
        assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("Completed")), "{body}");
        assert!((9.0..10.0).contains(&took), "{took} s");
        let (took, (_, headers, body)) = seconds(&world, get(&world, &path, &[])).await;
        assert_eq!((took, body["status"].as_str()), (0.0, Some("Completed")), "what has ended is answered at once");
        let known = headers["etag"].to_str().unwrap();
        let (took, (status, _, _)) = seconds(&world, get(&world, &path, &[("if-none-match", known)])).await;
        assert_eq!((took, status), (0.0, StatusCode::NOT_MODIFIED), "it does not change any more");

        let (world, id) = held().await;
        let (took, (status, _, body)) = seconds(&world, get(&world, &format!("{}?wait=3", status_of(&id)), &[])).await;
        assert_eq!((took, status, body["status"].as_str()), (3.0, StatusCode::OK, Some("Paused")));
        let path = format!("{}?wait=600s", status_of(&id));
        let known = tag(&world, &id).await;
        let (took, (status, headers, body)) = seconds(&world, get(&world, &path, &[("if-none-match", &known)])).await;
        assert_eq!((took, status, body), (25.0, StatusCode::NOT_MODIFIED, Value::Null), "the longest wait");
        assert_eq!(
            (headers["etag"].to_str().unwrap(), &headers["cache-control"]),
            (&*known, &"no-store".parse().unwrap())
        );
        later(&world, &id, Duration::from_secs(7), StoreControl::Resume);
        let (took, (status, headers, _)) = seconds(&world, get(&world, &path, &[("if-none-match", &known)])).await;
        assert_eq!(status, StatusCode::OK);
        assert!((7.0..8.0).contains(&took), "{took} s");
        assert_ne!(headers["etag"], *known);
    });
}

/// Where each request that waits takes a function.
#[test]
fn a_deployment_may_let_requests_wait_for_less_long() {
    run(async {
        let (world, id) = held().await;
        let store = Arc::new(world.app.store.clone());
        let api = Api {
            executions: store.clone(),
            history: store.clone(),
            audit: store.clone(),
            engines: Engines::new(vec![Arc::new(world.app.engine.clone())]),
            clock: Arc::clone(&world.clock),
            access: Access::Open,
            request_timeout: Duration::from_secs(28),
            longest_wait: Duration::from_secs(3),
            streaming: Streaming::Unsupported,
        };
        let folder = tempfile::tempdir().unwrap();
        let starting = Starting {
            api: api.clone(),
            engine: EngineKind::Embedded,
            blobs: Arc::new(FileBlobs::open(folder.path()).await.unwrap()),
            default_timeout: Duration::from_secs(3_600),
            durations: Arc::default(),
            backups: store.clone(),
            erasures: store,
        };
        let routes = api::get_workflow_status::route().merge(api::stream_workflow::route()).with_state(api);
        let routes = routes.merge(api::start_user_onboarding::route().with_state(starting));
        let routes = api::complete(routes, Arc::clone(&world.clock), Duration::from_secs(28), None);
        let call = async |request: Request<Body>| {
            let (parts, body) = routes.clone().oneshot(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (parts.status, parts.headers, serde_json::from_slice::<Value>(&body).unwrap())
        };
        let poll = call(request(Method::GET, &format!("{}?wait=25s", status_of(&id)), &[]));
        let (took, (status, ..)) = seconds(&world, poll).await;
        assert_eq!((took, status), (3.0, StatusCode::OK));
        let slow = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 9_000 });
        world.services.set_faults(ServiceKind::User, vec![slow]);
        let start = |number: usize, headers: &[(&str, &str)], is_synchronous: bool| {
            let mut body = full_request_of(number);
            body["synchronous"] = json!(is_synchronous);
            let mut start = request(Method::POST, START, headers);
            start.headers_mut().insert("content-type", "application/json".parse().unwrap());
            start.map(|_| Body::from(body.to_string()))
        };
        let preferring = start(1, &[("prefer", "wait=20")], false);
        let (took, (status, headers, _)) = seconds(&world, call(preferring)).await;
        assert_eq!(
            (took, status, &headers["preference-applied"]),
            (3.0, StatusCode::ACCEPTED, &"wait=3".parse().unwrap())
        );
        let (took, (status, ..)) = seconds(&world, call(start(2, &[], true))).await;
        assert_eq!((took, status), (3.0, StatusCode::ACCEPTED));
        let stream = request(Method::GET, &format!("/api/v1/workflows/{id}/stream"), &[]);
        let (_, _, refused) = call(stream).await;
        assert!(refused["detail"].as_str().unwrap().contains("/status?wait=3s"), "{refused}");
    });
}

#[test]
fn a_long_poll_answers_before_the_requests_own_time_is_up() {
    run(async {
        let (world, id) = held_with(&[("SERVER__TIMEOUT_SECONDS", "5".to_owned())]).await;
        let path = format!("{}?wait=25s", status_of(&id));
        let (took, (status, _, body)) = seconds(&world, get(&world, &path, &[])).await;
        assert_eq!((took, status, body["status"].as_str()), (3.0, StatusCode::OK, Some("Paused")), "{body}");
    });
}

#[test]
fn a_tag_changes_with_what_can_be_seen_and_nothing_else() {
    run(async {
        let (world, id) = held().await;
        let mut tags = vec![tag(&world, &id).await];
        assert!(tags[0].starts_with("W/\""), "{}: the estimate moves without the execution", tags[0]);
        assert_eq!(tag(&world, &id).await, tags[0], "nothing has happened");
        world.cancel(&id).await.unwrap();
        tags.push(tag(&world, &id).await);
        world.until_ended(&id).await;
        tags.push(tag(&world, &id).await);
        assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");

        let strong = tags[2].trim_start_matches("W/").to_owned();
        let both = format!("\"other\", {strong}");
        for same in [&tags[2], &strong, &both, "*"] {
            let (status, headers, body) = get(&world, &status_of(&id), &[("if-none-match", same)]).await;
            assert_eq!((status, body), (StatusCode::NOT_MODIFIED, Value::Null), "{same}");
            assert_eq!(headers["etag"], *tags[2]);
        }
        let repeated = [("if-none-match", "\"other\""), ("if-none-match", &*strong)];
        assert_eq!(get(&world, &status_of(&id), &repeated).await.0, StatusCode::NOT_MODIFIED);
        let (status, _, body) = get(&world, &status_of(&id), &[("if-none-match", &tags[0])]).await;
        assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("Cancelled")));

        let (status, headers, body) = world.call(request(Method::HEAD, &status_of(&id), &[])).await;
        assert_eq!((status, &headers["etag"], body), (StatusCode::OK, &tags[2].parse().unwrap(), Value::Null));
    });
}

#[test]
fn an_estimate_goes_by_the_tenants_own_past() {
    run(async {
        let world = World::new().await;
        let first = slow(&world).await;
        let before = get(&world, &status_of(&first), &[]).await.2;
        assert_eq!(before["estimated_completion"], Value::Null, "nothing has completed yet");
        assert_eq!(before["operation_id"], first.as_str());
        world.until_ended(&first).await;
        let second = slow_again(&world).await;
        let body = get(&world, &status_of(&second), &[]).await.2;
        let estimate: jiff::Timestamp = body["estimated_completion"].as_str().unwrap().parse().unwrap();
        let started: jiff::Timestamp = body["started_at"].as_str().unwrap().parse().unwrap();
        let expected = estimate.duration_since(started).as_secs_f64();
        assert!((9.0..10.0).contains(&expected), "{expected} s");
        assert_eq!(body["progress"]["estimated_completion"], body["estimated_completion"]);
        let ended = world.until_ended(&second).await;
        assert_eq!(ended.estimated_completion, None, "what has ended is not estimated");
    });
}

async fn slow_again(world: &World) -> String {
    let rule = FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 9_000 });
    world.services.set_faults(ServiceKind::User, vec![FaultRule { times: Some(1), ..rule }]);
    world.start(&full_request_of(2)).await
}

/// The ids of a list, its total, and its counts of what completed and what failed.
async fn listed(world: &World, filter: &str) -> (Vec<String>, u64, [u64; 2]) {
    let (status, page) = world.get(&format!("/api/v1/workflows{filter}")).await;
    assert_eq!(status, StatusCode::OK, "{filter}: {page}");
    let ids = page["workflows"].as_array().unwrap().iter().map(|row| row["workflow_id"].as_str().unwrap().to_owned());
    assert_eq!(page["total_is_exact"], true, "{filter}");
    let counts = ["Completed", "Failed"].map(|status| page["counts"][status].as_u64().unwrap());
    (ids.collect(), page["total_count"].as_u64().unwrap(), counts)
}

#[test]
fn lists_are_narrowed_and_counted() {
    run(async {
        let world = World::new().await;
        let switch = world.prepare(&TENANT_SWITCHING, 0).await;
        let mut ids = Vec::new();
        let mut moments = Vec::new();
        for (path, body, user) in [
            (START, full_request_of(1), "ann"),
            // The same person again: this one fails.
            (START, full_request_of(1), "ann"),
            (START, full_request_of(2), "bob"),
            (TENANT_SWITCHING.path, switch.clone(), switch["user_id"].as_str().unwrap()),
        ] {
            moments.push(world.clock.now().to_string());
            let (_, started) = world.post(path, &body, &[("x-user-id", user)]).await;
            let id = started["workflow_id"].as_str().unwrap().to_owned();
            world.until_ended(&id).await;
            ids.push(id);
            clock::sleep(&*world.clock, Duration::from_secs(60)).await;
        }
        let of = |numbers: &[usize]| numbers.iter().map(|number| ids[*number].clone()).collect::<Vec<_>>();
        assert_eq!(listed(&world, "").await, (of(&[3, 2, 1, 0]), 4, [3, 1]));
        assert_eq!(listed(&world, "?status=Failed").await, (of(&[1]), 1, [3, 1]), "counts are without the status");
        assert_eq!(listed(&world, "?status=Failed,Completed&status=Paused").await, (of(&[3, 2, 1, 0]), 4, [3, 1]));
        assert_eq!(listed(&world, "?user_id=ann").await, (of(&[1, 0]), 2, [1, 1]));
        assert_eq!(listed(&world, "?user_id=ann&status=Completed").await, (of(&[0]), 1, [1, 1]));
        assert_eq!(listed(&world, "?user_id=nobody").await, (vec![], 0, [0, 0]));
        assert_eq!(listed(&world, "?workflow_type=tenant_switching").await, (of(&[3]), 1, [1, 0]));
        let after = format!("?started_after={}", moments[1]);
        assert_eq!(listed(&world, &after).await, (of(&[3, 2, 1]), 3, [2, 1]), "the moment itself is in it");
        let window = format!("{after}&started_before={}", moments[3]);
        assert_eq!(listed(&world, &window).await, (of(&[2, 1]), 2, [1, 1]), "the moment itself is not");
        let all = format!("{window}&user_id=ann&workflow_type=user_onboarding&status=Failed");
        assert_eq!(listed(&world, &all).await, (of(&[1]), 1, [0, 1]));

        let page = world.get(&format!("/api/v1/workflows{window}&page_size=1")).await.1;
        let token = page["next_page_token"].as_str().unwrap();
        assert_eq!(listed(&world, &format!("{window}&page_size=1&page_token={token}")).await.0, of(&[1]));
        for other in [after, "?user_id=ann".to_owned(), "?".to_owned(), format!("{window}&status=Failed")] {
            let (status, _) = world.get(&format!("/api/v1/workflows{other}&page_token={token}")).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{other}: a token of other filters");
        }
        let (status, _) = world.get(&format!("/api/v1/workflows/history?page_token={token}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "a token of another route");
    });
}

#[test]
fn histories_are_narrowed_by_type() {
    run(async {
        let world = World::new().await;
        let ids = [world.start(&full_request_of(1)).await, world.start(&full_request_of(2)).await];
        for id in &ids {
            world.until_ended(id).await;
        }
        let wanted = "event_type=WorkflowExecutionCompleted,WorkflowExecutionStarted";
        let (_, page) = world.get(&format!("/api/v1/workflows/history?workflow_id={}&{wanted}", ids[0])).await;
        let types = |page: &Value| {
            let events = page["events"].as_array().unwrap().clone();
            events.into_iter().map(|event| event["event_type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(types(&page), ["WorkflowExecutionStarted", "WorkflowExecutionCompleted"]);
        assert_eq!((&page["total_events"], &page["total_is_exact"]), (&json!(2), &json!(true)));
        assert_eq!(page["events"][0]["details"]["input"]["user_email"], "new-1@example.com");
        let (mut path, mut seen) = (format!("/api/v1/workflows/history?{wanted}&page_size=3"), Vec::new());
        loop {
            let (_, page) = world.get(&path).await;
            assert_eq!(page["total_events"], 4);
            seen.extend(types(&page));
            let Some(token) = page["next_page_token"].as_str() else { break };
            path = format!("/api/v1/workflows/history?{wanted}&page_size=3&page_token={token}");
        }
        assert_eq!(seen.iter().filter(|kind| kind.ends_with("Completed")).count(), 2, "{seen:?}");
        assert_eq!(seen.len(), 4, "each once");
    });
}

/// An event of a stream, or a comment.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    id: Option<String>,
    event: String,
    data: Value,
}

/// A stream as a client sees it.
struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    /// What the next empty line ends; none at the end of the stream.
    async fn next(&mut self) -> Option<Sent> {
        while !self.text.contains("\n\n") {
            let bytes = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        let (part, rest) = self.text.split_once("\n\n").unwrap();
        let field = |name: &str| part.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let sent = Sent {
            id: field("id: "),
            event: field("event: ").unwrap_or_else(|| part.to_owned()),
            data: field("data: ").map_or(Value::Null, |data| serde_json::from_str(&data).unwrap()),
        };
        self.text = rest.to_owned();
        Some(sent)
    }

    async fn all(mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(sent) = self.next().await {
            all.push(sent);
        }
        all
    }
}

async fn open(world: &World, path: &str, headers: &[(&str, &str)]) -> Result<Stream, StatusCode> {
    let Door::Router(router) = &world.door else { panic!("it is in this process") };
    let answer = router.clone().oneshot(request(Method::GET, path, headers)).await.unwrap();
    if answer.status() != StatusCode::OK {
        return Err(answer.status());
    }
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    Ok(Stream { body: answer.into_body().into_data_stream(), text: String::new() })
}

#[test]
fn a_stream_tells_the_history_and_the_end() {
    run(async {
        let world = World::new().await;
        let id = slow(&world).await;
        let path = format!("/api/v1/workflows/{id}/stream");
        let (took, all) = seconds(&world, open(&world, &path, &[]).await.unwrap().all()).await;
        assert!((9.0..10.0).contains(&took), "it comes as it happens, not at the end: {took} s");
        assert_eq!(all[0].event, "retry: 2000");
        let told: Vec<&Sent> = all.iter().filter(|sent| sent.id.as_deref().is_some_and(|id| id != "end")).collect();
        let (_, history) = world.get(&format!("/api/v1/workflows/history?workflow_id={id}&page_size=200")).await;
        let events = history["events"].as_array().unwrap();
        assert_eq!(told.iter().map(|sent| &sent.data).collect::<Vec<_>>(), events.iter().collect::<Vec<_>>());
        for (sent, event) in told.iter().zip(events) {
            assert_eq!(sent.id.as_deref(), Some(&*event["event_id"].to_string()));
            assert_eq!(sent.event, event["event_type"].as_str().unwrap());
        }
        let statuses: Vec<&Sent> = all.iter().filter(|sent| sent.event == "status").collect();
        assert!(statuses.len() >= 2 && statuses.iter().all(|sent| sent.id.is_none()), "{} statuses", statuses.len());
        let end = all.last().unwrap();
        let status = get(&world, &status_of(&id), &[]).await.2;
        assert_eq!((end.event.as_str(), end.id.as_deref(), &end.data), ("end", Some("end"), &status));

        // From where a client was.
        let last = events.len();
        for (header, query, begins_at) in [("3", "", 4), ("", "?last_event_id=3", 4), ("5", "?last_event_id=3", 6)] {
            let headers = [("last-event-id", header)];
            let headers = if header.is_empty() { &[][..] } else { &headers };
            let rest = open(&world, &format!("{path}{query}"), headers).await.unwrap().all().await;
            let ids: Vec<String> = rest.iter().filter_map(|sent| sent.id.clone()).collect();
            let expected = (begins_at..=last).map(|id| id.to_string()).chain(["end".to_owned()]);
            assert_eq!(ids, expected.collect::<Vec<_>>());
        }
        let seen_all = open(&world, &path, &[("last-event-id", &last.to_string())]).await.unwrap().all().await;
        assert_eq!(seen_all.iter().filter(|sent| sent.id.is_some()).count(), 1, "the end alone");
        assert_eq!(open(&world, &path, &[("last-event-id", "end")]).await.err(), Some(StatusCode::NO_CONTENT));
        for bad in ["", "x", "-1", &(last + 1).to_string()] {
            let refused = open(&world, &path, &[("last-event-id", bad)]).await.err();
            assert_eq!(refused, Some(StatusCode::BAD_REQUEST), "{bad}");
        }
        let refused = open(&world, &format!("{path}?last_event_id=x"), &[]).await.err();
        assert_eq!(refused, Some(StatusCode::UNPROCESSABLE_ENTITY));
        let foreign = open(&world, "/api/v1/workflows/user_onboarding_x/stream", &[]).await.err();
        assert_eq!(foreign, Some(StatusCode::NOT_FOUND));
    });
}

#[test]
fn a_stream_outlives_the_time_of_a_request_and_ends_with_the_process() {
    run(async {
        let (world, id) = held().await;
        let path = format!("/api/v1/workflows/{id}/stream");
        let mut stream = open(&world, &path, &[]).await.unwrap();
        while stream.next().await.unwrap().event != "status" {}
        assert_eq!(open(&world, &path, &[("last-event-id", "end")]).await.err(), Some(StatusCode::BAD_REQUEST));
        // Requests have 30 s.
        let (took, beats) = seconds(&world, async {
            let mut beats = Vec::new();
            for _ in 0..4 {
                beats.push(stream.next().await.unwrap().event);
            }
            beats
        })
        .await;
        assert_eq!((took, beats), (60.0, vec![":".to_owned(); 4]), "a comment every 15 s");
        later(&world, &id, Duration::from_secs(5), StoreControl::Cancel);
        let (took, resumed) = seconds(&world, stream.next()).await;
        assert!((5.0..6.0).contains(&took), "{took} s");
        assert_eq!(resumed.unwrap().event, "WorkflowExecutionResumed", "a cancel releases the pause");
        let status = stream.next().await.unwrap();
        assert_eq!(status.event, "status");
        assert!(status.data["cancelled_at"].is_string(), "{}", status.data);

        let (world, id) = held().await;
        let mut stream = open(&world, &format!("/api/v1/workflows/{id}/stream"), &[]).await.unwrap();
        while stream.next().await.unwrap().event != "status" {}
        world.app.end_waiting();
        let (took, last) = seconds(&world, stream.next()).await;
        assert_eq!((took, last), (0.0, None));
    });
}

/// Over a real connection: neither a stream nor a long poll keeps a server from stopping.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_stops_although_clients_wait() {
    let site = process::Site::new().await;
    site.services.set_faults(
        ServiceKind::User,
        vec![FaultRule::on("POST", "/api/v1/profiles", Fault::Delay { delay_ms: 9_000 })],
    );
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let id = site.start(TENANT, "waiting@example.com").await.unwrap();
    let ask = |path: &str| site.http.get(site.url(path)).header("x-tenant-id", TENANT).send();
    let mut stream = ask(&format!("/api/v1/workflows/{id}/stream")).await.unwrap();
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"retry: "), "{first:?}");
    let waiting = tokio::spawn(ask(&format!("{}?wait=25s", status_of(&id))));
    process::pause(Duration::from_millis(200)).await;
    let pid = server.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let stopped = Mutex::new(None);
    // Well below the grace that requests have.
    let ended = clock::timeout(&clock::SystemClock, Duration::from_secs(3), async {
        while stream.chunk().await.unwrap().is_some() {}
        *stopped.lock().unwrap() = Some(server.wait().await.unwrap());
    });
    assert!(ended.await.is_some(), "it still runs");
    assert!(stopped.into_inner().unwrap().unwrap().success());
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200, "what there was is answered");
}
