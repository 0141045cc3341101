//! What answers the requests of one connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::Problem;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONNECTION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use tower::ServiceExt as _;

use super::doing::{Doing, UnderWay};
use super::hosts::Hosts;

/// What is answered in any case.
const ABOUT_HEALTH: [&str; 2] = ["/health", "/ready"];

/// Checks the requests of a connection and hands them to the routes.
pub(super) struct Answering {
    router: Router,
    hosts: Arc<Hosts>,
    doing: Arc<Doing>,
}

impl Answering {
    pub(super) fn new(router: Router, hosts: Arc<Hosts>, doing: Arc<Doing>) -> Self {
        Self { router, hosts, doing }
    }

    fn check(&self, request: &Parts) -> Result<(), Problem> {
        if self.doing.slot.is_spare() && !ABOUT_HEALTH.contains(&request.uri.path()) {
            return Err(Problem::busy("There are too many connections. The request was not accepted."));
        }
        self.hosts.check(request)
    }
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Answer>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let under_way = self.doing.begin();
        let is_spare = self.doing.slot.is_spare();
        let (parts, body) = request.into_parts();
        let answer = match self.check(&parts) {
            Ok(()) => self.router.clone().oneshot(Request::from_parts(parts, Body::new(body))).left_future(),
            Err(problem) => {
                let refusal = api::refuse(problem, parts.uri.path(), &**self.doing.clock());
                std::future::ready(Ok(refusal.map(Body::from))).right_future()
            }
        };
        let answer = answer.map(move |answered| {
            answered.map(|mut answer| {
                if is_spare {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer.map(|body| Answer { body, _under_way: under_way })
            })
        });
        answer.boxed()
    }
}

/// The body of an answer. Its request is under way until it has been handed over.
pub(super) struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
