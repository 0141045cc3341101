//! How a request reaches a service.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use contracts::limits::MAX_SERVICE_REPLY_BYTES;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::TransportFault;

/// How long a connection may take. A host that has gone does not refuse it.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// What a request or an answer holds, in parts of any size.
pub type Body = BoxStream<'static, Result<Bytes, TransportFault>>;

/// A body of these bytes.
pub fn whole(bytes: Bytes) -> Body {
    stream::iter([Ok(bytes)]).boxed()
}

/// Sends one request: one attempt, no retries, no redirects.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Reads the whole answer, up to a limit.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault>;

    /// Sends the body as it comes, and hands over the answer's as it comes, without a limit. Who has no way to do so sends
    /// and reads it whole.
    async fn exchange(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportFault> {
        let (parts, body) = request.into_parts();
        let body: Vec<Bytes> = body.try_collect().await?;
        let request = http::Request::from_parts(parts, Bytes::from(body.concat()));
        Ok(self.send(request).await?.map(whole))
    }
}

/// How long a connection is kept that is not used. What is in front of a service closes it too, a load balancer of AWS
/// after 60 s, and a request that is sent meanwhile is lost.
const MAX_IDLE_TIME: Duration = Duration::from_secs(15);

/// Connections to a service that are kept for the next call, where nothing else is said.
const KEPT_PER_SERVICE: usize = 32;

/// Over the network. Its client is made here and now, not with the first call: Lambda gives a function more of a processor
/// to begin than to answer, and reading the machine's root certificates takes a while.
#[derive(Debug)]
pub struct HttpTransport {
    client: OnceLock<reqwest::Client>,
    kept_per_service: usize,
    idle_time: Duration,
}

impl HttpTransport {
    /// Keeps at most so many connections to each service for the next call.
    pub fn keeping(kept_per_service: usize) -> Self {
        Self::new(kept_per_service, MAX_IDLE_TIME)
    }

    /// A client that follows no redirects and uses no proxy: hosts are the configured ones and no others.
    pub(crate) fn new(kept_per_service: usize, idle_time: Duration) -> Self {
        let transport = Self { client: OnceLock::new(), kept_per_service, idle_time };
        // What it lacks now may be there at the first call.
        let _ = transport.client();
        transport
    }

    fn client(&self) -> Result<&reqwest::Client, TransportFault> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let builder = builder.pool_max_idle_per_host(self.kept_per_service).pool_idle_timeout(self.idle_time);
        let builder = builder.retry(reqwest::retry::never()).connect_timeout(CONNECT_TIME);
        let client = builder.build().map_err(|error| TransportFault::of_client(&error))?;
        Ok(self.client.get_or_init(|| client))
    }

    async fn execute(
        &self,
        request: http::Request<impl Into<reqwest::Body>>,
    ) -> Result<http::Response<Body>, TransportFault> {
        let request = reqwest::Request::try_from(request).map_err(|_| TransportFault::Unreachable)?;
        let answer = self.client()?.execute(request).await;
        let mut answer = answer.map_err(|error| TransportFault::of_request(&error))?;
        let mut reply = http::Response::new(());
        *reply.status_mut() = answer.status();
        *reply.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(reply.map(|()| answer.bytes_stream().map_err(|_| TransportFault::Broken).boxed()))
    }
}

impl Default for HttpTransport {
    fn default() -> Self {
        Self::keeping(KEPT_PER_SERVICE)
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportFault> {
        let (head, mut answer) = self.execute(request).await?.into_parts();
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.try_next().await? {
            append(&mut body, &chunk)?;
        }
        Ok(http::Response::from_parts(head, body.freeze()))
    }

    async fn exchange(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportFault> {
        self.execute(request.map(reqwest::Body::wrap_stream)).await
    }
}

fn append(body: &mut BytesMut, chunk: &[u8]) -> Result<(), TransportFault> {
    if body.len() + chunk.len() > MAX_SERVICE_REPLY_BYTES {
        return Err(TransportFault::TooLarge);
    }
    body.extend_from_slice(chunk);
    Ok(())
}
