//! Faults on demand: requests that go wrong as rules say.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clock::Clock;
use futures::stream;
use serde::Serialize;
use serde_json::Value;

use super::fault_rule::Matched;
use super::transaction::new_id;
use super::{Fault, FaultRule, Problem, Service, request};

/// The rules of a service.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Armed>>);

/// A rule with its counts.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Armed {
    #[serde(flatten)]
    rule: FaultRule,
    /// How many requests matched.
    seen: u64,
    /// How many times it fired.
    used: u64,
}

impl Faults {
    pub(crate) fn replace(&self, rules: Vec<FaultRule>) {
        let armed = |rule| Armed { rule, seen: 0, used: 0 };
        *self.lock() = rules.into_iter().map(armed).collect();
    }

    pub(crate) fn fired(&self) -> Vec<u64> {
        self.lock().iter().map(|armed| armed.used).collect()
    }

    pub(super) fn list(&self) -> Vec<Armed> {
        self.lock().clone()
    }

    /// The fault of this request, if one is due; counts it.
    fn next(&self, request: &Matched<'_>) -> Option<Fault> {
        let mut due = None;
        for armed in self.lock().iter_mut().filter(|armed| armed.rule.matches(request)) {
            armed.seen += 1;
            let is_left = armed.rule.times.is_none_or(|times| armed.used < times);
            if due.is_none() && is_left && armed.seen > armed.rule.skip {
                armed.used += 1;
                due = Some(armed.rule.fault.clone());
            }
        }
        due
    }

    /// Whether a rule looks into bodies.
    fn look_at_items(&self) -> bool {
        self.lock().iter().any(|armed| armed.rule.entity_id.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the request go wrong if a rule says so.
pub(super) async fn inject(
    State(service): State<Service>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let (request, entity_ids) = if request.method() == Method::POST && service.faults().look_at_items() {
        match with_ids(&**service.clock(), request).await {
            Ok(read) => read,
            Err(problem) => return problem.into_response(),
        }
    } else {
        (request, Vec::new())
    };
    let matched = Matched {
        method: request.method().as_str(),
        route: route.as_str(),
        tenant: request.headers().get("x-tenant-id").and_then(|value| value.to_str().ok()),
        entity_ids,
    };
    let Some(fault) = service.faults().next(&matched) else {
        return next.run(request).await;
    };
    tracing::info!(?fault, route = route.as_str(), "a fault on demand");
    match fault {
        Fault::Status { status, retry_after_seconds } => answer_status(status, retry_after_seconds),
        Fault::StatusAfterEffect { status } => {
            next.run(request).await;
            answer_status(status, None)
        }
        Fault::Delay { delay_ms } => {
            let response = next.run(request).await;
            clock::sleep(&**service.clock(), Duration::from_millis(delay_ms)).await;
            response
        }
        Fault::DelayBeforeEffect { delay_ms } => {
            clock::sleep(&**service.clock(), Duration::from_millis(delay_ms)).await;
            next.run(request).await
        }
        Fault::ReplyLost => {
            next.run(request).await;
            broken()
        }
        Fault::Reset => broken(),
        Fault::LateDelivery { delay_ms } => match twice(&**service.clock(), request).await {
            Ok([request, _]) => {
                let clock = service.clock().clone();
                clock::spawn(service.clock(), async move {
                    clock::sleep(&*clock, Duration::from_millis(delay_ms)).await;
                    next.run(request).await;
                });
                broken()
            }
            Err(problem) => problem.into_response(),
        },
        Fault::Duplicate => match twice(&**service.clock(), request).await {
            Ok([first, second]) => {
                next.clone().run(first).await;
                next.run(second).await
            }
            Err(problem) => problem.into_response(),
        },
        Fault::MalformedBody => {
            let (mut parts, _) = next.run(request).await.into_parts();
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from("<html>this is not JSON</html>"))
        }
        Fault::OversizedBody { bytes } => oversized(next.run(request).await, bytes).await,
        Fault::WrongId => {
            let (parts, mut reply) = reply(next.run(request).await).await;
            replace_ids(&mut reply, &|| new_id(service.clock()));
            Response::from_parts(parts, Body::from(reply.to_string()))
        }
    }
}

fn answer_status(status: u16, retry_after_seconds: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Problem::new(status, "a fault on demand").into_response();
    if let Some(seconds) = retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer whose body fails, upon which the server drops the connection.
fn broken() -> Response {
    let error = io::Error::from(io::ErrorKind::ConnectionReset);
    Response::new(Body::from_stream(stream::iter([Err::<Bytes, _>(error)])))
}

/// The request, and the ids of the items that its body names.
async fn with_ids(clock: &dyn Clock, request: Request) -> Result<(Request, Vec<String>), Problem> {
    let (parts, body) = request.into_parts();
    let body = request::read_body(clock, body, request::MAX_BATCH_BYTES).await?;
    let named: Value = serde_json::from_slice(&body).unwrap_or_default();
    let items = named["items"].as_array().into_iter().flatten();
    let ids = items.flat_map(|item| [&item["entity_id"], &item["id"]]);
    let ids = ids.filter_map(|id| id.as_str().map(str::to_owned)).collect();
    Ok((Request::from_parts(parts, Body::from(body)), ids))
}

/// Two requests like this one; their bodies do not depend on the connection any more.
async fn twice(clock: &dyn Clock, request: Request) -> Result<[Request; 2], Problem> {
    let (parts, body) = request.into_parts();
    let body = request::read_body(clock, body, request::MAX_BATCH_BYTES).await?;
    Ok([Request::from_parts(parts.clone(), Body::from(body.clone())), Request::from_parts(parts, Body::from(body))])
}

/// The answer's head and JSON; `null` if it is something else. The head no longer says how long the body is.
async fn reply(response: Response) -> (axum::http::response::Parts, Value) {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    (parts, serde_json::from_slice(&body).unwrap_or_default())
}

/// The answer's fields and one more that fills it up to this size.
async fn oversized(response: Response, bytes: usize) -> Response {
    const CHUNK: &[u8] = &[b'x'; 64 * 1024];
    let (parts, reply) = reply(response).await;
    let mut head = "{".to_owned();
    for (name, value) in reply.as_object().into_iter().flatten() {
        head.push_str(&format!("{}:{value},", Value::from(name.as_str())));
    }
    head.push_str("\"padding\":\"");
    let tail = Bytes::from_static(b"\"}");
    let padding = bytes.saturating_sub(head.len() + tail.len());
    let chunks = (0..padding / CHUNK.len()).map(|_| Bytes::from_static(CHUNK));
    let rest = Bytes::from_static(&CHUNK[..padding % CHUNK.len()]);
    let body = std::iter::once(Bytes::from(head)).chain(chunks).chain([rest, tail]);
    Response::from_parts(parts, Body::from_stream(stream::iter(body.map(Ok::<_, io::Error>))))
}

/// Replaces every id in the reply, at whatever depth.
fn replace_ids(value: &mut Value, other: &dyn Fn() -> String) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(id) if name.ends_with("_id") => *id = other(),
                    value => replace_ids(value, other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_ids(item, other)),
        _ => {}
    }
}
