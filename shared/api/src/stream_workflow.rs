//! `GET /api/v1/workflows/{workflow_id}/stream`
//!
//! Server-sent events (HTML Living Standard, section 9.2), in server mode:
//!
//! | event | id | data |
//! |---|---|---|
//! | each event of the history, named by its type | its number | as in the history |
//! | `status`, whenever the execution has changed | none | as in the answer about the status |
//! | `end`, when the execution has ended; the last one | `end` | the same |
//!
//! `Last-Event-ID` goes on behind the event of that number; `last_event_id` in the query does the same for clients that
//! cannot set headers, and the header counts where both come. Browsers connect again whenever a stream closes: one that
//! has seen `end` is answered 204, which tells it not to.
//!
//! The client asks for all that is read, so one that goes away costs nothing any more.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query as QueryString, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clock::Instant;
use contracts::limits::DEFAULT_PAGE_SIZE;
use futures::stream;
use store::Estimated;

use crate::access::Caller;
use crate::get_workflow_history::event;
use crate::get_workflow_status::{answer, read, tag};
use crate::headers::single;
use crate::page::Query;
use crate::pauses::Pauses;
use crate::streaming::Streaming;
use crate::{Api, Problem};

/// A stream is not silent for longer: proxies close what is, after 30 s at the earliest.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a browser waits before it connects again.
const RETRY_MS: u32 = 2_000;

/// The id of the last event.
const END: &str = "end";

/// The route.
pub fn route() -> Router<Api> {
    Router::new().route("/api/v1/workflows/{workflow_id}/stream", get(handle))
}

async fn handle(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    QueryString(parameters): QueryString<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if matches!(api.streaming, Streaming::Unsupported) {
        return Err(Problem::not_implemented(format!(
            "Answers cannot be streamed here. Ask GET /api/v1/workflows/{{workflow_id}}/status?wait={}s with the ETag of \
             the last answer as If-None-Match: it waits until something has changed.",
            api.granted(Duration::MAX).as_secs()
        )));
    }
    let position = position(&headers, parameters)?;
    // What is wrong is said before the answer begins.
    let found = read(&api, &caller.tenant_id, &id).await?;
    let after = match position {
        Position::End if !found.record.status.is_open() => return Ok(StatusCode::NO_CONTENT.into_response()),
        Position::End => return Err(unknown(END)),
        Position::After(event_id) => event_id,
    };
    let page = api.history.events(&caller.tenant_id, &id, &[], Some(&after.to_string()), 1).await?;
    if after > page.ok_or_else(|| Problem::no_workflow(&id))?.total {
        return Err(unknown(&after.to_string()));
    }
    let reader = Reader {
        silent_since: api.clock.instant(),
        api,
        tenant_id: caller.tenant_id,
        id,
        after,
        told: None,
        next: Next::Tell(Box::new(found)),
        pauses: Pauses::default(),
    };
    let begin = stream::iter([format!("retry: {RETRY_MS}\n\n")]);
    let events = stream::unfold(reader, async |mut reader| reader.next().await.map(|text| (text, reader)));
    let body =
        Body::from_stream(futures::StreamExt::map(futures::StreamExt::chain(begin, events), Ok::<_, Infallible>));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would collect the answer otherwise.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Where a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Behind the event of this number.
    After(u64),
    /// Behind the last event: there is nothing more.
    End,
}

fn position(headers: &HeaderMap, parameters: Vec<(String, String)>) -> Result<Position, Problem> {
    let expected = "the id of an event of this stream";
    let mut query = Query::new(parameters);
    let asked = query.get("last_event_id", parse, expected).unwrap_or(Position::After(0));
    query.finish()?;
    let given = match single(headers, "last-event-id") {
        Ok(None) => return Ok(asked),
        given => given.ok().flatten().and_then(parse),
    };
    given.ok_or_else(|| Problem::malformed(format!("Send one Last-Event-ID at most; it must be {expected}.")))
}

fn parse(id: &str) -> Option<Position> {
    if id == END {
        return Some(Position::End);
    }
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| id.parse().ok().map(Position::After))?
}

fn unknown(id: &str) -> Problem {
    Problem::malformed(format!("The stream of this workflow has had no event with the id {id}: begin without one."))
}

/// Reads an execution for one client.
struct Reader {
    api: Api,
    tenant_id: String,
    id: String,
    /// The number of the last event that was told.
    after: u64,
    /// The tag of the last status that was told.
    told: Option<String>,
    next: Next,
    pauses: Pauses,
    silent_since: Instant,
}

