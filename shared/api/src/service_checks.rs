//! Asks the services whether they are healthy, for `/ready` and for whoever wants to know more.

use std::sync::Arc;
use std::time::Duration;

use clock::{Instant, SharedClock, Timestamp};
use downstream::{Downstream, Health, Service};
use tokio::sync::Mutex;

/// How long an answer counts: `/ready` is open to anybody, and must not be a way to load the services.
const ANSWER_COUNTS: Duration = Duration::from_secs(2);

/// Asks the services; one that was asked a moment ago is not asked again. Clones share what they know.
#[derive(Clone)]
pub struct ServiceChecks(Arc<Inner>);

struct Inner {
    downstream: Downstream,
    clock: SharedClock,
    /// The last answers. Who asks a service holds its place, and those who wait for it get the same answer.
    last: [Mutex<Option<Checked>>; Service::ALL.len()],
}

/// What a service's last answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    /// When it came.
    pub(crate) at: Timestamp,
    asked: Instant,
    pub(crate) health: Health,
}

impl ServiceChecks {
    /// Asks these services.
    pub fn new(downstream: Downstream, clock: SharedClock) -> Self {
        Self(Arc::new(Inner { downstream, clock, last: Default::default() }))
    }

    /// Whether every service is healthy; if not, which are not.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let asked = Service::ALL.map(|service| {
            let checks = self.clone();
            async move { checks.of(service).await }
        });
        let answers = clock::spawn_all(&self.0.clock, asked).await;
        let is_healthy = |answer: &Option<Checked>| answer.is_some_and(|answer| answer.health.fault.is_none());
        let silent = Service::ALL.into_iter().zip(&answers).filter(|(_, answer)| !is_healthy(answer));
        let silent: Vec<&str> = silent.map(|(service, _)| service.as_str()).collect();
        if silent.is_empty() { Ok(()) } else { Err(format!("no answer from {}", silent.join(", "))) }
    }

    /// The answer of this service, not older than a moment.
    pub(crate) async fn of(&self, service: Service) -> Checked {
        let Inner { downstream, clock, last } = &*self.0;
        let last = &last[service as usize];
        let mut last = match last.try_lock() {
            Ok(last) => last,
            Err(_) => clock::park(&**clock, last.lock()).await,
        };
        match &*last {
            Some(checked) if clock.instant().since(checked.asked) < ANSWER_COUNTS => *checked,
            Some(_) | None => {
                let health = downstream.health(service).await;
                *last.insert(Checked { at: clock.now(), asked: clock.instant(), health })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as BlockingMutex;

    use async_trait::async_trait;
    use axum::body::Bytes;
    use axum::http::{Request, Response, StatusCode};
    use clock::VirtualClock;
    use downstream::{Endpoints, HealthFault, Transport, TransportFault};

    use super::*;

    /// Services of which one is slow, one is unreachable and one answers 503; it remembers who was asked.
    struct Faulty {
        clock: SharedClock,
        asked: BlockingMutex<Vec<u16>>,
    }

    #[async_trait]
    impl Transport for Faulty {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportFault> {
            assert_eq!(request.uri().path(), "/health");
            let port = request.uri().port_u16().expect("a port");
            self.asked.lock().expect("no panic").push(port);
            let mut answer = Response::new(Bytes::from_static(b"words of the service's own"));
            match port {
                1 => clock::sleep(&*self.clock, Duration::from_secs(60)).await,
                2 => return Err(TransportFault::Unreachable),
                3 => *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
                _ => clock::sleep(&*self.clock, Duration::from_secs(1)).await,
            }
            Ok(answer)
        }
    }

    fn faulty() -> (SharedClock, Arc<Faulty>, ServiceChecks) {
        faulty_by(&VirtualClock::new(Timestamp::UNIX_EPOCH))
    }

    fn faulty_by(clock: &VirtualClock) -> (SharedClock, Arc<Faulty>, ServiceChecks) {
        let clock: SharedClock = Arc::new(clock.clone());
        let transport = Arc::new(Faulty { clock: Arc::clone(&clock), asked: BlockingMutex::default() });
        let urls = ["1", "2", "3", "4", "5"].map(|port| format!("http://127.0.0.1:{port}"));
        let endpoints = Endpoints::new(urls.each_ref().map(String::as_str)).expect("loopback");
        let downstream = Downstream::new(transport.clone(), endpoints, Arc::clone(&clock), Duration::from_secs(10));
        (Arc::clone(&clock), transport, ServiceChecks::new(downstream, clock))
    }

    #[tokio::test]
    async fn all_are_asked_at_once_and_those_that_are_not_healthy_are_named() {
        let (clock, transport, checks) = faulty();
        assert_eq!(checks.check().await, Err("no answer from auth, user, tenant".to_owned()));
        assert_eq!(clock.now().as_second(), 5, "as long as one may take");
        assert_eq!(transport.asked.lock().expect("no panic").len(), 5);
    }

    #[tokio::test]
    async fn a_fault_is_told_from_others() {
        let (_, _, checks) = faulty();
        let mut told = Vec::new();
        for service in Service::ALL {
            let Health { latency, fault } = checks.of(service).await.health;
            told.push((latency.as_secs(), fault));
        }
        assert_eq!(
            told,
            [
                (5, Some(HealthFault::TimedOut)),
                (0, Some(HealthFault::Transport(TransportFault::Unreachable))),
                (0, Some(HealthFault::Answered(503))),
                (1, None),
                (1, None),
            ]
        );
    }

    #[tokio::test]
    async fn an_answer_counts_for_a_moment() {
        let (clock, transport, checks) = faulty();
        let first = checks.of(Service::Tenant).await;
        clock::sleep(&*clock, Duration::from_secs(1)).await;
        assert_eq!(checks.of(Service::Tenant).await, first);
        assert_eq!(*transport.asked.lock().expect("no panic"), [3]);
        clock::sleep(&*clock, ANSWER_COUNTS).await;
        assert_ne!(checks.of(Service::Tenant).await, first);
        assert_eq!(*transport.asked.lock().expect("no panic"), [3, 3]);
    }

    #[tokio::test]
    async fn an_answer_counts_no_longer_when_the_clock_is_set_back() {
        let virtual_clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
        let (clock, transport, checks) = faulty_by(&virtual_clock);
        let first = checks.of(Service::Tenant).await;
        clock::sleep(&*clock, Duration::from_secs(10)).await;
        virtual_clock.jump_to(first.at);
        checks.of(Service::Tenant).await;
        assert_eq!(*transport.asked.lock().expect("no panic"), [3, 3]);
    }

    #[tokio::test]
    async fn fifty_who_ask_at_once_ask_once() {
        let (clock, transport, checks) = faulty();
        let askers = (0..50).map(|_| {
            let checks = checks.clone();
            async move { checks.of(Service::File).await }
        });
        let answers = clock::spawn_all(&clock, askers).await;
        assert!(answers.iter().all(|answer| answer.is_some() && *answer == answers[0]), "{answers:?}");
        assert_eq!(*transport.asked.lock().expect("no panic"), [4]);
    }
}
