//! One call, and what its outcome means.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clock::SharedClock;
use contracts::{ActivityError, Cause, ErrorName, Timestamp, redacted};
use futures::TryStreamExt as _;
use http::{HeaderMap, StatusCode, Uri};
use serde::de::DeserializeOwned;

use crate::transport::{Body, Transport, whole};
use crate::{Call, TransportFault, retry_after};

/// The first wait for what this process lacks for a connection; each further one is twice as long.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);
/// The longest of these waits.
const MAX_SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

/// The services we call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Accounts, credentials, sessions.
    Auth,
    /// Profiles.
    User,
    /// Tenants and memberships.
    Tenant,
    /// Workspaces and files.
    File,
    /// Mail and other notices, behind the API gateway.
    Notifications,
}

impl Service {
    /// Every service, those that others depend on first.
    pub const ALL: [Self; 5] = [Self::Auth, Self::User, Self::Tenant, Self::File, Self::Notifications];

    /// The name in causes and checks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::File => "file",
            Self::Notifications => "notifications",
        }
    }
}

/// Where the services are: base URLs, `https` only except on a loopback address. The default is nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints([String; 5]);

/// A base URL that is not to be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{url}' {problem}")]
pub struct InvalidEndpoint {
    /// Without what is secret.
    url: String,
    problem: &'static str,
}

impl Endpoints {
    /// Checks the base URLs, given in the order of [`Service::ALL`]; every bad one is reported.
    pub fn new(urls: [&str; 5]) -> Result<Self, Vec<(Service, InvalidEndpoint)>> {
        let bad: Vec<_> = Service::ALL
            .into_iter()
            .zip(urls)
            .filter_map(|(service, url)| {
                let problem = check(url).err()?;
                Some((service, InvalidEndpoint { url: redacted(url), problem }))
            })
            .collect();
        if bad.is_empty() { Ok(Self(urls.map(|url| url.trim_end_matches('/').to_owned()))) } else { Err(bad) }
    }

    pub(crate) fn base(&self, service: Service) -> &str {
        &self.0[service as usize]
    }
}

fn check(url: &str) -> Result<(), &'static str> {
    // Before the URL is parsed, which drops a fragment and does not accept every password.
    for (mark, problem) in [('@', "has user information"), ('#', "has a fragment"), ('?', "has a query")] {
        if url.contains(mark) {
            return Err(problem);
        }
    }
    let uri: Uri = url.parse().map_err(|_| "is no URL")?;
    let host = uri.host().ok_or("has no host")?;
    let is_loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback => Ok(()),
        Some("http") => Err("must use https: only a loopback address may do without"),
        _ => Err("has neither the scheme https nor http"),
    }
}

