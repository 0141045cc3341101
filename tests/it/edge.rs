//! The server's HTTP edge over real connections: many of them, unfinished requests, what is no request, and its end.

use std::sync::Arc;
use std::time::Duration;

use clock::{Clock as _, SystemClock};
use futures::future::join_all;
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::process::{SERVICE_VARIABLES, Site, free_port, pause};
use crate::world::{TENANT, full_request};

const START: &str = "/api/v1/workflows/user-onboarding";

async fn terminate(process: &Child) {
    let pid = process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
}

/// Every call to this route takes so long.
fn slow(method: &str, route: &str, delay_ms: u64) -> FaultRule {
    FaultRule::on(method, route, Fault::Delay { delay_ms })
}

/// What comes back for these bytes until the server closes: status, headers and problem document.
async fn refused(site: &Site, bytes: &[u8]) -> (u16, String, Value) {
    let mut stream = site.connect().await;
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_keep_others_out() {
    let site = Site::new().await;
    let mut server = site.spawn(Some("ulimit -n 128; exec \"$@\""));
    site.until_up(&mut server).await;
    let mut idle = Vec::new();
    for number in 0..200 {
        let Ok(mut stream) = TcpStream::connect(site.address()).await else { continue };
        // Half of them say nothing at all.
        if number % 2 == 0 {
            let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n").await;
        }
        idle.push(stream);
    }
    let health = site.http.get(site.url("/health")).timeout(Duration::from_secs(2)).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let emails: Vec<String> = (0..20).map(|number| format!("crowd-{number}@example.com")).collect();
    let started = join_all(emails.iter().map(|email| site.start(TENANT, email))).await;
    assert!(started.iter().all(Option::is_some), "{started:?}");
    let ended = site.until_all_ended(TENANT).await;
    assert!(ended.iter().all(|(_, status)| status == "Completed"), "{ended:?}; {}", site.stderr());
    assert_eq!((ended.len(), idle.len()), (20, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_connections_are_in_use_the_health_is_still_told() {
    let site = Site::with(&[("WORKFLOW__SERVER__MAX_CONNECTIONS", "4".to_owned())]).await;
    site.services.set_faults(ServiceKind::User, vec![slow("POST", "/api/v1/profiles", 9_000)]);
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let id = site.start(TENANT, "streamed@example.com").await.unwrap();
    let open = || async {
        let url = site.url(&format!("/api/v1/workflows/{id}/stream"));
        let mut stream = site.http.get(url).header("x-tenant-id", TENANT).send().await.unwrap();
        assert_eq!(stream.status(), 200);
        stream.chunk().await.unwrap();
        stream
    };
    let streams = [open().await, open().await, open().await, open().await];
    assert_eq!(site.http.get(site.url("/health")).send().await.unwrap().status(), 200);
    let refused = site.http.get(site.url("/api/v1/workflows")).header("x-tenant-id", TENANT).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(
        (&refused.headers()["retry-after"], &refused.headers()["connection"]),
        (&"1".parse().unwrap(), &"close".parse().unwrap())
    );
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "ServiceUnavailable");
    drop(streams);
    pause(Duration::from_millis(200)).await;
    assert_eq!(site.list(TENANT).await.len(), 1, "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_gets_a_problem_document() {
    let site = Site::new().await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let long = "x".repeat(200 * 1024);
    let many: String = (0..150).map(|number| format!("x-{number}: 1\r\n")).collect();
    for (bytes, status) in [
        ("BAD REQUEST\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nhost localhost\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n".to_owned(), 400),
        (format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"), 414),
        (format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n"), 431),
        (format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"), 431),
        ("GET /health HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_owned(), 421),
        (
            format!(
                "POST {START} HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: {TENANT}\r\ncontent-type: application/json\r\ncontent-length: 2000000\r\n\r\n{long}"
            ),
            413,
        ),
    ] {
        let what = &bytes[..bytes.len().min(60)];
        let bytes = match bytes.contains("\r\nconnection") {
            true => bytes.clone(),
            false => bytes.replacen(" HTTP/1.1\r\n", " HTTP/1.1\r\nconnection: close\r\n", 1),
        };
        let (found, head, problem) = refused(&site, bytes.as_bytes()).await;
        assert_eq!((found, &problem["status"]), (status, &json!(status)), "{what}: {head} {problem}");
        assert!(
            head.contains("content-type: application/problem+json") && head.contains("x-request-id: "),
            "{what}: {head}"
        );
    }
    // Answers before one that is refused arrive whole.
    let (status, _, health) =
        refused(&site, b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nBAD REQUEST\r\n\r\n").await;
    assert_eq!((status, &health), (200, &Value::Null), "two answers are no document");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_request_is_answered_408() {
    let site = Site::with(&[("WORKFLOW__SERVER__TIMEOUT_SECONDS", "4".to_owned())]).await;
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let began = SystemClock.instant();
    let begun = format!(
        "POST {START} HTTP/1.1\r\nhost: localhost\r\nx-tenant-id: {TENANT}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let (status, head, problem) = refused(&site, begun.as_bytes()).await;
    assert_eq!((status, &problem["title"]), (408, &json!("Request timeout")), "{head}");
    let took = SystemClock.instant().since(began);
    assert!((2.0..4.0).contains(&took.as_secs_f32()), "half of the request's time: {took:?}");
    let (status, _, problem) = refused(&site, b"GET /health HTTP/1.1\r\nhost: loc").await;
    assert_eq!((status, &problem["title"]), (408, &json!("Request timeout")));
    assert!(site.list(TENANT).await.is_empty(), "nothing was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_end_hears_what_there_is_when_the_server_stops() {
    let site = Arc::new(Site::new().await);
    site.services.set_faults(ServiceKind::User, vec![slow("POST", "/api/v1/profiles", 9_000)]);
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let waiting = tokio::spawn({
        let site = Arc::clone(&site);
        async move {
            let call = site.http.post(site.url(START)).header("x-tenant-id", TENANT).header("prefer", "wait=20");
            call.json(&full_request()).send().await
        }
    });
    while site.list(TENANT).await.is_empty() {
        pause(Duration::from_millis(20)).await;
    }
    terminate(&server).await;
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status(), 202);
    let started: Value = answer.json().await.unwrap();
    assert_eq!(started["status"], "running");
    assert!(server.wait().await.unwrap().success());
    site.services.set_faults(ServiceKind::User, vec![]);
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let ended = site.until_all_ended(TENANT).await;
    assert_eq!(ended, [(started["workflow_id"].as_str().unwrap().to_owned(), "Completed".to_owned())]);
}

/// Everything in one process: the services go after the engine that calls them.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_is_stopped_fails_nothing() {
    let site = Site::new().await;
    let mut ports = Vec::new();
    for variable in SERVICE_VARIABLES {
        ports.push((variable, format!("http://127.0.0.1:{}", free_port().await)));
    }
    let mut trial = site.spawn_as("dev", &ports);
    site.until_up(&mut trial).await;
    // At every step some are under way when the signal comes.
    for (_, url) in &ports {
        let faults = json!([{ "method": "POST", "fault": { "kind": "delay", "delay_ms": 1000 } }]);
        let set = site.http.put(format!("{url}/_control/faults")).json(&faults).send().await.unwrap();
        assert_eq!(set.status(), 200);
    }
    let emails: Vec<String> = (0..200).map(|number| format!("stopped-{number}@example.com")).collect();
    let mut started = 0;
    for part in emails.chunks(20) {
        started += join_all(part.iter().map(|email| site.start(TENANT, email))).await.iter().flatten().count();
    }
    assert_eq!(started, 200);
    pause(Duration::from_millis(500)).await;
    let under_way = site.list(TENANT).await.iter().filter(|(_, status)| status == "Running").count();
    assert!(under_way > 50, "only {under_way} are under way");
    terminate(&trial).await;
    assert!(trial.wait().await.unwrap().success());
    let mut trial = site.spawn_as("dev", &ports);
    site.until_up(&mut trial).await;
    let ended = site.until_all_ended(TENANT).await;
    let failed: Vec<_> = ended.iter().filter(|(_, status)| status != "Completed").collect();
    assert!(failed.is_empty() && ended.len() == 200, "{} of {} failed: {failed:?}", failed.len(), ended.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trials_services_are_for_this_machine_only() {
    let site = Site::new().await;
    let mut ports = Vec::new();
    for variable in SERVICE_VARIABLES {
        ports.push((variable, format!("http://localhost:{}", free_port().await)));
    }
    let mut trial = site.spawn_as("dev", &ports);
    site.until_up(&mut trial).await;
    let urls = ports.iter().flat_map(|(_, url)| [format!("{url}/health"), format!("{url}/_control/faults")]);
    for url in urls.chain([site.url("/health")]) {
        let ask = |host: &str| site.http.get(&url).header("host", host).send();
        let refused = ask("evil.example").await.unwrap();
        assert_eq!(refused.status(), 421, "{url}");
        assert_eq!(refused.headers()["content-type"], "application/problem+json", "{url}");
        for host in ["localhost", "127.0.0.1:1", "[::1]:1"] {
            assert_eq!(ask(host).await.unwrap().status(), 200, "{url} as {host}");
        }
    }
}
