//! How a request reaches a service.

use std::sync::OnceLock;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use contracts::limits::MAX_SERVICE_REPLY_BYTES;

/// Why there is no usable answer. Whether the effect happened is unknown in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportFault {
    /// No connection: it was refused, or there is no such host.
    #[error("could not be reached")]
    Unreachable,
    /// The connection broke before the answer was complete.
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

/// Over the network. Its client is made with the first call, which a function that starts need not wait for.
#[derive(Debug)]
pub struct HttpTransport {
    client: OnceLock<reqwest::Client>,
    kept_per_service: usize,
}

/// Connections to a service that are kept for the next call, where nothing else is said.
const KEPT_PER_SERVICE: usize = 32;

impl Default for HttpTransport {
    fn default() -> Self {
        Self::keeping(KEPT_PER_SERVICE)
    }
}

impl HttpTransport {
    /// Keeps at most so many connections to each service for the next call.
    pub fn keeping(kept_per_service: usize) -> Self {
        Self { client: OnceLock::new(), kept_per_service }
    }

    /// A client that follows no redirects and uses no proxy: hosts are the configured ones and no others.
    fn client(&self) -> Result<&reqwest::Client, TransportFault> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let builder = reqwest::Client::builder();
        let builder = builder
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(self.kept_per_service);
        let client = builder.retry(reqwest::retry::never()).build().map_err(|_| TransportFault::Broken)?;
        Ok(self.client.get_or_init(|| client))
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let request = reqwest::Request::try_from(request).map_err(|_| TransportFault::Broken)?;
        let mut answer = self.client()?.execute(request).await.map_err(fault)?;
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

fn fault(error: reqwest::Error) -> TransportFault {
    if error.is_connect() { TransportFault::Unreachable } else { TransportFault::Broken }
}

fn append(body: &mut BytesMut, chunk: &[u8]) -> Result<(), TransportFault> {
    if body.len() + chunk.len() > MAX_SERVICE_REPLY_BYTES {
        return Err(TransportFault::TooLarge);
    }
    body.extend_from_slice(chunk);
    Ok(())
}
