//! The way to services in this very process: no socket, so that tests can run in virtual time.

use std::collections::HashMap;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use contracts::limits::MAX_SERVICE_REPLY_BYTES;
use downstream::{Transport, TransportFault};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// To services in the same process, by authority (`127.0.0.1:8081`): no socket, so that tests can run in virtual time.
#[derive(Clone, Default)]
pub(crate) struct InProcess(HashMap<String, Router>);

impl InProcess {
    /// Serves this authority with that router.
    pub(crate) fn with(mut self, authority: &str, router: Router) -> Self {
        self.0.insert(authority.to_owned(), router);
        self
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let router = self.0.get(&authority).cloned().ok_or(TransportFault::Unreachable)?;
        let answer = router.oneshot(request.map(Body::from)).await.map_err(|never| match never {})?;
        let (parts, mut stream) = answer.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = stream.frame().await {
            // A server that has sent nothing of a body when it fails has not sent the head either.
            let broken = if body.is_empty() { TransportFault::Unanswered } else { TransportFault::Broken };
            if let Ok(chunk) = frame.map_err(|_| broken)?.into_data() {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_SERVICE_REPLY_BYTES {
                    return Err(TransportFault::TooLarge);
                }
            }
        }
        Ok(http::Response::from_parts(parts, body.freeze()))
    }
}
