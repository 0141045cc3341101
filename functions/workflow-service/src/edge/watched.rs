//! The bytes of a connection, watched.
//!
//! What is no HTTP request never reaches the routes: hyper answers it by itself, without a body. Such an answer is known by
//! being written while no request is under way, and a problem document goes out in its place.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use api::Problem;
use axum::http::StatusCode;
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::doing::Doing;

/// What an answer begins with; its code is behind it.
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";

/// A stream of bytes that tells what happens on it.
pub(super) struct Watched<S> {
    stream: S,
    doing: Arc<Doing>,
    /// What goes out in place of what hyper has written.
    refusal: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub(super) fn new(stream: S, doing: Arc<Doing>) -> Self {
        Self { stream, doing, refusal: Bytes::new() }
    }

    /// Answers what has arrived of a request; to be flushed.
    pub(super) fn refuse(&mut self, status: StatusCode) {
        self.refusal = refusal(status, &self.doing);
    }

    /// Whether hyper answers by itself; if so, the answer is replaced.
    fn replaces(&mut self, written: &[u8]) -> bool {
        let code = written.strip_prefix(STATUS_LINE).and_then(|rest| rest.get(..3));
        match code.and_then(|code| StatusCode::from_bytes(code).ok()) {
            Some(status) if status.is_client_error() && !self.doing.is_answering() => {
                // The limit for headers counts for the address as well.
                let is_address = status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE && !self.doing.has_line();
                self.refuse(if is_address { StatusCode::URI_TOO_LONG } else { status });
                true
            }
            _ => false,
        }
    }

    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.refusal.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.refusal))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.refusal.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn told<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.doing.set_blocked(polled.is_pending());
        polled
    }
}

/// The whole answer, as it is written.
fn refusal(status: StatusCode, doing: &Doing) -> Bytes {
    let detail = match status {
        StatusCode::REQUEST_TIMEOUT => "The headers did not arrive in time.",
        StatusCode::URI_TOO_LONG => "The address in the request line is too long.",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The headers are too many or too large.",
        _ => "This is no request of HTTP/1.1.",
    };
    let answer = api::refuse(Problem::of_http(status, detail), "", &**doing.clock());
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "connection" && *name != "content-length")
    {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    text.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n{}", answer.body().len(), answer.body()));
    text.into()
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.doing.received(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.told(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if parts.first().is_some_and(|part| self.replaces(part)) {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.told(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match self.poll_refusal(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_flush(context),
            unfinished => unfinished,
        };
        if flushed.is_ready() {
            self.doing.flushed();
        }
        self.told(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