/// The client of all services.
#[derive(Clone)]
pub struct Downstream {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) endpoints: Endpoints,
    pub(crate) clock: SharedClock,
    deadline: Duration,
    traceparent: Option<String>,
    fence: Option<String>,
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downstream").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Downstream {
    /// A client whose every call ends within `deadline`.
    pub fn new(transport: Arc<dyn Transport>, endpoints: Endpoints, clock: SharedClock, deadline: Duration) -> Self {
        Self { transport, endpoints, clock, deadline, traceparent: None, fence: None }
    }

    /// The same client, whose calls carry this W3C trace context.
    pub fn traced(&self, traceparent: Option<String>) -> Self {
        Self { traceparent, ..self.clone() }
    }

    /// The same client, whose calls carry the number of the lease under which they write: a service refuses them once it has
    /// seen a higher one. An undo needs none. It takes back only what its own key did, and nothing that somebody has changed
    /// since, so it does no harm after the lease is lost.
    pub fn fenced(&self, fence: Option<u64>) -> Self {
        Self { fence: fence.map(|fence| fence.to_string()), ..self.clone() }
    }

    /// Makes the call; the answer must be JSON of this type.
    pub async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, ActivityError> {
        let service = call.service;
        read(service, &self.send(call).await?)
    }

    async fn send(&self, call: Call<'_>) -> Result<Bytes, ActivityError> {
        let service = call.service;
        let request = self.request(call)?;
        match self.answer(request).await {
            None => Err(self.too_late(service)),
            Some(Err(fault)) => Err(unanswered(service, fault)),
            Some(Ok(answer)) if answer.status().is_success() => Ok(answer.into_body()),
            Some(Ok(answer)) => Err(refusal(service, answer.status(), answer.headers(), self.clock.now())),
        }
    }

    /// Makes a call whose answer, or whose body, is too large to be read whole. The head of the answer and each part of it
    /// come within the deadline; a body that is sent may take as long as it does.
    pub(crate) async fn exchange(
        &self,
        call: Call<'_>,
        body: Option<Body>,
    ) -> Result<http::Response<Body>, ActivityError> {
        let service = call.service;
        let request = self.request(call)?;
        let answer = match body {
            Some(body) => Some(self.transport.exchange(request.map(|_| body)).await),
            None => clock::timeout(&*self.clock, self.deadline, self.transport.exchange(request.map(whole))).await,
        };
        let answer = answer.ok_or_else(|| self.too_late(service))?.map_err(|fault| unanswered(service, fault))?;
        if !answer.status().is_success() {
            return Err(refusal(service, answer.status(), answer.headers(), self.clock.now()));
        }
        Ok(answer)
    }

    /// The next part of an answer; none after its end.
    pub(crate) async fn next_part(&self, service: Service, body: &mut Body) -> Result<Option<Bytes>, ActivityError> {
        match clock::timeout(&*self.clock, self.deadline, body.try_next()).await {
            None => Err(self.too_late(service)),
            Some(part) => part.map_err(|fault| unanswered(service, fault)),
        }
    }

    /// The answer as JSON of this type; none if it has more bytes than `max`.
    pub(crate) async fn call_within<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        max: usize,
    ) -> Result<Option<T>, ActivityError> {
        let service = call.service;
        let mut body = self.exchange(call, None).await?.into_body();
        let mut text = BytesMut::new();
        while let Some(part) = self.next_part(service, &mut body).await? {
            if text.len() + part.len() > max {
                return Ok(None);
            }
            text.extend_from_slice(&part);
        }
        read(service, &text).map(Some)
    }

    fn too_late(&self, service: Service) -> ActivityError {
        let message = format!("did not answer within {} s", self.deadline.as_secs_f64());
        failure(service, ErrorName::ServiceTimeout, message)
    }

    fn request(&self, call: Call<'_>) -> Result<http::Request<Bytes>, ActivityError> {
        let service = call.service;
        let path =
            call.path.ok_or_else(|| failure(service, ErrorName::InvalidInput, "an id cannot stand in a path"))?;
        let mut request = http::Request::builder()
            .method(call.method)
            .uri(format!("{}{path}", self.endpoints.base(service)))
            .header("accept", "application/json")
            .header("x-tenant-id", call.tenant_id);
        let headers = [
            ("x-user-id", call.user_id),
            ("idempotency-key", call.idempotency_key.as_deref()),
            ("traceparent", self.traceparent.as_deref()),
            ("x-fence", self.fence.as_deref()),
            ("content-type", call.body.is_some().then_some("application/json")),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let body = call.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        request.body(body).map_err(|_| failure(service, ErrorName::Internal, "the request cannot be put into HTTP"))
    }

    /// What comes of sending it, or none if that is not known by the deadline. While this process lacks something for a
    /// connection it has sent nothing, so it waits and sends later: such a wait is no attempt of a step.
    async fn answer(&self, request: http::Request<Bytes>) -> Option<Result<http::Response<Bytes>, TransportFault>> {
        let deadline = self.clock.instant() + self.deadline;
        let mut pause = SHORTAGE_PAUSE;
        loop {
            let left = deadline.since(self.clock.instant());
            let answer = clock::timeout(&*self.clock, left, self.transport.send(request.clone())).await;
            let is_short = matches!(answer, Some(Err(TransportFault::Shortage(_))));
            if !is_short || self.clock.instant() + pause >= deadline {
                return answer;
            }
            clock::sleep(&*self.clock, pause).await;
            pause = (pause * 2).min(MAX_SHORTAGE_PAUSE);
        }
    }
}

