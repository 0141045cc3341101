//! Waiting for something to happen to a workflow: by the server's stream of events where there is one, else for a while.

use std::time::Duration;

use clock::{Instant, SystemClock};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use reqwest::header::ACCEPT;
use reqwest::{Method, Response, StatusCode};

use super::remote::Server;

/// How long it takes until a server is asked again, unless it made us wait for its last answer.
const INTERVAL: Duration = Duration::from_secs(1);

/// However long a stream says nothing: a connection may be lost without a word.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);

/// A stream is opened anew after so long.
const STREAM_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Where word of something new comes from.
#[derive(Default)]
pub(crate) enum News {
    /// Perhaps from a stream, which is to be opened.
    #[default]
    Unknown,
    /// From this stream.
    Stream(Messages),
    /// The server has no stream.
    None,
}

impl News {
    /// Whether only asking again helps.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns when something may have happened since the event of this number was read, at `asked_at`. It is not told what:
    /// whoever waits reads the history, in which nothing is missing and nothing comes twice, whatever happens to the stream.
    ///
    /// # Errors
    /// The id is none.
    pub(crate) async fn wait(
        &mut self,
        server: &Server,
        id: &str,
        last_event_id: u64,
        asked_at: Instant,
    ) -> anyhow::Result<()> {
        if let Self::Unknown = self {
            *self = Self::open(server, id, last_event_id).await?;
        }
        if let Self::Stream(messages) = self {
            match clock::timeout(&SystemClock, LONGEST_SILENCE, messages.next()).await {
                Some(false) => *self = Self::Unknown,
                Some(true) | None => return Ok(()),
            }
        }
        clock::sleep_until(&SystemClock, asked_at + INTERVAL).await;
        Ok(())
    }

    /// Asks for a stream, which begins behind this event.
    async fn open(server: &Server, id: &str, last_event_id: u64) -> anyhow::Result<Self> {
        let mut call = server.about(Method::GET, id, "stream")?.header(ACCEPT, "text/event-stream");
        if last_event_id > 0 {
            call = call.header("last-event-id", last_event_id);
        }
        Ok(match server.send(call.timeout(STREAM_TIMEOUT)).await {
            Ok(answer) if is_stream(&answer) => Self::Stream(Messages::of(answer)),
            // Such a server has no stream, and will have none.
            Ok(answer) if answer.status() == StatusCode::NOT_IMPLEMENTED => Self::None,
            Ok(answer) if answer.status().is_client_error() => Self::None,
            Ok(_) | Err(_) => Self::Unknown,
        })
    }
}

fn is_stream(answer: &Response) -> bool {
    let kind = answer.headers().get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    answer.status().is_success() && kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// Server-sent events, of which only the number counts.
pub(crate) struct Messages {
    parts: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    counter: Counter,
}

impl Messages {
    fn of(answer: Response) -> Self {
        let parts = answer.bytes_stream().map(|part| part.map(|bytes| bytes.to_vec())).boxed();
        Self { parts, counter: Counter::default() }
    }

    /// Waits for a message, and takes with it those that have come with it; false at the end of the stream.
    async fn next(&mut self) -> bool {
        let mut has_message = false;
        while !has_message {
            let Some(Ok(part)) = self.parts.next().await else { return false };
            has_message = self.counter.take(&part);
        }
        while let Some(Some(Ok(part))) = self.parts.next().now_or_never() {
            self.counter.take(&part);
        }
        true
    }
}

/// Finds the ends of messages: an empty line after one with data. Comments, which keep a connection alive, are none.
#[derive(Debug, Default)]
struct Counter {
    line: Vec<u8>,
    has_data: bool,
}

impl Counter {
    /// Whether a message ends in this part of the stream.
    fn take(&mut self, part: &[u8]) -> bool {
        let mut has_message = false;
        for byte in part {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    has_message |= line.is_empty() && std::mem::take(&mut self.has_data);
                    self.has_data |= line.starts_with(b"data");
                }
                b'\r' => {}
                // The beginning of a line tells what it is.
                byte if self.line.len() < 4 => self.line.push(*byte),
                _ => {}
            }
        }
        has_message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let stream =
            b": hello\n\nevent: history\ndata: {}\n\n: alive\r\n\r\nid: 2\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n";
        for size in 1..=12 {
            let mut counter = Counter::default();
            let count = stream.chunks(size).filter(|part| counter.take(part)).count();
            assert_eq!(count, 2, "parts of {size} bytes");
        }
        assert!(!Counter::default().take(b": alive\n\n: alive\n\n"));
    }
}
