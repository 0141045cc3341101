//! Faults on demand, by route.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Service;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// Answers with this status; nothing is done.
    Status {
        /// The status.
        status: u16,
        /// With this `Retry-After`.
        #[serde(default)]
        retry_after_seconds: Option<u64>,
    },
    /// Does it, then answers with this status.
    StatusAfterEffect {
        /// The status.
        status: u16,
    },
    /// Does it, then answers late.
    Delay {
        /// How late.
        delay_ms: u64,
    },
    /// Does it late; never, if the caller has gone by then.
    DelayBeforeEffect {
        /// How late.
        delay_ms: u64,
    },
    /// Does it; the connection breaks before the answer.
    ReplyLost,
    /// The connection breaks before anything is done.
    Reset,
    /// The connection breaks at once; it is done later all the same.
    LateDelivery {
        /// How much later.
        delay_ms: u64,
    },
    /// The request arrives twice, as after a proxy's retry.
    Duplicate,
    /// Does it, and answers with something that is no JSON.
    MalformedBody,
    /// Does it, and answers with this many bytes.
    OversizedBody {
        /// How many.
        bytes: usize,
    },
    /// Does it, and answers with other ids.
    WrongId,
}

/// Which requests a fault befalls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRule {
    /// Only this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Only this route, as a template: `/api/v1/users/{user_id}`.
    #[serde(default)]
    pub route: Option<String>,
    /// Only this tenant.
    #[serde(default)]
    pub tenant_id: Option<String>,
    /// So many requests; for ever if none.
    #[serde(default)]
    pub times: Option<u32>,
    /// After letting so many pass.
    #[serde(default)]
    pub skip: u32,
    /// What goes wrong.
    pub fault: Fault,
}

/// A rule in force.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Armed {
    rule: FaultRule,
    /// Requests that it matched.
    matched: u32,
}

impl Armed {
    pub(crate) fn new(rule: FaultRule) -> Self {
        Self { rule, matched: 0 }
    }

    /// The fault, if it befalls this request.
    fn befalls(&mut self, method: &Method, route: &str, tenant_id: Option<&str>) -> Option<Fault> {
        let rule = &self.rule;
        let matches = rule.method.as_deref().is_none_or(|wanted| method.as_str().eq_ignore_ascii_case(wanted))
            && rule.route.as_deref().is_none_or(|wanted| route == wanted)
            && rule.tenant_id.as_deref().is_none_or(|wanted| tenant_id == Some(wanted));
        if !matches {
            return None;
        }
        self.matched += 1;
        let number = self.matched.checked_sub(rule.skip).filter(|number| *number >= 1)?;
        rule.times.is_none_or(|times| number <= times).then(|| rule.fault.clone())
    }
}

/// Runs the request, unless a fault befalls it.
pub(crate) async fn around(
    State(service): State<Service>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let tenant_id = request.headers().get("x-tenant-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let fault = service
        .faults()
        .iter_mut()
        .find_map(|armed| armed.befalls(request.method(), path.as_str(), tenant_id.as_deref()));
    let Some(fault) = fault else {
        return next.run(request).await;
    };
    let later = async |delay_ms| clock::sleep(&*service.clock, Duration::from_millis(delay_ms)).await;
    match fault {
        Fault::Status { status, retry_after_seconds } => {
            let mut response = status_only(status);
            if let Some(seconds) = retry_after_seconds {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Fault::StatusAfterEffect { status } => {
            next.run(request).await;
            status_only(status)
        }
        Fault::Delay { delay_ms } => {
            let response = next.run(request).await;
            later(delay_ms).await;
            response
        }
        Fault::DelayBeforeEffect { delay_ms } => {
            later(delay_ms).await;
            next.run(request).await
        }
        Fault::ReplyLost => {
            next.run(request).await;
            broken()
        }
        Fault::Reset => broken(),
        Fault::LateDelivery { delay_ms } => {
            // The body must not depend on the connection that is about to break.
            let [request, _] = twice(request).await;
            let task_clock = service.clock.clone();
            clock::spawn(&service.clock, async move {
                clock::sleep(&*task_clock, Duration::from_millis(delay_ms)).await;
                next.run(request).await;
            });
            broken()
        }
        Fault::Duplicate => {
            let [first, second] = twice(request).await;
            next.clone().run(first).await;
            next.run(second).await
        }
        Fault::MalformedBody => with_body(next.run(request).await, Body::from("<html>502 Bad Gateway</html>")),
        Fault::OversizedBody { bytes } => {
            let filler = Bytes::from(format!("{{\"filler\":\"{}\"}}", "x".repeat(bytes)));
            with_body(next.run(request).await, Body::from(filler))
        }
        Fault::WrongId => wrong_id(next.run(request).await).await,
    }
}

/// Two requests like this one, each with the whole body.
async fn twice(request: Request) -> [Request; 2] {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    [Request::from_parts(parts.clone(), Body::from(body.clone())), Request::from_parts(parts, Body::from(body))]
}

fn status_only(status: u16) -> Response {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

/// A reply that ends in the middle: over a socket the connection is closed, in process reading fails.
fn broken() -> Response {
    let chunks = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("the connection broke"))];
    Response::new(Body::from_stream(stream::iter(chunks)))
}

fn with_body(response: Response, body: Body) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}

/// Replaces every id in the answer.
async fn wrong_id(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    replace_ids(&mut answer);
    with_body(Response::from_parts(parts, Body::empty()), Body::from(answer.to_string()))
}

fn replace_ids(value: &mut Value) {
    for (name, value) in value.as_object_mut().into_iter().flatten() {
        if name.ends_with("_id") {
            *value = "somebody-else".into();
        } else {
            replace_ids(value);
        }
    }
}
