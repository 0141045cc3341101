//! How a request reaches a service.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use contracts::limits::MAX_SERVICE_REPLY_BYTES;

use crate::TransportFault;

/// How long a connection may take. A host that has gone does not refuse it.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Sends one request and reads the whole answer.
#[async_trait]
pub trait Transport: Send + Sync {
    /// One attempt; no retries, no redirects.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault>;
}

/// Over the network. Its client is made with the first call, which a function that starts need not wait for.
#[derive(Debug, Default)]
pub struct HttpTransport(OnceLock<reqwest::Client>);

impl HttpTransport {
    /// A client that follows no redirects and uses no proxy: hosts are the configured ones and no others.
    fn client(&self) -> Result<&reqwest::Client, TransportFault> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        let builder = reqwest::Client::builder();
        let builder = builder.redirect(reqwest::redirect::Policy::none()).no_proxy().pool_max_idle_per_host(32);
        let builder = builder.retry(reqwest::retry::never()).connect_timeout(CONNECT_TIME);
        let client = builder.build().map_err(|error| TransportFault::of_client(&error))?;
        Ok(self.0.get_or_init(|| client))
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let request = reqwest::Request::try_from(request).map_err(|_| TransportFault::Unreachable)?;
        let answer = self.client()?.execute(request).await;
        let mut answer = answer.map_err(|error| TransportFault::of_request(&error))?;
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

fn append(body: &mut BytesMut, chunk: &[u8]) -> Result<(), TransportFault> {
    if body.len() + chunk.len() > MAX_SERVICE_REPLY_BYTES {
        return Err(TransportFault::TooLarge);
    }
    body.extend_from_slice(chunk);
    Ok(())
}