/// What a reader does next.
enum Next {
    /// Looks whether the execution has changed.
    Look,
    /// Tells the events up to this state, then the state.
    Tell(Box<Estimated>),
    /// Nothing any more.
    Close,
}

impl Reader {
    /// What the client is sent next, as soon as there is something; none at the end. An error of the store ends the stream
    /// too: the client connects again, and hears of it if it lasts.
    async fn next(&mut self) -> Option<String> {
        let text = loop {
            match std::mem::replace(&mut self.next, Next::Look) {
                Next::Look => {
                    if let Some(heartbeat) = self.look().await? {
                        break heartbeat;
                    }
                }
                Next::Tell(found) => break self.tell(*found).await?,
                Next::Close => return None,
            }
        };
        self.silent_since = self.api.clock.instant();
        Some(text)
    }

    /// Waits for a change, or for the time of a heartbeat. None if the process stops.
    async fn look(&mut self) -> Option<Option<String>> {
        let beats_at = self.silent_since + HEARTBEAT;
        let looks_at = self.api.clock.instant() + self.pauses.next();
        if !self.api.streaming.sleep_until(&*self.api.clock, looks_at.min(beats_at)).await {
            return None;
        }
        let found = read(&self.api, &self.tenant_id, &self.id).await.ok()?;
        if self.told.as_ref() != Some(&tag(&self.api, &found)) {
            self.pauses = Pauses::default();
            self.next = Next::Tell(Box::new(found));
            return Some(None);
        }
        Some((self.api.clock.instant() >= beats_at).then(|| ":\n\n".to_owned()))
    }

    /// The next events, and behind the last of them the state.
    async fn tell(&mut self, found: Estimated) -> Option<String> {
        let after = self.after.to_string();
        let history = &self.api.history;
        let page = history.events(&self.tenant_id, &self.id, &[], Some(&after), DEFAULT_PAGE_SIZE).await.ok()??;
        let mut text = String::new();
        for row in page.rows {
            self.after = row.event.event_id;
            let event = event(row);
            let (id, kind) = (event.event.event_id.to_string(), event.event.event_type.clone());
            text.push_str(&sent(Some(&id), &kind, serde_json::to_string(&event).ok()?));
        }
        if page.next.is_some() {
            self.next = Next::Tell(Box::new(found));
            return Some(text);
        }
        self.told = Some(tag(&self.api, &found));
        let has_ended = !found.record.status.is_open();
        let status = serde_json::to_string(&answer(&self.api, found)).ok()?;
        if has_ended {
            self.next = Next::Close;
            text.push_str(&sent(Some(END), END, status));
        } else {
            text.push_str(&sent(None, "status", status));
        }
        Some(text)
    }
}

/// An event as it is sent. JSON has no line breaks, which would end the data.
fn sent(id: Option<&str>, event: &str, data: String) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {event}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn of(header: &[&'static str], query: Option<&str>) -> Result<Position, StatusCode> {
        let mut headers = HeaderMap::new();
        for value in header {
            headers.append("last-event-id", HeaderValue::from_static(value));
        }
        let parameters = query.map(|value| ("last_event_id".to_owned(), value.to_owned()));
        position(&headers, parameters.into_iter().collect()).map_err(|problem| problem.into_response().status())
    }

    #[test]
    fn the_header_counts_before_the_query() {
        assert_eq!(of(&[], None), Ok(Position::After(0)));
        assert_eq!(of(&["7"], None), Ok(Position::After(7)));
        assert_eq!(of(&[], Some("7")), Ok(Position::After(7)));
        assert_eq!(of(&["9"], Some("7")), Ok(Position::After(9)));
        assert_eq!(of(&["end"], Some("7")), Ok(Position::End));
        for bad in [&[""][..], &["x"], &["-1"], &["+1"], &["7", "8"], &["99999999999999999999999"]] {
            assert_eq!(of(bad, None), Err(StatusCode::BAD_REQUEST), "{bad:?}");
        }
        for bad in ["", "x", "-1"] {
            assert_eq!(of(&[], Some(bad)), Err(StatusCode::UNPROCESSABLE_ENTITY), "{bad}");
            assert_eq!(of(&["7"], Some(bad)), Err(StatusCode::UNPROCESSABLE_ENTITY), "{bad}");
        }
    }

    #[test]
    fn an_event_is_its_fields_and_an_empty_line() {
        assert_eq!(
            sent(Some("7"), "ActivityTaskStarted", "{}".to_owned()),
            "id: 7\nevent: ActivityTaskStarted\ndata: {}\n\n"
        );
        assert_eq!(sent(None, "status", "{}".to_owned()), "event: status\ndata: {}\n\n");
    }
}
