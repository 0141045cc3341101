//! How a request reaches a service.

use std::collections::HashMap;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use contracts::limits::MAX_SERVICE_REPLY_BYTES;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// Why there is no usable answer. Whether the effect happened is unknown in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportFault {
    /// No connection, or it broke before the answer was complete.
    #[error("could not be reached, or the connection broke")]
    Broken,
    /// The answer is larger than anything we would read.
    #[error("answered with more than {MAX_SERVICE_REPLY_BYTES} bytes")]
    TooLarge,
}

/// Sends one request and reads the whole answer.
#[async_trait]
pub trait Transport: Send + Sync {
    /// One attempt; no retries, no redirects.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault>;
}

/// Over the network.
#[derive(Debug, Clone)]
pub struct HttpTransport(reqwest::Client);

impl HttpTransport {
    /// A client that follows no redirects and uses no proxy: hosts are the configured ones and no others.
    pub fn new() -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder();
        let builder = builder.redirect(reqwest::redirect::Policy::none()).no_proxy().pool_max_idle_per_host(32);
        builder.retry(reqwest::retry::never()).build().map(Self)
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let request = reqwest::Request::try_from(request).map_err(|_| TransportFault::Broken)?;
        let mut answer = self.0.execute(request).await.map_err(|_| TransportFault::Broken)?;
        let mut reply = http::Response::new(Bytes::new());
        *reply.status_mut() = answer.status();
        *reply.headers_mut() = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| TransportFault::Broken)? {
            append(&mut body, &chunk)?;
        }
        *reply.body_mut() = body.freeze();
        Ok(reply)
    }
}

/// To services in the same process, by authority (`127.0.0.1:8081`): no socket, so that tests can run in virtual time.
#[derive(Clone, Default)]
pub struct InProcess(HashMap<String, Router>);

impl InProcess {
    /// Serves this authority with that router.
    pub fn with(mut self, authority: &str, router: Router) -> Self {
        self.0.insert(authority.to_owned(), router);
        self
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let router = self.0.get(&authority).cloned().ok_or(TransportFault::Broken)?;
        let answer = router.oneshot(request.map(Body::from)).await.map_err(|never| match never {})?;
        let (parts, mut stream) = answer.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = stream.frame().await {
            if let Ok(chunk) = frame.map_err(|_| TransportFault::Broken)?.into_data() {
                append(&mut body, &chunk)?;
            }
        }
        Ok(http::Response::from_parts(parts, body.freeze()))
    }
}

fn append(body: &mut BytesMut, chunk: &[u8]) -> Result<(), TransportFault> {
    if body.len() + chunk.len() > MAX_SERVICE_REPLY_BYTES {
        return Err(TransportFault::TooLarge);
    }
    body.extend_from_slice(chunk);
    Ok(())
}
