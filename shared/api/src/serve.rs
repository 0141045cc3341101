//! What surrounds every endpoint: request ids, problem documents, records of denials, panics, unknown paths and methods.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use clock::{Clock, SharedClock};
use futures::FutureExt as _;

use store::Audit;

use crate::Problem;
use crate::arriving::Bodies;
use crate::audit::{RequestFacts, record_problem};

const PROBLEM_DOCUMENT: HeaderValue = HeaderValue::from_static("application/problem+json");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Completes routes to something that can be served. What callers who are known were denied goes to the audit log, and some of
/// their mistakes do; there is none where no route asks who calls.
pub fn complete(
    routes: Router,
    clock: SharedClock,
    request_timeout: Duration,
    audit: Option<Arc<dyn Audit>>,
) -> Router {
    routes
        .fallback(async || Problem::not_found("There is nothing at this path."))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(from_fn_with_state(
            Around { bodies: Bodies::new(Arc::clone(&clock), request_timeout), clock, request_timeout, audit },
            around,
        ))
}

/// Completes routes whose bodies and answers are streams of any length: they look after their own limits.
pub(crate) fn complete_streams(routes: Router, clock: SharedClock, audit: Arc<dyn Audit>) -> Router {
    let around =
        async |State((clock, audit)): State<(SharedClock, Arc<dyn Audit>)>, mut request: Request, next: Next| {
            let (request_id, instance) = (request_id(&*clock, &request), request.uri().path().to_owned());
            let facts = RequestFacts::of(&request, request_id.clone());
            request.extensions_mut().insert(facts.clone());
            let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_panic| Problem::internal().into_response());
            if let Some(problem) = answer.extensions().get::<Problem>().cloned() {
                record_problem(Some(&*audit), &facts, &problem, &*clock).await;
            }
            completed(answer, &instance, &request_id)
        };
    let routes = routes.method_not_allowed_fallback(async || Problem::method_not_allowed());
    routes.layer(from_fn_with_state((clock, audit), around))
}

/// The complete answer to what is refused before it reaches the routes. `instance` is its path, as far as that is known.
pub fn refuse(problem: Problem, instance: &str, clock: &dyn Clock) -> Response<String> {
    let request_id = contracts::ids::new_request_id(clock.now());
    let document = problem.document(instance, &request_id).to_string();
    let (mut parts, _) = problem.into_response().into_parts();
    parts.headers.insert(header::CONTENT_TYPE, PROBLEM_DOCUMENT);
    insert_common(&mut parts.headers, &request_id);
    Response::from_parts(parts, document)
}

/// What it takes to surround a request.
#[derive(Clone)]
struct Around {
    bodies: Bodies,
    clock: SharedClock,
    request_timeout: Duration,
    audit: Option<Arc<dyn Audit>>,
}

async fn around(State(state): State<Around>, mut request: Request, next: Next) -> Response {
    let request_id = request_id(&*state.clock, &request);
    let instance = request.uri().path().to_owned();
    let facts = RequestFacts::of(&request, request_id.clone());
    request.extensions_mut().insert(facts.clone());
    // Until the answer is there: what was read may be in use as long.
    let (request, room) = match state.bodies.limit(request) {
        Ok(limited) => limited,
        Err(problem) => return completed(problem.into_response(), &instance, &request_id),
    };
    let answer = async {
        let response = next.run(request).await;
        if let Some(problem) = response.extensions().get::<Problem>().cloned() {
            record_problem(state.audit.as_deref(), &facts, &problem, &*state.clock).await;
        }
        response
    };
    let answer = AssertUnwindSafe(answer).catch_unwind();
    let response = match clock::timeout(&*state.clock, state.request_timeout, answer).await {
        // What is refused before it reaches an endpoint comes without a problem document: a path or a query that
        // cannot be decoded.
        Some(Ok(response))
            if response.status() == StatusCode::BAD_REQUEST && response.extensions().get::<Problem>().is_none() =>
        {
            Problem::malformed("The path or the query is not percent-encoded UTF-8.").into_response()
        }
        Some(Ok(response)) => response,
        Some(Err(_panic)) => Problem::internal().into_response(),
        // Where the process stands still between requests, so does what this one began.
        None => {
            let detail = "The request took too long, and it is not known what became of it: repeat it with the same \
                          Idempotency-Key, or list what there is.";
            Problem::unavailable(detail).into_response()
        }
    };
    drop(room);
    completed(response, &instance, &request_id)
}

/// The answer with its problem document, if it is one, and with the headers that all answers have.
fn completed(mut response: Response, instance: &str, request_id: &str) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let document = problem.document(instance, request_id).to_string();
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_TYPE, PROBLEM_DOCUMENT);
        response = Response::from_parts(parts, document.into());
    }
    insert_common(response.headers_mut(), request_id);
    response
}

fn insert_common(headers: &mut HeaderMap, request_id: &str) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
}

/// The caller's `X-Request-ID` where it is one, else a fresh id.
fn request_id(clock: &dyn Clock, request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if contracts::ids::is_plain_id(id) => id.to_owned(),
        _ => contracts::ids::new_request_id(clock.now()),
    }
}
