//! A process that lacks something for a connection, and what services ask for with `Retry-After`.

use std::collections::VecDeque;
use std::fs::File;
use std::process::Command;

use clock::{Clock as _, SharedClock, VirtualClock};
use http::header::RETRY_AFTER;
use rustix::process::{Resource, getrlimit};

use super::sockets::{closing, serve};
use super::*;
use crate::{HttpTransport, Shortage};

/// A clock that only this test reads, and a client on it whose calls end within 10 s.
fn on_virtual_time(transport: impl Transport + 'static) -> (VirtualClock, Downstream) {
    let clock = VirtualClock::new(NOW.parse().expect("a time"));
    let endpoints = Endpoints::new(["http://127.0.0.1:1"; 5]).expect("loopback");
    let shared: SharedClock = Arc::new(clock.clone());
    (clock, Downstream::new(Arc::new(transport), endpoints, shared, Duration::from_secs(10)))
}

/// Comes to these, one after the other, and then to the last one again and again.
struct OneAfterTheOther(Mutex<VecDeque<Result<Value, TransportFault>>>);

#[async_trait]
impl Transport for OneAfterTheOther {
    async fn send(&self, _: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let mut outcomes = self.0.lock().expect("no panic");
        let outcome = if outcomes.len() > 1 { outcomes.pop_front() } else { outcomes.front().cloned() };
        let answer = outcome.expect("an outcome")?;
        Ok(http::Response::new(Bytes::from(answer.to_string())))
    }
}

#[tokio::test]
async fn a_shortage_is_waited_for() {
    let context = json!({ "updated_at": NOW, "new_context": {} });
    let mut outcomes = VecDeque::from(vec![Err(TransportFault::Shortage(Shortage::Ports)); 10]);
    outcomes.push_back(Ok(context));
    let (clock, downstream) = on_virtual_time(OneAfterTheOther(Mutex::new(outcomes)));
    assert_eq!(name_of(user::put_tenant_context(&downstream, &switch(), key()).await), None);
    let waited = clock.now().duration_since(NOW.parse().expect("a time"));
    assert_eq!(waited.as_millis(), 50 + 100 + 200 + 400 + 800 + 5 * 1_000);
}

#[tokio::test]
async fn a_shortage_that_lasts_is_this_processes_own() {
    for (shortage, message) in [
        (Shortage::Descriptors, "no connection to user: this process has no file descriptor left"),
        (Shortage::Memory, "no connection to user: this process has no memory left"),
        (Shortage::Ports, "no connection to user: this process has no local port or address for it"),
        (Shortage::Certificates, "no connection to user: this process cannot read the certificates that it trusts"),
    ] {
        let outcomes = VecDeque::from([Err(TransportFault::Shortage(shortage))]);
        let (clock, downstream) = on_virtual_time(OneAfterTheOther(Mutex::new(outcomes)));
        let error = user::put_tenant_context(&downstream, &switch(), key()).await.expect_err("no socket");
        assert_eq!((error.to_string(), error.cause.service), (format!("ServiceUnreachable: {message}"), None));
        let waited = clock.now().duration_since(NOW.parse().expect("a time")).as_secs();
        assert!((9..=10).contains(&waited), "{waited} s");
    }
}

/// Takes every file descriptor that this process may still have.
fn all_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Runs itself in a process of its own, which may have few file descriptors and runs nothing else.
#[tokio::test]
async fn a_process_without_file_descriptors_waits_for_one() {
    const FEW: u64 = 64;
    if getrlimit(Resource::Nofile).current.is_none_or(|limit| limit > FEW) {
        let name = "tests::shortages::a_process_without_file_descriptors_waits_for_one";
        let program = std::env::current_exe().expect("this program");
        let script = format!("ulimit -n {FEW} && exec \"$0\" --exact {name}");
        let output = Command::new("sh").args(["-c", &script]).arg(program).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let context = json!({ "updated_at": NOW, "new_context": {} }).to_string();
    let (port, seen) = serve(closing("200 OK", "", &context)).await;
    let [used, new] = [(); 2].map(|()| Arc::new(HttpTransport::default()));
    let within = |transport: &Arc<HttpTransport>, deadline: Duration| {
        let urls = [(); 5].map(|()| format!("http://127.0.0.1:{port}"));
        let endpoints = Endpoints::new(urls.each_ref().map(String::as_str)).expect("loopback");
        Downstream::new(transport.clone(), endpoints, Arc::new(SystemClock), deadline)
    };
    let call = async |downstream: Downstream| user::put_tenant_context(&downstream, &switch(), key()).await;
    let patience = Duration::from_secs(10);
    assert_eq!(name_of(call(within(&used, patience)).await), None);
    for transport in [&used, &new] {
        let taken = all_descriptors();
        let error = call(within(transport, Duration::from_millis(200))).await.expect_err("no socket");
        let text = error.to_string();
        assert!(text.starts_with("ServiceUnreachable: no connection to user: this process "), "{text}");
        assert_eq!(error.cause.service, None);
        seen.lock().expect("no panic").clear();
        let freed = async {
            clock::sleep(&SystemClock, Duration::from_millis(300)).await;
            drop(taken);
        };
        let (outcome, ()) = tokio::join!(call(within(transport, patience)), freed);
        assert_eq!(name_of(outcome), None);
        assert_eq!(seen.lock().expect("no panic").len(), 1);
    }
}

/// Answers 503 with this wish.
struct Busy(&'static str);

#[async_trait]
impl Transport for Busy {
    async fn send(&self, _: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let answer = http::Response::builder().status(503).header(RETRY_AFTER, self.0);
        Ok(answer.body(Bytes::new()).expect("an answer"))
    }
}

#[tokio::test]
async fn a_wish_for_patience_is_read_in_both_forms() {
    for (wish, seconds) in [("6", 6), ("Sun, 01 Mar 2026 08:00:06 GMT", 6), ("Sun, 01 Mar 2026 07:59:00 GMT", 0)] {
        let (_, downstream) = on_virtual_time(Busy(wish));
        let error = tenant::context(&downstream, "t").await.expect_err("503");
        assert_eq!(error.cause.retry_after_seconds, Some(seconds), "{wish}");
    }
}