fn read<T: DeserializeOwned>(service: Service, body: &[u8]) -> Result<T, ActivityError> {
    serde_json::from_slice(body).map_err(|_| {
        // The effect has most likely happened: repeating with the same key answers it properly, or is undone.
        failure(service, ErrorName::ServiceUnavailable, "answered with something else than the contract says")
    })
}

/// An error of a call without an answer. What this process lacks is not put down to the service.
fn unanswered(service: Service, fault: TransportFault) -> ActivityError {
    match fault {
        TransportFault::Shortage(shortage) => {
            let message = format!("no connection to {}: {shortage}", service.as_str());
            ActivityError::new(fault.error_name(), message)
        }
        fault => failure(service, fault.error_name(), fault.to_string()),
    }
}

/// An error of this service.
pub(crate) fn failure(service: Service, name: ErrorName, message: impl Into<String>) -> ActivityError {
    let mut error = ActivityError::new(name, message);
    error.cause.service = Some(service.as_str().to_owned());
    error
}

/// Refuses the answer if it is about something else than what was asked for.
pub(crate) fn expect_same(service: Service, asked: &str, answered: &str, message: &str) -> Result<(), ActivityError> {
    if answered == asked { Ok(()) } else { Err(failure(service, ErrorName::IntegrityViolation, message)) }
}

/// What a status other than success means.
fn refusal(service: Service, status: StatusCode, headers: &HeaderMap, now: Timestamp) -> ActivityError {
    let name = match status {
        StatusCode::TOO_MANY_REQUESTS => ErrorName::ServiceThrottled,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => ErrorName::ServiceTimeout,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorName::AccessDenied,
        StatusCode::NOT_FOUND => ErrorName::NotFound,
        StatusCode::CONFLICT => ErrorName::Conflict,
        status if status.is_server_error() => ErrorName::ServiceUnavailable,
        _ => ErrorName::ServiceRejected,
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let cause = Cause {
        service: Some(service.as_str().to_owned()),
        step: None,
        message: format!("answered {}", status.as_u16()),
        http_status: Some(status.as_u16()),
        retry_after_seconds: retry_after::seconds(headers, now),
        upstream_request_id: header("x-request-id").filter(|id| contracts::ids::is_plain_id(id)).map(str::to_owned),
    };
    ActivityError { error: name.to_string(), cause: Box::new(cause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        for url in ["http://localhost:8081", "http://127.0.0.1:1", "http://[::1]:1", "https://auth.example.com/base/"] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for url in ["http://auth.example.com", "ftp://localhost", "localhost:8081", "not a url", ""] {
            assert!(check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_base_url_has_no_query_fragment_or_user_information() {
        for (url, problem) in [
            ("https://a.example?b=c", "'https://a.example?***' has a query"),
            ("https://a.example/#part", "'https://a.example/#***' has a fragment"),
            ("https://user@a.example", "'https://***@a.example' has user information"),
            ("https://user:hunter2@a.example", "'https://***@a.example' has user information"),
            ("https://user:hunt er/2@a.example", "'https://***@a.example' has user information"),
        ] {
            let bad = Endpoints::new([url, "x", "x", "x", "x"]).expect_err(url);
            assert_eq!(bad[0].1.to_string(), problem);
        }
    }

    #[test]
    fn every_bad_endpoint_is_reported() {
        let bad =
            Endpoints::new(["http://a.example", "http://localhost:1", "x", "https://b.example", "http://1.2.3.4"]);
        let services: Vec<_> = bad.expect_err("three are bad").into_iter().map(|(service, _)| service).collect();
        assert_eq!(services, [Service::Auth, Service::Tenant, Service::Notifications]);
    }
}
